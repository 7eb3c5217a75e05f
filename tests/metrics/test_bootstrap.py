"""The bootstrap: right sums, right width, repeatable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from hadgeo.metrics import METRICS, Basics, basics, bootstrap, interval, rank, resample
from hadgeo.metrics.bootstrap import _blocks
from hadgeo.metrics.objects import truth_objects

Map = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]


def scene(seed: int, *, side: int = 64, objects: int = 16, smooth: float = 1.0, lift: float = 1.5) -> Map:
    """A correlated map with square objects of 2 x 2 pixels, each lifted by an amount of its own."""
    rng = np.random.default_rng(seed)
    scores = gaussian_filter(rng.normal(size=(side, side)), smooth)
    scores /= scores.std()
    truth = np.zeros(scores.shape, dtype=bool)
    for place in rng.choice((side // 4) ** 2, objects, replace=False):
        row, col = 4 * (place // (side // 4)) + 1, 4 * (place % (side // 4)) + 1
        truth[row : row + 2, col : col + 2] = True
        scores[row : row + 2, col : col + 2] += rng.normal(lift, 1)
    return scores.astype(np.float32), truth


def test_a_resample_is_scikit_learn_on_the_drawn_pixels() -> None:
    scores, truth = scene(1)
    scores = np.round(scores, 1)  # ties
    scores[5:20, 5:9] = np.nan
    found = resample(scores, truth, resamples=5, seed=3)
    # The same draws, pixel by pixel.
    rng = np.random.default_rng(3)
    labels, count = truth_objects(truth)
    objects = [part for n in range(1, count + 1) if (part := _finite(scores[labels == n])).size]
    blocks = list(_blocks(scores, truth))
    drawn = rng.multinomial(len(objects), [1 / len(objects)] * len(objects), size=5)
    tiles = rng.multinomial(len(blocks), [1 / len(blocks)] * len(blocks), size=5)
    low, high = np.nanmin(scores), np.nanmax(scores)
    for i in range(5):
        targets = np.concatenate([np.tile(o, n) for o, n in zip(objects, drawn[i], strict=True)])
        background = np.concatenate([np.tile(b, n) for b, n in zip(blocks, tiles[i], strict=True)])
        both, is_target = (
            np.concatenate([targets, background]),
            np.arange(len(targets) + len(background)) < len(targets),
        )
        assert found.d_f[i] == pytest.approx(roc_auc_score(is_target, both), abs=1e-9)
        assert found.ap[i] == pytest.approx(average_precision_score(is_target, both), abs=1e-9)
        assert found.d_tau[i] == pytest.approx(((targets - low) / (high - low)).mean(), abs=1e-5)
        assert found.f_tau[i] == pytest.approx(((background - low) / (high - low)).mean(), abs=1e-5)
        p_f, p_d, _ = roc_curve(is_target, both, drop_intermediate=False)
        assert found.pd_3[i] == pytest.approx(p_d[p_f <= 1e-3].max())
        assert found.pd_4[i] == pytest.approx(p_d[p_f <= 1e-4].max())


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return values[np.isfinite(values)]


def test_bins_change_nothing_to_speak_of(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth = scene(2, side=96, objects=60)
    exact = resample(scores, truth, resamples=50)
    monkeypatch.setattr(bootstrap, "_BINS", 64)
    binned = resample(scores, truth, resamples=50)
    for one, other in zip(exact, binned, strict=True):
        np.testing.assert_allclose(one, other, atol=2 / 64)
    np.testing.assert_allclose(exact.d_f, binned.d_f, atol=2e-3)


def test_intervals_cover_the_true_value() -> None:
    """Of 95 % intervals, at least 85 % hold the value that many scenes agree on: percentiles are known to be short."""
    truth = np.mean([basics(rank(*scene(seed))).d_f for seed in range(1000, 1150)])
    held = sum(low <= truth <= high for low, high in (auc_interval(*scene(seed)) for seed in range(60)))
    assert 51 <= held <= 60


def auc_interval(scores: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> tuple[float, float]:
    return interval(resample(scores, truth, resamples=200).d_f)


def test_objects_are_drawn_whole() -> None:
    """Twice as many alike pixels make no interval narrower, as they would if pixels were drawn."""
    scores, truth = scene(4)
    wide = scores.repeat(2, axis=1), truth.repeat(2, axis=1)
    once, twice = (np.diff(auc_interval(*case)) for case in ((scores, truth), wide))
    assert twice / once == pytest.approx(1, abs=0.15)


def test_the_seed_decides() -> None:
    case = scene(5)
    first, again, other = (resample(*case, resamples=20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first.d_f, other.d_f)


def test_every_metric_has_an_interval_around_its_value() -> None:
    case = scene(6)
    figures, drawn = basics(rank(*case)), resample(*case, resamples=300)
    assert isinstance(drawn, Basics)
    for metric in METRICS:
        low, high = interval(metric.value(drawn))
        assert low <= metric.value(figures) <= high, metric.name


def test_one_object_and_one_block_vary_not() -> None:
    scores = np.arange(16, dtype=np.float32).reshape(4, 4)
    drawn = resample(scores, scores > 13, resamples=7)
    assert (drawn.d_f == 1).all()
    assert (drawn.pd_3 == 1).all()
