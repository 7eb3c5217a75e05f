"""Cubes: every real file opens as it should, lazily, and a window costs what it holds."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from hadgeo.cube import ArraySource, open_cube, source_of
from hadgeo.errors import BandError, CubeError, CubeNotFoundError, CubeWarning
from hadgeo.formats import read_truth
from hadgeo.formats.envi import EnviSource
from hadgeo.formats.source import Source
from tests.formats.envi_files import numbered, write_envi

ROTATED = "{UTM, 1, 1, 277811.628, 4483607.425, 3.1, 3.1, 13, North, WGS-84, units=Meters, rotation=53}"

ANG_2014 = (1.86562657177135, 2.475770081146608, 277811.628, 2.475770081146608, -1.86562657177135, 4483607.425)
ANG_2015 = (1.0981889363046606, -2.4665727356350224, 736600.089, -2.4665727356350224, -1.0981889363046606, 4078126.75)
F0807 = (14.612506996689232, -7.445444195728566, 663139.01, -7.445444195728566, -14.612506996689232, 4406866.6)
DEGREES = (0.25, 0, 0, 0, -0.25, 0)


@dataclass(frozen=True)
class Expected:
    """What a file holds, from its header's text, GDAL and NumPy, never from hadgeo.

    Attributes:
        file: Below the data folder.
        shape: Bands, rows, columns.
        dtype: Decoded.
        epsg: Coordinate reference system.
        transform: The six numbers of the affine.
        ends: First and last wavelength in nm.
        good: Number of good bands.
        nodata: Number of samples that are nodata.
    """

    file: str
    shape: tuple[int, int, int]
    dtype: str = "f4"
    epsg: int | None = None
    transform: tuple[float, ...] | None = None
    ends: tuple[float, float] | None = None
    good: int | None = None
    nodata: int = 0


FILES = [
    Expected("geo/sandiego_aviris1_utm11_nad27.tif", (189, 100, 100), epsg=26711,
             transform=(3.5, 0, 480710.9, 0, -3.5, 3618830.5), ends=(429.410004, 2470.459961)),
    Expected("geo/SDData", (189, 90, 90), epsg=26711,
             transform=(3.5, 0, 480805.4, 0, -3.5, 3618830.5), ends=(429.410004, 2470.459961)),
    Expected("geo/SDData.hdr", (189, 90, 90), epsg=26711,
             transform=(3.5, 0, 480805.4, 0, -3.5, 3618830.5), ends=(429.410004, 2470.459961)),
    Expected("geo/enmap_potsdam_block_128x64.tif", (224, 64, 128), epsg=32633,
             transform=(30, 0, 365055, 0, -30, 5807085), ends=(418.24, 2445.53), good=218, nodata=6 * 64 * 128),
    Expected("geo/enmap_potsdam_mosaic_160x192.tif", (224, 192, 160), epsg=32633,
             transform=(30, 0, 364095, 0, -30, 5809965), ends=(418.24, 2445.53), good=218, nodata=2863104),
    Expected("geo/EnMAP_BerlinUrbanGradient.bsq", (177, 80, 60), epsg=32633,
             transform=(30, 0, 383472.37, 0, -30, 5818302.35), ends=(460, 2409)),
    Expected("geo/HyMap02_Berlin_Urban_Gradient_2009.bsq", (111, 100, 67), epsg=32633,
             transform=(9, 0, 383851.349, 0, -9, 5819308.225), ends=(455.4, 2446.5)),
    Expected("geo/sandiego_aviris1_gtGCL.tif", (1, 100, 100), epsg=26711,
             transform=(3.5, 0, 480710.9, 0, -3.5, 3618830.5)),
    Expected("geo/SDDataGt.bmp", (1, 90, 90)),
    Expected("odd/ang20140912t192359_corr_v1c_img_2580-2590_540-550.img", (432, 10, 10), epsg=32613,
             transform=ANG_2014, ends=(346.2995778, 2505.0363678), good=373),
    Expected("odd/ang20140912t192359_corr_v1c_img_400-410_10-20.img", (432, 10, 10), epsg=32613,
             transform=ANG_2014, ends=(346.2995778, 2505.0363678), good=373, nodata=43200),
    Expected("odd/ang20150422t163638_corr_v1e_img_4000-4010_550-560.img", (432, 10, 10), epsg=32612,
             transform=ANG_2015, ends=(346.2995778, 2505.0363678), good=373, nodata=25920),
    Expected("odd/ang20150422t163638_corr_v1e_img_987_654.img", (432, 1, 1), epsg=32612,
             transform=ANG_2015, ends=(346.2995778, 2505.0363678), good=373),
    Expected("odd/f080702t01p00r08rdn_c_sc01_ort_img_123_456.img", (224, 1, 1), epsg=32617,
             transform=F0807, ends=(365.9298, 2497.036)),
    Expected("odd/NEON_D01_HARV_DP3_726000_4699000_reflectance_crop.tif", (426, 40, 40),
             transform=(1, 0, 726491, 0, -1, 4699078.4)),
    Expected("odd/HYDICE1_162_AutoAD_v73.mat", (162, 80, 100), "f8"),
    Expected("odd/HYDICE_174_lzw.mat", (174, 80, 100), "f8"),
    Expected("odd/MUUFL_an_hsi_image_sub_for_demo.mat", (72, 51, 88), ends=(367.700012, 1043.400024), nodata=43488),
    Expected("odd/enmap.tif", (177, 7, 10), epsg=32633,
             transform=(30, 0, 384342.37, 0, -30, 5818392.35), ends=(460, 2409)),
    Expected("odd/hymap.tif", (3, 58, 83), epsg=32633, transform=(3.6, 0, 384341.17, 0, -3.6, 5818393.55), nodata=1),
    Expected("odd/enmapbox_envidomain_bandlevel.tif", (2, 2, 5), "f8", 4326, DEGREES, (400, 500), good=1),
    Expected("odd/enmapbox_envidomain_dslevel.tif", (2, 2, 5), "f8", 4326, DEGREES, (400, 500), good=1),
    Expected("odd/envi_wl_fwhm.bsq", (2, 2, 5), "f8", 4326, DEGREES, (400, 500), good=1),
    Expected("odd/envi_wl_implicit_nm.bsq", (2, 2, 5), "f8", 4326, DEGREES, (400, 500)),
    Expected("odd/envi_wl_implicit_um.bsq", (2, 2, 5), "f8", 4326, DEGREES, (400, 500)),
    Expected("odd/gdal_no_info.tif", (2, 2, 5), "f8", 4326, DEGREES),
    Expected("odd/gdal_wl_fwhm.tif", (2, 2, 5), "f8", 4326, DEGREES, (400, 500)),
    Expected("odd/gdal_wl_only.tif", (2, 2, 5), "f8", 4326, DEGREES, (400, 500)),
    Expected("odd/staclike.tif", (2, 2, 5), "f8", 4326, DEGREES, (4000, 5000)),
    Expected("truth/abu-airport-1.mat", (205, 100, 100)),
    Expected("truth/abu-airport-2.mat", (205, 100, 100)),
    Expected("truth/abu-beach-1.mat", (188, 150, 150)),
    Expected("truth/abu-beach-2.mat", (193, 100, 100)),
    Expected("truth/abu-urban-1.mat", (204, 100, 100)),
    Expected("truth/abu-urban-3.mat", (191, 100, 100)),
    Expected("truth/HYDICE_norm_ScoreAD.mat", (162, 100, 80), "f8"),
    Expected("truth/HYDICE-II_BS3LNet.mat", (162, 80, 60)),
]  # fmt: skip

TRUTHS = {
    "truth/abu-airport-1.mat": 144,
    "truth/abu-airport-2.mat": 87,
    "truth/abu-beach-1.mat": 19,
    "truth/abu-beach-2.mat": 202,
    "truth/abu-urban-1.mat": 67,
    "truth/abu-urban-3.mat": 52,
    "truth/HYDICE_norm_ScoreAD.mat": 19,
    "truth/HYDICE-II_BS3LNet.mat": 10,
    "odd/HYDICE1_162_AutoAD_v73.mat": 17,
    "odd/HYDICE_174_lzw.mat": 21,
    "geo/sandiego_aviris1_gtGCL.tif": 58,
    "geo/SDDataGt.bmp": 77,
}

SIDE_FILES = {".hdr", ".xml", ".json", ".md"}


def open_quietly(path: Path, **options: Any) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)
        return open_cube(path, **options)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Bytes of every window read from raw files."""
    sizes: list[int] = []
    read = EnviSource.read

    def count(self: EnviSource, *args: Any) -> Any:
        window = read(self, *args)
        sizes.append(window.nbytes)
        return window

    monkeypatch.setattr(EnviSource, "read", count)
    return sizes


@pytest.mark.data
@pytest.mark.parametrize("expected", FILES, ids=lambda e: e.file)
def test_every_real_file_opens_as_it_should(data_dir: Path, expected: Expected) -> None:
    cube = open_quietly(data_dir / expected.file)
    assert cube.dims == ("band", "y", "x")
    assert cube.shape == expected.shape
    assert cube.dtype == expected.dtype
    assert cube.rio.crs == (None if expected.epsg is None else CRS.from_epsg(expected.epsg))
    metadata = source_of(cube).metadata
    assert metadata.georeferenced == (expected.transform is not None)
    if expected.transform is not None:
        assert cube.rio.transform() == Affine(*expected.transform)
        assert ("x" in cube.coords) == (expected.transform[1] == 0)
    assert ("wavelength" in cube.coords) == (expected.ends is not None)
    if expected.ends is not None:
        assert tuple(cube.wavelength.values[[0, -1]]) == expected.ends
        assert cube.wavelength.dtype == np.float64
    assert int(cube.good.sum()) == (expected.good or expected.shape[0])
    values = cube.values
    assert int(np.isnan(values).sum()) == expected.nodata
    assert not np.isinf(values).any()


@pytest.mark.data
def test_the_table_of_real_files_is_complete(data_dir: Path) -> None:
    found = {
        file.relative_to(data_dir).as_posix()
        for folder in ("geo", "odd", "truth")
        for file in (data_dir / folder).iterdir()
        if file.suffix not in SIDE_FILES
    }
    assert found <= {expected.file for expected in FILES}


@pytest.mark.data
@pytest.mark.parametrize(
    "file", [e.file for e in FILES if e.file.startswith(("geo", "odd")) and "mat" not in e.file[-3:]]
)
def test_values_are_those_of_gdal(data_dir: Path, file: str) -> None:
    path = data_dir / file
    cube = open_quietly(path)
    name = path.with_suffix("") if path.suffix == ".hdr" else path
    with warnings.catch_warnings(), rasterio.Env(CPL_VSIL_GZIP_WRITE_PROPERTIES="NO"):
        warnings.simplefilter("ignore")
        with rasterio.open(name) as dataset:
            stored = dataset.read()
    values = cube.values
    known = np.isfinite(values)
    np.testing.assert_array_equal(values[known], stored[known])


@pytest.mark.data
@pytest.mark.parametrize(("file", "targets"), TRUTHS.items())
def test_every_real_truth_has_its_targets(data_dir: Path, file: str, targets: int) -> None:
    truth = read_truth(data_dir / file)
    assert truth.dtype == np.bool_
    assert int(truth.sum()) == targets
    assert truth.shape == open_quietly(data_dir / file).shape[1:]


@pytest.mark.data
def test_reading_leaves_nothing_beside_the_data(data_dir: Path) -> None:
    before = sorted((data_dir / "geo").iterdir())
    _ = open_quietly(data_dir / "geo/EnMAP_BerlinUrbanGradient.bsq").values
    assert sorted((data_dir / "geo").iterdir()) == before


def test_opening_reads_no_windows_but_single_pixels_in_the_corners(tmp_path: Path, counted: list[int]) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), data_ignore_value=-1)

    def no_compute(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=no_compute):
        cube = open_cube(path)
        cube.isel(y=slice(0, 2)).rio.transform()
        source_of(cube)
        repr(cube)
    # Some of the bands of a pixel in each corner, to see whether the named fill value is the right one.
    assert len(counted) <= 4
    assert sum(counted) <= 4 * 4 * 4


def test_a_window_costs_its_own_bytes(tmp_path: Path, counted: list[int]) -> None:
    cube = np.zeros((4, 1200, 1100), dtype="i2")
    path = write_envi(tmp_path / "x.img", cube, interleave="bip", data_ignore_value=-1)
    opened = open_cube(path, chunks=(4, 200, 1100))
    halo = 7
    window = opened.isel(y=slice(300 - halo, 812 + halo), x=slice(300 - halo, 812 + halo))
    own = 4 * 512 * 512 * 4
    for read in (lambda: window.values, lambda: source_of(opened).read(slice(293, 819), slice(293, 819))):
        counted.clear()
        assert read().shape == (4, 526, 526)
        assert own < sum(counted) <= 1.15 * own


@pytest.mark.parametrize("chunks", ["auto", (2, 3, 4), -1])
def test_slices_of_every_kind_are_the_numbers_of_the_file(tmp_path: Path, chunks: Any) -> None:
    cube = numbered(6, 9, 8)
    opened = open_cube(write_envi(tmp_path / "x.img", cube, interleave="bil"), chunks=chunks)
    keys: list[tuple[Any, ...]] = [
        (slice(None), slice(None), slice(None)),
        (3, slice(2, 7), slice(1, 5)),
        (slice(None), 4, 5),
        (-1, -2, -3),
        ([4, 1, 0], slice(1, 3), slice(None)),
        (slice(None), [8, 2, 2], slice(None)),
        (slice(0, 6, 2), slice(8, 0, -3), slice(1, 8, 4)),
        (slice(None), slice(3, 3), slice(None)),
    ]
    for key in keys:
        np.testing.assert_array_equal(opened[key].values, cube[key], err_msg=str(key))
    np.testing.assert_array_equal(opened.mean(("y", "x")).values, cube.mean((1, 2)))


def test_auto_chunks_are_strips_of_raw_files_and_blocks_of_tiled_ones(tmp_path: Path) -> None:
    raw = open_quietly(write_envi(tmp_path / "x.img", np.zeros((100, 600, 512), dtype="i2"), data_ignore_value=-1))
    assert raw.chunks[0] == (100,)
    assert raw.chunks[1][0] == 2**26 // (100 * 512 * 4)
    assert raw.chunks[2] == (512,)
    path = tmp_path / "x.tif"
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "crs": "EPSG:32633"}
    with rasterio.open(
        path, "w", count=100, height=600, width=1000, dtype="int16", transform=Affine(1, 0, 9, 0, -1, 9), **profile
    ):
        pass
    tiled = open_quietly(path)
    assert tiled.chunks[0] == (100,)
    cut = [size for axis in (1, 2) for size in tiled.chunks[axis][:-1]]
    assert cut
    assert all(size % 128 == 0 for size in cut)


def test_coordinates_describe_bands_and_pixels(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), fwhm="{9,9,9,9,8}", bbl="{1,1,0,1,1}", band_names="{a,b,c,d,e}")
    cube = open_cube(path, bands=[4, 2])
    assert cube.band.values.tolist() == [5, 3]
    assert cube.wavelength.values.tolist() == [440, 420]
    assert cube.fwhm.values.tolist() == [8, 9]
    assert cube.good.values.tolist() == [True, False]
    assert cube.band_name.values.tolist() == ["e", "c"]
    assert cube.x.values[:2].tolist() == [500002, 500006]
    assert cube.y.values[:2].tolist() == [4499998, 4499994]
    assert cube.attrs["source"] == str(path)
    assert cube.attrs["driver"] == "ENVI"
    assert np.isnan(cube.attrs["_FillValue"])
    assert all(isinstance(value, str | int | float) for key, value in cube.attrs.items() if key != "_FillValue")
    np.testing.assert_array_equal(cube.values, numbered()[[4, 2]])
    with pytest.raises(BandError, match="0 to 4"):
        open_cube(path, bands=[5])


def test_a_missing_reference_system_is_a_warning(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), map_info=None)
    with pytest.warns(CubeWarning) as caught:
        cube = open_cube(path)
    assert any("x.img: no coordinate reference system" in str(warning.message) for warning in caught)
    assert cube.rio.crs is None
    assert not source_of(cube).metadata.georeferenced


def test_rotated_grids_keep_their_affine(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), map_info=ROTATED)
    with rasterio.open(path) as dataset:
        exact = dataset.transform
    cube = open_cube(path)
    assert cube.rio.transform() == exact
    assert "x" not in cube.coords
    part = source_of(cube.isel(y=slice(2, 5), x=slice(3, 6))).metadata.transform
    for column, row in ((0, 0), (3, 0), (0, 3), (1.5, 2.5)):
        x, y = (
            exact.a * (3 + column) + exact.b * (2 + row) + exact.c,
            exact.d * (3 + column) + exact.e * (2 + row) + exact.f,
        )
        assert part.a * column + part.b * row + part.c == pytest.approx(x, abs=1e-9)
        assert part.d * column + part.e * row + part.f == pytest.approx(y, abs=1e-9)


def test_the_untouched_cube_leads_back_to_its_source(tmp_path: Path) -> None:
    cube = open_cube(write_envi(tmp_path / "x.img", numbered()))
    source = source_of(cube)
    assert isinstance(source, EnviSource)
    assert source_of(cube) is source
    assert isinstance(source_of(cube.isel(band=slice(0, 3))), ArraySource)
    assert isinstance(source_of(cube * 2), ArraySource)
    assert isinstance(source_of(cube.load()), ArraySource)


def test_what_a_user_sets_on_a_cube_goes_with_its_source(tmp_path: Path) -> None:
    cube = open_quietly(write_envi(tmp_path / "x.img", numbered(), map_info=None, wavelength=None))
    told = cube.rio.write_crs("EPSG:32633").assign_coords(
        wavelength=("band", [0.4, 0.5, 0.6, 0.7, 0.8], {"units": "um"})
    )
    source = source_of(told)
    assert isinstance(source, EnviSource)
    assert source.metadata.crs == CRS.from_epsg(32633)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [400, 500, 600, 700, 800]
    assert source_of(cube).metadata.crs is None


def test_any_array_is_a_source(tmp_path: Path) -> None:
    cube = open_cube(write_envi(tmp_path / "x.img", numbered(), data_ignore_value=40, bbl="{1,1,0,1,1}"))
    expected = np.where(numbered() == 40, np.nan, numbered()).astype("f4")
    for array in (cube * 1, cube.load(), cube.transpose("y", "x", "band")):
        source = pickle.loads(pickle.dumps(source_of(array)))
        np.testing.assert_array_equal(source.read(slice(0, 7), slice(0, 6)), expected)
        np.testing.assert_array_equal(
            source.read(slice(1, 3), slice(2, 6), np.array([3, 0])), expected[[3, 0], 1:3, 2:6]
        )
        assert source.metadata.good.tolist() == [True, True, False, True, True]
        assert source.metadata.crs == cube.rio.crs
        assert source.metadata.transform == cube.rio.transform()
    plain = source_of(xr.DataArray(numbered(), dims=("band", "y", "x"), attrs={"_FillValue": 7}))
    assert int(np.isnan(plain.read(slice(0, 7), slice(0, 6))).sum()) == 1
    assert not plain.metadata.georeferenced


def test_a_slice_knows_where_it_lies(tmp_path: Path) -> None:
    cube = open_cube(write_envi(tmp_path / "x.img", numbered()))
    assert source_of(cube.isel(y=slice(2, 5), x=slice(1, 2))).metadata.transform == Affine(4, 0, 500004, 0, -4, 4499992)
    assert source_of(cube.isel(y=slice(0, 7, 2), x=[3])).metadata.transform == Affine(4, 0, 500012, 0, -8, 4500002)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (xr.DataArray(numbered(), dims=("wavelength", "y", "x")), "a cube has band, y and x"),
        (xr.DataArray(numbered()[0], dims=("y", "x")), "a cube has band, y and x"),
        (xr.DataArray(numbered() * 1j, dims=("band", "y", "x")), "complex"),
        (xr.DataArray(numbered()[:0], dims=("band", "y", "x")), "is empty"),
    ],
)
def test_what_is_no_cube_is_said(array: xr.DataArray, message: str) -> None:
    with pytest.raises(CubeError, match=message):
        source_of(array)


def test_names_follow_the_file_and_its_changes(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered())
    first = open_cube(path)
    assert open_cube(path).data.name == first.data.name
    assert open_cube(path, bands=[1, 2]).data.name != first.data.name
    write_envi(path, numbered(rows=8))
    assert open_cube(path).data.name != first.data.name


def test_threads_and_schedulers_read_alike(tmp_path: Path) -> None:
    cube = numbered(8, 60, 50)
    opened = open_cube(write_envi(tmp_path / "x.img", cube, interleave="bip"), chunks=(8, 7, 50))
    for scheduler in ("synchronous", "threads"):
        np.testing.assert_array_equal(opened.compute(scheduler=scheduler).values, cube)
    part: Source = source_of(opened + 1)
    with ThreadPoolExecutor(4) as pool:
        strips = list(pool.map(lambda row: part.read(slice(row, row + 5), slice(0, 50)), range(0, 60, 5)))
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), cube + 1)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CubeNotFoundError, match="no such file"):
        open_cube(tmp_path / "x.img")
