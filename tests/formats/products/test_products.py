"""What holds for every product: claimed by one module only, read lazily in windows, and by threads and processes."""

from __future__ import annotations

import pickle
import shutil
import sys
import tracemalloc
import warnings
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hadgeo.cube import open_cube
from hadgeo.errors import CubeError, CubeWarning, MissingExtraError, ReadError
from hadgeo.formats import Reading, list_formats, open_source
from hadgeo.formats.registry import get_format
from tests.formats.products.makers import PRODUCTS, read_all

NAMES = [name for name in list_formats() if get_format(name).__module__.startswith("hadgeo.formats.products")]


@pytest.fixture(params=PRODUCTS)
def product(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    file, make = PRODUCTS[request.param]
    make(tmp_path / file)
    return request.param.partition("-")[0], tmp_path / file


def test_a_product_is_claimed_by_its_own_module_alone(product: tuple[str, Path]) -> None:
    name, path = product
    assert [known for known in NAMES if get_format(known).claims(str(path))] == [name]


def test_a_product_is_known_by_its_structure_not_by_its_name(product: tuple[str, Path], tmp_path: Path) -> None:
    name, path = product
    renamed = path.rename(tmp_path / ("20240101" if path.is_dir() else "line1.dat"))
    assert get_format(name).claims(str(renamed))


def test_a_file_of_the_same_name_and_another_structure_is_not_claimed(product: tuple[str, Path]) -> None:
    name, path = product
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        with h5py.File(path, "w") as file:
            file["data"] = np.zeros((3, 4, 5))
    assert not get_format(name).claims(str(path))


def test_windows_and_bands_are_parts_of_the_whole(product: tuple[str, Path], readers: Executor) -> None:
    source = open_source(product[1])
    whole = read_all(source)
    assert whole.shape == source.shape
    assert np.isfinite(whole).all()
    bands = np.array([3, 0])
    windows = [(slice(1, 4), slice(2, 4)), (slice(0, 1), slice(0, 4)), (slice(4, 5), slice(3, 4))] * 4
    for (rows, cols), part in zip(windows, readers.map(lambda w: source.read(*w, bands), windows), strict=True):
        np.testing.assert_array_equal(part, whole[bands, rows, cols])
    np.testing.assert_array_equal(read_all(pickle.loads(pickle.dumps(source))), whole)
    np.testing.assert_array_equal(read_all(open_source(product[1], [2, 1])), whole[[2, 1]])


def test_a_product_opens_as_a_cube_without_reading_it(
    product: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_stored = Reading(fill="none")
    source_class = type(open_source(product[1], reading=as_stored))

    def refuse(*_: Any) -> None:
        raise AssertionError("samples were read")

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)
        patch.setattr(source_class, "read", refuse)
        cube = open_cube(product[1], reading=as_stored)
    assert cube.dims == ("band", "y", "x")
    assert cube["wavelength"].attrs["units"] == "nm"


def test_without_h5py_the_message_says_how_to_install_it(
    product: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if product[1].is_dir():
        pytest.skip("no HDF5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "hadgeo\[hdf5\]"'):
        open_source(product[1])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_product_that_was_cut_short_is_an_error_and_never_a_cube(product: tuple[str, Path], share: float) -> None:
    if product[1].is_dir():
        pytest.skip("no HDF5")
    whole = product[1].read_bytes()
    product[1].write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((CubeError, ReadError)):
        read_all(open_source(product[1]))


def test_a_quality_layer_that_is_missing_is_refused_with_those_there_are(product: tuple[str, Path]) -> None:
    with pytest.raises(CubeError, match="no quality layer for 'nonsense'; it has"):
        open_source(product[1], reading=Reading(quality=("nonsense",)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_that_was_never_filled_costs_no_memory(product: tuple[str, Path], axis: int) -> None:
    _, path = product
    if path.is_dir():
        pytest.skip("GeoTIFFs hold no more than they say")
    _lengthen(path, axis, 2**31)
    tracemalloc.start()
    try:
        with pytest.raises(CubeError, match="of which the file holds 0 bytes"):
            open_source(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20e6


def test_more_bands_than_a_spectrum_has_are_refused(product: tuple[str, Path]) -> None:
    _, path = product
    if path.is_dir():
        pytest.skip("GeoTIFFs have 65,535 bands at most")
    _lengthen(path, 0, 2**21, others=1)
    with pytest.raises(CubeError, match="2097152 bands, more than any spectrum has"):
        open_source(path, reading=Reading(band_axis=0))


def _cubes(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if getattr(item, "ndim", 0) == 3 else None)
    return found


def _lengthen(path: Path, axis: int, length: int, others: int | None = None) -> None:
    """Give all cubes of a product an axis of another length, without samples, and keep what else is known of them."""
    with h5py.File(path, "r+") as file:
        for old in _cubes(file):
            name, shape = old.name, [size if others is None else others for size in old.shape]
            shape[axis] = length
            kept = {key: value for key, value in old.attrs.items() if key != "DIMENSION_LIST"}
            scales = [dim[0] if len(dim) else None for dim in old.dims]
            labels = [dim.label for dim in old.dims]
            dtype = old.dtype
            del file[name]
            new = file.create_dataset(name, tuple(shape), dtype, chunks=tuple(min(size, 8) for size in shape))
            new.attrs.update(kept)
            for dim, scale, label in zip(new.dims, scales, labels, strict=True):
                dim.label = label
                if scale is not None:
                    dim.attach_scale(scale)
