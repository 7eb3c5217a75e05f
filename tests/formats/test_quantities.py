"""What values are and when they were taken, in the words of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import hadgeo
from hadgeo.cube import as_source
from hadgeo.formats.quantities import acquired, quantity, quantity_of_title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-07-11T19:23:59Z", "2014-07-11 19:23 UTC"),
        ("{2008-09-02T10:11:12.5Z}", "2008-09-02 10:11 UTC"),
        ("2013-07-19T14:50:00", "2013-07-19 14:50"),
        ("20140711", "2014-07-11"),
        ("2014-07-11", "2014-07-11"),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_or_unknown(text: str | None, expected: str | None) -> None:
    assert acquired(text) == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("surface_reflectance", "unitless", "reflectance"),
        ("at-sensor radiance", "uW/cm^2/SR/nm", "radiance (uW/cm^2/SR/nm)"),
        (None, "W m-2 sr-1 um-1", "radiance (W m-2 sr-1 um-1)"),
        (None, "K", "value (K)"),
        (None, "reflectance", "reflectance"),
        ("band 1", "", None),
        (None, None, None),
    ],
)
def test_values_are_what_name_and_unit_say(name: str | None, unit: str | None, expected: str | None) -> None:
    assert quantity(name, unit) == expected


def test_titles_of_plots_say_it_too() -> None:
    assert quantity_of_title("{wavelength [!7l!3m]!N, reflectance [* 10000]}") == "reflectance [* 10000]"
    assert quantity_of_title("{Wavelength}") is None


def test_a_header_says_what_and_when(tmp_path: Path) -> None:
    hadgeo.simulate(tmp_path / "line.img", rows=32, cols=20, bands=8, targets=1)
    header = tmp_path / "line.hdr"
    header.write_text(header.read_text() + "acquisition time = 2026-03-01T10:12:30Z\n")
    found = as_source(tmp_path / "line.img").metadata
    assert (found.quantity, found.acquired) == ("reflectance", "2026-03-01 10:12 UTC")


def test_a_raster_says_what_and_when(tmp_path: Path) -> None:
    path = tmp_path / "line.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=3, count=2, dtype="float32", crs="EPSG:32633",
                       transform=rasterio.Affine(2, 0, 5e5, 0, -2, 4e6)) as file:  # fmt: skip
        file.write(np.ones((2, 3, 4), dtype=np.float32))
        file.update_tags(wavelength="500, 600")
        file.units = ("W/m2/sr/um", "W/m2/sr/um")
        file.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2026-03-01 10:12:30")
    found = as_source(path).metadata
    assert (found.quantity, found.acquired) == ("radiance (W/m2/sr/um)", "2026-03-01 10:12")
