"""Units of wavelengths and widths: read from their names, and judged by the magnitude of the values.

Files contradict themselves: micrometres that are called nanometres, widths in another unit than the centres. Imaging
spectrometers see 0.2 to 20 µm, and their bands are narrower than half their wavelength, so a value tells its unit.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

#: Wavelengths without a unit are nanometres where their median exceeds this, else micrometres.
LARGEST_MICROMETRE = 30.0

#: What imaging spectrometers see, in nm.
PLAUSIBLE_NM = (200.0, 20_000.0)

#: Beyond these, a value among plausible ones is no wavelength at all, in nm.
_POSSIBLE_NM = (50.0, 100_000.0)

#: Median widths of bands, in nm; and by how much they may exceed the distance of the bands.
_WIDTHS_NM = (0.05, 3000.0)
_MOST_OVERLAP = 20.0

#: Share of values that must be plausible for a unit to be believed.
_ENOUGH = 0.5

#: Units by what brings them to nm, likeliest first.
_NAMES = {1.0: "nm", 1e3: "µm", 1e9: "m", 0.1: "Å", 1e6: "mm"}

_UNITS = {
    re.compile(r"nm?|nano.*"): 1.0,
    # A micro sign that was not written in UTF-8 reads as U+FFFD.
    re.compile(r"[uµμ\ufffd]m?|mum|micro.*"): 1e3,
    re.compile(r"å|a|ang(strom.*)?|ångstr.*"): 0.1,
    re.compile(r"mm|millimet.*"): 1e6,
    re.compile(r"m|met(er|re)s?"): 1e9,
}

#: Units of wave numbers and frequencies, by what their values divide to give nm (the speed of light is 299792458 m/s).
_RECIPROCAL = {
    re.compile(r"wave ?numbers?.*|1/cm|/cm|cm\^?\(?-1\)?|cm⁻¹|inverse cent.*|reciprocal cent.*"): 1e7,
    re.compile(r"thz|tera ?hertz"): 299_792.458,
    re.compile(r"ghz|giga ?hertz"): 299_792_458.0,
    re.compile(r"mhz|mega ?hertz"): 299_792_458e3,
    re.compile(r"hz|hertz"): 299_792_458e9,
}

#: Units of a spectral axis that tells no wavelengths.
_NO_WAVELENGTH = re.compile(r"index|indices|channels?|bands?")

_IN_BRACKETS = re.compile(r"\((.*)\)|\[(.*)\]")


def unit_factor(unit: str) -> float | None:
    """What brings values in a unit to nm, or None where its name is not known.

    Args:
        unit: As files spell it: ``Nanometers``, ``um``, ``µm``, ``micrometers (um)``, ``"nm"``.
    """
    name = _plain(unit)
    return next((factor for spelling, factor in _UNITS.items() if spelling.fullmatch(name)), None)


def reciprocal_factor(unit: str) -> float | None:
    """What values in a unit of wave numbers or frequencies divide to give nm, or None where it is neither.

    Args:
        unit: As files spell it: ``Wavenumber``, ``cm-1``, ``GHz``.
    """
    name = _plain(unit)
    return next((factor for spelling, factor in _RECIPROCAL.items() if spelling.fullmatch(name)), None)


def is_no_wavelength(unit: str) -> bool:
    """Whether a unit is one of mere counting."""
    return _NO_WAVELENGTH.fullmatch(_plain(unit)) is not None


def _plain(unit: str) -> str:
    """A unit's name in lower case, without braces, quotes, and a symbol in brackets behind it."""
    name = unit.strip().strip("{}\"'").strip().lower()
    without = _IN_BRACKETS.sub("", name).strip()
    return (without or name.strip("()[] ")).rstrip(".").replace("nano ", "nano").replace("micro ", "micro")


def counts(values: Values) -> bool:
    """Whether values merely number the bands: 1, 2, 3, … or 0, 1, 2, …."""
    if values.size < 3 or values[0] not in (0.0, 1.0):
        return False
    return bool((np.diff(values) == 1.0).all())


def wavelengths_in_nm(values: Values, named: float | None) -> tuple[Values | None, float, str | None]:
    """Bring wavelengths to nm.

    Args:
        values: As the file has them; NaN where there are none.
        named: What brings the unit that the file names to nm, or None where it names none.

    Returns:
        The wavelengths, NaN for those that are zero, negative, not finite or impossible, or None where half of them or
        more are or the unit cannot be told; what brought them to nm; and one line about the unit where it contradicts
        the values or is not known.
    """
    valid = np.isfinite(values) & (values > 0)
    known = values[valid]
    if 2 * known.size <= values.size:
        return None, named or 1.0, None
    if named is None and _may_be_wave_numbers(known):
        return None, 1.0, f"values of {_span(known)} without a unit may be wavelengths in Å or wave numbers: ignored"
    factor = named or (1.0 if np.median(known) > LARGEST_MICROMETRE else 1e3)
    better = _unit_of(known, factor, stated=named is not None)
    share = _share(known, better)
    mixed = _each_by_magnitude(known) if share < 1.0 else None
    if mixed is not None:
        scaled = np.full(values.shape, np.nan)
        scaled[valid] = mixed
        return (
            scaled,
            better,
            f"wavelengths of {_span(known)} mix nm and µm: the unit of each is inferred from its magnitude",
        )
    scaled = times(np.where(valid, values, np.nan), better)
    if share >= _ENOUGH:
        low, high = _POSSIBLE_NM
        scaled = np.where((scaled >= low) & (scaled <= high), scaled, np.nan)
    if 2 * np.isfinite(scaled).sum() <= values.size:
        return None, better, None
    note = None
    if better != factor:
        doubt = f"cannot be in {_NAMES[factor]}, contrary to the file" if named is not None else "without a unit"
        note = f"wavelengths of {_span(known)} {doubt}: assumed to be in {_NAMES[better]}"
    return scaled, better, note


def _may_be_wave_numbers(known: Values) -> bool:
    """Whether values without a unit fall, and are too many to be nm: Å, or 1/cm of wavelengths that rise."""
    falls = known.size > 1 and bool((np.diff(known) < 0).all())
    return falls and bool(known.max() > PLAUSIBLE_NM[1])


def _each_by_magnitude(known: Values) -> Values | None:
    """Wavelengths of which some are in nm and others in µm, or None where they do not rise then.

    The two ranges do not overlap, and two spectrometers of one camera may come with a unit each.
    """
    low, high = PLAUSIBLE_NM
    small = known <= high / 1e3
    scaled = np.where(small, times(known, 1e3), known)
    if small.all() or not small.any() or scaled.min() < low or scaled.max() > high or (np.diff(scaled) <= 0).any():
        return None
    return scaled


def _unit_of(known: Values, factor: float, *, stated: bool) -> float:
    """The unit that makes most of the values plausible; the one at hand unless another is clearly better."""
    share = _share(known, factor)
    if share == 1.0 or (stated and share >= _ENOUGH):
        return factor
    # A stated nanometre is a mistake for a micrometre, hardly ever for an ångström.
    candidates = [other for other in _NAMES if not (stated and other in (0.1, 1e6))]
    best = max(candidates, key=lambda other: _share(known, other))
    return best if _share(known, best) > max(share, _ENOUGH) else factor


def _share(known: Values, factor: float) -> float:
    """Which part of the values is plausible in a unit."""
    low, high = PLAUSIBLE_NM
    # Rounding must not make 0.2 µm less than 200 nm.
    return float(np.mean((known * factor >= low * (1 - 1e-9)) & (known * factor <= high * (1 + 1e-9))))


def widths_in_nm(widths: Values, wavelength: Values | None, named: float | None) -> tuple[Values | None, str | None]:
    """Bring widths of bands to nm, whatever the unit of the centres.

    Args:
        widths: As the file has them; NaN where there are none.
        wavelength: Centres in nm, NaN where unknown; or None.
        named: What brought the centres to nm, or would have, or None where no unit is known.

    Returns:
        The widths, NaN for those that are zero, negative or not finite, or None where no unit makes them plausible; and
        one line about the unit where it contradicts the values.
    """
    valid = np.isfinite(widths) & (widths > 0)
    if 2 * valid.sum() <= widths.size:
        return None, None
    usual = float(np.median(widths[valid]))
    order = [named, *(factor for factor in (1.0, 1e3, 1e9, 0.1) if factor != named)]
    fits = [factor for factor in order if factor is not None and _plausible_width(usual * factor, wavelength)]
    if not fits:
        return None, f"widths of {_span(widths[valid])} do not fit the wavelengths in any unit: ignored"
    factor = fits[0]
    each = _each_width(widths, valid, wavelength)
    if each is not None:
        return each, f"widths of {_span(widths[valid])} in nm and µm: each taken by its magnitude"
    note = None
    if named is not None and factor != named:
        note = (
            f"widths of {_span(widths[valid])} cannot be in {_NAMES[named]} like the wavelengths: assumed to be in "
            f"{_NAMES[factor]}"
        )
    return np.where(valid, times(widths, factor), np.nan), note


def _each_width(widths: Values, valid: npt.NDArray[np.bool_], wavelength: Values | None) -> Values | None:
    """Widths of which some are in nm and others in µm, as of two spectrometers of a camera; None where they are not."""
    small = valid & (widths < _WIDTHS_NM[0])
    large = valid & ~small
    if not small.any() or not large.any():
        return None
    scaled = np.where(valid, np.where(small, times(widths, 1e3), widths), np.nan)
    both = [float(np.median(scaled[part])) for part in (small, large)]
    close = max(both) <= _MOST_OVERLAP * min(both)
    return scaled if close and all(_plausible_width(width, wavelength) for width in both) else None


def _plausible_width(width: float, wavelength: Values | None) -> bool:
    low, high = _WIDTHS_NM
    if not low <= width <= high:
        return False
    centres = np.sort(wavelength[np.isfinite(wavelength)]) if wavelength is not None else np.empty(0)
    if not centres.size:
        return True
    spacing = float(np.median(np.diff(centres))) if centres.size > 1 else 0.0
    return bool(width <= np.median(centres) / 2 and (spacing == 0.0 or width <= _MOST_OVERLAP * spacing))


def _span(values: Values) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def times(values: Values, factor: float) -> Values:
    """Values in another unit, with their own digits: 0.4554 * 1000 is 455.40000000000003."""
    return np.round(values * factor, 9) if factor != 1.0 else np.asarray(values)
