"""AVIRIS-3, AVIRIS-5 and AVIRIS-NG in NetCDF 4: reflectance or radiance in a group, its map grid in the root.

AVIRIS-3 L2A, https://doi.org/10.3334/ORNLDAAC/2357, and AVIRIS-NG L2, https://doi.org/10.3334/ORNLDAAC/2110, with their
user guides at ORNL DAAC: group ``reflectance`` with ``reflectance`` (wavelength, northing, easting), ``wavelength`` and
``fwhm`` in nm, fill -9999; in the root the coordinates of pixel centres and the grid mapping ``transverse_mercator``.
L1B radiance is in a group ``radiance``, in the sensor's own geometry as lines and samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import Axes
from hadgeo.formats.gdal import NO_CRS
from hadgeo.formats.hdf5 import text
from hadgeo.formats.products.hdf5_product import (
    Hdf5Product,
    Opened,
    dimension_names,
    fill_value,
    find_axes,
    packing,
    spectral_of,
    unit_of,
)
from hadgeo.formats.quality import choose
from hadgeo.formats.source import Metadata, Source
from hadgeo.grid import Grid
from hadgeo.rasterio_errors import RASTERIO_ERRORS

_GROUPS = ("reflectance", "radiance")
_ROWS, _COLS = ("northing", "y", "lines", "line", "downtrack"), ("easting", "x", "samples", "sample", "crosstrack")
_ROLES = {
    **dict.fromkeys(_ROWS, "row"),
    **dict.fromkeys(_COLS, "col"),
    **dict.fromkeys(("wavelength", "wavelengths", "bands", "band"), "band"),
}
_DOCUMENTED = Axes(band=0, row=1, col=2)
_FILL = -9999.0

#: By how much of a pixel coordinates may be uneven; they are written as rounded numbers.
_UNEVEN = 0.01


class AvirisFormat(Hdf5Product):
    """AVIRIS NetCDF, by a group that holds a cube of its own name, and its wavelengths."""

    title = "AVIRIS NetCDF"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether there is reflectance/reflectance or radiance/radiance, with wavelengths beside it."""
        return any(array in (None, f"{group}/{group}") for group in _groups(file))

    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe reflectance or radiance; see `Hdf5Product.describe`."""
        groups = [g for g in _groups(product.file) if array in (None, g, f"{g}/{g}")]
        if not groups:
            held = ", ".join(f"{group}/{group}" for group in _groups(product.file))
            raise CubeError(f"{product.path}: no cube {array!r}; it holds {held}")
        group = groups[0]
        dataset = product.file[f"{group}/{group}"]
        wavelength = product.values(f"{group}/wavelength")
        count = None if wavelength is None else wavelength.size
        names = dimension_names(dataset)
        axes = find_axes(product, dataset, names, _ROLES, _DOCUMENTED, count)
        shape, bands = (dataset.shape[axes.row], dataset.shape[axes.col]), dataset.shape[axes.band]
        known = spectral_of(
            product,
            bands,
            wavelength=wavelength,
            fwhm=product.values(f"{group}/fwhm"),
            good=product.values(f"{group}/good_wavelengths"),
            unit=unit_of(product.dataset(f"{group}/wavelength")),
        )
        nodata = fill_value(dataset)
        if nodata is None:
            nodata = _FILL
            product.assumed.append("no fill value in the file: -9999, as the user guide has it")
        scale, offset = packing(dataset, bands)
        choose(product.reading.quality, {}, product.path)
        metadata = Metadata(
            driver="AVIRIS",
            stored_dtype=dataset.dtype,
            grid=_grid(product, group, shape, [names[axes.row], names[axes.col]] if len(names) == 3 else []),
            interleave=axes.interleave,
            wavelength=known.wavelength,
            fwhm=known.fwhm,
            good=np.ones(bands, dtype=bool) if known.good is None else known.good,
            nodata=nodata,
            scale=scale,
            offset=offset,
            warnings=tuple(product.notes),
            assumed=tuple(product.assumed),
        )
        return product.source(dataset, axes, metadata)


AVIRIS = AvirisFormat()


def _groups(file: Any) -> list[str]:
    return [
        group
        for group in _GROUPS
        if getattr(file.get(f"{group}/{group}"), "ndim", 0) == 3 and f"{group}/wavelength" in file
    ]


def _grid(product: Opened, group: str, shape: tuple[int, int], names: list[str]) -> Grid:
    mapping = _grid_mapping(product, group)
    written = _written_transform(mapping)
    told = _told_transform(product, group, shape, names)
    if written is not None and (written.b or written.d):
        # Coordinates along rows and columns cannot tell a rotated grid.
        transform: Affine | None = written
    else:
        transform = told or written
    if told and written and transform is told and not _same(told, written):
        product.notes.append("GeoTransform of the grid mapping contradicts the coordinates of the pixels: left aside")
    if transform is None:
        product.notes.append(
            "in the sensor's own geometry, so rows and columns stand for coordinates: no northing and easting in the "
            "file; open the orthorectified product (ORT) for a map"
        )
        return Grid(shape)
    crs = _crs(mapping)
    if crs is None:
        product.notes.append(NO_CRS)
    return Grid(shape, crs, transform)


def _grid_mapping(product: Opened, group: str) -> Any:
    """The variable that describes the projection: the one that the cube names, or any that has its attributes."""
    named = text(product.file[f"{group}/{group}"].attrs.get("grid_mapping", "transverse_mercator"))
    for place in (f"{group}/{named}", named):
        if place in product.file:
            return product.file[place]
    likely = [product.file[name] for name in product.file if "grid_mapping_name" in product.file[name].attrs]
    return likely[0] if len(likely) == 1 else None


def _written_transform(mapping: Any) -> Affine | None:
    if mapping is None or "GeoTransform" not in mapping.attrs:
        return None
    value = mapping.attrs["GeoTransform"]
    fields = text(value).replace(",", " ").split() if np.size(value) == 1 else np.ravel(value).tolist()
    try:
        return Affine.from_gdal(*(float(field) for field in fields))
    except (TypeError, ValueError):
        return None


def _told_transform(product: Opened, group: str, shape: tuple[int, int], names: list[str]) -> Affine | None:
    """The transform whose pixel centres are the coordinates, where those are evenly spaced."""
    found = []
    for size, name, usual in zip(shape, names or ("", ""), (_ROWS, _COLS), strict=True):
        places = [f"{holder}{n}" for n in dict.fromkeys((name, usual[0])) if n for holder in (f"{group}/", "")]
        values = next((v for place in places if (v := _coordinate(product, place, size)) is not None), None)
        if values is None:
            return None
        found.append(values)
    steps = [_step(values) for values in found]
    if steps[0] is None or steps[1] is None:
        product.notes.append("coordinates of the pixels are not evenly spaced: left aside")
        return None
    down, across = steps[0], steps[1]
    return Affine(across, 0.0, float(found[1][0]) - across / 2, 0.0, down, float(found[0][0]) - down / 2)


def _coordinate(product: Opened, place: str, size: int) -> npt.NDArray[np.float64] | None:
    dataset = product.dataset(place)
    # A dimension without coordinates is stored as a dataset, too, and says so in its name.
    if dataset is None or dataset.shape != (size,) or size < 2:
        return None
    if text(dataset.attrs.get("NAME", "")).startswith("This is a netCDF dimension"):
        return None
    return np.asarray(dataset[()], dtype=np.float64)


def _step(values: npt.NDArray[np.float64]) -> float | None:
    step = float(values[-1] - values[0]) / (values.size - 1)
    even = values[0] + step * np.arange(values.size)
    return step if step and np.abs(values - even).max() <= _UNEVEN * abs(step) else None


def _same(one: Affine, other: Affine) -> bool:
    return all(abs(a - b) <= 0.01 * abs(one.a) for a, b in zip(one[:6], other[:6], strict=True))


def _crs(mapping: Any) -> CRS | None:
    """By the text of the coordinate system, or by the parameters of CF conventions 1.11, appendix F."""
    if mapping is None:
        return None
    for name in ("crs_wkt", "spatial_ref"):
        if name in mapping.attrs:
            try:
                return CRS.from_wkt(text(mapping.attrs[name]))
            except RASTERIO_ERRORS:
                continue
    import pyproj

    fields = {
        name: text(value) if isinstance(value, bytes) else np.ravel(value).tolist()
        for name, value in mapping.attrs.items()
    }
    try:
        described = pyproj.CRS.from_cf(
            {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in fields.items()}
        )
        return CRS.from_wkt(described.to_wkt())
    except (RuntimeError, LookupError, TypeError, ValueError, RasterioError):
        # pyproj lets whatever it meets in the parameters through.
        return None
