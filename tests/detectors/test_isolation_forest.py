"""The forest scores as scikit-learn does."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest as Reference

from hadgeo.detectors.isolation_forest import IsolationForest, _round_down
from hadgeo.detectors.registry import make_detector
from hadgeo.sampling import Sample, Scene
from tests.support import background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, **parameters: object) -> IsolationForest:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    detector = make_detector("isolation_forest", parameters).fit(sample, device=CPU)
    assert isinstance(detector, IsolationForest)
    return detector


@pytest.mark.parametrize(
    "parameters",
    [{}, {"trees": 1}, {"tree_sample": 2}, {"components": 2, "tree_sample": 300, "seed": 7}, {"components": 99}],
)
def test_agrees_with_scikit_learn(readers: Executor, parameters: dict[str, int]) -> None:
    scene = background((9, 30, 40))
    scene[:, 3, 4] *= 3
    detector = fit(scene, readers, **parameters)
    params = detector.params
    pixels = scene.reshape(9, -1).T.astype(float)
    components = ((pixels - pixels.mean(axis=0)) @ detector.basis_.numpy().T).astype(np.float32)
    reference = Reference(
        n_estimators=params.trees, max_samples=min(params.tree_sample, 1200), random_state=params.seed
    )
    expected = -reference.fit(components).score_samples(components)
    found = detector.score(torch.from_numpy(scene)).numpy().ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_looks_at_the_leading_components(readers: Executor) -> None:
    scene = background((9, 30, 40))
    expected = PCA(4).fit(scene.reshape(9, -1).T.astype(float)).components_
    overlap = np.abs((fit(scene, readers, components=4).basis_.numpy() * expected).sum(axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)


def test_scores_lie_between_0_and_1_and_the_odd_one_is_highest(readers: Executor) -> None:
    scene = background((9, 40, 40))
    scene[::2, 20, 11] += 6
    scores = fit(scene, readers).score(torch.from_numpy(scene))
    assert 0 < scores.min() < scores.max() < 1
    assert int(scores.argmax()) == 20 * 40 + 11


def test_infinite_values_hurt_no_other_pixel(readers: Executor) -> None:
    scene = background((9, 30, 40))
    scene[:, 3, 4], scene[2, 5, 6] = np.inf, -np.inf
    detector = fit(scene, readers)
    whole = detector.score(torch.from_numpy(scene))
    assert torch.equal(detector.score(torch.from_numpy(scene[:, 10:])), whole[10:])


def test_thresholds_round_towards_the_side_that_they_part() -> None:
    exact = np.random.default_rng(0).normal(size=1000)
    rounded = _round_down(exact)
    assert rounded.dtype == np.float32
    assert (rounded <= exact).all()
    assert (np.nextafter(rounded, np.float32(np.inf)) > exact).all()
