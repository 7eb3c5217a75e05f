"""ENVI: headers as they are found in the wild, and raw files in every layout."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from hadgeo.errors import BandError, CubeError, CubeNotFoundError, ReadError
from hadgeo.formats import open_source
from hadgeo.formats.envi import EnviSource
from hadgeo.formats.envi_header import find_data, find_header, parse_header
from hadgeo.formats.raster import RasterSource
from hadgeo.formats.source import Source

from .envi_files import numbered, write_envi

HEADER = """ENVI
samples = 2
  lines = 1
Bands   = 3
data type = 4
interleave = BIP
byte_order = 1
"""


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def parse_wholly(text: str) -> None:
    header = parse_header(text, "line.hdr")
    header.check_image()
    _ = header.shape, header.dtype, header.interleave, header.spectral


def test_header_keys_may_be_indented_and_in_any_case() -> None:
    header = parse_header(HEADER, "x.hdr")
    assert header.shape == (3, 1, 2)
    assert header.interleave == "bip"
    assert header.dtype == np.dtype(">f4")
    assert header.data_bytes == 24


def test_braces_run_over_lines_and_hold_equal_signs() -> None:
    text = HEADER + "description = {a = b,\n c {d} e}\nwavelength = {400,\n 500\n, 600 }\nfwhm={1,2,3}\n; x = 1\n"
    header = parse_header(text, "x.hdr")
    assert header.fields["description"] == "{a = b,\nc {d} e}"
    assert header.spectral.wavelength is not None
    assert header.spectral.wavelength.tolist() == [400, 500, 600]
    assert "x" not in header.fields


@pytest.mark.parametrize(
    ("fields", "wavelength"),
    [
        ("wavelength = {400, 500, 600}\nwavelength units = Nanometers", [400, 500, 600]),
        ("wavelength = {0.4, 0.5, 0.6}\nwavelength units = Micrometers", [400, 500, 600]),
        ("wavelength = {0.4554, 0.5, 2.4465}\nwavelength units = um", [455.4, 500, 2446.5]),
        ("wavelength = {0.4, 0.5, 0.6}\nwavelength units = µm", [400, 500, 600]),
        ("wavelength = {4000, 5000, 6000}\nwavelength units = Angstroms", [400, 500, 600]),
        ("wavelength = {400, 500, 600}", [400, 500, 600]),
        ("wavelength = {0.4, 0.5, 12.5}", [400, 500, 12500]),
        ("wavelength = {400, 500, 600}\nwavelength units = n", [400, 500, 600]),
        ("wavelength = {400, 500, 600}\nwavelength units = Unknown", [400, 500, 600]),
        ("wavelength = {400, 500, 600,}\nwavelength units = nm", [400, 500, 600]),
        ("wavelength = {1, 2, 3}\nwavelength units = Index", None),
        ("wavelength = {0, 0, 0}", None),
        ("band names = {b 1 (0.4 Micrometers), b 2 (0.5 Micrometers), b 3 (0.6 Micrometers)}", [400, 500, 600]),
        ("band names = {429.5 nm, 430.5 nm, 431.5 nm}", [429.5, 430.5, 431.5]),
        ("band names = {Band 1, Band 2, Band 3}", None),
        ("band names = {Red, Green, Blue}", None),
        ("", None),
    ],
)
def test_wavelengths_come_in_nm(fields: str, wavelength: list[float] | None) -> None:
    known = parse_header(HEADER + fields, "x.hdr").spectral.wavelength
    assert (None if known is None else known.tolist()) == wavelength


@pytest.mark.parametrize(
    ("bbl", "good"),
    [
        ("{1, 0, 1}", [True, False, True]),
        ("{1.0, 0.0, 1.0}", [True, False, True]),
        ("{0.9, 0.2, 0.5}", [True, False, True]),
    ],
)
def test_bad_bands_are_numbers(bbl: str, good: list[bool]) -> None:
    known = parse_header(f"{HEADER}bbl = {bbl}", "x.hdr").spectral
    assert known.good is not None
    assert known.good.tolist() == good


@pytest.mark.parametrize(
    ("bbl", "note"),
    [
        ("{1, 1, 1, 0}", "4 values of bbl for 3 bands: ignored"),
        ("{1, 0}", "2 values of bbl for 3 bands: ignored"),
        ("{a, b, c}", "bbl contains something that is not a number: ignored"),
    ],
)
def test_a_wrong_list_of_bad_bands_is_set_aside(bbl: str, note: str) -> None:
    known = parse_header(f"{HEADER}wavelength = {{400, 500, 600}}\nbbl = {bbl}", "x.hdr").spectral
    assert known.good is None
    assert known.wavelength is not None
    assert any(note in line for line in known.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SAMPLES = 1", "not an ENVI header"),
        ("ENVI\nsamples = 1\nbands = 1\ndata type = 2", "no 'lines'"),
        (HEADER.replace("samples = 2", "samples = " + "9" * 4400), "'9{40}…', of 4400 digits"),
        (HEADER + "file type = ENVI Spectral Library", "a spectral library, not an image"),
        (HEADER + "file type = envi virtual mosaic", "a list of other files, not an image"),
        (HEADER.replace("Bands   = 3", "bands = 1") + "spectra names = {a, b}", "a spectral library, not an image"),
        ("ENVI\nwavelength = {400, 500}", "no samples, lines and bands"),
        (HEADER + "wavelength = {400, 500", "never closed"),
        (HEADER.replace("data type = 4", "data type = 6"), "complex"),
        (HEADER.replace("data type = 4", "data type = 7"), "data type 7"),
        (HEADER.replace("BIP", "BQ"), "interleave is 'bq'"),
        (HEADER.replace("samples = 2", "samples = x"), "not a whole number"),
        (HEADER.replace("samples = 2", "samples = 0"), "at least 1"),
        (HEADER.replace("byte_order = 1", "byte order = 2"), "byte order is 2"),
    ],
)
def test_unusable_headers_say_why_and_name_the_file(text: str, message: str) -> None:
    with pytest.raises(CubeError, match=message) as caught:
        parse_wholly(text)
    assert "line.hdr" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="ENVI={}\n ,;0123456789abc", max_size=200))
def test_any_text_is_a_header_or_an_error(text: str) -> None:
    try:
        header = parse_header("ENVI\n" + text, "x.hdr")
        _ = header.shape, header.spectral
    except CubeError:
        pass


@pytest.mark.parametrize(
    ("data", "header"),
    [
        ("x.img", "x.hdr"),
        ("x.img", "x.img.hdr"),
        ("x.img", "x.HDR"),
        ("x", "x.hdr"),
        ("x_1.2.bsq", "x_1.2.hdr"),
        ("x.BIL", "x.hdr"),
        ("x.dat", "x.hdr"),
        ("x.raw", "x.hdr"),
    ],
)
def test_header_and_data_find_each_other(tmp_path: Path, data: str, header: str) -> None:
    cube = numbered()
    path = write_envi(tmp_path / data, cube, header=header)
    assert find_header(path) == tmp_path / header
    assert find_data(tmp_path / header) == path
    for name in (path, tmp_path / header):
        np.testing.assert_array_equal(read_all(open_source(name)), cube)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"])
@pytest.mark.parametrize("byte_order", [0, 1])
def test_layouts_types_and_byte_orders_decode_alike(
    tmp_path: Path, interleave: str, dtype: str, byte_order: int
) -> None:
    cube = numbered(dtype=dtype)
    path = write_envi(tmp_path / "x.img", cube, interleave=interleave, byte_order=byte_order, offset=13)
    source = open_source(path)
    assert isinstance(source, EnviSource)
    assert source.dtype == np.result_type(dtype, np.float32)
    np.testing.assert_array_equal(read_all(source), cube)
    np.testing.assert_array_equal(source.read(slice(2, 5), slice(1, 4), np.array([4, 0, 1])), cube[[4, 0, 1], 2:5, 1:4])
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(read_all(source), dataset.read())


@pytest.mark.parametrize(
    ("interleave", "strides"), [("bsq", (168, 24, 4)), ("bil", (24, 120, 4)), ("bip", (4, 120, 20))]
)
def test_windows_keep_the_layout_of_the_file(tmp_path: Path, interleave: str, strides: tuple[int, ...]) -> None:
    source = open_source(write_envi(tmp_path / "x.img", numbered(), interleave=interleave))
    assert read_all(source).strides == strides


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("held", [1, 100, 1 << 20])
@pytest.mark.parametrize("gap", [0, 30, 1 << 20])
@pytest.mark.parametrize("piece", [1, 64, 1 << 18])
def test_cutting_into_pieces_changes_nothing(
    tmp_path: Path, interleave: str, held: int, gap: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.formats.envi.READ_BYTES", held)
    for module in ("envi", "raw"):
        monkeypatch.setattr(f"hadgeo.formats.{module}.GAP_BYTES", gap)
    monkeypatch.setattr("hadgeo.formats.source.PIECE_BYTES", piece)
    cube = numbered(9, 8, 7)
    gains = "{" + ",".join(["2"] * 4 + ["3"] * 5) + "}"
    path = write_envi(tmp_path / "x.img", cube, interleave=interleave, data_gain_values=gains, data_ignore_value=70)
    expected = cube * np.array([2.0] * 4 + [3.0] * 5).reshape(-1, 1, 1)
    expected[cube == 70] = np.nan
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), expected)
    chosen = np.array([1, 2, 3, 7, 0, 8])
    np.testing.assert_array_equal(source.read(slice(1, 6), slice(2, 7), chosen), expected[chosen, 1:6, 2:7])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reflectance_scale_factor": 10000}, numbered() / 10000),
        ({"data_gain_values": "{2, 2, 2, 2, 2}"}, numbered() * 2.0),
        ({"data_gain_values": "{2,2,2,2,2}", "data_offset_values": "{1,1,1,1,1}"}, numbered() * 2.0 + 1),
        ({"data_gain_values": "{1,1,1,1,1}", "reflectance_scale_factor": 100}, numbered() / 100),
        ({"data_ignore_value": 3}, np.where(numbered() == 3, np.nan, numbered())),
        ({"data_ignore_value": "3.0"}, np.where(numbered() == 3, np.nan, numbered())),
        ({"data_ignore_value": -99999}, numbered()),
        ({"data_ignore_value": 0, "reflectance_scale_factor": 2}, np.where(numbered() == 0, np.nan, numbered() / 2)),
    ],
)
def test_samples_become_physical(tmp_path: Path, fields: dict[str, Any], expected: np.ndarray) -> None:
    source = open_source(write_envi(tmp_path / "x.img", numbered(), **fields))
    np.testing.assert_allclose(read_all(source), expected.astype(np.float32), rtol=1e-6)


def test_fill_value_is_compared_as_it_is_stored(tmp_path: Path) -> None:
    cube = np.full((2, 3, 3), -50.003, dtype=np.float32)
    cube[0, 0, 0], cube[0, 1, 1], cube[1, 2, 2] = 1, np.inf, np.nan
    source = open_source(write_envi(tmp_path / "x.img", cube, data_ignore_value="-50.003"))
    assert np.isfinite(read_all(source)).sum() == 1


def test_unnamed_fill_around_a_line_is_found_and_told(tmp_path: Path) -> None:
    cube = numbered() + 1
    cube[:, -1, 3:] = -9999
    source = open_source(write_envi(tmp_path / "x.img", cube.astype("i2"), interleave="bip"))
    assert source.metadata.nodata == -9999
    assert np.isnan(read_all(source)).sum() == 15
    assert any("-9999 in every band" in line for line in source.metadata.assumed)


def test_a_negative_corner_that_is_a_spectrum_stays(tmp_path: Path) -> None:
    source = open_source(write_envi(tmp_path / "x.img", numbered() - 1000))
    assert source.metadata.nodata is None
    assert np.isfinite(read_all(source)).all()


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_compressed_files_are_read_with_the_whole_header(tmp_path: Path, interleave: str) -> None:
    cube = numbered()
    path = write_envi(
        tmp_path / "x.img",
        cube,
        interleave=interleave,
        compress=True,
        bbl="{1.0,0.0,1,1,1}",
        reflectance_scale_factor=2,
    )
    source = open_source(path)
    assert isinstance(source, RasterSource)
    np.testing.assert_array_equal(read_all(source), cube / 2)
    assert source.metadata.good is not None
    assert source.metadata.good.tolist() == [True, False, True, True, True]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.img", "x.img.hdr"]


def test_place_is_what_gdal_says(tmp_path: Path) -> None:
    info = "{UTM, 1, 1, 277811.628, 4483607.425, 3.1, 3.1, 13, North, WGS-84, units=Meters, rotation=53}"
    path = write_envi(tmp_path / "x.img", numbered(), map_info=info)
    with rasterio.open(path) as dataset:
        assert open_source(path).metadata.transform == dataset.transform
        assert open_source(path).metadata.crs == dataset.crs
        assert dataset.transform.b != 0


def test_a_stale_side_file_changes_nothing(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered())
    expected = open_source(path).metadata
    (tmp_path / "x.img.aux.xml").write_text(
        '<PAMDataset><Metadata><MDI key="wavelength">{1,2}</MDI></Metadata><Metadata domain="ENVI">'
        '<MDI key="bbl">{0,0}</MDI><MDI key="bands">2</MDI></Metadata><PAMRasterBand band="1">'
        "<NoDataValue>5</NoDataValue><Offset>7</Offset><Scale>9</Scale></PAMRasterBand></PAMDataset>"
    )
    found = open_source(path)
    assert found.metadata.wavelength is not None
    assert expected.wavelength is not None
    assert found.metadata.wavelength.tolist() == expected.wavelength.tolist()
    np.testing.assert_array_equal(read_all(found), numbered())


def test_a_short_file_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CubeError, match=r"x\.img: 419 bytes, but its header specifies 420"):
        open_source(path)


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path: Path) -> None:
    source = open_source(write_envi(tmp_path / "x.img", numbered()))
    (tmp_path / "x.img").write_bytes(b"")
    with pytest.raises(ReadError, match=r"x\.img: rows .* can no longer be read"):
        read_all(source)
    (tmp_path / "x.img").unlink()
    with pytest.raises(ReadError, match=r"x\.img: rows .* can no longer be read"):
        read_all(source)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered())
    (tmp_path / "x.img.hdr").rename(tmp_path / "y.hdr")
    with pytest.raises(CubeNotFoundError, match=r"x\.img: .*header is missing; put x\.img\.hdr or x\.hdr next to it"):
        open_source(path)
    with pytest.raises(CubeNotFoundError, match=r"y\.hdr: its data file is missing; put one of y, y\.img"):
        open_source(tmp_path / "y.hdr")


def test_a_selection_reads_and_describes_only_its_bands(tmp_path: Path) -> None:
    cube = numbered()
    source = open_source(write_envi(tmp_path / "x.img", cube, interleave="bip"), bands=[3, 1])
    assert source.shape == (2, 7, 6)
    np.testing.assert_array_equal(read_all(source), cube[[3, 1]])
    np.testing.assert_array_equal(source.read(slice(0, 1), slice(0, 6), np.array([1])), cube[[1], :1])
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == [430, 410]
    for wrong in ([], [5], [-1]):
        with pytest.raises(BandError, match="0 to 4"):
            open_source(tmp_path / "x.img", bands=wrong)


def test_many_threads_and_a_pickle_read_the_same(tmp_path: Path) -> None:
    cube = numbered(20, 50, 40)
    source = open_source(write_envi(tmp_path / "x.img", cube, interleave="bil"))
    again = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        rows = [slice(i, i + 3) for i in range(47)] * 4
        windows = list(pool.map(lambda r: again.read(r, slice(5, 20)), rows))
    for row, window in zip(rows, windows, strict=True):
        np.testing.assert_array_equal(window, cube[:, row, 5:20])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux alone")
@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_memory_stays_with_the_window_and_not_with_the_file(tmp_path: Path, interleave: str) -> None:
    cube = np.ones((100, 1500, 500), dtype=np.int16)  # 150 MB
    path = write_envi(tmp_path / "x.img", cube, interleave=interleave)
    script = textwrap.dedent("""
        import resource, sys
        from hadgeo.formats import open_source
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        source = open_source(sys.argv[1])
        before = peak()
        for row in range(0, 1500, 20):
            source.read(slice(row, row + 20), slice(0, 500))
        print((peak() - before) // 1024)
    """)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    # A strip is 2 MB stored and 4 MB decoded; `READ_BYTES` come to that.
    assert int(done.stdout) < 60


def test_a_cube_that_gdal_cannot_place_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_envi(tmp_path / "x.img", numbered())

    def refuse(name: str) -> None:
        raise rasterio.errors.RasterioIOError("no such driver")

    monkeypatch.setattr("hadgeo.formats.envi.open_dataset", refuse)
    source = open_source(path)
    assert any("no such driver" in line for line in source.metadata.warnings)
    np.testing.assert_array_equal(read_all(source), numbered())


@pytest.mark.parametrize("key", ["bands", "interleave", "data type", "byte order", "reflectance scale factor"])
def test_a_header_that_contradicts_itself_about_the_samples_is_asked_about(tmp_path: Path, key: str) -> None:
    value = {"interleave": "bip"}.get(key, "3")
    path = write_envi(tmp_path / "x.img", numbered(), reflectance_scale_factor=10)
    header = tmp_path / "x.img.hdr"
    header.write_text(header.read_text() + f"{key} = {value}\n")
    with pytest.raises(CubeError, match=rf"two different values of {key}; delete the wrong one"):
        open_source(path)


def test_a_header_that_says_the_rest_twice_is_read_to_its_end_and_told(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), data_ignore_value=-1)
    header = tmp_path / "x.img.hdr"
    header.write_text(header.read_text() + "data ignore value = 40\nInterleave = BSQ\nsamples =  6\n")
    source = open_source(path)
    assert np.isnan(read_all(source)[0, 6, 4])
    assert "two different values of data ignore value in the header: the last is used" in source.metadata.warnings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_header_is_text_however_it_was_saved(tmp_path: Path, encoding: str, ends: str) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), description="{Äcker, 5 µm}")
    header = tmp_path / "x.img.hdr"
    header.write_bytes(ends.join(header.read_text("utf-8").splitlines()).encode(encoding))
    np.testing.assert_array_equal(read_all(open_source(path)), numbered())


def test_a_list_may_begin_on_the_line_below_its_key() -> None:
    known = parse_header(HEADER + "wavelength =\n  {400, 500,\n 600}\nfwhm = \n\n{9, 9, 9}\n", "x.hdr").spectral
    assert known.wavelength is not None
    assert known.wavelength.tolist() == [400, 500, 600]
    assert known.fwhm is not None


@pytest.mark.parametrize(
    ("factor", "divisor", "note"),
    [
        (10000, 10000, ""),
        (0.0001, 10000, "less than 1: multiplied by it"),
        (0, 1, "cannot be one: ignored"),
        (-5, 1, "cannot be one: ignored"),
        ("nan", 1, "cannot be one: ignored"),
    ],
)
def test_a_scale_factor_that_can_be_none_is_told(tmp_path: Path, factor: object, divisor: float, note: str) -> None:
    source = open_source(write_envi(tmp_path / "x.img", numbered(dtype="f4"), reflectance_scale_factor=factor))
    np.testing.assert_allclose(read_all(source), numbered(dtype="f4") / divisor, rtol=1e-6)
    assert any("reflectance scale factor" in line and note in line for line in source.metadata.warnings) == bool(note)


def test_a_compressed_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), compress=True, file_compression=1)
    whole = path.read_bytes()
    raw = gzip.decompress(whole)
    for held, message in (
        (whole[:-20], "cannot be unpacked"),
        (b"", "cannot be unpacked"),
        (gzip.compress(raw[:-2]), "418 bytes when unpacked, but its header specifies 420"),
        (raw, "not compressed with gzip"),
    ):
        path.write_bytes(held)
        with pytest.raises(CubeError, match=rf"x\.img: {message}"):
            open_source(path)
    # In several parts, as some programs compress large files, and with something behind the cube.
    path.write_bytes(gzip.compress(raw[:100]) + gzip.compress(raw[100:] + b"more"))
    np.testing.assert_array_equal(read_all(open_source(path)), numbered())
