"""CRD against its formula, pixel by pixel, and against published figures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hadgeo.cube import open_cube
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.formats.matlab import read_truth
from hadgeo.testing import Cube, fitted, scored_in_windows
from tests.detectors.test_dual_window import ring, with_holes
from tests.support import background


def combinations(scene: Cube, inner: int, outer: int, weight: float) -> np.ndarray:
    """The combination of neighbours that comes closest to each pixel, from the n x n system, (band, y, x)."""
    valid = np.isfinite(scene).all(axis=0)
    found = np.full(scene.shape, np.nan)
    for row, col in np.argwhere(valid):
        X = scene[:, ring(valid.shape, row, col, inner, outer) & valid].astype(float)
        D = X - scene[:, row, col, None]
        a = np.linalg.solve(D.T @ D + weight * np.diag((D**2).sum(axis=0)), np.ones(X.shape[1]))
        found[:, row, col] = X @ (a / a.sum())
    return found


@pytest.mark.parametrize("weight", [1e-6, 0.1])
@pytest.mark.parametrize(("bands", "inner", "outer"), [(40, 3, 7), (13, 3, 9), (24, 1, 5)])
def test_scores_and_explanations_follow_the_formula(bands: int, inner: int, outer: int, weight: float) -> None:
    scene = with_holes((bands, 24, 22))
    detector = fitted(
        make_detector("crd", {"inner_window": inner, "outer_window": outer, "regularization": weight}), scene
    )
    expected = combinations(scene, inner, outer, weight)
    valid = np.isfinite(scene).all(axis=0)
    explained = detector.explain(torch.from_numpy(scene))
    assert explained is not None
    np.testing.assert_allclose(explained, expected, rtol=0, atol=1e-5)
    scores = scored_in_windows(detector, scene, valid.shape)
    np.testing.assert_allclose(scores[valid], np.linalg.norm(scene - expected, axis=0)[valid], rtol=1e-5, atol=1e-9)


def test_weights_of_the_paper_add_up_to_one_in_the_limit() -> None:
    # The paper's variant appends a row of ones to the data; a row of large equal values leaves no choice.
    scene = background((40, 20, 20))
    row, col = 10, 9
    X, y = scene[:, ring((20, 20), row, col, 3, 7)].astype(float), scene[:, row, col].astype(float)
    X1, y1 = np.vstack([X, np.full(X.shape[1], 1e3)]), np.append(y, 1e3)
    penalty = 1e-6 * np.diag(((X - y[:, None]) ** 2).sum(axis=0))
    a = np.linalg.solve(X1.T @ X1 + penalty, X1.T @ y1)
    assert a.sum() == pytest.approx(1, abs=1e-6)
    parameters = {"inner_window": 3, "outer_window": 7, "regularization": 1e-6}
    scores = fitted(make_detector("crd", parameters), scene).score(torch.from_numpy(scene))
    assert float(scores[row, col]) == pytest.approx(np.linalg.norm(y - X @ a), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_scores_are_in_the_units_of_the_input(scale: float) -> None:
    scene = background((13, 20, 20))
    once, scaled = (
        scored_in_windows(fitted(make_detector("crd", {"outer_window": 7}), cube), cube, (20, 20))
        for cube in (scene, (scene * np.float32(scale) + np.float32(scale)))
    )
    np.testing.assert_allclose(scaled / scale, once, rtol=0.02)


def test_a_pixel_that_equals_a_neighbour_is_not_anomalous() -> None:
    scene = background((13, 20, 20))
    scene[:, 10, 10] += 5
    scene[:, 10, 13] = scene[:, 10, 10]
    detector = fitted(make_detector("crd", {"inner_window": 3, "outer_window": 7}), scene)
    scores = scored_in_windows(detector, scene, (20, 20))
    assert scores[10, 10] < 1e-3
    scene[:, 4:16, 4:16] = 2
    flat = scored_in_windows(detector, scene, (20, 20))
    assert np.isfinite(flat).all()
    assert flat[9, 9] == 0


def test_a_pixel_without_neighbours_is_compared_to_the_scene() -> None:
    scene = np.full((3, 9, 9), np.nan, np.float32)
    scene[:, 0, 0], scene[:, 0, 1], scene[:, 8, 8] = 1, 2, 6
    detector = fitted(make_detector("crd", {"inner_window": 1, "outer_window": 3}), scene)
    scores = scored_in_windows(detector, scene, (9, 9))
    assert scores[8, 8] == pytest.approx(np.sqrt(3) * 3)


def test_a_mixture_of_the_surroundings_is_expected_and_a_stranger_is_not() -> None:
    rng = np.random.default_rng(2)
    ends = rng.uniform(1, 5, size=(20, 3))
    shares = rng.dirichlet(np.ones(3), size=(30, 30))
    scene = (shares @ ends.T).transpose(2, 0, 1).astype(np.float32)
    scene += 0.001 * rng.normal(size=scene.shape).astype(np.float32)
    # As far from the mean as the purest pixels are, but no mixture.
    scene[:, 15, 15] = scene.mean(axis=(1, 2)) + 0.3 * rng.normal(size=20)
    scores = scored_in_windows(fitted(make_detector("crd"), scene), scene, (30, 30))
    assert np.unravel_index(scores.argmax(), scores.shape) == (15, 15)


def test_lambda_is_above_zero() -> None:
    with pytest.raises(ParameterError, match="crd: regularization must be a number, above 0 and at most 1000, not 0"):
        make_detector("crd", {"regularization": 0})


#: Scene, windows in the program of the authors of the comparison, and the AUC it published for CRD.
PUBLISHED = [("abu-airport-2", 15, 17, 0.9681), ("abu-urban-1", 7, 9, 0.9940)]


@pytest.mark.data
@pytest.mark.parametrize(("scene", "inner", "outer", "auc"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_published_auc_where_neighbours_are_fewer_than_bands(
    data_dir: Path, scene: str, inner: int, outer: int, auc: float
) -> None:
    path = data_dir / f"truth/{scene}.mat"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)  # the MATLAB files have no georeference
        cube = open_cube(path).to_numpy().astype(np.float32)
    detector = fitted(
        make_detector("crd", {"inner_window": inner, "outer_window": outer, "regularization": 1e-6}), cube
    )
    scores = detector.score(torch.from_numpy(cube))
    assert roc_auc_score(read_truth(path).ravel(), scores.numpy().ravel()) == pytest.approx(auc, abs=0.02)
