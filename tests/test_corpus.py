"""Every file that hadgeo is tried on, held against what is right: axes, rows, place, data or none, wavelengths."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rasterio.crs import CRS

from hadgeo.cli import cli
from hadgeo.errors import CubeError
from hadgeo.formats import Source, open_source
from tests.corpus import FILES, Expected, Refused, Spectrum
from tests.formats import container_files, envi_files
from tests.formats.products import makers

#: Files beside cubes that are read with them, and no cubes themselves.
_SIDE_FILES = (".aux.xml", ".stac.json", ".md", ".txt")


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_what_it_is(data_dir: Path, name: str) -> None:
    path, expected = data_dir / name, FILES[name]
    if not path.exists():
        pytest.skip(f"no {name} among the real scenes")
    _hold(path, expected)


def test_no_file_is_left_out(data_dir: Path) -> None:
    cubes = {
        file.relative_to(data_dir).as_posix()
        for folder in ("truth", "geo", "odd", "reports")
        for file in (data_dir / folder).rglob("*")
        if file.suffix == ".zarr" or (file.is_file() and ".zarr/" not in file.as_posix())
    }
    assert {name for name in cubes if not name.endswith(_SIDE_FILES)} <= set(FILES)


@pytest.mark.parametrize("file", ["two", "full"])
def test_a_part_is_found_by_the_name_that_gdal_gives_it(data_dir: Path, file: str) -> None:
    name = f"reports/22b_emit_like/{file}.nc"
    _hold(f'NETCDF:"{data_dir / name}":reflectance', FILES[name])


def _hold(path: Path | str, expected: Expected | Refused) -> None:
    """Open a file and ask `hadgeo info`, and hold both against what is right."""
    if isinstance(expected, Refused):
        with pytest.raises(CubeError) as refused:
            open_source(path)
        assert [word for word in expected.words if word not in str(refused.value)] == []
        return
    source = open_source(path)
    _hold_source(source, expected)
    result = CliRunner().invoke(cli, ["info", str(path), "--json", "--no-trial", "-d", "rx"])
    _hold_facts(json.loads(result.stdout), expected)


def _hold_source(source: Source, expected: Expected) -> None:
    known = source.metadata
    assert source.shape == expected.shape
    cube = source.read(slice(0, source.shape[1]), slice(0, source.shape[2]))
    for place, value in expected.samples.items():
        assert cube[place] == pytest.approx(value, rel=1e-6, nan_ok=True), place
    _hold_crs(known.crs, expected.crs)
    _hold_transform(known.transform[:6] if known.georeferenced else None, expected)
    missing = np.isnan(cube)
    assert int(missing.all(axis=0).sum()) == expected.empty
    assert int(missing.any(axis=0).sum()) == expected.empty + expected.partly
    _hold_spectrum(known.wavelength, expected.wavelength)
    _hold_spectrum(known.fwhm, expected.fwhm)
    assert known.good is not None
    assert int((~known.good).sum()) == expected.bad
    _hold_lines(known.assumed, expected.assumed)
    _hold_lines(known.warnings, expected.warnings)


def _hold_facts(facts: dict[str, Any], expected: Expected) -> None:
    assert (facts["bands"], facts["rows"], facts["columns"]) == expected.shape
    _hold_crs(None if facts["crs"] is None else CRS.from_string(facts["crs"]), expected.crs)
    _hold_transform(facts["transform"], expected)
    assert facts["empty_pixels"] == expected.empty
    for key, spectrum in (("wavelength_nm", expected.wavelength), ("fwhm_nm", expected.fwhm)):
        values = None if facts[key] is None else [math.nan if value is None else value for value in facts[key]]
        _hold_spectrum(values, spectrum)
    assert len(facts["bad_bands"]) == expected.bad
    _hold_lines(facts["assumed"], expected.assumed)
    _hold_lines(facts["warnings"], expected.warnings)


def _hold_crs(crs: CRS | None, expected: int | str | None) -> None:
    if isinstance(expected, str):
        assert crs is not None
        assert expected in crs.to_wkt()
    else:
        assert (None if crs is None else crs.to_epsg()) == expected


def _hold_transform(transform: Sequence[float] | None, expected: Expected) -> None:
    if expected.transform is None:
        assert transform is None
    else:
        assert transform is not None
        np.testing.assert_allclose(transform, expected.transform, rtol=0, atol=1e-6)


def _hold_spectrum(values: Sequence[float] | np.ndarray | None, expected: Spectrum | None) -> None:
    if expected is None:
        assert values is None
        return
    assert values is not None
    found = np.asarray(values, dtype=np.float64)
    np.testing.assert_allclose(found[[0, -1]], expected[:2], atol=1e-3)
    assert int(np.isnan(found).sum()) == expected[2]


def _hold_lines(lines: Sequence[str], expected: Sequence[str]) -> None:
    """Each line is expected, and each expected one is there, in any order."""
    assert len(lines) == len(expected), lines
    for words in expected:
        assert any(words in line for line in lines), (words, lines)


def _raw(folder: Path) -> Path:
    return envi_files.write_envi(folder / "line", _CUBE, interleave="bil", byte_order=1, wavelength="{.45, .55, 1.65}")


def _rotated(folder: Path) -> Path:
    info = "{UTM, 2, 3, 500000, 4500000, 4, 2, 33, North, WGS-84, Rotation = 90}"
    return envi_files.write_envi(folder / "line.img", _CUBE, interleave="bip", map_info=info, wavelength=None)


def _zeros_around(folder: Path) -> Path:
    cube = _CUBE.copy()
    cube[:, :2, :3] = 0
    cube[1, 3, 3] = 0
    return envi_files.write_envi(folder / "line.img", cube, fwhm="{1e-2, 1e-2, 1e-2}")


def _last_axis(folder: Path) -> Path:
    coordinates = container_files.coordinates()
    cube = container_files.CUBE.transpose(1, 2, 0)
    more = {"cube": (("y", "x", "wavelength"), cube, {"grid_mapping": "crs"})}
    return container_files.write_netcdf4(folder / "x.nc", coordinates | more)


def _south_up(folder: Path) -> Path:
    coordinates = container_files.coordinates(y=container_files.Y[::-1])
    more = {"cube": (("wavelength", "y", "x"), container_files.CUBE[:, ::-1], {"grid_mapping": "crs"})}
    return container_files.write_netcdf4(folder / "x.nc", coordinates | more)


def _product(file: str, make: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        make(folder / file)
        return folder / file

    return made


_CUBE = np.arange(1, 61, dtype="i2").reshape(3, 4, 5)
_LINE = Expected(
    (3, 4, 5),
    {(0, 0, 0): 1, (1, 0, 0): 21, (0, 1, 0): 6, (0, 0, 1): 2},
    32633,
    (4, 0, 500000, 0, -4, 4500000),
    wavelength=(400, 420, 0),
)
_FIRST = container_files.CUBE[:, 0, 0]
_CONTAINED = Expected(
    (4, 5, 6),
    {(band, 0, 0): float(_FIRST[band]) for band in range(4)} | {(0, 4, 0): float(container_files.CUBE[0, 4, 0])},
    32612,
    (2, 0, 500000, 0, -2, 4000000),
    wavelength=(450, 1380, 0),
)
_MADE = Expected((6, 5, 4), {(0, 0, 0): 1000, (1, 0, 0): 1020, (0, 1, 0): 1004, (0, 0, 1): 1001})
_PLACED = replace(_MADE, crs=makers.EPSG, transform=(30, 0, makers.LEFT, 0, -30, makers.TOP))
_GAIN = {(0, 0, 0): 0.1, (1, 0, 0): 0.102, (0, 1, 0): 0.1004, (0, 0, 1): 0.1001}

MADE: dict[str, tuple[Callable[[Path], Path], Expected]] = {
    "raw": (_raw, replace(_LINE, wavelength=(450, 1650, 0))),
    "rotated": (
        _rotated,
        replace(
            _LINE,
            # A quarter turn about column 1, row 2: columns step north by 4, rows east by 2.
            transform=(0, 2, 500000 - 2 * 2, 4, 0, 4500000 - 4),
            wavelength=None,
            warnings=("ignores the rotation of 90°", "no wavelengths, and three bands"),
        ),
    ),
    "zeros around": (
        _zeros_around,
        replace(
            _LINE,
            samples={(0, 0, 0): math.nan, (1, 3, 3): 0, (0, 3, 4): 20},
            empty=6,
            fwhm=(10, 10, 0),
            assumed=("0 in every band at the border", "widths of 0.01 cannot be in nm"),
        ),
    ),
    "bands last": (_last_axis, _CONTAINED),
    "south up": (
        _south_up,
        replace(
            _CONTAINED,
            samples={(0, 4, 0): float(_FIRST[0]), (3, 4, 0): float(_FIRST[3])},
            transform=(2, 0, 500000, 0, 2, 4000000 - 10),
        ),
    ),
    "emit": (
        _product("x.nc", makers.emit),
        replace(_MADE, wavelength=(400, 2400, 0), fwhm=(8.5, 8.5, 0), bad=1, warnings=("in sensor geometry",)),
    ),
    "neon": (
        _product("x.h5", makers.neon),
        replace(
            _PLACED,
            samples=_GAIN,
            transform=(1, 0, makers.LEFT, 0, -1, makers.TOP),
            wavelength=(450, 2200, 0),
            fwhm=(5.8, 5.8, 0),
            bad=1,
        ),
    ),
    "tanager": (
        _product("x.h5", makers.tanager),
        replace(_PLACED, wavelength=(376, 2499, 0), fwhm=(5.6, 5.6, 0), bad=1),
    ),
    "aviris": (
        _product("x.nc", makers.aviris),
        replace(
            _PLACED, transform=(2, 0, makers.LEFT, 0, -2, makers.TOP), wavelength=(380, 2500, 0), fwhm=(7.4, 7.4, 0)
        ),
    ),
    "enmap": (
        _product("enmap", makers.enmap),
        replace(
            _PLACED,
            samples=_GAIN,
            wavelength=(420.5, 470.5, 0),
            fwhm=(6.5, 11.5, 0),
            assumed=("-32768",),
        ),
    ),
    "desis": (
        _product("desis", makers.desis),
        replace(
            _PLACED,
            samples={(0, 0, 0): 1, (1, 0, 0): 1020 * 0.002 + 0.5, (0, 1, 0): 1.004},
            wavelength=(401.5, 414, 0),
            fwhm=(3.5, 8.5, 0),
            assumed=("-32768",),
        ),
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_made_file_is_read_as_what_it_is(tmp_path: Path, kind: str) -> None:
    make, expected = MADE[kind]
    _hold(make(tmp_path), expected)
