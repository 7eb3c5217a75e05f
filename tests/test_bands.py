"""Which bands a detector sees."""

from __future__ import annotations

import numpy as np
import pytest

from hadgeo.bands import default_bands, parse_bands, select_bands
from hadgeo.errors import BandError

WAVELENGTH = np.linspace(400, 2500, 211)  # every 10 nm


def test_default_leaves_out_bad_bands_and_water_vapour() -> None:
    good = np.ones(211, dtype=bool)
    good[:3] = False
    selection = default_bands(211, WAVELENGTH, good)
    used = WAVELENGTH[list(selection.indices)]
    assert used.min() == 430
    assert not ((used >= 1340) & (used <= 1450)).any()
    assert not ((used >= 1790) & (used <= 1960)).any()
    assert used.max() < 2450
    assert selection.dropped == (("bad in the header", 3), ("in water vapour", 12 + 18 + 6))


def test_without_wavelengths_nothing_is_taken_for_water_vapour() -> None:
    assert len(default_bands(10, None, None).indices) == 10


@pytest.mark.parametrize(
    ("spec", "first", "last", "count"),
    [
        ("all", 0, 210, 211),
        ("1-60,65", 0, 64, 61),
        (" 1 - 2 , 5 ", 0, 4, 3),
        ("400-1300,1500-1750", 0, 135, 91 + 26),
        ("205-210", 204, 209, 6),
        ("400-410nm", 0, 1, 2),
        ("450nm-500nm", 5, 10, 6),
    ],
)
def test_band_selections(spec: str, first: int, last: int, count: int) -> None:
    indices = parse_bands(spec, 211, WAVELENGTH).indices
    assert (indices[0], indices[-1], len(indices)) == (first, last, count)


def test_numbers_round_trip() -> None:
    selection = parse_bands("1-60,65,70-71", 100, None)
    assert selection.numbers() == "1-60,65,70-71"
    assert parse_bands(selection.numbers(), 100, None).indices == selection.indices


@pytest.mark.parametrize(
    ("spec", "wavelength", "message"),
    [
        ("60-1", WAVELENGTH, "write 1-60"),
        ("1,,2", WAVELENGTH, "is not a band or a range"),
        ("red", WAVELENGTH, "is not a band or a range"),
        ("", WAVELENGTH, "is not a band or a range"),
        ("0-5", WAVELENGTH, "run from 400 to 2500 nm"),
        ("3000-4000", WAVELENGTH, "run from 400 to 2500 nm"),
        ("400-1300", None, "give band numbers from 1 to 211"),
    ],
)
def test_bad_selections_say_what_to_write(spec: str, wavelength: np.ndarray | None, message: str) -> None:
    with pytest.raises(BandError, match=message):
        parse_bands(spec, 211, wavelength)


def test_indices_outside_the_cube_are_refused() -> None:
    assert select_bands([3, 1], 5, None, None).indices == (1, 3)
    for wrong in ([5], [-1], []):
        with pytest.raises(BandError, match="0 to 4"):
            select_bands(wrong, 5, None, None)
