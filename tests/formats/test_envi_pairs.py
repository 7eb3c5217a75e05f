"""Which file an ENVI header may describe: pairs of any suffix, files of other formats, and headers of no image."""

from __future__ import annotations

import gzip
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats import open_source
from hadgeo.formats.envi import ENVI, EnviSource
from hadgeo.formats.envi_header import parse_header
from hadgeo.formats.magic import foreign_format
from hadgeo.formats.source import Source

from .envi_files import numbered, write_envi

#: Of five bands, since GDAL takes the fourth of four for transparency.
CUBE = numbered(5, 16, 20, "u1") % 251


def read_all(source: Source) -> np.ndarray:
    return source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))


def write_as(path: Path, driver: str, cube: np.ndarray) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        options = {"count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2], "dtype": cube.dtype.name}
        with rasterio.open(path, "w", driver=driver, **options) as dataset:
            dataset.write(cube)
    return path


@pytest.mark.parametrize("driver", ["HFA", "PCIDSK", "NITF", "GTiff"])
def test_a_file_of_another_format_is_not_what_the_header_beside_it_describes(tmp_path: Path, driver: str) -> None:
    write_envi(tmp_path / "cube.bsq", CUBE, header="cube.hdr")
    other = write_as(tmp_path / "cube.img", driver, CUBE[::-1])
    assert not ENVI.claims(str(other))
    source = open_source(other)
    assert source.metadata.driver == driver
    np.testing.assert_array_equal(read_all(source), CUBE[::-1])
    # The header finds its own data, although .img is looked for first.
    for name in ("cube.hdr", "cube.bsq"):
        found = open_source(tmp_path / name)
        assert isinstance(found, EnviSource)
        np.testing.assert_array_equal(read_all(found), CUBE)


@pytest.mark.parametrize("driver", ["PNG", "BMP", "JPEG", "JP2OpenJPEG"])
def test_pictures_and_containers_beside_a_header_are_no_raw_samples(tmp_path: Path, driver: str) -> None:
    write_envi(tmp_path / "cube.bsq", CUBE, header="cube.hdr")
    picture = write_as(tmp_path / "whole", driver, CUBE[:3])
    picture.rename(tmp_path / "cube.img")
    assert foreign_format(tmp_path / "cube.img") is not None
    assert not ENVI.claims(str(tmp_path / "cube.img"))
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "cube.hdr")), CUBE)


@pytest.mark.parametrize(
    "start",
    [
        b"PK\x03\x04",
        gzip.compress(b"something", mtime=0),
        b"SIMPLE  =                    T",
        b"GRIB",
        b"\x0e\x03\x13\x01",
        b"BM",
        b"BZh9",
        b"CDF\x05",
        bytes(512) + b"\x89HDF\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"  <?xml version='1.0'?>",
        b"EHFA_HEADER_TAG\0",
        b"PCIDSK  ",
        b"NITF02.10",
        b"GIF89a",
        b"SQLite format 3\0",
    ],
)
def test_what_gdal_cannot_open_either_is_refused_and_never_read_as_raw(tmp_path: Path, start: bytes) -> None:
    write_envi(tmp_path / "cube.bsq", CUBE, header="cube.hdr")
    (tmp_path / "cube.img").write_bytes(start + bytes(3000))
    with pytest.raises(CubeError, match=r"cube\.img: ") as caught:
        open_source(tmp_path / "cube.img")
    assert "\n" not in str(caught.value)
    assert isinstance(open_source(tmp_path / "cube.hdr"), EnviSource)


def test_a_header_beside_a_foreign_file_alone_says_what_that_is(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "cube.img", CUBE, header="cube.hdr")
    write_as(tmp_path / "other.img", "HFA", CUBE).replace(path)
    with pytest.raises(CubeNotFoundError, match=r"cube\.hdr: cube\.img next to it is ERDAS Imagine, not its data"):
        open_source(tmp_path / "cube.hdr")


@pytest.mark.parametrize(
    "start",
    [
        b"\x93NUMPY\x01\0v\0",
        b"BZh91AY&SY",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\n<!DOCTYPE html>",
        b"<HTML><head>",
        b"\xff\xd8\xff\xe1\0\x06Exif\xff\xdb",
        b"BM" + struct.pack("<IIII", 1600, 0, 54, 40),
        gzip.compress(bytes(CUBE[0]), mtime=0),
        b"BZh11AY&SY",
        b"PK\5\6",
        b"HEAD74\0\0",
        b"DatasetHeader Begin\n",
        b"<MRF_META>",
        bytes(128) + b"DICM",
        b"cube.img" + bytes(249) + b"ustar",
        b"\0\0\x27\x0a" + bytes(24) + b"\xe8\3\0\0",
        b"\x80\4\x95\x10\2" + bytes(6),
    ],
)
def test_what_is_certainly_of_another_format_is_refused_whatever_its_size(tmp_path: Path, start: bytes) -> None:
    path = write_envi(tmp_path / "x.img", CUBE)
    path.write_bytes(start + path.read_bytes()[len(start) :])
    with pytest.raises(CubeError, match=r"x\.img: (a file of another format|not a raster that GDAL can open)"):
        open_source(path)


@pytest.mark.parametrize("start", [b"BM", b"\xff\xd8\xff", b"\x1f\x8b\x08", b"BZh"])
def test_samples_that_begin_like_a_picture_by_chance_are_samples(tmp_path: Path, start: bytes) -> None:
    cube = CUBE.copy()
    cube[0, 0, : len(start)] = np.frombuffer(start, dtype="u1")
    np.testing.assert_array_equal(read_all(open_source(write_envi(tmp_path / "x.img", cube))), cube)


@pytest.mark.parametrize(
    "text", ["ncols 24\nnrows 30\n", "a;b;c;d;e;f\n", '{"type": "FeatureCollection", "features": []} ']
)
def test_text_is_no_samples_although_it_is_as_large_as_they_would_be(tmp_path: Path, text: str) -> None:
    path = write_envi(tmp_path / "x.img", CUBE)
    path.write_bytes((text * CUBE.size).encode()[: CUBE.size])
    with pytest.raises(CubeError, match=r"x\.img: a file of another format \(text\)"):
        open_source(path)


@pytest.mark.parametrize("first", [0x0D20, 0x0A20, 0x2020, 0x4350])
def test_samples_whose_bytes_are_all_characters_are_samples(tmp_path: Path, first: int) -> None:
    cube = (first + np.arange(5 * 16 * 20) % 90).reshape(5, 16, 20).astype("i2")
    np.testing.assert_array_equal(read_all(open_source(write_envi(tmp_path / "x.img", cube))), cube)


@pytest.mark.parametrize("name", ["x.hyspex", "x.rfl", "x.rdn", "x.ref", "x.rad", "x.RFL", "x", "x.anything", "x.2024"])
def test_a_header_finds_its_data_by_any_suffix(tmp_path: Path, name: str) -> None:
    path = write_envi(tmp_path / name, CUBE, header="x.hdr")
    (tmp_path / "x.txt").write_text("a note")
    for given in (path, tmp_path / "x.hdr"):
        np.testing.assert_array_equal(read_all(open_source(given)), CUBE)


@pytest.mark.parametrize(("data", "header"), [("x.img", "x.img.hdr"), ("x.rfl", "x.rfl.HDR"), ("x_rfl", "x_rfl.hdr")])
def test_headers_are_named_after_their_data_with_or_without_its_suffix(tmp_path: Path, data: str, header: str) -> None:
    path = write_envi(tmp_path / data, CUBE, header=header)
    for given in (path, tmp_path / header):
        np.testing.assert_array_equal(read_all(open_source(given)), CUBE)


def test_of_several_files_the_one_of_the_promised_size_is_taken(tmp_path: Path) -> None:
    write_envi(tmp_path / "x.bsq", CUBE, header="x.hdr")
    (tmp_path / "x.img").write_bytes(bytes(CUBE.size + 700))
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.hdr")), CUBE)


def test_several_files_of_unknown_suffix_and_the_right_size_are_asked_about(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.one", CUBE, header="x.hdr")
    (tmp_path / "x.two").write_bytes(path.read_bytes())
    with pytest.raises(CubeNotFoundError, match=r"several files could be its data \(x\.one, x\.two\)"):
        open_source(tmp_path / "x.hdr")


@pytest.mark.parametrize("suffix", [".rfl", ".rdn", ".hyspex", ".ref", ".img", ""])
def test_raw_data_without_a_header_names_the_missing_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cube{suffix}"
    path.write_bytes(CUBE.tobytes())
    with pytest.raises(CubeNotFoundError, match=r"its header is missing; put .*cube\.hdr next to it"):
        open_source(path)


def test_a_file_much_larger_than_promised_is_told(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", CUBE)
    assert open_source(path).metadata.warnings == ()
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(16))
    assert open_source(path).metadata.warnings == ()
    path.write_bytes(whole + bytes(1000))
    assert any(f"its header specifies {CUBE.size}: are lines" in line for line in open_source(path).metadata.warnings)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ENVI Spectral Library", "a spectral library, not an image"),
        ("ENVI Meta File", "a list of other files"),
        ("{ENVI Virtual Mosaic}", "a list of other files"),
        ("ENVI Calibration", "a calibration file, not an image"),
    ],
)
def test_headers_of_no_image_are_named_as_what_they_are(tmp_path: Path, kind: str, message: str) -> None:
    path = write_envi(tmp_path / "x.sli", CUBE, header="x.hdr", file_type=kind)
    for given in (path, tmp_path / "x.hdr"):
        with pytest.raises(CubeError, match=message) as caught:
            open_source(given)
        assert "x.hdr" in str(caught.value)


def test_a_library_is_known_by_the_names_of_its_spectra(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.sli", CUBE[:1], file_type=None, spectra_names="{a, b, c}")
    with pytest.raises(CubeError, match="a spectral library"):
        open_source(path)


@pytest.mark.parametrize("kind", [None, "", "ENVI Standard", "envi  standard", "ENVI"])
def test_raw_images_need_say_nothing_of_their_kind(tmp_path: Path, kind: str | None) -> None:
    source = open_source(write_envi(tmp_path / "x.img", CUBE, file_type=kind))
    np.testing.assert_array_equal(read_all(source), CUBE)
    assert source.metadata.warnings == ()


def test_other_kinds_are_raw_where_the_size_fits_exactly_and_said(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", CUBE, file_type="Something Else")
    assert any("unknown file type 'Something Else'" in line for line in open_source(path).metadata.warnings)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CubeError, match="'Something Else'"):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("x.img", {"file_type": "ENVI Classification"}, "its values are classes"),
        ("DARKREF_x.raw", {}, "a dark or white reference"),
        ("x_white-ref.img", {}, "a dark or white reference"),
    ],
)
def test_what_is_hardly_a_scene_is_told(tmp_path: Path, name: str, fields: dict[str, str], told: str) -> None:
    source = open_source(write_envi(tmp_path / name, CUBE, **fields))
    assert any(told in line for line in source.metadata.warnings)


def test_headers_are_read_in_time_that_grows_with_their_length() -> None:
    def seconds(lines: int) -> float:
        text = "ENVI\ndescription = {x, {y}\n" + "x, {y}\n" * lines + "}\nsamples = 1\n"
        start = time.perf_counter()
        assert parse_header(text, "x.hdr").fields["samples"] == "1"
        return time.perf_counter() - start

    # Ten times as long took a hundred times as long before.
    assert seconds(200_000) < 40 * max(seconds(20_000), 1e-3)


@pytest.mark.parametrize("value", [",,,", ",", "{,}", "abc", "-9999 abc"])
def test_a_fill_value_that_is_no_number_is_one_clear_line(tmp_path: Path, value: str) -> None:
    path = write_envi(tmp_path / "x.img", CUBE, data_ignore_value=value)
    with pytest.raises(CubeError, match=r"x\.img\.hdr: data ignore value .*number") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digits", [19, 4299, 4301, 100_000])
@pytest.mark.parametrize("key", ["samples", "lines", "bands", "header_offset", "data_type"])
def test_sizes_of_many_digits_are_one_short_line(tmp_path: Path, digits: int, key: str) -> None:
    path = write_envi(tmp_path / "x.img", CUBE, **{key: "9" * digits})
    with pytest.raises(CubeError, match=f"of {digits} digits") as caught:
        open_source(path)
    assert len(str(caught.value)) < 300


def test_of_two_files_that_a_header_fits_equally_none_is_taken(tmp_path: Path) -> None:
    for suffix in ("img", "bsq"):
        write_envi(tmp_path / f"x.{suffix}", CUBE, header="x.hdr")
    with pytest.raises(CubeError, match=r"x\.hdr: several files could be its data \(x\.img, x\.bsq\)"):
        open_source(tmp_path / "x.hdr")
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "x.bsq")), CUBE)


def test_a_raw_file_that_is_shorter_than_its_esri_header_promises_is_refused(tmp_path: Path) -> None:
    path = write_as(tmp_path / "x.bil", "EHdr", CUBE)
    header = tmp_path / "x.hdr"
    np.testing.assert_array_equal(read_all(open_source(path)), CUBE)
    lines = header.read_text().splitlines()
    header.write_text("\n".join("NBANDS 6" if line.startswith("NBANDS") else line for line in lines))
    with pytest.raises(CubeError, match=r"x\.bil: 1600 bytes, but its header specifies 1920: it was cut short"):
        open_source(path)
