"""From the text of an ENVI header to the metadata of a cube."""

from __future__ import annotations

import numpy as np

from hadgeo.formats.envi_header import Header
from hadgeo.formats.gdal import Georeference
from hadgeo.formats.source import Metadata
from hadgeo.formats.wavelengths import NO_WAVELENGTHS


def header_metadata(header: Header, place: Georeference) -> Metadata:
    """Metadata of an ENVI cube.

    Args:
        header: Its header, which has the last word on everything but the place.
        place: Where it lies, as GDAL understands ``map info``.
    """
    bands = header.shape[0]
    known = header.spectral
    scale, offset, notes = header.scaling
    missing = () if known.wavelength is not None else (NO_WAVELENGTHS,)
    return Metadata(
        driver="ENVI",
        stored_dtype=header.dtype,
        interleave=header.interleave,
        grid=place.grid,
        wavelength=known.wavelength,
        fwhm=known.fwhm,
        good=known.good if known.good is not None else np.ones(bands, dtype=bool),
        nodata=header.number("data ignore value"),
        scale=scale,
        offset=offset,
        band_names=header.band_names,
        warnings=(*place.warnings, *known.warnings, *missing, *notes),
    )
