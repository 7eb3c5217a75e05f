"""The ridge in closed form, and trimming: what it is for, what it leaves alone, and that it streams."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hadgeo import sampling
from hadgeo.detectors.covariance import CovarianceParams, background_statistics, regularised, trim_limit
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Scene, Statistics
from tests.support import background, memory_source

CPU = torch.device("cpu")


def sample_of(scene: np.ndarray, readers: Executor) -> Sample:
    return Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)


def rx_scores(scene: np.ndarray, readers: Executor, **parameters: object) -> np.ndarray:
    return (
        make_detector("rx", parameters)
        .fit(sample_of(scene, readers), device=CPU)
        .score(torch.from_numpy(scene))
        .numpy()
    )


def contaminated(share: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """A scene (band, y, x) with targets of one kind, and where they are (y, x)."""
    scene = background((12, 80, 80))
    rng = np.random.default_rng(1)
    truth = rng.random((80, 80)) < share
    scene[:, truth] += (0.3 * rng.normal(size=12))[:, None] + 0.05 * rng.normal(size=(12, truth.sum()))
    return scene.astype(np.float32), truth


def trimmed_by_numpy(scene: np.ndarray, share: float, ridge: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, covariance and number of pixels after dropping the farthest share, twice, with all pixels in memory."""
    x = scene.reshape(len(scene), -1).T.astype(float)
    x = x[np.isfinite(x).all(axis=1)]
    kept = x
    for _ in range(2):
        covariance = np.cov(kept.T)
        covariance += ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        away = x - kept.mean(axis=0)
        distance = np.einsum("pb,bc,pc->p", away, np.linalg.inv(covariance), away)
        kept = x[np.argsort(distance)[: int((1 - share) * len(x))]]
    return kept.mean(axis=0), np.cov(kept.T), len(kept)


@pytest.mark.parametrize("ridge", [1e-4, 0.01, 10])
def test_the_ridge_is_added_in_units_of_the_mean_eigenvalue(readers: Executor, ridge: float) -> None:
    scene = background((7, 30, 40))
    x = scene.reshape(7, -1).T.astype(float)
    x -= x.mean(axis=0)
    covariance = np.cov(x.T)
    inverse = np.linalg.inv(covariance + ridge * np.trace(covariance) / 7 * np.eye(7))
    expected = np.einsum("pb,bc,pc->p", x, inverse, x)
    np.testing.assert_allclose(rx_scores(scene, readers, ridge=ridge).ravel(), expected, rtol=1e-5)


def test_the_ridge_leaves_its_argument_alone_and_knows_no_units() -> None:
    covariance = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    before = covariance.clone()
    np.testing.assert_allclose(regularised(covariance, 0.5), [[2, 0], [0, 4]])
    np.testing.assert_allclose(regularised(1e8 * covariance, 0.5), 1e8 * regularised(covariance, 0.5))
    assert torch.equal(covariance, before)
    assert regularised(covariance, 0) is covariance


def test_trimming_reveals_targets_of_one_kind_that_have_shaped_the_background(readers: Executor) -> None:
    scene, truth = contaminated()
    plain = average_precision_score(truth.ravel(), rx_scores(scene, readers).ravel())
    trimmed = average_precision_score(truth.ravel(), rx_scores(scene, readers, robust="trim", trim=0.05).ravel())
    assert trimmed > plain + 0.1


def test_trimming_changes_little_where_there_are_no_targets(readers: Executor) -> None:
    scene, _ = contaminated(0)
    plain, trimmed = (rx_scores(scene, readers, robust=robust) for robust in ("none", "trim"))
    assert np.corrcoef(plain.ravel(), trimmed.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(trimmed, plain, rtol=0.15)


@pytest.mark.parametrize("ridge", [0, 0.01])
@pytest.mark.parametrize("piece_bytes", [2**10, 2**15, 2**25])
def test_trimmed_statistics_are_those_of_the_pixels_that_are_left(
    readers: Executor, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, ridge: float
) -> None:
    monkeypatch.setattr(sampling, "PIECE_BYTES", piece_bytes)
    scene, _ = contaminated()
    scene[3, 10:20, 30:50] = np.nan
    params = CovarianceParams(robust="trim", trim=0.04, ridge=ridge)
    found = background_statistics(sample_of(scene, readers), params, device=CPU)
    mean, covariance, count = trimmed_by_numpy(scene, 0.04, ridge)
    assert found.count == count
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("distances", "share", "left"),
    [(range(10), 0.2, 8), (range(10), 0.5, 5), (range(10), 1e-9, 9), (range(2), 0.5, 1), (range(1), 0.5, 1)],
)
def test_the_limit_lies_between_what_is_kept_and_what_is_dropped(distances: range, share: float, left: int) -> None:
    values = torch.tensor(distances, dtype=torch.float64)[torch.randperm(len(distances))]
    limit = trim_limit(values, share)
    assert int((values <= limit).sum()) == left
    assert len(distances) == 1 or limit not in values


def test_nothing_is_trimmed_unless_asked(readers: Executor) -> None:
    scene, _ = contaminated()
    found = background_statistics(sample_of(scene, readers), CovarianceParams(), device=CPU)
    expected = Statistics.of(torch.from_numpy(scene.reshape(12, -1).T))
    assert found.count == expected.count
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9)


@pytest.mark.parametrize("name", ["rx", "utd", "rxd_utd", "subspace_rx", "cluster_rx"])
def test_every_detector_with_a_covariance_can_trim(readers: Executor, name: str) -> None:
    scene, _ = contaminated()
    block = torch.from_numpy(scene)
    maps = [
        make_detector(name, {"robust": robust, "trim": 0.05}).fit(sample_of(scene, readers), device=CPU).score(block)
        for robust in ("none", "trim")
    ]
    assert not torch.allclose(maps[0], maps[1], rtol=0.01)
    assert maps[1].isfinite().all()


def test_equal_pixels_are_refused_where_the_odd_ones_are_trimmed(readers: Executor) -> None:
    scene = np.ones((3, 20, 20), np.float32)
    scene[:, 3, 4] = [2, 5, 3]
    with pytest.raises(FitError, match="valid pixels are equal"):
        rx_scores(scene, readers, robust="trim")


@pytest.mark.parametrize("name", ["rx", "utd", "subspace_rx", "cluster_rx"])
def test_trimming_is_told_to_take_memory(name: str) -> None:
    plain, trimmed = (make_detector(name, {"robust": robust}).fit_bytes(100, 10**6) for robust in ("none", "trim"))
    assert trimmed >= plain + 8 * 100 * 2**15
