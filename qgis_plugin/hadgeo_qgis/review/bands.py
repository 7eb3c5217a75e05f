"""What a raster's metadata says of its bands: wavelengths, and which of them are good; neither Qt nor QGIS."""

from __future__ import annotations

import re

import numpy as np
from osgeo import gdal

#: Water vapour absorbs here, in nm: hadgeo leaves these bands out, and so does a spectrum.
WATER_VAPOUR_NM = ((1340.0, 1450.0), (1790.0, 1960.0), (2450.0, np.inf))

#: Red, green and blue as eyes see them, in nm.
TRUE_COLOUR_NM = (640.0, 550.0, 460.0)

#: Farther from what was asked for, a band shows something else (or half the distance to the next band, if wider).
_TOLERANCE_NM = 30.0

_IN_NAME = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanomet|[uµμ]m|micro)", re.I)


def wavelengths(dataset) -> np.ndarray:
    """The centre of each band in nm, NaN where it is not known.

    Args:
        dataset: Of GDAL.
    """
    envi = dataset.GetMetadata("ENVI") or {}
    listed = numbers(envi.get("wavelength", ""))
    if len(listed) == dataset.RasterCount:
        return _in_nm(np.array(listed), envi.get("wavelength_units", ""))
    found = [_of_band(dataset.GetRasterBand(number + 1)) for number in range(dataset.RasterCount)]
    values = np.array([value for value, _ in found], dtype=float)
    return _in_nm(values, next((unit for _, unit in found if unit), ""))


def _of_band(band) -> tuple:
    """Wavelength and unit of a band, NaN and an empty text where they are not known."""
    items = {key.lower(): value for key, value in (band.GetMetadata() or {}).items()}
    imagery = band.GetMetadata("IMAGERY") or {}
    if "wavelength" in items:
        return _number(items["wavelength"]), items.get("wavelength_units", "")
    if "CENTRAL_WAVELENGTH_UM" in imagery:
        return _number(imagery["CENTRAL_WAVELENGTH_UM"]), "um"
    named = _IN_NAME.search(band.GetDescription() or "")
    return (_number(named[1]), named[2]) if named else (np.nan, "")


def _in_nm(values: np.ndarray, unit: str) -> np.ndarray:
    unit = unit.strip().lower()
    known = values[np.isfinite(values)]
    # Where no unit is named, no light that a spectrometer sees is below 100 nm.
    small = not unit.startswith("n") and known.size > 0 and known.max() < 100
    return values * 1000 if unit.startswith(("mic", "um", "µm", "μm")) or small else values


def numbers(text: str) -> list:
    """The numbers of a list in a header of ENVI."""
    return [_number(part) for part in text.strip(" {}\n").split(",")] if text.strip(" {}\n") else []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def good_bands(dataset, centres: np.ndarray) -> np.ndarray:
    """Which bands say something: good in the sensor's list, and outside of water vapour.

    Args:
        dataset: Of GDAL.
        centres: Its wavelengths.
    """
    count = dataset.RasterCount
    listed = numbers((dataset.GetMetadata("ENVI") or {}).get("bbl", ""))
    if len(listed) != count:
        listed = [_number((dataset.GetRasterBand(i + 1).GetMetadata() or {}).get("bbl", "1")) for i in range(count)]
    good = np.array(listed) != 0
    for low, high in WATER_VAPOUR_NM:
        good &= ~((centres >= low) & (centres <= high))
    # Where some wavelengths are known, a band without one is no measurement.
    return good & np.isfinite(centres) if np.isfinite(centres).any() else good


def tag(scores: str) -> str:
    """What a score map's tag HADGEO_BANDS says; empty where it has none."""
    try:
        dataset = gdal.Open(scores)
    except RuntimeError:  # where someone has asked GDAL for exceptions
        dataset = None
    return "" if dataset is None else dataset.GetMetadataItem("HADGEO_BANDS") or ""


def detectors_bands(text: str, count: int) -> np.ndarray | None:
    """Which bands a detector saw, as a score map's tag HADGEO_BANDS says.

    Args:
        text: Such as ``1-27,31-40``, counted from 1.
        count: Bands of the scene.

    Returns:
        Whether it saw each; None where the tag says nothing, or is of a scene with more bands.
    """
    seen = np.zeros(count, dtype=bool)
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) > count:
            return None
        seen[int(first) - 1 : int(last or first)] = True
    return seen if seen.any() else None


def colour_bands(centres: np.ndarray, good: np.ndarray) -> tuple:
    """The bands to show in red, green and blue.

    Args:
        centres: Wavelength of each band in nm, NaN where it is not known.
        good: Whether each is good.

    Returns:
        Three indices from 0, and what they show: ``true colour`` or ``false colour``.
    """
    usable = np.flatnonzero(good) if good.any() else np.arange(len(good))
    known = usable[np.isfinite(centres[usable])]
    if known.size:
        spacing = float(np.median(np.abs(np.diff(centres[known])))) if known.size > 1 else 0.0
        distance = np.abs(centres[known][None, :] - np.array(TRUE_COLOUR_NM)[:, None])
        if distance.min(axis=1).max() <= max(_TOLERANCE_NM, spacing / 2):
            return tuple(known[distance.argmin(axis=1)].tolist()), "true colour"
    if len(good) == 3:
        return (0, 1, 2), "bands 1/2/3"
    return tuple(int(usable[len(usable) * part // 6]) for part in (5, 3, 1)), "false colour"
