"""Sums and means over a square window around each pixel.

A sum over a window is built from sums over powers of two, so each takes few passes, and the order in which values are
added is the same at every pixel: sums do not depend on how a scene was cut into windows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.cores import map_cores

#: Rows and bytes of what is averaged at a time on a core of a CPU, so that sums stay in its cache.
_PIECE_ROWS, _PIECE_BYTES = 16, 2**20


def box_sum(x: Tensor, side: int) -> Tensor:
    """Sums over a square window around each pixel, cut at the border.

    Args:
        x: (..., y, x), finite.
        side: Side of the window in pixels, odd.

    Returns:
        As large as `x`.
    """
    # A border of zeros, which sums along columns leave at both sides for sums along rows.
    x = F.pad(x, (side // 2,) * 4)
    for dim in (-2, -1):
        x = _sliding_sum(x, side, dim)
    return x


def _sliding_sum(sums: Tensor, side: int, dim: int) -> Tensor:
    """Sums over each `side` neighbours along a dimension, of which there are `side - 1` fewer."""
    length = sums.shape[dim] - side + 1
    # Sums of 1, 2, 4, ... values, of which those that make up `side` are added.
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
    # In the memory layout of the cube, so that what is neighbours there is read and written together.
    means = torch.empty_like(block)

    def sums(rows: slice, cols: slice, side: int) -> Tensor:
        near, own = zip(*(_with_margin(part, side // 2) for part in (rows, cols)), strict=True)
        filled = block[:, *near] if whole else torch.where(valid[near], block[:, *near], 0.0)
        return box_sum(filled, side)[:, *own]

    @torch.no_grad()
    def some(place: tuple[slice, slice]) -> None:
        rows, cols = place
        here, count = means[:, rows, cols], counts[rows, cols]
        torch.div(sums(rows, cols, side), count.clamp(min=1), out=here)
        short = count < side**2
        for part in _around(short) if on_cpu else [(slice(None), slice(None))]:
            rows, cols = (_inside(own, within) for own, within in zip(part, place, strict=True))
            wider = sums(rows, cols, side + 2) / wider_counts[rows, cols].clamp(min=1)
            here[:, *part] = torch.where(short[part], wider, here[:, *part])
        if not whole:
            here.masked_fill_(~valid[place], torch.nan)

    high, wide = valid.shape
    if on_cpu:
        high, wide = _PIECE_ROWS, max(_PIECE_ROWS, _PIECE_BYTES // (_PIECE_ROWS * len(block) * block.element_size()))
    places = [(row, col) for row in _parts(valid.shape[0], high) for col in _parts(valid.shape[1], wide)]
    map_cores(some, places, block.device)
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


def _parts(length: int, step: int) -> list[slice]:
    """A length in parts of no more than so many."""
    return [slice(first, min(first + step, length)) for first in range(0, length, step)]


def _around(short: Tensor) -> list[tuple[slice, slice]]:
    """The rows and columns in which a mask (y, x) is True somewhere; none where it is nowhere."""
    places = [short.any(dim=dim).nonzero() for dim in (1, 0)]
    if not len(places[0]):
        return []
    rows, cols = (slice(int(found[0]), int(found[-1]) + 1) for found in places)
    return [(rows, cols)]


def _inside(part: slice, within: slice) -> slice:
    """A part of a part of a length, in the whole."""
    start, stop, _ = part.indices(within.stop - within.start)
    return slice(within.start + start, within.start + stop)


def _with_margin(part: slice, margin: int) -> tuple[slice, slice]:
    """A part of a length with a margin, which may end where the length does, and where it lies in that."""
    start = max(0, part.start - margin)
    return slice(start, part.stop + margin), slice(part.start - start, part.stop - start)
