"""Tanager-1 radiance and surface reflectance: HDF-EOS5 swaths (basic products) and grids (ortho products).

Planet, "Tanager Product Specification" (2025), section 3.6 "Tanager HDF5 product components and format",
https://docs.planet.com/data/imagery/tanager/: ``HDFEOS/SWATHS/HYP`` or ``HDFEOS/GRIDS/HYP``, in its ``Data Fields``
the cube ``toa_radiance`` or ``surface_reflectance`` (band, y, x) with ``wavelengths``, ``fwhm`` and
``good_wavelengths`` as attributes, fill -9999, and ``nodata_pixels`` (1 outside of what was seen).

Grids are placed by ``StructMetadata.0`` (outer corners) and ``epsg_code``. ``Planet_Ortho_Framing`` of a swath is the
grid of the ortho product that is made of it: it places a cube only if it has the cube's own rows and columns, and
latitudes and longitudes, where there are any, agree with it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import text
from hadgeo.formats.gdal import NO_CRS
from hadgeo.formats.products.hdf5_product import (
    Hdf5Product,
    Opened,
    by,
    dimension_names,
    find_axes,
    spectral_of,
)
from hadgeo.formats.quality import Flags, Mask, choose, masked
from hadgeo.formats.source import Source
from hadgeo.grid import Grid

_FIELDS = "Data Fields"
_CUBES = ("surface_reflectance", "toa_radiance", "ortho_surface_reflectance", "ortho_radiance")
_ROLES = {"Band": "band", "YDim": "row", "XDim": "col"}
_DOCUMENTED = Axes(band=0, row=1, col=2)
_FILL = -9999.0
_FRAMING = "Planet_Ortho_Framing"
_FLAGS = {"cloud": "beta_cloud_mask", "cirrus": "beta_cirrus_mask"}

#: By how many pixels the middle of a frame may lie off what latitude and longitude say, and still be the cube's own.
_NEAR = 2.0


class TanagerFormat(Hdf5Product):
    """Tanager-1, by its HDF-EOS5 groups and the names of its cubes."""

    title = "Tanager-1"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether a swath or grid of HDF-EOS5 holds one of Tanager's cubes."""
        return any(array in (None, f"{group}/{_FIELDS}/{name}") for group, name in _find(file))

    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe radiance or reflectance; see `Hdf5Product.describe`."""
        found = [(g, n) for g, n in _find(product.file) if array in (None, n, f"{g}/{_FIELDS}/{n}")]
        if not found:
            held = ", ".join(name for _, name in _find(product.file))
            raise CubeError(f"{product.path}: no cube {array!r}; it holds {held}")
        group, name = found[0]
        if array is None and len(found) > 1 and name not in _CUBES:
            held = ", ".join(other for _, other in found)
            raise CubeError(f"{product.path}: {len(found)} cubes; name one of {held} with --variable")
        fields = f"{group}/{_FIELDS}"
        dataset = product.cube(f"{fields}/{name}")
        wavelength = _list(product, dataset, fields, "wavelengths", "wavelength", "Wavelength")
        count = None if wavelength is None else wavelength.size
        axes = find_axes(product, dataset, dimension_names(dataset), _ROLES, _DOCUMENTED, count)
        shape, bands = (dataset.shape[axes.row], dataset.shape[axes.col]), dataset.shape[axes.band]
        known = spectral_of(
            product,
            bands,
            wavelength=wavelength,
            fwhm=_list(product, dataset, fields, "fwhm", "FWHM"),
            good=_list(product, dataset, fields, "good_wavelengths"),
            unit=text(dataset.attrs.get("wavelengths_units", dataset.attrs.get("wavelength_units", ""))).lower(),
        )
        packed = product.packing(dataset, bands, _FILL)
        grid = _grid(product, group, shape)
        metadata = product.describe("Tanager", dataset, axes, known, grid, packed)
        source = product.source(dataset, axes, metadata, packed)
        return masked(source, _masks(product, fields, shape))


TANAGER = TanagerFormat()


def _find(file: Any) -> Iterator[tuple[str, str]]:
    """Groups and names of Tanager's cubes, the most processed first."""
    for kind in ("GRIDS", "SWATHS"):
        for group in file.get(f"HDFEOS/{kind}", {}):
            place = f"HDFEOS/{kind}/{group}"
            fields = file.get(f"{place}/{_FIELDS}", {})
            arrays = [name for name in fields if getattr(fields[name], "ndim", 0) == 3]
            named = [name for name in _CUBES if name in arrays]
            # What is called otherwise is a cube if it has the attribute of one.
            for name in named or [name for name in arrays if "wavelengths" in fields[name].attrs]:
                yield place, name


def _list(product: Opened, dataset: Any, fields: str, *names: str) -> Any:
    """A list of one value a band: an attribute of the cube or of its groups, or a dataset beside it."""
    holders = [dataset.attrs, product.file[fields].attrs, product.file[fields].parent.attrs]
    for name in names:
        for attributes in holders:
            if name in attributes:
                return np.ravel(attributes[name])
        values = product.values(f"{fields}/{name}")
        if values is not None and values.ndim == 1:
            return values
    return None


def _grid(product: Opened, group: str, shape: tuple[int, int]) -> Grid:
    """Where the cube lies: by the grid's own corners, or by the framing, if that is the cube's."""
    found = _from_structure(product, group, shape) or _from_framing(product, group, shape)
    if found is None:
        return Grid(shape)
    crs = None
    try:
        crs = None if found[0] is None else CRS.from_epsg(found[0])
    except RASTERIO_ERRORS:
        product.notes.append(f"unknown EPSG code {found[0]}: ignored")
    if crs is None:
        product.notes.append(NO_CRS)
    grid = Grid(shape, crs, found[1])
    if not _agrees(product, group, grid):
        product.notes.append(
            f"in sensor geometry: latitudes and longitudes contradict {_FRAMING}, which is the grid of the "
            "ortho product; open that one for a georeferenced map"
        )
        return Grid(shape)
    return grid


def _from_structure(product: Opened, group: str, shape: tuple[int, int]) -> tuple[int | None, Affine] | None:
    stored = product.values("HDFEOS INFORMATION/StructMetadata.0")
    if stored is None or "/GRIDS/" not in group:
        return None
    structure = text(stored)
    corners = [
        re.search(rf"{name}=\(([-+\d.eE]+),([-+\d.eE]+)\)", structure)
        for name in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    if not all(corners):
        return None
    (left, top), (right, bottom) = ((float(match[1]), float(match[2])) for match in corners if match)
    code = product.file[group].attrs.get("epsg_code")
    across, down = (right - left) / shape[1], (bottom - top) / shape[0]
    return _epsg(code, structure), Affine(across, 0.0, left, 0.0, down, top)


def _epsg(code: Any, structure: str) -> int | None:
    """The EPSG code that is given, or that of the UTM zone in the structural metadata (GCTP: negative in the south)."""
    if code is not None:
        digits = re.search(r"\d{4,6}", text(code))
        return int(digits[0]) if digits else None
    zone = re.search(r"ZoneCode=(-?\d+)", structure)
    if "HE5_GCTP_UTM" not in structure or zone is None:
        return None
    number = int(zone[1])
    return 32600 + number if number > 0 else 32700 - number


def _from_framing(product: Opened, group: str, shape: tuple[int, int]) -> tuple[int | None, Affine] | None:
    frame = _framing(product, group)
    if frame is None:
        product.notes.append(f"no readable {_FRAMING}: rows and columns are used as coordinates")
        return None
    own = (int(frame.get("rows", shape[0])), int(frame.get("cols", shape[1])))
    if own != shape:
        product.notes.append(
            f"in sensor geometry, so rows and columns are used as coordinates: {_FRAMING} is the grid of the "
            f"ortho product ({by(own)} pixels, not {by(shape)}); open that one for a georeferenced map"
        )
        return None
    return _epsg(frame.get("epsg_code"), ""), Affine.from_gdal(*(float(value) for value in frame["geotransform"]))


def _framing(product: Opened, group: str) -> dict[str, Any] | None:
    for place in (f"{group}/Geolocation Fields", group, f"{group}/{_FIELDS}", "/"):
        holder = product.file.get(place)
        if holder is None or _FRAMING not in holder.attrs:
            continue
        try:
            frame = json.loads(text(holder.attrs[_FRAMING]))
        except ValueError:
            continue
        if isinstance(frame, dict) and len(frame.get("geotransform", ())) == 6:
            return frame
    return None


def _agrees(product: Opened, group: str, grid: Grid) -> bool:
    """Whether the corners and the middle lie where latitude and longitude, if there are any, have them."""
    fields = [product.dataset(f"{group}/Geolocation Fields/{name}") for name in ("Longitude", "Latitude")]
    if any(field is None or field.shape != grid.shape for field in fields):
        return True
    rows, cols = (sorted({0, size // 2, size - 1}) for size in grid.shape)
    told = [np.array([[float(field[row, col]) for col in cols] for row in rows]).ravel() for field in fields]
    usable = np.isfinite(told).all(axis=0) & (np.abs(told) <= 360.0).all(axis=0) & (np.abs(told[1]) <= 90.0)
    at = np.array([[(col + 0.5, row + 0.5) for col in cols] for row in rows]).reshape(-1, 2)
    placed = grid.to_longitude_latitude(*grid.to_map(at[:, 0], at[:, 1]))
    size = grid.pixel_size()
    if placed is None or size is None or not usable.any():
        return True
    metres = 111_320.0 * np.hypot(
        (placed[0] - told[0]) * math.cos(math.radians(float(placed[1].mean()))), placed[1] - told[1]
    )
    return bool((metres[usable] <= _NEAR * max(size)).all())


def _masks(product: Opened, fields: str, shape: tuple[int, int]) -> list[Mask]:
    outside = product.layer(f"{fields}/nodata_pixels", shape)
    masks: list[Mask] = [] if outside is None else [Flags(outside, values=(1,))]
    if not product.reading.quality:
        return masks
    found = {name: product.layer(f"{fields}/{layer}", shape) for name, layer in _FLAGS.items()}
    layers: dict[str, list[Mask]] = {
        name: [Flags(layer, values=(1,))] for name, layer in found.items() if layer is not None
    }
    return [*masks, *choose(product.reading.quality, layers, product.path)]
