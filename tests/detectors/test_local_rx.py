"""Local RX against Spectral Python, closed forms, and a loop over pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spectral
import torch

from hadgeo.cube import open_cube
from hadgeo.detectors.local_rx import LocalRX
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError
from hadgeo.testing import Cube, fitted, scored_in_windows
from tests.detectors.test_dual_window import differences, ring, with_holes
from tests.support import background


def local_rx(scene: Cube, **parameters: object) -> np.ndarray:
    detector = fitted(make_detector("local_rx", parameters), scene)
    return scored_in_windows(detector, scene, scene.shape[1:])


def by_spectral(scene: Cube, inner: int, outer: int) -> np.ndarray:
    """Scores of Spectral Python, (y, x); near borders it shifts its windows instead of cutting them."""
    spectral.settings.show_progress = False
    scores: np.ndarray = spectral.rx(scene.transpose(1, 2, 0).astype(float), window=(inner, outer))
    return scores


def interior(scores: np.ndarray, outer: int) -> np.ndarray:
    return scores[outer // 2 : -(outer // 2), outer // 2 : -(outer // 2)]


@pytest.mark.parametrize(("inner", "outer", "bands"), [(1, 5, 6), (3, 9, 13), (5, 15, 13), (3, 7, 30), (7, 13, 20)])
def test_a_covariance_of_each_ring_gives_what_spectral_python_gives(inner: int, outer: int, bands: int) -> None:
    scene = background((bands, 29, 24))
    scores = local_rx(scene, covariance="local", inner_window=inner, outer_window=outer)
    expected = by_spectral(scene, inner, outer)
    np.testing.assert_allclose(interior(scores, outer), interior(expected, outer), rtol=1e-5)


@pytest.mark.data
def test_agrees_with_spectral_python_on_a_real_scene(data_dir: Path) -> None:
    # 50 of the bands, neighbours of which are nearly the same: the condition number of a ring is some 1e7.
    scene = (
        open_cube(data_dir / "geo/sandiego_aviris1_utm11_nad27.tif").to_numpy()[40:90, 20:50, 30:60].astype(np.float32)
    )
    scores = local_rx(scene, covariance="local", inner_window=5, outer_window=15)
    np.testing.assert_allclose(interior(scores, 15), interior(by_spectral(scene, 5, 15), 15), rtol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("windows", [(3, 9), (1, 5), (5, 7)])
def test_missing_neighbours_vary_as_the_scene_does(windows: tuple[int, int], ridge: float) -> None:
    scene = with_holes((5, 26, 23))
    valid = np.isfinite(scene).all(axis=0)
    apart = differences(scene, *windows)
    G = np.cov(apart[:, valid])
    complete = windows[1] ** 2 - windows[0] ** 2
    expected = np.full(valid.shape, np.nan)
    for row, col in np.argwhere(valid):
        around = scene[:, ring(valid.shape, row, col, *windows) & valid].astype(float)
        S = np.cov(around, bias=True) * around.shape[1] if around.shape[1] else np.zeros((5, 5))
        C = (S + (complete - around.shape[1]) * G) / (complete - 1) + ridge * np.trace(G) / 5 * np.eye(5)
        expected[row, col] = apart[:, row, col] @ np.linalg.solve(C, apart[:, row, col])
    inner, outer = windows
    scores = local_rx(scene, covariance="local", inner_window=inner, outer_window=outer, ridge=ridge)
    np.testing.assert_allclose(scores, expected, rtol=2e-6)


def test_a_covariance_of_the_scene_is_that_of_pixels_less_their_ring() -> None:
    scene = with_holes((5, 26, 23))
    valid = np.isfinite(scene).all(axis=0)
    apart = differences(scene, 3, 9)[:, valid]
    for ridge in (0.0, 0.1):
        C = np.cov(apart)
        C += ridge * np.trace(C) / 5 * np.eye(5)
        scores = local_rx(scene, inner_window=3, outer_window=9, ridge=ridge)
        np.testing.assert_allclose(scores[valid], (apart * np.linalg.solve(C, apart)).sum(axis=0), rtol=1e-6)


def test_windowed_map_equals_whole_map_with_covariances_of_rings() -> None:
    scene = with_holes((13, 33, 40))
    detector = fitted(make_detector("local_rx", {"covariance": "local", "inner_window": 3, "outer_window": 9}), scene)
    whole = scored_in_windows(detector, scene, (33, 40))
    assert (np.isfinite(whole) == np.isfinite(scene).all(axis=0)).all()
    for size in [(7, 7), (2, 3), (16, 1000), (1000, 11)]:
        np.testing.assert_allclose(scored_in_windows(detector, scene, size), whole, rtol=1e-6)


def test_gaussian_scenes_have_the_distances_of_hotelling() -> None:
    scene = np.random.default_rng(3).normal(size=(8, 60, 60)).astype(np.float32)
    scores = interior(local_rx(scene, covariance="local", inner_window=3, outer_window=9), 9)
    n, bands = 72, 8
    # T. W. Anderson, An introduction to multivariate statistical analysis, 3rd ed., theorem 5.2.2.
    assert scores.mean() == pytest.approx((n + 1) / n * (n - 1) * bands / (n - bands - 2), rel=0.03)


def test_equal_neighbours_do_not_make_scores_infinite() -> None:
    scene = background((6, 30, 30))
    scene[:, 8:22, 8:22] = 3
    scene[:, 15, 15] += 2
    scores = local_rx(scene, covariance="local", inner_window=1, outer_window=5)
    assert np.isfinite(scores).all()
    assert scores[15, 15] == scores[10:20, 10:20].max()
    assert scores.max() < 1e6


def test_a_spectrum_far_from_all_others_spoils_no_ring_but_its_own() -> None:
    # Sums that slide keep the rounding of what has left them.
    scene = background((13, 30, 60))
    spoiled = scene.copy()
    spoiled[:, 15, 20] += 1e5
    clean, found = (local_rx(x, covariance="local", inner_window=5, outer_window=11) for x in (scene, spoiled))
    rows, cols = np.indices(clean.shape)
    far = np.maximum(abs(rows - 15), abs(cols - 20)) > 5
    np.testing.assert_allclose(interior(np.where(far, found, 1), 11), interior(np.where(far, clean, 1), 11), rtol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_land_that_hardly_varies_scores_alike_in_every_window(ridge: float) -> None:
    # Little is left of it in float32 beside the rest of the scene.
    scene = background((20, 40, 44))
    scene[:, :, :22] = scene[:, :, :22] * np.float32(1e-3)
    given = {"covariance": "local", "inner_window": 5, "outer_window": 13, "ridge": ridge}
    detector = fitted(make_detector("local_rx", given), scene)
    whole = scored_in_windows(detector, scene, (40, 44))
    np.testing.assert_allclose(scored_in_windows(detector, scene, (21, 17)), whole, rtol=1e-6)


def test_rings_with_fewer_pixels_than_bands_say_what_to_do() -> None:
    scene = background((30, 20, 20))
    with pytest.raises(FitError) as caught:
        local_rx(scene, covariance="local", inner_window=3, outer_window=5)
    assert str(caught.value) == (
        "local_rx: the 16 pixels between inner_window 3 and outer_window 5 do not determine a covariance of 30 bands; "
        "raise outer_window to 7, set a ridge, or set covariance to global"
    )
    scores = local_rx(scene, covariance="local", inner_window=3, outer_window=5, ridge=0.1)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("covariance", ["global", "local"])
def test_a_scene_that_changes_hides_nothing_from_rings(covariance: str) -> None:
    # A target that is common in another part of the scene.
    scene = background((6, 60, 60))
    scene[0, :30] += 4
    scene[0, 45, 30] += 4
    scores = local_rx(scene, covariance=covariance, inner_window=3, outer_window=11)
    assert np.unravel_index(scores.argmax(), scores.shape) == (45, 30)
    everywhere = scored_in_windows(fitted(make_detector("rx"), scene), scene, (60, 60))
    assert np.unravel_index(everywhere.argmax(), everywhere.shape) != (45, 30)


def test_local_contrast_is_for_covariances_of_rings_too() -> None:
    scene = background((6, 40, 40))
    detector = fitted(make_detector("local_rx", {"covariance": "local", "cfar_window": 9, "outer_window": 9}), scene)
    whole = scored_in_windows(detector, scene, (40, 40))
    np.testing.assert_allclose(scored_in_windows(detector, scene, (11, 13)), whole, rtol=1e-6)


def test_memory_is_told_as_it_is_taken() -> None:
    detector = LocalRX()
    assert detector.bytes_per_pixel(200) < 100
    assert make_detector("local_rx", {"covariance": "local"}).bytes_per_pixel(200) >= 20 * 200


def test_blocks_of_both_layouts_score_alike() -> None:
    scene = background((13, 30, 31))
    detector = fitted(make_detector("local_rx", {"covariance": "local"}), scene)
    bip = torch.from_numpy(np.ascontiguousarray(scene.transpose(1, 2, 0))).permute(2, 0, 1)
    np.testing.assert_allclose(detector.score(bip), detector.score(torch.from_numpy(scene)), rtol=1e-9)
