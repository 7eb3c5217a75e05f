"""Evidence is minus the logarithm of how many pixels score at least as high."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hadgeo.detectors.tail_table import ExponentialTable, PowerTable, TailTable


def table(scores: np.ndarray, kind: type[TailTable] = PowerTable) -> TailTable:
    return kind.of(torch.from_numpy(scores))


@pytest.mark.parametrize("draw", ["gamma", "normal", "pareto"])
def test_below_the_highest_hundredth_it_is_the_rank(draw: str) -> None:
    rng = np.random.default_rng(0)
    scores = {"gamma": rng.gamma(3, size=50_000), "normal": rng.normal(size=50_000), "pareto": rng.pareto(2, 50_000)}[
        draw
    ]
    evidence = table(scores).evidence(torch.from_numpy(scores)).numpy()
    share = (scores >= scores[:, None][::500]).mean(axis=1)
    common = share > 0.01
    np.testing.assert_allclose(evidence[::500][common], -np.log(share[common]), atol=0.03)


def test_beyond_it_a_power_law_goes_on() -> None:
    scores = np.random.default_rng(0).pareto(2, 200_000) + 1
    far = np.array([30.0, 100.0, 1000.0])
    # p = s^-2 exactly; from 200,000 scores none of these could be counted.
    np.testing.assert_allclose(table(scores).evidence(torch.from_numpy(far)), 2 * np.log(far), rtol=0.1)


def test_rises_with_the_score_and_keeps_nan() -> None:
    scores = np.random.default_rng(0).gamma(2, size=3000)
    looked = torch.cat([torch.linspace(-1, 50, 5000, dtype=torch.float64), torch.tensor([torch.nan])])
    evidence = table(scores).evidence(looked)
    assert (evidence[:-1].diff() >= 0).all()
    assert evidence[0] == 0
    assert evidence[-1].isnan()


def test_of_logarithms_an_exponential_law_goes_on() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(0.5, 200_000) + 3
    far = np.array([8.0, 10.0, 20.0])
    # p = exp(-2 (s - 3)) exactly.
    found = table(scores, ExponentialTable).evidence(torch.from_numpy(far))
    np.testing.assert_allclose(found, 2 * (far - 3), rtol=0.1)


@pytest.mark.parametrize("kind", [PowerTable, ExponentialTable])
def test_scores_that_are_all_alike_are_no_evidence(kind: type[TailTable]) -> None:
    assert table(np.full(500, 7.0), kind).evidence(torch.tensor(7.0)) == 0
    # Where nine in ten are the least of all, those alone.
    mostly = table(np.r_[np.zeros(900), np.ones(100)], kind)
    assert mostly.evidence(torch.tensor(0.0)) == 0
    np.testing.assert_allclose(mostly.evidence(torch.tensor(1.0)), np.log(10), atol=0.1)


@pytest.mark.parametrize("kind", [PowerTable, ExponentialTable])
def test_a_table_comes_back_from_its_state_as_what_it_was(kind: type[TailTable]) -> None:
    scores = np.random.default_rng(0).gamma(2, size=3000)
    made = table(scores, kind)
    back = TailTable.from_state(made.state())
    assert type(back) is kind
    looked = torch.linspace(0, 50, 100, dtype=torch.float64)
    assert torch.equal(back.evidence(looked), made.evidence(looked))


@pytest.mark.parametrize("kind", [PowerTable, ExponentialTable])
@pytest.mark.parametrize("scores", [np.ones(5), np.zeros(1), np.r_[np.zeros(999), 1.0], np.array([-3.0, -2.0])])
def test_scores_without_a_tail_give_finite_evidence(scores: np.ndarray, kind: type[TailTable]) -> None:
    evidence = table(scores, kind).evidence(torch.tensor([-5.0, 0.0, 1.0, 2.0, 1e6]))
    assert evidence.isfinite().all()
    assert (evidence.diff() >= 0).all()


def test_a_light_tail_speaks_louder_than_a_heavy_one() -> None:
    rng = np.random.default_rng(0)
    light, heavy = rng.gamma(50, size=50_000), rng.pareto(1.5, 50_000) + 1
    for scores in (light, heavy):
        scores /= np.quantile(scores, 0.99)
    two = torch.tensor([2.0])
    assert table(light).evidence(two) > table(heavy).evidence(two) + 5
