"""``METADATA.XML`` of EnMAP products: centres, widths and scaling of the bands, which the GeoTIFF beside it lacks.

Elements ``bandCharacterisation/bandID`` with ``wavelengthCenterOfBand`` and ``FWHMOfBand`` in nm, ``GainOfBand`` and
``OffsetOfBand``: EnMAP Ground Segment, HSI Product Specification Level 1/Level 2 (EN-PCV-ICD-2009-2).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError

#: Bytes of the largest file that is read; real ones have one or two million.
_LARGEST = 2**26

#: An image's name, from which that of its metadata follows.
_IMAGE = re.compile(r"SPECTRAL_IMAGE(?:_VNIR|_SWIR)?(?:_COG)?\.(?:TIFF?|BSQ|BIL|BIP|JP2)$", re.IGNORECASE)


@dataclass(frozen=True)
class DescribedBands:
    """What a product's XML says of each band, in their order; NaN where it does not.

    Attributes:
        wavelength: Centres in nm.
        fwhm: Full widths at half maximum in nm.
        gain: Factor from stored to physical units.
        offset: Added after the factor.
    """

    wavelength: npt.NDArray[np.float64]
    fwhm: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def take(self, which: slice) -> DescribedBands:
        """Some of the bands."""
        return DescribedBands(self.wavelength[which], self.fwhm[which], self.gain[which], self.offset[which])


def find_enmap_metadata(image: Path) -> Path | None:
    """The ``...-METADATA.XML`` beside a ``...-SPECTRAL_IMAGE.TIF``, or None; DESIS has others of that name."""
    stem = _IMAGE.sub("", image.name)
    if stem == image.name:
        return None
    names = (image.with_name(f"{stem}{name}") for name in ("METADATA.XML", "METADATA.xml", "metadata.xml"))
    return next((name for name in names if name.is_file() and _of_enmap(name)), None)


def lone_metadata(image: Path) -> Path | None:
    """The only ``METADATA.XML`` of EnMAP's kind beside an image that somebody has renamed, or None."""
    try:
        found = [name for name in image.parent.iterdir() if name.name.upper().endswith("METADATA.XML")]
    except OSError:
        return None
    return found[0] if len(found) == 1 and found[0].is_file() and _of_enmap(found[0]) else None


def _of_enmap(metadata: Path) -> bool:
    try:
        with metadata.open("rb") as file:
            return b"bandID" in file.read(_LARGEST)
    except OSError:
        return False


def enmap_bands(xml_path: Path) -> DescribedBands:
    """Read the bands of an EnMAP product.

    Args:
        xml_path: Its ``METADATA.XML``.

    Raises:
        CubeError: The file cannot be read, or describes no bands.
    """
    found: list[tuple[int, dict[str, float]]] = []
    for number, band in enumerate(_bands(xml_path), start=1):
        values = {_local(child.tag): _number(child.text) for child in band}
        found.append((_whole(band.get("number"), number), values))
    if not found:
        raise CubeError(f"{xml_path}: no bandID in it; is it the METADATA.XML of an EnMAP product?")
    found.sort(key=lambda band: band[0])

    def each(*names: str) -> npt.NDArray[np.float64]:
        values = [next((band[name] for name in names if name in band), np.nan) for _, band in found]
        return np.array(values, dtype=np.float64)

    return DescribedBands(each("wavelengthCenterOfBand"), each("FWHMOfBand"), each("GainOfBand"), each("OffsetOfBand"))


def _bands(xml_path: Path) -> list[ET.Element]:
    try:
        if xml_path.stat().st_size > _LARGEST:
            raise CubeError(f"{xml_path}: too large for the METADATA.XML of an EnMAP product")
        tree = ET.parse(xml_path)  # noqa: S314 - expat itself bounds how far entities may grow
    except (OSError, ET.ParseError, ValueError, RecursionError) as error:
        if isinstance(error, CubeError):
            raise
        raise CubeError(f"{xml_path}: not readable XML ({error}); copy it again") from error
    # Statistics of the bands have elements of the same name elsewhere.
    holders = [element for element in tree.iter() if _local(element.tag) == "bandCharacterisation"]
    return [band for holder in holders or [tree.getroot()] for band in holder.iter() if _is_band(band)]


def _is_band(element: ET.Element) -> bool:
    return _local(element.tag) == "bandID" and any(_local(c.tag) == "wavelengthCenterOfBand" for c in element)


def _local(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return np.nan


def _whole(text: str | None, default: int) -> int:
    try:
        return int(text or default)
    except ValueError:
        return default
