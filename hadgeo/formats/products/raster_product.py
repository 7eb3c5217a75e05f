"""What the products of DLR have in common: GeoTIFF images, an XML that describes their bands, and quality layers.

All files of a scene begin with the same name: ``...-METADATA.XML``, ``...-SPECTRAL_IMAGE.TIF``, ``...-QL_....TIF``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hadgeo.errors import CubeError
from hadgeo.formats.enmap_metadata import DescribedBands
from hadgeo.formats.products.hdf5_product import by
from hadgeo.formats.quality import Flags, Mask
from hadgeo.formats.raster import RasterSource
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Source
from hadgeo.formats.wavelengths import NO_WAVELENGTHS, spectral
from hadgeo.grid import Grid

_IMAGE = re.compile(r"(?P<stem>.*)SPECTRAL_IMAGE(?:_(?P<part>VNIR|SWIR))?(?:_COG)?\.(?:TIFF?|JP2)", re.I)
_METADATA = re.compile(r"(?P<stem>.*)METADATA\.XML", re.I)

#: Bytes of the XML in which the marks of a product are looked for.
_LOOKED_AT = 2**24


@dataclass(frozen=True)
class Scene:
    """Files of a scene.

    Attributes:
        metadata: The XML.
        images: Images by the part of the spectrum that they hold, "" for all of it.
    """

    metadata: Path
    images: Mapping[str, Path]

    def beside(self, name: str) -> Path | None:
        """Another file of the scene, such as ``QL_QUALITY_CLOUD``, or None."""
        match = _METADATA.fullmatch(self.metadata.name)
        stem = match["stem"] if match else ""
        wanted = {f"{stem}{name}{ending}".lower() for ending in (".tif", ".tiff", "_cog.tif", "_cog.tiff")}
        return next((file for file in sorted(self.metadata.parent.iterdir()) if file.name.lower() in wanted), None)


class RasterProduct(ABC):
    """A product that comes as GeoTIFF and XML; see `hadgeo.formats.registry.Format`.

    Attributes:
        title: What it is called, for people.
        marks: What its XML contains.
    """

    title: str
    marks: tuple[bytes, ...]

    def claims(self, name: str) -> bool:
        """Whether it is the folder, the XML or an image of a scene, by what stands in the XML."""
        try:
            return bool(self._metadata(Path(name)))
        except (OSError, ValueError):
            return False

    def open(self, name: str, reading: Reading) -> Source:
        """Open a scene or one of its images; see `Format.open`."""
        path = Path(name)
        found = self._metadata(path)
        if len(found) > 1:
            raise CubeError(
                f"{name}: {len(found)} scenes of {self.title} in this folder; give the image of one, such as "
                f"{found[0].name.replace('METADATA', 'SPECTRAL_IMAGE')}"
            )
        scene = Scene(found[0], _images(found[0]))
        image = _IMAGE.fullmatch(path.name) if path.is_file() else None
        if image is not None:
            return self.describe(name, scene, (image["part"] or "").upper(), path, reading)
        if not scene.images:
            raise CubeError(f"{name}: no SPECTRAL_IMAGE next to {found[0].name}; download the whole product")
        return self.choose_image(name, scene, reading)

    def choose_image(self, name: str, scene: Scene, reading: Reading) -> Source:
        """Open the image of a scene that was named by its folder or XML."""
        part = next(iter(scene.images))
        return self.describe(name, scene, part, scene.images[part], reading)

    @abstractmethod
    def describe(self, name: str, scene: Scene, part: str, image: Path, reading: Reading) -> Source:
        """Open an image.

        Args:
            name: The file as the user named it.
            scene: What belongs to it.
            part: The part of the spectrum that it holds, "" for all of it.
            image: The image.
            reading: What the user says of it.

        Raises:
            CubeError: It cannot be used as a cube.
        """

    def _metadata(self, path: Path) -> list[Path]:
        """The XML of each scene that a path means, as far as they are of this product."""
        if path.is_dir():
            return [file for file in sorted(path.iterdir()) if self._is_metadata(file)]
        if self._is_metadata(path):
            return [path]
        image = _IMAGE.fullmatch(path.name)
        if image is None or not path.is_file():
            return []
        wanted = f"{image['stem']}METADATA.XML".lower()
        return [f for f in sorted(path.parent.iterdir()) if f.name.lower() == wanted and self._is_metadata(f)]

    def _is_metadata(self, path: Path) -> bool:
        if not _METADATA.fullmatch(path.name) or not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
        return all(mark in start for mark in self.marks)


def _images(metadata: Path) -> dict[str, Path]:
    match = _METADATA.fullmatch(metadata.name)
    stem = match["stem"] if match else ""
    found: dict[str, Path] = {}
    for file in sorted(metadata.parent.iterdir()):
        image = _IMAGE.fullmatch(file.name)
        if image is not None and image["stem"].lower() == stem.lower():
            found.setdefault((image["part"] or "").upper(), file)
    return dict(sorted(found.items(), reverse=True))


def described(
    source: RasterSource, driver: str, bands: DescribedBands | None, *, fill: float | None, notes: Sequence[str] = ()
) -> RasterSource:
    """An image with what its XML says of the bands, in place.

    Args:
        source: The image.
        driver: Name of the product, for people.
        bands: What the XML says of this image's bands; None where it speaks of others.
        fill: The fill value that the documentation names, for an image that names none.
        notes: Warnings so far.
    """
    known, warnings, assumed = source.metadata, list(notes), list(source.metadata.assumed)
    spectra = None
    if bands is not None:
        lists = {"wavelength": bands.wavelength, "fwhm": bands.fwhm}
        fields: dict[str, str | list[str]] = {"wavelength units": "nm"}
        fields.update(
            {name: [repr(float(v)) for v in values] for name, values in lists.items() if np.isfinite(values).any()}
        )
        spectra = spectral(fields, source.shape[0], source.path)
        warnings.extend(spectra.warnings)
        assumed.extend(spectra.assumed)
    scale, offset = known.scale, known.offset
    if bands is not None and np.isfinite(bands.gain).all():
        if scale is not None or offset is not None:
            warnings.append("the image has its own scale, which is used; that of its XML is ignored")
        else:
            scale = None if (bands.gain == 1.0).all() else bands.gain
            offsets = np.nan_to_num(bands.offset)
            offset = None if (offsets == 0.0).all() else offsets
    elif bands is not None:
        warnings.append("its XML lacks the gain of some bands: samples are left as stored numbers")
    nodata = known.nodata
    if nodata is None and known.band_nodata is None and fill is not None:
        nodata = fill
        assumed.append(f"no fill value in the image: {fill:.0f} assumed, as documented for this product")
    told = spectra is not None and spectra.wavelength is not None
    kept = [line for line in known.warnings if not (told and line == NO_WAVELENGTHS)]
    source.metadata = replace(
        known,
        driver=driver,
        wavelength=spectra.wavelength if spectra is not None and told else known.wavelength,
        fwhm=spectra.fwhm if spectra is not None and told else known.fwhm,
        scale=scale,
        offset=offset,
        nodata=nodata,
        warnings=(*kept, *warnings),
        assumed=tuple(assumed),
    )
    return source


def in_sensor_geometry(source: RasterSource, how: str) -> None:
    """Take away a georeference that is none, and say so, in place.

    Args:
        source: The image.
        how: How to come by a map.
    """
    known = source.metadata
    kept = [line for line in known.warnings if "transform" not in line and "coordinate reference" not in line]
    note = f"in sensor geometry, so rows and columns are used as coordinates; {how}"
    source.metadata = replace(known, grid=Grid(source.shape[1:]), warnings=(note, *kept))


def layer(path: Path | None, shape: tuple[int, int]) -> RasterSource | None:
    """A quality layer on an image's grid, or None where there is none.

    Raises:
        CubeError: It has another size than the image.
    """
    if path is None:
        return None
    source = RasterSource(path, reading=replace(AS_IT_SAYS, fill="none"))
    if source.shape[1:] != shape:
        raise CubeError(
            f"{path}: {by(source.shape[1:])} pixels, but the image has {by(shape)}; download the product again"
        )
    return source


def flags(source: RasterSource | None, values: tuple[int, ...] | None, places: tuple[int, ...] = (0,)) -> list[Mask]:
    """Flags of a layer; none where it is missing, or has fewer bands than that."""
    if source is None or max(places) >= source.shape[0]:
        return []
    return [Flags(source, values=values, places=places)]
