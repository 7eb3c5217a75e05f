"""Calibration: against what numpy counts, for any scores, and against the known background of simulated scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

import hadgeo
from hadgeo.decisions import calibration as threshold_module
from hadgeo.decisions.calibration import Rule, calibrate, calibrate_values
from hadgeo.decisions.tail import Tail, fit_tail
from hadgeo.errors import Cancelled, CubeError, ParameterError
from hadgeo.maps import reader as scores_module
from hadgeo.maps.reader import open_scores
from tests.maps.made import write_map
from tests.support import Recorder, examples

#: Any scores, with many ties among them, or nearly all different.
SCORES = st.one_of(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([-1.0, 0.0, 2.0])),
    arrays(
        np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-(2.0**99), 2.0**99, width=32)
    ),
)


def normal(shape: tuple[int, int] = (300, 400), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) ** 2


@settings(max_examples=examples(0.6))
@given(values=SCORES, strip=st.integers(1, 300))
def test_small_maps_are_counted_exactly(
    values: np.ndarray, strip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip)
        calibration = calibrate(write_map(tmp_path_factory.getbasetemp() / "any.tif", values))
    assert calibration.tail is None
    p_values = calibration.p_values(values)
    expected = [(values >= score).mean() for score in values.ravel()]
    np.testing.assert_allclose(p_values.ravel(), expected, rtol=1e-12)
    for rate in (0.01, 0.3, 0.5, 0.99):
        if rate * values.size >= 1:
            assert (values >= calibration.threshold(Rule(pfa=rate))).mean() <= rate
    for top in {1, values.size // 2 + 1, values.size}:
        assert calibration.threshold(Rule(top=top)) == np.sort(values.ravel())[-top]


@settings(max_examples=examples(0.4))
@given(values=SCORES, kept=st.integers(1, 20))
def test_scores_that_are_not_kept_are_counted_to_within_a_bin(
    values: np.ndarray, kept: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold_module, "_KEPT", kept)
        calibration = calibrate(write_map(tmp_path_factory.getbasetemp() / "kept.tif", values))
    p_values = calibration.p_values(values)
    ranked = np.sort(values.ravel())
    order = np.argsort(values.ravel())
    assert (np.diff(p_values.ravel()[order]) <= 0).all()
    # Every pixel of a bin counts as reaching it; a bin is at most 2^-11 of a score wide, or of the smallest normal one.
    slack = np.maximum(np.abs(ranked), np.finfo(np.float32).tiny) * 2.0**-11
    exact, upper = ((ranked[None] >= (ranked - wide * slack)[:, None]).mean(axis=1) for wide in (0, 1))
    found = p_values.ravel()[order]
    assert calibration.tail is None
    assert (found >= exact - 1e-12).all()
    assert (found <= upper + 1e-12).all()
    top = values.size
    assert (values >= calibration.threshold(Rule(top=top))).all()


def test_ties_with_the_smallest_score_that_is_kept_are_all_counted(tmp_path: Path) -> None:
    values = np.ones((1200, 1000), dtype=np.uint8)
    values[:100] = 0
    assert (values == 1).sum() > threshold_module._KEPT
    calibration = calibrate(write_map(tmp_path / "x.tif", values))
    assert calibration.p_values(1.0) == pytest.approx(1100 / 1200)
    assert not (values >= calibration.threshold(Rule(pfa=0.9))).any()


def test_p_values_fall_with_rising_scores_and_stay_above_zero(tmp_path: Path) -> None:
    values = normal()
    values[:40, :40] = np.nan
    calibration = calibrate(write_map(tmp_path / "x.tif", values))
    assert calibration.tail is not None
    assert calibration.count == 300 * 400 - 1600
    scores = np.concatenate([np.linspace(-5, 2 * calibration.highest, 20_000), [1e9, np.finfo(np.float32).max]])
    p_values = calibration.p_values(scores)
    assert p_values[0] == 1
    assert (np.diff(p_values) <= 0).all()
    assert (p_values.astype(np.float32) > 0).all()
    assert np.isnan(calibration.p_values([np.nan, 1.0])).tolist() == [True, False]


@pytest.mark.parametrize("rate", [0.5, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-9])
def test_the_threshold_of_a_rate_is_the_first_score_of_that_p_value(rate: float, tmp_path: Path) -> None:
    calibration = calibrate(write_map(tmp_path / "x.tif", normal()))
    threshold = calibration.threshold(Rule(pfa=rate))
    below = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    assert calibration.p_values(threshold) <= rate * (1 + 1e-6)
    assert calibration.p_values(below) >= rate * (1 - 1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_of_three_pixels_is_counted_where_a_tail_ends(seed: int) -> None:
    # The brightest surface is the last that there is: no model of what lies farther in knows where that is.
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.exponential(0.5, size=300_000), rng.uniform(8, 9, size=600)]).astype(np.float32)
    threshold = calibrate_values(values).threshold(Rule(pfa=3 / len(values)))
    assert 3 <= (values >= threshold).sum() <= 30


@pytest.mark.parametrize("bright", range(1, 13))
def test_a_few_pixels_far_beyond_a_tail_that_ends_are_rarer_than_all_others(bright: int) -> None:
    values = np.random.default_rng(0).normal(10, 1, size=10_000).astype(np.float32)
    values[:bright] = 1e4
    calibration = calibrate_values(values)
    for rate in (1e-3, 1e-4, 1e-6):
        threshold = calibration.threshold(Rule(pfa=rate))
        assert 11 < threshold <= 1e4
        assert calibration.p_values(threshold) <= rate * (1 + 1e-6)
    assert 0 < calibration.p_values(1e4) < 1e-9


@pytest.mark.parametrize("unit", [1e-28, 1e-17, 1e-6, 1.0, 1e6, 1e28])
def test_thresholds_do_not_depend_on_the_unit_of_scores(unit: float) -> None:
    values = np.random.default_rng(3).normal(size=100_000)
    plain, calibration = (calibrate_values((values * each).astype(np.float32)) for each in (1.0, unit))
    for rate in (1e-3, 1e-4, 1e-5):
        threshold = calibration.threshold(Rule(pfa=rate))
        assert calibration.p_values(threshold) <= rate * (1 + 1e-6)
        assert threshold / unit == pytest.approx(plain.threshold(Rule(pfa=rate)), rel=1e-3)


@pytest.mark.parametrize("percentile", [0, 10, 50, 99, 99.9, 99.99])
def test_percentiles_are_those_of_numpy(percentile: float, tmp_path: Path) -> None:
    values = normal((100, 100))
    calibration = calibrate(write_map(tmp_path / "x.tif", values))
    reached = (values >= calibration.threshold(Rule(percentile=percentile))).sum()
    assert reached == pytest.approx(values.size * (1 - percentile / 100), abs=0.5)
    # In float64: older versions of NumPy find the rank in the type of the values.
    expected = np.percentile(values.astype(np.float64), percentile, method="higher")
    assert calibration.threshold(Rule(percentile=percentile)) == pytest.approx(expected, rel=1e-3)


def test_a_whole_scene_of_one_score_has_nothing_that_stands_out(tmp_path: Path) -> None:
    calibration = calibrate(write_map(tmp_path / "x.tif", np.full((50, 60), 3.0, dtype=np.float32)))
    assert calibration.p_values(3.0) == 1
    assert calibration.threshold(Rule(pfa=1e-3)) > 3
    assert calibration.threshold(Rule(top=5)) == 3


def test_many_pixels_with_the_highest_score_are_flagged_all_or_none(tmp_path: Path) -> None:
    values = normal((100, 100))
    values.ravel()[:200] = 1000
    calibration = calibrate(write_map(tmp_path / "x.tif", values))
    assert calibration.tail is not None
    assert calibration.tail.quality == "poor"
    assert (values >= calibration.threshold(Rule(pfa=0.02))).sum() == 200
    assert (values >= calibration.threshold(Rule(pfa=0.0199))).sum() == 0
    assert (values >= calibration.threshold(Rule(top=1))).sum() == 200


def test_whole_numbers_are_scores_too(tmp_path: Path) -> None:
    values = (np.arange(2500).reshape(50, 50) % 7).astype(np.uint8)
    calibration = calibrate(write_map(tmp_path / "x.tif", values))
    assert calibration.tail is None
    assert (values >= calibration.threshold(Rule(pfa=0.2))).mean() <= 0.2
    with pytest.raises(ParameterError, match="ask for a higher rate"):
        calibration.threshold(Rule(pfa=1e-6))


def test_narrow_ranges_far_from_zero_keep_their_order(tmp_path: Path) -> None:
    values = (12345 + 0.01 * normal()).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold_module, "_KEPT", 100)
        calibration = calibrate(write_map(tmp_path / "x.tif", values))
    median = np.median(values)
    assert calibration.p_values(median) == pytest.approx((values >= median).mean(), rel=1e-6)


def simulated(folder: Path, targets: int) -> tuple[np.ndarray, np.ndarray, Path]:
    """Scores of RX, the truth, and the map of a simulated scene."""
    scene = hadgeo.simulate(folder / "scene.img", rows=500, cols=400, bands=12, targets=targets, seed=3)
    done = hadgeo.detect(scene.path, "rx", out=folder / "scores.tif")
    with rasterio.open(done.path) as scores, rasterio.open(scene.truth) as truth:
        return scores.read(1), truth.read(1), done.path


@pytest.mark.parametrize("targets", [0, 40])
def test_the_background_of_a_simulated_scene_raises_as_many_false_alarms_as_asked_for(
    targets: int, tmp_path: Path
) -> None:
    scores, truth, path = simulated(tmp_path, targets)
    assert bool((truth == 1).any()) == bool(targets)
    calibration = calibrate(open_scores(path))
    for rate in (1e-2, 1e-3, 1e-4):
        observed = (scores[truth == 0] >= calibration.threshold(Rule(pfa=rate))).mean()
        assert rate / 2 <= observed <= rate * 2, (rate, observed, calibration.tail)


@pytest.mark.parametrize("kind", ["gamma", "exponential", "lognormal"])
def test_rates_beyond_a_small_sample_hold_for_the_rest(kind: str, tmp_path: Path) -> None:
    draw = {"gamma": {"shape": 4}, "exponential": {}, "lognormal": {}}[kind]
    observed = []
    for seed in range(5):
        values = getattr(np.random.default_rng(seed), kind)(**draw, size=(1000, 2000)).astype(np.float32)
        calibration = calibrate(write_map(tmp_path / "part.tif", values[:50]))
        rates = np.array([1e-3, 1e-4, 1e-5])
        counts = [(values[50:] >= calibration.threshold(Rule(pfa=rate))).mean() for rate in rates]
        observed.append(counts / rates)
    # The lowest rate is that of one pixel of the sample, so a single seed says little of it.
    ratios = np.exp(np.log(np.maximum(observed, 0.01)).mean(axis=0))
    assert ((ratios >= 0.5) & (ratios <= 2)).all(), ratios


def with_targets(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent noise with an exponential tail and 25 targets of 2 x 3 pixels, and where these are."""
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=(250, 250)).astype(np.float32)
    truth = np.zeros(values.shape, dtype=bool)
    for row in range(20, 250, 50):
        for col in range(20, 250, 50):
            truth[row : row + 2, col : col + 3] = True
    values[truth] += rng.exponential(12, size=25).repeat(6).reshape(5, 5, 2, 3).transpose(0, 2, 1, 3).ravel()
    return values, truth


@pytest.mark.parametrize("seed", range(5))
def test_targets_of_several_pixels_do_not_hide_each_other(seed: int, tmp_path: Path) -> None:
    values, truth = with_targets(seed)
    calibration = calibrate(write_map(tmp_path / "targets.tif", values))
    # Without their neighbourhood, the same values have a tail of which targets are the better part.
    pixels_alone = calibrate_values(values.ravel())
    for rate in (1e-4, 1e-5):
        known = -np.log(rate)
        threshold, alone = (each.threshold(Rule(pfa=rate)) for each in (calibration, pixels_alone))
        assert known - np.log(2) <= threshold <= known + 2.5, rate
        assert alone > threshold + 2, rate
        assert (values[truth] >= threshold).sum() > (values[truth] >= alone).sum()


@pytest.mark.parametrize("smoothed", [0.0, 1.5])
@pytest.mark.parametrize("seed", range(5))
def test_a_plain_background_has_the_tail_of_all_its_pixels(seed: int, smoothed: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(seed).normal(size=(300, 300))
    values = (ndimage.gaussian_filter(noise, smoothed) if smoothed else noise).astype(np.float32) ** 2
    calibration = calibrate(write_map(tmp_path / "plain.tif", values))
    assert calibration.tail == calibrate_values(values.ravel()).tail


@pytest.mark.parametrize("strip", [1, 4000, 2**20])
def test_the_local_maxima_are_those_of_the_whole_map(
    strip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(120, 90)).astype(np.float32)
    values[30:50, 40:60] = np.nan
    values[80, 10:13] = values.max()  # neighbours of one score
    given: dict[str, np.ndarray] = {}

    def fit(largest: np.ndarray, count: int, peaks: np.ndarray) -> Tail | None:
        given.update(largest=largest, peaks=peaks)
        return fit_tail(largest, count, peaks)

    monkeypatch.setattr(threshold_module, "fit_tail", fit)
    monkeypatch.setattr(scores_module, "_STRIP_BYTES", strip)
    calibrate(write_map(tmp_path / "holes.tif", values))
    finite = np.where(np.isfinite(values), values, -np.inf)
    maxima = finite[(finite == ndimage.maximum_filter(finite, 3)) & (finite > given["largest"][0])]
    np.testing.assert_array_equal(given["peaks"], np.sort(maxima))


def test_a_map_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="no pixel has a score"):
        calibrate(write_map(tmp_path / "x.tif", np.full((5, 6), np.nan, dtype=np.float32)))


def test_calibration_can_be_followed_and_cancelled(tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", normal())
    seen = Recorder()
    calibrate(scores, progress=seen)
    assert seen.stages == {"range": [120_000] * 2, "calibrate": [120_000] * 2}
    with pytest.raises(Cancelled):
        calibrate(scores, progress=Recorder(patience=1))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "give one of"),
        ({"pfa": 0.1, "top": 3}, "pfa=0.1, top=3"),
        ({"pfa": 0.0}, "pfa must be above 0"),
        ({"pfa": 1.0}, "below 1"),
        ({"pfa": float("nan")}, "pfa must be"),
        ({"percentile": 100.0}, "below 100"),
        ({"percentile": -1.0}, "at least 0"),
        ({"value": float("inf")}, "float32 map"),
        ({"top": 0}, "at least 1"),
    ],
)
def test_a_rule_out_of_bounds_is_refused(rule: dict[str, float], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Rule(**rule)
