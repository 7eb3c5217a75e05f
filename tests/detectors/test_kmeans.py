"""Distances to clusters, and what counts as one."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Reference

from hadgeo.detectors.kmeans import KMeans, background_clusters
from hadgeo.detectors.registry import make_detector
from hadgeo.sampling import Sample, Scene
from tests.support import memory_source

CPU = torch.device("cpu")


def of_three_kinds() -> tuple[np.ndarray, np.ndarray]:
    """A scene of three kinds of ground (band, y, x), and the spectra of them (kind, band)."""
    rng = np.random.default_rng(0)
    kinds = np.array([[1, 2, 3, 4, 5.0], [5, 4, 3, 2, 1.0], [9, 9, 9, 1, 1.0]])
    scene = kinds[rng.integers(3, size=(40, 50))].transpose(2, 0, 1) + 0.1 * rng.normal(size=(5, 40, 50))
    return scene.astype(np.float32), kinds


def fit(scene: np.ndarray, readers: Executor, **parameters: object) -> KMeans:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    detector = make_detector("kmeans", parameters).fit(sample, device=CPU)
    assert isinstance(detector, KMeans)
    return detector


def test_the_score_is_the_distance_to_the_nearest_kind(readers: Executor) -> None:
    scene, kinds = of_three_kinds()
    detector = fit(scene, readers, clusters=3)
    pixels = scene.transpose(1, 2, 0)
    expected = (
        Reference(3, n_init=5, random_state=0)
        .fit(pixels.reshape(-1, 5).astype(float))
        .transform(pixels.reshape(-1, 5).astype(float))
    )
    scores = detector.score(torch.from_numpy(scene)).numpy()
    np.testing.assert_allclose(scores.ravel(), expected.min(axis=1), rtol=1e-4)
    explained = detector.explain(torch.from_numpy(scene)).numpy()
    np.testing.assert_allclose(np.linalg.norm(scene - explained, axis=0), scores, rtol=1e-4)
    assert {tuple(np.round(spectrum)) for spectrum in detector.centres_.numpy()} == {tuple(kind) for kind in kinds}


def test_targets_that_form_a_cluster_are_no_background(readers: Executor) -> None:
    scene, _ = of_three_kinds()
    scene[:, 20, 10:15] = 40
    bright = torch.zeros(40, 50, dtype=torch.bool)
    bright[20, 10:15] = True
    scores = fit(scene, readers, clusters=4).score(torch.from_numpy(scene))
    assert scores[bright].min() > 10 * scores[~bright].max()
    taken_in = fit(scene, readers, clusters=4, smallest=0).score(torch.from_numpy(scene))
    assert taken_in[bright].max() < 1e-3


def test_the_largest_cluster_always_counts() -> None:
    assert background_clusters(torch.tensor([0, 2, 2, 1]), 0.99) == [2]
    assert background_clusters(torch.tensor([0, 0, 0, 2]), 0.5) == [0, 2]
    assert background_clusters(torch.tensor([0, 0, 0, 2]), 0.6) == [0]
    assert background_clusters(torch.tensor([3]), 0.9) == [3]


@pytest.mark.parametrize("clusters", [1, 16, 256])
def test_any_number_of_clusters_can_be_asked_for(readers: Executor, clusters: int) -> None:
    scene, _ = of_three_kinds()
    few = np.ascontiguousarray(scene[:, :5, :6])
    detector = fit(few, readers, clusters=clusters)
    assert 1 <= len(detector.centres_) <= min(clusters, 30)
    assert detector.score(torch.from_numpy(few)).isfinite().all()


def test_the_seed_chooses_pixels_and_centres(readers: Executor) -> None:
    scene, _ = of_three_kinds()
    first, again, other = (fit(scene, readers, sample=200, seed=seed).centres_ for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_a_cluster_that_is_far_away_costs_the_others_no_digits(readers: Executor) -> None:
    near = of_three_kinds()[0]
    detector = fit(np.concatenate([near, near * np.float32(1e12)], axis=1), readers, clusters=4)
    pixels = near.reshape(5, -1).T.astype(float)
    expected = np.linalg.norm(pixels[:, None] - detector.centres_.numpy(), axis=2).min(axis=1)
    np.testing.assert_allclose(detector.score(torch.from_numpy(near)).flatten(), expected, rtol=1e-9)
