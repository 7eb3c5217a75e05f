"""From the text of an ENVI header to the metadata of a cube."""

from __future__ import annotations

import re
from pathlib import Path

from hadgeo.formats.envi_header import Header
from hadgeo.formats.gdal import Georeference
from hadgeo.formats.number_lists import shown
from hadgeo.formats.quantities import acquired, quantity_of_title
from hadgeo.formats.source import Metadata
from hadgeo.formats.wavelengths import unknown_wavelengths


def header_metadata(header: Header, located: Georeference) -> Metadata:
    """Metadata of an ENVI cube.

    Args:
        header: Its header, which has the last word on everything but the place.
        located: Where it lies.
    """
    bands = header.shape[0]
    spectral = header.spectral
    scale, offset, notes = header.scaling
    missing = unknown_wavelengths(spectral.wavelength, bands)
    twice = tuple(f"two different values of {key} in the header: the last is used" for key in header.twice)
    return Metadata(
        driver="ENVI",
        stored_dtype=header.dtype,
        interleave=header.interleave,
        grid=located.grid,
        wavelength=spectral.wavelength,
        fwhm=spectral.fwhm,
        good=spectral.good_bands(bands),
        nodata=header.number("data ignore value"),
        scale=scale,
        offset=offset,
        band_names=header.band_names,
        quantity=_quantity(header),
        acquired=acquired(header.fields.get("acquisition time")),
        warnings=(*located.warnings, *spectral.warnings, *missing, *notes, *twice, *_kind(header)),
        assumed=(*located.assumed, *spectral.assumed),
    )


def _quantity(header: Header) -> str | None:
    """What the values are, after the factor that leads to reflectance; by the title of its plots, before it."""
    if header.number("reflectance scale factor") is not None:
        return "reflectance"
    return quantity_of_title(header.fields.get("z plot titles", ""))


#: Names that Specim's and other makers' cameras give to what they record before a line.
_REFERENCE = re.compile(r"(dark|white)[ _-]?ref", re.IGNORECASE)


def _kind(header: Header) -> tuple[str, ...]:
    """What a header says of its file that makes spectra of it unlikely."""
    notes = []
    if header.file_type == "envi classification":
        notes.append("file type is ENVI Classification: its values are classes, not spectra")
    elif not header.raw and not header.file_type.startswith("tiff"):
        notes.append(f"unknown file type {shown(header.fields['file type'])}: read as raw samples")
    if _REFERENCE.search(Path(header.name).name):
        notes.append("its name suggests a dark or white reference, which is a calibration, not a scene")
    return tuple(notes)
