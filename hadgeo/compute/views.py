"""How a detector may see a cube: averaged over neighbouring pixels, over neighbouring bands, or both.

Materials of several pixels stand out more where noise is averaged over pixels. And what tells materials apart is broad
in wavelength, while the noise of a band is its own: fewer, broader bands have less noise to be mistaken for a target,
and fewer dimensions in which a background has to be learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hadgeo.compute.boxes import box_mean, box_reach, square_means


@dataclass(frozen=True)
class View:
    """What is averaged.

    Attributes:
        side: Side in pixels, odd, of the square window over whose valid pixels each pixel is averaged; 1 for none. The
            window is wider where some are missing; see `hadgeo.compute.boxes.box_mean`.
        bands: Neighbouring bands are averaged in groups, as few as leave at most so many; 0 for none.
    """

    side: int = 1
    bands: int = 0

    @property
    def reach(self) -> int:
        """How many pixels away on each side it looks."""
        return box_reach(self.side)

    def groups(self, bands: int) -> list[range]:
        """Which of so many bands are averaged together: nearly equally many in each group, the larger ones first."""
        if not self.bands or bands <= self.bands:
            return [range(i, i + 1) for i in range(bands)]
        count = -(-bands // -(-bands // self.bands))
        each, more = divmod(bands, count)
        starts = [i * each + min(i, more) for i in range(count + 1)]
        return [range(start, end) for start, end in pairwise(starts)]

    def count(self, bands: int) -> int:
        """How many bands are left of so many."""
        return len(self.groups(bands))

    def of(self, block: Tensor) -> Tensor:
        """The cube as it is seen; itself where nothing is averaged.

        Args:
            block: (band, y, x), NaN where invalid. Windows are cut at its border.

        Returns:
            (group, y, x), NaN where any band of the pixel itself is invalid. A value does not depend on how a scene was
            cut, but near a border within it.
        """
        grouped = self._grouped(block)
        return grouped if self.side == 1 else box_mean(grouped, self.side)

    def apart(self, block: Tensor, own: tuple[slice, slice], read: tuple[slice, slice]) -> Tensor:
        """Averages that have no pixel in common: over squares of a grid that is counted from the scene's first pixel.

        Args:
            block: (band, y, x) of a window and a halo of at least `reach`, where the scene has it.
            own: The window's own rows and columns in the scene.
            read: Those of the block.

        Returns:
            (group, rows of squares, columns of squares) of those whose middle is the window's own; NaN where a band of
            the pixel in the middle is invalid.
        """
        rows, cols = (_whole_squares(*along, self.side) for along in zip(own, read, strict=True))
        return square_means(self._grouped(block)[:, rows, cols], self.side)

    def _grouped(self, block: Tensor) -> Tensor:
        groups = self.groups(len(block))
        if len(groups) == len(block):
            return block
        each = len(groups[-1])
        more = sum(len(group) > each for group in groups)
        edge = more * (each + 1)
        return torch.cat(
            [_means(part, size) for part, size in ((block[:edge], each + 1), (block[edge:], each)) if len(part)]
        )

    def spread(self, values: Tensor, bands: int) -> Tensor:
        """Give each band what its group has.

        Args:
            values: (group, ...).
            bands: How many bands were averaged.

        Returns:
            (band, ...).
        """
        sizes = torch.tensor([len(group) for group in self.groups(bands)], device=values.device)
        return values.repeat_interleave(sizes, dim=0)


#: The cube itself.
AS_IS = View()


def _whole_squares(own: slice, read: slice, side: int) -> slice:
    """Of what was read along one side of a scene, the squares of a grid whose middle is a window's own."""
    middle = side // 2
    first = -((own.start - middle) // -side) * side
    stop = min((own.stop - 1 - middle) // side + 1, read.stop // side) * side
    return slice(first - read.start, max(first, stop) - read.start)


def _means(block: Tensor, size: int) -> Tensor:
    """Means of each so many bands, added one after the other, so that they are the same in any memory layout."""
    # Shares are added, not bands: values near the largest float would add up to none.
    total = block[::size] * (1 / size)
    for offset in range(1, size):
        total.add_(block[offset::size], alpha=1 / size)
    return total
