"""MATLAB files of both versions: which array is the cube, which the truth, and what else is in them."""

from __future__ import annotations

import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.errors import CubeError, CubeNotFoundError, MissingExtraError, ReadError
from hadgeo.formats import open_source, read_truth
from hadgeo.formats.source import Source

ROWS, COLS, BANDS = 4, 5, 3
STORED = np.arange(ROWS * COLS * BANDS, dtype="u2").reshape(ROWS, COLS, BANDS)
CUBE = STORED.transpose(2, 0, 1)


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def write(path: Path, version: str, **arrays: Any) -> Path:
    """Write arrays as MATLAB would: version 7.3 with every axis turned round."""
    if version == "5":
        scipy.io.savemat(path, arrays)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("name", ["data", "image", "anything"])
def test_the_cube_is_found_and_turned(tmp_path: Path, version: str, name: str) -> None:
    extra = {} if name == "anything" else {"other": np.zeros((2, 2, 2))}
    source = open_source(write(tmp_path / "x.mat", version, **{name: STORED}, **extra))
    assert source.shape == (BANDS, ROWS, COLS)
    assert source.metadata.driver == f"MATLAB {version}"
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_array_equal(source.read(slice(1, 3), slice(2, 5), np.array([2, 0])), CUBE[[2, 0], 1:3, 2:5])
    np.testing.assert_array_equal(read_all(pickle.loads(pickle.dumps(source))), CUBE)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_valid_pixels_and_wavelengths_are_honoured(tmp_path: Path, version: str) -> None:
    valid = np.ones((ROWS, COLS), dtype="u1")
    valid[1, 2] = 0
    path = write(tmp_path / "x.mat", version, data=STORED, mask_sub=valid, wavelengths=np.array([[0.4], [0.5], [0.6]]))
    source = open_source(path)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [400, 500, 600]
    assert np.argwhere(np.isnan(read_all(source))[0]).tolist() == [[1, 2]]
    with pytest.raises(CubeError, match="no 2-D array called map"):
        read_truth(path)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("name", ["map", "mask", "groundtruth", "gt", "Map"])
def test_truth_is_found_and_is_no_mask_of_pixels(tmp_path: Path, version: str, name: str) -> None:
    truth = np.zeros((ROWS, COLS), dtype="f8")
    truth[1, 2] = 2
    path = write(tmp_path / "x.mat", version, data=STORED, **{name: truth})
    assert np.argwhere(read_truth(path)).tolist() == [[1, 2]]
    assert np.isfinite(read_all(open_source(path))).all()


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".png"])
def test_truth_may_be_a_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"truth{suffix}"
    driver = {".bmp": "BMP", ".tif": "GTiff", ".png": "PNG"}[suffix]
    picture = np.zeros((3, ROWS, COLS), dtype="u1")
    picture[0, 1, 2] = 255
    # There is no transform, and rasterio says so when it writes.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, count=3, height=ROWS, width=COLS, dtype="uint8") as dataset:
            dataset.write(picture)
    assert np.argwhere(read_truth(path)).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": STORED, "b": STORED}, "2 arrays of three dimensions and none called data or image; it holds a 4x5x3"),
        ({"a": STORED[0]}, "0 arrays of three dimensions"),
        ({"data": STORED * 1j}, "samples of data are complex"),
    ],
)
def test_unusable_files_say_what_they_hold(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "x.mat", "5", **arrays)
    with pytest.raises(CubeError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_wavelengths_of_another_number_than_the_bands_are_left_aside(tmp_path: Path, version: str) -> None:
    path = write(tmp_path / "x.mat", version, data=STORED, wavelengths=np.array([[400.0, 500, 600, 700]]))
    known = open_source(path).metadata
    assert known.wavelength is None
    assert any("4 values of wavelength for 3 bands: left aside" in line for line in known.warnings)


def test_damaged_samples_are_an_error_of_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mat", "5", data=np.random.default_rng(0).random((40, 40, 40)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises((CubeError, ReadError), match=r"x\.mat: .*(copy|save)"):
        open_source(path)


def test_missing_truth_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CubeNotFoundError, match="no such file"):
        read_truth(tmp_path / "x.mat")


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.mat", "7.3", data=STORED)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "hadgeo\[hdf5\]"'):
        open_source(path)
