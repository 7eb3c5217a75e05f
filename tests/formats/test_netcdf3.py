"""NetCDF's classic format: every version, records, bytes without sign, and headers that lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from hadgeo.errors import CubeError, ReadError
from hadgeo.formats import Source, open_source
from tests.formats.container_files import CUBE


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def write(path: Path, dims: dict[str, int | None], version: int = 1, **arrays: Any) -> Path:
    with scipy.io.netcdf_file(path, "w", version=version) as file:
        for name, length in dims.items():
            file.createDimension(name, length)
        for name, (along, samples, attrs) in arrays.items():
            variable = file.createVariable(name, samples.dtype, along)
            variable[:] = samples
            for key, value in attrs.items():
                setattr(variable, key, value)
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", [">i2", ">i4", ">f4", ">f8", "i1"])
def test_arrays_in_one_piece_are_read_where_they_lie(tmp_path: Path, version: int, dtype: str) -> None:
    stored = (CUBE // 300).astype(dtype)
    path = write(
        tmp_path / "x.nc",
        {"band": 4, "y": 5, "x": 6},
        version,
        odd=(("x",), np.arange(6, dtype="i1"), {}),
        rfl=(("band", "y", "x"), stored, {}),
    )
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), stored)
    np.testing.assert_array_equal(source.read(slice(1, 4), slice(2, 5), [3, 0]), stored[[3, 0], 1:4, 2:5])


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("dims", [("band", "y", "x"), ("y", "band", "x"), ("y", "x", "band")])
def test_records_may_count_any_axis(tmp_path: Path, dims: tuple[str, ...], alone: bool) -> None:
    stored = CUBE.transpose([("band", "y", "x").index(dim) for dim in dims]).astype(">i2")[..., :3]
    lengths: dict[str, int | None] = dict(zip(dims, stored.shape, strict=True))
    lengths[dims[0]] = None
    more = {} if alone else {"odd": ((dims[0],), np.arange(stored.shape[0], dtype="i1"), {})}
    path = write(tmp_path / "x.nc", lengths, **more, rfl=(dims, stored, {}))
    with scipy.io.netcdf_file(path, mmap=False) as file:
        expected = file.variables["rfl"][:].transpose([dims.index(dim) for dim in ("band", "y", "x")])
    np.testing.assert_array_equal(read_all(open_source(path)), expected)


def test_bytes_may_be_meant_without_sign(tmp_path: Path) -> None:
    stored = (CUBE % 256).astype("u1")
    path = write(
        tmp_path / "x.nc",
        {"band": 4, "y": 5, "x": 6},
        rfl=(("band", "y", "x"), stored.view("i1"), {"_Unsigned": "true"}),
    )
    np.testing.assert_array_equal(read_all(open_source(path)), stored)


def test_the_third_version_is_read(tmp_path: Path) -> None:
    # Written by hand, since SciPy does not: counts of 8 bytes, and types that the others lack.
    def count(value: int) -> bytes:
        return value.to_bytes(8, "big")

    def name(text: str) -> bytes:
        return count(len(text)) + text.encode().ljust(-(-len(text) // 4) * 4, b"\0")

    def tag(kind: int, items: int) -> bytes:
        return kind.to_bytes(4, "big") + count(items)

    stored = (CUBE.astype("i4") + 30_000).astype(">u2")
    dims = b"".join(name(text) + count(n) for text, n in zip(("band", "y", "x"), stored.shape, strict=True))
    head = b"CDF\5" + count(0) + tag(10, 3) + dims + tag(0, 0) + tag(11, 1)
    head += name("rfl") + count(3) + count(0) + count(1) + count(2) + tag(0, 0) + (8).to_bytes(4, "big")
    head += count(stored.nbytes) + count(len(head) + 16)
    (tmp_path / "x.nc").write_bytes(head + stored.tobytes())
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.nc")), stored)


@pytest.mark.parametrize("length", [5, 40, 130, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = write(
        tmp_path / "x.nc", {"band": 4, "y": 5, "x": 6}, rfl=(("band", "y", "x"), CUBE.astype(">i2"), {"note": "text"})
    )
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CubeError, match=r"x\.nc: .*copy (the file|it) again"):
        open_source(path)


def test_a_file_that_is_cut_short_meanwhile_is_an_error_of_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nc", {"band": 4, "y": 5, "x": 6}, rfl=(("band", "y", "x"), CUBE.astype(">i2"), {}))
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ReadError, match=r"x\.nc: rows 0 to 4 of /rfl cannot be read"):
        read_all(source)
