"""One picture of a scene for people: composite, scores, outlines, scale bar and north arrow. Constant memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hadgeo.cube import SceneLike, as_source
from hadgeo.errors import OutputError, ParameterError
from hadgeo.files import check_output
from hadgeo.maps.belonging import check_polygons, check_scene, part_of
from hadgeo.maps.reader import ScoreMap, on_scene_grid, open_scores
from hadgeo.pictures.cartography import ground_of
from hadgeo.pictures.composite import colour_bands, read_colours, stretched
from hadgeo.pictures.figures import save_figure
from hadgeo.pictures.graticule import Graticule
from hadgeo.pictures.layout import Layout, lay_out
from hadgeo.pictures.outlines import Outlines, read_outlines
from hadgeo.pictures.overlay import grown, laid_over, pooled_scores, ramp_of
from hadgeo.pictures.page import Page, ramp_colours
from hadgeo.progress import SILENT, Progress, Stage

#: Width and height in pixels that a map may have, if the user says nothing.
DEFAULT_SIZE = 2000

#: Fewer pixels show nothing, and more take gigabytes of memory.
SMALLEST_SIZE, LARGEST_SIZE = 100, 5000

#: Formats by suffix.
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


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
    scene: SceneLike,
    scores: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    polygons: str | os.PathLike[str] | None = None,
    rgb: str | None = None,
    stretch: tuple[float, float] = (2.0, 98.0),
    size: int = DEFAULT_SIZE,
    title: str | None = None,
    notes: bool = True,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Quicklook:
    """Draw a scene as a composite of three of its bands, with its anomalies.

    The composite takes every n-th pixel of a large scene. Scores are the highest of all pixels that a cell of the
    picture covers, so that a single anomalous pixel stays visible. A scene much longer than wide is cut into panels.

    Args:
        scene: A file, a cube (band, y, x) or an open source.
        scores: Its score map, drawn on top. The least anomalous cells, 95 % or 99 %, stay transparent.
        out: The picture, ``.png`` or ``.jpg``.
        polygons: Vector file whose outlines are drawn, in any coordinate reference system.
        rgb: Red, green and blue, such as ``860,640,550`` (nm) or ``30,20,10`` (band numbers); true colour by default.
        stretch: Percentiles of each band, over the pixels drawn, that map to black and white.
        size: Largest width and height of the map, in pixels.
        title: Title; the name of the scene by default.
        notes: Whether what the reader must know of colours and polygons stands below the map.
        overwrite: Whether an existing picture may be replaced.
        progress: Follows the reading and may cancel it.

    Returns:
        What was drawn.

    Raises:
        CubeError: The scene or the scores cannot be used, or do not belong together.
        BandError: `rgb` asks for what the scene does not have.
        ParameterError: `stretch` or `size` is out of bounds, or the scene is neither a file nor an
            `xarray.DataArray`.
        MissingExtraError: matplotlib, or for polygons pyogrio, is not installed.
        OutputError: The picture cannot be written.
        Cancelled: `progress` asked for it.

    Examples:
        >>> quicklook("line.img", "line_anomaly.tif", out="line.png", polygons="anomalies.gpkg").path
        PosixPath('line.png')
    """
    _check_numbers(stretch, size)
    source = as_source(scene)
    target = Path(out)
    inputs = [*source.files, *(Path(path) for path in (scores, polygons) if path is not None)]
    kind = _check_out(target, inputs, overwrite=overwrite)
    score_map = None if scores is None else on_scene_grid(open_scores(scores))
    if score_map is not None:
        source = part_of(score_map, source)
        check_scene(score_map, source)
    metadata = source.metadata
    colours = colour_bands(metadata, source.shape[0], rgb)
    shape = source.shape[1:]
    outlines = None if polygons is None else read_outlines(polygons, metadata).within(shape)
    if scores is not None and score_map is not None and polygons is not None:
        check_polygons(polygons, open_scores(scores), score_map)
    ground = ground_of(metadata.grid)
    layout = lay_out(shape, ground.aspect, size)
    graticule = Graticule(metadata.grid)
    page = Page(
        layout,
        shape,
        title if title is not None else Path(source.path).name,
        _about(colours.label, layout, score_map, outlines),
        graticule=graticule,
        place="  ·  ".join([graticule.about, *([f"acquired {metadata.acquired}"] if metadata.acquired else [])]),
        notes=notes_on(scores is not None, outlines, layout.cell[0] / layout.step) if notes else (),
    )

    progress.stage(Stage.COMPOSITE, -(-shape[0] // layout.step))
    picture = stretched(read_colours(source, colours, layout.step, progress=progress), stretch)
    heights = np.zeros(picture.shape[:2], dtype=np.float32)
    if score_map is not None:
        progress.stage(Stage.SCORES, shape[0])
        pooled = pooled_scores(score_map, layout.step, progress=progress)
        ramp = ramp_of(pooled, layout.cell)
        if ramp is not None:
            heights = grown(ramp(pooled), layout.cell)
            page.draw_ramp(ramp)
    image = laid_over(picture, heights, ramp_colours())
    for panel in layout.panels:
        page.draw_panel(panel, image, outlines)
    page.draw_ground(ground)
    save_figure(page.figure, target, kind)
    return Quicklook(target, colours.label, layout.step, len(layout.panels))


def notes_on(scores: bool, outlines: Outlines | None, scale: float) -> list[str]:
    """What the reader of a picture must know.

    Args:
        scores: Whether scores are drawn.
        outlines: What else is.
        scale: Pixels of the picture for one of the scene.
    """
    notes = []
    if scores:
        notes.append(
            "Colours: scores by rarity; 99.9 % marks the score that 99.9 % of the cells of this picture stay below."
        )
    if outlines is not None and outlines.count:
        signs = []
        if not outlines.circled(scale).all():
            signs.append("Outlines: polygons.")
        if outlines.circled(scale).any():
            signs.append("Circles: polygons too small to outline.")
        if outlines.ids is not None:
            signs.append("Numbers: their field id, the lowest first where not all have room.")
        notes.append(" ".join(signs))
    return notes


def _check_numbers(stretch: tuple[float, float], size: int) -> None:
    low, high = stretch
    if not 0 <= low < high <= 100:
        raise ParameterError(f"stretch {low:g},{high:g}: give two percentiles from 0 to 100, the lower one first")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ParameterError(f"size {size}: must be {SMALLEST_SIZE} to {LARGEST_SIZE} pixels")


def _check_out(target: Path, inputs: Sequence[Path], *, overwrite: bool) -> str:
    """The picture's format, once it is sure that it can be written."""
    check_output(target, inputs=inputs, overwrite=overwrite)
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(f"{target}: the name of a picture must end in {', '.join(FORMATS)}")
    return kind


def _about(colours: str, layout: Layout, scores: ScoreMap | None, outlines: Outlines | None) -> str:
    """The line below the title."""
    parts = [colours]
    if layout.step > 1:
        parts.append(f"every {_ordinal(layout.step)} pixel")
    if scores is not None:
        score = f"{scores.detector} score" if scores.detector else "score"
        parts.append(score if layout.step == 1 else f"highest {score} of {layout.step} x {layout.step}")
    if outlines is not None:
        parts.append(f"{outlines.count} polygon{'s' if outlines.count != 1 else ''}")
    return "  ·  ".join(parts)


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
