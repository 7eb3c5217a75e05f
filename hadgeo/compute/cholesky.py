"""Cholesky decompositions of many small matrices at once, in products of blocks.

LAPACK takes one matrix after the other, and reaches a quarter of the pace of products on matrices of some hundred rows.
So it is left the blocks on the diagonal. Everything else is products of the same blocks of all matrices (the outer
product form of the blocked decomposition; G. H. Golub and C. F. Van Loan, Matrix computations, 4th ed., section 4.2),
and so is what else is divided by L, as further rows of the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

#: Rows of a block at most: fewer are too few for products, more too many for LAPACK. And what they are a multiple of.
_BLOCK, _LANES = 32, 8


def blocks(size: int) -> list[slice]:
    """The rows of each block of a matrix with so many rows."""
    count = -(-size // _BLOCK)
    step = -(-size // (count * _LANES)) * _LANES
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def block_columns(symmetric: Tensor) -> list[Tensor]:
    """Of symmetric matrices (..., size, size), the columns of each block, from the diagonal block downwards."""
    return [symmetric[..., block.start :, block].contiguous() for block in blocks(symmetric.shape[-1])]


def diagonals(columns: Sequence[Tensor]) -> Tensor:
    """The diagonals of matrices in `block_columns` (item, size)."""
    return torch.cat([column[:, : column.shape[2]].diagonal(dim1=-2, dim2=-1) for column in columns], dim=1)


@dataclass(frozen=True)
class Cholesky:
    """L of M = L Lᵀ for some matrices, in blocks.

    Where M is not positive definite, a pivot is not positive or NaN, and of that matrix nothing else is of use.

    Attributes:
        inverses: L⁻ᵀ of each block on the diagonal (item, row, row).
        below: Of the columns of each block, what is below the diagonal block (item, row, column).
        pivots: The diagonal of L (item, row).
    """

    inverses: list[Tensor]
    below: list[Tensor]
    pivots: Tensor

    @classmethod
    def of(cls, columns: Sequence[Tensor]) -> Self:
        """Decompose matrices that are given as `block_columns`, which stay as they are."""
        left, parts = list(columns), blocks(len(columns[0][0]))
        inverses, below, pivots = [], [], []
        for index, part in enumerate(parts):
            current, width = left[index], part.stop - part.start
            factor, _ = torch.linalg.cholesky_ex(current[:, :width])
            unit = torch.eye(width, dtype=factor.dtype, device=factor.device).expand_as(factor)
            inverses.append(torch.linalg.solve_triangular(factor.mT, unit, upper=True, left=False))
            below.append(torch.bmm(current[:, width:], inverses[-1]))
            pivots.append(factor.diagonal(dim1=-2, dim2=-1))
            # What is given stays as it is.
            less = torch.Tensor.baddbmm_ if index else torch.Tensor.baddbmm
            for later, other in enumerate(parts[index + 1 :], index + 1):
                rows = below[-1][:, other.start - part.stop :]
                left[later] = less(left[later], rows, rows[:, : other.stop - other.start].mT, alpha=-1)
        return cls(inverses, below, torch.cat(pivots, dim=1))

    def half(self, rows: Tensor) -> Tensor:
        """Rows (item, place, size) times L⁻ᵀ."""
        halves, left = [], rows
        for inverse, below in zip(self.inverses, self.below, strict=True):
            width = inverse.shape[1]
            halves.append(torch.bmm(left[..., :width], inverse))
            left = torch.baddbmm(left[..., width:], halves[-1], below.mT, alpha=-1)
        return torch.cat(halves, dim=2)

    def other_half(self, halves: Tensor) -> Tensor:
        """Rows (item, place, size) times L⁻¹: of what `half` gives, the rows times M⁻¹."""
        solved = halves[..., halves.shape[2] :]
        last = halves.shape[2]
        for inverse, below in zip(reversed(self.inverses), reversed(self.below), strict=True):
            first = last - inverse.shape[1]
            current = torch.baddbmm(halves[..., first:last], solved, below, alpha=-1)
            solved = torch.cat([torch.bmm(current, inverse.mT), solved], dim=2)
            last = first
        return solved
