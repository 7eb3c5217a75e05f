"""NEON AOP: (line, sample, wavelength) of any site, scaled, placed by Map_Info, flags from ATCOR's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import BANDS, LEFT, TOP, WAVELENGTHS, neon, numbered, read_all


@pytest.mark.parametrize("site", ["SJER", "D17X", "a site"])
def test_any_site_is_read_and_scaled(tmp_path: Path, site: str) -> None:
    cube = neon(tmp_path / "x.h5", site=site)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_allclose(read_all(source), cube / 10000, rtol=1e-6)
    known = source.metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == list(WAVELENGTHS)
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [5.8] * BANDS
    # 1650 nm lies in a window that the file calls bad.
    assert known.good is not None
    assert known.good.tolist() == [wavelength != 1650 for wavelength in WAVELENGTHS]
    assert known.transform[:6] == (1.0, 0.0, LEFT, 0.0, -1.0, TOP)
    assert known.crs == rasterio.CRS.from_epsg(32612)
    assert known.warnings == ()


@pytest.mark.parametrize(
    ("map_info", "expected"),
    [
        ("UTM, 1, 1, 300000, 7000000, 0.5, 0.5, 55, South, WGS-84, units=Meters", (0.5, 0, 300000, 0, -0.5, 7000000)),
        ("{UTM, 1.5, 1.5, 300000.5, 7000000, 1, 2, 55, South, WGS-84}", (1, 0, 300000, 0, -2, 7000001)),
        ("UTM, 3, 2, 300000, 7000000, 1, 1, 55, South, WGS-84, rotation=90", (0, 1, 299999, 1, 0, 6999998)),
    ],
)
def test_map_info_places_the_cube_in_any_zone(tmp_path: Path, map_info: str, expected: tuple[float, ...]) -> None:
    neon(tmp_path / "x.h5", map_info=map_info, epsg=b"32755")
    known = open_source(tmp_path / "x.h5").metadata
    np.testing.assert_allclose(known.transform[:6], expected, atol=1e-9)
    assert known.crs == rasterio.CRS.from_epsg(32755)


@pytest.mark.parametrize("epsg", [b"32612", 32612, "32612", np.float64(32612)])
def test_the_epsg_code_may_be_text_or_a_number(tmp_path: Path, epsg: Any) -> None:
    neon(tmp_path / "x.h5", epsg=epsg)
    assert open_source(tmp_path / "x.h5").metadata.crs == rasterio.CRS.from_epsg(32612)


def test_the_text_of_the_coordinate_system_stands_in_for_the_code(tmp_path: Path) -> None:
    neon(tmp_path / "x.h5", epsg=None)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        wkt = rasterio.CRS.from_epsg(32735).to_wkt()
        file["SJER/Reflectance/Metadata/Coordinate_System/Coordinate_System_String"] = wkt
    assert open_source(tmp_path / "x.h5").metadata.crs == rasterio.CRS.from_epsg(32735)


def test_the_zone_of_map_info_stands_in_for_the_code_too(tmp_path: Path) -> None:
    neon(tmp_path / "x.h5", epsg=None)
    known = open_source(tmp_path / "x.h5").metadata
    assert known.crs == rasterio.CRS.from_epsg(32612)
    assert any("EPSG:32612 by the words of Map_Info" in line for line in known.assumed)


def test_a_code_that_contradicts_map_info_is_said(tmp_path: Path) -> None:
    neon(tmp_path / "x.h5", epsg=b"32611")
    known = open_source(tmp_path / "x.h5").metadata
    assert known.crs == rasterio.CRS.from_epsg(32611)
    assert any("Map_Info says EPSG:32612, but the file says EPSG:32611" in line for line in known.warnings)


def test_fill_is_nan_and_other_negative_values_are_data(tmp_path: Path) -> None:
    stored = numbered(dtype="i2")
    stored[:, 2, 1] = -9999
    stored[4, 0, 0] = -100
    neon(tmp_path / "x.h5", stored)
    read = read_all(open_source(tmp_path / "x.h5"))
    assert np.argwhere(np.isnan(read)).tolist() == [[band, 2, 1] for band in range(BANDS)]
    np.testing.assert_allclose(read[4, 0, 0], -0.01, rtol=1e-6)


def test_what_the_file_leaves_out_is_taken_from_the_documentation_and_said(tmp_path: Path) -> None:
    stored = numbered(dtype="i2")
    stored[:, 2, 1] = -9999
    neon(tmp_path / "x.h5", stored, without=["Scale_Factor", "Data_Ignore_Value", "Dimension_Labels"])
    source = open_source(tmp_path / "x.h5")
    read = read_all(source)
    assert np.isnan(read[:, 2, 1]).all()
    np.testing.assert_allclose(read[0, 0, 0], 0.1, rtol=1e-6)
    assert len(source.metadata.assumed) == 2


def test_without_wavelengths_and_place_the_cube_is_right_and_both_are_said(tmp_path: Path) -> None:
    cube = neon(tmp_path / "x.h5", map_info="lost", epsg=None, without=["Spectral_Data"])
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_allclose(read_all(source), cube / 10000, rtol=1e-6)
    assert not source.metadata.georeferenced
    said = " ".join(source.metadata.warnings)
    assert all(what in said for what in ("no wavelengths", "of the 7 items", "no coordinate reference system"))


@pytest.mark.parametrize(
    ("quality", "value"), [("cloud", 15), ("cirrus", 18), ("shadow", 21), ("snow", 7), ("haze", 11), ("saturation", 6)]
)
def test_classes_of_atcor_become_nodata(tmp_path: Path, quality: str, value: int) -> None:
    neon(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["SJER/Reflectance/Metadata/Ancillary_Imagery/Haze_Cloud_Water_Map"][4, 3] = value
    read = read_all(open_source(tmp_path / "x.h5", reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 4, 3]).all()
    assert np.isnan(read).sum() == BANDS


def test_without_that_layer_a_flag_is_refused(tmp_path: Path) -> None:
    neon(tmp_path / "x.h5", without=["Haze_Cloud_Water_Map"])
    with pytest.raises(CubeError, match=r"no quality layer for 'cloud'; it has none .*Haze_Cloud_Water_Map"):
        open_source(tmp_path / "x.h5", reading=Reading(quality=("cloud",)))


@pytest.mark.data
def test_the_reported_file_comes_out_right(data_dir: Path) -> None:
    source = open_source(data_dir / "reports" / "23_neon" / "neon.h5")
    assert source.shape == (16, 30, 24)
    read = read_all(source)
    np.testing.assert_allclose([read[0, 0, 0], read[1, 2, 3], read[15, 20, 5]], [0.1, 0.1111, 0.188], rtol=1e-6)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength[[0, -1]].tolist() == [450, 2200]
    assert source.metadata.transform[:6] == (1, 0, 500000, 0, -1, 4000000)
    assert source.metadata.crs == rasterio.CRS.from_epsg(32612)


@pytest.mark.parametrize(
    ("map_info", "words"),
    [
        ("UTM, 1, 1, nan, 4000000, 1, 1, 12, North, WGS-84", "contains 'nan' where a number is expected"),
        ("UTM, 1, 1, 500000, 4000000, 1, -1, 12, North, WGS-84", "rows or columns run in the opposite direction"),
        ("UTM, 1, 1, 500000, 4000000, 1, 1, 12, North, WGS-84, units=Feet", "Map_Info says"),
    ],
)
def test_what_is_odd_in_map_info_is_said(tmp_path: Path, map_info: str, words: str) -> None:
    neon(tmp_path / "x.h5", map_info=map_info)
    known = open_source(tmp_path / "x.h5").metadata
    assert any(words in line for line in known.warnings), known.warnings
    assert np.isfinite(known.transform[:6]).all()


def test_names_of_axes_that_the_wavelengths_contradict_are_refused(tmp_path: Path) -> None:
    cube = neon(tmp_path / "x.h5", Dimension_Labels="Wavelength, Line, Sample")
    with pytest.raises(
        CubeError, match=r"called wavelength, line, sample, and there are 6 wavelengths; .* --band-axis"
    ):
        open_source(tmp_path / "x.h5")
    np.testing.assert_allclose(
        read_all(open_source(tmp_path / "x.h5", reading=Reading(band_axis=2))), cube / 10000, rtol=1e-6
    )
