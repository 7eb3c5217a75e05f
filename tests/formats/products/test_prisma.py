"""PRISMA: two cubes joined by wavelength, scaled each by itself, placed by the centres of corner pixels."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import COLS, EPSG, LEFT, ROWS, TOP, _prisma_cube, prisma, read_all


def test_cubes_are_joined_sorted_and_scaled(tmp_path: Path) -> None:
    vnir, swir = prisma(tmp_path / "x.he5")
    source = open_source(tmp_path / "x.he5")
    # 0 nm was not acquired, and SWIR at 950 nm lies within VNIR.
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [500.0, 700.0, 970.0, 990.0, 1600.0, 2200.0]
    assert source.metadata.fwhm is not None
    assert source.metadata.fwhm.tolist() == [11.5] * 3 + [10.5] * 3
    assert source.metadata.band_names == ("VNIR 3", "VNIR 2", "VNIR 1", "SWIR 3", "SWIR 2", "SWIR 1")
    expected = [vnir[:, 2] * (1.5 / 65535), vnir[:, 1] * (1.5 / 65535), vnir[:, 0] * (1.5 / 65535)]
    expected += [0.1 + swir[:, band] / 65535 for band in (2, 1, 0)]
    np.testing.assert_allclose(read_all(source), expected, rtol=1e-5)
    assert any("overlap from 950 to 970 nm: bands of VNIR are used" in line for line in source.metadata.assumed)


def test_level_1_is_radiance_by_factor_and_offset_in_the_sensors_geometry(tmp_path: Path) -> None:
    vnir, swir = prisma(tmp_path / "x.he5", level="1")
    source = open_source(tmp_path / "x.he5")
    read = read_all(source)
    np.testing.assert_allclose(read[0], vnir[:, 2] / 100, rtol=1e-6)
    np.testing.assert_allclose(read[5], swir[:, 0] / 50 - 2, rtol=1e-6)
    assert not source.metadata.georeferenced
    assert "in sensor geometry" in source.metadata.warnings[0]


def test_corners_are_centres_of_pixels(tmp_path: Path) -> None:
    prisma(tmp_path / "x.he5")
    known = open_source(tmp_path / "x.he5").metadata
    assert known.transform[:6] == (30.0, 0.0, LEFT, 0.0, -30.0, TOP)
    assert known.crs == rasterio.CRS.from_epsg(EPSG)


def test_corners_are_outer_ones_where_pixels_have_30_m_only_then(tmp_path: Path) -> None:
    prisma(
        tmp_path / "x.he5",
        Epsg_Code=np.int32(32733),
        Product_ULcorner_easting=LEFT,
        Product_ULcorner_northing=TOP,
        Product_LRcorner_easting=LEFT + 30 * COLS,
        Product_LRcorner_northing=TOP - 30 * ROWS,
    )
    known = open_source(tmp_path / "x.he5").metadata
    assert known.transform[:6] == (30.0, 0.0, LEFT, 0.0, -30.0, TOP)
    assert known.crs == rasterio.CRS.from_epsg(32733)
    assert any("outer corners" in line for line in known.assumed)


def test_a_pixel_that_is_0_throughout_is_nodata_and_a_single_0_is_not(tmp_path: Path) -> None:
    vnir, swir = _prisma_cube(100), _prisma_cube(20000)
    vnir[1, :, 2] = swir[1, :, 2] = 0
    vnir[3, 0, 1] = swir[4, 1, 1] = 0
    prisma(tmp_path / "x.he5", vnir=vnir, swir=swir)
    read = read_all(open_source(tmp_path / "x.he5"))
    assert np.isnan(read[:, 1, 2]).all()
    assert np.isnan(read).sum() == len(read)
    kept = read_all(open_source(tmp_path / "x.he5", reading=Reading(fill="none")))
    assert np.isfinite(kept).all()


def test_one_cube_alone_is_said_or_asked_for(tmp_path: Path) -> None:
    vnir, _ = prisma(tmp_path / "both.he5")
    prisma(tmp_path / "one.he5", without=["SWIR_Cube"])
    for source in (
        open_source(tmp_path / "one.he5"),
        open_source(tmp_path / "both.he5", reading=Reading(variable="VNIR_Cube")),
        open_source(tmp_path / "both.he5", reading=Reading(variable="vnir")),
        open_source(f'HDF5:"{tmp_path / "both.he5"}"://HDFEOS/SWATHS/PRS_L2D_HCO/Data_Fields/VNIR_Cube'),
    ):
        assert source.shape == (3, ROWS, COLS)
        np.testing.assert_allclose(read_all(source)[0], vnir[:, 2] * (1.5 / 65535), rtol=1e-5)
    assert any("only the VNIR cube" in line for line in open_source(tmp_path / "one.he5").metadata.warnings)
    with pytest.raises(CubeError, match="no cube 'PAN'; it holds VNIR and SWIR"):
        open_source(tmp_path / "both.he5", reading=Reading(variable="PAN"))


def test_without_wavelengths_all_bands_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    vnir, swir = prisma(tmp_path / "x.he5", without=["List_Cw_Vnir"])
    source = open_source(tmp_path / "x.he5")
    assert source.shape[0] == 8
    assert source.metadata.wavelength is None
    assert any("no wavelengths" in line for line in source.metadata.warnings)
    np.testing.assert_allclose(
        read_all(source)[[0, 7]], [vnir[:, 0] * (1.5 / 65535), 0.1 + swir[:, 3] / 65535], rtol=1e-5
    )


def test_without_scales_samples_stay_as_stored_and_that_is_said(tmp_path: Path) -> None:
    vnir, _ = prisma(tmp_path / "x.he5", without=["L2ScaleVnirMax", "Epsg_Code"])
    source = open_source(tmp_path / "x.he5")
    np.testing.assert_array_equal(read_all(source)[0], vnir[:, 2])
    assert any("no scale of VNIR" in line for line in source.metadata.warnings)
    assert source.metadata.crs is None


@pytest.mark.parametrize(
    ("level", "quality", "value"), [("2D", "saturation", 4), ("2D", "defect", 1), ("1", "saturation", 2)]
)
def test_the_error_matrices_mark_samples(tmp_path: Path, level: str, quality: str, value: int) -> None:
    prisma(tmp_path / "x.he5", level=level)
    kind = "SAT_ERR" if level == "1" else "L2_ERR"
    with h5py.File(tmp_path / "x.he5", "r+") as file:
        fields = file[f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields"]
        fields[f"VNIR_PIXEL_{kind}_MATRIX"][2, 1, 3] = value
        fields[f"SWIR_PIXEL_{kind}_MATRIX"][0, 0, 1] = value
        fields[f"SWIR_PIXEL_{kind}_MATRIX"][0, 1, 1] = 3
    read = read_all(open_source(tmp_path / "x.he5", reading=Reading(quality=(quality,))))
    # VNIR 2 is the second band by wavelength, SWIR 1 the last.
    assert np.argwhere(np.isnan(read)).tolist() == [[1, 2, 3], [5, 0, 1]]


@pytest.mark.parametrize(("quality", "layer", "value"), [("cloud", "Cloud_Mask", 1), ("water", "LandCover_Mask", 0)])
def test_layers_of_level_1_mark_pixels(tmp_path: Path, quality: str, layer: str, value: int) -> None:
    prisma(tmp_path / "x.he5", level="1")
    with h5py.File(tmp_path / "x.he5", "r+") as file:
        file[f"HDFEOS/SWATHS/PRS_L1_HCO/Data Fields/{layer}"][4, 3] = value
    read = read_all(open_source(tmp_path / "x.he5", reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 4, 3]).all()
    assert np.isnan(read).sum() == len(read)


def test_a_level_without_a_layer_lists_those_it_has(tmp_path: Path) -> None:
    prisma(tmp_path / "x.he5")
    with pytest.raises(CubeError, match="no quality layer for 'cloud'; it has saturation, defect"):
        open_source(tmp_path / "x.he5", reading=Reading(quality=("cloud",)))


def test_cubes_of_different_sizes_are_refused(tmp_path: Path) -> None:
    prisma(tmp_path / "x.he5", swir=_prisma_cube(1)[:-1])
    with pytest.raises(CubeError, match="different sizes"):
        open_source(tmp_path / "x.he5")


def test_a_list_of_another_length_is_set_aside(tmp_path: Path) -> None:
    prisma(tmp_path / "x.he5", swir_centres=[2200.0, 1600.0, 990.0, 950.0, 940.0, 930.0])
    source = open_source(tmp_path / "x.he5")
    assert source.shape == (8, ROWS, COLS)
    assert any("6 centres of SWIR for 4 bands: ignored" in line for line in source.metadata.warnings)


def test_a_list_as_long_as_another_axis_is_refused_since_it_contradicts_the_documentation(tmp_path: Path) -> None:
    prisma(tmp_path / "x.he5", vnir_centres=[500.0, 600.0, 700.0, 800.0, 900.0])
    with pytest.raises(
        CubeError, match="with 5 wavelengths, which do not fit axis 1, the documented band axis; specify it"
    ):
        open_source(tmp_path / "x.he5")
