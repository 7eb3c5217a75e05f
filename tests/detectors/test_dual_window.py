"""What detectors with an inner and an outer window share: their windows, and how pixels differ from their rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hadgeo.detectors.base import Detector
from hadgeo.detectors.dual_window import ring_differences
from hadgeo.detectors.local_rx import LocalRX, LocalRXParams
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError, ParameterError
from hadgeo.testing import Cube, fitted
from tests.support import Recorder, background

DETECTORS = ["crd", "glrt2s", "local_rx"]


def ring(shape: tuple[int, int], row: int, col: int, inner: int, outer: int) -> np.ndarray:
    """Where the ring of a pixel lies, bool (y, x)."""
    rows, cols = np.indices(shape)
    far = np.maximum(abs(rows - row), abs(cols - col))
    return (far > inner // 2) & (far <= outer // 2)


def differences(scene: Cube, inner: int, outer: int) -> np.ndarray:
    """Each pixel less the mean of its ring, pixel by pixel, (band, y, x)."""
    scene = scene.astype(float)
    valid = np.isfinite(scene).all(axis=0)
    found = np.full(scene.shape, np.nan)
    for row, col in np.argwhere(valid):
        around = scene[:, ring(valid.shape, row, col, inner, outer) & valid]
        mean = around.mean(axis=1) if around.size else scene[:, valid].mean(axis=1)
        found[:, row, col] = scene[:, row, col] - mean
    return found


def with_holes(shape: tuple[int, int, int]) -> Cube:
    scene = background(shape)
    scene[:, 5:9, 7:12] = np.nan
    scene[1, 20, 3] = np.nan
    return scene


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"inner_window": 4}, "inner_window must be odd, so that it has a centre"),
        ({"outer_window": 14}, "outer_window must be odd, so that it has a centre"),
        ({"inner_window": 9, "outer_window": 9}, r"outer_window \(9\) must be larger than inner_window \(9\)"),
        ({"inner_window": 9, "outer_window": 7}, r"outer_window \(7\) must be larger than inner_window \(9\)"),
    ],
)
def test_windows_that_make_no_ring_are_refused(name: str, given: dict[str, int], said: str) -> None:
    with pytest.raises(ParameterError, match=f"detector {name}: {said}; given: "):
        make_detector(name, given)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_halo_is_half_the_outer_window(name: str) -> None:
    detector: Detector = make_detector(name, {"inner_window": 3, "outer_window": 11})
    assert detector.halo == 5
    assert make_detector(name, {"inner_window": 3, "outer_window": 11, "cfar_window": 9}).halo == 9


@pytest.mark.parametrize("windows", [(1, 3), (3, 7), (5, 15)])
def test_differences_are_those_of_a_loop_over_pixels(windows: tuple[int, int]) -> None:
    scene = with_holes((4, 26, 23))
    valid = np.isfinite(scene).all(axis=0)
    mean = scene[:, valid].mean(axis=1, dtype=float)
    found = ring_differences(torch.from_numpy(scene - mean[:, None, None]), windows).numpy()
    np.testing.assert_allclose(found[:, valid], differences(scene, *windows)[:, valid], rtol=0, atol=1e-9)


def test_the_scene_s_mean_stands_in_where_a_ring_is_empty() -> None:
    scene = np.full((3, 9, 9), np.nan, np.float32)
    scene[:, 0, 0], scene[:, 0, 1], scene[:, 8, 8] = 1, 2, 6
    detector = fitted(LocalRX(LocalRXParams(inner_window=1, outer_window=3)), scene)
    explained = detector.explain(torch.from_numpy(scene))
    assert explained is not None
    np.testing.assert_allclose(explained[0, [0, 0, 8], [0, 1, 8]], [2, 1, 3])


@pytest.mark.parametrize("name", ["local_rx", "glrt2s"])
def test_trimming_keeps_anomalies_out_of_the_covariance(name: str) -> None:
    scene = background((6, 60, 60))
    clean = fitted(make_detector(name), scene)
    rng = np.random.default_rng(1)
    spoiled = scene.copy()
    spoiled[:, rng.integers(0, 60, 20), rng.integers(0, 60, 20)] += 9
    apart = [
        float((fitted(make_detector(name, given), spoiled).whitening_ - clean.whitening_).norm())
        for given in ({}, {"robust": "trim", "trim": 0.05})
    ]
    assert apart[1] < apart[0] / 3


def test_a_scene_without_contrast_is_refused() -> None:
    scene = np.zeros((3, 4, 40), np.float32)
    scene[:, :, 20:] = 1
    scene[:, :, 8:32] = np.nan
    with pytest.raises(FitError, match="local_rx: no pixel differs from its surroundings"):
        fitted(LocalRX(LocalRXParams(inner_window=1, outer_window=5)), scene)


@pytest.mark.parametrize("name", ["local_rx", "glrt2s"])
def test_fewer_pixels_than_bands_shrink_and_say_so(name: str) -> None:
    log, scene = Recorder(), background((40, 5, 6))
    detector = fitted(make_detector(name, {"outer_window": 7}), scene, log)
    assert f"{name}: 30 valid pixels do not determine the covariance of 40 bands; shrunk by 0." in log.messages[0]
    assert detector.score(torch.from_numpy(scene)).isfinite().all()
