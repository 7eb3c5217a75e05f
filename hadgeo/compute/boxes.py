"""Sums and means over a square window around each pixel.

A sum over a window is built from sums over powers of two, so each takes few passes, and the order in which values are
added is the same at every pixel: sums do not depend on how a scene was cut into windows.
"""

from __future__ import annotations

import torch
from torch import Tensor


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

    Args:
        block: (band, y, x), NaN where invalid. Windows are cut at its border.
        side: Side of the window in pixels, odd.

    Returns:
        (band, y, x), NaN where the pixel itself is invalid.
    """
    valid = block.sum(dim=0).isfinite()
    # Another device would have to be waited for.
    whole = valid.device.type == "cpu" and bool(valid.all())
    sums = box_sum(block if whole else torch.where(valid, block, 0.0), side)
    counts = box_sum(valid.to(block.dtype), side)
    return sums.div_(counts) if whole else torch.where(valid, sums / counts, torch.nan)
