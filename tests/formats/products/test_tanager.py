"""Tanager: grids placed by their structure, swaths by a framing only where that is the cube's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.warp

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import BANDS, COLS, LEFT, ROWS, TOP, numbered, read_all, tanager

FRAMING = {"epsg_code": 32612, "rows": ROWS, "cols": COLS, "geotransform": [LEFT, 30.0, 0, TOP, 0, -30.0]}


@pytest.mark.parametrize("name", ["surface_reflectance", "toa_radiance"])
@pytest.mark.parametrize(("zone", "epsg"), [(12, 32612), (-34, 32734)])
def test_a_grid_is_placed_by_its_structure(tmp_path: Path, name: str, zone: int, epsg: int) -> None:
    cube = tanager(tmp_path / "x.h5", name=name, zone=zone)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), cube)
    known = source.metadata
    assert known.transform[:6] == (30.0, 0.0, LEFT, 0.0, -30.0, TOP)
    assert known.crs == rasterio.CRS.from_epsg(epsg)
    np.testing.assert_allclose(known.wavelength, np.linspace(376, 2499, BANDS))
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [5.6] * BANDS
    assert known.good is not None
    assert known.good.tolist() == [band != 1 for band in range(BANDS)]
    assert known.warnings == ()


def test_a_framing_of_the_cubes_own_size_places_a_swath(tmp_path: Path) -> None:
    tanager(tmp_path / "x.h5", kind="SWATHS", framing=FRAMING)
    known = open_source(tmp_path / "x.h5").metadata
    assert known.transform[:6] == (30.0, 0.0, LEFT, 0.0, -30.0, TOP)
    assert known.crs == rasterio.CRS.from_epsg(32612)


@pytest.mark.parametrize("changed", [{"rows": ROWS + 3}, {"cols": COLS + 1}])
def test_a_framing_of_the_ortho_product_places_nothing(tmp_path: Path, changed: dict[str, Any]) -> None:
    cube = tanager(tmp_path / "x.h5", kind="SWATHS", framing=FRAMING | changed)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), cube)
    assert not source.metadata.georeferenced
    assert any("grid of the ortho product" in line for line in source.metadata.warnings)


def lonlat(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of the centres of the framing's pixels, shifted by some pixels to the east."""
    cols, rows = np.meshgrid(np.arange(COLS) + 0.5 + shift, np.arange(ROWS) + 0.5)
    x, y = LEFT + 30 * cols, TOP - 30 * rows
    told = rasterio.warp.transform("EPSG:32612", "EPSG:4326", x.ravel(), y.ravel())
    return np.array(told[0]).reshape(x.shape), np.array(told[1]).reshape(x.shape)


@pytest.mark.parametrize(("shift", "placed"), [(0.0, True), (0.9, True), (25.0, False)])
def test_longitude_and_latitude_have_the_last_word_on_a_framing(tmp_path: Path, shift: float, placed: bool) -> None:
    longitude, latitude = lonlat(shift)
    tanager(tmp_path / "x.h5", kind="SWATHS", framing=FRAMING, longitude=longitude, latitude=latitude)
    known = open_source(tmp_path / "x.h5").metadata
    assert known.georeferenced == placed
    assert any("contradict" in line for line in known.warnings) != placed


def test_without_a_framing_there_is_no_place(tmp_path: Path) -> None:
    tanager(tmp_path / "x.h5", kind="SWATHS", without=["wavelengths", "beta_cloud_mask", "nodata_pixels"])
    known = open_source(tmp_path / "x.h5").metadata
    assert not known.georeferenced
    assert any("no readable Planet_Ortho_Framing" in line for line in known.warnings)
    assert any("no wavelengths" in line for line in known.warnings)


def test_fill_and_pixels_outside_of_the_strip_are_nan(tmp_path: Path) -> None:
    stored = numbered()
    stored[:, 0, 0] = -9999
    tanager(tmp_path / "x.h5", stored)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["HDFEOS/GRIDS/HYP/Data Fields/nodata_pixels"][4, 3] = 1
    read = read_all(open_source(tmp_path / "x.h5"))
    assert sorted({tuple(place[1:]) for place in np.argwhere(np.isnan(read)).tolist()}) == [(0, 0), (4, 3)]
    assert np.isnan(read).sum() == 2 * BANDS


@pytest.mark.parametrize("quality", ["cloud", "cirrus"])
def test_flags_become_nodata(tmp_path: Path, quality: str) -> None:
    tanager(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file[f"HDFEOS/GRIDS/HYP/Data Fields/beta_{quality}_mask"][1, 2] = 1
    read = read_all(open_source(tmp_path / "x.h5", reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 1, 2]).all()
    assert np.isnan(read).sum() == BANDS
    with pytest.raises(CubeError, match="no quality layer for 'snow'; it has cloud, cirrus"):
        open_source(tmp_path / "x.h5", reading=Reading(quality=("snow",)))


def test_one_of_several_cubes_is_named(tmp_path: Path) -> None:
    cube = tanager(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["HDFEOS/GRIDS/HYP/Data Fields/toa_radiance"] = -cube
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.h5")), cube)
    named = open_source(tmp_path / "x.h5", reading=Reading(variable="toa_radiance"))
    np.testing.assert_array_equal(read_all(named), -cube)
    with pytest.raises(CubeError, match="it holds surface_reflectance, toa_radiance"):
        open_source(tmp_path / "x.h5", reading=Reading(variable="nothing"))


@pytest.mark.data
def test_the_reported_file_comes_out_right(data_dir: Path) -> None:
    source = open_source(data_dir / "reports" / "25_tanager" / "tanager.h5")
    read = read_all(source)
    assert (read[0, 0, 0], read[1, 2, 3], read[15, 20, 5]) == (1000, 1111, 1880)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength[[0, -1]].tolist() == [450, 2200]
    assert source.metadata.transform[:6] == (30, 0, 500000, 0, -30, 4000000)
    assert source.metadata.crs == rasterio.CRS.from_epsg(32612)


def test_an_axis_as_long_as_the_list_of_wavelengths_counts_bands(tmp_path: Path) -> None:
    cube = tanager(tmp_path / "x.h5", kind="SWATHS")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        fields = file["HDFEOS/SWATHS/HYP/Data Fields"]
        kept = dict(fields["surface_reflectance"].attrs)
        del fields["surface_reflectance"]
        fields["surface_reflectance"] = cube.transpose(1, 2, 0)
        fields["surface_reflectance"].attrs.update(kept)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), cube)
    assert any("axis 2 of" in line for line in source.metadata.assumed)


def test_lists_may_stand_at_the_group(tmp_path: Path) -> None:
    tanager(tmp_path / "x.h5", without=["wavelengths"])
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["HDFEOS/GRIDS/HYP"].attrs["wavelengths"] = np.linspace(0.4, 2.4, BANDS)
    known = open_source(tmp_path / "x.h5").metadata
    np.testing.assert_allclose(known.wavelength, np.linspace(400, 2400, BANDS))


def test_a_cube_called_otherwise_is_known_by_its_wavelengths(tmp_path: Path) -> None:
    cube = tanager(tmp_path / "x.h5", name="radiance", kind="SWATHS", framing=FRAMING)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), cube)
    assert source.metadata.transform[:6] == (30.0, 0.0, LEFT, 0.0, -30.0, TOP)


def test_several_cubes_called_otherwise_are_listed(tmp_path: Path) -> None:
    tanager(tmp_path / "x.h5", name="radiance", kind="SWATHS")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.copy("HDFEOS/SWATHS/HYP/Data Fields/radiance", file["HDFEOS/SWATHS/HYP/Data Fields"], "second")
    with pytest.raises(CubeError, match="2 cubes; name one of radiance, second with --variable"):
        open_source(tmp_path / "x.h5")
