"""AVIRIS NetCDF: the cube in a group, its place and grid mapping in the root, or none at all."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import BANDS, LEFT, ROWS, TOP, aviris, numbered, read_all

ORDERS = [
    ("wavelength", "northing", "easting"),
    ("northing", "easting", "wavelength"),
    ("easting", "wavelength", "northing"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("epsg", [32611, 32734])
def test_a_cube_in_a_group_is_placed_by_the_root(tmp_path: Path, order: tuple[str, ...], epsg: int) -> None:
    cube = aviris(tmp_path / "x.nc", order=order, epsg=epsg)
    source = open_source(tmp_path / "x.nc")
    np.testing.assert_array_equal(read_all(source), cube)
    known = source.metadata
    np.testing.assert_allclose(known.transform[:6], (2, 0, LEFT, 0, -2, TOP))
    assert known.crs == rasterio.CRS.from_epsg(epsg)
    np.testing.assert_allclose(known.wavelength, np.linspace(380, 2500, BANDS), rtol=1e-6)
    assert known.fwhm is not None
    np.testing.assert_allclose(known.fwhm, 7.4)
    assert known.driver == "AVIRIS"
    assert known.warnings == ()


def test_rows_from_the_south_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    cube = aviris(tmp_path / "x.nc", step=2.0)
    source = open_source(tmp_path / "x.nc")
    np.testing.assert_array_equal(read_all(source), cube)
    np.testing.assert_allclose(source.metadata.transform[:6], (2, 0, LEFT, 0, 2, TOP))


def test_a_rotated_grid_is_placed_by_the_transform_of_its_grid_mapping(tmp_path: Path) -> None:
    aviris(tmp_path / "x.nc", without=["northing", "easting"])
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        file["transverse_mercator"].attrs["GeoTransform"] = "500000 1.8 0.8 4000000 0.8 -1.8"
    known = open_source(tmp_path / "x.nc").metadata
    assert known.transform[:6] == (1.8, 0.8, 500000, 0.8, -1.8, 4000000)


def test_packed_samples_and_fill_are_decoded(tmp_path: Path) -> None:
    stored = numbered(dtype="i2")
    stored[:, 0, 0] = -9999
    aviris(tmp_path / "x.nc", stored, scale_factor=1e-4)
    read = read_all(open_source(tmp_path / "x.nc"))
    assert np.isnan(read[:, 0, 0]).all()
    assert np.isnan(read).sum() == BANDS
    np.testing.assert_allclose(read[3, 2, 1], stored[3, 2, 1] / 10000, rtol=1e-6)


def test_radiance_of_the_sensor_has_no_place_and_says_so(tmp_path: Path) -> None:
    cube = aviris(tmp_path / "x.nc", group="radiance", ortho=False, without=["fwhm", "_FillValue"])
    source = open_source(tmp_path / "x.nc")
    np.testing.assert_array_equal(read_all(source), cube)
    assert not source.metadata.georeferenced
    assert any("in sensor geometry" in line for line in source.metadata.warnings)
    assert any("-9999" in line for line in source.metadata.assumed)


def test_arrays_beside_the_cube_do_not_matter_and_can_be_named(tmp_path: Path) -> None:
    cube = aviris(tmp_path / "x.nc")
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        file["reflectance/uncertainty"] = np.zeros(cube.shape)
        file["quicklook"] = np.zeros((3, ROWS, 4), dtype="u1")
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.nc")), cube)
    named = open_source(tmp_path / "x.nc", reading=Reading(variable="reflectance/reflectance"))
    np.testing.assert_array_equal(read_all(named), cube)
    with pytest.raises(CubeError, match="no cube 'nothing'; it holds reflectance/reflectance"):
        open_source(tmp_path / "x.nc", reading=Reading(variable="nothing"))


def test_there_are_no_quality_layers(tmp_path: Path) -> None:
    aviris(tmp_path / "x.nc")
    with pytest.raises(CubeError, match="no quality layer for 'cloud'; it has none"):
        open_source(tmp_path / "x.nc", reading=Reading(quality=("cloud",)))


@pytest.mark.data
@pytest.mark.parametrize("form", ["{}", "NETCDF:{}:/reflectance/reflectance"])
def test_the_reported_file_comes_out_right(data_dir: Path, form: str) -> None:
    source = open_source(form.format(data_dir / "reports" / "26_aviris3" / "AV3_RFL_ORT.nc"))
    read = read_all(source)
    assert (read[0, 0, 0], read[1, 2, 3], read[15, 20, 5]) == (1000, 1111, 1880)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength[[0, -1]].tolist() == [450, 2200]
    assert source.metadata.transform[:6] == (2, 0, 500000, 0, -2, 4000000)
    assert source.metadata.crs == rasterio.CRS.from_epsg(32612)
