"""Local contrast divides by what is usual around a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import generic_filter

from hadgeo.detectors import cfar
from hadgeo.detectors.cfar import CONTRAST_ERROR, FLOOR_WEIGHT, local_contrast


def lower_median(values: np.ndarray) -> float:
    known = np.sort(values[np.isfinite(values)])
    return float(known[(len(known) - 1) // 2])


def exact(score: np.ndarray, window: int, floor: float) -> np.ndarray:
    """Contrast to the very median, by a filter that ignores NaN."""
    median = generic_filter(score, lower_median, size=window, mode="constant", cval=np.nan)
    with np.errstate(all="ignore"):  # where all is 0
        contrast: np.ndarray = score / (median + FLOOR_WEIGHT * floor)
    return contrast


def with_holes(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    score = np.random.default_rng(seed).gamma(2, size=shape)
    score[0, 1:3] = np.nan
    return score


@pytest.mark.parametrize("shape", [(20, 30), (1, 40), (3, 3)])
@pytest.mark.parametrize("window", [3, 5, 15, 17, 31])
@pytest.mark.parametrize("piece", [(7, 9), (128, 256)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_within_its_error_of_a_filter_that_ignores_nan(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], window: int, piece: tuple[int, int], dtype: type
) -> None:
    monkeypatch.setattr(cfar, "_PIECE", (piece, piece))
    score = with_holes(shape).astype(dtype)
    found = local_contrast(torch.from_numpy(score), window=window, floor=torch.tensor(2.0)).numpy()
    assert found.dtype == dtype
    expected = exact(score, window, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1.001 * CONTRAST_ERROR)
    assert np.nanmean(np.abs(found / expected - 1)) < CONTRAST_ERROR


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e4, 1e20])
@pytest.mark.parametrize("spread", [0.1, 10.0])
def test_its_error_is_bounded_on_any_scale_and_where_land_is_of_many_kinds(scale: float, spread: float) -> None:
    ramp = np.exp(spread * np.linspace(-1, 1, 60))
    score = scale * ramp * with_holes((40, 60), seed=1)
    floor = float(np.nanmedian(score))
    found = local_contrast(torch.from_numpy(score), window=9, floor=torch.tensor(floor, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), exact(score, 9, floor), rtol=1.001 * CONTRAST_ERROR)


def test_a_scene_that_is_mostly_zero_has_contrast_where_it_is_not() -> None:
    score = with_holes((20, 30))
    score[:, :25] = 0
    found = local_contrast(torch.from_numpy(score), window=5, floor=torch.tensor(0.0)).numpy()
    np.testing.assert_allclose(found[:, 28:], exact(score, 5, 0.0)[:, 28:], rtol=1.001 * CONTRAST_ERROR)
    assert not found[1:, :20].any()


def test_a_median_is_the_same_to_the_bit_however_a_scene_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    score = torch.from_numpy(with_holes((70, 90)))
    whole = local_contrast(score, window=15, floor=torch.tensor(1.7))
    monkeypatch.setattr(cfar, "_PIECE", ((5, 11), (5, 11)))
    np.testing.assert_array_equal(local_contrast(score, window=15, floor=torch.tensor(1.7)).numpy(), whole.numpy())
    part = local_contrast(score[20:60, 30:80], window=15, floor=torch.tensor(1.7))
    np.testing.assert_array_equal(part[7:-7, 7:-7].numpy(), whole[27:53, 37:73].numpy())


def test_nothing_but_nan_stays_nan() -> None:
    assert local_contrast(torch.full((9, 9), torch.nan), window=5, floor=torch.tensor(1.0)).isnan().all()


def test_levels_the_background_and_keeps_the_target() -> None:
    score = torch.rand(60, 60, generator=torch.Generator().manual_seed(0)) + 0.5
    score[:, 30:] *= 50
    score[20, 10] = 20
    found = local_contrast(score, window=15, floor=score.median())
    # Where the rough side begins, most of its surroundings are calm: such an edge is a known limit of one window.
    away = torch.cat([found[:, :30], found[:, 37:]], dim=1)
    assert int(away.argmax()) == 20 * 53 + 10
    assert found[:, 40:].median() < 10 * found[:, :20].median()  # it was 50 times


def test_a_calm_surrounding_does_not_divide_by_zero() -> None:
    score = torch.zeros(20, 20)
    score[10, 10] = 1
    assert local_contrast(score, window=5, floor=torch.tensor(0.1)).isfinite().all()
