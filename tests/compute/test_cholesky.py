"""Cholesky decompositions in blocks against LAPACK's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hadgeo.compute.cholesky import Cholesky, block_columns, diagonals
from hadgeo.compute.cores import one_core


@pytest.fixture(autouse=True)
def _on_one_core() -> Iterator[None]:
    """As detectors call it, in `map_cores`: several cores would share a product, and add up in another order."""
    with one_core():
        yield


def matrices(size: int, count: int = 3) -> tuple[Tensor, Tensor]:
    """Positive definite matrices, and rows to be divided by them."""
    generator = torch.Generator().manual_seed(size)
    factors = torch.randn(count, 2 * size, size, generator=generator, dtype=torch.float64)
    return factors.mT @ factors, torch.randn(count, 5, size, generator=generator, dtype=torch.float64)


# One block, a narrower last one, blocks of the same width, and a size that is no multiple of anything.
@pytest.mark.parametrize("size", [1, 8, 33, 64, 104, 151])
def test_solves_what_lapack_solves(size: int) -> None:
    M, rows = matrices(size)
    columns = block_columns(M)
    kept = [column.clone() for column in columns]
    found = Cholesky.of(columns)
    L = torch.linalg.cholesky(M)
    torch.testing.assert_close(found.pivots, L.diagonal(dim1=-2, dim2=-1))
    halves = found.half(rows)
    torch.testing.assert_close(halves, torch.linalg.solve_triangular(L, rows.mT, upper=False).mT)
    torch.testing.assert_close(found.other_half(halves), torch.cholesky_solve(rows.mT, L).mT)
    assert all(torch.equal(column, before) for column, before in zip(columns, kept, strict=True))


def test_diagonals_are_those_of_the_matrices() -> None:
    M, _ = matrices(70)
    assert torch.equal(diagonals(block_columns(M)), M.diagonal(dim1=-2, dim2=-1))


@pytest.mark.parametrize("bad", [3, 60])
def test_a_matrix_that_is_not_positive_shows_in_its_pivots_and_spoils_no_other(bad: int) -> None:
    M, rows = matrices(70)
    expected = Cholesky.of(block_columns(M)).half(rows)
    M[1, bad, bad] = -1
    found = Cholesky.of(block_columns(M))
    assert not (found.pivots[1] > 0).all()
    assert torch.equal(found.half(rows)[[0, 2]], expected[[0, 2]])


def test_the_same_bits_beside_any_others() -> None:
    M, rows = (x.float() for x in matrices(104, 9))
    together = Cholesky.of(block_columns(M))
    alone = Cholesky.of(block_columns(M[4:5]))
    assert torch.equal(alone.half(rows[4:5]), together.half(rows)[4:5])
