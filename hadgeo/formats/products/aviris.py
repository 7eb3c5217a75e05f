"""AVIRIS-3, AVIRIS-5 and AVIRIS-NG in NetCDF 4: reflectance or radiance in a group, its map grid in the root.

AVIRIS-3 L2A, https://doi.org/10.3334/ORNLDAAC/2357, and AVIRIS-NG L2, https://doi.org/10.3334/ORNLDAAC/2110, with their
user guides at ORNL DAAC: group ``reflectance`` with ``reflectance`` (wavelength, northing, easting), ``wavelength`` and
``fwhm`` in nm, fill -9999; in the root the coordinates of pixel centres and the grid mapping ``transverse_mercator``.
L1B radiance is in a group ``radiance``, in the sensor's own geometry as lines and samples.
"""

from __future__ import annotations

from typing import Any

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import Axes
from hadgeo.formats.hdf5 import list_hdf5
from hadgeo.formats.place import find_place
from hadgeo.formats.products.hdf5_product import (
    Hdf5Product,
    Opened,
    dimension_names,
    find_axes,
    spectral_of,
    unit_of,
)
from hadgeo.formats.quality import choose
from hadgeo.formats.source import Source
from hadgeo.grid import Grid

_GROUPS = ("reflectance", "radiance")
_ROLES = {
    **dict.fromkeys(("northing", "y", "lines", "line", "downtrack"), "row"),
    **dict.fromkeys(("easting", "x", "samples", "sample", "crosstrack"), "col"),
    **dict.fromkeys(("wavelength", "wavelengths", "bands", "band"), "band"),
}
_DOCUMENTED = Axes(band=0, row=1, col=2)
_FILL = -9999.0

_SENSOR_GEOMETRY = (
    "in sensor geometry, so rows and columns are used as coordinates; open the orthorectified product (ORT) for a "
    "georeferenced map"
)


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
        dataset = product.cube(f"{group}/{group}")
        wavelength = product.values(f"{group}/wavelength")
        count = None if wavelength is None else wavelength.size
        axes = find_axes(product, dataset, dimension_names(dataset), _ROLES, _DOCUMENTED, count)
        bands = dataset.shape[axes.band]
        known = spectral_of(
            product,
            bands,
            wavelength=wavelength,
            fwhm=product.values(f"{group}/fwhm"),
            good=product.values(f"{group}/good_wavelengths"),
            unit=unit_of(product.dataset(f"{group}/wavelength")),
        )
        packed = product.packing(dataset, bands, _FILL)
        grid = _grid(product, f"/{group}/{group}", axes)
        choose(product.reading.quality, {}, product.path)
        metadata = product.describe("AVIRIS", dataset, axes, known, grid, packed)
        return product.source(dataset, axes, metadata, packed)


AVIRIS = AvirisFormat()


def _groups(file: Any) -> list[str]:
    return [
        group
        for group in _GROUPS
        if getattr(file.get(f"{group}/{group}"), "ndim", 0) == 3 and f"{group}/wavelength" in file
    ]


def _grid(product: Opened, name: str, axes: Axes) -> Grid:
    """Coordinates and grid mapping in the manner of CF, wherever in the file they stand."""
    container = list_hdf5(product.path, product.file.filename)
    found = find_place(container, container.find(name), axes)
    product.notes.extend(found.place.warnings if found.place.grid.georeferenced else (_SENSOR_GEOMETRY,))
    product.assumed.extend(found.assumed)
    return found.place.grid
