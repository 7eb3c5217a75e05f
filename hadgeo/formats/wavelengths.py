"""What the text of a header says about bands: wavelengths in any unit, widths, and the sensor's own list of good bands.

Pure text to numbers; no file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError

#: Wavelengths without a unit are nanometres where the largest exceeds this, else micrometres.
LARGEST_MICROMETRE = 30.0

#: Said of every cube whose file tells no wavelengths.
NO_WAVELENGTHS = "no wavelengths: bands in water vapour cannot be told from others"

_TO_NM = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micrometres"), 1000.0),
    **dict.fromkeys(("micron", "microns", "mum"), 1000.0),
    **dict.fromkeys(("angstrom", "angstroms", "å"), 0.1),
    **dict.fromkeys(("millimeter", "millimeters", "mm"), 1e6),
}

#: Units of a spectral axis that is not one of wavelengths.
_NO_WAVELENGTH = {"index", "wavenumber", "wavenumbers", "cm-1", "ghz", "mhz", "hz"}

_IN_NAME = re.compile(
    r"(?<![\w.])(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*(nm|nanomet(?:er|re)s?|[uµμ]m|micromet(?:er|re)s?|microns?)\b", re.I
)


@dataclass(frozen=True)
class Spectral:
    """What one place in a file says about the bands; None for what it does not say.

    Attributes:
        wavelength: Band centres in nm.
        fwhm: Full widths at half maximum in nm.
        good: Which bands the sensor's makers hold for good.
        warnings: One line for each thing that was left aside.
    """

    wavelength: npt.NDArray[np.float64] | None = None
    fwhm: npt.NDArray[np.float64] | None = None
    good: npt.NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = field(default=())


def split_list(text: str) -> list[str]:
    """Items of a list as headers write them: ``{1, 2}``, ``1,2`` or ``1 2``."""
    inner = text.strip().strip("{}[]()").strip()
    if not inner:
        return []
    items = inner.split(",") if "," in inner else inner.split()
    # A comma behind the last item is common and means nothing.
    return [item.strip() for item in items if item.strip()]


def numbers(text: str | Sequence[str], key: str, where: str) -> npt.NDArray[np.float64]:
    """Numbers of a list.

    Args:
        text: The list, or its items.
        key: What the list is called, for the message.
        where: The file, for the message.

    Raises:
        CubeError: An item is no number.
    """
    items = split_list(text) if isinstance(text, str) else list(text)
    try:
        return np.array([float(item) for item in items], dtype=np.float64)
    except ValueError as error:
        raise CubeError(f"{where}: {key} holds something that is no number ({error}); correct the header") from None


def spectral(fields: Mapping[str, str | Sequence[str]], bands: int, where: str) -> Spectral:
    """Read wavelengths, widths and good bands.

    Args:
        fields: Any of ``wavelength``, ``fwhm``, ``bbl`` (lists) and ``wavelength units``.
        bands: Number of bands of the cube.
        where: The file, for messages.

    Raises:
        CubeError: A list has another length than the cube has bands, or holds something that is no number.
    """
    notes: list[str] = []
    lists = {key: numbers(fields[key], key, where) for key in ("wavelength", "fwhm", "bbl") if fields.get(key)}
    for key in ("wavelength", "bbl"):
        if key in lists and lists[key].size != bands:
            raise CubeError(
                f"{where}: {lists[key].size} values of {key} for {bands} bands; correct the list or the band count"
            )
    factor = _factor(fields.get("wavelength units"), lists.get("wavelength"), notes)
    wavelength = lists.get("wavelength") if factor else None
    if wavelength is not None and not (np.isfinite(wavelength).all() and (wavelength > 0).all()):
        notes.append("wavelengths that are zero, negative or not finite: left aside")
        wavelength = None
    fwhm = lists.get("fwhm")
    if fwhm is not None and fwhm.size != bands:
        notes.append(f"{fwhm.size} values of fwhm for {bands} bands: left aside")
        fwhm = None
    if fwhm is not None and not (np.isfinite(fwhm).all() and (fwhm > 0).all()):
        notes.append("values of fwhm that are zero, negative or not finite: left aside")
        fwhm = None
    return Spectral(
        wavelength=None if wavelength is None or not factor else _times(wavelength, factor),
        fwhm=None if fwhm is None or not factor else _times(fwhm, factor),
        good=lists["bbl"] >= 0.5 if "bbl" in lists else None,
        warnings=tuple(notes),
    )


def from_names(names: Sequence[str | None]) -> Spectral:
    """Wavelengths that stand in every band's name with their unit, such as ``band 1 (418.24 Nanometers)``."""
    found = [_IN_NAME.search(name or "") for name in names]
    if not found or not all(found):
        return Spectral()
    values = [_times(np.float64(match[1]), _TO_NM[match[2].lower()]) for match in found if match]
    return Spectral(wavelength=np.array(values, dtype=np.float64))


def first_known(candidates: Sequence[Spectral]) -> Spectral:
    """Take each fact from the first candidate that knows it."""

    def known(name: str) -> npt.NDArray[np.float64] | None:
        return next((value for c in candidates if (value := getattr(c, name)) is not None), None)

    good = next((c.good for c in candidates if c.good is not None), None)
    notes = dict.fromkeys(note for c in candidates for note in c.warnings)
    return Spectral(known("wavelength"), known("fwhm"), good, tuple(notes))


def _factor(
    unit: str | Sequence[str] | None, wavelength: npt.NDArray[np.float64] | None, notes: list[str]
) -> float | None:
    """What brings values to nm: from the unit, or from their magnitude; None where they are no wavelengths."""
    name = unit.strip().lower() if isinstance(unit, str) else ""
    if name in _TO_NM:
        return _TO_NM[name]
    if name in _NO_WAVELENGTH:
        notes.append(f"the spectral axis is in {unit!r}: no wavelengths are known")
        return None
    if wavelength is None or not wavelength.size:
        return None
    return 1.0 if np.nanmax(wavelength) > LARGEST_MICROMETRE else 1000.0


def _times(values: npt.NDArray[np.float64] | np.float64, factor: float) -> npt.NDArray[np.float64]:
    # 0.4554 * 1000 is 455.40000000000003: a header's own digits are kept.
    return np.round(values * factor, 9) if factor != 1.0 else np.asarray(values)
