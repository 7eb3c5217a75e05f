"""Rasters written past GDAL: GDAL reads the same pixels, and one that is cut short is noticed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.maps.raw_tiff import RawTiff, create_rawtiff, halve
from tests.support import examples

PLACE = {"crs": "EPSG:32633", "transform": Affine(2, 0, 5e5, 0, -2, 4.5e6)}


@pytest.fixture(autouse=True)
def without_a_place() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def test_a_new_raster_holds_nodata_alone_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    create_rawtiff(path, (5, 7), description="anomaly score (rx)", tags={"HADGEO_DETECTOR": "rx"}, **PLACE)
    with rasterio.open(path) as dataset:
        assert (dataset.shape, dataset.dtypes, dataset.crs) == ((5, 7), ("float32",), rasterio.CRS.from_epsg(32633))
        assert dataset.transform == PLACE["transform"]
        assert dataset.descriptions == ("anomaly score (rx)",)
        assert dataset.tags()["HADGEO_DETECTOR"] == "rx"
        assert np.isnan(dataset.nodata)
        assert np.isnan(dataset.read(1)).all()
    # The disk is taken before there are scores.
    assert path.stat().st_size >= 5 * 7 * 4


@settings(max_examples=examples(0.3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 12), cols=st.integers(1, 12), data=st.data())
def test_what_is_written_is_what_gdal_reads(rows: int, cols: int, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    create_rawtiff(path, (rows, cols))
    expected = np.full((rows, cols), np.nan, dtype=np.float32)
    with closing(RawTiff(path)) as raster:
        assert raster.shape == (rows, cols)
        for number in range(3):
            row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
            height, width = data.draw(st.integers(1, rows - row)), data.draw(st.integers(1, cols - col))
            values = 100 * number + np.arange(height * width, dtype=np.float32).reshape(height, width)
            # Strided, and in another type: what is written need not lie in memory as it does in the file.
            raster.write(row, col, np.asfortranarray(values.astype(np.float64)))
            expected[row : row + height, col : col + width] = values
            part = raster.read(slice(row, row + height), slice(col, col + width))
            np.testing.assert_array_equal(part, values)
        np.testing.assert_array_equal(raster.read(slice(0, rows)), expected)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), expected)


@pytest.mark.parametrize("missing", [1, 4, 100])
def test_a_raster_whose_pixels_do_not_all_stand_there_is_a_full_disk(missing: int, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    create_rawtiff(path, (20, 30))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - missing)
    with pytest.raises(OSError, match=r"No space left on device: .*x\.tif"):
        RawTiff(path)


def test_a_raster_that_becomes_shorter_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    create_rawtiff(path, (20, 30))
    with closing(RawTiff(path)) as raster:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 60)
        raster.read(slice(0, 19))
        with pytest.raises(OSError, match=r"cut short.*x\.tif"):
            raster.read(slice(0, 20))


@pytest.mark.parametrize(("rows", "cols"), [(40, 30), (41, 31), (1, 5), (6, 1)])
@pytest.mark.parametrize("pick", [np.fmax, np.fmin])
def test_half_the_resolution_in_strips_is_that_of_the_whole(
    rows: int, cols: int, pick: np.ufunc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.maps.raw_tiff.STRIP_BYTES", 5 * cols * 4)
    values = np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32)
    values[: rows // 2, : cols // 3] = np.nan
    create_rawtiff(tmp_path / "fine.tif", (rows, cols))
    with closing(RawTiff(tmp_path / "fine.tif")) as fine:
        assert fine.strip_rows == 4
        fine.write(0, 0, values)
        with closing(halve(fine, tmp_path / "coarse.tif", pick)) as coarse:
            found = coarse.read(slice(0, coarse.shape[0]))
    assert found.shape == (-(-rows // 2), -(-cols // 2))
    for row, col in np.ndindex(found.shape):
        covered = values[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        np.testing.assert_array_equal(found[row, col], pick.reduce(covered, axis=None))
