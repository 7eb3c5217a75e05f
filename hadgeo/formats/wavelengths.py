"""What the text of a header says about bands: wavelengths in any unit, widths, and the sensor's own list of good bands.

Pure text to numbers; no file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError
from hadgeo.formats.number_lists import lenient_numbers, numbers, shown
from hadgeo.formats.spectral_units import (
    PLAUSIBLE_NM,
    counts,
    is_no_wavelength,
    reciprocal_factor,
    times,
    unit_factor,
    wavelengths_in_nm,
    widths_in_nm,
)

#: Fields of a header: the text of each, or its items.
Fields: TypeAlias = Mapping[str, str | Sequence[str]]

#: Said of every cube whose file tells no wavelengths.
NO_WAVELENGTHS = "no wavelengths: bands in water-vapour absorption cannot be identified"

#: Said in its place of three bands, which are hardly a spectrum.
PICTURE = "no wavelengths, and three bands: a picture rather than spectra"

#: Said of red, green and blue that have wavelengths.
COLOURS = "three bands of visible light: a picture rather than spectra"

#: Where the three colours of a picture lie, and by how much they differ at least, in nm.
VISIBLE_NM = (400.0, 700.0)
_APART_NM = 40.0

#: Keys in the place of the usual ones, without their blanks.
_SYNONYMS = {
    "wavelength": re.compile(
        r"(band)?wavelengths?(list|values?|cent(er|re)s?)?|(band)?(cent(er|re)|central)(wavelengths?|s)|lambdas?|wls?"
    ),
    "fwhm": re.compile(r"fwhms?(values?)?|band-?widths?|full-?widths?(at)?half-?max(imum|ima)?"),
    "wavelength units": re.compile(r"wavelengths?-?units?|units?(of)?wavelengths?"),
    "bbl": re.compile(r"bbl|badbandslist"),
}

#: A unit behind a key, such as ``wavelength (nm)``.
_IN_KEY = re.compile(r"\s*[(\[][^)\]]*[)\]]\s*$")

_IN_NAME = re.compile(
    r"(?<![\w.])(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*(nm|nanomet(?:er|re)s?|[uµμ]m|micromet(?:er|re)s?|microns?)\b", re.I
)

#: The number in a name such as ``Band_503``, ``B503`` or ``503.2``; ENVI puts it in brackets behind other text.
_BRACKETED = re.compile(r"\((\d+(?:\.\d+)?)\)\s*$")
_ONLY_NUMBER = re.compile(r"^\D*?(\d+(?:\.\d+)?)\D*$")


@dataclass(frozen=True)
class Spectral:
    """What one place in a file says about the bands; None for what it does not say.

    Attributes:
        wavelength: Band centres in nm, NaN for bands whose centre is not known.
        fwhm: Full widths at half maximum in nm, NaN for bands whose width is not known.
        good: Which bands the sensor's makers hold for good.
        warnings: One line for each thing that was ignored.
        assumed: One line for each contradiction that was resolved.
    """

    wavelength: npt.NDArray[np.float64] | None = None
    fwhm: npt.NDArray[np.float64] | None = None
    good: npt.NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = field(default=())
    assumed: tuple[str, ...] = field(default=())

    def good_bands(self, bands: int) -> npt.NDArray[np.bool_]:
        """Which bands are good: those on the makers' list whose wavelength is known, where any is.

        Args:
            bands: Number of bands of the cube.
        """
        good = np.ones(bands, dtype=bool) if self.good is None else self.good
        return good if self.wavelength is None else good & np.isfinite(self.wavelength)


def unknown_wavelengths(wavelength: npt.NDArray[np.float64] | None, bands: int) -> tuple[str, ...]:
    """What to say of a cube without wavelengths, or of a picture.

    Args:
        wavelength: Its band centres in nm, or None.
        bands: Number of its bands.
    """
    if wavelength is None:
        return (PICTURE if bands == 3 else NO_WAVELENGTHS,)
    low, high = VISIBLE_NM
    blue, green, red = np.sort(wavelength) if bands == 3 else (0.0, 0.0, 0.0)
    coloured = low <= blue and red <= high and min(green - blue, red - green) >= _APART_NM
    return (COLOURS,) if coloured else ()


def spectral(fields: Fields, bands: int, where: str) -> Spectral:
    """Read wavelengths, widths and good bands.

    Args:
        fields: Any of ``wavelength``, ``fwhm``, ``bbl`` (lists) and ``wavelength units``, or what else they are called.
        bands: Number of bands of the cube.
        where: The file, for messages.

    Returns:
        What they say. A list of another length, or of something that is no number, is set aside with a warning.
    """
    fields = _usual_keys(fields)
    notes: list[str] = []
    mended: list[str] = []
    unit = fields.get("wavelength units")
    unit = unit if isinstance(unit, str) else ""
    wavelength = fwhm = None
    if is_no_wavelength(unit):
        notes += [f"the spectral axis is in {unit!r}: no wavelengths are known"] * ("wavelength" in fields)
    else:
        reciprocal = reciprocal_factor(unit)
        named = unit_factor(unit) if reciprocal is None else 1.0
        wavelength, factor = _wavelength(fields, bands, named, reciprocal, notes, mended)
        fwhm = _fwhm(fields, bands, factor, reciprocal, wavelength, notes, mended)
    return Spectral(wavelength, fwhm, _good(fields, bands, where, notes), tuple(notes), tuple(mended))


def usual_key(key: str) -> str:
    """The usual key in the place of another one for the same, such as ``wavelength`` for ``center_wavelength``."""
    plain = _IN_KEY.sub("", key.lower()).replace(" ", "").replace("_", "")
    return next((usual for usual, spelling in _SYNONYMS.items() if spelling.fullmatch(plain)), key)


def _usual_keys(fields: Fields) -> dict[str, str | Sequence[str]]:
    """The fields that matter here under their usual keys; the first that holds something counts."""
    found: dict[str, str | Sequence[str]] = {}
    for usual in _SYNONYMS:
        keys = [usual, *(key for key in fields if usual_key(key) == usual)]
        key = next((key for key in keys if (value := fields.get(key)) and _holds_something(value)), None)
        if key is None:
            continue
        found[usual] = fields[key]
        if usual == "wavelength" and (unit := _IN_KEY.search(key)):
            # One that is told on its own comes later, and counts.
            found["wavelength units"] = unit[0].strip("()[] ")
    return found


def _holds_something(value: str | Sequence[str]) -> bool:
    return bool(value.strip("{}[]() \t\n") if isinstance(value, str) else value)


def _list(fields: Fields, key: str, bands: int, notes: list[str], mended: list[str]) -> npt.NDArray[np.float64] | None:
    """One number a band, NaN where there is none; None where the list is missing or of another length."""
    text = fields.get(key)
    if text is None:
        return None
    values, commas = lenient_numbers(text, bands)
    if values.size != bands:
        notes.append(f"{values.size} values of {key} for {bands} bands: ignored; correct the list or the band count")
        return None
    if np.isnan(values).all():
        notes.append(f"{key} contains something that is not a number: ignored")
        return None
    if commas:
        mended.append(f"decimal commas in {key} read as decimal points")
    return values


def _wavelength(
    fields: Fields,
    bands: int,
    named: float | None,
    reciprocal: float | None,
    notes: list[str],
    mended: list[str],
) -> tuple[npt.NDArray[np.float64] | None, float | None]:
    """Centres in nm, and what brought them there, which is the named unit's where there are none."""
    values = _list(fields, "wavelength", bands, notes, mended)
    if values is None:
        return None, named
    if counts(values) and named != 1e3:
        notes.append(f"wavelengths of {values[0]:g} to {values[-1]:g} merely count the bands: ignored")
        return None, named
    finite = values[np.isfinite(values)]
    if 2 * finite.size > bands > 2 and np.ptp(finite) == 0:
        notes.append(f"wavelengths that are {finite[0]:g} in all bands: ignored")
        return None, named
    if reciprocal is not None:
        values = np.divide(reciprocal, values, out=np.full(bands, np.nan), where=values > 0)
    wavelength, factor, note = wavelengths_in_nm(values, named)
    if wavelength is None:
        notes.append(note or "wavelengths that are zero, negative, impossible or not finite: ignored")
        return None, named
    mended += [note] if note else []
    unknown = int(np.isnan(wavelength).sum())
    if unknown:
        notes.append(f"{unknown} of {bands} wavelengths are zero, missing or impossible: those bands are marked bad")
    return wavelength, factor


def _fwhm(
    fields: Fields,
    bands: int,
    factor: float | None,
    reciprocal: float | None,
    wavelength: npt.NDArray[np.float64] | None,
    notes: list[str],
    mended: list[str],
) -> npt.NDArray[np.float64] | None:
    values = _list(fields, "fwhm", bands, notes, mended)
    if values is None or (wavelength is None and factor is None):
        # Without centres and units, 10 may be nanometres and 0.01 micrometres, or not.
        return None
    if reciprocal is not None and wavelength is not None:
        # Of a small step of 1 / wavelength.
        values = values * wavelength**2 / reciprocal
    fwhm, note = widths_in_nm(values, wavelength, factor)
    if fwhm is None:
        notes.append(note or "values of fwhm that are zero, negative or not finite: ignored")
        return None
    mended += [note] if note else []
    unknown = int(np.isnan(fwhm).sum())
    if unknown:
        notes.append(f"{unknown} of {bands} values of fwhm are zero, missing or not numbers: treated as unknown")
    return fwhm


def _good(fields: Fields, bands: int, where: str, notes: list[str]) -> npt.NDArray[np.bool_] | None:
    text = fields.get("bbl")
    if text is None:
        return None
    try:
        values = numbers(text, "bbl", where)
    except CubeError:
        notes.append("bbl contains something that is not a number: ignored")
        return None
    if values.size != bands:
        notes.append(f"{values.size} values of bbl for {bands} bands: ignored; correct the list or the band count")
        return None
    good: npt.NDArray[np.bool_] = values >= 0.5
    return good


def from_names(names: Sequence[str | None]) -> Spectral:
    """Wavelengths that stand in the bands' names.

    With their unit, as in ``band 1 (418.24 Nanometers)``, or as a bare number that can hardly mean anything else:
    ``Band_503``, ``B503``, ``503.2``, rising from band to band by more than one.

    Args:
        names: One a band, empty or None where it has none.
    """
    found = [_IN_NAME.search(name or "") for name in names]
    missing = sum(match is None for match in found)
    if 2 * missing < len(found):
        values = [
            times(np.asarray(float(match[1])), unit_factor(match[2]) or 1.0) if match else np.nan for match in found
        ]
        note = f"{missing} of {len(found)} bands have no wavelength in their names: those bands are marked bad"
        return Spectral(wavelength=np.array(values, dtype=np.float64), warnings=(note,) if missing else ())
    return _from_bare_names(names)


def _from_bare_names(names: Sequence[str | None]) -> Spectral:
    texts = [_number_in(name or "") for name in names]
    if len(texts) < 3 or not all(texts):
        texts = _second_numbers(names)
    if len(texts) < 3:
        return Spectral()
    values = np.array([float(text) for text in texts], dtype=np.float64)
    if not _may_be_wavelengths(values):
        return Spectral()
    low, high = PLAUSIBLE_NM
    for factor, unit in ((1.0, "nm"), (1e3, "µm")):
        # Whole numbers up to 20 number the bands, and are no micrometres.
        written = unit == "nm" or all("." in text for text in texts)
        if written and (values * factor >= low).all() and (values * factor <= high).all():
            note = f"wavelengths taken from the band names, such as {shown(names[0] or '')}, in {unit}"
            return Spectral(wavelength=times(values, factor), assumed=(note,))
    return Spectral()


def _number_in(name: str) -> str:
    """The number of a name, where there is one alone or one in brackets at its end; else nothing."""
    found = _BRACKETED.search(name) or _ONLY_NUMBER.match(name)
    return found[1] if found else ""


def _second_numbers(names: Sequence[str | None]) -> list[str]:
    """The second numbers of names such as ``Band 1 503.2``, where the first ones count the bands."""
    pairs = [re.findall(r"\d+(?:\.\d+)?", name or "") for name in names]
    counted = all(len(pair) == 2 and pair[0] == str(number) for number, pair in enumerate(pairs, start=1))
    return [pair[1] for pair in pairs] if counted else []


def _may_be_wavelengths(values: npt.NDArray[np.float64]) -> bool:
    """Whether numbers of names rise, but not as counting does, and are no years."""
    steps = np.diff(values)
    whole = bool((values == np.round(values)).all())
    years = whole and values.min() >= 1900 and values.max() <= 2100
    return not ((steps <= 0).any() or (steps == 1.0).all() or years)


def first_known(candidates: Sequence[Spectral]) -> Spectral:
    """Take each fact from the first candidate that knows it."""

    def known(name: str) -> npt.NDArray[np.float64] | None:
        return next((value for c in candidates if (value := getattr(c, name)) is not None), None)

    good = next((c.good for c in candidates if c.good is not None), None)
    notes = dict.fromkeys(note for c in candidates for note in c.warnings)
    # What was mended in a place that is not used concerns nobody.
    used = [next((c for c in candidates if getattr(c, name) is not None), None) for name in ("wavelength", "fwhm")]
    mended = dict.fromkeys(note for c in used if c is not None for note in c.assumed)
    return Spectral(known("wavelength"), known("fwhm"), good, tuple(notes), tuple(mended))
