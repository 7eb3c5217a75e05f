"""Four pixels side by side, and the pixels around them that their dual windows share or do not share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

#: Rows and columns, relative to the first pixel of the surroundings of a tile.
Places = list[tuple[int, int]]


@dataclass(frozen=True)
class Tile:
    """Who plays which part for a tile of 2 x 2 pixels, whose outer windows together are its surroundings.

    Attributes:
        union: The union of the four rings, as offsets from the first pixel of the surroundings in a flattened image.
        moved: What is new in it since the tile stood two columns before, and then as many that have left it.
        spectra: All of it that is not in each of the rings, and then the blocks of all four pixels, likewise.
        involved: How many of these are not in each of the rings.
        others: For each pixel, which of these are not in its own ring (4, place).
        block: The block of pixels of interest around each, as indices of the surroundings (4, place).
        ring: Each pixel's own ring, likewise (4, place).
        in_ring: 1 where pixels of the surroundings are in it, and 0 elsewhere, float64 (4, place).
    """

    union: Tensor
    moved: Tensor
    spectra: Tensor
    involved: int
    others: Tensor
    block: Tensor
    ring: Tensor
    in_ring: Tensor

    @classmethod
    def of(cls, inner: int, outer: int, side: int, width: int, device: torch.device) -> Self:
        """For windows and blocks with these sides, and images that are so wide."""
        reach, first, last = outer // 2, outer // 2 + 1 - inner // 2, outer // 2 + inner // 2
        whole, hidden = range(outer + 1), range(first, last + 1)
        union = set(_rectangle(whole, whole)) - set(_rectangle(hidden, hidden))
        corners = _rectangle(range(2), range(2))
        centres = [(row + reach, col + reach) for row, col in corners]
        rings = [sorted(set(_square(c, outer)) - set(_square(c, inner))) for c in centres]
        blocks = [_square(c, side) for c in centres]
        others = [sorted(union.difference(ring)) for ring in rings]
        involved = sorted({place for places in others for place in places})
        few = range(max(first, last - 1), last + 1)
        come = _rectangle(whole, range(outer - 1, outer + 1))
        come += _rectangle(hidden, range(first - 2, first) if few else few)
        gone = _rectangle(whole, range(-2, 0)) + _rectangle(hidden, few)

        def offsets(places: Places, width: int = width) -> list[int]:
            return [row * width + col for row, col in places]

        def tensor(indices: object) -> Tensor:
            return torch.tensor(indices, device=device)

        ring = tensor([offsets(places, outer + 1) for places in rings])
        in_ring = torch.zeros(4, (outer + 1) ** 2, dtype=torch.float64, device=device).scatter_(1, ring, 1)
        return cls(
            union=tensor(offsets(sorted(union))),
            moved=tensor(offsets(come + gone)),
            spectra=tensor(offsets(involved + [place for places in blocks for place in places])),
            involved=len(involved),
            others=tensor([[involved.index(place) for place in places] for places in others]),
            block=tensor([offsets(places, outer + 1) for places in blocks]),
            ring=ring,
            in_ring=in_ring,
        )


def _rectangle(rows: range, cols: range) -> Places:
    return [(row, col) for row in rows for col in cols]


def _square(centre: tuple[int, int], side: int) -> Places:
    return _rectangle(*(range(i - side // 2, i + side // 2 + 1) for i in centre))
