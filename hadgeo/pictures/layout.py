"""Where the parts of a scene go in a picture: long lines are cut into panels side by side. Pure integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A scene longer than so many times its width is cut.
_LONGEST = 3.0

#: Width over height that panels together come near to.
_PICTURE_SHAPE = 1.5

#: Pixels to which a small scene is enlarged.
_COMFORTABLE = 1000

#: Pixels between panels, enough for a label above each.
GAP = 18


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
        size: Width and height that panels together may have, in pixels.
    """
    # Nearly square pixels are drawn square, so that each is a whole number of pixels of the picture.
    aspect = 1.0 if abs(aspect - 1) < 0.02 else aspect
    cell = (max(1.0, 1 / aspect), max(1.0, aspect))
    across, down = shape[1] * cell[0], shape[0] * cell[1]
    parts = _parts(across, down, size)
    beside, along = min(across, down) * parts, max(across, down) / parts
    # Above 1 by rounding alone would halve the picture.
    step = max(1, math.ceil(max(beside / (size - GAP * (parts - 1)), along / size) - 1e-9))
    if step == 1:
        enlarged = max(1, int(min(size, _COMFORTABLE) // max(beside, along)))
        cell = (cell[0] * enlarged, cell[1] * enlarged)
    cells = (math.ceil(shape[0] / step), math.ceil(shape[1] / step))
    panels = _panels(cells, cell, parts, side_by_side=across <= down)
    width, height = max(p.left + p.width for p in panels), max(p.top + p.height for p in panels)
    return Layout(step, cell, panels, width, height)


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
