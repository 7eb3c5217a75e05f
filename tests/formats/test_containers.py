"""NetCDF, HDF5 and Zarr: which array is the cube, which of its axes counts bands, and what is known of the bands."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from hadgeo.errors import CubeError, CubeNotFoundError, MissingExtraError
from hadgeo.formats import Reading, Source, open_source
from tests.formats.container_files import CUBE, NAMES, WAVELENGTH, coordinates, write_netcdf4

ORDERS = list(itertools.permutations(("band", "row", "col")))
LENGTHS = dict(zip(("band", "row", "col"), CUBE.shape, strict=True))


def ordered(order: tuple[str, ...]) -> np.ndarray:
    return CUBE.transpose([("band", "row", "col").index(name) for name in order])


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def write(path: Path, kind: str, order: tuple[str, ...], dtype: str = "i2") -> Path:
    """A cube with coordinates, in one of the containers, written by its own library."""
    dims = tuple(NAMES[name] for name in order)
    if kind == "NetCDF 4":
        return write_netcdf4(path, {**coordinates(), "rfl": (dims, ordered(order).astype(dtype), {})})
    if kind == "HDF5":
        with h5py.File(path, "w") as file:
            file["rfl"] = ordered(order).astype(dtype)
            file["meta/Wavelength"] = WAVELENGTH
        return path
    cube = xr.Dataset({"rfl": (dims, ordered(order).astype(dtype))}, {"wavelength": ("wavelength", WAVELENGTH)})
    if kind == "NetCDF 3":
        cube.to_netcdf(path, engine="scipy")
    else:
        cube.to_zarr(path, zarr_format=int(kind[-1]), consolidated=False)
    return path


def engine(kind: str) -> dict[str, Any]:
    """How xarray itself reads such a file."""
    return {"engine": "scipy"} if kind == "NetCDF 3" else {"engine": "zarr", "consolidated": False}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["NetCDF 4", "HDF5", "NetCDF 3", "Zarr 2", "Zarr 3"])
def test_every_order_of_axes_is_the_same_cube(tmp_path: Path, kind: str, order: tuple[str, ...]) -> None:
    source = open_source(write(tmp_path / "a cube.nc", kind, order))
    expected = CUBE
    if kind == "HDF5" and order.index("col") < order.index("row"):
        # Nothing names rows and columns: they are kept as they come, and that is said.
        expected = CUBE.transpose(0, 2, 1)
        assert "taken as rows and columns" in source.metadata.assumed[0]
    assert source.metadata.driver == kind
    assert source.shape == expected.shape
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(source.read(slice(1, 3), slice(2, 4), [3, 1]), expected[[3, 1], 1:3, 2:4])
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == WAVELENGTH.tolist()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i2", "<i4", ">f8", "u1"])
@pytest.mark.parametrize("kind", ["NetCDF 4", "NetCDF 3", "Zarr 2", "Zarr 3"])
def test_samples_of_every_type_are_as_other_programs_read_them(tmp_path: Path, kind: str, dtype: str) -> None:
    if (kind, dtype) == ("NetCDF 3", "u1"):
        pytest.skip("NetCDF 3 has no bytes without sign")
    path = write(tmp_path / "x.nc", kind, ("row", "col", "band"), dtype)
    if kind == "NetCDF 4":
        with h5py.File(path) as file:
            expected = file["rfl"][()]
    else:
        with xr.open_dataset(path, decode_cf=False, **engine(kind)) as opened:
            expected = opened["rfl"].values
    np.testing.assert_array_equal(read_all(open_source(path)), expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "names",
    [
        ("bands", "downtrack", "crosstrack"),
        ("spectral_band", "lat", "lon"),
        ("nBands", "nLines", "nSamples"),
        ("Channel", "Line", "Sample"),
        ("lambda", "northing", "easting"),
        ("wvl", "row", "col"),
        ("number_of_bands", "number_of_scans", "number_of_pixels"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_axes_are_known_by_many_names(tmp_path: Path, names: tuple[str, ...], order: tuple[str, ...]) -> None:
    called = dict(zip(("band", "row", "col"), names, strict=True))
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (tuple(called[name] for name in order), ordered(order), {})})
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert not source.metadata.assumed


def test_the_axis_beside_named_rows_and_columns_is_assumed_to_count_bands(tmp_path: Path) -> None:
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (("y", "z", "x"), CUBE.transpose(1, 0, 2), {})})
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert "axis 1 of /rfl (y 5, z 4, x 6) taken as the band axis" in source.metadata.assumed[0]


@pytest.mark.parametrize(
    ("dims", "shown"),
    [
        (("time", "y", "x"), r"axis 0 time \(4\), axis 1 y \(5\), axis 2 x \(6\)"),
        (("p", "q", "r"), r"axis 0 p \(4\), axis 1 q \(5\), axis 2 r \(6\)"),
    ],
)
def test_an_unknown_band_axis_is_asked_for(tmp_path: Path, dims: tuple[str, ...], shown: str) -> None:
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (dims, CUBE, {})})
    with pytest.raises(CubeError, match=rf"x\.nc: the band axis of /rfl is not known: {shown}.*--band-axis"):
        open_source(path)
    for axis in range(3):
        source = open_source(path, reading=Reading(band_axis=axis))
        np.testing.assert_array_equal(read_all(source), np.moveaxis(CUBE, axis, 0))
    with pytest.raises(CubeError, match="has no axis 3"):
        open_source(path, reading=Reading(band_axis=3))


def test_plain_hdf5_without_wavelengths_is_asked_about(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["/deep/in/it"] = CUBE
    with pytest.raises(CubeError, match=r"axis 0 \(4\), axis 1 \(5\), axis 2 \(6\); specify it with --band-axis"):
        open_source(tmp_path / "x.h5")


def test_wavelengths_that_fit_two_axes_are_no_answer(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rfl"], file["wavelength"] = np.zeros((4, 5, 4)), WAVELENGTH
    with pytest.raises(CubeError, match="the band axis of"):
        open_source(tmp_path / "x.h5")


def test_cf_attributes_tell_the_band_axis(tmp_path: Path) -> None:
    wl = {"standard_name": "sensor_band_central_radiation_wavelength", "units": "um"}
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "k": (("k",), WAVELENGTH / 1000, wl),
            "v": (("v",), np.arange(5.0), {"axis": "Y"}),
            "u": (("u",), np.arange(6.0), {"axis": "X"}),
            "rfl": (("u", "k", "v"), CUBE.transpose(2, 0, 1), {}),
        },
    )
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_allclose(source.metadata.wavelength, WAVELENGTH)


def test_a_lone_time_is_dropped_and_counts_no_bands(tmp_path: Path) -> None:
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (("time", "y", "band", "x"), CUBE.transpose(1, 0, 2)[None], {})})
    np.testing.assert_array_equal(read_all(open_source(path)), CUBE)


def test_several_cubes_are_listed_and_one_can_be_named(tmp_path: Path) -> None:
    dims = ("y", "x", "band")
    turned = CUBE.transpose(1, 2, 0)
    path = write_netcdf4(
        tmp_path / "two cubes.nc", {"rfl": (dims, turned, {}), "group one/std dev": (dims, turned + 1, {})}
    )
    with pytest.raises(CubeError, match="2 arrays that could be the cube") as caught:
        open_source(path)
    listed = "/group one/std dev (y 5, x 6, band 4), /rfl (y 5, x 6, band 4); name one with --variable"
    assert listed in str(caught.value)
    for name, more in (("rfl", 0), ("/group one/std dev", 1), ("std dev", 1), ("group one", 1)):
        np.testing.assert_array_equal(read_all(open_source(path, reading=Reading(variable=name))), CUBE + more)
    for name in (
        f'NETCDF:"{path}":/group one/std dev',
        f"netcdf:{path}:/group one/std dev",
        f'HDF5:"{path}"://group_one/std_dev',
    ):
        np.testing.assert_array_equal(read_all(open_source(name)), CUBE + 1)
    with pytest.raises(CubeError, match=r"no array is called nothing; it holds .*/rfl \(y 5"):
        open_source(path, reading=Reading(variable="nothing"))


def test_one_array_with_a_spectral_axis_is_the_cube_among_others(tmp_path: Path) -> None:
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "rfl": (("y", "x", "band"), CUBE.transpose(1, 2, 0), {}),
            "bounds": (("y", "x", "nv"), np.zeros((5, 6, 4)), {}),
        },
    )
    np.testing.assert_array_equal(read_all(open_source(path)), CUBE)


def test_numbered_arrays_are_stacked_and_that_is_said(tmp_path: Path) -> None:
    twelve = np.concatenate([CUBE, CUBE + 1, CUBE + 2])
    bands = {
        f"Band{i + 1}": (("y", "x"), band, {"scale_factor": i + 1.0, "long_name": f"band {i + 1} ({400 + i} nm)"})
        for i, band in enumerate(twelve)
    }
    spare = {k: v for k, v in coordinates().items() if k != "wavelength"}
    path = write_netcdf4(tmp_path / "x.nc", {**spare, **bands})
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), twelve * (np.arange(12)[:, None, None] + 1.0))
    np.testing.assert_array_equal(
        source.read(slice(1, 4), slice(2, 3), [10, 2]), twelve[[10, 2], 1:4, 2:3] * [[[11]], [[3]]]
    )
    assert (
        "12 arrays, /Band1 (y 5, x 6) to /Band12 (y 5, x 6), taken as the bands of one cube" in source.metadata.assumed
    )
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == list(range(400, 412))
    assert source.metadata.georeferenced
    one = open_source(path, reading=Reading(variable="Band3"))
    np.testing.assert_array_equal(read_all(one), twelve[2:3] * 3.0)


@pytest.mark.parametrize(
    "names", [("Band1", "Band3"), ("Band1", "Band2", "quality"), ("red", "green"), ("Band1", "B2")]
)
def test_other_arrays_of_two_axes_are_listed(tmp_path: Path, names: tuple[str, ...]) -> None:
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    for name in names:
        group.create_array(name, data=CUBE[0], dimension_names=["y", "x"])
    with pytest.raises(
        CubeError, match=rf"no three-dimensional array in it; .* /.*{names[0]} \(y 5, x 6\).*--variable"
    ):
        open_source(tmp_path / "x.zarr")


@pytest.mark.parametrize("kind", ["array", "group", "inner"])
def test_a_part_of_a_zarr_folder_can_be_named_by_its_path(tmp_path: Path, kind: str) -> None:
    cube = xr.Dataset({"rfl": (("y", "x", "wavelength"), CUBE.transpose(1, 2, 0))}, {"wavelength": WAVELENGTH})
    store = tmp_path / "x.zarr"
    cube.to_zarr(store, group=None if kind == "array" else "L2", consolidated=False)
    path = {"array": store / "rfl", "group": store, "inner": store / "L2"}[kind]
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == WAVELENGTH.tolist()


def test_bands_are_described_by_arrays_anywhere_in_the_file(tmp_path: Path) -> None:
    path = write_netcdf4(
        tmp_path / "x.nc",
        {
            "rad": (("downtrack", "crosstrack", "bands"), CUBE.transpose(1, 2, 0), {"_FillValue": np.float32(-9999)}),
            "sensor/wavelengths": (("bands",), WAVELENGTH.astype("f4") / 1000, {"units": "um"}),
            "sensor/fwhm": (("bands",), np.full(4, 8.5), {"units": "nm"}),
            "sensor/good_wavelengths": (("bands",), np.array([1, 1, 1, 0], "u1"), {}),
            "sensor/wavelength_uncertainty": (("bands",), np.ones(4), {}),
        },
    )
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.fwhm is not None
    assert known.good is not None
    np.testing.assert_allclose(known.wavelength, WAVELENGTH, rtol=1e-6)
    assert known.fwhm.tolist() == [8.5] * 4
    assert known.good.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "attrs",
    [
        {"wavelengths": WAVELENGTH},
        {"wavelengths": str(WAVELENGTH)},
        {"wavelength": list(WAVELENGTH / 1000), "wavelength_units": "micrometers"},
        {"band_center_wavelengths": "450, 550, 650, 1380"},
    ],
)
def test_wavelengths_may_stand_in_attributes(tmp_path: Path, attrs: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rad"] = CUBE.transpose(1, 0, 2)
        file["rad"].attrs.update(attrs)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_allclose(source.metadata.wavelength, WAVELENGTH)


def test_numbers_of_bands_are_no_wavelengths(tmp_path: Path) -> None:
    path = write_netcdf4(
        tmp_path / "x.nc", {"band": (("band",), np.arange(1, 5), {}), "rfl": (("band", "y", "x"), CUBE, {})}
    )
    source = open_source(path)
    assert source.metadata.wavelength is None
    assert any("no wavelengths" in line for line in source.metadata.warnings)


@pytest.mark.parametrize("kind", ["NetCDF 4", "NetCDF 3", "Zarr 2", "Zarr 3"])
def test_packed_samples_are_as_xarray_unpacks_them(tmp_path: Path, kind: str) -> None:
    values = np.where(CUBE % 7 == 0, np.nan, CUBE * 0.0001 + 0.5)
    cube = xr.Dataset({"rfl": (("band", "y", "x"), values)})
    packed = {"rfl": {"dtype": "i2", "scale_factor": 0.0001, "add_offset": 0.5, "_FillValue": -9999}}
    path = tmp_path / "x.nc"
    if kind == "NetCDF 4":
        attrs = {"scale_factor": [0.0001], "add_offset": 0.5, "_FillValue": np.int16(-9999)}
        write_netcdf4(path, {"rfl": (("band", "y", "x"), np.where(CUBE % 7 == 0, -9999, CUBE).astype("i2"), attrs)})
        expected = values
    else:
        if kind == "NetCDF 3":
            cube.to_netcdf(path, engine="scipy", encoding=packed)
        else:
            cube.to_zarr(path, zarr_format=int(kind[-1]), consolidated=False, encoding=packed)
        with xr.open_dataset(path, **engine(kind)) as opened:
            expected = opened["rfl"].values
    found = read_all(open_source(path))
    np.testing.assert_array_equal(np.isnan(found), CUBE % 7 == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("attrs", "lost", "said"),
    [
        ({"missing_value": np.array([-9999, -8888], "i2")}, [-9999, -8888], ""),
        ({"_FillValue": np.int16(-9999), "missing_value": np.int16(-8888)}, [-9999, -8888], ""),
        ({"valid_range": np.array([0, 30000], "i2")}, [-9999, -8888], "outside the valid range of 0 to 30000"),
        ({"valid_min": np.int16(-9000)}, [-9999], "outside the valid range of -9000"),
        ({"valid_range": [0.0, 3.0], "scale_factor": 0.0001}, [-9999, -8888], "outside the valid range of 0 to 30000"),
        ({"Data_Ignore_Value": "-9999.0"}, [-9999], ""),
        ({}, [-32767], ""),
    ],
)
def test_fill_values_and_valid_ranges_are_nodata(
    tmp_path: Path, attrs: dict[str, Any], lost: list[int], said: str
) -> None:
    stored = CUBE.copy()
    stored[0, 0, :2], stored[1, 1, 1] = [-9999, -8888], -32767
    if attrs:
        stored[1, 1, 1] = 5
    path = write_netcdf4(tmp_path / "x.nc", {"rfl": (("band", "y", "x"), stored, attrs)})
    source = open_source(path)
    np.testing.assert_array_equal(np.isnan(read_all(source)), np.isin(stored, lost))
    assert said in " ".join(source.metadata.warnings)


def test_a_scale_that_is_not_of_cf_is_said_and_not_applied(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rfl"], file["wavelength"] = CUBE, WAVELENGTH
        file["rfl"].attrs["Scale_Factor"] = "10000.0"
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert any("Scale_Factor = 10000.0 is not applied" in line for line in source.metadata.warnings)


@pytest.mark.parametrize("kind", ["NetCDF 4", "HDF5", "NetCDF 3", "Zarr 2"])
def test_damaged_containers_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "x.nc", kind, ("row", "col", "band"))
    if kind == "Zarr 2":
        (path / "rfl" / ".zarray").write_text("{")
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CubeError, match=r"x\.nc: .*copy it again") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("package", "kind", "extra"), [("h5py", "NetCDF 4", "hdf5"), ("zarr", "Zarr 3", "zarr")])
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, kind: str, extra: str
) -> None:
    path = write(tmp_path / "x.nc", kind, ("row", "col", "band"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "hadgeo\[{extra}\]"'):
        open_source(path)


def test_a_missing_file_is_named_behind_a_prefix_too(tmp_path: Path) -> None:
    with pytest.raises((CubeNotFoundError, CubeError), match=r"nothing\.nc"):
        open_source(f'NETCDF:"{tmp_path}/nothing.nc":rfl')


def test_rows_are_not_left_to_gdal(tmp_path: Path) -> None:
    import zipfile

    path = write(tmp_path / "x.nc", "NetCDF 3", ("band", "row", "col"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(path, "x.nc")
    with pytest.raises(CubeError, match="local files and folders only"):
        open_source(f"/vsizip/{tmp_path}/x.zip/x.nc")


def test_a_relative_name_is_read_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.nc", "NetCDF 4", ("row", "col", "band"))
    monkeypatch.chdir(tmp_path)
    source = open_source("x.nc")
    monkeypatch.chdir(os.path.dirname(tmp_path))  # noqa: PTH120
    np.testing.assert_array_equal(read_all(source), CUBE)


REPORTS = {
    "22b_emit_like/two.nc": "reflectance",
    "22b_emit_like/full.nc": None,
    "26_aviris3/AV3_RFL_ORT.nc": None,
    "27_xarray/scaled.nc": None,
    "27_xarray/yxz.nc": None,
    "74_zarr/cube.zarr": None,
    "74_zarr/single.zarr": None,
}


@pytest.mark.data
@pytest.mark.parametrize(("name", "variable"), REPORTS.items())
def test_reported_files_have_their_right_values(data_dir: Path, name: str, variable: str | None) -> None:
    path = data_dir / "reports" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    source = open_source(path, reading=Reading(variable=variable))
    cube = read_all(source) * (10_000 if "scaled" in name else 1)
    assert source.shape == (16, 30, 24)
    np.testing.assert_allclose([cube[0, 0, 0], cube[1, 2, 3], cube[15, 20, 5]], [1000, 1111, 1880], rtol=1e-6)
    placed = source.metadata.georeferenced
    assert placed == (name.startswith(("26", "74")) or "yxz" in name)
    if placed:
        assert tuple(source.metadata.transform)[:6] == (2, 0, 500_000, 0, -2, 4_000_000)
        assert source.metadata.crs is not None
        assert source.metadata.crs.to_epsg() == 32612
    assert (source.metadata.wavelength is None) == ("scaled" in name or "zarr" in name)


def test_scales_that_were_deleted_are_said_and_the_rest_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        cube = file.create_dataset("cube", data=CUBE)
        file["wavelength"] = WAVELENGTH
        file["old"] = WAVELENGTH
        file["old"].make_scale("band")
        cube.dims[0].attach_scale(file["old"])
        del file["old"]
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(source.read(slice(0, 5), slice(0, 6)), CUBE)
    assert any("not in the file any more (axis 0 of /cube)" in line for line in source.metadata.warnings)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_wavelengths_may_be_a_row_or_a_column_of_a_matrix(tmp_path: Path, shape: tuple[int, int]) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = CUBE.transpose(1, 2, 0)
        file["wavelength"] = WAVELENGTH.reshape(shape)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), CUBE)
    np.testing.assert_array_equal(source.metadata.wavelength, WAVELENGTH)


@pytest.mark.parametrize("factor", [0.0, np.nan, [1.0, 2.0, 3.0]])
def test_a_scale_that_can_be_none_is_told_on_one_line(tmp_path: Path, factor: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = CUBE
        file["cube"].attrs["scale_factor"] = factor
        file["wavelength"] = WAVELENGTH
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_all(source), CUBE)
    (told,) = [line for line in source.metadata.warnings if "scale_factor" in line]
    assert "not applied" in told
    assert "\n" not in told


def test_wavelengths_along_rows_or_columns_contradict_names_of_axes(tmp_path: Path) -> None:
    exchanged = {
        "cube": (("band", "line", "sample"), CUBE.transpose(1, 2, 0), {}),
        "wavelength": (("sample",), WAVELENGTH, {"units": "nm"}),
    }
    path = write_netcdf4(tmp_path / "x.nc", exchanged)
    with pytest.raises(CubeError, match="the band axis of /cube is not known"):
        open_source(path)
    np.testing.assert_array_equal(read_all(open_source(path, reading=Reading(band_axis=2))), CUBE)
