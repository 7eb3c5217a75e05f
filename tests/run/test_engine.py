"""The engine: the whole path from a file to a georeferenced map."""

from __future__ import annotations

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate
from sklearn.metrics import roc_auc_score

import hadgeo
from hadgeo.compute.memory import LIBRARY_BYTES
from hadgeo.detectors.base import Detector, Params
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import BandError, Cancelled, DeviceError, OutputError, OutputExistsError, ParameterError
from hadgeo.progress import SILENT, Progress
from hadgeo.run.on_device import score_window
from hadgeo.sampling import Sample
from hadgeo.windows import Window, pad
from tests.support import Recorder, background

QUICK = {"steps": 4, "crop": 24}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotated ENVI line with nodata wedges."""
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=90, cols=70, bands=40, rotation=25, wedges=0.2, targets=6, seed=3)
    return path


def read(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            scores: np.ndarray = dataset.read(1)
    return scores


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("detector", "parameters"), [("rx", {}), ("bs3lnet", QUICK)])
@pytest.mark.parametrize("settings", [{"window": 16}, {"window": 1000}, {"device": "cpu"}])
def test_the_map_does_not_depend_on_windows(
    line: Path, tmp_path: Path, detector: str, parameters: dict[str, Any], settings: dict[str, Any]
) -> None:
    whole = hadgeo.detect(line, detector, parameters=parameters, out=tmp_path / "whole.tif", window=500)
    other = hadgeo.detect(line, detector, parameters=parameters, out=tmp_path / "other.tif", **settings)
    assert whole.windows == 1
    assert (other.windows > 1) == (settings == {"window": 16})
    np.testing.assert_allclose(read(other.path), read(whole.path), rtol=1e-6)


def test_the_map_does_not_depend_on_memory(line: Path, tmp_path: Path) -> None:
    model = hadgeo.train([line], "rx", out=tmp_path / "rx.hadgeo")
    whole = hadgeo.detect(line, model, out=tmp_path / "whole.tif")
    other = hadgeo.detect(line, model, out=tmp_path / "other.tif", memory=LIBRARY_BYTES + 2_000_000)
    assert (whole.windows, other.windows) == (1, 2)
    np.testing.assert_allclose(read(other.path), read(whole.path), rtol=1e-6)


def test_too_little_memory_is_refused_with_what_is_needed(line: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"--memory 300MB: rx takes 70\d MB on .*line\.img"):
        hadgeo.detect(line, "rx", out=tmp_path / "x.tif", memory=300_000_000)
    assert not list(tmp_path.iterdir())


def test_the_map_is_a_georeferenced_cog_that_says_how_it_was_made(line: Path, tmp_path: Path) -> None:
    done = hadgeo.detect(line, "rx", out=tmp_path / "scores.tif", bands="1-30!")
    valid, errors, _ = cog_validate(done.path, strict=True)
    assert valid, errors
    with rasterio.open(done.path) as scores, rasterio.open(line) as scene:
        assert scores.crs == scene.crs
        assert scores.transform == scene.transform
        assert scene.transform.b != 0
        assert scores.shape == scene.shape
        assert scores.dtypes == ("float32",)
        assert np.isnan(scores.nodata)
        assert scores.descriptions == ("anomaly score (rx)",)
        tags = scores.tags()
        nodata = (scene.read(1) == scene.nodata).sum()
    assert tags["HADGEO_DETECTOR"] == "rx"
    parameters = {"shrinkage": None, "sample": None, "ridge": 0.0, "robust": "none", "trim": 0.01, "cfar_window": None}
    assert json.loads(tags["HADGEO_PARAMETERS"]) == parameters
    assert tags["HADGEO_VERSION"] == hadgeo.__version__
    assert tags["HADGEO_SOURCE"] == "line.img"
    assert tags["HADGEO_BANDS"] == "1-30"
    assert len(tags["HADGEO_MODEL_HASH"]) == 64
    assert done.valid == done.shape[0] * done.shape[1] - nodata
    assert list(tmp_path.iterdir()) == [done.path]


@pytest.mark.parametrize("detector", ["rx", "bs3lnet"])
def test_the_same_run_gives_the_same_bytes(line: Path, tmp_path: Path, detector: str) -> None:
    parameters = QUICK if detector == "bs3lnet" else {}
    for name in "ab":
        hadgeo.detect(line, detector, parameters=parameters, out=tmp_path / f"{name}.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_implanted_targets_are_found(tmp_path: Path) -> None:
    made = hadgeo.simulate(tmp_path / "scene.tif", rows=96, cols=96, targets=8, seed=1)
    done = hadgeo.detect(made.path, "bs3lnet", parameters={"steps": 60})
    assert done.path == tmp_path / "scene_anomaly.tif"
    assert roc_auc_score((read(made.truth) == 1).ravel(), read(done.path).ravel()) > 0.9


def test_cubes_of_ones_own_are_scored_through_dask(line: Path, tmp_path: Path) -> None:
    cube = hadgeo.open_cube(line)
    untouched = hadgeo.detect(cube, "rx", out=tmp_path / "a.tif", bands="1-20")
    touched = hadgeo.detect(cube * 2, "rx", out=tmp_path / "b.tif", bands="1-20")
    np.testing.assert_allclose(read(touched.path), read(untouched.path), rtol=1e-5)


def test_an_array_without_a_file_needs_a_name_for_its_map(tmp_path: Path) -> None:
    cube = xr.DataArray(background((5, 20, 20)), dims=("band", "y", "x"))
    with pytest.raises(OutputError, match="-o"):
        hadgeo.detect(cube, "rx")
    done = hadgeo.detect(cube, "rx", out=tmp_path / "x.tif")
    assert read(done.path).shape == (20, 20)


def test_another_executor_gives_the_same_map(line: Path, tmp_path: Path) -> None:
    ours = hadgeo.detect(line, "rx", out=tmp_path / "a.tif", window=20)
    with ThreadPoolExecutor(1) as pool:
        theirs = hadgeo.detect(line, "rx", out=tmp_path / "b.tif", window=33, executor=pool)
    np.testing.assert_allclose(read(ours.path), read(theirs.path), rtol=1e-6)


def test_progress_counts_every_pixel(line: Path, tmp_path: Path) -> None:
    log = Recorder()
    hadgeo.detect(line, "bs3lnet", parameters=QUICK, out=tmp_path / "x.tif", window=25, progress=log)
    assert log.stages["statistics"] == [6300, 6300]
    assert log.stages["fit"] == [4, 4]
    assert log.stages["score"] == [6300, 6300]
    assert any("bands" in text for text in log.messages)
    assert any("get no score" in text for text in log.messages)


@pytest.mark.parametrize("patience", [0, 1, 5])
def test_a_run_cancelled_before_its_first_window_leaves_nothing(line: Path, tmp_path: Path, patience: int) -> None:
    out = tmp_path / "x.tif"
    out.write_bytes(b"precious")
    with pytest.raises(Cancelled):
        hadgeo.detect(
            line, "bs3lnet", parameters=QUICK, out=out, window=25, overwrite=True, progress=Recorder(patience)
        )
    assert listing(tmp_path) == {"x.tif": b"precious"}


def test_an_existing_map_is_replaced_only_on_request(line: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        hadgeo.detect(line, "rx", out=out)
    assert listing(tmp_path) == {"x.tif": b"precious"}
    hadgeo.detect(line, "rx", out=out, overwrite=True)
    assert read(out).shape == (90, 70)


def test_the_scene_itself_is_never_replaced(line: Path) -> None:
    before = line.read_bytes()
    with pytest.raises(OutputError, match="is the scene itself"):
        hadgeo.detect(line, "rx", out=line, overwrite=True)
    assert line.read_bytes() == before


def test_constant_bands_are_left_out_by_default_and_kept_on_request(tmp_path: Path) -> None:
    scene = background((6, 20, 20))
    scene[2] = 5
    cube = xr.DataArray(scene, dims=("band", "y", "x"))
    assert hadgeo.detect(cube, "rx", out=tmp_path / "a.tif").bands.dropped == (("constant", 1),)
    assert len(hadgeo.detect(cube, "rx", out=tmp_path / "b.tif", bands="all").bands.indices) == 6


def test_one_usable_band_is_too_few(tmp_path: Path) -> None:
    scene = background((6, 20, 20))
    scene[1:] = 5
    with pytest.raises(BandError, match="at least 2"):
        hadgeo.detect(xr.DataArray(scene, dims=("band", "y", "x")), "rx", out=tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


class _NarrowDevice(Detector[Params]):
    """RX on a device whose memory holds only so many pixels."""

    name = "narrow"
    title = "RX on a small device"
    Params = Params
    halo, grid = 0, 1

    def __init__(self, inner: Detector[Any], pixels: int) -> None:
        super().__init__()
        self.inner, self.pixels, self.calls = inner, pixels, 0
        self.halo, self.grid = inner.halo, inner.grid

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        self.inner.fit(sample, device=device, progress=progress)
        return self

    def score(self, block: torch.Tensor) -> torch.Tensor:
        if block.shape[1] * block.shape[2] > self.pixels:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.calls += 1
        return self.inner.score(block)

    def bytes_per_pixel(self, bands: int) -> int:
        return self.inner.bytes_per_pixel(bands)

    def state(self) -> dict[str, torch.Tensor]:
        return self.inner.state()

    def load_state(self, state: dict[str, torch.Tensor], device: torch.device) -> Self:
        self.inner.load_state(state, device)
        return self


@pytest.mark.parametrize("name", ["rx", "bs3lnet", "block_rx"])
def test_a_window_too_large_for_the_device_is_scored_in_halves(line: Path, tmp_path: Path, name: str) -> None:
    parameters = QUICK if name == "bs3lnet" else {}
    expected = hadgeo.detect(line, name, parameters=parameters, out=tmp_path / "a.tif", bands="1-30")
    narrow = _NarrowDevice(make_detector(name, parameters), pixels=3500)
    found = hadgeo.detect(line, narrow, out=tmp_path / "b.tif", bands="1-30")
    assert narrow.calls > 1
    np.testing.assert_allclose(read(found.path), read(expected.path), rtol=1e-6)


def test_a_device_that_cannot_hold_one_row_is_named() -> None:
    detector = _NarrowDevice(make_detector("rx"), pixels=3)
    window = pad(Window(0, 0, 8, 8), 0, (8, 8))
    with pytest.raises(DeviceError, match="one row of 8 pixels"):
        score_window(detector, torch.zeros(2, 8, 8), window, torch.device("cpu"))
