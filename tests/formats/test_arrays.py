"""One array of a container: any order of its axes, windows of it, decoding, damage, threads and pickles."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hadgeo.errors import CubeError, ReadError
from hadgeo.formats.arrays import Axes, ContainerSource
from hadgeo.formats.hdf5 import Hdf5Array
from hadgeo.formats.source import Metadata
from hadgeo.grid import Grid

CUBE = np.random.default_rng(1).integers(-500, 9000, (7, 8, 9)).astype("i2")
ORDERS = list(itertools.permutations(range(3)))


def write(path: Path, stored: np.ndarray, **options: Any) -> Hdf5Array:
    with h5py.File(path, "w") as file:
        return Hdf5Array.of(file.create_dataset("group/a cube", data=stored, **options))


def source(path: Path, array: Hdf5Array, axes: Axes, **known: Any) -> ContainerSource:
    shape = (array.shape[axes.row], array.shape[axes.col])
    facts = {key: known.pop(key) for key in ("nodata", "scale", "offset") if key in known}
    return ContainerSource(path, array, axes, Metadata("HDF5", array.dtype, Grid(shape), **facts), **known)


def axes_of(order: tuple[int, ...]) -> Axes:
    return Axes(*(order.index(axis) for axis in range(3)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunks", [None, (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u2"])
def test_windows_of_any_order_are_those_of_the_cube(
    tmp_path: Path, order: tuple[int, ...], chunks: tuple[int, ...] | None, dtype: str
) -> None:
    stored = np.abs(CUBE).transpose(order).astype(dtype)
    array = write(tmp_path / "x.h5", stored, chunks=chunks)
    opened = source(tmp_path / "x.h5", array, axes_of(order))
    with h5py.File(tmp_path / "x.h5") as file:
        whole = file["group/a cube"][()].transpose(np.argsort(order))
    assert opened.shape == (7, 8, 9)
    assert opened.dtype == (np.float64 if dtype == ">f8" else np.float32)
    np.testing.assert_array_equal(opened.read(slice(0, 8), slice(0, 9)), whole)
    for bands in (slice(2, 5), slice(None, None, -2), np.array([6, 0, 3]), np.array([1, 1]), np.array([], int)):
        window = opened.read(slice(1, 5), slice(3, 9), bands)
        np.testing.assert_array_equal(window, whole[bands, 1:5, 3:9])
        assert window.dtype == opened.dtype
    assert opened.read(slice(2, 2), slice(0, 9)).shape == (7, 0, 9)
    expected = None if chunks is None else (chunks[opened.axes.row], chunks[opened.axes.col])
    assert opened.block == expected


@pytest.mark.parametrize(
    ("order", "name"), [((0, 1, 2), "bsq"), ((1, 0, 2), "bil"), ((1, 2, 0), "bip"), ((2, 1, 0), None)]
)
def test_orders_have_the_names_of_envi(order: tuple[int, ...], name: str | None) -> None:
    assert axes_of(order).interleave == name


def test_windows_are_views_in_the_order_of_the_file(tmp_path: Path) -> None:
    array = write(tmp_path / "x.h5", CUBE.transpose(1, 2, 0))
    window = source(tmp_path / "x.h5", array, Axes(2, 0, 1)).read(slice(0, 8), slice(0, 9))
    assert window.transpose(1, 2, 0).flags.c_contiguous


def test_axes_of_one_place_are_dropped(tmp_path: Path) -> None:
    array = write(tmp_path / "x.h5", CUBE.transpose(1, 0, 2)[:, None, :, :, None])
    opened = source(tmp_path / "x.h5", array, Axes(2, 0, 3))
    np.testing.assert_array_equal(opened.read(slice(2, 6), slice(1, 4), np.array([5, 2])), CUBE[[5, 2], 2:6, 1:4])
    more = write(tmp_path / "y.h5", np.zeros((3, 4, 5, 2)))
    with pytest.raises(CubeError, match=r"a cube is 3 x 4 x 5 x 2: more than three axes"):
        source(tmp_path / "y.h5", more, Axes(0, 1, 2))


def test_fill_limits_scale_and_offset_are_those_of_stored_samples(tmp_path: Path) -> None:
    stored = CUBE.copy()
    stored[0, 0, :4] = [-9999, -32768, 9001, -501]
    array = write(tmp_path / "x.h5", stored)
    scale, offset = np.full(7, 0.5), np.arange(7.0)
    opened = source(
        tmp_path / "x.h5",
        array,
        Axes(0, 1, 2),
        nodata=-9999.0,
        fills=[-32768.0],
        limits=(-500.0, 9000.0),
        scale=scale,
        offset=offset,
    )
    expected = stored * 0.5 + offset[:, None, None]
    expected[0, 0, :4] = np.nan
    np.testing.assert_array_equal(opened.read(slice(0, 8), slice(0, 9)), expected)


def test_fill_of_single_precision_is_compared_in_it(tmp_path: Path) -> None:
    stored = CUBE.astype("f4")
    stored[1, 2, 3], stored[2, 2, 3] = np.float32(-50.003), np.float32(-0.1)
    array = write(tmp_path / "x.h5", stored)
    opened = source(tmp_path / "x.h5", array, Axes(0, 1, 2), nodata=-50.003, fills=[-0.1])
    assert np.argwhere(np.isnan(opened.read(slice(0, 8), slice(0, 9)))).tolist() == [[1, 2, 3], [2, 2, 3]]


def test_many_threads_and_a_pickle_read_the_same(tmp_path: Path) -> None:
    array = write(tmp_path / "x.h5", CUBE, chunks=(2, 3, 4), compression="gzip")
    opened = source(tmp_path / "x.h5", array, Axes(0, 1, 2))
    opened.read(slice(0, 1), slice(0, 1))
    again = pickle.loads(pickle.dumps(opened))
    rows = [slice(i, i + 2) for i in range(7)] * 5
    with ThreadPoolExecutor(8) as pool:
        windows = list(pool.map(lambda r: again.read(r, slice(2, 7)), rows))
    for row, window in zip(rows, windows, strict=True):
        np.testing.assert_array_equal(window, CUBE[:, row, 2:7])


def test_only_the_chunks_below_a_window_are_read(tmp_path: Path) -> None:
    array = write(tmp_path / "x.h5", CUBE, chunks=(1, 4, 9), compression="gzip", shuffle=False)
    with h5py.File(tmp_path / "x.h5") as file:
        chunk = file["group/a cube"].id.get_chunk_info_by_coord((3, 4, 0))
    with (tmp_path / "x.h5").open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    opened = source(tmp_path / "x.h5", array, Axes(0, 1, 2))
    np.testing.assert_array_equal(opened.read(slice(0, 4), slice(0, 9)), CUBE[:, :4])
    np.testing.assert_array_equal(opened.read(slice(0, 8), slice(0, 9), np.array([0, 6])), CUBE[[0, 6]])
    for _ in range(2):
        with pytest.raises(ReadError, match=r"x\.h5: rows 4 to 7 of /group/a cube cannot be read \(.*copy it again"):
            opened.read(slice(4, 8), slice(0, 9))


def test_a_file_that_went_away_is_an_error_of_reading(tmp_path: Path) -> None:
    sent = pickle.dumps(source(tmp_path / "x.h5", write(tmp_path / "x.h5", CUBE), Axes(0, 1, 2)))
    (tmp_path / "x.h5").unlink()
    with pytest.raises(ReadError, match="no longer there") as caught:
        pickle.loads(sent).read(slice(0, 1), slice(0, 1))
    assert "\n" not in str(caught.value)


def test_what_a_window_and_a_block_take_is_told(tmp_path: Path) -> None:
    array = write(tmp_path / "x.h5", CUBE, chunks=(2, 3, 4))
    opened = source(tmp_path / "x.h5", array, Axes(0, 1, 2))
    assert (opened.sample_bytes, opened.block_bytes) == (2 + 4, 2 * 3 * 4 * 2)
    assert opened.cache_bytes == 2**20
    assert opened.files == (tmp_path / "x.h5",)


@pytest.mark.parametrize("dtype", ["c8", "S3"])
def test_samples_that_are_no_real_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    array = write(tmp_path / "x.h5", np.zeros((2, 3, 4), dtype))
    with pytest.raises(CubeError, match="a cube must hold real numbers"):
        source(tmp_path / "x.h5", array, Axes(0, 1, 2))
