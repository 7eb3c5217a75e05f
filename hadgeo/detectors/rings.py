"""Mean spectra of the rings between square windows around each pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from hadgeo.compute.boxes import box_sum
from hadgeo.compute.cores import map_cores
from hadgeo.sampling import valid_pixels
from hadgeo.windows import Window, pad, tile

#: Side in pixels of the squares that are worked on at a time, elsewhere and on a CPU: their copies stay small, and so
#: does the share of halos. Elsewhere each operation costs what it takes to begin it.
_SQUARE = (256, 64)

#: Side in pixels of the squares of a large scene that are learned from: so small that there are many places of them.
LEARNED_SIDE = 64


def square_bytes(bands: int, reach: int, copies: int, pixels: int | None = None) -> int:
    """Bytes of so many float64 copies of the spectra of one square of a CPU, with its neighbours.

    Args:
        bands: Bands used.
        reach: Pixels of neighbours wanted on each side.
        copies: How many.
        pixels: Pixels of the scene, if it may be smaller than that.
    """
    square = (_SQUARE[1] + 2 * reach) ** 2
    return copies * 8 * bands * (square if pixels is None else min(square, pixels))


def squares(window: Window, reach: int, device: torch.device) -> Iterator[Window]:
    """Cut a window's own pixels into small squares, each with as many neighbours as were read.

    Args:
        window: The window, with its halo.
        reach: Pixels of neighbours wanted on each side.
        device: Where they are worked on.

    Yields:
        Windows of the block that was read, whose first row and column are 0.
    """
    side = _SQUARE[device.type == "cpu"]
    for square in tile((window.height, window.width), (side, side)):
        moved = Window(square.row + window.top, square.col + window.left, square.height, square.width)
        yield pad(moved, reach, window.outer_shape)


def in_squares(block: Tensor, reach: int, use: Callable[[Tensor, Window], None]) -> None:
    """Call a function for each small square of a window, on all cores of a CPU.

    Args:
        block: (band, y, x).
        reach: Pixels of true neighbours that it needs on each side.
        use: Given the bands of a square and its halo, and the square as a part of the window.
    """

    @torch.no_grad()
    def one(part: Window) -> None:
        use(block[:, part.outer_rows, part.outer_cols], part)

    map_cores(one, squares(Window(0, 0, *block.shape[1:]), reach, block.device), block.device)


def ring_means(block: Tensor, sides: tuple[int, ...], otherwise: Tensor) -> list[Tensor]:
    """The mean spectra of nested rings around each pixel.

    Args:
        block: (band, y, x), NaN where invalid. Rings are cut at its border, and invalid pixels do not count.
        sides: Sides of square windows in pixels, odd and growing; each ring lies between two that follow each other.
        otherwise: Spectrum (band) for rings without a valid pixel.

    Returns:
        (band, y, x) for each ring, finite everywhere.
    """
    valid = valid_pixels(block)
    # Another device would have to be waited for.
    whole = valid.device.type == "cpu" and bool(valid.all())
    filled = block if whole else torch.where(valid, block, 0.0)
    sums = [box_sum(filled, side) for side in sides]
    counts = [box_sum(valid.to(block.dtype), side) for side in sides]
    means = []
    for (inner, outer), (few, many) in zip(pairwise(sums), pairwise(counts), strict=True):
        count = many - few
        mean = (outer - inner).div_(count.clamp(min=1))
        means.append(torch.where(count > 0, mean, otherwise.to(mean)[:, None, None]))
    return means
