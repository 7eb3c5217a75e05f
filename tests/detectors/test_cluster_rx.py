"""Cluster RX against the formula, and against plain RX."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import average_precision_score

from hadgeo.detectors.cluster_rx import ClusterRX
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Scene
from tests.detectors.test_kmeans import of_three_kinds
from tests.support import background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, name: str = "cluster_rx", **parameters: object) -> ClusterRX:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return make_detector(name, parameters).fit(sample, device=CPU)  # type: ignore[return-value]


def pixels_and_kinds(scene: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = scene.reshape(len(scene), -1).T.astype(float)
    return pixels, np.linalg.norm(pixels[:, None] - kinds, axis=2).argmin(axis=1)


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
@pytest.mark.parametrize("ridge", [0, 0.05])
def test_pooled_covariance_is_that_of_discriminant_analysis(readers: Executor, method: str, ridge: float) -> None:
    scene, kinds = of_three_kinds()
    pixels, labels = pixels_and_kinds(scene, kinds)
    reference = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(pixels, labels)
    covariance = reference.covariance_ * len(pixels) / (len(pixels) - 3)
    covariance += ridge * np.trace(covariance) / 5 * np.eye(5)
    away = pixels[:, None] - reference.means_
    expected = np.einsum("pkb,bc,pkc->pk", away, np.linalg.inv(covariance), away).min(axis=1)
    detector = fit(scene, readers, clusters=3, method=method, ridge=ridge)
    np.testing.assert_allclose(detector.score(torch.from_numpy(scene)).numpy().ravel(), expected, rtol=1e-6)


def test_covariances_of_their_own_lean_on_the_pooled_one(readers: Executor) -> None:
    scene, _ = of_three_kinds()
    scene[:, :, 25:] = (scene[:, :, 25:] - scene.mean()) * 3  # three more kinds, of a wider spread
    detector = fit(scene, readers, clusters=6, covariance="cluster")
    pixels = torch.from_numpy(scene.reshape(5, -1).T).double()
    nearest = torch.cdist(pixels, detector.means_).argmin(dim=1)
    members = [pixels[nearest == k] for k in range(6)]
    scatters = [torch.cov(x.T, correction=0) * len(x) for x in members]
    pooled = sum(scatters) / (len(pixels) - 6)
    distances = []
    for x, scatter in zip(members, scatters, strict=True):
        inverse = torch.linalg.inv((scatter + 25 * pooled) / (len(x) + 25))
        away = pixels - x.mean(dim=0)
        distances.append(((away @ inverse) * away).sum(dim=1))
    expected = torch.stack(distances).amin(dim=0)
    np.testing.assert_allclose(detector.score(torch.from_numpy(scene)).flatten(), expected, rtol=1e-6)


def test_one_cluster_is_rx(readers: Executor) -> None:
    scene = background((9, 30, 40))
    rx = fit(scene, readers, "rx").score(torch.from_numpy(scene))
    # Either may compute in float32.
    np.testing.assert_allclose(fit(scene, readers, clusters=1).score(torch.from_numpy(scene)), rx, rtol=1e-5)


@pytest.mark.parametrize("covariance", ["pooled", "cluster"])
@pytest.mark.parametrize("method", ["kmeans", "mixture"])
def test_finds_a_mixture_of_two_kinds_that_rx_takes_for_background(
    readers: Executor, covariance: str, method: str
) -> None:
    scene, kinds = of_three_kinds()
    scene[:, 20, 30] = kinds.mean(axis=0)  # the very mean of the scene
    scores = fit(scene, readers, clusters=3, covariance=covariance, method=method).score(torch.from_numpy(scene))
    assert int(scores.argmax()) == 20 * 50 + 30
    rx = fit(scene, readers, "rx").score(torch.from_numpy(scene))
    assert rx[20, 30] < rx.median()


def test_trimming_keeps_targets_out_of_the_covariance(readers: Executor) -> None:
    scene, _ = of_three_kinds()
    rng = np.random.default_rng(1)
    truth = rng.random((40, 50)) < 0.03
    scene[:, truth] += 0.15 * rng.choice([-1, 1], size=5)[:, None] + 0.2 * rng.normal(size=(5, truth.sum()))
    found = {}
    for robust in ("none", "trim"):
        scores = fit(scene, readers, clusters=3, robust=robust, trim=0.05).score(torch.from_numpy(scene))
        found[robust] = average_precision_score(truth.ravel(), scores.numpy().ravel())
    assert found["trim"] > found["none"]


def test_a_scene_of_a_few_exact_values_is_refused(readers: Executor) -> None:
    scene = np.zeros((3, 20, 20), np.float32)
    scene[:, :, 10:] = 1
    with pytest.raises(FitError, match="valid pixels are equal inside their clusters"):
        fit(scene, readers, clusters=2)
