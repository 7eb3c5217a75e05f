"""EMIT: rows as the sensor saw them, what belongs to the bands, the lookup table, and flags from the file beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from hadgeo.formats.products.emit import EmitSource, find_mask_file
from tests.formats.products.makers import BANDS, COLS, ROWS, emit, numbered, put, read_all

NAME = "EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc"


@pytest.mark.parametrize("order", [("downtrack", "crosstrack", "bands"), ("bands", "downtrack", "crosstrack")])
@pytest.mark.parametrize("name", ["reflectance", "radiance"])
def test_a_cube_is_as_the_file_has_it_whatever_its_axes(tmp_path: Path, name: str, order: tuple[str, ...]) -> None:
    cube = emit(tmp_path / NAME, name=name, order=order)
    source = open_source(tmp_path / NAME)
    np.testing.assert_array_equal(read_all(source), cube)
    with h5py.File(tmp_path / NAME) as file:
        wavelengths = file["sensor_band_parameters/wavelengths"][()]
    known = source.metadata
    np.testing.assert_allclose(known.wavelength, wavelengths, rtol=1e-6)
    np.testing.assert_array_equal(known.fwhm, np.full(BANDS, 8.5))
    assert known.good is not None
    assert known.good.tolist() == [band != 2 for band in range(BANDS)]
    assert known.driver == "EMIT"


def test_there_is_no_transform_but_a_lookup_table_to_one(tmp_path: Path) -> None:
    emit(tmp_path / NAME)
    source = open_source(tmp_path / NAME)
    assert not source.metadata.georeferenced
    assert source.metadata.crs is None
    assert "lookup table in the file (location/glt_x and glt_y)" in source.metadata.warnings[0]
    assert isinstance(source, EmitSource)
    assert source.glt is not None
    assert source.glt.grid.shape == (ROWS + 2, COLS + 1)
    assert source.glt.grid.crs == rasterio.CRS.from_epsg(4326)
    assert source.glt.grid.affine[:6] == (0.00054, 0.0, -116.5, 0.0, -0.00054, 32.86)
    assert source.glt.x.open(2**20)[0:1, 0:1].tolist() == [[1]]


def test_fill_is_nan_and_packed_samples_are_unpacked(tmp_path: Path) -> None:
    stored = numbered(dtype="i2")
    stored[:, 0, 1] = -9999
    emit(tmp_path / NAME, stored, scale_factor=1e-4, add_offset=0.5)
    read = read_all(open_source(tmp_path / NAME))
    assert np.isnan(read[:, 0, 1]).all()
    assert np.isnan(read).sum() == BANDS
    np.testing.assert_allclose(read[2, 3, 1], stored[2, 3, 1] * 1e-4 + 0.5, rtol=1e-6)


def test_without_a_fill_value_that_of_the_documentation_is_taken_and_said(tmp_path: Path) -> None:
    stored = numbered()
    stored[:, 4, 3] = -9999
    emit(tmp_path / NAME, stored)
    with h5py.File(tmp_path / NAME, "r+") as file:
        del file["reflectance"].attrs["_FillValue"]
    source = open_source(tmp_path / NAME)
    assert np.isnan(read_all(source)[:, 4, 3]).all()
    assert any("-9999" in line for line in source.metadata.assumed)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("wavelengths", "no wavelengths"),
        ("location", "no lookup table"),
        ("fwhm", None),
        ("good_wavelengths", None),
    ],
)
def test_what_is_missing_is_said_and_the_cube_is_right(tmp_path: Path, missing: str, said: str | None) -> None:
    cube = emit(tmp_path / NAME, without=[missing])
    source = open_source(tmp_path / NAME)
    np.testing.assert_array_equal(read_all(source), cube)
    assert said is None or any(said in line for line in source.metadata.warnings)
    assert source.metadata.good is not None
    assert source.metadata.good.all() == (missing == "good_wavelengths")


def test_wavelengths_of_another_number_are_set_aside(tmp_path: Path) -> None:
    cube = emit(tmp_path / NAME, without=["wavelengths"])
    with h5py.File(tmp_path / NAME, "r+") as file:
        file["sensor_band_parameters/wavelengths"] = np.linspace(400, 2400, BANDS + 1)
    source = open_source(tmp_path / NAME)
    np.testing.assert_array_equal(read_all(source), cube)
    assert source.metadata.wavelength is None
    assert any(f"{BANDS + 1} values of wavelength for {BANDS} bands" in line for line in source.metadata.warnings)


def test_another_array_of_the_file_is_named_by_variable_or_as_gdal_names_it(tmp_path: Path) -> None:
    path = tmp_path / NAME
    cube = emit(path)
    with h5py.File(path, "r+") as file:
        put(file, "reflectance_uncertainty", -file["reflectance"][()], ["downtrack", "crosstrack", "bands"])
    np.testing.assert_array_equal(read_all(open_source(path)), cube)
    for source in (
        open_source(path, reading=Reading(variable="reflectance_uncertainty")),
        open_source(f'NETCDF:"{path}":reflectance_uncertainty'),
        open_source(f"NETCDF:{path}:/reflectance_uncertainty"),
    ):
        np.testing.assert_array_equal(read_all(source), -cube)
    with pytest.raises(CubeError, match="no array 'nothing'; it holds reflectance, reflectance_uncertainty"):
        open_source(path, reading=Reading(variable="nothing"))


@pytest.mark.parametrize(("name", "what"), [("mask", "quality flags"), ("obs", "viewing geometry")])
def test_a_file_of_flags_or_angles_is_named_as_what_it_is(tmp_path: Path, name: str, what: str) -> None:
    emit(tmp_path / "x.nc", name=name)
    with pytest.raises(CubeError, match=f"{what} of EMIT .*not a cube; open the RFL or RAD file"):
        open_source(tmp_path / "x.nc")


def write_mask(path: Path, **flags: Any) -> None:
    """An EMIT mask file with flags at single pixels: ``cloud=(row, col)``, and bands that were made up."""
    names = ["Cloud flag", "Cirrus flag", "Water flag", "Spacecraft Flag", "Dilated Cloud Flag", "AOD550"]
    mask = np.zeros((ROWS, COLS, len(names)), dtype="f4")
    mask[..., 5] = 1.0
    mask[0, 0, :5] = -9999.0
    for place, key in enumerate(("cloud", "cirrus", "water", "spacecraft", "dilated")):
        if key in flags:
            mask[(*flags[key], place)] = 1
    made_up = np.zeros((ROWS, COLS, 8), dtype=bool)
    if "made_up" in flags:
        made_up[flags["made_up"]] = True
    with h5py.File(path, "w") as file:
        put(file, "mask", mask, ["downtrack", "crosstrack", "bands"], _FillValue=np.float32(-9999))
        packed = np.packbits(made_up, axis=2)
        put(file, "band_mask", packed, ["downtrack", "crosstrack", "packed"], _FillValue=np.uint8(241))
        file["sensor_band_parameters/mask_bands"] = names


@pytest.mark.parametrize(
    ("quality", "flag"), [("cloud", "cloud"), ("cirrus", "cirrus"), ("water", "water"), ("shadow", "dilated")]
)
def test_flags_of_the_mask_file_beside_become_nodata(tmp_path: Path, quality: str, flag: str) -> None:
    cube = emit(tmp_path / NAME)
    write_mask(tmp_path / NAME.replace("RFL", "MASK"), **{flag: (3, 2)})
    read = read_all(open_source(tmp_path / NAME, reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 3, 2]).all()
    assert np.isnan(read).sum() == BANDS
    np.testing.assert_array_equal(read[:, 0], cube[:, 0])
    np.testing.assert_array_equal(read_all(open_source(tmp_path / NAME)), cube)


def test_single_samples_that_were_made_up_become_nodata(tmp_path: Path) -> None:
    emit(tmp_path / NAME)
    write_mask(tmp_path / NAME.replace("RFL", "MASK"), made_up=(1, 3, 4))
    source = open_source(tmp_path / NAME, reading=Reading(quality=("defect",)))
    assert np.argwhere(np.isnan(read_all(source))).tolist() == [[4, 1, 3]]
    window = source.read(slice(1, 2), slice(2, 4), np.array([5, 4]))
    assert np.argwhere(np.isnan(window)).tolist() == [[1, 0, 1]]


def test_the_mask_file_is_found_for_radiance_and_another_version(tmp_path: Path) -> None:
    radiance = tmp_path / "EMIT_L1B_RAD_001_20220903T163129_2224611_012.nc"
    write_mask(tmp_path / "EMIT_L2A_MASK_002_20220903T163129.nc")
    assert find_mask_file(radiance) == tmp_path / "EMIT_L2A_MASK_002_20220903T163129.nc"
    write_mask(tmp_path / "EMIT_L2A_MASK_001_20220903T163129_2224611_012.nc")
    assert find_mask_file(radiance) == tmp_path / "EMIT_L2A_MASK_001_20220903T163129_2224611_012.nc"
    assert find_mask_file(tmp_path / "EMIT_L2A_RFL_001_20230101T000000_2224611_012.nc") is None


def test_a_flag_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    emit(tmp_path / NAME)
    with pytest.raises(CubeError, match=r"EMIT_L2A_MASK_\.\.\. of the same scene: put it next to"):
        open_source(tmp_path / NAME, reading=Reading(quality=("cloud",)))
    write_mask(tmp_path / NAME.replace("RFL", "MASK"))
    with pytest.raises(CubeError, match="no quality layer for 'snow'; it has cloud, cirrus, shadow, water, defect"):
        open_source(tmp_path / NAME, reading=Reading(quality=("cloud", "snow")))


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    emit(tmp_path / NAME, numbered(rows=ROWS + 1))
    write_mask(tmp_path / NAME.replace("RFL", "MASK"))
    with pytest.raises(CubeError, match="it belongs to another scene"):
        open_source(tmp_path / NAME, reading=Reading(quality=("cloud",)))


def test_the_user_has_the_last_word_on_the_band_axis(tmp_path: Path) -> None:
    cube = emit(tmp_path / NAME)
    source = open_source(tmp_path / NAME, reading=Reading(band_axis=0))
    np.testing.assert_array_equal(read_all(source), cube.transpose(1, 2, 0))
    with pytest.raises(CubeError, match="band axis 3"):
        open_source(tmp_path / NAME, reading=Reading(band_axis=3))


@pytest.mark.data
@pytest.mark.parametrize("name", ["two.nc", "full.nc"])
@pytest.mark.parametrize("form", ["{}", 'NETCDF:"{}":reflectance'])
def test_reported_files_come_out_right(data_dir: Path, name: str, form: str) -> None:
    source = open_source(form.format(data_dir / "reports" / "22b_emit_like" / name))
    read = read_all(source)
    assert (read[0, 0, 0], read[1, 2, 3], read[15, 20, 5]) == (1000, 1111, 1880)
    with h5py.File(data_dir / "reports" / "22b_emit_like" / name) as file:
        parameters = file["sensor_band_parameters"]
        np.testing.assert_array_equal(source.metadata.wavelength, parameters["wavelengths"][()])
        np.testing.assert_array_equal(source.metadata.good, parameters["good_wavelengths"][()] == 1)


def test_wavelengths_in_another_unit_than_said_are_mended_and_told(tmp_path: Path) -> None:
    emit(tmp_path / NAME, without=["wavelengths"])
    with h5py.File(tmp_path / NAME, "r+") as file:
        file["sensor_band_parameters/wavelengths"] = np.linspace(0.4, 2.4, BANDS)
        file["sensor_band_parameters/wavelengths"].attrs["units"] = "nm"
    known = open_source(tmp_path / NAME).metadata
    np.testing.assert_allclose(known.wavelength, np.linspace(400, 2400, BANDS))
    assert any("cannot be in nm, contrary to the file" in line for line in known.assumed)
