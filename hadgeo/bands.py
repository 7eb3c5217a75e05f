"""Which bands of a cube a detector sees: pure rules over wavelengths, the sensor's own list and what the data show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hadgeo.errors import BandError

#: Where water vapour leaves no signal from the ground, and detectors' silicon-carbide tails beyond it, in nm.
WATER_VAPOUR_NM = ((1340.0, 1450.0), (1790.0, 1960.0), (2450.0, np.inf))

_ITEM = re.compile(r"^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$")


@dataclass(frozen=True)
class BandSelection:
    """The bands used, and why the others are not.

    Attributes:
        indices: 0-based indices of the used bands, ascending.
        total: Number of bands in the cube.
        dropped: A reason and the number of bands left out for it, for each reason that applied.
    """

    indices: tuple[int, ...] = field(repr=False)
    total: int
    dropped: tuple[tuple[str, int], ...] = ()

    def without(self, drop: npt.NDArray[np.bool_], reason: str) -> BandSelection:
        """Leave more bands out.

        Args:
            drop: One bool for each band of the cube.
            reason: Why, for people.
        """
        kept = tuple(i for i in self.indices if not drop[i])
        count = len(self.indices) - len(kept)
        if count == 0:
            return self
        return BandSelection(kept, self.total, (*self.dropped, (reason, count)))

    def __str__(self) -> str:
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.dropped)
        return f"{len(self.indices)} of {self.total} bands" + (f" (excluded: {reasons})" if reasons else "")

    def numbers(self) -> str:
        """The used bands as ranges of 1-based numbers, such as ``1-60,65``."""
        ranges: list[list[int]] = []
        for number in (i + 1 for i in self.indices):
            if ranges and number == ranges[-1][1] + 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def default_bands(
    total: int,
    wavelength: npt.NDArray[np.float64] | None,
    good: npt.NDArray[np.bool_] | None,
) -> BandSelection:
    """Choose bands by what a header tells: good in the sensor's list and outside water vapour.

    Args:
        total: Number of bands.
        wavelength: Band centres in nm, NaN for bands whose centre is not known, or None.
        good: The sensor's own list of good bands, or None.
    """
    selection = BandSelection(tuple(range(total)), total)
    if wavelength is not None:
        selection = selection.without(np.isnan(wavelength), "of unknown wavelength")
    if good is not None:
        selection = selection.without(~good, "bad in the header")
    if wavelength is not None:
        wet = np.zeros(total, dtype=bool)
        for low, high in WATER_VAPOUR_NM:
            wet |= (wavelength >= low) & (wavelength <= high)
        selection = selection.without(wet, "in water vapour")
    return selection


def parse_bands(spec: str, total: int, wavelength: npt.NDArray[np.float64] | None) -> BandSelection:
    """Read a user's band selection.

    Numbers are 1-based band numbers while every one of them is a band of the cube, and nanometres where one is not
    or ``nm`` is written behind them.

    Args:
        spec: ``all``, or ranges such as ``1-60,65``, ``400-1300,1500-1750`` or ``400-430nm``.
        total: Number of bands in the cube.
        wavelength: Band centres in nm, or None.

    Raises:
        BandError: The text cannot be read, asks for wavelengths that are not known, or selects nothing.
    """
    text = spec.strip().lower().replace(" ", "")
    if text == "all":
        return BandSelection(tuple(range(total)), total)
    in_nm = text.endswith("nm")
    ranges = [_parse_range(item, spec) for item in text.replace("nm", "").split(",")]
    numbered = all(a.is_integer() and b.is_integer() and a >= 1 and b <= total for a, b in ranges)
    chosen = np.zeros(total, dtype=bool)
    if numbered and not in_nm:
        for a, b in ranges:
            chosen[int(a) - 1 : int(b)] = True
    elif wavelength is None:
        raise BandError(
            f"--bands {spec}: the cube has {total} bands and no wavelengths; give band numbers from 1 to {total}"
        )
    else:
        for a, b in ranges:
            chosen |= (wavelength >= a) & (wavelength <= b)
        if not chosen.any():
            low, high = float(np.nanmin(wavelength)), float(np.nanmax(wavelength))
            raise BandError(f"--bands {spec} selects no band; the cube's wavelengths run from {low:g} to {high:g} nm")
    return BandSelection(tuple(range(total)), total).without(~chosen, "not in --bands")


def _parse_range(item: str, spec: str) -> tuple[float, float]:
    match = _ITEM.match(item)
    if match is None:
        raise BandError(
            f"--bands {spec}: {item!r} is not a band or a range; write 1-60,65 or 400-1300,1500-1750 or all"
        )
    low = float(match[1])
    high = float(match[2]) if match[2] else low
    if high < low:
        raise BandError(f"--bands {spec}: the range {item} runs backwards; write {match[2]}-{match[1]}")
    return low, high


def select_bands(
    spec: str | Sequence[int] | None,
    total: int,
    wavelength: npt.NDArray[np.float64] | None,
    good: npt.NDArray[np.bool_] | None,
) -> BandSelection:
    """Choose bands before the data are looked at.

    Args:
        spec: A user's selection (see `parse_bands`), 0-based indices, or None for the default.
        total: Number of bands.
        wavelength: Band centres in nm, or None.
        good: The sensor's own list of good bands, or None.

    Raises:
        BandError: The selection is malformed or selects nothing.
    """
    if spec is None:
        return default_bands(total, wavelength, good)
    if isinstance(spec, str):
        return parse_bands(spec, total, wavelength)
    indices = sorted(set(spec))
    if not indices or indices[0] < 0 or indices[-1] >= total:
        raise BandError(f"band indices must lie in 0 to {total - 1}, not {list(spec)}")
    return BandSelection(tuple(indices), total, (("not asked for", total - len(indices)),))
