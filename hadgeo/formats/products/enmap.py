"""EnMAP L1B, L1C and L2A: GeoTIFF with ``METADATA.XML``, as a folder, by its XML or by the image.

EnMAP Ground Segment, "HSI Product Specification Level 1/Level 2" (EN-PCV-ICD-2009-2), https://www.enmap.org: radiance
or reflectance is DN * GainOfBand + OffsetOfBand; fill is 0 at level 1 and -32768 in L2A. L1C and L2A lie on a map grid,
the bands of both detectors in one image. L1B has an image for each detector, in the sensor's geometry: the two look at
the ground at different times and are co-registered in L1C only, so they are opened one by one unless asked otherwise.

Of the quality layers, ``QL_QUALITY_...`` are flags of pixels (cirrus 1 to 3 from thin to thick, classes 2 for water),
``QL_PIXELMASK`` of samples. Those of L1B are in the geometry of VNIR.
"""

from __future__ import annotations

from pathlib import Path

from hadgeo.errors import CubeError
from hadgeo.formats.enmap_metadata import DescribedBands, enmap_bands
from hadgeo.formats.joined import Detector, join
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
from hadgeo.formats.source import Metadata, Source

_PARTS = ("VNIR", "SWIR")
_BOTH = "VNIR+SWIR"
_FILL = {"1": 0.0, "2": -32768.0}

#: Layers of flags for pixels, and what they say of a flagged one.
_LAYERS = {
    "cloud": ("QL_QUALITY_CLOUD", (1,)),
    "cirrus": ("QL_QUALITY_CIRRUS", (1, 2, 3)),
    "shadow": ("QL_QUALITY_CLOUDSHADOW", (1,)),
    "water": ("QL_QUALITY_CLASSES", (2,)),
    "snow": ("QL_QUALITY_SNOW", (1,)),
    "haze": ("QL_QUALITY_HAZE", (1,)),
}

#: What ``QL_PIXELMASK`` says outside of the image.
_OUTSIDE = 255


class EnmapFormat(RasterProduct):
    """EnMAP, by the bands in its XML."""

    title = "EnMAP L1B/L1C/L2A"
    marks = (b"bandID", b"wavelengthCenterOfBand", b"FWHMOfBand")

    def choose_image(self, name: str, scene: Scene, reading: Reading) -> Source:
        """Open the image of both detectors, or that of one."""
        if "" in scene.images:
            return self.describe(name, scene, "", scene.images[""], reading)
        wanted = (reading.variable or "").upper().replace(" ", "")
        if wanted in scene.images:
            return self.describe(name, scene, wanted, scene.images[wanted], reading)
        if wanted == _BOTH and all(part in scene.images for part in _PARTS):
            return self._both(name, scene, reading)
        raise CubeError(
            f"{name}: L1B has an image for each detector ({', '.join(scene.images)}), which are not co-registered; "
            f"name one with --variable {next(iter(scene.images))}, or open the L1C product; --variable {_BOTH} joins "
            "them pixel by pixel as they are"
        )

    def describe(self, name: str, scene: Scene, part: str, image: Path, reading: Reading) -> Source:
        """Open an image; see `RasterProduct.describe`."""
        source = RasterSource(name, data=None if Path(name) == image else image, reading=reading)
        notes: list[str] = []
        bands = _bands(scene, part, source.shape[0], notes)
        level = "1" if part or "L1" in scene.metadata.name.upper() else "2"
        fill = _FILL[level] if source.metadata.stored_dtype.kind in "iu" else None
        described(source, "EnMAP", bands, fill=fill, notes=notes)
        if part:
            in_sensor_geometry(source, "the L1C and L2A products of the same scene are georeferenced")
        return masked(source, _masks(scene, part, source, reading))

    def _both(self, name: str, scene: Scene, reading: Reading) -> Source:
        sources = [self.describe(name, scene, part, scene.images[part], reading) for part in _PARTS]
        first, second = (source.metadata for source in sources)
        if sources[0].shape[1:] != sources[1].shape[1:]:
            raise CubeError(f"{name}: its two images have different sizes; open them one by one")
        warnings = dict.fromkeys(
            (
                "VNIR and SWIR are joined pixel by pixel, although L1B is not co-registered: spectra mix neighbouring "
                "pixels",
                *first.warnings,
                *second.warnings,
            )
        )
        whole = Metadata("EnMAP", first.stored_dtype, first.grid, warnings=tuple(warnings), assumed=first.assumed)
        detectors = [
            Detector(part, source, source.metadata.wavelength, source.metadata.fwhm)
            for part, source in zip(_PARTS, sources, strict=True)
        ]
        return join(detectors, whole, name)


ENMAP = EnmapFormat()


def _bands(scene: Scene, part: str, count: int, notes: list[str]) -> DescribedBands | None:
    """What the XML says of an image's bands: VNIR first, SWIR last, all of them in an image of both."""
    bands = enmap_bands(scene.metadata)
    total = bands.wavelength.size
    if count == total or (part and count < total):
        return bands.take(slice(count) if part != "SWIR" else slice(total - count, None))
    notes.append(f"{scene.metadata.name} describes {total} bands, but the image has {count}: ignored")
    return None


def _masks(scene: Scene, part: str, source: RasterSource, reading: Reading) -> list[Mask]:
    if not reading.quality:
        return []
    shape, bands = source.shape[1:], source.shape[0]
    layers: dict[str, list[Mask]] = {}
    if part != "SWIR":
        for name, (file, values) in _LAYERS.items():
            layers[name] = flags(layer(scene.beside(file), shape), values)
    pixels = layer(scene.beside(f"QL_PIXELMASK_{part}" if part else "QL_PIXELMASK"), shape)
    if pixels is not None:
        each = tuple(range(bands)) if pixels.shape[0] == bands else (0,)
        layers["defect"] = flags(pixels, tuple(range(1, _OUTSIDE)), each)
    return choose(reading.quality, layers, source.path, "files QL_... of the product, next to the image")
