"""Where cubes of containers lie: coordinates that rise or fall, grid mappings anywhere, rotated grids, GeoZarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
import rioxarray  # noqa: F401  (registers cube.rio)
import xarray as xr
import zarr
from affine import Affine
from rasterio.crs import CRS

from hadgeo.formats import Source, open_source
from tests.formats.container_files import CUBE, WAVELENGTH, WKT, X, Y, coordinates, write_netcdf4

BSQ = ("wavelength", "y", "x")
NORTH_UP = Affine(2, 0, 500_000, 0, -2, 4_000_000)
ROTATED = Affine(1.7, 1, 500_000, 1, -1.7, 4_000_000)


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def transform(source: Source) -> tuple[float, ...]:
    assert source.metadata.georeferenced
    return tuple(source.metadata.transform)[:6]


def is_utm(source: Source) -> bool:
    return source.metadata.crs is not None and source.metadata.crs == CRS.from_epsg(32612)


def mapped(path: Path, variables: dict[str, Any], **attrs: Any) -> Source:
    return open_source(write_netcdf4(path, {**variables, "rfl": (BSQ, CUBE, {"grid_mapping": "crs", **attrs})}))


def test_rows_that_run_south_have_a_falling_transform(tmp_path: Path) -> None:
    source = mapped(tmp_path / "x.nc", coordinates())
    assert transform(source) == tuple(NORTH_UP)[:6]
    assert is_utm(source)
    assert not source.metadata.warnings
    assert not source.metadata.assumed


def test_rows_that_run_north_keep_their_order_and_have_a_rising_transform(tmp_path: Path) -> None:
    source = mapped(tmp_path / "x.nc", coordinates(y=Y[::-1]))
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert transform(source) == (2, 0, 500_000, 0, 2, 4_000_000 - 10)
    assert source.metadata.grid.to_map(0.5, 0.5) == (X[0], Y[-1])


def test_columns_that_run_west_have_a_negative_width(tmp_path: Path) -> None:
    source = mapped(tmp_path / "x.nc", coordinates(x=X[::-1]))
    assert source.metadata.grid.to_map(0.5, 0.5) == (X[-1], Y[0])


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_longitude_and_latitude_are_those_of_wgs_84_unless_told(tmp_path: Path, names: tuple[str, str]) -> None:
    lat, lon = 48 - 0.001 * np.arange(5), (11 + 0.002 * np.arange(6)).astype("f4")
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            names[0]: ((names[0],), lat, {"units": "degrees_north"}),
            names[1]: ((names[1],), lon, {"units": "degrees_east"}),
            "rfl": ((names[1], "band", names[0]), CUBE.transpose(2, 0, 1), {}),
        },
    )
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_allclose(transform(source), (0.002, 0, 10.999, 0, -0.001, 48.0005), atol=1e-6)
    assert source.metadata.crs == CRS.from_epsg(4326)
    assert "WGS 84" in source.metadata.assumed[0]


def test_coordinates_and_grid_mapping_of_the_root_serve_a_group(tmp_path: Path) -> None:
    wl = {"reflectance/wl": (("reflectance/wl",), WAVELENGTH, {"units": "nm"})}
    told = {"northing": "y", "easting": "x", "transverse_mercator": "crs"}
    root = {
        new: ((new,) if dims else (), samples, attrs)
        for new, old in told.items()
        for dims, samples, attrs in [coordinates()[old]]
    }
    cube = (("reflectance/wl", "northing", "easting"), CUBE, {"grid_mapping": "transverse_mercator"})
    source = open_source(write_netcdf4(tmp_path / "x.nc", {**root, **wl, "reflectance/reflectance": cube}))
    assert transform(source) == tuple(NORTH_UP)[:6]
    assert is_utm(source)
    assert source.metadata.wavelength is not None


@pytest.mark.parametrize("key", ["crs_wkt", "spatial_ref", "epsg_code", "projjson", "attributes"])
def test_a_grid_mapping_may_be_written_in_many_ways(tmp_path: Path, key: str) -> None:
    utm = pyproj.CRS.from_epsg(32612)
    attrs: dict[str, Any] = {
        "crs_wkt": {"crs_wkt": utm.to_wkt()},
        "spatial_ref": {"spatial_ref": WKT},
        "epsg_code": {"epsg_code": 32612},
        "projjson": {"proj:projjson": json.dumps(utm.to_json_dict())},
        "attributes": {k: v for k, v in utm.to_cf().items() if k != "crs_wkt"},
    }[key]
    variables = coordinates()
    variables["crs"] = ((), 0, attrs)
    assert is_utm(mapped(tmp_path / "x.nc", variables))


def test_the_long_form_of_grid_mapping_is_understood(tmp_path: Path) -> None:
    assert is_utm(mapped(tmp_path / "x.nc", coordinates(), grid_mapping="crs: x y"))


def test_a_grid_mapping_that_nobody_names_is_taken_and_that_is_said(tmp_path: Path) -> None:
    source = open_source(write_netcdf4(tmp_path / "x.nc", {**coordinates(), "rfl": (BSQ, CUBE, {})}))
    assert is_utm(source)
    assert source.metadata.assumed == ("/crs taken as the grid mapping: no attribute declares one",)


def test_a_grid_mapping_that_is_not_understood_is_a_warning(tmp_path: Path) -> None:
    variables = coordinates()
    variables["crs"] = ((), 0, {"crs_wkt": "GARBAGE["})
    source = mapped(tmp_path / "x.nc", variables)
    assert source.metadata.crs is None
    assert any("cannot be interpreted" in line for line in source.metadata.warnings)


@pytest.mark.parametrize(
    ("y", "word"),
    [
        (Y + np.array([0, 0, 0.3, 0, 0]), "not evenly spaced"),
        (np.full(5, 7.0), "not evenly spaced"),
        (np.where(np.arange(5) == 2, np.nan, Y), "not finite"),
    ],
)
def test_coordinates_that_are_not_regular_are_left_aside_with_a_warning(tmp_path: Path, y: Any, word: str) -> None:
    source = mapped(tmp_path / "x.nc", coordinates(y=y))
    assert not source.metadata.georeferenced
    assert any(f"coordinates /y are {word}" in line for line in source.metadata.warnings)
    np.testing.assert_array_equal(read_all(source), CUBE)


def test_coordinates_in_single_precision_may_be_rounded(tmp_path: Path) -> None:
    found = transform(mapped(tmp_path / "x.nc", coordinates(y=Y.astype("f4"), x=X.astype("f4"))))
    np.testing.assert_allclose(found, tuple(NORTH_UP)[:6], atol=0.5)


def test_kilometres_are_metres_of_the_grid(tmp_path: Path) -> None:
    variables = coordinates()
    for name in ("x", "y"):
        dims, samples, attrs = variables[name]
        variables[name] = (dims, samples / 1000, {**attrs, "units": "km"})
    np.testing.assert_allclose(transform(mapped(tmp_path / "x.nc", variables)), tuple(NORTH_UP)[:6])


def test_the_written_transform_is_the_exact_one(tmp_path: Path) -> None:
    gdal = " ".join(str(value) for value in NORTH_UP.to_gdal())
    variables = coordinates(y=Y.astype("f4"), x=X + 1e-4, GeoTransform=gdal)
    assert transform(mapped(tmp_path / "x.nc", variables)) == tuple(NORTH_UP)[:6]


def test_coordinates_win_over_another_transform_and_that_is_said(tmp_path: Path) -> None:
    source = mapped(tmp_path / "x.nc", coordinates(GeoTransform="0 2 0 4000000 0 -2"))
    assert transform(source) == tuple(NORTH_UP)[:6]
    assert any("differs from the coordinates" in line for line in source.metadata.warnings)


def test_a_rotated_transform_without_coordinates_is_that_of_row_0(tmp_path: Path) -> None:
    gdal = " ".join(repr(value) for value in ROTATED.to_gdal())
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "wavelength": coordinates()["wavelength"],
            "crs": ((), 0, {"crs_wkt": WKT, "GeoTransform": gdal}),
            "rfl": (BSQ, CUBE, {"grid_mapping": "crs"}),
        },
    )
    source = open_source(path)
    assert transform(source) == tuple(ROTATED)[:6]
    np.testing.assert_array_equal(read_all(source), CUBE)


def test_a_rotated_transform_and_other_coordinates_are_both_left_aside(tmp_path: Path) -> None:
    source = mapped(tmp_path / "x.nc", coordinates(GeoTransform="0 1.7 1 0 1 -1.7"))
    assert not source.metadata.georeferenced
    assert any("contradict each other" in line for line in source.metadata.warnings)


@pytest.mark.parametrize("grid", [NORTH_UP, ROTATED])
def test_files_of_gdal_lie_where_their_pixels_were(tmp_path: Path, grid: Affine) -> None:
    profile = {"count": 4, "height": 5, "width": 6, "dtype": "int16", "crs": "EPSG:32612", "transform": grid}
    with rasterio.open(tmp_path / "x.tif", "w", driver="GTiff", **profile) as dataset:
        dataset.write(CUBE)
    rasterio.shutil.copy(tmp_path / "x.tif", tmp_path / "x.nc", driver="netCDF")
    source = open_source(tmp_path / "x.nc")
    cube = read_all(source)
    # GDAL stores rows from below; what counts is that every sample stays at its place.
    for row, col in ((0, 0), (4, 5), (1, 3)):
        x, y = source.metadata.grid.to_map(col + 0.5, row + 0.5)
        was_col, was_row = ~grid * (x, y)
        np.testing.assert_array_equal(cube[:, row, col], CUBE[:, int(was_row), int(was_col)])
    assert is_utm(source)


def test_a_file_of_gdal_without_a_place_says_which_row_is_the_first(tmp_path: Path) -> None:
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (("band", "y", "x"), CUBE, {})})
    with h5py.File(path, "r+") as file:
        file.attrs["GDAL"] = "GDAL 3.10.3, released 2025/04/01"
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert any("row 0 of the file" in line for line in source.metadata.assumed)


@pytest.mark.parametrize("engine", ["scipy", "zarr"])
@pytest.mark.parametrize("grid", [NORTH_UP, ROTATED])
def test_what_rioxarray_writes_comes_back(tmp_path: Path, engine: str, grid: Affine) -> None:
    told = {} if grid.b else {"y": Y, "x": X}
    cube = xr.DataArray(CUBE, dims=("band", "y", "x"), coords=told, name="rfl").rio.write_crs(32612)
    cube = cube.rio.write_transform(grid)
    if engine == "scipy":
        cube.to_netcdf(tmp_path / "x", engine="scipy")
    else:
        cube.to_zarr(tmp_path / "x", consolidated=False)
    source = open_source(tmp_path / "x")
    assert transform(source) == tuple(grid)[:6]
    assert is_utm(source)
    np.testing.assert_array_equal(read_all(source), CUBE)


@pytest.mark.parametrize("where", ["array", "group"])
def test_geozarr_attributes_place_a_cube(tmp_path: Path, where: str) -> None:
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    array = group.create_array("rfl", data=CUBE, dimension_names=["band", "y", "x"])
    holder = array if where == "array" else group
    holder.attrs.update({"proj:code": "EPSG:32612", "spatial:transform": list(NORTH_UP)[:6]})
    source = open_source(tmp_path / "x.zarr")
    assert transform(source) == tuple(NORTH_UP)[:6]
    assert is_utm(source)


def test_the_place_of_an_orthorectified_grid_is_not_that_of_a_swath(tmp_path: Path) -> None:
    dims = ("downtrack", "crosstrack", "bands")
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "rfl": (dims, CUBE.transpose(1, 2, 0), {}),
            "location/lat": (dims[:2], np.zeros((5, 6)), {}),
            "location/lon": (dims[:2], np.zeros((5, 6)), {}),
        },
    )
    with h5py.File(path, "r+") as file:
        file.attrs.update(spatial_ref=WKT, geotransform=NORTH_UP.to_gdal())
    source = open_source(path)
    assert not source.metadata.georeferenced
    assert source.metadata.crs is None
    assert any("its own coordinates (/location/lat, /location/lon)" in line for line in source.metadata.warnings)


def test_numbers_of_rows_and_columns_are_no_place(tmp_path: Path) -> None:
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "y": (("y",), np.arange(5), {}),
            "x": (("x",), np.arange(6), {}),
            "rfl": (("band", "y", "x"), CUBE, {}),
        },
    )
    assert not open_source(path).metadata.georeferenced
