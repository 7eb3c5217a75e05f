"""Which bands of a cube a detector sees: pure rules over wavelengths, the sensor's own list and what the data show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hadgeo.errors import BandError

#: Where water vapour leaves no signal from the ground, and detectors' silicon-carbide tails beyond it, in nm.
WATER_VAPOUR_NM = ((1340.0, 1450.0), (1790.0, 1960.0), (2450.0, np.inf))

#: No imaging spectrometer sees anything shorter, so that smaller numbers are hardly meant as wavelengths.
SHORTEST_NM = 200.0

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ranges = Sequence[tuple[float, float]]

_ITEM = re.compile(r"^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$")


@dataclass(frozen=True)
class BandSelection:
    """The bands used, and why the others are not.

    Attributes:
        indices: 0-based indices of the used bands, ascending.
        total: Number of bands in the cube.
        dropped: A reason and the number of bands left out for it, for each reason that applied.
        among: A reason to leave bands out and the number of used bands that it applies to, where the user wants them.
    """

    indices: tuple[int, ...] = field(repr=False)
    total: int
    dropped: tuple[tuple[str, int], ...] = ()
    among: tuple[tuple[str, int], ...] = ()

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
        return replace(self, indices=kept, dropped=(*self.dropped, (reason, count)))

    def __str__(self) -> str:
        told = [
            f"{word}: {'; '.join(f'{count} {reason}' for reason, count in reasons)}"
            for word, reasons in (("excluded", self.dropped), ("included as asked", self.among))
            if reasons
        ]
        return f"{len(self.indices)} of {self.total} bands" + (f" ({'; '.join(told)})" if told else "")

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
    return _only_good(BandSelection(tuple(range(total)), total), wavelength, good)


def _only_good(
    selection: BandSelection, wavelength: Values | None, good: npt.NDArray[np.bool_] | None
) -> BandSelection:
    if wavelength is not None:
        selection = selection.without(np.isnan(wavelength), "of unknown wavelength")
    if good is not None:
        selection = selection.without(~good, "bad in the header")
    if wavelength is not None:
        wet = np.zeros(selection.total, dtype=bool)
        for low, high in WATER_VAPOUR_NM:
            wet |= (wavelength >= low) & (wavelength <= high)
        selection = selection.without(wet, "in water vapour")
    return selection


def parse_bands(
    spec: str,
    total: int,
    wavelength: npt.NDArray[np.float64] | None,
    good: npt.NDArray[np.bool_] | None = None,
) -> BandSelection:
    """Read a user's band selection.

    Ranges keep to good bands, those of `default_bands`; ``all``, or a ``!`` at the end, takes bad ones too. Numbers are
    1-based band numbers or nanometres, whichever makes sense of them for this cube; ``#`` or ``nm`` at the end says so.

    Args:
        spec: ``all``, or ranges such as ``1-60,65``, ``400-1300,1500-1750``, ``300-400#``, ``300-400nm`` or
            ``400-2400!``.
        total: Number of bands in the cube.
        wavelength: Band centres in nm, or None.
        good: The sensor's own list of good bands, or None.

    Raises:
        BandError: The text cannot be read or can be read in two ways, asks for wavelengths that are not known, or
            selects nothing.
    """
    text = spec.strip().lower().replace(" ", "")
    everything = text == "all" or text.endswith("!")
    chosen = np.ones(total, dtype=bool) if text == "all" else _chosen(text.removesuffix("!"), spec, total, wavelength)
    asked = BandSelection(tuple(range(total)), total).without(~chosen, "not in --bands")
    usable = _only_good(asked, wavelength, good)
    if everything:
        return replace(asked, among=usable.dropped[len(asked.dropped) :])
    if not usable.indices:
        raise BandError(f"--bands {spec} selects no good band ({usable}); {text}! takes bad ones too")
    return usable


def _chosen(text: str, spec: str, total: int, wavelength: Values | None) -> Flags:
    """Which bands lie in ranges, whatever they are worth."""
    plain = text.replace("nm", "").removesuffix("#")
    ranges = [_parse_range(item, spec) for item in plain.split(",")]
    numbers = None if text.endswith("nm") else _by_number(ranges, total)
    if wavelength is None or text.endswith("#"):
        if numbers is None:
            lacking = " and no wavelengths" if wavelength is None else ""
            raise BandError(f"--bands {spec}: the cube has {total} bands{lacking}; give band numbers from 1 to {total}")
        return numbers
    reached = _within(ranges, wavelength)
    likely = reached.any() and min(ranges)[0] >= SHORTEST_NM
    if numbers is not None and not likely:
        return numbers
    if not reached.any():
        low, high = float(np.nanmin(wavelength)), float(np.nanmax(wavelength))
        raise BandError(f"--bands {spec} selects no band; the cube's wavelengths run from {low:g} to {high:g} nm")
    if numbers is not None or not (likely or text.endswith("nm")):
        raise BandError(_two_readings(spec, plain, total, numbers, wavelength[reached]))
    return reached


def _by_number(ranges: Ranges, total: int) -> Flags | None:
    """Ranges of band numbers; None where a number is no band's."""
    if not all(a.is_integer() and b.is_integer() and a >= 1 and b <= total for a, b in ranges):
        return None
    return _within(ranges, np.arange(1.0, total + 1))


def _within(ranges: Ranges, values: Values) -> Flags:
    found = np.zeros(values.shape, dtype=bool)
    for low, high in ranges:
        found |= (values >= low) & (values <= high)
    return found


def _two_readings(spec: str, plain: str, total: int, by_number: Flags | None, reached: Values) -> str:
    """What to say of numbers that may be meant in two ways."""
    numbers = f"they go from 1 to {total}" if by_number is None else f"these are {by_number.sum()} bands"
    return (
        f"--bands {spec} can be read in two ways: as band numbers, {numbers}; as wavelengths, these are {reached.size} "
        f"bands from {reached.min():g} to {reached.max():g} nm; write {plain}# or {plain}nm"
    )


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
        return parse_bands(spec, total, wavelength, good)
    if not hasattr(spec, "__iter__"):
        raise BandError(f"bands are ranges such as '400-1300' or 0-based indices such as [3, 5, 8], not {spec!r}")
    indices = sorted(set(spec))
    if not indices or indices[0] < 0 or indices[-1] >= total:
        raise BandError(f"band indices must lie in 0 to {total - 1}, not {list(spec)}")
    return BandSelection(tuple(indices), total, (("not asked for", total - len(indices)),))
