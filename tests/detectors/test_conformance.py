"""What holds for every registered detector."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest
import torch

from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import detector_class, list_detectors, make_detector
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import tile
from tests.support import background, memory_source

CPU = torch.device("cpu")

every_detector = pytest.mark.parametrize("name", list_detectors())


def quick(name: str, **parameters: Any) -> Detector[Any]:
    """An unfitted detector that trains only as long as it takes to have learned something."""
    short = {"steps": 4, "crop": 24}
    known = detector_class(name).Params.model_fields
    return make_detector(name, {key: value for key, value in short.items() if key in known} | parameters)


def fitted(name: str, scene: np.ndarray, readers: Executor, **parameters: Any) -> Detector[Any]:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return quick(name, **parameters).fit(sample, device=CPU)


def scored_in_windows(detector: Detector[Any], scene: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scores = np.full(scene.shape[1:], np.nan, dtype=np.float32)
    cube = torch.from_numpy(scene)
    for window in tile(scene.shape[1:], size, detector.halo):
        block = cube[:, window.outer_rows, window.outer_cols]
        scores[window.rows, window.cols] = detector.score(block)[window.inner].numpy()
    return np.where(np.isfinite(scene).all(axis=0), scores, np.nan)


def explained_in_windows(detector: Detector[Any], scene: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    expected = np.empty_like(scene)
    cube = torch.from_numpy(scene)
    for window in tile(scene.shape[1:], size, detector.halo):
        block = cube[:, window.outer_rows, window.outer_cols]
        before = block.clone()
        explained = detector.explain(block)
        assert explained is not None
        assert explained.shape == block.shape
        assert torch.equal(block.nan_to_num(0), before.nan_to_num(0)), "the caller's block was changed"
        expected[:, window.rows, window.cols] = explained[(slice(None), *window.inner)].numpy()
    return expected


def with_holes(scene: np.ndarray) -> np.ndarray:
    rows, cols = scene.shape[1:]
    scene[:, rows // 3 : rows // 3 + 4, cols // 4 : cols // 2] = np.nan
    scene[1, rows // 2, cols // 2] = np.nan
    return scene


def as_bip(scene: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(scene.transpose(1, 2, 0)).transpose(2, 0, 1)


SCENES = {
    "odd size": background((13, 37, 29)),
    "nodata holes": with_holes(background((13, 33, 40))),
    "one pixel wide": background((6, 45, 1)),
    "one pixel high": background((6, 1, 45)),
    "smaller than the halo": background((6, 5, 4)),
    "BIP in memory": as_bip(background((13, 30, 31))),
}


@every_detector
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_windowed_map_equals_whole_map(name: str, scene: np.ndarray, readers: Executor) -> None:
    detector = fitted(name, scene, readers)
    whole = scored_in_windows(detector, scene, scene.shape[1:])
    assert np.isfinite(whole).any()
    for size in [(1, 1), (2, 3), (7, 7), (16, 1000), (1000, 11)]:
        windowed = scored_in_windows(detector, scene, size)
        np.testing.assert_allclose(windowed, whole, rtol=1e-6, atol=0)


@every_detector
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_windowed_explanation_equals_whole_explanation(name: str, scene: np.ndarray, readers: Executor) -> None:
    detector = fitted(name, scene, readers)
    if detector.explain(torch.from_numpy(scene)) is None:
        pytest.skip(f"{name} does not explain its scores")
    whole = explained_in_windows(detector, scene, scene.shape[1:])
    valid = np.isfinite(scene).all(axis=0)
    np.testing.assert_array_equal(np.isfinite(whole), np.broadcast_to(valid, scene.shape))
    for size in [(11, 13), (16, 1000)]:
        windowed = explained_in_windows(detector, scene, size)
        np.testing.assert_allclose(windowed, whole, rtol=0, atol=1e-6 * np.nanmax(np.abs(scene)))


@every_detector
def test_what_is_not_expected_of_a_target_is_its_signature(name: str, readers: Executor) -> None:
    scene = 300 + 100 * background((13, 40, 40))
    scene[::2, 20, 11] += 600
    learned = {"steps": 40} if "steps" in detector_class(name).Params.model_fields else {}
    detector = fitted(name, scene, readers, **learned)
    if detector.explain(torch.from_numpy(scene)) is None:
        pytest.skip(f"{name} does not explain its scores")
    difference = scene - explained_in_windows(detector, scene, (64, 64))
    along = difference[::2].sum(axis=0) - difference[1::2].sum(axis=0)
    assert np.unravel_index(along.argmax(), along.shape) == (20, 11)
    assert along.max() > 300 * 7


@every_detector
def test_scores_are_finite_exactly_where_all_bands_are(name: str, readers: Executor) -> None:
    scene = SCENES["nodata holes"]
    scores = scored_in_windows(fitted(name, scene, readers), scene, (16, 16))
    np.testing.assert_array_equal(np.isfinite(scores), np.isfinite(scene).all(axis=0))


@every_detector
def test_the_same_seed_gives_the_same_bytes(name: str, readers: Executor) -> None:
    scene = SCENES["nodata holes"]
    first, second = (scored_in_windows(fitted(name, scene, readers), scene, (64, 64)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@every_detector
def test_state_round_trips_to_the_bit(name: str, readers: Executor) -> None:
    scene = SCENES["odd size"]
    detector = fitted(name, scene, readers)
    state = {key: value.clone() for key, value in detector.state().items()}
    again = quick(name).load_state(state, CPU)
    before, after = (scored_in_windows(d, scene, (64, 64)) for d in (detector, again))
    assert before.tobytes() == after.tobytes()


@every_detector
def test_an_implanted_target_scores_highest(name: str, readers: Executor) -> None:
    scene = background((13, 40, 40))
    scene[::2, 20, 11] += 6
    # Four steps are enough to compare maps, but not to have learned what is usual.
    learned = {"steps": 40} if "steps" in detector_class(name).Params.model_fields else {}
    scores = scored_in_windows(fitted(name, scene, readers, **learned), scene, (64, 64))
    assert np.unravel_index(scores.argmax(), scores.shape) == (20, 11)


@every_detector
def test_a_single_pixel_and_an_empty_scene_have_no_background(name: str, readers: Executor) -> None:
    for scene in (np.ones((3, 1, 1), np.float32), np.full((3, 8, 8), np.nan, np.float32)):
        with pytest.raises(FitError, match="valid pixels"):
            fitted(name, scene, readers)


@every_detector
def test_equal_pixels_are_an_error(name: str, readers: Executor) -> None:
    with pytest.raises(FitError, match="valid pixels are equal"):
        fitted(name, np.full((3, 8, 8), 2.0, np.float32), readers)


@every_detector
def test_every_parameter_is_described(name: str) -> None:
    for key, field in detector_class(name).Params.model_json_schema()["properties"].items():
        assert field.get("title"), key
        assert field.get("description", "").endswith((".", "?")), key
        assert "default" in field, key
