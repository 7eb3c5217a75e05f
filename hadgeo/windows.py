"""Windows with halos, and plans of them: pure integers, no input or output, no arrays.

A scene is scored window by window. Each window carries the halo of true neighbours that is available on each of
its sides; at the scene's border there is none. A plan partitions a scene: every pixel lies in exactly one window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a scene, and the halo of true neighbours around it, in pixels.

    Attributes:
        row: First row.
        col: First column.
        height: Number of rows, at least 1.
        width: Number of columns, at least 1.
        top: Halo rows above the window.
        bottom: Halo rows below it.
        left: Halo columns to its left.
        right: Halo columns to its right.
    """

    row: int
    col: int
    height: int
    width: int
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @property
    def rows(self) -> slice:
        """The window's own rows in the scene."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """The window's own columns in the scene."""
        return slice(self.col, self.col + self.width)

    @property
    def outer_rows(self) -> slice:
        """The rows to read: the window's own and its halo's."""
        return slice(self.row - self.top, self.row + self.height + self.bottom)

    @property
    def outer_cols(self) -> slice:
        """The columns to read: the window's own and its halo's."""
        return slice(self.col - self.left, self.col + self.width + self.right)

    @property
    def inner(self) -> tuple[slice, slice]:
        """The window's own rows and columns within what was read."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    @property
    def pixels(self) -> int:
        """Number of the window's own pixels."""
        return self.height * self.width

    @property
    def outer_shape(self) -> tuple[int, int]:
        """Rows and columns to read, the halo's among them."""
        return (self.top + self.height + self.bottom, self.left + self.width + self.right)


def pad(window: Window, halo: int, shape: tuple[int, int], grid: int = 1) -> Window:
    """Give a window the halo that the scene has around it.

    Args:
        window: A window inside the scene.
        halo: Pixels of true neighbours wanted on each side, at least 0.
        shape: The scene's rows and columns.
        grid: Side of blocks, counted from the scene's first row and column, that are to be read whole: what is read
            begins and ends at the border of a block, or of the scene.

    Returns:
        The same rectangle with at least the halo, as far as that lies inside the scene.
    """
    (top, bottom), (left, right) = (
        _around(own, halo, length, grid) for own, length in zip((window.rows, window.cols), shape, strict=True)
    )
    return Window(window.row, window.col, window.height, window.width, top=top, bottom=bottom, left=left, right=right)


def _around(own: slice, halo: int, length: int, grid: int) -> tuple[int, int]:
    """How many pixels to read before and after a range, along one side of a scene of some length."""
    first = max(0, (own.start - halo) // grid * grid)
    stop = min(length, -((own.stop + halo) // -grid) * grid)
    return own.start - first, stop - own.stop


def tile(shape: tuple[int, int], size: tuple[int, int], halo: int = 0, grid: int = 1) -> Iterator[Window]:
    """Partition a scene into windows of one size, row by row; the last ones are smaller.

    Args:
        shape: The scene's rows and columns, each at least 1.
        size: A window's rows and columns, each at least 1.
        halo: Pixels of true neighbours wanted on each side.
        grid: As for `pad`; windows may begin anywhere.

    Yields:
        Windows that cover each pixel of the scene exactly once.
    """
    rows, cols = shape
    height, width = size
    for row in range(0, rows, height):
        for col in range(0, cols, width):
            bare = Window(row, col, min(height, rows - row), min(width, cols - col))
            yield pad(bare, halo, shape, grid)


@dataclass(frozen=True, slots=True)
class Holes:
    """Tiles of a scene that are known to hold no data.

    Attributes:
        size: Rows and columns of the tiles, as `tile` was given them.
        origins: First row and column of each tile without data.
    """

    size: tuple[int, int] = (1, 1)
    origins: frozenset[tuple[int, int]] = frozenset()

    def cover(self, window: Window) -> bool:
        """Whether a window, without its halo, lies in such tiles alone."""
        height, width = self.size
        return bool(self.origins) and all(
            (row, col) in self.origins
            for row in range(window.row // height * height, window.row + window.height, height)
            for col in range(window.col // width * width, window.col + window.width, width)
        )


def whole_halo(halo: int, grid: int) -> int:
    """Pixels that are read on each side of a window that begins and ends on a grid; see `pad`."""
    return math.ceil(halo / grid) * grid


def window_size(
    shape: tuple[int, int],
    *,
    halo: int,
    max_pixels: int,
    block: tuple[int, int] | None = None,
    grid: int = 1,
) -> tuple[int, int]:
    """Choose the largest windows that fit a budget and suit the way in which a file is stored.

    Raw files are read in strips of full width, which only pay for a halo above and below, unless strips would be so
    low that squares pay less. Files stored in blocks are read in whole blocks, as near to a square as they allow, since
    a block that is cut is decoded twice.
    A budget too small for one strip row or one block gets the largest rectangle that fits, and never less than
    one pixel, or one block of the grid.

    Args:
        shape: The scene's rows and columns.
        halo: Pixels of true neighbours that a score needs on each side.
        max_pixels: Pixels that may be in memory for one window, its halo's among them.
        block: Rows and columns of the file's blocks, or None for a raw file.
        grid: As for `pad`; the windows are multiples of it.

    Returns:
        Rows and columns of a window, without its halo.
    """
    rows, cols = shape
    halo = whole_halo(halo, grid)
    side = max(grid, (math.isqrt(max_pixels) - 2 * halo) // grid * grid)
    if block is None or block[1] >= cols:
        height = max_pixels // cols - 2 * halo
        if height >= rows:
            return rows, cols
        if height >= grid and _outer_share(height, halo) <= max(1.3, _outer_share(side, halo) ** 2):
            return min(rows, _whole(height, block[0] if block is not None else 1, grid)), cols
    if block is None or block[0] > side or block[1] > side:
        return min(rows, side), min(cols, side)
    return min(rows, _whole(side, block[0], grid)), min(cols, _whole(side, block[1], grid))


def _whole(length: int, step: int, grid: int) -> int:
    """The largest multiple of a step and a grid that is no longer than a length; of the grid alone if there is none."""
    both = math.lcm(step, grid)
    return length // both * both or length // grid * grid


def _outer_share(length: int, halo: int) -> float:
    """How much longer a window is with its halo than without."""
    return (length + 2 * halo) / length


def halves(window: Window, halo: int, grid: int = 1) -> tuple[Window, Window]:
    """Cut a window into its upper and lower half, in the frame of what was read for it.

    Args:
        window: A window of at least two rows, with its halo.
        halo: Pixels of true neighbours that a score needs on each side.
        grid: As for `pad`; what was read begins at a block of it.

    Returns:
        Two windows whose row 0 and column 0 are the first row and column that `window` reads.
    """
    upper = window.height // 2
    lower = Window(window.top + upper, window.left, window.height - upper, window.width)
    return (
        pad(Window(window.top, window.left, upper, window.width), halo, window.outer_shape, grid),
        pad(lower, halo, window.outer_shape, grid),
    )
