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
        ("205-210!", 204, 209, 6),
        ("200-205", 199, 204, 6),
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


def test_a_range_keeps_to_good_bands_unless_everything_is_asked_for() -> None:
    good = np.ones(211, dtype=bool)
    good[:3] = False
    ranged = parse_bands("400-2400", 211, WAVELENGTH, good)
    assert ranged.indices == default_bands(211, WAVELENGTH, good).indices[: len(ranged.indices)]
    assert ranged.dropped == (("not in --bands", 10), ("bad in the header", 3), ("in water vapour", 12 + 18))
    assert parse_bands("1-20", 211, WAVELENGTH, good).indices == tuple(range(3, 20))
    for spec, count in (("400-2400!", 201), ("all", 211)):
        everything = parse_bands(spec, 211, WAVELENGTH, good)
        assert len(everything.indices) == count
        assert dict(everything.among)["bad in the header"] == 3
        assert "included as asked: 3 bad in the header; " in str(everything)
    with pytest.raises(BandError, match=r"selects no good band .*3 bad in the header.*1-3! takes bad ones too"):
        parse_bands("1-3", 211, WAVELENGTH, good)


def test_numbers_that_may_be_meant_in_two_ways_are_refused_with_both_readings() -> None:
    few, many = np.linspace(400, 2500, 80), np.linspace(380, 2500, 480)
    with pytest.raises(
        BandError, match=r"as band numbers, they go from 1 to 80; as wavelengths, .* write 1-500# or 1-5"
    ):
        parse_bands("1-500", 80, few)
    with pytest.raises(
        BandError, match=r"as band numbers, these are 31 bands; as wavelengths, .* write 400-430# or 40"
    ):
        parse_bands("400-430", 480, many)
    assert parse_bands("400-430#", 480, many).indices[0] > 390
    assert max(parse_bands("400-430nm", 480, many).indices) < 12
    assert max(parse_bands("1-500nm", 80, few).indices) == 3
    assert len(parse_bands("1-432#", 480, many).indices) == len(parse_bands("1-432", 480, many).indices)
    # Wavelengths of which some happen to be numbers of bands, too.
    assert max(parse_bands("400-1300", 480, many).indices) > 200
    with pytest.raises(BandError, match="has 80 bands; give band numbers from 1 to 80"):
        parse_bands("1-500#", 80, few)
