"""Local contrast divides by what is usual around a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import generic_filter

from hadgeo.detectors import cfar
from hadgeo.detectors.cfar import FLOOR_WEIGHT, local_contrast


@pytest.mark.parametrize("shape", [(20, 30), (1, 40), (3, 3)])
@pytest.mark.parametrize("gathered", [1, 2**24])
def test_agrees_with_a_filter_that_ignores_nan(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], gathered: int
) -> None:
    monkeypatch.setattr(cfar, "_GATHERED_VALUES", gathered)
    score = np.random.default_rng(0).gamma(2, size=shape)
    score[0, 1:3] = np.nan

    def lower_median(values: np.ndarray) -> float:
        known = np.sort(values[np.isfinite(values)])
        return float(known[(len(known) - 1) // 2])

    median = generic_filter(score, lower_median, size=5, mode="constant", cval=np.nan)
    found = local_contrast(torch.from_numpy(score), window=5, floor=torch.tensor(2.0))
    np.testing.assert_allclose(found, score / (median + FLOOR_WEIGHT * 2.0), rtol=1e-12)


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
