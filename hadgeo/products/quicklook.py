"""One picture of a scene for people: composite, scores, outlines, scale bar and north arrow. Constant memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hadgeo.cube import open_cube, source_of
from hadgeo.errors import CubeError, OutputError, ParameterError
from hadgeo.formats.source import Source
from hadgeo.products.cartography import Ground, ground_of, length_text, round_length
from hadgeo.products.composite import colour_bands, read_colours, stretched
from hadgeo.products.figures import new_figure
from hadgeo.products.layout import Layout, Panel, lay_out
from hadgeo.products.outlines import Outlines, read_outlines
from hadgeo.products.outputs import check_product, written_beside
from hadgeo.products.overlay import Ramp, grown, laid_over, pooled_scores, ramp_of
from hadgeo.products.scores import ScoreMap, open_scores
from hadgeo.progress import SILENT, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width and height in pixels that a map may have, if the user says nothing.
DEFAULT_SIZE = 2000

#: Fewer pixels show nothing, and more take gigabytes of memory.
SMALLEST_SIZE, LARGEST_SIZE = 100, 5000

#: Formats by suffix.
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}

#: Perceptually even, and its bright end is seen on any ground.
_RAMP, _RAMP_FROM = "plasma", 0.25

_NODATA = "#e3e3e3"
_OUTLINE = "#00f0ff"

#: Pixels around the map.
_MARGIN, _HEAD, _PANEL_HEAD, _FOOT = 20, 58, 18, 76

#: Length in pixels that the scale bar may have.
_LONGEST_BAR = 220

#: Width that title, scale bar and colour bar need together.
_LEAST_WIDTH = 640


@dataclass(frozen=True)
class Quicklook:
    """What was drawn.

    Attributes:
        path: The picture.
        colours: The bands of the composite, for people.
        step: Rows and columns of the scene in one cell of the picture.
        panels: Into how many panels the scene was cut.
    """

    path: Path
    colours: str
    step: int
    panels: int


def quicklook(
    scene: str | os.PathLike[str] | xr.DataArray,
    scores: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    polygons: str | os.PathLike[str] | None = None,
    rgb: str | None = None,
    stretch: tuple[float, float] = (2.0, 98.0),
    size: int = DEFAULT_SIZE,
    title: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Quicklook:
    """Draw a scene in the colours of three of its bands, with what stands out.

    The composite takes every n-th pixel of a large scene. Scores are the highest of all pixels that a cell of the
    picture covers, so that a single hot pixel stays visible. A scene much longer than wide is cut into panels.

    Args:
        scene: A file, or a cube (band, y, x).
        scores: Its map of anomaly scores, to lay over. The least anomalous cells, 95 % or 99 %, stay clear.
        out: The picture, ``.png`` or ``.jpg``.
        polygons: Vector file whose outlines are drawn, in any coordinate reference system.
        rgb: Red, green and blue, such as ``860,640,550`` (nm) or ``30,20,10`` (band numbers); true colour by default.
        stretch: Percentiles of each band, over the pixels drawn, that become dark and bright.
        size: Width and height that the map may have, in pixels.
        title: Instead of the scene's name.
        overwrite: Whether an existing picture may be replaced.
        progress: Follows the reading and may cancel it.

    Returns:
        What was drawn.

    Raises:
        CubeError: The scene or the scores cannot be used, or do not belong together.
        BandError: `rgb` asks for what the scene does not have.
        ParameterError: `stretch` or `size` is out of bounds.
        MissingExtraError: matplotlib, or for polygons pyogrio, is not installed.
        OutputError: The picture cannot be written.
        Cancelled: `progress` asked for it.
    """
    _check_numbers(stretch, size)
    source = source_of(scene if isinstance(scene, xr.DataArray) else open_cube(scene))
    target = Path(out)
    inputs = [*source.files, *(Path(path) for path in (scores, polygons) if path is not None)]
    kind = _check_out(target, inputs, overwrite=overwrite)
    known = source.metadata
    colours = colour_bands(known, source.shape[0], rgb)
    shape = source.shape[1:]
    score_map = None if scores is None else _scores_of(source, scores)
    outlines = None if polygons is None else read_outlines(polygons, known)
    ground = ground_of(shape, known.transform if known.georeferenced else None, known.crs)
    layout = lay_out(shape, ground.aspect, size)
    new_figure(1, 1)  # before the reading, which may be long

    progress.stage("composite", -(-shape[0] // layout.step))
    picture = stretched(read_colours(source, colours, layout.step, progress=progress), stretch)
    heights, ramp = np.zeros(picture.shape[:2], dtype=np.float32), None
    if score_map is not None:
        progress.stage("scores", shape[0])
        pooled = pooled_scores(score_map, layout.step, progress=progress)
        ramp = ramp_of(pooled, layout.cell)
        if ramp is not None:
            heights = grown(ramp(pooled), layout.cell)
    image = laid_over(picture, heights, _ramp_colours())
    about = _about(colours.label, layout, score_map, outlines)
    sheet = _Sheet(layout, shape, title if title is not None else Path(source.path).name, about)
    for panel in layout.panels:
        sheet.draw_panel(panel, image, outlines)
    sheet.draw_ground(ground)
    if ramp is not None:
        sheet.draw_ramp(ramp)
    with written_beside(target) as part:
        sheet.figure.savefig(part, format=kind)
    return Quicklook(target, colours.label, layout.step, len(layout.panels))


def _check_numbers(stretch: tuple[float, float], size: int) -> None:
    low, high = stretch
    if not 0 <= low < high <= 100:
        raise ParameterError(f"stretch {low:g},{high:g}: two percentiles from 0 to 100 are needed, the lower one first")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ParameterError(f"size {size}: {SMALLEST_SIZE} to {LARGEST_SIZE} pixels are possible")


def _check_out(target: Path, inputs: Sequence[Path], *, overwrite: bool) -> str:
    """The picture's format, once it is sure that it can be written."""
    check_product(target, inputs, overwrite=overwrite)
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(f"{target}: a picture ends in {', '.join(FORMATS)}; name it so")
    return kind


def _scores_of(source: Source, path: str | os.PathLike[str]) -> ScoreMap:
    """Open a map and make sure that it is this scene's.

    Raises:
        CubeError: It is of another shape or grid.
    """
    scores = open_scores(path)
    rows, cols = source.shape[1:]
    if scores.shape != (rows, cols):
        raise CubeError(
            f"{path}: {scores.shape[0]} x {scores.shape[1]} pixels, and {source.path} has {rows} x {cols}; "
            "give the score map of this scene"
        )
    known = source.metadata
    if scores.transform is not None and known.georeferenced:
        corners = [(0, 0), (cols, 0), (0, rows), (cols, rows)]
        # Half a pixel: resampled or rounded grids are the same place.
        apart = max(
            float(np.hypot(*np.subtract(~known.transform * (scores.transform * corner), corner))) for corner in corners
        )
        if apart > 0.5 or (scores.crs and known.crs and scores.crs != known.crs):
            raise CubeError(f"{path}: another grid than that of {source.path}; give the score map of this scene")
    return scores


def _about(colours: str, layout: Layout, scores: ScoreMap | None, outlines: Outlines | None) -> str:
    """The line below the title."""
    facts = [colours]
    if layout.step > 1:
        facts.append(f"every {_ordinal(layout.step)} pixel")
    if scores is not None:
        score = f"{scores.detector} score" if scores.detector else "score"
        facts.append(score if layout.step == 1 else f"highest {score} of {layout.step} x {layout.step}")
    if outlines is not None:
        facts.append(f"{outlines.count} polygon{'s' if outlines.count != 1 else ''}")
    return "  ·  ".join(facts)


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _ramp_colours() -> npt.NDArray[np.float32]:
    from matplotlib import colormaps

    colours: npt.NDArray[np.float32] = colormaps[_RAMP](np.linspace(_RAMP_FROM, 1, 256))[:, :3].astype(np.float32)
    return colours


class _Sheet:
    """The figure, in pixels from its upper left corner."""

    def __init__(self, layout: Layout, shape: tuple[int, int], title: str, about: str) -> None:
        self._layout = layout
        self._shape = shape
        several = len(layout.panels) > 1
        self._head = _HEAD + (_PANEL_HEAD if several else 0)
        self._width = max(layout.width, _LEAST_WIDTH) + 2 * _MARGIN
        self._height = self._head + layout.height + _FOOT
        self._left = (self._width - layout.width) // 2
        self.figure: Figure = new_figure(self._width, self._height)
        self._text(_MARGIN, 26, title, fontsize=13, fontweight="bold")
        self._text(_MARGIN, 46, about, fontsize=9, color="0.35")

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self._height - top - height
        bounds = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        return self.figure.add_axes(bounds)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.figure.text(x / self._width, 1 - y / self._height, text, **style)

    def draw_panel(self, panel: Panel, image: npt.NDArray[np.uint8], outlines: Outlines | None) -> None:
        """Draw one part of the scene, its axes in pixels of the scene."""
        step = self._layout.step
        left, top = self._left + panel.left, self._head + panel.top
        axes = self._axes(left, top, panel.width, panel.height)
        axes.set_facecolor(_NODATA)
        extent = (panel.cols.start * step, panel.cols.stop * step, panel.rows.stop * step, panel.rows.start * step)
        axes.imshow(image[panel.rows, panel.cols], extent=extent, aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        axes.add_patch(_background(extent))
        if outlines is not None:
            outlines.draw(axes, _OUTLINE, panel.width / (extent[1] - extent[0]))
        if len(self._layout.panels) > 1:
            side_by_side = self._layout.panels[1].left > 0
            span, name = (panel.rows, "lines") if side_by_side else (panel.cols, "columns")
            last = min(span.stop * step, self._shape[0 if side_by_side else 1])
            label = f"{name} {span.start * step + 1:,} to {last:,}"
            self._text(left, top - 5, label, fontsize=8, color="0.35")

    def draw_ground(self, ground: Ground) -> None:
        """Draw scale bar and north arrow below the map."""
        layout = self._layout
        pixel = layout.cell[0] / layout.step
        length = round_length(_LONGEST_BAR / pixel * ground.right)
        width = length / ground.right * pixel
        top = self._height - 44
        axes = self._axes(_MARGIN, top, width, 6)
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.fill([0, 1, 1, 0], [0, 0, 1, 1], facecolor="white", edgecolor="black", lw=1, clip_on=False)
        axes.fill([0, 0.5, 0.5, 0], [0, 0, 1, 1], facecolor="black", edgecolor="black", lw=1, clip_on=False)
        self._text(_MARGIN, top + 22, length_text(length, ground.unit), fontsize=9)
        if ground.north is not None:
            self._draw_north(_MARGIN + width + 44, top + 4, ground.north)

    def _draw_north(self, x: float, y: float, north: tuple[float, float]) -> None:
        reach = 18
        axes = self._axes(x - 30, y - 30, 60, 60)
        axes.set_axis_off()
        axes.set(xlim=(-30, 30), ylim=(30, -30))
        right, down = north
        tip, tail = np.array([right, down]) * reach, np.array([right, down]) * -reach
        wing = np.array([-down, right]) * 7
        middle = tail * 0.55
        axes.fill(*np.array([tip, tail + wing, middle]).T, facecolor="black", edgecolor="black", lw=0.8)
        axes.fill(*np.array([tip, tail - wing, middle]).T, facecolor="white", edgecolor="black", lw=0.8)
        axes.text(
            float(tip[0]) * 1.5, float(tip[1]) * 1.5, "N", ha="center", va="center", fontsize=9, fontweight="bold"
        )

    def draw_ramp(self, ramp: Ramp) -> None:
        """Draw the colour bar below the map, over the grey of a mid-tone so that its transparency shows."""
        width, top = 300, self._height - 44
        left = self._width - _MARGIN - width - 20
        heights = np.linspace(0, 1, width, dtype=np.float32)[None]
        grey = np.full((1, width, 3), 0.75, dtype=np.float32)
        axes = self._axes(left, top, width, 10)
        axes.imshow(laid_over(grey, heights, _ramp_colours()), extent=(0, 1, 0, 1), aspect="auto")
        axes.set_yticks([])
        axes.set_xticks(ramp.heights, [_short(score) for score in ramp.scores], fontsize=8)
        axes.tick_params(length=3, pad=2)
        for height, label in zip(ramp.heights, ramp.labels, strict=True):
            self._text(left + height * width, top - 4, label, fontsize=8, color="0.35", ha="center")
        self._text(left - 12, top + 9, "score", fontsize=9, ha="right")


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _background(extent: tuple[int, int, int, int]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = extent
    return Rectangle((left, top), right - left, bottom - top, facecolor=_NODATA, zorder=-1)
