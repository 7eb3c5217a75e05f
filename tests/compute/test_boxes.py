"""Sums over windows against scipy, and the same to the bit however a scene is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from hadgeo.compute.boxes import box_mean, box_reach, square_means


def mean_of(block: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over the valid pixels of windows that are cut at the border, and how many these are."""
    valid = np.isfinite(block[0])
    count = uniform_filter(valid.astype(float), side, mode="constant")
    means = [uniform_filter(np.where(valid, band, 0), side, mode="constant") for band in block] / count.clip(1e-9)
    return means, count * side**2


@pytest.mark.parametrize("side", [3, 5, 13])
@pytest.mark.parametrize("holes", [True, False])
def test_mean_of_valid_neighbours_in_windows_that_grow_where_some_are_missing(side: int, holes: bool) -> None:
    block = np.random.default_rng(0).normal(size=(2, 17, 23))
    if holes:
        block[:, 4:7, 3:9] = np.nan
    mean, count = mean_of(block, side)
    wider, _ = mean_of(block, side + 2)
    expected = np.where(count > side**2 - 0.5, mean, wider)
    found = box_mean(torch.from_numpy(block), side).numpy()
    np.testing.assert_allclose(found, np.where(np.isfinite(block), expected, np.nan), atol=1e-12)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 9), (2, 2), (2, 7)])
def test_images_smaller_than_a_window_have_means(rows: int, cols: int) -> None:
    block = torch.randn(2, rows, cols, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, _ = mean_of(block.numpy(), 7)
    np.testing.assert_allclose(box_mean(block, 5), expected, atol=1e-12)


def test_the_mean_is_no_noisier_at_the_border() -> None:
    noise = torch.randn(400, 30, 30, generator=torch.Generator().manual_seed(0))
    spread = box_mean(noise, 3).std(dim=0)
    inside = spread[1:-1, 1:-1].mean()
    assert inside == pytest.approx(1 / 3, rel=0.02)
    assert spread.max() < 1.2 * inside, "no more than chance"


@pytest.mark.parametrize("holes", [True, False])
def test_the_same_bits_in_windows(holes: bool) -> None:
    block = torch.randn(3, 40, 30, generator=torch.Generator().manual_seed(0))
    if holes:
        block[:, 12, 9] = torch.nan
    whole, reach = box_mean(block, 5), box_reach(5)
    cut = box_mean(block[:, 8:22, 2:20], 5)
    inside = slice(reach, -reach)
    torch.testing.assert_close(cut[:, inside, inside], whole[:, 11:19, 5:17], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("bands_last", [True, False])
def test_pieces_of_a_large_image_make_no_difference(bands_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    block = torch.randn(3, 70, 90, generator=torch.Generator().manual_seed(0))
    block[:, 15:17, 40] = torch.nan
    whole = box_mean(block, 3)
    monkeypatch.setattr("hadgeo.compute.boxes._PIECE_BYTES", 1)
    cut = box_mean(block.permute(1, 2, 0).contiguous().permute(2, 0, 1) if bands_last else block, 3)
    torch.testing.assert_close(cut, whole, rtol=0, atol=0, equal_nan=True)


def test_means_of_squares_are_those_of_windows_that_lie_side_by_side() -> None:
    block = torch.randn(2, 9, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block[:, 3, 3], block[:, 7, 7] = torch.nan, torch.nan
    found, windows = square_means(block, 3), box_mean(block, 3)[:, 1::3, 1::3]
    assert found[:, 2, 2].isnan().all(), "the pixel in the middle is invalid"
    some = torch.ones(3, 5, dtype=torch.bool)
    some[1, 1] = some[2, 2] = False  # there a window grows
    torch.testing.assert_close(found[:, some], windows[:, some], rtol=1e-12, atol=0)
    torch.testing.assert_close(found[:, 1, 1], block[:, 3:6, 3:6].flatten(1)[:, 1:].mean(dim=1), rtol=1e-12, atol=0)
