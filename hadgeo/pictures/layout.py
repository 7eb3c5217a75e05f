"""Where the parts of a scene go in a picture: long scenes are cut into panels side by side. Pure integers."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

#: A scene longer than so many times its width is cut.
_LONGEST = 3.0

#: Width over height that panels together come near to.
_PICTURE_SHAPE = 1.5

#: Pixels to which a small scene is enlarged.
_COMFORTABLE = 1000

#: Pixels between panels, enough for a label above and coordinates below or beside each.
GAP = 40


@dataclass(frozen=True)
class Panel:
    """A part of a scene, in cells of the picture, and its place.

    Attributes:
        rows: Rows of cells.
        cols: Columns of cells.
        left: Pixels from the left of the map.
        top: Pixels from the top of the map.
        width: In pixels.
        height: In pixels.
    """

    rows: slice
    cols: slice
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """How a scene is drawn.

    Attributes:
        step: Rows and columns of the scene in one cell.
        cell: Width and height of a cell in pixels of the picture, each at least 1.
        panels: The parts, in the order of the scene.
        width: Pixels of all panels together.
        height: Likewise.
    """

    step: int
    cell: tuple[float, float]
    panels: tuple[Panel, ...]
    width: int
    height: int


def lay_out(shape: tuple[int, int], aspect: float, size: int) -> Layout:
    """Fit a scene into a picture, as large as it may be.

    Args:
        shape: Rows and columns of the scene.
        aspect: Length of a pixel down a column, divided by that along a row.
        size: Width and height that panels together, and the gaps between them, may have, in pixels.
    """
    # Nearly square pixels are drawn square, so that each is a whole number of pixels of the picture.
    aspect = 1.0 if abs(aspect - 1) < 0.02 else aspect
    # A pixel so long that one of them fills the picture cannot keep its shape.
    cell = (min(max(1.0, 1 / aspect), size), min(max(1.0, aspect), size))
    across, down = shape[1] * cell[0], shape[0] * cell[1]
    parts = _parts(across, down, size)

    def layout(step: int, enlarged: int = 1) -> Layout:
        cells = (math.ceil(shape[0] / step), math.ceil(shape[1] / step))
        panels = _panels(cells, (cell[0] * enlarged, cell[1] * enlarged), parts, side_by_side=across <= down)
        width, height = max(p.left + p.width for p in panels), max(p.top + p.height for p in panels)
        return Layout(step, (cell[0] * enlarged, cell[1] * enlarged), panels, width, height)

    # Panels hold whole cells, so only the panels themselves say whether they fit; one cell alone always does.
    step = 1 + bisect_left(range(1, max(shape)), True, key=lambda step: _fits(layout(step), size))
    if step > 1:
        return layout(step)
    most = int(_COMFORTABLE // max(min(across, down) * parts, max(across, down) / parts))
    return layout(1, 1 + bisect_left(range(2, most + 1), True, key=lambda times: not _fits(layout(1, times), size)))


def _fits(layout: Layout, size: int) -> bool:
    return layout.width <= size and layout.height <= size


def _parts(across: float, down: float, size: int) -> int:
    """Into how many panels a scene of these lengths is cut."""
    long, short = max(across, down), min(across, down)
    if long <= _LONGEST * short:
        return 1
    shape = _PICTURE_SHAPE if across <= down else 1 / _PICTURE_SHAPE
    # The gaps may take a quarter of the room.
    return max(1, min(round(math.sqrt(shape * long / short)), size // (4 * GAP)))


def _panels(cells: tuple[int, int], cell: tuple[float, float], parts: int, *, side_by_side: bool) -> tuple[Panel, ...]:
    """Cut rows and columns of cells into panels of equal length, the last one shorter."""
    total = cells[0] if side_by_side else cells[1]
    length = math.ceil(total / parts)
    panels = []
    for number, start in enumerate(range(0, total, length)):
        piece = slice(start, min(start + length, total))
        rows, cols = (piece, slice(0, cells[1])) if side_by_side else (slice(0, cells[0]), piece)
        width = max(1, round((cols.stop - cols.start) * cell[0]))
        height = max(1, round((rows.stop - rows.start) * cell[1]))
        left, top = (number * (width + GAP), 0) if side_by_side else (0, number * (height + GAP))
        panels.append(Panel(rows, cols, left, top, width, height))
    return tuple(panels)
