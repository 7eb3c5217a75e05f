"""UTD and RXD-UTD against Spectral Python and closed form."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import spectral
import torch

from hadgeo.detectors.registry import make_detector
from hadgeo.sampling import Sample, Scene
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")


def scores_of(name: str, scene: np.ndarray, readers: Executor, **parameters: object) -> np.ndarray:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return make_detector(name, parameters).fit(sample, device=CPU).score(torch.from_numpy(scene)).numpy()


@pytest.mark.parametrize("level", [1.0, 0.0, 7.5])
def test_utd_is_the_matched_filter_of_spectral_python_without_its_scale(readers: Executor, level: float) -> None:
    scene = background((9, 40, 30))
    pixels = scene.transpose(1, 2, 0).astype(float)
    statistics = spectral.calc_stats(pixels)
    target = np.full(9, level)
    # (t - m)ᵀC⁻¹(x - m) / (t - m)ᵀC⁻¹(t - m)
    scale = (target - statistics.mean) @ statistics.inv_cov @ (target - statistics.mean)
    expected = spectral.matched_filter(pixels, target, background=statistics) * scale
    np.testing.assert_allclose(scores_of("utd", scene, readers, level=level), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("level", [1.0, 0.0, 7.5])
def test_rxd_utd_is_rx_less_utd(readers: Executor, level: float) -> None:
    scene = background((9, 40, 30))
    expected = spectral.rx(scene.transpose(1, 2, 0).astype(float)) - scores_of("utd", scene, readers, level=level)
    found = scores_of("rxd_utd", scene, readers, level=level)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_gaussian_spectra_have_gaussian_scores(readers: Executor) -> None:
    # Of spectra N(m, C), UTD is N(0, (1 - m)ᵀC⁻¹(1 - m)).
    rng = np.random.default_rng(0)
    mean, spread = np.linspace(0.2, 0.5, 6), np.linspace(0.02, 0.1, 6)
    scene = (mean[:, None, None] + spread[:, None, None] * rng.normal(size=(6, 200, 200))).astype(np.float32)
    scores = scores_of("utd", scene, readers, level=1)
    expected = np.sqrt((((1 - mean) / spread) ** 2).sum())
    assert abs(scores.mean()) < 1e-3 * expected
    assert scores.std() == pytest.approx(expected, rel=0.02)
    assert np.mean(scores > 1.6449 * expected) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("name", ["utd", "rxd_utd"])
def test_units_do_not_matter_unless_a_level_is_given_in_them(readers: Executor, name: str) -> None:
    scene, unit = background((7, 30, 30)), 8192  # which float32 multiplies by exactly
    plain, scaled = (scores_of(name, x, readers) for x in (scene, unit * scene))
    np.testing.assert_allclose(scaled, plain, rtol=1e-6, atol=1e-6)
    plain, scaled = scores_of(name, scene, readers, level=1), scores_of(name, unit * scene, readers, level=1)
    assert not np.allclose(scaled, plain, rtol=0.1)
    both = scores_of(name, unit * scene, readers, level=unit)
    np.testing.assert_allclose(both, plain, rtol=1e-6, atol=1e-6)


def test_a_pixel_less_uniform_than_the_scene_scores_below_zero(readers: Executor) -> None:
    rng = np.random.default_rng(0)
    scene = (3 + 0.1 * rng.normal(size=(8, 30, 30))).astype(np.float32)
    scene[:, 10, 10] += 1
    scene[:, 20, 20] -= 1
    scores = scores_of("utd", scene, readers, level=10)
    assert np.unravel_index(scores.argmax(), scores.shape) == (10, 10)
    assert np.unravel_index(scores.argmin(), scores.shape) == (20, 20)
    assert scores.min() < 0


def test_fewer_pixels_than_bands_shrink_and_say_so(readers: Executor) -> None:
    log, scene = Recorder(), background((40, 5, 6))
    sample = Sample(Scene(memory_source(scene), range(40)), executor=readers, device=CPU)
    detector = make_detector("utd").fit(sample, device=CPU, progress=log)
    assert log.messages[0].startswith("utd: 30 valid pixels do not determine the covariance of 40 bands")
    assert detector.score(torch.from_numpy(scene)).isfinite().all()
