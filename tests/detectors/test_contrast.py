"""Local contrast, which every detector of statistics at least 0 has in common."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import hadgeo
from hadgeo.detectors.cfar import local_contrast
from hadgeo.detectors.contrast import ContrastDetector
from hadgeo.detectors.registry import make_detector, usable_detectors
from hadgeo.errors import ParameterError
from hadgeo.sampling import Sample, Scene
from hadgeo.testing import fitted, scored_in_windows
from tests.support import background, memory_source

CPU = torch.device("cpu")

#: Those that have it, and are fitted in a moment.
WITH_CONTRAST = [
    name
    for name, cls in usable_detectors().items()
    if issubclass(cls, ContrastDetector) and "cfar_window" in cls.Params.model_fields and cls.steps_parameter is None
]


def scores_in(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def with_holes() -> np.ndarray:
    scene = background((8, 50, 45))
    scene[2, 10:14, 20:30] = np.nan
    return scene


def test_rx_is_among_them_and_signed_scores_are_not() -> None:
    assert "rx" in WITH_CONTRAST
    assert not {"utd", "rxd_utd"} & set(WITH_CONTRAST)


@pytest.mark.parametrize("name", WITH_CONTRAST)
def test_the_map_is_the_local_contrast_of_the_plain_map(readers: Executor, name: str) -> None:
    scene = background((8, 50, 45))
    sample = Sample(Scene(memory_source(scene), range(8)), executor=readers, device=CPU)
    block = torch.from_numpy(scene)
    plain = make_detector(name, {"cfar_window": None}).fit(sample, device=CPU).score(block)
    expected = local_contrast(plain, window=7, floor=plain.median())
    found = make_detector(name, {"cfar_window": 7}).fit(sample, device=CPU)
    np.testing.assert_allclose(found.score(block), expected, rtol=1e-9)
    assert float(found.floor_) == pytest.approx(float(plain.median()))


@pytest.mark.parametrize("name", WITH_CONTRAST)
def test_the_halo_grows_by_half_a_window(name: str) -> None:
    plain = make_detector(name, {"cfar_window": None})
    for window in (7, 101):
        assert make_detector(name, {"cfar_window": window}).halo == plain.halo + window // 2


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (1000, 4)])
def test_windowed_map_equals_whole_map(size: tuple[int, int]) -> None:
    scene = with_holes()
    detector = fitted(make_detector("rx", {"cfar_window": 9}), scene)
    whole = scored_in_windows(detector, scene, (1000, 1000))
    np.testing.assert_array_equal(np.isfinite(whole), np.isfinite(scene).all(axis=0))
    np.testing.assert_array_equal(scored_in_windows(detector, scene, size), whole)


def test_a_model_file_keeps_what_is_usual(tmp_path: Path) -> None:
    line, model = tmp_path / "line.tif", tmp_path / "model.hadgeo"
    hadgeo.simulate(line, rows=40, cols=40, bands=8, targets=2)
    detector = make_detector("rx", {"cfar_window": 7})
    hadgeo.detect(line, detector, out=tmp_path / "fitted.tif")
    hadgeo.train([line], make_detector("rx", {"cfar_window": 7}), out=model)
    hadgeo.detect(line, hadgeo.load_model(model), out=tmp_path / "loaded.tif")
    before, after = (scores_in(tmp_path / f"{which}.tif") for which in ("fitted", "loaded"))
    np.testing.assert_array_equal(before, after)


def test_a_plain_model_keeps_no_floor() -> None:
    plain, other = (fitted(make_detector("rx", parameters), with_holes()) for parameters in ({}, {"cfar_window": 7}))
    assert "floor" not in plain.state()
    assert float(other.state()["floor"]) > 0


@pytest.mark.parametrize("window", [4, 1, 103, "wide"])
def test_a_window_that_has_no_centre_or_no_sense_is_refused(window: object) -> None:
    with pytest.raises(ParameterError, match="cfar_window"):
        make_detector("rx", {"cfar_window": window})
