"""Sums and means over a square window around each pixel.

A sum over a window is built from sums over powers of two, so each takes few passes, and the order in which values are
added is the same at every pixel: sums do not depend on how a scene was cut into windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hadgeo.compute.cores import map_cores

#: Bytes of what is averaged at a time on a core of a CPU, so that sums stay in its cache.
_PIECE_BYTES = 2**20


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


def box_mean(block: Tensor, side: int) -> Tensor:
    """The mean spectrum of the valid pixels of a square window around each valid pixel.

    Where pixels are missing from a window, beyond the border or for want of a value, it is two pixels wider. The mean
    of few pixels is noisier than that of all, and would stand out from them for that alone.

    Args:
        block: (band, y, x), NaN where invalid. Windows are cut at its border.
        side: Side of the window in pixels, odd and at least 3.

    Returns:
        (band, y, x), NaN where the pixel itself is invalid. A value depends on pixels within `box_reach`.
    """
    valid = block.sum(dim=0).isfinite()
    on_cpu = valid.device.type == "cpu"
    # Another device would have to be waited for.
    whole = on_cpu and bool(valid.all())
    present = valid.to(block.dtype)
    counts, wider_counts = box_sum(present, side), box_sum(present, side + 2)
    everywhere = (slice(0, valid.shape[0]), slice(0, valid.shape[1]))
    means = torch.empty_like(block, memory_format=torch.contiguous_format)

    @torch.no_grad()
    def some(bands: slice) -> None:
        filled = block[bands] if whole else torch.where(valid, block[bands], 0.0)
        torch.div(box_sum(filled, side), counts.clamp(min=1), out=means[bands])
        for rows, cols in _frame(*everywhere, side // 2) if whole else [everywhere]:
            near, own = zip(*(_with_margin(part, box_reach(side)) for part in (rows, cols)), strict=True)
            wider = box_sum(filled[:, *near], side + 2)[:, *own] / wider_counts[rows, cols].clamp(min=1)
            here = means[bands, rows, cols]
            here.copy_(torch.where(counts[rows, cols] < side**2, wider, here))
        if not whole:
            means[bands].masked_fill_(~valid, torch.nan)

    step = max(1, _PIECE_BYTES // (valid.numel() * block.element_size())) if on_cpu else len(block)
    map_cores(some, [slice(first, first + step) for first in range(0, len(block), step)], block.device)
    return means


def square_means(block: Tensor, side: int) -> Tensor:
    """The mean spectrum of the valid pixels of each square of a grid.

    Args:
        block: (band, y, x), NaN where invalid, of whole squares.
        side: Side of a square in pixels, odd.

    Returns:
        (band, y / side, x / side), NaN where the pixel in the middle is invalid.
    """
    valid = block.sum(dim=0).isfinite()
    filled = block if valid.all() else torch.where(valid, block, 0.0)
    means = torch.zeros_like(filled[:, ::side, ::side])
    counts = means.new_zeros(means.shape[1:])
    for i in range(side):
        for j in range(side):
            # Shares are added: values near the largest float would add up to none.
            means.add_(filled[:, i::side, j::side], alpha=1 / side**2)
            counts += valid[i::side, j::side]
    means *= side**2 / counts.clamp(min=1)
    return means.masked_fill_(~valid[side // 2 :: side, side // 2 :: side], torch.nan)


def box_reach(side: int) -> int:
    """How many pixels away on each side a value of `box_mean` looks; nothing is averaged over a side of 1."""
    return side // 2 + 1 if side > 1 else 0


def _frame(rows: slice, cols: slice, width: int) -> list[tuple[slice, slice]]:
    """The rows and columns of an image within so many pixels of its border; a corner is part of two."""
    high, wide = min(width, rows.stop), min(width, cols.stop)
    upper, lower = slice(0, high), slice(rows.stop - high, rows.stop)
    left, right = slice(0, wide), slice(cols.stop - wide, cols.stop)
    return [(upper, cols), (lower, cols), (rows, left), (rows, right)]


def _with_margin(part: slice, margin: int) -> tuple[slice, slice]:
    """A part of a length with a margin, which may end where the length does, and where it lies in that."""
    start = max(0, part.start - margin)
    return slice(start, part.stop + margin), slice(part.start - start, part.stop - start)
