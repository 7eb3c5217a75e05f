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

#: Pixels between panels.
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
    stretch = (max(1.0, 1 / aspect), max(1.0, aspect))
    across, down = shape[1] * stretch[0], shape[0] * stretch[1]
    parts = _parts(across, down)
    count_across, count_down = (parts, 1) if down > across else (1, parts)
    room = (size - GAP * (count_across - 1), size - GAP * (count_down - 1))
    if down > across:
        down = down / parts
    else:
        across = across / parts
    drawn = (across * count_across, down * count_down)
    step = max(1, math.ceil(max(drawn[0] / max(room[0], 1), drawn[1] / max(room[1], 1)) - 1e-9))
    enlarged = max(1, int(min(size, _COMFORTABLE) // max(drawn))) if step == 1 else 1
    cell = (stretch[0] * enlarged, stretch[1] * enlarged)
    cells = (math.ceil(shape[0] / step), math.ceil(shape[1] / step))
    along = math.ceil(cells[0 if count_across > 1 else 1] / parts)
    panels = []
    for part in range(parts):
        rows, cols = slice(0, cells[0]), slice(0, cells[1])
        piece = slice(part * along, min((part + 1) * along, cells[0 if count_across > 1 else 1]))
        if piece.start >= piece.stop:
            break
        if count_across > 1:
            rows = piece
        elif count_down > 1:
            cols = piece
        width = max(1, round((cols.stop - cols.start) * cell[0]))
        height = max(1, round((rows.stop - rows.start) * cell[1]))
        left = part * (width + GAP) if count_across > 1 else 0
        top = part * (height + GAP) if count_down > 1 else 0
        panels.append(Panel(rows, cols, left, top, width, height))
    return Layout(
        step, cell, tuple(panels), max(p.left + p.width for p in panels), max(p.top + p.height for p in panels)
    )


def _parts(across: float, down: float) -> int:
    """Into how many panels a scene of these lengths is cut."""
    long, short = max(across, down), min(across, down)
    if long <= _LONGEST * short:
        return 1
    wanted = math.sqrt(_PICTURE_SHAPE * long / short) if down > across else math.sqrt(long / short / _PICTURE_SHAPE)
    return max(2, round(wanted))
