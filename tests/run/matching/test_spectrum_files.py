"""Spectra from text and from ENVI spectral libraries, good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hadgeo.errors import TargetError, TargetNotFoundError
from hadgeo.run.matching.spectrum_files import read_spectrum

NM, VALUES = np.array([400.0, 500.0, 600.0]), np.array([0.1, 0.3, 0.2])


def written(tmp_path: Path, text: str, name: str = "grass.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def library(tmp_path: Path, names: str = "Kaolinite, Alunite GDS84", **changes: str) -> Path:
    values = np.array([[0.1, 0.3, 0.2], [0.5, 0.4, 0.6]])
    fields = {
        "samples": "3",
        "lines": "2",
        "bands": "1",
        "header offset": "0",
        "file type": "ENVI Spectral Library",
        "data type": "4",
        "interleave": "bsq",
        "byte order": "1",
        "wavelength units": "Micrometers",
        "spectra names": f"{{{names}}}",
        "wavelength": "{0.4, 0.5, 0.6}",
        "fwhm": "{0.01, 0.01, 0.02}",
        **changes,
    }
    (tmp_path / "lib.sli").write_bytes(values.astype(">f4").tobytes())
    (tmp_path / "lib.hdr").write_text("ENVI\n" + "\n".join(f"{k} = {v}" for k, v in fields.items() if v) + "\n")
    return tmp_path / "lib.sli"


@pytest.mark.parametrize(
    "text",
    [
        "400 0.1\n500 0.3\n600 0.2\n",
        "400\t0.1\n500\t0.3\n600\t0.2",
        "wavelength,reflectance\n400,0.1\n500,0.3\n600,0.2\n",
        '"Wavelength (nm)","R"\n"400","0.1"\n"500","0.3"\n"600","0.2"\n',
        "0.4,0.1\n0.5,0.3\n0.6,0.2\n",
        "Wavelength [µm];R\n0,4;0,1\n0,5;0,3\n0,6;0,2\n",
        "# a comment\n; and another\n400,0.1,\n500,0.3,\n600,0.2,\n",
        "600 0.2\n500 0.3\n400 0.1\n",
        "\ufeff400 0.1\r\n500 0.3\r\n600 0.2\r\n",
        "400 0.1 0.01\n500 0.3 0.01\n600 0.2 0.01\n",
        "nm,mean,stdev\n400,0.1,0.01\n500,0.3,0.01\n600,0.2,0.01\n",
        "Wavelength (angstroms),R\n4000,0.1\n5000,0.3\n6000,0.2\n",
        "400 0.1\n450 -1.23e+34\n500 0.3\n550 nan\n600 0.2\n",
        "400,0 0,1\n500,0 0,3\n600,0 0,2\n",
        'nm,R\n"400,0","0,1"\n"500,0","0,3"\n"600,0","0,2"\n',
        "400,0.1,0.01\n500,0.3,\n600,0.2,0.01\n",
        "Wavenumber (cm-1),R\n25000,0.1\n20000,0.3\n16666.66666667,0.2\n",
        "nm,R (%)\n400,10\n500,30\n600,20\n",
    ],
)
def test_two_columns_in_any_manner(text: str, tmp_path: Path) -> None:
    target = read_spectrum(written(tmp_path, text))
    assert target.wavelength is not None
    np.testing.assert_allclose(target.wavelength, NM)
    np.testing.assert_allclose(target.values, VALUES)
    assert target.name == "grass"
    assert target.files == (tmp_path / "grass.txt",)


def test_ecostress_says_name_and_units(tmp_path: Path) -> None:
    text = (
        "Name: Kaolinite Al2Si2O5(OH)4\nType: mineral\nParticle Size: fine, 0-45 um\n"
        "X Units: Wavelength (micrometers)\nY Units: Reflectance (percentage)\n"
        "First X Value: 0.6\n\n0.6\t20\n0.5\t30\n0.4\t10\n"
    )
    target = read_spectrum(written(tmp_path, text))
    assert target.name == "Kaolinite Al2Si2O5(OH)4"
    np.testing.assert_allclose(target.wavelength, NM)
    np.testing.assert_allclose(target.values, VALUES)
    assert target.notes == ("values in percent",)


def test_one_of_several_columns_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "nm,grass,old asphalt\n400,0.1,0.5\n500,0.3,0.4\n600,0.2,0.6\n", "many.csv")
    for chosen in ("old asphalt", "Old  Asphalt", "2"):
        target = read_spectrum(f"{path}#{chosen}")
        np.testing.assert_allclose(target.values, [0.5, 0.4, 0.6])
        assert target.name == "old asphalt"
    with pytest.raises(TargetError, match=r"many\.csv: contains 2 spectra; name one .*: 1 grass, 2 old asphalt$"):
        read_spectrum(path)
    with pytest.raises(TargetError, match="contains no 'road' among its 2 spectra: 1 grass, 2 old asphalt"):
        read_spectrum(f"{path}#road")


@pytest.mark.parametrize("name", ["lib.sli", "lib.hdr"])
@pytest.mark.parametrize("chosen", ["alunite gds84", "2"])
def test_a_spectral_library(name: str, chosen: str, tmp_path: Path) -> None:
    library(tmp_path)
    target = read_spectrum(f"{tmp_path / name}#{chosen}")
    assert target.name == "Alunite GDS84"
    np.testing.assert_allclose(target.values, [0.5, 0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose(target.wavelength, NM)
    np.testing.assert_allclose(target.fwhm, [10, 10, 20])
    assert set(target.files) == {tmp_path / "lib.sli", tmp_path / "lib.hdr"}


def test_a_library_lists_what_it_contains(tmp_path: Path) -> None:
    with pytest.raises(
        TargetError, match=r"2 spectra; name one of them as lib\.sli#NAME or lib\.sli#3: 1 Kaolinite, 2 A"
    ):
        read_spectrum(library(tmp_path))


def test_scale_and_nodata_of_a_library_are_applied(tmp_path: Path) -> None:
    path = library(tmp_path, **{"reflectance scale factor": "0.5", "data ignore value": "0.5"})
    target = read_spectrum(f"{path}#2")
    np.testing.assert_allclose(target.values, [0.8, 1.2], rtol=1e-6)
    np.testing.assert_allclose(target.wavelength, NM[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelength": ""}, "no wavelengths; add them to the header"),
        ({"wavelength": "{1, 2, 3}", "wavelength units": ""}, "merely count the bands"),
        ({"lines": "9"}, "shorter than its header says"),
        ({"lines": "111111111111111111"}, "shorter than its header says"),
        ({"samples": "111111111111111111"}, "shorter than its header says"),
        ({"bands": "3"}, "3 bands; a spectral library has 1"),
        ({"file type": "ENVI Standard", "spectra names": ""}, "an ENVI image, not a spectral library"),
        ({"data type": "77"}, "data type 77 is not an ENVI data type"),
        ({"samples": ""}, "no 'samples'"),
    ],
)
def test_a_bad_library_is_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    path = library(tmp_path, **changes)
    with pytest.raises(TargetError, match=message) as refused:
        read_spectrum(f"{path}#{changes.get('lines', '2')}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows of numbers"),
        ("just words\nand more\n", "no rows of numbers"),
        ("splib07a Record=1\n0.1\n0.2\n", "one column of numbers"),
        ("400 0.1\n", "1 of its 1 values are numbers"),
        ("400 nan\n500 nan\n600 nan\n", "0 of its 3 values are numbers"),
        ("400 0.2\n500 0.2\n600 0.2\n", "a flat spectrum, all 3 values are 0.2"),
        ("400 0.1\n500 0.3\nthe end\n", "line 3: 'the end' is not a wavelength and a value"),
        ("1 0.1\n2 0.3\n3 0.2\n", "merely counts the values"),
        ("-1 0.1\n-2 0.3\n-3 0.2\n", "holds no wavelengths"),
        ("400,0.1\n500,0,3\n600,0.2\n", "line 2: number of cells 3, where other lines have 2; .*semicolons"),
        ("400,0.1\n500,0.3\n600,0.2\n70", "line 4: number of cells 1, where other lines have 2"),
        ("X Units: Channel\n25 0.1\n26 0.3\n", "convert it to wavelengths"),
    ],
)
def test_bad_text_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=message) as refused:
        read_spectrum(written(tmp_path, text))
    assert str(tmp_path / "grass.txt") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0\10\0\0\0")
    with pytest.raises(TargetError, match="no text; give a spectrum as ASCII or CSV"):
        read_spectrum(tmp_path / "x.tif")
    with pytest.raises(TargetError, match="is a folder"):
        read_spectrum(tmp_path)
    with pytest.raises(TargetNotFoundError, match=r"gone\.txt: no such file"):
        read_spectrum(tmp_path / "gone.txt")
    with pytest.raises(TargetNotFoundError, match=r"gone\.sli: no such file"):
        read_spectrum(f"{tmp_path}/gone.sli#kaolinite")
    with pytest.raises(TargetNotFoundError, match="no file is named"):
        read_spectrum("")


def test_a_name_with_a_hash_is_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, "400 0.1\n500 0.3\n600 0.2\n", "sample#3.txt")
    assert read_spectrum(path).name == "sample#3"


def test_latin_text_and_the_same_wavelength_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("# in µm\n0.4 0.1\n0.5 0.3\n0.5 0.9\n0.6 0.2\n".encode("latin-1"))
    np.testing.assert_allclose(read_spectrum(path).values, VALUES)


def test_unicode_text_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "grass.txt").write_bytes("nm\tR\n400\t0,1\n500\t0,3\n600\t0,2\n".encode("utf-16"))
    np.testing.assert_allclose(read_spectrum(tmp_path / "grass.txt").values, VALUES)
