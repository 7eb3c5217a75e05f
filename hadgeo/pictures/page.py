"""The page of a quicklook: panels, title, scale bar, north arrow and colour bar, drawn by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hadgeo.pictures.cartography import Ground, length_text, round_length
from hadgeo.pictures.figures import new_figure
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
_MARGIN, _HEAD, _PANEL_HEAD, _FOOT = 20, 58, 18, 76

#: Length in pixels that the scale bar may have.
_LONGEST_BAR = 220

#: Width that title, scale bar and colour bar need together.
_LEAST_WIDTH = 640


def ramp_colours() -> npt.NDArray[np.float32]:
    """The colours of the ramp, (n, 3), 0 to 1, from its lower to its upper end."""
    from matplotlib import colormaps

    colours: npt.NDArray[np.float32] = colormaps[_RAMP](np.linspace(_RAMP_FROM, 1, 256))[:, :3].astype(np.float32)
    return colours


class Page:
    """A figure, whose parts are placed in pixels from its upper left corner.

    Args:
        layout: Where the panels go.
        shape: Rows and columns of the scene.
        title: The title.
        about: The subtitle.

    Attributes:
        figure: What is drawn so far.
    """

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
        # Names of files may hold dollar signs, which matplotlib takes for formulas.
        self.figure.text(x / self._width, 1 - y / self._height, text, parse_math=False, **style)

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
            span, name = (panel.rows, "rows") if side_by_side else (panel.cols, "columns")
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
        axes.imshow(laid_over(grey, heights, ramp_colours()), extent=(0, 1, 0, 1), aspect="auto")
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
