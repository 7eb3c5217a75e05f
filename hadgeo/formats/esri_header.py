"""ESRI headers beside raw bands (``.bil``, ``.bip``, ``.bsq``): the block of wavelengths that GDAL does not read.

Lines hold a key and a value; some programs add ``WAVELENGTHS`` and ``WAVELENGTHS_END`` with one value a line between.
Keys: https://desktop.arcgis.com/en/arcmap/latest/manage-data/raster-and-images/bil-bip-and-bsq-raster-files.htm.
"""

from __future__ import annotations

import re
from pathlib import Path

from hadgeo.formats.wavelengths import Spectral, spectral

_KEYS = {"nrows", "ncols", "nbands", "nbits", "byteorder", "layout", "bandrowbytes", "totalrowbytes", "skipbytes"}

_BLOCK = re.compile(r"^\s*(WAVELENGTHS?|FWHMS?|BBL)\b(.*?)^\s*\1_END\b", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_UNIT = re.compile(r"^\s*WAVELENGTHS?_?UNITS?[ \t=]+(\S.*)$", re.IGNORECASE | re.MULTILINE)

#: Bytes of the longest header that is looked into.
_LONGEST = 2**22


def is_esri_header(file: Path) -> bool:
    """Whether a file is an ESRI header: lines of keys without equal signs."""
    words = (line.split() for line in _text(file, 4096).splitlines())
    return len({line[0].lower() for line in words if line} & _KEYS) >= 2


def esri_bands(file: Path, bands: int) -> Spectral:
    """Wavelengths and widths in the blocks of an ESRI header; empty where it has none.

    Args:
        file: The header.
        bands: Number of bands of the cube.

    Raises:
        CubeError: A list of good bands in it has the wrong length.
    """
    text = _text(file, _LONGEST)
    fields = {match[1].lower(): match[2] for match in _BLOCK.finditer(text)}
    unit = _UNIT.search(text)
    return spectral({**fields, **({"wavelength units": unit[1]} if unit else {})}, bands, str(file))


def _text(file: Path, count: int) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(count).decode("utf-8", errors="replace")
    except OSError:
        return ""
