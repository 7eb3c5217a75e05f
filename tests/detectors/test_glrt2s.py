"""The two-step GLRT against its likelihood ratio, a loop over pixels, and local RX."""

from __future__ import annotations

import numpy as np
import pytest

from hadgeo.detectors.registry import make_detector
from hadgeo.errors import ParameterError
from hadgeo.testing import Cube, fitted, scored_in_windows
from tests.detectors.test_dual_window import differences, ring, with_holes
from tests.support import background


def scores_of(name: str, scene: Cube, **parameters: object) -> np.ndarray:
    return scored_in_windows(fitted(make_detector(name, parameters), scene), scene, scene.shape[1:])


def in_a_loop(scene: Cube, inner: int, outer: int, *, local: bool, taper: float = 0.0) -> np.ndarray:
    """The formula, pixel by pixel, (y, x)."""
    valid = np.isfinite(scene).all(axis=0)
    G = np.cov(differences(scene, inner, outer)[:, valid])
    complete = outer**2 - inner**2
    scores = np.full(valid.shape, np.nan)
    rows, cols = np.indices(valid.shape)
    for row, col in np.argwhere(valid):
        far = np.maximum(abs(rows - row), abs(cols - col))
        block = (far <= inner // 2) & valid
        around = scene[:, ring(valid.shape, row, col, inner, outer) & valid].astype(float)
        R = G
        if local:
            S = np.cov(around, bias=True) * around.shape[1]
            R = (S + (complete - around.shape[1]) * G) / (complete - 1)
        weight = np.sqrt(1 - taper * far[block] / (inner // 2)) if inner > 1 else 1.0
        X = (scene[:, block] - around.mean(axis=1, keepdims=True)) * weight
        scores[row, col] = np.linalg.eigvalsh(X.T @ np.linalg.solve(R, X))[-1]
    return scores


@pytest.mark.parametrize("taper", [0.0, 0.1])
@pytest.mark.parametrize("covariance", ["global", "local"])
@pytest.mark.parametrize("windows", [(3, 9), (5, 7)])
def test_scores_are_those_of_a_loop_over_pixels(windows: tuple[int, int], covariance: str, taper: float) -> None:
    scene = with_holes((5, 26, 23))
    inner, outer = windows
    scores = scores_of("glrt2s", scene, inner_window=inner, outer_window=outer, covariance=covariance, taper=taper)
    expected = in_a_loop(scene, inner, outer, local=covariance == "local", taper=taper)
    np.testing.assert_allclose(scores, expected, rtol=2e-6)


def test_it_is_the_likelihood_ratio_of_the_best_spectrum_and_pattern() -> None:
    # For R = I: what ‖X‖² - min ‖X - a bᵀ‖² is, with a and b found by alternating least squares.
    X = np.random.default_rng(0).normal(size=(6, 9))
    b = np.ones(9)
    for _ in range(2000):
        a = X @ b / (b @ b)
        b = X.T @ a / (a @ a)
    gain = (X**2).sum() - ((X - np.outer(a, b)) ** 2).sum()
    assert np.linalg.eigvalsh(X.T @ X)[-1] == pytest.approx(gain, rel=1e-9)


@pytest.mark.parametrize("covariance", ["global", "local"])
def test_a_block_of_one_pixel_is_local_rx(covariance: str) -> None:
    scene = with_holes((5, 26, 23))
    same = {"inner_window": 1, "outer_window": 7, "covariance": covariance}
    np.testing.assert_allclose(scores_of("glrt2s", scene, **same), scores_of("local_rx", scene, **same), rtol=1e-6)


@pytest.mark.parametrize("covariance", ["global", "local"])
def test_scores_do_not_depend_on_units_of_bands(covariance: str) -> None:
    scene = background((5, 30, 30))
    scale, zero = np.array([1, 100, 0.01, 5, 1]), np.array([0, 7, 0, -3, 1])
    other = (scene * scale[:, None, None] + zero[:, None, None]).astype(np.float32)
    first, second = (scores_of("glrt2s", cube, covariance=covariance, outer_window=9) for cube in (scene, other))
    np.testing.assert_allclose(second, first, rtol=1e-3)


@pytest.mark.parametrize("covariance", ["global", "local"])
def test_a_faint_target_of_several_pixels_stands_out_more_than_for_local_rx(covariance: str) -> None:
    rng = np.random.default_rng(5)
    scene = rng.normal(size=(30, 60, 60)).astype(np.float32)
    scene[:, 29:32, 19:22] += 0.75
    same = {"covariance": covariance, "outer_window": 13}
    block = scores_of("glrt2s", scene, inner_window=3, **same)
    pixel = scores_of("local_rx", scene, inner_window=3, **same)
    assert np.unravel_index(block.argmax(), block.shape) == (30, 20)
    assert (pixel > pixel[30, 20]).sum() > 10


def test_windowed_map_equals_whole_map_with_covariances_of_rings() -> None:
    scene = with_holes((6, 26, 23))
    detector = fitted(make_detector("glrt2s", {"covariance": "local", "outer_window": 7}), scene)
    whole = scored_in_windows(detector, scene, (26, 23))
    for size in [(7, 7), (16, 1000)]:
        np.testing.assert_allclose(scored_in_windows(detector, scene, size), whole, rtol=1e-6)


def test_a_block_is_not_larger_than_is_computed_in_reasonable_time() -> None:
    with pytest.raises(ParameterError, match="glrt2s: inner_window must be a whole number, at least 1 and at most 21"):
        make_detector("glrt2s", {"inner_window": 23, "outer_window": 31})
