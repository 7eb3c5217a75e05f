"""Metrics of pixels against scikit-learn, ties among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from hadgeo.errors import TruthError
from hadgeo.metrics import METRICS, Basics, basics, rank, roc_points, threshold_at
from tests.support import examples


@st.composite
def labelled(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores with many ties, or few, and a truth of both classes."""
    count = draw(st.integers(2, 60))
    few = st.integers(-3, 3).map(float)
    values = draw(st.sampled_from([few, st.floats(-1e6, 1e6, width=32)]))
    scores = draw(arrays(np.float32, count, elements=values))
    truth = draw(arrays(np.bool_, count))
    truth[0], truth[1] = True, False
    return scores, truth


@given(labelled())
@settings(max_examples=examples(1.5))
def test_areas_and_precision_are_those_of_scikit_learn(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]],
) -> None:
    scores, truth = case
    found = basics(rank(scores, truth))
    assert found.d_f == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


@given(labelled(), st.sampled_from([0.0, 1e-4, 1e-3, 0.1, 0.25, 0.29, 0.5]))
@settings(max_examples=examples(1.5))
def test_detection_at_a_false_alarm_rate_is_the_best_of_all_thresholds(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]], rate: float
) -> None:
    scores, truth = case
    p_f, p_d, _ = roc_curve(truth, scores, drop_intermediate=False)
    ranked = rank(scores, truth)
    threshold = threshold_at(ranked, rate)
    assert (scores[truth] >= threshold).mean() == pytest.approx(p_d[p_f <= rate].max())
    assert (scores[~truth] >= threshold).mean() <= rate


@given(labelled())
@settings(max_examples=examples(1.5))
def test_corners_draw_the_curve_of_scikit_learn(case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]) -> None:
    scores, truth = case
    p_f, p_d = roc_points(rank(scores, truth))
    assert (p_f[0], p_d[0], p_f[-1], p_d[-1]) == (0, 0, 1, 1)
    assert (np.diff(p_f) >= 0).all()
    assert (np.diff(p_d) >= 0).all()
    theirs = set(zip(*(np.round(part, 9) for part in roc_curve(truth, scores)[:2]), strict=True))
    ours = set(zip(np.round(p_f, 9), np.round(p_d, 9), strict=True))
    # All corners of theirs that are no mere points of a straight line.
    assert auc(p_f, p_d) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert ours >= {point for point in theirs if _is_corner(point, sorted(theirs))}


def _is_corner(point: tuple[float, float], curve: list[tuple[float, float]]) -> bool:
    place = curve.index(point)
    if place in (0, len(curve) - 1):
        return True
    (x0, y0), (x1, y1), (x2, y2) = curve[place - 1 : place + 2]
    return abs((x1 - x0) * (y2 - y1) - (x2 - x1) * (y1 - y0)) > 1e-7


@given(labelled())
@settings(max_examples=examples(1))
def test_the_areas_over_the_threshold_are_integrals_of_the_rates(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]],
) -> None:
    scores, truth = case
    found = basics(rank(scores, truth))
    low, span = scores.min().astype(float), float(np.ptp(scores.astype(float))) or 1.0
    scaled = (scores.astype(float) - low) / span
    edges = np.unique(np.append(scaled, 0.0))
    for area, part in ((found.d_tau, scaled[truth]), (found.f_tau, scaled[~truth])):
        # Between two scores the rate is constant.
        rates = [(part >= edge).mean() for edge in edges[1:]]
        assert area == pytest.approx((np.diff(edges) * rates).sum(), abs=1e-6)


def test_derived_figures_follow_their_formulas() -> None:
    numbers = Basics(*(np.float64(value) for value in (0.9, 0.5, 0.1, 0.3, 0.2, 0.1)))  # type: ignore[arg-type]
    names = {metric.name: float(metric.value(numbers)) for metric in METRICS}
    # Each formula is also a Python expression once the areas are put in.
    for metric in METRICS:
        if metric.formula.startswith("AUC"):
            text = metric.formula
            for name in ("AUC(D,F)", "AUC(D,tau)", "AUC(F,tau)"):
                text = text.replace(name, str(names[name]))
            assert names[metric.name] == pytest.approx(eval(text)), metric.name
    assert len({metric.key for metric in METRICS}) == len({metric.name for metric in METRICS}) == len(METRICS) == 12


def test_equal_scores_say_nothing() -> None:
    found = basics(rank(np.full(6, 7, np.float32), np.arange(6) < 2))
    assert (found.d_f, found.d_tau, found.f_tau, found.pd_3) == (0.5, 0, 0, 0)
    assert found.ap == pytest.approx(2 / 6)


def test_pixels_without_a_score_belong_to_no_class() -> None:
    scores = np.array([[1, np.nan], [3, np.inf]], np.float32)
    ranked = rank(scores, np.array([[False, True], [True, False]]))
    np.testing.assert_array_equal(ranked.targets, [3])
    np.testing.assert_array_equal(ranked.background, [1])


@pytest.mark.parametrize(
    ("truth", "words"), [(False, "no target pixel"), (True, "every pixel with a score is a target")]
)
def test_one_class_alone_is_refused(truth: bool, words: str) -> None:
    with pytest.raises(TruthError, match=words):
        rank(np.arange(4.0), np.full(4, truth))
