"""Rasters through GDAL: every way to write wavelengths, and every way in which a file may disappoint."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.errors import CubeError, CubeNotFoundError, ReadError
from hadgeo.formats import open_source
from hadgeo.formats.source import Source

from .envi_files import numbered, write_envi


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def write_tiff(path: Path, cube: np.ndarray, **profile: Any) -> Path:
    place = {"crs": "EPSG:32633", "transform": Affine(4, 0, 500000, 0, -4, 4500000)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            **{
                "driver": "GTiff",
                "count": cube.shape[0],
                "height": cube.shape[1],
                "width": cube.shape[2],
                "dtype": cube.dtype.name,
                **place,
                **profile,
            },
        ) as dataset:
            dataset.write(cube)
    return path


def tag(path: Path, bands: list[dict[str, str]] | None = None, ns: str | None = None, **tags: str) -> Path:
    with rasterio.open(path, "r+") as dataset:
        if tags:
            dataset.update_tags(ns=ns, **tags)
        for number, fields in enumerate(bands or (), start=1):
            dataset.update_tags(number, ns=ns, **fields)
    return path


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"interleave": "pixel"},
        {"interleave": "band", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
        {"interleave": "pixel", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw", "predictor": 2},
        {"bigtiff": "YES"},
        {"driver": "COG", "blocksize": 128},
        {"driver": "PNG"},
    ],
)
def test_every_organisation_of_a_tiff_reads_alike(tmp_path: Path, profile: dict[str, Any]) -> None:
    cube = numbered(3, 40, 50, dtype="u2")
    source = open_source(write_tiff(tmp_path / "x.tif", cube, **profile))
    assert source.shape == cube.shape
    np.testing.assert_array_equal(read_all(source), cube)
    np.testing.assert_array_equal(source.read(slice(3, 30), slice(7, 21), np.array([2, 0])), cube[[2, 0], 3:30, 7:21])
    if "interleave" in profile:
        assert source.metadata.interleave == {"pixel": "bip", "band": "bsq"}[profile["interleave"]]


@pytest.mark.parametrize(
    ("ns", "dataset", "bands", "wavelength", "good"),
    [
        (None, {"wavelength": "{400, 500}", "wavelength_units": "nm", "bbl": "{0, 1}"}, None, [400, 500], [0, 1]),
        (None, {"wavelength": "0.4,0.5"}, None, [400, 500], [1, 1]),
        (
            "ENVI",
            {"wavelength": "400 500", "wavelength units": "Nanometers", "bbl": "1.0 0.0"},
            None,
            [400, 500],
            [1, 0],
        ),
        (None, {}, [{"wavelength": "0.4554", "wavelength_units": "um"}] * 2, [455.4, 455.4], [1, 1]),
        ("ENVI", {}, [{"wavelength": "4", "bbl": "0"}, {"wavelength": "5"}], [4000, 5000], [0, 1]),
        ("IMAGERY", {}, [{"CENTRAL_WAVELENGTH_UM": "0.4"}, {"CENTRAL_WAVELENGTH_UM": "0.5"}], [400, 500], [1, 1]),
        (None, {}, [{"wavelength": "400"}, {}], None, [1, 1]),
    ],
)
def test_wavelengths_in_tags(
    tmp_path: Path,
    ns: str | None,
    dataset: dict[str, str],
    bands: list[dict[str, str]] | None,
    wavelength: list[float] | None,
    good: list[int],
) -> None:
    known = open_source(tag(write_tiff(tmp_path / "x.tif", numbered(2)), bands, ns, **dataset)).metadata
    assert (None if known.wavelength is None else known.wavelength.tolist()) == wavelength
    assert known.good is not None
    assert known.good.tolist() == [bool(flag) for flag in good]


def test_exact_text_goes_before_rounded_tags(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(1))
    tag(path, [{"CENTRAL_WAVELENGTH_UM": "0.418", "FWHM_UM": "0.007"}], "IMAGERY")
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "band 1 (418.24 Nanometers)")
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [418.24]
    assert known.fwhm is not None
    assert known.fwhm.tolist() == [7.0]


def test_a_list_of_the_wrong_length_is_left_aside_and_names_both_counts(tmp_path: Path) -> None:
    path = tag(write_tiff(tmp_path / "x.tif", numbered(4)), wavelength="{400, 500}")
    known = open_source(path).metadata
    assert known.wavelength is None
    assert any("2 values of wavelength for 4 bands: ignored" in line for line in known.warnings)


def test_a_stale_side_file_does_not_hide_what_the_bands_say(tmp_path: Path) -> None:
    path = tag(write_tiff(tmp_path / "x.tif", numbered(2)), [{"wavelength": "400"}, {"wavelength": "500"}])
    Path(f"{path}.aux.xml").write_text(
        '<PAMDataset><Metadata><MDI key="wavelength">1,2,3</MDI></Metadata></PAMDataset>'
    )
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [400, 500]
    assert any("ignored" in line for line in known.warnings)


@pytest.mark.parametrize("holder", ["properties", "assets"])
def test_stac_side_files_are_in_micrometres(tmp_path: Path, holder: str) -> None:
    bands = {"eo:bands": [{"center_wavelength": 0.45, "full_width_half_max": 0.01}, {"center_wavelength": 0.5}]}
    item = {"properties": bands} if holder == "properties" else {"assets": {"a": {"href": "./x.tif", **bands}}}
    path = write_tiff(tmp_path / "x.tif", numbered(2))
    (tmp_path / "x.stac.json").write_text(json.dumps(item))
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [450, 500]
    assert known.fwhm is None
    (tmp_path / "x.stac.json").write_text("{")
    with pytest.raises(CubeError, match=r"x\.stac\.json: not a STAC item"):
        open_source(path)


def test_scale_offset_and_nodata_are_applied(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(2), nodata=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 2.0), (1.0, 0.0)
    expected = numbered(2) * np.array([0.5, 2.0]).reshape(2, 1, 1) + np.array([1.0, 0.0]).reshape(2, 1, 1)
    expected[numbered(2) == 3] = np.nan
    np.testing.assert_array_equal(read_all(open_source(path)), expected)


def test_fill_values_that_differ_keep_to_their_bands(tmp_path: Path) -> None:
    cube = numbered(2) % 7
    write_tiff(tmp_path / "x.tif", cube)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}"><NoDataValue>{fill}</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">x.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, fill in ((1, 3), (2, 5))
    )
    (tmp_path / "x.vrt").write_text(
        '<VRTDataset rasterXSize="6" rasterYSize="7"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>0,1,0,0,0,-1</GeoTransform>{bands}</VRTDataset>"
    )
    source = open_source(tmp_path / "x.vrt")
    assert source.metadata.nodata is None
    assert any("differs from band to band" in line for line in source.metadata.warnings)
    expected = np.stack([np.where(cube[0] == 3, np.nan, cube[0]), np.where(cube[1] == 5, np.nan, cube[1])])
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(source.read(slice(0, 7), slice(0, 6), np.array([1])), expected[1:])


def test_an_internal_mask_is_nodata(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(2))
    mask = np.full((7, 6), 255, dtype="u1")
    mask[2, 3] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    window = open_source(path).read(slice(2, 4), slice(3, 5))
    assert np.isnan(window).tolist() == [[[True, False], [False, False]]] * 2


HOLE = np.add.outer(np.arange(7), np.arange(6)) < 4


def with_alpha(path: Path, at: int, alpha: int = 255, dtype: str = "u2", **profile: Any) -> Path:
    """Four numbered bands, and at index `at` an alpha band that is 0 in the hole."""
    opaque = np.where(HOLE, 0, alpha).astype(dtype)
    cube = np.insert((numbered(4) + 1).astype(dtype), at, opaque, axis=0)
    write_tiff(path, cube, photometric="MINISBLACK", **profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.alpha if band == at else ColorInterp.undefined for band in range(5)]
    return path


def expected_in_hole(bands: int = 4) -> np.ndarray:
    return np.where(HOLE, np.nan, (numbered(bands) + 1).astype("f4"))


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_an_alpha_band_says_what_is_data_and_is_no_spectral_one(tmp_path: Path, at: int, interleave: str) -> None:
    source = open_source(with_alpha(tmp_path / "x.tif", at, interleave=interleave))
    assert source.shape == (4, 7, 6)
    np.testing.assert_array_equal(read_all(source), expected_in_hole())
    np.testing.assert_array_equal(
        source.read(slice(1, 4), slice(0, 5), np.array([3, 1])), expected_in_hole()[[3, 1], 1:4, :5]
    )
    np.testing.assert_array_equal(read_all(pickle.loads(pickle.dumps(source))), expected_in_hole())
    assert f"band {at + 1} is an alpha or mask band, not part of the spectrum" in source.metadata.assumed[0]
    assert source.metadata.good is not None
    assert source.metadata.good.size == 4
    (subset,) = read_all(open_source(source.path, [1]))
    np.testing.assert_array_equal(subset, expected_in_hole()[1])


def test_wavelengths_pass_an_alpha_band_by(tmp_path: Path) -> None:
    path = tag(with_alpha(tmp_path / "x.tif", 2), ns="ENVI", wavelength="{400, 500, 600, 700}", wavelength_units="nm")
    known = open_source(path).metadata
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [400, 500, 600, 700]


@pytest.mark.parametrize("nodata", [255, 0])
def test_an_alpha_band_that_holds_the_fill_value_says_the_same(tmp_path: Path, nodata: int) -> None:
    source = open_source(with_alpha(tmp_path / "x.tif", 4, nodata=nodata))
    np.testing.assert_array_equal(read_all(source), expected_in_hole())
    assert source.metadata.nodata == nodata


@pytest.mark.parametrize("colours", ["la", "rgba"])
def test_the_alpha_of_a_picture_is_no_band(tmp_path: Path, colours: str) -> None:
    bands = len(colours) - 1
    cube = np.append((numbered(bands) + 1).astype("u1"), np.where(HOLE, 0, 200).astype("u1")[None], axis=0)
    source = open_source(write_tiff(tmp_path / "x.png", cube, driver="PNG", crs=None, transform=None))
    np.testing.assert_array_equal(read_all(source), expected_in_hole(bands))


@pytest.mark.parametrize("inside", [True, False])
def test_a_mask_in_the_file_or_beside_it_is_nodata(tmp_path: Path, inside: bool) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(4) + 1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(~HOLE)
    assert (tmp_path / "x.tif.msk").exists() != inside
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), expected_in_hole())
    assert len(source.files) == 2 - inside


def test_a_mask_of_each_band_is_nodata_in_that_band(tmp_path: Path) -> None:
    write_tiff(tmp_path / "x.tif", numbered(2) + 1)
    write_tiff(tmp_path / "mask.tif", np.stack([~HOLE, HOLE]).astype("u1") * 255)
    simple = (
        "<SimpleSource><SourceFilename relativeToVRT='1'>{}</SourceFilename><SourceBand>{}</SourceBand></SimpleSource>"
    )
    bands = "".join(
        f"<VRTRasterBand dataType='Int16' band='{band}'>{simple.format('x.tif', band)}<MaskBand>"
        f"<VRTRasterBand dataType='Byte'>{simple.format('mask.tif', band)}</VRTRasterBand></MaskBand></VRTRasterBand>"
        for band in (1, 2)
    )
    (tmp_path / "x.vrt").write_text(f"<VRTDataset rasterXSize='6' rasterYSize='7'>{bands}</VRTDataset>")
    source = open_source(tmp_path / "x.vrt")
    expected = np.where(np.stack([HOLE, ~HOLE]), np.nan, numbered(2) + 1)
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.vrt", [1])), expected[1:])


def test_a_fill_value_for_each_band_that_only_masks_together_keeps_single_ones(tmp_path: Path) -> None:
    cube = numbered(2) + 1
    cube[:, HOLE] = [[3], [5]]
    cube[0, 6, 5] = 3
    path = tag(write_tiff(tmp_path / "x.tif", cube), NODATA_VALUES="3 5")
    np.testing.assert_array_equal(read_all(open_source(path)), np.where(HOLE, np.nan, cube))


@pytest.mark.parametrize("name", ["Mask", "valid mask", "dataMask", "alpha"])
@pytest.mark.parametrize("write", [write_tiff, write_envi])
def test_a_band_that_is_called_a_mask_is_one(tmp_path: Path, name: str, write: Any) -> None:
    cube = np.append(numbered(4) + 1, (~HOLE).astype("i2")[None], axis=0)
    names = ["b 1", "b 2", "b 3", "b 4", name]
    if write is write_envi:
        path = write(tmp_path / "x.img", cube, band_names="{" + ", ".join(names) + "}")
    else:
        path = write(tmp_path / "x.tif", cube)
        with rasterio.open(path, "r+") as dataset:
            dataset.descriptions = names
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), expected_in_hole())
    assert f"band 5 ({name}) is an alpha or mask band" in source.metadata.assumed[0]
    assert source.metadata.band_names == tuple(names[:4])


def test_a_band_of_codes_is_bad_and_no_mask(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(3))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ["red", "QA_PIXEL", "masked water"]
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), numbered(3))
    assert source.metadata.good is not None
    assert source.metadata.good.tolist() == [True, False, True]
    assert "band 2 (QA_PIXEL)" in source.metadata.assumed[0]


def test_a_file_of_masks_alone_is_no_cube(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered(1).astype("u1"))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ["mask"]
    with pytest.raises(CubeError, match=r"x\.tif: all of its bands are masks"):
        open_source(path)


def truncatable(path: Path) -> Path:
    """A TIFF with its directory first, as a COG is, so that a cut loses samples alone."""
    cube = np.random.default_rng(0).integers(0, 9999, (4, 200, 100)).astype("i2")
    return write_tiff(path, cube, driver="COG", blocksize=128, compress="deflate", overviews="NONE")


def test_a_truncated_tiff_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = truncatable(tmp_path / "x.tif")
    data = path.read_bytes()
    for length in (len(data) // 2, len(data) - 8):
        path.write_bytes(data[:length])
        with pytest.raises(CubeError, match=r"x\.tif: .* it was cut short; copy it again"):
            open_source(path)


def test_a_damaged_tiff_says_which_rows_are_lost(tmp_path: Path) -> None:
    path = truncatable(tmp_path / "x.tif")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(ReadError, match=r"x\.tif: rows 0 to 199 cannot be read .*copy it again") as caught:
        source.read(slice(0, 200), slice(0, 100))
    assert "\n" not in str(caught.value)


def test_no_place_is_told_without_a_warning_of_rasterio(tmp_path: Path) -> None:
    known = open_source(write_tiff(tmp_path / "x.tif", numbered(2), crs=None, transform=None)).metadata
    assert not known.georeferenced
    assert known.crs is None
    assert len([line for line in known.warnings if "coordinate" in line]) == 2


@pytest.mark.parametrize("steps", [(2, 4, 1, 2), (float("nan"), 0, 0, -4), (float("inf"), 0, 0, -4)])
def test_a_transform_that_leaves_pixels_no_area_is_no_place(
    steps: tuple[float, float, float, float], tmp_path: Path
) -> None:
    a, b, d, e = steps
    path = write_tiff(tmp_path / "flat.tif", numbered(bands=4), transform=Affine(a, b, 5e5, d, e, 4.5e6))
    metadata = open_source(path).metadata
    assert not metadata.georeferenced
    assert any("degenerate transform (pixels without area)" in line for line in metadata.warnings)


def test_names_that_are_no_files_go_to_gdal(tmp_path: Path) -> None:
    cube = numbered()
    write_envi(tmp_path / "x.img", cube, interleave="bip", reflectance_scale_factor=2, bbl="{1,1,0,1,1}")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.img", "x.img")
        archive.write(tmp_path / "x.img.hdr", "x.img.hdr")
    source = open_source(f"/vsizip/{tmp_path}/x.zip/x.img")
    np.testing.assert_array_equal(read_all(source), cube / 2)
    assert source.metadata.good is not None
    assert source.metadata.good.tolist() == [True, True, False, True, True]
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength[-1] == 440
    assert source.files == ()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nothing.tif", CubeNotFoundError, "no such file"),
        ("", CubeError, "a folder, not a cube"),
        ("text.tif", CubeError, "not a raster that GDAL can open"),
        ("text.hdr", CubeError, "not an ENVI header"),
        ("text.mat", CubeError, "not a readable MATLAB file"),
        ("text.img", CubeNotFoundError, r"put text\.img\.hdr or text\.hdr next to it"),
        ("complex.tif", CubeError, "samples are complex"),
        ("link.tif", CubeNotFoundError, "a broken link"),
        ("/vsizip/nothing.zip/x.tif", CubeError, "not a raster that GDAL can open"),
        ('NETCDF:"nothing.nc":x', CubeError, "not a raster that GDAL can open"),
    ],
)
def test_unusable_files_say_so_in_one_line(tmp_path: Path, name: str, kind: type[CubeError], message: str) -> None:
    for text in ("text.tif", "text.hdr", "text.mat", "text.img"):
        (tmp_path / text).write_text("no cube at all")
    write_tiff(tmp_path / "complex.tif", np.ones((2, 3, 3), dtype="complex64"))
    (tmp_path / "link.tif").symlink_to("nowhere.tif")
    path = name if name.startswith(("/vsi", "NETCDF")) else str(tmp_path / name)
    with pytest.raises(kind, match=message) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert path.rstrip("/") in str(caught.value)


def test_a_worker_that_may_not_open_it_says_so(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", numbered())
    sent = pickle.dumps(open_source(path))
    path.rename(tmp_path / "y.tif")
    with pytest.raises(ReadError, match=r"x\.tif: cannot be opened again .*the permissions or settings") as caught:
        pickle.loads(sent).read(slice(0, 2), slice(0, 2))
    assert "\n" not in str(caught.value)


def test_many_threads_and_a_pickle_read_the_same(tmp_path: Path) -> None:
    cube = numbered(20, 64, 64)
    source = open_source(write_tiff(tmp_path / "x.tif", cube, tiled=True, blockxsize=16, blockysize=16))
    read_all(source)
    again = pickle.loads(pickle.dumps(source))
    rows = [slice(i, i + 3) for i in range(60)] * 4
    with ThreadPoolExecutor(8) as pool:
        windows = list(pool.map(lambda r: again.read(r, slice(5, 20)), rows))
    for row, window in zip(rows, windows, strict=True):
        np.testing.assert_array_equal(window, cube[:, row, 5:20])


def test_bands_of_several_types_are_read_as_the_one_that_holds_them_all(tmp_path: Path) -> None:
    cube = numbered(3).astype("u2") + 300
    write_tiff(tmp_path / "cube.tif", cube)
    write_tiff(tmp_path / "alpha.tif", np.where(HOLE, 0, 255).astype("u1")[None])
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">{colour}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{source}</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for number, (kind, colour, name, source) in enumerate(
            [
                *(("UInt16", "", "cube.tif", band) for band in (1, 2, 3)),
                ("Byte", "<ColorInterp>Alpha</ColorInterp>", "alpha.tif", 1),
            ],
            start=1,
        )
    )
    rows, cols = cube.shape[1:]
    (tmp_path / "x.vrt").write_text(f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}">{bands}</VRTDataset>')
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.vrt")), np.where(HOLE, np.nan, cube))
