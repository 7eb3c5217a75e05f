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
from rasterio.crs import CRS

from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import text
from hadgeo.formats.gdal import NO_CRS
from hadgeo.formats.map_info import oddities, parse_map_info
from hadgeo.formats.map_info_crs import coordinate_system, crs_name
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
_NO_MAP_INFO = "no Map_Info in the file"


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
        dataset = product.cube(f"{site}/{_CUBE}")
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
    crs = _crs(product, place)
    stored = product.values(f"{place}/Map_Info")
    info = _NO_MAP_INFO if stored is None else parse_map_info(text(stored))
    if isinstance(info, str):
        product.notes.append(f"{info}: rows and columns are used as coordinates")
        if crs is None:
            product.notes.append(NO_CRS)
        return Grid(shape, crs)
    told, notes, assumed = coordinate_system({}, info.projection, info.words, info.units, info.items, None)
    if crs is None:
        crs = told
        product.notes.extend((*notes, *(() if told is not None else (NO_CRS,))))
        product.assumed.extend(assumed)
        if told is not None:
            product.assumed.append(f"{crs_name(told)} by the words of Map_Info: the file has no code")
    elif told is not None and told != crs:
        product.notes.append(f"Map_Info says {crs_name(told)}, but the file says {crs_name(crs)}, which is used")
    grid = Grid(shape, crs, info.transform)
    product.notes.extend(oddities(info, grid))
    return grid


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
