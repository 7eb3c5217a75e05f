"""NEON AOP spectrometer reflectance: HDF5 flight lines and tiles (DP1.30006, DP3.30006), on a map grid.

NEON, "NEON Imaging Spectrometer Radiance to Reflectance ATBD" (NEON.DOC.001288) and
https://data.neonscience.org/data-products/DP3.30006.002: one group, named by the site, holds ``Reflectance`` with
``Reflectance_Data`` (line, sample, wavelength), int16, reflectance times ``Scale_Factor`` (10000), fill -9999, and
``Metadata`` with wavelengths, ``Map_Info`` as in ENVI headers, and an EPSG code. ``Band_Window_*_Nanometers`` are the
bands in water vapour, where reflectance is not retrieved.

``Haze_Cloud_Water_Map`` holds the classes of ATCOR, from which the quality layers come.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import text
from hadgeo.formats.gdal import NO_CRS
from hadgeo.formats.packing import Packing
from hadgeo.formats.products.hdf5_product import Hdf5Product, Opened, fill_value, find_axes, spectral_of, unit_of
from hadgeo.formats.quality import Flags, Mask, choose, masked
from hadgeo.formats.source import Source
from hadgeo.grid import Grid

_CUBE = "Reflectance/Reflectance_Data"
_METADATA = "Reflectance/Metadata"
_ROLES = {"line": "row", "sample": "col", "wavelength": "band"}
_DOCUMENTED = Axes(row=0, col=1, band=2)
_SCALE = 10000.0
_FILL = -9999.0

#: Classes of ``Haze_Cloud_Water_Map`` (ATCOR; https://developers.google.com/earth-engine/datasets/catalog/
#: projects_neon-prod-earthengine_assets_HSI_REFL_002, table of that band).
_CLASSES = {
    "cloud": (15, 16),
    "cirrus": (2, 3, 4, 8, 9, 10, 18, 19),
    "shadow": (1, 21, 22),
    "water": (2, 3, 4, 13, 14, 16, 17),
    "snow": (7,),
    "haze": (11, 12, 13, 14),
    "saturation": (6,),
}

_NO_CRS_ERRORS: tuple[type[Exception], ...] = (ValueError, *RASTERIO_ERRORS)

#: Without a georeference.
_NO_PLACE = "no readable Map_Info: rows and columns are used as coordinates"


class NeonFormat(Hdf5Product):
    """NEON AOP reflectance, by its groups; the site's name may be any."""

    title = "NEON AOP reflectance"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether a group of the root holds Reflectance/Reflectance_Data."""
        site = _site(file)
        return site is not None and array in (None, f"{site}/{_CUBE}")

    def describe(self, product: Opened, array: str | None) -> Source:  # noqa: ARG002 - the protocol's signature
        """Describe the reflectance; see `Hdf5Product.describe`."""
        site = _site(product.file)
        dataset = product.file[f"{site}/{_CUBE}"]
        spectra = f"{site}/{_METADATA}/Spectral_Data"
        wavelength = product.values(f"{spectra}/Wavelength")
        names = [name.strip().lower() for name in text(dataset.attrs.get("Dimension_Labels", "")).split(",")]
        count = None if wavelength is None else wavelength.size
        axes = find_axes(product, dataset, names if len(names) == 3 else (), _ROLES, _DOCUMENTED, count)
        shape, bands = (dataset.shape[axes.row], dataset.shape[axes.col]), dataset.shape[axes.band]
        known = spectral_of(
            product,
            bands,
            wavelength=wavelength,
            fwhm=product.values(f"{spectra}/FWHM"),
            unit=unit_of(product.dataset(f"{spectra}/Wavelength")),
        )
        nodata, factor = _declared(product, dataset)
        grid = _grid(product, f"{site}/{_METADATA}/Coordinate_System", shape)
        good = _good(known.wavelength, product.file[f"{site}/Reflectance"].attrs, bands)
        scale = None if factor == 1.0 else np.full(bands, 1.0 / factor)
        packed = Packing(nodata=nodata, scale=scale)
        metadata = product.describe("NEON", dataset, axes, replace(known, good=good), grid, packed)
        source = product.source(dataset, axes, metadata, packed)
        return masked(source, _masks(product, f"{site}/{_METADATA}", shape))


NEON = NeonFormat()


def _site(file: Any) -> str | None:
    return next((name for name in file if getattr(file.get(f"{name}/{_CUBE}"), "ndim", 0) == 3), None)


def _declared(product: Opened, dataset: Any) -> tuple[float, float]:
    """Fill value and scale factor, or what NEON documents where the file does not say."""
    nodata = fill_value(dataset)
    if nodata is None:
        nodata = _FILL
        product.assumed.append("no Data_Ignore_Value in the file: -9999 assumed, as documented by NEON")
    factor = float(np.ravel(dataset.attrs.get("Scale_Factor", np.nan))[0])
    if not (math.isfinite(factor) and factor > 0):
        if dataset.dtype.kind == "f":
            product.assumed.append(
                "no Scale_Factor in the file: samples taken as reflectance, since they are not integers"
            )
            return nodata, 1.0
        factor = _SCALE
        product.assumed.append("no Scale_Factor in the file: 10000 assumed, as documented by NEON")
    return nodata, factor


def _good(wavelength: npt.NDArray[np.float64] | None, attributes: Any, bands: int) -> npt.NDArray[np.bool_]:
    good = np.ones(bands, dtype=bool)
    if wavelength is None:
        return good
    for name in attributes:
        if re.fullmatch(r"Band_Window_\d+_Nanometers", name):
            low, high = (float(value) for value in np.ravel(attributes[name])[:2])
            good &= ~((wavelength >= low) & (wavelength <= high))
    return good


def _grid(product: Opened, place: str, shape: tuple[int, int]) -> Grid:
    stored = product.values(f"{place}/Map_Info")
    fields = [] if stored is None else [item.strip().strip("{}") for item in text(stored).split(",")]
    transform = None
    try:
        transform = _transform(fields)
    except (ValueError, IndexError):
        product.notes.append(_NO_PLACE)
    crs, zone = _crs(product, place), _utm(fields)
    if crs is None and zone is not None:
        crs = CRS.from_epsg(zone)
        product.assumed.append(f"EPSG:{zone} derived from zone and hemisphere in Map_Info: the file has no EPSG code")
    elif crs is not None and zone not in (None, crs.to_epsg()):
        product.notes.append(f"Map_Info says EPSG:{zone}, but the file says {crs.to_string()[:60]}, which is used")
    elif crs is None:
        product.notes.append(NO_CRS)
    return Grid(shape, crs, transform)


def _transform(fields: list[str]) -> Affine:
    """The transform of an ENVI map info: projection, reference pixel (1-based), its place, and pixel sizes.

    Raises:
        ValueError: A field is no number.
        IndexError: There are too few.
    """
    x, y, east, north, across, along = (float(fields[i]) for i in range(1, 7))
    turn = math.radians(next((float(f.split("=")[1]) for f in fields if re.match(r"rotation\s*=", f, re.I)), 0.0))
    a, d = across * math.cos(turn), across * math.sin(turn)
    b, e = along * math.sin(turn), -along * math.cos(turn)
    return Affine(a, b, east - a * (x - 1) - b * (y - 1), d, e, north - d * (x - 1) - e * (y - 1))


def _utm(fields: list[str]) -> int | None:
    """EPSG code of the UTM zone on WGS 84 that a map info names, or None."""
    words = [field.lower() for field in fields[7:]]
    if not fields or fields[0].lower() != "utm" or len(words) < 3 or not words[0].isdecimal():
        return None
    north, datum = {"north": True, "south": False}.get(words[1]), re.sub(r"[^a-z0-9]", "", words[2])
    if north is None or datum != "wgs84" or not 1 <= int(words[0]) <= 60:
        return None
    return (32600 if north else 32700) + int(words[0])


def _crs(product: Opened, place: str) -> CRS | None:
    """By EPSG code, by the text of the coordinate system, or by PROJ's."""
    for name in ("EPSG Code", "EPSG_Code", "Coordinate_System_String", "Proj4"):
        stored = product.values(f"{place}/{name}")
        if stored is None:
            continue
        said = text(stored)
        try:
            return CRS.from_epsg(int(float(said))) if name.startswith("EPSG") else CRS.from_string(said)
        except _NO_CRS_ERRORS:
            product.notes.append(f"{name} ({said[:40]}) is not a coordinate reference system: ignored")
    return None


def _masks(product: Opened, place: str, shape: tuple[int, int]) -> list[Mask]:
    if not product.reading.quality:
        return []
    layer = product.layer(f"{place}/Ancillary_Imagery/Haze_Cloud_Water_Map", shape)
    layers: dict[str, list[Mask]] = {}
    if layer is not None:
        layers = {name: [Flags(layer, values=classes)] for name, classes in _CLASSES.items()}
    return choose(product.reading.quality, layers, product.path, "from Haze_Cloud_Water_Map of its ancillary imagery")
