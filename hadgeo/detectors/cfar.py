"""Local contrast of a score: how far a pixel stands out from what is usual around it.

Land, surf and calm water have residuals of very different size, and one threshold for all of them flags the roughest.
Dividing by the median of a reference window is the order-statistic detector of constant false-alarm rate: H. Rohling,
"Radar CFAR thresholding in clutter and multiple target situations", IEEE Trans. Aerospace and Electronic Systems 19(4),
1983, doi 10.1109/TAES.1983.309350, with the median as order statistic.

Medians are found among fixed levels: for each level, the pixels of a window that are no higher are counted, and the
median lies between the last level that less than half of them reach and the next (threshold decomposition: J. P. Fitch,
E. J. Coyle and N. C. Gallagher, "Median filtering by threshold decomposition", IEEE Trans. Acoustics, Speech, and
Signal Processing 32(6), 1984). Counts are sums over windows, of eight levels at once in the bytes of an integer. All of
it is exact arithmetic, so a median is the same however a scene is cut, on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hadgeo.compute.cores import map_cores
from hadgeo.windows import Window, pad, tile

#: Part of the scene's median that is added to each local one, so that perfectly calm places do not divide by nothing.
FLOOR_WEIGHT = 0.5

#: Levels in an octave of the divisor, as a power of two. A divisor is off by no more than half a level.
_LEVEL_BITS = 5

#: Largest relative error of the divisor, and so of a contrast.
CONTRAST_ERROR = 2.0 ** -(_LEVEL_BITS + 1)

#: A level above that of every number.
_NO_LEVEL = 2**31

#: The octave of what is not finite.
_NO_OCTAVE = 255

#: Rows and columns that are worked on at a time, elsewhere and on a CPU, where sums then stay in a core's cache.
_PIECE = ((1024, 1024), (128, 256))

#: Mantissa bits of a float32 below those that tell levels apart.
_SHIFT = 23 - _LEVEL_BITS


def local_contrast(score: Tensor, *, window: int, floor: Tensor) -> Tensor:
    """Divide scores by the median of their surroundings.

    Args:
        score: (y, x), at least 0, NaN where invalid.
        window: Side of the square reference window in pixels, odd. It is cut at the border, and NaN does not count.
        floor: Median score of the scene, a scalar.

    Returns:
        score / (local median + `FLOOR_WEIGHT` * floor), (y, x), with a relative error of no more than `CONTRAST_ERROR`.
    """
    contrast = torch.empty_like(score)
    # The divisor in units of the floor, or of the score where most of a scene has none.
    unit = torch.where(floor > 0, floor, torch.ones_like(floor))
    least = torch.where(floor > 0, FLOOR_WEIGHT, 0.0)

    @torch.no_grad()
    def one(part: Window) -> None:
        divisor = _local_median(_around(score, part, window // 2).div_(unit).add_(least).float(), window)
        own = score[part.rows, part.cols]
        contrast[part.rows, part.cols] = own / (divisor.to(score) * unit).clamp(min=torch.finfo(score.dtype).tiny)

    map_cores(one, tile((score.shape[0], score.shape[1]), _PIECE[score.device.type == "cpu"]), score.device)
    return contrast


def _around(score: Tensor, part: Window, reach: int) -> Tensor:
    """A copy of a part of scores (y, x) and of what is around it, NaN beyond the border."""
    height, width = part.height + 2 * reach, part.width + 2 * reach
    around = score.new_full((height, width), torch.nan)
    there = pad(part, reach, (score.shape[0], score.shape[1]))
    top, left = reach - there.top, reach - there.left
    rows, cols = there.outer_shape
    around[top : top + rows, left : left + cols] = score[there.outer_rows, there.outer_cols]
    return around


def _local_median(values: Tensor, window: int) -> Tensor:
    """The median of each square window that lies in an image, the lower of two, as the middle of the level it lies in.

    Args:
        values: (y, x), float32, at least 0, NaN where invalid.
        window: Side of the windows in pixels, odd.

    Returns:
        (y - window + 1, x - window + 1), anything where no pixel of the window is valid.
    """
    valid = values.isfinite()
    lowest = torch.where(valid, values, torch.inf).amin()
    highest = torch.where(valid, values, lowest).amax()
    # Numbers that Python has to know are fetched together: a device is waited for each time.
    first, last = (torch.stack([lowest, highest]).view(torch.int32) >> 23).cpu().tolist()
    if first >= _NO_OCTAVE:
        inside = window // 2
        return values[inside:-inside, inside:-inside]
    # Bits of a positive float32 grow with it, so the upper ones number levels: equally many in each octave.
    level = values.view(torch.int32).to(torch.int64) >> _SHIFT
    counts = _Counts(valid, window)
    octave = torch.where(valid, level >> _LEVEL_BITS, _NO_LEVEL)
    coarse = counts.median(octave, first, last + 1)
    # Only octaves in which a median lies are looked at in detail.
    first, last = torch.stack([coarse.min(), coarse.max()]).cpu().tolist()
    first, last = first << _LEVEL_BITS, (last + 1) << _LEVEL_BITS
    middle = (counts.median(torch.where(valid, level, _NO_LEVEL), first, last) << _SHIFT) + (1 << (_SHIFT - 1))
    return middle.to(torch.int32).view(torch.float32)


class _Counts:
    """Counts pixels of windows that are no higher than several levels at once, in parts of an integer.

    Args:
        valid: Which pixels count, bool (y, x).
        window: Side of the windows in pixels, odd.
    """

    def __init__(self, valid: Tensor, window: int) -> None:
        # A count, with what is missing to half of it, must fit into a part.
        self._width = 8 if window**2 < 2**8 - 1 else 16
        self._window = window
        self._levels = 64 // self._width
        self._ones = sum(1 << (self._width * i) for i in range(self._levels))
        needed = (_window_sum(valid.to(torch.int64), window) + 1) // 2
        # What makes a count of at least half of the pixels set the uppermost bit of its part.
        self._missing = (2 ** (self._width - 1) - needed) * self._ones

    def median(self, level: Tensor, first: int, last: int) -> Tensor:
        """For each window the least of the levels [first, last) that half of its pixels do not exceed, int64 (y, x).

        Args:
            level: Level of each pixel, `_NO_LEVEL` where invalid, int64 (y, x).
            first: A level that no median lies below.
            last: One that all medians do.
        """
        scaled = level * self._width
        ones = level.new_full((), self._ones)
        found = torch.full_like(self._missing, first)
        groups = range(first, last, self._levels)
        # So many are added up before a part is full.
        most = 2**self._width - 1
        for some in (groups[start : start + most] for start in range(0, len(groups), most)):
            reached = torch.zeros_like(found)
            for start in some:
                # Ones in the parts of all levels that a pixel does not exceed.
                below = torch.bitwise_left_shift(ones, (scaled - start * self._width).clamp_(0, 64))
                counts = _window_sum(below, self._window).add_(self._missing)
                reached += counts.bitwise_right_shift_(self._width - 1).bitwise_and_(self._ones)
            found += self._levels * len(some) - self._parts(reached)
        return found

    def _parts(self, values: Tensor) -> Tensor:
        """The sum of the parts of each value."""
        mask = 2**self._width - 1
        return torch.stack([(values >> (self._width * i)) & mask for i in range(self._levels)]).sum(dim=0)


def _window_sum(x: Tensor, side: int) -> Tensor:
    """Sums of the square windows that lie in an image (y, x)."""
    for dim in (0, 1):
        length = x.shape[dim] - side + 1
        # Sums of 1, 2, 4, ... values, of which those that make up `side` are added.
        sums, width, start = x, 1, 1
        total = x.narrow(dim, 0, length)
        while 2 * width <= side:
            count = sums.shape[dim] - width
            sums = sums.narrow(dim, 0, count) + sums.narrow(dim, width, count)
            width *= 2
            if side & width:
                part = sums.narrow(dim, start, length)
                total = total + part if start == 1 else total.add_(part)
                start += width
        x = total
    return x
