"""The page of a quicklook: panels in a frame of coordinates, title, scale bar, north arrow, colour bar and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hadgeo.pictures.cartography import Ground, length_text, round_length
from hadgeo.pictures.figures import new_figure
from hadgeo.pictures.graticule import Graticule
from hadgeo.pictures.labels import Box, Labels
from hadgeo.pictures.layout import Layout, Panel
from hadgeo.pictures.outlines import Outlines
from hadgeo.pictures.overlay import Ramp, laid_over

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Perceptually even, and its bright end is seen on any ground.
_RAMP, _RAMP_FROM = "plasma", 0.25

_NODATA = "#e3e3e3"
_OUTLINE = "#00f0ff"

#: Pixels around the map.
_MARGIN, _HEAD, _PANEL_HEAD, _FOOT = 34, 76, 18, 94

#: Height of a line of the notes, and what a letter of theirs is wide at most on the average.
_NOTE, _LETTER = 14, 5.6

#: Pixels between two labels of the frame, from middle to middle, and that one is long at most.
_TICKS, _TICK_LABEL = 130, 84

#: Height below a panel that its labels take.
_TICK_ROOM = 22

#: Side of what is marked by a circle, and area up to which no number may cover what is marked, in pixels.
_SMALLEST_BOX, _SMALL_AREA = 14, 1600

#: Height of a number beside a polygon, and width of a digit.
_NUMBER, _DIGIT = 12, 7

#: Length in pixels that the scale bar may have.
_LONGEST_BAR = 220

#: Length of a tick of the colour bar in pixels.
_BAR_TICK = 4

#: Width that title, scale bar and colour bar need together.
_LEAST_WIDTH = 640


def ramp_colours() -> npt.NDArray[np.float32]:
    """The colours of the ramp, (n, 3), 0 to 1, from its lower to its upper end."""
    from matplotlib import colormaps

    colours: npt.NDArray[np.float32] = colormaps[_RAMP](np.linspace(_RAMP_FROM, 1, 256))[:, :3].astype(np.float32)
    return colours


@dataclass(frozen=True)
class Footprint:
    """Where a flight line lies.

    Attributes:
        name: The line's.
        ring: Columns and rows of its border, (point, 2), a quarter of the points on each side.
    """

    name: str
    ring: npt.NDArray[np.float64]

    def draw(self, axes: Axes) -> None:
        """Draw it dashed, seen on bright and on dark ground."""
        limits = axes.get_xlim(), axes.get_ylim()
        closed = np.concatenate([self.ring, self.ring[:1]]).T
        axes.plot(*closed, color="black", lw=1.4, alpha=0.7)
        axes.plot(*closed, color="white", lw=1.0, dashes=(5, 4))
        axes.set(xlim=limits[0], ylim=limits[1])


class Page:
    """A figure, whose parts are placed in pixels from its upper left corner.

    Args:
        layout: Where the panels go.
        shape: Rows and columns of the scene.
        title: The title.
        about: The subtitle.
        graticule: The coordinates along the frame, or None for none.
        notes: What the reader must know of the drawing, below it.

    Attributes:
        figure: What is drawn so far.
    """

    def __init__(
        self,
        layout: Layout,
        shape: tuple[int, int],
        title: str,
        about: str,
        *,
        graticule: Graticule | None = None,
        place: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self._layout = layout
        self._shape = shape
        self._graticule = graticule
        several = len(layout.panels) > 1
        self._head = _HEAD + (_PANEL_HEAD if several else 0)
        self._width = max(layout.width, _LEAST_WIDTH) + 2 * _MARGIN
        room = int((self._width - 2 * _MARGIN) / _LETTER)
        lines = [line for note in notes for line in textwrap.wrap(note, room)]
        self._foot = self._head + layout.height + (_TICK_ROOM if graticule else 0)
        self._height = self._foot + _FOOT + len(lines) * _NOTE
        self._left = (self._width - layout.width) // 2
        self.figure: Figure = new_figure(self._width, self._height)
        # From pixels, counted from the upper left corner.
        self._pixels = _affine(self._width, self._height) + self.figure.transFigure
        self._text(_MARGIN, 26, title, fontsize=13, fontweight="bold")
        self._text(_MARGIN, 46, about, fontsize=9, color="0.35")
        self._text(_MARGIN, 63, place, fontsize=9, color="0.35")
        for number, line in enumerate(lines):
            self._text(_MARGIN, self._foot + _FOOT - 10 + number * _NOTE, line, fontsize=8, color="0.35")

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self._height - top - height
        bounds = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        return self.figure.add_axes(bounds)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        # Names of files may hold dollar signs, which matplotlib takes for formulas.
        self.figure.text(x / self._width, 1 - y / self._height, text, parse_math=False, **style)

    def draw_panel(
        self,
        panel: Panel,
        image: npt.NDArray[np.uint8],
        outlines: Outlines | None,
        footprints: Sequence[Footprint] = (),
    ) -> None:
        """Draw one part of the scene, its axes in pixels of the scene."""
        step = self._layout.step
        left, top = self._left + panel.left, self._head + panel.top
        axes = self._axes(left, top, panel.width, panel.height)
        axes.set_facecolor(_NODATA)
        extent = (panel.cols.start * step, panel.cols.stop * step, panel.rows.stop * step, panel.rows.start * step)
        axes.imshow(image[panel.rows, panel.cols], extent=extent, aspect="auto", interpolation="nearest")
        axes.spines[:].set_visible(False)
        axes.set(xticks=[], yticks=[])
        axes.add_patch(_background(extent))
        if self._graticule is not None:
            _draw_frame(axes, self._graticule, panel)
        labels = Labels(Box(0, 0, panel.width, panel.height))
        scale = panel.width / (extent[1] - extent[0])
        for footprint in footprints:
            footprint.draw(axes)
            self._name(axes, footprint, labels, scale)
        if outlines is not None:
            outlines.draw(axes, _OUTLINE, scale)
            self._number(axes, outlines, labels)
        if len(self._layout.panels) > 1:
            side_by_side = self._layout.panels[1].left > 0
            span, name = (panel.rows, "rows") if side_by_side else (panel.cols, "columns")
            last = min(span.stop * step, self._shape[0 if side_by_side else 1])
            label = f"{name} {span.start * step + 1:,} to {last:,}"
            self._text(left, top - 5, label, fontsize=8, color="0.35")

    def _name(self, axes: Axes, footprint: Footprint, labels: Labels, scale: float) -> None:
        """Write the name of a line into one of its corners, where there is room."""
        size = (len(footprint.name) * _DIGIT + 6, _NUMBER + 2)
        for corner in footprint.ring[:: len(footprint.ring) // 4] * scale:
            inward = corner + np.sign(footprint.ring.mean(axis=0) * scale - corner) * (size[0] / 2 + 6, size[1] / 2 + 6)
            box = labels.place(Box(*inward, *inward), size, centred=True)
            if box is not None:
                self._write_over(axes, box, footprint.name)
                return

    def _number(self, axes: Axes, outlines: Outlines, labels: Labels) -> None:
        """Write the number of each polygon beside it, the first ones first, where there is room."""
        if outlines.ids is None:
            return
        to_pixels = axes.transData
        corner = axes.bbox
        boxes = []
        for bounds in outlines.bounds:
            (left, right), (top, bottom) = (to_pixels.transform(bounds.reshape(2, 2)) - (corner.x0, corner.y1)).T
            boxes.append(_grown_to(Box(left, -top, right, -bottom), _SMALLEST_BOX))
            if boxes[-1].area < _SMALL_AREA:
                labels.avoid(boxes[-1])
        for at in np.argsort(outlines.ids, kind="stable").tolist():
            text = str(outlines.ids[at])
            box = labels.place(boxes[at], (len(text) * _DIGIT + 2, _NUMBER))
            if box is not None:
                self._write_over(axes, box, text)

    def _write_over(self, axes: Axes, box: Box, text: str) -> None:
        from matplotlib.patheffects import withStroke

        axes.text(
            (box.left + box.right) / 2 / axes.bbox.width,
            1 - (box.top + box.bottom) / 2 / axes.bbox.height,
            text,
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color="white",
            parse_math=False,
            path_effects=[withStroke(linewidth=2.2, foreground="#000000d0")],
        )

    def draw_ground(self, ground: Ground) -> None:
        """Draw scale bar and north arrow below the map."""
        layout = self._layout
        pixel = layout.cell[0] / layout.step
        length = round_length(_LONGEST_BAR / pixel * ground.right)
        width = length / ground.right * pixel
        top = self._foot + _FOOT - 50
        for share, colour in ((1.0, "white"), (0.5, "black")):
            self._fill([(0, 0), (share * width, 0), (share * width, 6), (0, 6)], _MARGIN, top, facecolor=colour, lw=1)
        self._text(_MARGIN, top + 22, length_text(length, ground.unit), fontsize=9)
        if ground.north is not None:
            self._draw_north(_MARGIN + width + 44, top + 4, ground.north)

    def _draw_north(self, x: float, y: float, north: tuple[float, float]) -> None:
        reach = 18
        right, down = north
        tip, tail = np.array([right, down]) * reach, np.array([right, down]) * -reach
        wing = np.array([-down, right]) * 7
        middle = tail * 0.55
        self._fill([tip, tail + wing, middle], x, y, facecolor="black", lw=0.8)
        self._fill([tip, tail - wing, middle], x, y, facecolor="white", lw=0.8)
        letter = {"ha": "center", "va": "center", "fontsize": 9, "fontweight": "bold"}
        self._text(x + float(tip[0]) * 1.5, y + float(tip[1]) * 1.5, "N", **letter)

    def _fill(self, corners: Sequence[npt.ArrayLike], x: float, y: float, **style: Any) -> None:
        """Draw a shape with a black border, its corners in pixels from a point."""
        from matplotlib.patches import Polygon

        points = np.asarray(corners) + np.array([x, y])
        self.figure.add_artist(Polygon(points, edgecolor="black", transform=self._pixels, **style))

    def draw_ramp(self, ramp: Ramp) -> None:
        """Draw the colour bar below the map, over the grey of a mid-tone so that its transparency shows."""
        from matplotlib.collections import LineCollection
        from matplotlib.image import BboxImage
        from matplotlib.transforms import Bbox, TransformedBbox

        width, height, top = 300, 10, self._foot + _FOOT - 50
        left, bottom = self._width - _MARGIN - width - 20, top + height
        heights = np.linspace(0, 1, width, dtype=np.float32)[None]
        grey = np.full((1, width, 3), 0.75, dtype=np.float32)
        # Axes would take several times as long to make and to draw, which tells where there are thousands of pictures.
        bar = BboxImage(TransformedBbox(Bbox([[left, top], [left + width, bottom]]), self._pixels))
        bar.set_data(laid_over(grey, heights, ramp_colours()))
        self.figure.add_artist(bar)
        self._fill([(0, 0), (width, 0), (width, height), (0, height)], left, top, facecolor="none", lw=0.8)
        at = [left + share * width for share in ramp.heights]
        ticks = [[(x, bottom), (x, bottom + _BAR_TICK)] for x in at]
        self.figure.add_artist(LineCollection(ticks, color="black", lw=0.8, transform=self._pixels))
        for x, label, score in zip(at, ramp.labels, ramp.scores, strict=True):
            self._text(x, top - 4, label, fontsize=8, color="0.35", ha="center")
            self._text(x, bottom + _BAR_TICK + 3, _short(score), fontsize=8, ha="center", va="top")
        self._text(left - 12, top + 9, "score", fontsize=9, ha="right")


def _draw_frame(axes: Axes, graticule: Graticule, panel: Panel) -> None:
    """Label round coordinates below and on the left of a panel, and draw their lines where they are oblique."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    across, down = (right - left) / panel.width, (bottom - top) / panel.height
    half = _TICK_LABEL / 2
    apart = [min(_TICKS, max(_TICK_LABEL + 6, length / 2.5)) for length in (panel.width, panel.height)]
    below = graticule.below((left + half * across, right - half * across), bottom, apart[0] * across)
    beside = graticule.beside((top + half * down, bottom - half * down), left, apart[1] * down)
    # A spine that is moved forgets how labels are turned.
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.8, color="0.25", position=("outward", 1.6))
    axes.set_xticks([tick.at for tick in below], [tick.label for tick in below])
    axes.set_yticks([tick.at for tick in beside], [tick.label for tick in beside])
    axes.tick_params(length=4, width=0.8, pad=2, color="0.25", labelsize=8, labelcolor="0.25")
    for label in axes.get_yticklabels():
        label.set(rotation=90, va="center")
    if graticule.turned:
        for col, row, slope in graticule.oblique(below, beside, bottom, left):
            axes.axline((col, row), (col + slope[0], row + slope[1]), color="white", alpha=0.45, lw=0.7, zorder=1.5)
        axes.set(xlim=(left, right), ylim=(bottom, top))


def _affine(width: float, height: float) -> Any:
    """From pixels, counted from the upper left corner, to parts of a figure's width and height."""
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(1 / width, -1 / height).translate(0, 1)


def _grown_to(box: Box, least: float) -> Box:
    """A box of at least this width and height around the same middle."""
    right, down = max(0.0, least - box.right + box.left) / 2, max(0.0, least - box.bottom + box.top) / 2
    return Box(box.left - right, box.top - down, box.right + right, box.bottom + down)


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _background(extent: tuple[int, int, int, int]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = extent
    return Rectangle((left, top), right - left, bottom - top, facecolor=_NODATA, zorder=-1)
