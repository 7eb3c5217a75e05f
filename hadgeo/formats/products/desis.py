"""DESIS L1B, L1C and L2A: GeoTIFF with ``METADATA.xml``, as a folder, by its XML or by the image.

DLR, "DESIS Data Products" and "DESIS Ground Segment: L1B, L1C and L2A ATBD" (PAV-DLR-TN-002 to 004),
https://www.dlr.de/eoc/desis: each ``band`` below ``bandCharacterisation`` has its centre and width in nm, a gain and an
offset; radiance or reflectance is DN * gainOfBand + offsetOfBand; fill is -32768. L1C and L2A lie on a map grid, L1B is
in the sensor's geometry. Bands of ``QL_QUALITY-2`` (L2A) are flags of pixels.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from hadgeo.errors import CubeError
from hadgeo.formats.enmap_metadata import DescribedBands
from hadgeo.formats.products.raster_product import (
    RasterProduct,
    Scene,
    described,
    flags,
    in_sensor_geometry,
    layer,
)
from hadgeo.formats.quality import Mask, choose, masked
from hadgeo.formats.raster import RasterSource
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Source

_FILL = -32768.0
_TAGS = ("wavelengthCenterOfBand", "wavelengthWidthOfBand", "gainOfBand", "offsetOfBand")

#: Bands of ``QL_QUALITY-2``, from 0: shadow, land, snow, haze over land and water, cloud over land and water, water.
_LAYERS = {"shadow": (0,), "snow": (2,), "haze": (3, 4), "cloud": (5, 6), "water": (7,)}


class DesisFormat(RasterProduct):
    """DESIS, by the bands in its XML."""

    title = "DESIS L1B/L1C/L2A"
    marks = (b"bandCharacterisation", b"wavelengthWidthOfBand")

    def describe(self, name: str, scene: Scene, part: str, image: Path, reading: Reading) -> Source:  # noqa: ARG002
        """Open an image; see `RasterProduct.describe`."""
        source = RasterSource(name, data=None if Path(name) == image else image, reading=reading)
        notes: list[str] = []
        bands: DescribedBands | None = _bands(scene.metadata)
        if bands is not None and bands.wavelength.size != source.shape[0]:
            notes.append(
                f"{scene.metadata.name} describes {bands.wavelength.size} bands, but the image has {source.shape[0]}: "
                "ignored"
            )
            bands = None
        fill = _FILL if source.metadata.stored_dtype == np.dtype("i2") else None
        described(source, "DESIS", bands, fill=fill, notes=notes)
        if not source.metadata.grid.georeferenced or "L1B" in scene.metadata.name.upper():
            in_sensor_geometry(source, "the L1C and L2A products of the same scene are georeferenced")
        return masked(source, _masks(scene, source, reading))


DESIS = DesisFormat()


def _bands(path: Path) -> DescribedBands:
    """The bands of an XML, in their order.

    Raises:
        CubeError: It cannot be read.
    """
    try:
        tree = ET.parse(path)  # noqa: S314 - expat itself bounds how far entities may grow
    except (OSError, ET.ParseError, ValueError, RecursionError) as error:
        raise CubeError(f"{path}: not readable XML ({error}); copy it again") from error
    # Elements ``band`` stand below interiorOrientation, too.
    holders = [element for element in tree.iter() if _local(element) == "bandCharacterisation"]
    bands = [e for holder in holders for e in holder.iter() if _local(e) == "band"]
    values = np.array([[_number(band, tag) for tag in _TAGS] for band in bands], dtype=np.float64).reshape(-1, 4)
    numbers = np.array([_number(band, "bandNumber") for band in bands])
    if np.isfinite(numbers).all():
        values = values[np.argsort(numbers, kind="stable")]
    return DescribedBands(*values.T)


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(band: ET.Element, tag: str) -> float:
    text = next((child.text for child in band if _local(child) == tag), None)
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _masks(scene: Scene, source: RasterSource, reading: Reading) -> list[Mask]:
    if not reading.quality:
        return []
    found = layer(scene.beside("QL_QUALITY-2"), source.shape[1:])
    layers = {name: [m for place in places for m in flags(found, None, (place,))] for name, places in _LAYERS.items()}
    return choose(reading.quality, layers, source.path, "bands of QL_QUALITY-2 of an L2A product, next to the image")
