"""Fill that no file names: found, told, and never taken from what was measured."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import xarray as xr

from hadgeo.cube import open_cube
from hadgeo.errors import CubeWarning, HadgeoError
from hadgeo.formats import open_source, undeclared_fill
from hadgeo.formats.joined import JoinedBands
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Source
from hadgeo.formats.undeclared_fill import with_fill

from .envi_files import AXES, write_envi
from .test_raster import truncatable, write_tiff

BANDS, ROWS, COLS = 16, 30, 24
CORNER = np.add.outer(np.arange(ROWS), np.arange(COLS)) < 15
SMOOTHING = np.linspace(0.98, 1.02, BANDS)


def spectra(dtype: str = "i2") -> npt.NDArray[Any]:
    """A scene in which no two samples of a band are alike by intention: 1000 and more, with noise."""
    band, row, col = np.ogrid[:BANDS, :ROWS, :COLS]
    noise = np.random.default_rng(7).normal(0, 20, (BANDS, ROWS, COLS))
    return np.round(1000 + 100 * band + 3 * row + 5 * col + noise).astype(dtype)


def filled(fill: float | npt.NDArray[Any], dtype: str = "i2") -> npt.NDArray[Any]:
    """The same with fill in its corner of 120 pixels."""
    cube = spectra(dtype)
    cube[:, CORNER] = np.broadcast_to(np.asarray(fill), BANDS)[:, None]
    return cube


def read_all(source: Source, bands: Any = slice(None)) -> npt.NDArray[Any]:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]), bands)


def nodata(source: Source) -> npt.NDArray[np.bool_]:
    """Pixels without data, which must be so in every band."""
    missing = np.isnan(read_all(source))
    np.testing.assert_array_equal(missing.any(axis=0), missing.all(axis=0))
    return missing.all(axis=0)


def envi(path: Path, cube: npt.NDArray[Any], **fields: Any) -> Path:
    return write_envi(path / "cube.img", cube, **fields)


def tiff(path: Path, cube: npt.NDArray[Any], **profile: Any) -> Path:
    return write_tiff(path / "cube.tif", cube, **profile)


def matlab5(path: Path, cube: npt.NDArray[Any]) -> Path:
    scipy.io.savemat(path / "cube.mat", {"data": np.moveaxis(cube, 0, 2)})
    return path / "cube.mat"


def matlab73(path: Path, cube: npt.NDArray[Any]) -> Path:
    with h5py.File(path / "cube.mat", "w", userblock_size=512) as file:
        file["data"] = np.swapaxes(cube, 1, 2)
    return path / "cube.mat"


def hdf5(path: Path, cube: npt.NDArray[Any]) -> Path:
    with h5py.File(path / "cube.h5", "w") as file:
        file["cube"] = cube
        file["cube"].dims[0].label, file["cube"].dims[1].label, file["cube"].dims[2].label = "band", "y", "x"
    return path / "cube.h5"


def netcdf(path: Path, cube: npt.NDArray[Any]) -> Path:
    file = path / "cube.nc"
    xr.DataArray(cube, dims=("band", "y", "x"), name="cube").to_netcdf(file, encoding={"cube": {"_FillValue": None}})
    return file


@pytest.mark.parametrize("write", [envi, tiff, matlab5, matlab73, hdf5, netcdf])
@pytest.mark.parametrize(
    ("fill", "dtype"),
    [(-9999, "i2"), (-50, "i2"), (-32768, "i2"), (32767, "i2"), (0, "i2"), (0, "u2"), (65535, "u2"), (-9999, "f4"),
     (1e20, "f4"), (-3.4028235e38, "f4"), (-0.005, "f4"), (-9999, "f8"), (0, "f8"), (-2147483648, "i4")],
)  # fmt: skip
def test_what_fills_a_corner_in_every_band_is_nodata_in_every_format(
    tmp_path: Path, write: Callable[..., Path], fill: float, dtype: str
) -> None:
    if write is netcdf and dtype == "u2":
        pytest.skip("classic NetCDF has no such type")
    source = open_source(write(tmp_path, filled(fill, dtype)))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert source.metadata.nodata == np.dtype(dtype).type(fill)
    (told,) = (line for line in source.metadata.assumed if "--fill none" in line)
    assert f"{fill:.7g} in every band" in told
    assert "(120 of 720 pixels)" in told


@pytest.mark.parametrize("interleave", list(AXES))
@pytest.mark.parametrize("fill", [-9999, 0])
def test_fill_is_compared_as_it_is_stored(tmp_path: Path, interleave: str, fill: int) -> None:
    path = envi(tmp_path, filled(fill), interleave=interleave, reflectance_scale_factor=10000)
    source = open_source(path)
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert source.metadata.nodata == fill
    np.testing.assert_array_equal(read_all(source)[:, 20, 10], spectra()[:, 20, 10] * np.float32(1e-4))


def test_fill_is_found_below_a_scale_and_an_offset_of_each_band(tmp_path: Path) -> None:
    gains, offsets = ("{" + ", ".join(map(str, values)) + "}" for values in (SMOOTHING, np.arange(BANDS) - 3.5))
    source = open_source(envi(tmp_path, filled(-9999), data_gain_values=gains, data_offset_values=offsets))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert source.metadata.nodata == -9999


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_scaled_floating_point_samples_of_fill_are_found(tmp_path: Path, dtype: str) -> None:
    path = envi(tmp_path, filled(-9999, dtype), reflectance_scale_factor=3)
    np.testing.assert_array_equal(nodata(open_source(path)), CORNER)


@pytest.mark.parametrize("write", [envi, tiff])
@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_fill_may_differ_from_band_to_band(tmp_path: Path, write: Callable[..., Path], dtype: str) -> None:
    fill = (-9999 * SMOOTHING).astype(dtype)
    source = open_source(write(tmp_path, filled(fill, dtype)))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert source.metadata.nodata is None
    np.testing.assert_array_equal(source.metadata.band_nodata, fill)
    assert any("-10198.98 to -9799.02" in line or "-10198 to -9799" in line for line in source.metadata.assumed)


def test_bands_in_which_a_factor_is_zero_are_fill_too(tmp_path: Path) -> None:
    fill = -9999 * np.where(np.arange(BANDS) % 5 == 0, 0, SMOOTHING)
    np.testing.assert_array_equal(nodata(open_source(envi(tmp_path, filled(fill.astype("i2"))))), CORNER)


@pytest.mark.parametrize("fill", [0, -50])
def test_what_may_be_measured_is_fill_only_where_all_bands_hold_it(tmp_path: Path, fill: int) -> None:
    cube = filled(fill)
    cube[1:, 20:23] = fill
    cube[:-1, 23:26] = fill
    cube[7, 26:28] = fill
    source = open_source(envi(tmp_path, cube))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert "where all bands hold it" in source.metadata.assumed[0]
    np.testing.assert_array_equal(read_all(source)[:, ~CORNER], cube[:, ~CORNER])


def test_what_is_never_measured_is_fill_in_single_bands_too(tmp_path: Path) -> None:
    """The edge of one of two detectors: half of the spectrum alone."""
    cube = filled(-9999)
    cube[8:, :, -1] = -9999
    missing = np.isnan(read_all(open_source(envi(tmp_path, cube))))
    np.testing.assert_array_equal(missing, cube == -9999)


@pytest.mark.parametrize("write", [envi, tiff])
@pytest.mark.parametrize("interleave", list(AXES))
def test_some_bands_and_windows_show_the_same_fill_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path], interleave: str
) -> None:
    # So little that other bands are asked in several pieces.
    monkeypatch.setattr("hadgeo.formats.fill_pixels.ASKED_BYTES", 2000)
    cube = filled(0)
    rng = np.random.default_rng(1)
    for band in range(BANDS):
        # Most bands of the lower half are 0, but never all of one pixel.
        cube[band, 15:][rng.random((15, COLS)) < 0.9] = 0
    cube[rng.integers(0, BANDS, (15, COLS)), *np.ogrid[15:30, :COLS]] = 7
    interleaving = {"interleave": interleave} if write is envi else {"interleave": _GDAL[interleave]}
    source = open_source(write(tmp_path, cube, **interleaving))
    whole = read_all(source)
    np.testing.assert_array_equal(np.isnan(whole).all(axis=0), CORNER)
    for bands in ([3], [15, 2], [5, 5, 6], list(range(1, BANDS))):
        np.testing.assert_array_equal(read_all(source, np.array(bands)), whole[bands])
        window = source.read(slice(4, 21), slice(2, 17), np.array(bands))
        np.testing.assert_array_equal(window, whole[bands, 4:21, 2:17])
    subset = open_source(source.path, [9, 4])
    np.testing.assert_array_equal(read_all(subset), whole[[9, 4]])
    np.testing.assert_array_equal(read_all(pickle.loads(pickle.dumps(source))), whole)


_GDAL = {"bsq": "band", "bil": "band", "bip": "pixel"}


@pytest.mark.parametrize("fill", [-9999, -50, 0])
@pytest.mark.parametrize("side", ["corner", "left", "bottom"])
def test_a_large_scene_is_looked_at_in_few_places(tmp_path: Path, monkeypatch: Any, fill: int, side: str) -> None:
    monkeypatch.setattr(undeclared_fill, "COUNTED_BYTES", 0)
    cube = np.random.default_rng(3).integers(100, 3000, (8, 400, 200)).astype("i2")
    at = {"corner": np.s_[:, 300:, 150:], "left": np.s_[:, 80:120, :3], "bottom": np.s_[:, -9:, 90:120]}[side]
    cube[at] = fill
    path = envi(tmp_path, cube)
    read: list[int] = []
    original = type(open_source(path, reading=Reading(fill="none"))).read

    def counted(self: Source, rows: slice, cols: slice, bands: Any = slice(None)) -> npt.NDArray[Any]:
        out = original(self, rows, cols, bands)
        read.append(out.size)
        return out

    monkeypatch.setattr("hadgeo.formats.envi.EnviSource.read", counted)
    source = open_source(path)
    assert sum(read) < 20_000
    assert "sampled pixels" in source.metadata.assumed[0]
    np.testing.assert_array_equal(nodata(source), (cube == fill).all(axis=0))


def test_joined_bands_take_their_fill_apart(tmp_path: Path) -> None:
    cube = filled(-9999)
    parts = [open_source(write_tiff(tmp_path / f"{i}.tif", cube[i::2]), reading=AS_IS) for i in (0, 1)]
    order = [(band % 2, band // 2) for band in range(BANDS)][::-1]
    joined = JoinedBands("x", parts, order, replace(parts[0].metadata, good=None))
    cube[5, 20, 20] = -9999
    write_tiff(tmp_path / "1.tif", cube[1::2])
    source = with_fill(joined, "find")
    expected = np.where(cube == -9999, np.nan, cube)[::-1]
    np.testing.assert_array_equal(read_all(source), expected)


AS_IS = Reading(fill="none")


def test_a_file_that_names_its_fill_is_believed_where_a_corner_holds_it(tmp_path: Path) -> None:
    cube = filled(-9999)
    cube[:, -8:, -8:] = 0
    source = open_source(envi(tmp_path, cube, data_ignore_value=-9999))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert source.metadata.nodata == -9999
    assert not source.metadata.assumed


@pytest.mark.parametrize("write", [envi, tiff])
@pytest.mark.parametrize(
    ("named", "dtype", "real"),
    [
        (-9999, "i2", 0),
        (0, "i2", -9999),
        (255, "u2", 0),
        (-3.40282e38, "f4", np.finfo("f4").min),
        (-9999, "u2", 65536 - 9999),
    ],
)
def test_another_fill_than_the_named_one_is_found_in_the_corners(
    tmp_path: Path, write: Callable[..., Path], named: float, dtype: str, real: float
) -> None:
    key = "data_ignore_value" if write is envi else "nodata"
    if write is tiff and named < 0 and dtype == "u2":
        pytest.skip("GDAL refuses to name what no sample can hold")
    cube = filled(real, dtype)
    source = open_source(write(tmp_path, cube, **{key: named}))
    np.testing.assert_array_equal(nodata(source), CORNER)
    assert any("120 of 720 pixels" in line and "--fill none keeps it" in line for line in source.metadata.assumed)
    # Some bands hold the same pixels as all of them.
    some = read_all(source, np.array([3, 9]))
    np.testing.assert_array_equal(np.isnan(some).all(axis=0), CORNER)
    np.testing.assert_array_equal(np.isnan(some).any(axis=0), CORNER)
    kept = open_source(write(tmp_path, cube, **{key: named}), reading=Reading(fill="none"))
    assert not np.isnan(read_all(kept)).any()


def test_the_named_fill_stays_one_where_another_one_is_found(tmp_path: Path) -> None:
    cube = filled(0)
    cube[:, 20, 20] = -9999
    cube[3, 22, 20] = -9999
    source = open_source(envi(tmp_path, cube, data_ignore_value=-9999))
    missing = np.isnan(read_all(source))
    expected = np.broadcast_to(CORNER, missing.shape).copy()
    expected[:, 20, 20] = expected[3, 22, 20] = True
    np.testing.assert_array_equal(missing, expected)
    assert source.metadata.nodata == -9999
    np.testing.assert_array_equal(np.isnan(read_all(pickle.loads(pickle.dumps(source)))), expected)


def test_a_named_fill_that_occurs_nowhere_costs_a_scene_without_fill_nothing(tmp_path: Path) -> None:
    cube = spectra()
    cube[:4, 0, 0] = 0
    source = open_source(envi(tmp_path, cube, data_ignore_value=-9999))
    np.testing.assert_array_equal(read_all(source), cube)
    assert not source.metadata.assumed


@pytest.mark.parametrize(("dtype", "named"), [("u2", -9999), ("f4", "nan")])
def test_a_fill_value_that_no_sample_can_hold_names_nothing(tmp_path: Path, dtype: str, named: Any) -> None:
    source = open_source(envi(tmp_path, filled(0, dtype), data_ignore_value=named))
    np.testing.assert_array_equal(nodata(source), CORNER)


@pytest.mark.parametrize("write", [envi, tiff, matlab5])
def test_nothing_is_looked_for_where_nobody_wants_it(tmp_path: Path, write: Callable[..., Path]) -> None:
    cube = filled(-9999)
    source = open_source(write(tmp_path, cube), reading=Reading(fill="none"))
    np.testing.assert_array_equal(read_all(source), cube)
    assert source.metadata.nodata is None
    assert not any("fill" in line for line in source.metadata.assumed)


@pytest.mark.parametrize("write", [envi, tiff, matlab5, matlab73])
def test_a_fill_value_that_is_given_is_as_good_as_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    cube = filled(-50)
    cube[3, 20, 7] = -50
    source = open_source(write(tmp_path, cube), reading=Reading(fill=-50))
    np.testing.assert_array_equal(np.isnan(read_all(source)), cube == -50)
    assert source.metadata.nodata == -50
    assert not any("fill" in line for line in source.metadata.assumed)


def test_a_fill_value_that_is_given_takes_the_place_of_the_one_named(tmp_path: Path) -> None:
    cube = filled(-50)
    source = open_source(envi(tmp_path, cube, data_ignore_value=int(cube[0, 20, 7])), reading=Reading(fill=-50))
    np.testing.assert_array_equal(nodata(source), CORNER)


def test_a_fill_value_that_no_sample_can_hold_is_told(tmp_path: Path) -> None:
    source = open_source(tiff(tmp_path, filled(0, "u2")), reading=Reading(fill=-9999))
    assert any("-9999 cannot occur in samples of uint16" in line for line in source.metadata.warnings)


def test_cubes_say_what_was_found(tmp_path: Path) -> None:
    path = envi(tmp_path, filled(0))
    with pytest.warns(CubeWarning, match=r"0 in every band at the border: treated as nodata"):
        cube = open_cube(path)
    assert int(np.isnan(cube.values).all(axis=0).sum()) == 120


SAFE: dict[str, npt.NDArray[Any]] = {
    "a dark corner": np.where(CORNER & (np.arange(BANDS) > 0)[:, None, None], 0, spectra()),
    "dark water that is 0 in the infrared": np.where((np.arange(BANDS) > 3)[:, None, None], 0, spectra()),
    "three pixels of 0": np.where(np.add.outer(np.arange(ROWS), np.arange(COLS)) < 2, 0, spectra()),
    "0 inside, not at the border": np.where(np.pad(np.ones((9, 9), bool), ((10, 11), (8, 7))), 0, spectra()),
    "a constant band": np.where((np.arange(BANDS) == 4)[:, None, None], 0, spectra()),
    "negative spectra": spectra() - 4000,
    "negative spectra repeated by resampling": np.repeat(np.repeat((spectra() - 4000) / 100, 3, 1), 3, 2),
    "one value everywhere": np.full((BANDS, ROWS, COLS), 7, dtype="i2"),
    "0 everywhere": np.zeros((BANDS, ROWS, COLS), dtype="i2"),
    "one spectrum everywhere": np.broadcast_to(spectra()[:, :1, :1], (BANDS, ROWS, COLS)),
    "one band": np.where(CORNER, -9999, spectra()[:1]),
    "one pixel": spectra()[:, :1, :1],
    "one pixel of 0": np.zeros((BANDS, 1, 1), dtype="i2"),
    "a flat corner": np.where(CORNER, 1200, spectra()),
}


@pytest.mark.parametrize("write", [envi, tiff])
@pytest.mark.parametrize("case", SAFE)
def test_what_was_measured_is_kept(tmp_path: Path, write: Callable[..., Path], case: str) -> None:
    cube = np.ascontiguousarray(SAFE[case])
    source = open_source(write(tmp_path, cube))
    np.testing.assert_array_equal(read_all(source), cube)
    assert source.metadata.nodata is None
    assert source.metadata.band_nodata is None
    assert not source.metadata.assumed


@pytest.mark.parametrize("shape", [(BANDS, 1, 1), (BANDS, 5, 4), (BANDS, 1, 9)])
@pytest.mark.parametrize("fill", [-9999, -50, 1e20])
def test_a_cut_that_is_all_fill_has_no_data(tmp_path: Path, shape: tuple[int, int, int], fill: float) -> None:
    source = open_source(envi(tmp_path, np.full(shape, fill, dtype="f4")))
    assert nodata(source).all() or fill == 1e20
    assert source.metadata.nodata in (fill, np.float32(fill), None)


def test_a_damaged_border_is_told_by_whoever_reads_it(tmp_path: Path) -> None:
    path = truncatable(tmp_path / "x.tif")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(HadgeoError, match="copy it again"):
        read_all(source)


#: Pixels whose every sample is finite, and pixels of fill that was not named, of each real scene.
REAL = {
    "truth/abu-airport-1.mat": (10000, 0),
    "truth/abu-airport-2.mat": (10000, 0),
    "truth/abu-beach-1.mat": (22500, 0),
    "truth/abu-beach-2.mat": (10000, 0),
    "truth/abu-urban-1.mat": (10000, 0),
    "truth/abu-urban-3.mat": (10000, 0),
    "truth/HYDICE_norm_ScoreAD.mat": (8000, 0),
    "truth/HYDICE-II_BS3LNet.mat": (4800, 0),
    "geo/sandiego_aviris1_utm11_nad27.tif": (10000, 0),
    "geo/SDData": (8100, 0),
    "geo/EnMAP_BerlinUrbanGradient.bsq": (4800, 0),
    "geo/HyMap02_Berlin_Urban_Gradient_2009.bsq": (6700, 0),
    "odd/ang20140912t192359_corr_v1c_img_2580-2590_540-550.img": (100, 0),
    "odd/ang20140912t192359_corr_v1c_img_400-410_10-20.img": (0, 100),
    "odd/ang20150422t163638_corr_v1e_img_4000-4010_550-560.img": (40, 60),
    "odd/ang20150422t163638_corr_v1e_img_987_654.img": (1, 0),
    "odd/f080702t01p00r08rdn_c_sc01_ort_img_123_456.img": (1, 0),
    "odd/NEON_D01_HARV_DP3_726000_4699000_reflectance_crop.tif": (1600, 0),
    "odd/HYDICE1_162_AutoAD_v73.mat": (8000, 0),
    "odd/HYDICE_174_lzw.mat": (8000, 0),
    "odd/MUUFL_an_hsi_image_sub_for_demo.mat": (3884, 0),
    "odd/enmap.tif": (70, 0),
    "odd/hymap.tif": (4813, 0),
    "odd/gdal_no_info.tif": (10, 0),
}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_no_pixel_of_a_real_scene_is_lost_but_fill(data_dir: Path, name: str) -> None:
    believed = np.isfinite(read_all(open_source(data_dir / name, reading=Reading(fill="none")))).all(axis=0)
    source = open_source(data_dir / name)
    kept = np.isfinite(read_all(source)).all(axis=0)
    valid, fill = REAL[name]
    assert int(kept.sum()) == valid
    assert int((believed & ~kept).sum()) == fill
    assert bool(fill) == any("--fill none" in line for line in source.metadata.assumed)


@pytest.mark.parametrize("write", [envi, tiff])
def test_a_second_kind_of_fill_is_found_too(tmp_path: Path, write: Callable[..., Path]) -> None:
    cube = filled(-9999)
    cube[:, -5:, -5:] = 0
    source = open_source(write(tmp_path, cube))
    expected = CORNER.copy()
    expected[-5:, -5:] = True
    np.testing.assert_array_equal(nodata(source), expected)
    np.testing.assert_array_equal(np.isnan(read_all(source, [2])[0]), expected)
    assert source.metadata.nodata == -9999
    assert [line.split(" ")[0] for line in source.metadata.assumed if "treated as nodata" in line] == ["-9999", "0"]


@pytest.mark.parametrize("value", [1, 4095])
def test_any_other_value_in_all_bands_is_kept_and_told(tmp_path: Path, value: int) -> None:
    cube = filled(value)
    source = open_source(envi(tmp_path, cube))
    np.testing.assert_array_equal(read_all(source), cube)
    assert any(f"--fill {value} treats it as nodata" in line for line in source.metadata.warnings)
    told = open_source(envi(tmp_path, cube), reading=Reading(fill=value))
    np.testing.assert_array_equal(nodata(told), CORNER)
