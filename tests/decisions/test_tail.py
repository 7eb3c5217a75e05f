"""The tail of the background, against scipy's distributions, with and without targets in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from hadgeo.decisions.tail import Tail, fit_tail, tail_size


@pytest.mark.parametrize("shape", [0.0, 0.15, 0.4, 0.8])
def test_the_tail_of_a_generalised_pareto_sample_is_found(shape: float) -> None:
    sample = np.sort(stats.genpareto.rvs(shape, loc=5, scale=3, size=20_000, random_state=1))
    tail = fit_tail(sample, 1_000_000)
    assert tail is not None
    assert tail.shape == pytest.approx(shape, abs=0.03)
    assert tail.scale == pytest.approx(3, rel=0.03)
    assert tail.quality == "good"
    assert tail.fraction == pytest.approx(0.02, rel=1e-3)


def test_survival_and_score_are_inverse_and_those_of_scipy() -> None:
    tail = Tail(start=2.0, fraction=0.01, shape=0.2, scale=1.5, excesses=1000, distance=0.01)
    scores = np.array([2.0, 3.0, 10.0, 50.0])
    shares = tail.survival(scores)
    np.testing.assert_allclose(shares, 0.01 * stats.genpareto(0.2, loc=2, scale=1.5).sf(scores))
    np.testing.assert_allclose([tail.score_at(share) for share in shares], scores, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_targets_far_out_spoil_the_tail_less_than_the_largest_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = rng.exponential(size=300_000)
    everything = np.concatenate([background, rng.uniform(20, 60, size=30)])
    size = tail_size(len(background))
    clean, mixed = (np.sort(scores)[-size:] for scores in (background, everything))
    for largest in (clean, mixed):
        tail = fit_tail(largest, len(background))
        assert tail is not None
        assert 0.4e-4 < np.exp(-tail.score_at(1e-4)) < 1.5e-4
    shape, _, scale = stats.genpareto.fit(mixed[1:] - mixed[0], floc=0)
    naive = mixed[0] + stats.genpareto.isf(1e-4 * len(background) / size, shape, scale=scale)
    assert np.exp(-naive) < 0.2e-4


def test_units_do_not_matter() -> None:
    sample = np.sort(stats.genpareto.rvs(0.2, size=2000, random_state=0))
    small, large = (fit_tail(sample * unit, 10**5) for unit in (1e-6, 1e6))
    assert small is not None
    assert large is not None
    assert small.shape == pytest.approx(large.shape, abs=1e-6)
    assert small.scale * 1e12 == pytest.approx(large.scale, rel=1e-6)


def test_a_tail_of_another_form_is_called_poor() -> None:
    # However far out it begins, both are in it.
    two_heaps = np.concatenate([np.linspace(0, 1, 2000), np.linspace(50, 51, 100)])
    tail = fit_tail(two_heaps, 10**6)
    assert tail is not None
    assert tail.quality == "poor"


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_surface_that_no_fit_from_far_in_follows_has_a_tail_of_its_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.sort(np.concatenate([rng.exponential(0.2, size=100_000), rng.normal(2, 0.5, size=2000)]))
    tail = fit_tail(scores[-tail_size(len(scores)) - 1 :], len(scores))
    assert tail is not None
    assert tail.quality == "good"
    for rate in (5e-3, 1e-3, 3e-4):
        assert 0.7 < (scores >= tail.score_at(rate)).mean() / rate < 1.3, rate


def test_starts_further_out_have_their_say_beyond_the_last_of_them() -> None:
    sample = np.sort(stats.norm.rvs(size=100_000, random_state=3))
    tail = fit_tail(sample[-8000:], len(sample))
    assert tail is not None
    assert len(tail.further) > 3
    assert (np.diff([tail.start, *(fit.start for fit in tail.further)]) > 0).all()
    last = tail.further[-1].start
    scores = np.linspace(tail.start, 9, 4000)
    shares = tail.survival(scores)
    assert (np.diff(shares) < 0).all()
    first = replace(tail, further=())
    np.testing.assert_allclose(shares[scores < last], first.survival(scores[scores < last]))
    np.testing.assert_allclose(tail.survival(last + 1e-9), first.survival(last), rtol=1e-6)
    declines = [fit.survival(4.0) / fit.survival(last) for fit in (first, *tail.further)]
    assert tail.survival(4.0) / first.survival(last) == pytest.approx(stats.gmean(declines))
    np.testing.assert_allclose([tail.score_at(share) for share in shares[1::100]], scores[1::100], rtol=1e-6)
    # Nearer to the normal distribution than the first of them by itself.
    truth = -stats.norm.ppf(1e-5)
    assert abs(tail.score_at(1e-5) - truth) < abs(first.score_at(1e-5) - truth)


def test_a_tail_with_an_end_calls_nothing_impossible() -> None:
    tail = Tail(start=1.0, fraction=0.01, shape=-0.25, scale=1.0, excesses=1000, distance=0.0)
    scores = np.linspace(1, 50, 5000)
    shares = tail.survival(scores)
    assert (np.diff(shares) < 0).all()
    inside = scores < 4
    np.testing.assert_allclose(shares[inside], 0.01 * stats.genpareto(-0.25, loc=1, scale=1).sf(scores[inside]))
    np.testing.assert_allclose([tail.score_at(share) for share in shares[::50]], scores[::50], rtol=1e-9)


def test_a_tail_that_begins_further_out_is_found_there() -> None:
    plateau = np.linspace(0, 10, 20_000)
    beyond = 10 + stats.expon.rvs(scale=0.5, size=1200, random_state=2)
    tail = fit_tail(np.sort(np.concatenate([plateau, beyond])), 10**6)
    assert tail is not None
    assert tail.quality != "poor"
    assert tail.start > 9
    assert tail.score_at(1e-5) == pytest.approx(10 - 0.5 * np.log(1e-5 / 1.2e-3), rel=0.1)


@pytest.mark.parametrize("largest", [np.array([]), np.full(1000, 3.0), np.repeat(np.arange(40.0), 100)])
def test_too_few_different_scores_have_no_tail(largest: np.ndarray) -> None:
    assert fit_tail(largest, 10_000) is None
