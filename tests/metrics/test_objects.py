"""Objects and false alarms, on maps small enough to count by eye."""

from __future__ import annotations

import numpy as np
import pytest

from hadgeo.metrics import object_curve, truth_objects
from hadgeo.metrics.objects import false_alarms, object_peaks

SCORES = np.array(
    [
        [9, 1, 1, 1, 1, 8],
        [1, 9, 1, 1, 1, 1],
        [1, 1, 5, 1, 7, 7],
        [1, 1, 1, 1, 1, 1],
        [6, 1, 1, 1, 1, 3],
    ],
    np.float32,
)
TRUTH = np.zeros((5, 6), dtype=bool)
TRUTH[0, 0] = TRUTH[1, 1] = True  # touch at a corner: one object
TRUTH[4, 5] = True


def test_pixels_that_touch_at_a_corner_are_one_object() -> None:
    labels, count = truth_objects(TRUTH)
    assert count == 2
    assert labels[0, 0] == labels[1, 1] != labels[4, 5]


@pytest.mark.parametrize(
    ("threshold", "alarms"),
    [
        (9, 0),
        (8, 1),  # the corner
        (7, 2),  # and the pair
        (6, 3),
        (5, 3),  # the 5 touches an object
        (1, 0),  # all of the map is one group, which holds objects
    ],
)
def test_groups_that_touch_no_object_are_false_alarms(threshold: float, alarms: int) -> None:
    assert false_alarms(SCORES, TRUTH, threshold) == alarms


def test_a_group_beside_an_undetected_pixel_of_an_object_is_no_false_alarm() -> None:
    scores = np.array([[2, 1, 9]], np.float32)
    assert false_alarms(scores, np.array([[False, True, False]]), 9) == 0


def test_an_object_is_detected_by_its_best_pixel() -> None:
    np.testing.assert_array_equal(object_peaks(SCORES, TRUTH), [9, 3])


def test_an_object_without_any_score_is_not_counted() -> None:
    scores = SCORES.copy()
    scores[4, 5] = np.nan
    curve = object_curve(scores, TRUTH)
    assert curve.objects == 1
    assert curve.detected == (1,) * len(curve.rates)


def test_the_curve_counts_at_thresholds_of_the_pixel_false_alarm_rate() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 200)).astype(np.float32)
    truth = np.zeros(scores.shape, dtype=bool)
    truth[::40, ::40] = True
    scores[truth] += 3
    curve = object_curve(scores, truth)
    assert list(curve.rates) == [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2]
    assert list(curve.thresholds) == sorted(curve.thresholds, reverse=True)
    assert list(curve.detected) == sorted(curve.detected)
    for rate, threshold in zip(curve.rates, curve.thresholds, strict=True):
        above = (scores[~truth] >= threshold).sum()
        assert above == int(rate * (~truth).sum())
    # Far apart, nearly every pixel is a group of its own.
    assert curve.false_alarms[0] == 1
    assert 300 < curve.false_alarms[-1] <= 400
