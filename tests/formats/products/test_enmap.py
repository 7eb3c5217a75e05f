"""EnMAP: by folder, XML or image; bands and scaling from the XML; each detector of L1B by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import (
    BANDS,
    COLS,
    EPSG,
    LEFT,
    ROWS,
    TOP,
    enmap,
    enmap_xml,
    numbered,
    read_all,
    write_tiff,
)

STEM = "ENMAP01-____L1B-DT000400126_20170218T110115Z_002_V000204_20200206T182719Z"


def find(folder: Path, ending: str) -> Path:
    return next(file for file in folder.iterdir() if file.name.endswith(ending))


@pytest.mark.parametrize("level", ["L1C", "L2A"])
@pytest.mark.parametrize("given", ["", "-METADATA.XML", "-SPECTRAL_IMAGE.TIF"])
def test_bands_and_scaling_come_from_the_xml(tmp_path: Path, level: str, given: str) -> None:
    cube = enmap(tmp_path / "scene", level)
    source = open_source(find(tmp_path / "scene", given) if given else tmp_path / "scene")
    np.testing.assert_allclose(read_all(source), cube / 10000, rtol=1e-6)
    known = source.metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [420.5 + 10 * band for band in range(BANDS)]
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [6.5 + band for band in range(BANDS)]
    assert known.transform[:6] == (30, 0, LEFT, 0, -30, TOP)
    assert known.crs == rasterio.CRS.from_epsg(EPSG)
    assert known.driver == "EnMAP"


def test_a_cog_is_an_image_too(tmp_path: Path) -> None:
    cube = enmap(tmp_path)
    image = find(tmp_path, "SPECTRAL_IMAGE.TIF")
    image.rename(image.with_name(image.name.replace(".TIF", "_COG.TIF")))
    np.testing.assert_allclose(read_all(open_source(tmp_path)), cube / 10000, rtol=1e-6)


@pytest.mark.parametrize(("level", "fill"), [("L1C", 0), ("L2A", -32768)])
@pytest.mark.parametrize("declared", [True, False])
def test_fill_is_nan_whether_declared_or_not(tmp_path: Path, level: str, fill: int, declared: bool) -> None:
    enmap(tmp_path, level)
    stored = numbered(dtype="i2")
    stored[:, 1, 1] = fill
    write_tiff(find(tmp_path, "SPECTRAL_IMAGE.TIF"), stored, **({"nodata": fill} if declared else {}))
    source = open_source(tmp_path)
    read = read_all(source)
    assert np.isnan(read[:, 1, 1]).all()
    assert np.isnan(read).sum() == BANDS
    assert any("no fill value in the image" in line for line in source.metadata.assumed) != declared


def test_an_xml_of_other_bands_is_set_aside(tmp_path: Path) -> None:
    cube = enmap(tmp_path)
    enmap_xml(find(tmp_path, "METADATA.XML"), BANDS + 3)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(read_all(source), cube)
    assert source.metadata.wavelength is None
    assert any(f"describes {BANDS + 3} bands, but the image has {BANDS}" in line for line in source.metadata.warnings)


def level_1b(folder: Path, vnir: int = 2, swir: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two images that a corner fit places in degrees, as in the product."""
    cubes = numbered(vnir, dtype="u2"), numbered(swir, dtype="u2") + np.uint16(500)
    for name, cube in zip(("VNIR", "SWIR"), cubes, strict=True):
        write_tiff(folder / f"{STEM}-SPECTRAL_IMAGE_{name}.TIF", cube, epsg=4326, size=0.0003)
    enmap_xml(
        folder / f"{STEM}-METADATA.XML", vnir + swir, gain=[0.1 * (i + 1) for i in range(vnir + swir)], offset=-1.0
    )
    return cubes


@pytest.mark.parametrize(("name", "first"), [("VNIR", 0), ("SWIR", 2)])
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_detector_of_level_1b_has_its_own_bands_and_no_place(
    tmp_path: Path, name: str, first: int, by_variable: bool
) -> None:
    cubes = dict(zip(("VNIR", "SWIR"), level_1b(tmp_path), strict=True))
    if by_variable:
        source = open_source(tmp_path, reading=Reading(variable=name.lower()))
    else:
        source = open_source(tmp_path / f"{STEM}-SPECTRAL_IMAGE_{name}.TIF")
    gains = 0.1 * (first + 1 + np.arange(len(cubes[name])))
    np.testing.assert_allclose(read_all(source), cubes[name] * gains[:, None, None] - 1, rtol=1e-5)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength[0] == 420.5 + 10 * first
    assert not source.metadata.georeferenced
    assert "in sensor geometry" in source.metadata.warnings[0]


def test_detectors_of_level_1b_are_joined_only_where_asked_for(tmp_path: Path) -> None:
    level_1b(tmp_path)
    with pytest.raises(CubeError, match="not co-registered; name one with --variable VNIR"):
        open_source(tmp_path)
    source = open_source(tmp_path, reading=Reading(variable="VNIR+SWIR"))
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [420.5, 430.5, 440.5, 450.5, 460.5]
    parts = [read_all(open_source(tmp_path, reading=Reading(variable=name))) for name in ("VNIR", "SWIR")]
    np.testing.assert_array_equal(read_all(source), np.concatenate(parts))
    assert any("mix neighbouring pixels" in line for line in source.metadata.warnings)


def add_layer(folder: Path, name: str, value: int, bands: int = 1) -> None:
    """A quality layer with a value at row 2, column 3, in the last of its bands."""
    image = next(f for f in folder.iterdir() if "SPECTRAL_IMAGE" in f.name)
    flags = np.zeros((bands, ROWS, COLS), dtype="u1")
    flags[-1, 2, 3] = value
    write_tiff(folder / f"{image.name.partition('SPECTRAL_IMAGE')[0]}{name}.TIF", flags)


@pytest.mark.parametrize(
    ("quality", "layer", "value"),
    [
        ("cloud", "QL_QUALITY_CLOUD", 1),
        ("cirrus", "QL_QUALITY_CIRRUS", 3),
        ("shadow", "QL_QUALITY_CLOUDSHADOW", 1),
        ("water", "QL_QUALITY_CLASSES", 2),
        ("snow", "QL_QUALITY_SNOW", 1),
        ("haze", "QL_QUALITY_HAZE", 1),
    ],
)
def test_layers_mark_pixels(tmp_path: Path, quality: str, layer: str, value: int) -> None:
    enmap(tmp_path)
    add_layer(tmp_path, layer, value)
    read = read_all(open_source(tmp_path, reading=Reading(quality=(quality,))))
    assert np.isnan(read[:, 2, 3]).all()
    assert np.isnan(read).sum() == BANDS
    with pytest.raises(CubeError, match=f"no quality layer for 'saturation'; it has {quality}"):
        open_source(tmp_path, reading=Reading(quality=("saturation",)))


def test_the_pixel_mask_marks_samples(tmp_path: Path) -> None:
    enmap(tmp_path)
    add_layer(tmp_path, "QL_PIXELMASK", 1, BANDS)
    read = read_all(open_source(tmp_path, reading=Reading(quality=("defect",))))
    assert np.argwhere(np.isnan(read)).tolist() == [[BANDS - 1, 2, 3]]


def test_a_layer_of_another_size_is_refused(tmp_path: Path) -> None:
    enmap(tmp_path)
    stem = find(tmp_path, "METADATA.XML").name.removesuffix("METADATA.XML")
    write_tiff(tmp_path / f"{stem}QL_QUALITY_CLOUD.TIF", np.zeros((1, ROWS, COLS + 1), dtype="u1"))
    with pytest.raises(CubeError, match="download the product again"):
        open_source(tmp_path, reading=Reading(quality=("cloud",)))


def test_two_scenes_in_a_folder_are_told_apart_by_their_images(tmp_path: Path) -> None:
    enmap(tmp_path)
    enmap(tmp_path, "L1C")
    with pytest.raises(CubeError, match=r"2 scenes of EnMAP.*give the image of one"):
        open_source(tmp_path)
    assert open_source(find(tmp_path, "SPECTRAL_IMAGE.TIF")).shape == (BANDS, ROWS, COLS)


def test_a_scene_without_its_image_is_refused(tmp_path: Path) -> None:
    enmap(tmp_path)
    find(tmp_path, "SPECTRAL_IMAGE.TIF").unlink()
    with pytest.raises(CubeError, match="no SPECTRAL_IMAGE next to"):
        open_source(tmp_path)


@pytest.mark.data
def test_the_reported_product_comes_out_right(data_dir: Path) -> None:
    folder = data_dir / "reports" / "77_enmap"
    for given in (folder, next(folder.glob("*.TIF"))):
        source = open_source(given)
        assert source.metadata.wavelength is not None
        assert source.metadata.wavelength[[0, 1, -1]].tolist() == [450, 550, 2200]
        with rasterio.open(next(folder.glob("*.TIF"))) as dataset:
            np.testing.assert_allclose(read_all(source), dataset.read() / 10000, rtol=1e-6)
