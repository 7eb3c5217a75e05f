"""Objects by hysteresis, against scipy.ndimage on the whole array, and their significance on known background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from hadgeo.cli.threshold import command
from hadgeo.decisions import groups as groups_module
from hadgeo.decisions.calibration import Rule, calibrate
from hadgeo.decisions.groups import gather, label, pixels_above
from hadgeo.decisions.objects import (
    GROW_PFA,
    Objects,
    calibrate_groups,
    find_objects,
    group_strengths,
    pixel_evidence,
)
from hadgeo.decisions.polygons import find_anomalies
from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.maps import reader as scores_module
from hadgeo.maps.reader import ScoreMap
from tests.decisions.test_groups import CORNERS, MASKS, sets_of
from tests.maps.made import write_map
from tests.support import examples


def noise(seed: int, shape: tuple[int, int] = (100, 100)) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=shape).astype(np.float32)


def found(scores: ScoreMap, pfa: float = 1e-3, **options: float) -> Objects:
    calibration = calibrate(scores)
    return find_objects(scores, calibration.threshold(Rule(pfa=pfa)), calibration, **options)  # type: ignore[arg-type]


def places(objects: Objects) -> list[frozenset[tuple[int, int]]]:
    return [frozenset(zip(own.rows.tolist(), own.cols.tolist(), strict=True)) for own in objects.groups]


@settings(max_examples=examples(1))
@given(values=MASKS, connectivity=st.sampled_from([4, 8]), strip_rows=st.integers(1, 15), least=st.integers(1, 4))
def test_without_growth_objects_are_the_groups_of_flagged_pixels(
    values: np.ndarray, connectivity: int, strip_rows: int, least: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values[0, 0] = 0  # one score at least
    scores = write_map(tmp_path_factory.getbasetemp() / "off.tif", values)
    calibration = calibrate(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip_rows * values.shape[1] * 4)
        objects = find_objects(scores, 2, calibration, connectivity=connectivity, min_pixels=least, grow_pfa=0)
    pixels = pixels_above(scores, 2)
    expected = gather(pixels, label(pixels, connectivity), min_pixels=least)
    for name in ("rows", "cols", "scores"):
        np.testing.assert_array_equal(getattr(objects.groups.pixels, name), getattr(expected.pixels, name))
    np.testing.assert_array_equal(objects.groups.sizes, expected.sizes)
    np.testing.assert_array_equal(objects.p_values, calibration.p_values(expected.max_scores))
    np.testing.assert_array_equal(objects.expected_false_alarms, calibration.count * objects.p_values)
    assert objects.grown_to is None


@settings(max_examples=examples(1))
@given(
    values=MASKS,
    connectivity=st.sampled_from([4, 8]),
    strip_rows=st.integers(1, 15),
    least=st.integers(1, 4),
    grow=st.sampled_from([0.01, 0.3, 0.6, 0.9]),
)
def test_objects_are_groups_above_the_lower_threshold_that_have_a_flagged_pixel(
    values: np.ndarray,
    connectivity: int,
    strip_rows: int,
    least: int,
    grow: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values[0, 0] = 0
    scores = write_map(tmp_path_factory.getbasetemp() / "on.tif", values)
    calibration = calibrate(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip_rows * values.shape[1] * 4)
        objects = find_objects(scores, 3, calibration, connectivity=connectivity, min_pixels=least, grow_pfa=grow)
    assert objects.grown_to is not None
    assert objects.grown_to <= 3
    every = sets_of(ndimage.label(values >= objects.grown_to, CORNERS[connectivity])[0])
    flagged = set(zip(*(axis.tolist() for axis in np.nonzero(values >= 3)), strict=True))
    assert len(places(objects)) == len(objects.groups)
    assert set(places(objects)) == {own for own in every if own & flagged and len(own) >= least}
    assert (np.diff(objects.groups.strengths) <= 0).all()
    assert (np.diff(objects.p_values) >= 0).all()
    assert ((objects.p_values > 0) & (objects.p_values <= 1)).all()


def test_fragments_of_a_target_are_one_object(tmp_path: Path) -> None:
    values = noise(0, (200, 200))
    values[80:84, 50:60] = 6.5  # p of about 1.5e-3, and two hot ends
    values[80:84, [50, 59]] = 12
    scores = write_map(tmp_path / "x.tif", values)
    target = {(row, col) for row in range(80, 84) for col in range(50, 60)}
    apart = [own for own in places(found(scores, 3e-4, grow_pfa=0)) if own & target]
    whole = [own for own in places(found(scores, 3e-4)) if own & target]
    assert len(apart) == 2
    assert len(whole) == 1
    assert target <= whole[0]


def test_a_large_object_comes_before_a_hotter_pixel_that_is_less_rare(tmp_path: Path) -> None:
    values = noise(1, (600, 600))
    values[100:105, 100:108] = np.random.default_rng(0).uniform(8, 10, size=(5, 8))
    values[200, 200] = 16
    objects = found(write_map(tmp_path / "x.tif", values))
    assert objects.groups.max_scores[0] == pytest.approx(10, abs=0.5)
    assert objects.groups.sizes[0] >= 40
    assert (200, 200) in places(objects)[1]
    assert objects.expected_false_alarms[0] < objects.expected_false_alarms[1] < 1


def test_a_hot_pixel_comes_before_a_larger_object_that_is_less_rare(tmp_path: Path) -> None:
    values = noise(2, (300, 300))
    values[100, 100:103] = 7.5
    values[200, 200] = 25
    objects = found(write_map(tmp_path / "x.tif", values))
    assert (200, 200) in places(objects)[0]


def test_a_lone_pixel_is_as_strong_as_it_is_rare() -> None:
    evidence = np.array([0.3, 4.0, 0.0, 200.0])
    np.testing.assert_allclose(group_strengths(evidence, np.arange(4)), evidence, atol=1e-12)


def test_a_group_is_as_strong_as_its_best_pixel_or_its_whole() -> None:
    peak, even = np.array([9.0, 0.1, 0.1]), np.array([4.0, 4.0, 4.0])
    strengths = group_strengths(np.concatenate([peak, even]), np.repeat([0, 1], 3))
    spread = 1.2
    assert strengths[0] == pytest.approx(9)
    assert strengths[1] == pytest.approx(-stats.gamma.logsf(12 / spread, 3 / spread))
    assert strengths[1] > 4


@pytest.mark.parametrize("size", [2, 40, 5000])
def test_strengths_rise_where_probabilities_are_no_floats(size: int) -> None:
    means = np.linspace(0.5, 200, 400)
    strengths = group_strengths(np.repeat(means, size), np.repeat(np.arange(400), size))
    assert np.isfinite(strengths).all()
    assert (np.diff(strengths) > 0).all()


@pytest.mark.parametrize("smooth", [False, True], ids=["independent", "neighbours correlate"])
def test_significance_is_uniform_on_pure_background(smooth: bool, tmp_path: Path) -> None:
    strengths = []
    for seed in (3, 4):
        values = noise(seed, (700, 700))
        if smooth:
            values += ndimage.uniform_filter(noise(seed + 10, (700, 700)), 3)
        scores = write_map(tmp_path / "x.tif", values)
        calibration = calibrate(scores)
        lower = calibration.threshold(Rule(pfa=GROW_PFA))
        pixels = pixels_above(scores, lower)
        strengths.append(group_strengths(pixel_evidence(pixels, lower, calibration), label(pixels, 8)))
    # Calibrated by the groups of one scene, those of another.
    p_values = calibrate_groups(strengths[0]).p_values(strengths[1])
    assert len(p_values) > 2000
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert (p_values < 0.01).mean() == pytest.approx(0.01, abs=0.005)


def test_few_of_many_scenes_of_background_have_a_significant_object(tmp_path: Path) -> None:
    expected = [found(write_map(tmp_path / "x.tif", noise(seed))).expected_false_alarms for seed in range(60)]
    least = np.array([own[0] for own in expected if len(own)])
    # So many of the strongest of a scene have less than half an alarm expected, if alarms are a Poisson process.
    assert (least < 0.5).mean() == pytest.approx(1 - np.exp(-0.5), abs=0.15)
    assert (least < 0.1).mean() == pytest.approx(1 - np.exp(-0.1), abs=0.1)


@pytest.mark.parametrize("strip_rows", [1, 7, 1000])
def test_strips_do_not_matter(strip_rows: int, tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", ndimage.gaussian_filter(noise(5), 1))
    whole = found(scores, 1e-2, grow_pfa=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip_rows * 100 * 4)
        strips = found(scores, 1e-2, grow_pfa=0.05)
    assert places(strips) == places(whole)
    np.testing.assert_array_equal(strips.p_values, whole.p_values)


def test_the_lower_threshold_is_raised_where_too_many_pixels_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = write_map(tmp_path / "x.tif", noise(6))
    expected = found(scores, grow_pfa=0.004)
    monkeypatch.setattr(groups_module, "MAX_PIXELS", 40)
    with pytest.warns(CubeWarning, match=r"more than 40 pixels have a p-value of at most 0.01.*at most 0.004"):
        raised = found(scores)
    assert raised.grown_to == expected.grown_to
    assert places(raised) == places(expected)
    monkeypatch.setattr(groups_module, "MAX_PIXELS", 5)
    with pytest.raises(ParameterError, match="too many to group"):
        found(scores)


def test_a_rate_above_that_to_grow_to_leaves_groups_as_they_are(tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", noise(7))
    assert set(places(found(scores, 0.05))) == set(places(found(scores, 0.05, grow_pfa=0)))


@pytest.mark.parametrize("values", [np.ones((3, 3)), np.arange(6.0).reshape(2, 3), np.array([[5.0]])])
def test_tiny_scenes_have_objects_too(values: np.ndarray, tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", values.astype(np.float32))
    calibration = calibrate(scores)
    objects = find_objects(scores, float(values.max()), calibration)
    assert len(objects.groups) == 1
    assert 0 < objects.p_values[0] <= 1
    assert len(find_objects(scores, 99, calibration).groups) == 0


def test_only_anomalies_are_merged(tmp_path: Path) -> None:
    values = noise(8)
    values[50, [50, 53]] = 30
    scores = write_map(tmp_path / "x.tif", values)
    calibration = calibrate(scores)
    apart, merged = (find_anomalies(scores, 20, calibration, merge_distance=d) for d in (0, 5))
    assert len(apart) == 2
    assert len(merged) == 1
    assert len(merged.groups.pixels) == len(apart.groups.pixels)
    assert merged.p_values[0] <= apart.p_values[0]


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_to_grow_to_that_is_none_is_refused(rate: float, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="grow_pfa must be at least 0"):
        found(write_map(tmp_path / "x.tif", noise(0)), grow_pfa=rate)


def test_the_command_line_grows_by_the_same_rate() -> None:
    assert {option.name: option.default for option in command.params}["grow_pfa"] == GROW_PFA
