"""Subspace RX against its formula."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch

from hadgeo.detectors.registry import make_detector
from hadgeo.detectors.subspace_rx import SubspaceRX
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Scene
from tests.support import background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, **parameters: object) -> SubspaceRX:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    detector = make_detector("subspace_rx", parameters).fit(sample, device=CPU)
    assert isinstance(detector, SubspaceRX)
    return detector


@pytest.mark.parametrize("removed", [0, 1, 4, 8])
@pytest.mark.parametrize("ridge", [0, 0.01])
def test_agrees_with_the_sum_over_the_other_components(readers: Executor, removed: int, ridge: float) -> None:
    scene = background((9, 30, 40))
    x = scene.reshape(9, -1).T.astype(float)
    x -= x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    values += ridge * values.mean()
    expected = ((x @ vectors) ** 2 / values)[:, : 9 - removed].sum(axis=1)
    found = fit(scene, readers, removed=removed, ridge=ridge).score(torch.from_numpy(scene))
    np.testing.assert_allclose(found.numpy().ravel(), expected, rtol=1e-6)


def test_nothing_removed_is_rx(readers: Executor) -> None:
    scene = background((9, 30, 40))
    sample = Sample(Scene(memory_source(scene), range(9)), executor=readers, device=CPU)
    rx = make_detector("rx").fit(sample, device=CPU).score(torch.from_numpy(scene))
    for parameters in ({"removed": 0}, {"energy": 0}):
        found = fit(scene, readers, **parameters).score(torch.from_numpy(scene))
        np.testing.assert_allclose(found, rx, rtol=1e-5)


def test_the_energy_chooses_the_fewest_components_that_hold_it(readers: Executor) -> None:
    rng = np.random.default_rng(0)
    spread = np.sqrt([60, 30, 6, 3, 1])
    scene = (spread[:, None, None] * rng.normal(size=(5, 100, 100))).astype(np.float32)
    for energy, removed in ((0.5, 1), (0.8, 2), (0.93, 3), (0.98, 4), (0.9999, 4)):
        assert len(fit(scene, readers, energy=energy).removed_) == removed, energy


def test_what_varies_most_is_no_anomaly(readers: Executor) -> None:
    rng = np.random.default_rng(0)
    light = rng.gamma(2, size=(60, 60))
    scene = np.linspace(1, 2, 8)[:, None, None] * light + 0.01 * rng.normal(size=(8, 60, 60))
    scene[:, 5, 5] = 40 * np.linspace(1, 2, 8)  # far brighter than all others
    scene[::2, 30, 30] += 0.2  # of another colour
    scene = scene.astype(np.float32)
    scores = fit(scene, readers, removed=1).score(torch.from_numpy(scene))
    assert int(scores.argmax()) == 30 * 60 + 30
    assert scores[5, 5] < scores.quantile(0.999)


def test_the_explanation_lies_in_the_removed_components(readers: Executor) -> None:
    scene = background((9, 30, 40))
    detector = fit(scene, readers, removed=3)
    rest = torch.from_numpy(scene) - detector.explain(torch.from_numpy(scene))
    along = torch.tensordot(detector.removed_, rest.double(), dims=1)
    assert along.abs().max() < 1e-5


def test_with_fewer_pixels_than_bands_something_of_them_is_left(readers: Executor) -> None:
    scene = background((30, 3, 4))
    detector = fit(scene, readers)
    assert len(detector.removed_) <= 10
    assert float(detector.score(torch.from_numpy(scene)).max()) > 0.01
    with pytest.raises(FitError, match="removed=11 leaves none of the 11 components"):
        fit(scene, readers, removed=11)


def test_removing_all_is_refused(readers: Executor) -> None:
    with pytest.raises(FitError, match="removed=9 leaves none of the 9 components of the scene; remove fewer"):
        fit(background((9, 30, 40)), readers, removed=9)


def test_components_without_variance_do_not_count(readers: Executor) -> None:
    scene = background((6, 30, 30))
    scene[5] = 2 * scene[4]  # exactly dependent in float32
    assert len(fit(scene, readers, removed=2).whitening_) == 3
    with pytest.raises(FitError, match="none of the 5 components"):
        fit(scene, readers, removed=5)
