"""DESIS: by folder, XML or image; a gain and an offset for each band; flags from the bands of QL_QUALITY-2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import BANDS, COLS, EPSG, LEFT, ROWS, TOP, desis, numbered, read_all, write_tiff


def find(folder: Path, ending: str) -> Path:
    return next(file for file in folder.iterdir() if file.name.endswith(ending))


@pytest.mark.parametrize("given", ["", "-METADATA.xml", "-SPECTRAL_IMAGE.tif"])
def test_each_band_has_its_own_scaling_in_the_order_of_its_number(tmp_path: Path, given: str) -> None:
    cube = desis(tmp_path / "scene")
    source = open_source(find(tmp_path / "scene", given) if given else tmp_path / "scene")
    number = np.arange(BANDS)[:, None, None]
    np.testing.assert_allclose(read_all(source), cube * 0.001 * (number + 1) + 0.5 * number, rtol=1e-6)
    known = source.metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [401.5 + 2.5 * band for band in range(BANDS)]
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [3.5 + band for band in range(BANDS)]
    assert known.transform[:6] == (30, 0, LEFT, 0, -30, TOP)
    assert known.crs == rasterio.CRS.from_epsg(EPSG)


def test_an_envi_header_beside_the_image_does_not_take_its_place(tmp_path: Path) -> None:
    desis(tmp_path)
    image = find(tmp_path, "SPECTRAL_IMAGE.tif")
    image.with_suffix(".hdr").write_text(f"ENVI\nsamples = {COLS}\nlines = {ROWS}\nbands = {BANDS}\nfile type = TIFF\n")
    assert open_source(image).metadata.driver == "DESIS"


def test_level_1b_is_in_the_sensors_geometry(tmp_path: Path) -> None:
    desis(tmp_path, "L1B", epsg=None)
    known = open_source(tmp_path).metadata
    assert not known.georeferenced
    assert [line for line in known.warnings if "geometry" in line or "transform" in line] == list(known.warnings[:1])


def test_fill_that_is_not_declared_is_that_of_the_documentation(tmp_path: Path) -> None:
    desis(tmp_path)
    stored = numbered(dtype="i2")
    stored[:, 1, 1] = -32768
    write_tiff(find(tmp_path, "SPECTRAL_IMAGE.tif"), stored)
    read = read_all(open_source(tmp_path))
    assert np.isnan(read[:, 1, 1]).all()
    assert np.isnan(read).sum() == BANDS


@pytest.mark.parametrize(
    ("quality", "band"),
    [("shadow", 0), ("snow", 2), ("haze", 3), ("haze", 4), ("cloud", 5), ("cloud", 6), ("water", 7)],
)
def test_bands_of_the_quality_image_mark_pixels(tmp_path: Path, quality: str, band: int) -> None:
    desis(tmp_path)
    flags = np.zeros((10, ROWS, COLS), dtype="u1")
    flags[1], flags[8:] = 1, 30
    flags[band, 4, 0] = 1
    stem = find(tmp_path, "METADATA.xml").name.removesuffix("METADATA.xml")
    write_tiff(tmp_path / f"{stem}QL_QUALITY-2.tif", flags)
    read = read_all(open_source(tmp_path, reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 4, 0]).all()
    assert np.isnan(read).sum() == BANDS


def test_without_that_image_a_flag_is_refused(tmp_path: Path) -> None:
    desis(tmp_path)
    with pytest.raises(CubeError, match="no quality layer for 'cloud'; it has none"):
        open_source(tmp_path, reading=Reading(quality=("cloud",)))
