"""Matchers against Spectral Python and closed forms, and under the contract of all detectors."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spectral
import torch

from hadgeo.detectors.base import Detector
from hadgeo.detectors.matchers import BackgroundMatcher, Matcher, background_of, narrowed
from hadgeo.detectors.registry import MATCHERS, list_detectors, make_detector, usable_detectors
from hadgeo.errors import FitError, ParameterError
from hadgeo.run.model_file import Model, Spectrum, load_model, to_bytes
from hadgeo.sampling import Sample, Scene
from hadgeo.schema import describe
from hadgeo.testing import CPU, DetectorContract, fitted
from tests.support import Recorder, background, memory_source

SCENE = background((13, 40, 40))
TARGET = SCENE.mean(axis=(1, 2)) + np.where(np.arange(13) % 2 == 0, 6, 0)
IMAGE = SCENE.transpose(1, 2, 0).astype(float)


def matcher(name: str, target: Any = TARGET, **parameters: object) -> Detector[Any]:
    return make_detector(name, {"target": tuple(map(float, target)), **parameters})


def scores(name: str, scene: np.ndarray = SCENE, target: Any = TARGET, **parameters: object) -> np.ndarray:
    detector = fitted(matcher(name, target, **parameters), scene)
    return detector.score(torch.from_numpy(scene)).numpy()


class TestEveryMatcher(DetectorContract):
    @pytest.fixture(params=MATCHERS)
    def detector(self, request: pytest.FixtureRequest) -> Detector[Any]:
        """One whose target suits the scene of the test: an odd pattern on top of the scene's mean."""
        # Scenes that the tests of the contract make themselves have 13 bands, or 3 and nothing to learn from.
        scene = request.node.callspec.params.get("scene", SCENE)
        pattern = np.where(np.arange(scene.shape[0]) % 2 == 0, 6, 0)
        return matcher(request.param, np.nanmean(scene, axis=(1, 2)) + pattern)


def test_ace_agrees_with_spectral_python() -> None:
    expected = spectral.ace(IMAGE, TARGET, spectral.calc_stats(IMAGE))
    np.testing.assert_allclose(scores("ace", one_sided=False), expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(np.abs(scores("ace")), expected, rtol=1e-5, atol=1e-12)


def test_ace_is_negative_on_the_other_side_of_the_background() -> None:
    one_sided, projection = scores("ace"), scores("mf")
    assert (projection < 0).any()
    np.testing.assert_array_equal(np.sign(one_sided), np.sign(projection))


def test_the_matched_filter_agrees_with_spectral_python() -> None:
    expected = spectral.matched_filter(IMAGE, TARGET, spectral.calc_stats(IMAGE))
    np.testing.assert_allclose(scores("mf"), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.data
def test_both_agree_with_spectral_python_on_a_real_scene(data_dir: Path) -> None:
    from hadgeo.cube import open_cube

    cube = open_cube(data_dir / "geo/sandiego_aviris1_utm11_nad27.tif").to_numpy()
    image = cube.transpose(1, 2, 0).astype(float)
    target, statistics = image[20, 30], spectral.calc_stats(image)
    np.testing.assert_allclose(
        scores("ace", cube, target, one_sided=False), spectral.ace(image, target, statistics), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_allclose(
        scores("mf", cube, target), spectral.matched_filter(image, target, statistics), rtol=1e-5, atol=1e-7
    )


def test_cem_is_its_closed_form() -> None:
    x = IMAGE.reshape(-1, 13)
    R = x.T @ x / len(x)
    w = np.linalg.solve(R, TARGET) / (TARGET @ np.linalg.solve(R, TARGET))
    np.testing.assert_allclose(scores("cem").ravel(), x @ w, rtol=1e-8, atol=1e-10)


def test_sam_is_the_angle_to_the_target() -> None:
    angle = np.arccos(IMAGE @ TARGET / np.linalg.norm(IMAGE, axis=2) / np.linalg.norm(TARGET))
    np.testing.assert_allclose(scores("sam"), 1 - 2 * angle / np.pi, rtol=1e-9)
    expected = spectral.spectral_angles(IMAGE, TARGET[None])[..., 0]
    np.testing.assert_allclose((1 - scores("sam")) * np.pi / 2, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MATCHERS)
def test_the_target_itself_scores_one(name: str) -> None:
    detector = fitted(matcher(name), SCENE)
    own = detector.score(torch.from_numpy(np.tile(TARGET[:, None, None], (1, 2, 3))))
    np.testing.assert_allclose(own, 1.0, rtol=1e-7)


@pytest.mark.parametrize("name", ["ace", "sam"])
def test_brightness_does_not_matter_where_it_should_not(name: str) -> None:
    target = torch.from_numpy(np.tile(TARGET[:, None, None], (1, 1, 1)))
    detector = fitted(matcher(name), SCENE)
    mean = detector.mean_[:, None, None] if name == "ace" else 0.0
    np.testing.assert_allclose(detector.score(mean + 0.3 * (target - mean)), 1.0, rtol=1e-7)


def test_the_mean_of_the_scene_is_no_match_of_anything() -> None:
    for name, expected in (("ace", 0.0), ("mf", 0.0)):
        detector = fitted(matcher(name), SCENE)
        found = detector.score(detector.mean_[:, None, None].clone())
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["ace", "mf"])
def test_a_target_that_is_the_mean_is_refused(name: str) -> None:
    mean = fitted(matcher(name), SCENE).mean_
    with pytest.raises(FitError, match="the target is the mean spectrum of the background"):
        fitted(matcher(name, mean.tolist()), SCENE)


@pytest.mark.parametrize("name", ["cem", "sam"])
def test_a_target_of_zeros_is_refused(name: str) -> None:
    with pytest.raises(FitError, match="zero in all used bands"):
        fitted(matcher(name, np.zeros(13)), SCENE)


@pytest.mark.parametrize("name", MATCHERS)
def test_without_a_target_nothing_is_read(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} needs a target spectrum; use `hadgeo match"):
        fitted(make_detector(name), SCENE)
    with pytest.raises(ParameterError, match="the target has 3 values, but 13 bands are used"):
        fitted(matcher(name, [1, 2, 3]), SCENE)


def test_ridge_and_trimming_are_those_of_rx(readers: Executor) -> None:
    parameters = {"ridge": 0.1, "robust": "trim"}
    ace, rx = (fitted(detector, SCENE) for detector in (matcher("ace", **parameters), make_detector("rx", parameters)))
    np.testing.assert_allclose(ace.whitening_, rx.whitening_)


def test_fewer_pixels_than_bands_shrink_and_say_so(readers: Executor) -> None:
    log, scene = Recorder(), background((40, 5, 6))
    sample = Sample(Scene(memory_source(scene), range(40)), executor=readers, device=CPU)
    detector = matcher("ace", scene.mean(axis=(1, 2)) + np.arange(40)).fit(sample, device=CPU, progress=log)
    assert "30 valid pixels do not determine the covariance of 40 bands" in log.messages[0]
    assert detector.score(torch.from_numpy(scene)).isfinite().all()


def test_they_are_no_detectors_of_anomalies() -> None:
    assert not set(MATCHERS) & (set(list_detectors()) | set(usable_detectors()) | set(describe()["detectors"]))


@pytest.mark.parametrize("name", MATCHERS)
def test_a_model_file_gives_it_back(name: str, tmp_path: Path) -> None:
    detector = fitted(matcher(name), SCENE)
    file = tmp_path / "x.hadgeo"
    file.write_bytes(to_bytes(Model(detector, Spectrum(indices=tuple(range(13)), total=13))))
    again = load_model(file).detector
    assert isinstance(again, Matcher)
    assert again.params == detector.params
    block = torch.from_numpy(SCENE)
    np.testing.assert_array_equal(again.score(block), detector.score(block))


def test_a_background_in_fewer_bands_is_that_of_fewer_bands() -> None:
    keep = [0, 2, 3, 7, 11]
    whole = background_of(fitted(make_detector("rx"), SCENE))
    part = background_of(fitted(make_detector("rx"), SCENE[keep]))
    assert whole is not None
    assert part is not None
    few = narrowed(whole, keep)
    np.testing.assert_allclose(few["mean"], part["mean"], rtol=1e-12)
    W, V = few["whitening"], part["whitening"]
    np.testing.assert_allclose(W.T @ W, V.T @ V, rtol=1e-6)
    assert narrowed(whole, list(range(13))) is whole


def test_what_models_the_background_otherwise_has_none() -> None:
    assert background_of(make_detector("bs3lnet")) is None
    assert background_of(fitted(matcher("sam"), SCENE)) is None
    assert isinstance(matcher("cem"), BackgroundMatcher)


def test_what_is_printed_leaves_the_target_out() -> None:
    assert repr(matcher("ace", target_name="kaolinite")) == "ACE(target=<13 values>, target_name=kaolinite)"
