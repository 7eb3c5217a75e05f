"""Sums over windows, and means of rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, uniform_filter

from hadgeo.detectors.rings import box_sum, ring_means
from hadgeo.windows import tile
from tests.support import background, examples

odd = st.integers(0, 12).map(lambda half: 2 * half + 1)


def spectra(rows: int, cols: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows * 100 + cols).normal(size=(3, rows, cols)))


def ring(inner: int, outer: int) -> np.ndarray:
    """1 in a window of one side, 0 in a smaller one inside it."""
    kernel = np.ones((outer, outer))
    gap = (outer - inner) // 2
    kernel[gap : gap + inner, gap : gap + inner] = 0
    return kernel


@given(side=odd, rows=st.integers(1, 30), cols=st.integers(1, 30))
def test_sums_are_those_of_a_uniform_filter(side: int, rows: int, cols: int) -> None:
    x = spectra(rows, cols)
    expected = [uniform_filter(band, side, mode="constant") * side**2 for band in x.numpy()]
    np.testing.assert_allclose(box_sum(x, side), expected, atol=1e-9)


@settings(max_examples=examples(0.3))
@given(side=odd, height=st.integers(1, 20), width=st.integers(1, 20))
def test_sums_do_not_depend_on_the_windows(side: int, height: int, width: int) -> None:
    x = torch.from_numpy(background((2, 23, 19)))
    whole = box_sum(x, side)
    for window in tile((23, 19), (height, width), side // 2):
        part = box_sum(x[:, window.outer_rows, window.outer_cols], side)[(slice(None), *window.inner)]
        assert torch.equal(part, whole[:, window.rows, window.cols])


def test_sums_leave_their_argument_alone_and_keep_its_type() -> None:
    x = torch.from_numpy(background((2, 9, 8)))
    before = x.clone()
    assert box_sum(x, 5).dtype == x.dtype
    assert torch.equal(x, before)
    assert torch.equal(box_sum(x, 1), x)


@settings(max_examples=examples(0.5))
@given(
    halves=st.lists(st.integers(0, 8), min_size=2, max_size=4, unique=True).map(sorted),
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
)
def test_means_are_those_of_valid_pixels_in_each_ring(halves: list[int], rows: int, cols: int) -> None:
    sides = tuple(2 * half + 1 for half in halves)
    x = spectra(rows, cols)
    hole = torch.from_numpy(np.random.default_rng(1).random((rows, cols)) < 0.2)
    x[1, hole] = torch.nan
    otherwise = torch.tensor([7.0, 8.0, 9.0], dtype=torch.float64)
    means = ring_means(x, sides, otherwise)
    assert len(means) == len(sides) - 1
    valid = (~hole).double().numpy()
    filled = np.where(valid, x.numpy(), 0)
    for mean, inner, outer in zip(means, sides, sides[1:], strict=False):
        count = np.round(convolve(valid, ring(inner, outer), mode="constant"))
        for band in range(3):
            total = convolve(filled[band], ring(inner, outer), mode="constant")
            expected = np.where(count > 0, total / np.maximum(count, 1), float(otherwise[band]))
            np.testing.assert_allclose(mean[band], expected, atol=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (100, 3)])
def test_means_do_not_depend_on_the_windows(size: tuple[int, int]) -> None:
    x = torch.from_numpy(background((4, 31, 27))).double()
    x[2, 8:12, 5:20] = torch.nan
    otherwise = torch.zeros(4, dtype=torch.float64)
    whole = ring_means(x, (3, 7, 13), otherwise)
    for window in tile((31, 27), size, 6):
        parts = ring_means(x[:, window.outer_rows, window.outer_cols], (3, 7, 13), otherwise)
        for part, mean in zip(parts, whole, strict=True):
            assert torch.equal(part[(slice(None), *window.inner)], mean[:, window.rows, window.cols])


def test_a_ring_without_a_valid_pixel_is_what_was_said() -> None:
    x = torch.full((2, 5, 5), torch.nan)
    x[:, 2, 2] = 4.0
    (mean,) = ring_means(x, (1, 3), torch.tensor([1.0, 2.0]))
    assert mean[:, 2, 2].tolist() == [1.0, 2.0]
    assert mean[:, 2, 3].tolist() == [4.0, 4.0]
