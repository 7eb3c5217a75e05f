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
from hadgeo.formats import Reading, open_source, read_truth
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
        ({"a": STORED, "b": STORED}, "2 three-dimensional arrays, none of them called data or image; it holds a 4x5x3"),
        ({"a": STORED[0]}, "0 three-dimensional arrays"),
        ({"data": STORED * 1j}, "samples of data are complex"),
    ],
)
def test_unusable_files_say_what_they_hold(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "x.mat", "5", **arrays)
    with pytest.raises(CubeError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def spectral_scene(bands: int = 12, rows: int = 10, cols: int = 9) -> np.ndarray:
    """A scene (rows, cols, bands) whose values differ most along the bands, as measured ones do."""
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 20, (rows, cols, bands))
    return 1000 + 100 * np.arange(bands) + 3 * np.arange(rows)[:, None, None] + noise


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("clue", ["wavelengths", "map", "mask_sub", "user"])
def test_the_band_axis_is_told_by_what_comes_with_the_cube(tmp_path: Path, version: str, axis: int, clue: str) -> None:
    scene = spectral_scene()
    stored = np.moveaxis(scene, 2, axis)
    usable = np.ones((10, 9), dtype="u1")
    extra = {"wavelengths": np.linspace(400, 900, 12), "map": np.zeros((10, 9)), "mask_sub": usable}
    given = {} if clue == "user" else {clue: extra[clue]}
    path = write(tmp_path / "x.mat", version, data=stored, **given)
    source = open_source(path, reading=Reading(band_axis=axis if clue == "user" else None))
    np.testing.assert_array_equal(read_all(source), scene.transpose(2, 0, 1))
    assert not source.metadata.assumed


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_spectral_axis_that_is_not_the_last_is_asked_for(tmp_path: Path, version: str, axis: int) -> None:
    path = write(tmp_path / "x.mat", version, data=np.moveaxis(spectral_scene(), 2, axis))
    with pytest.raises(CubeError, match=r"x\.mat: the band axis of data (12x10x9|10x12x9) is not known.*--band-axis"):
        open_source(path)


def test_clues_that_contradict_each_other_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mat", "5", data=spectral_scene(), wl=np.arange(400, 410), map=np.zeros((10, 12)))
    with pytest.raises(CubeError, match="contradict each other; specify it with --band-axis"):
        open_source(path)
    with pytest.raises(CubeError, match="has no axis 3"):
        open_source(path, reading=Reading(band_axis=3))


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_the_usual_order_is_assumed_where_nothing_confirms_it(tmp_path: Path, version: str) -> None:
    source = open_source(write(tmp_path / "x.mat", version, data=spectral_scene()))
    np.testing.assert_array_equal(read_all(source), spectral_scene().transpose(2, 0, 1))
    assert source.metadata.assumed == (
        "the last axis of data 10x9x12 taken as the band axis: nothing in the file confirms it",
    )


def write_struct(path: Path, version: str, **structs: dict[str, Any]) -> Path:
    """Write structs as MATLAB would: version 7.3 as groups, with every axis turned round."""
    if version == "5":
        scipy.io.savemat(path, structs)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, fields in structs.items():
            for field, value in fields.items():
                if isinstance(value, dict):
                    for inner, array in value.items():
                        file[f"{name}/{field}/{inner}"] = np.asarray(array).T
                else:
                    file[f"{name}/{field}"] = np.asarray(value).T
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("field", ["data", "hsi", "img", "Y"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_cube_inside_a_struct_is_read_with_what_stands_beside_it(
    tmp_path: Path, version: str, field: str, nested: bool
) -> None:
    gt = np.zeros((ROWS, COLS))
    gt[2, 3] = 1
    inner: dict[str, Any] = {field: STORED, "lambda": np.array([450.0, 550, 650]), "gt": gt}
    path = write_struct(tmp_path / "x.mat", version, scene={"inner": inner} if nested else inner)
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_array_equal(read_all(pickle.loads(pickle.dumps(source))), CUBE)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [450, 550, 650]
    assert np.argwhere(read_truth(path)).tolist() == [[2, 3]]


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_several_cubes_in_structs_are_listed_and_one_can_be_named(tmp_path: Path, version: str) -> None:
    path = write_struct(tmp_path / "x.mat", version, a={"cube": STORED}, b={"cube": STORED + 1, "other": STORED[0]})
    with pytest.raises(CubeError, match=r"2 three-dimensional arrays, .*a\.cube 4x5x3.*b\.cube 4x5x3.*--variable"):
        open_source(path)
    for name, more in (("a.cube", 0), ("b/cube", 1), ("b", 1)):
        np.testing.assert_array_equal(read_all(open_source(path, reading=Reading(variable=name))), CUBE + more)
    with pytest.raises(CubeError, match="nothing is not a three-dimensional array; it holds"):
        open_source(path, reading=Reading(variable="nothing"))


@pytest.mark.data
@pytest.mark.parametrize("folder", ["truth", "odd"])
def test_benchmark_scenes_assume_nothing(data_dir: Path, folder: str) -> None:
    paths = sorted((data_dir / folder).glob("*.mat"))
    if not paths:
        pytest.skip(f"no scenes in {data_dir / folder}")
    for path in paths:
        source = open_source(path)
        assert not source.metadata.assumed, path.name
        assert source.shape[0] > 50


@pytest.mark.data
def test_the_reported_struct_has_its_right_values(data_dir: Path) -> None:
    path = data_dir / "reports" / "85_mat" / "struct.mat"
    if not path.exists():
        pytest.skip(f"no {path}")
    source = open_source(path)
    cube = read_all(source)
    assert [cube[0, 0, 0], cube[1, 2, 3], cube[15, 20, 5]] == [1000, 1111, 1880]
    assert source.metadata.wavelength is not None


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_wavelengths_of_another_number_than_the_bands_are_left_aside(tmp_path: Path, version: str) -> None:
    path = write(tmp_path / "x.mat", version, data=STORED, wavelengths=np.arange(400.0, 1100.0, 100.0))
    known = open_source(path).metadata
    assert known.wavelength is None
    assert any("7 values of wavelength for 3 bands: ignored" in line for line in known.warnings)


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


def test_a_map_that_is_taken_for_usable_pixels_by_its_name_is_told(tmp_path: Path) -> None:
    scene = spectral_scene()
    usable = np.ones((10, 9), dtype="u1")
    usable[3, 4] = 0
    for name, said in (("mask_field", True), ("field_mask", True), ("valid_mask", False), ("mask_sub", False)):
        source = open_source(write(tmp_path / "x.mat", "5", data=scene, **{name: usable}))
        assert np.isnan(read_all(source)[:, 3, 4]).all()
        assert (
            any(f"{name} taken as the map of usable pixels: the 1 where" in a for a in source.metadata.assumed) == said
        )
