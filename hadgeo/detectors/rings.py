"""Sums and means over square windows and the rings between two of them.

A sum over a window is built from sums over powers of two, so each takes few passes, and the order in which values are
added is the same at every pixel: sums do not depend on how a scene was cut into windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from hadgeo.sampling import valid_pixels
from hadgeo.windows import Window, pad, tile

#: Side in pixels of the squares that are worked on at a time: their copies stay small, and so does the share of halos.
SQUARE = 64


def squares(window: Window, reach: int) -> Iterator[Window]:
    """Cut a window's own pixels into small squares, each with as many neighbours as were read.

    Args:
        window: The window, with its halo.
        reach: Pixels of neighbours wanted on each side.

    Yields:
        Windows of the block that was read, whose first row and column are 0.
    """
    for square in tile((window.height, window.width), (SQUARE, SQUARE)):
        moved = Window(square.row + window.top, square.col + window.left, square.height, square.width)
        yield pad(moved, reach, window.outer_shape)


def box_sum(x: Tensor, side: int) -> Tensor:
    """Sums over a square window around each pixel, cut at the border.

    Args:
        x: (..., y, x), finite.
        side: Side of the window in pixels, odd.

    Returns:
        As large as `x`.
    """
    for dim in (-2, -1):
        x = _sliding_sum(x, side, dim)
    return x


def _sliding_sum(x: Tensor, side: int, dim: int) -> Tensor:
    length, reach = x.shape[dim], side // 2
    border = x.new_zeros(1).expand(*(reach if i == x.ndim + dim else n for i, n in enumerate(x.shape)))
    # Sums of 1, 2, 4, ... values, of which those that make up `side` are added.
    sums = torch.cat([border, x, border], dim=dim)
    total: Tensor | None = None
    width, start = 1, 0
    while True:
        if side & width:
            part = sums.narrow(dim, start, length)
            total = part if total is None else total + part
            start += width
        if 2 * width > side:
            break
        sums = sums.narrow(dim, 0, sums.shape[dim] - width) + sums.narrow(dim, width, sums.shape[dim] - width)
        width *= 2
    assert total is not None, "side is at least 1"
    return total


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
    filled = block if bool(valid.all()) else torch.where(valid, block, 0.0)
    sums = [box_sum(filled, side) for side in sides]
    counts = [box_sum(valid.to(block.dtype), side) for side in sides]
    means = []
    for (inner, outer), (few, many) in zip(pairwise(sums), pairwise(counts), strict=True):
        count = many - few
        mean = (outer - inner).div_(count.clamp(min=1))
        means.append(torch.where(count > 0, mean, otherwise.to(mean)[:, None, None]))
    return means
