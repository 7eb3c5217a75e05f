"""EMIT L1B radiance and L2A reflectance: NetCDF 4 in the sensor's own geometry, with a lookup table to map geometry.

EMIT L1B Algorithm Theoretical Basis and User Guide, https://lpdaac.usgs.gov/products/emitl1bradv001/, and L2A,
https://lpdaac.usgs.gov/products/emitl2arflv001/: the cube is (downtrack, crosstrack, bands) in the root, fill is -9999,
``sensor_band_parameters`` holds wavelengths, widths and good bands, ``location`` the geometry lookup table (GLT): for
each pixel of an orthorectified grid, which is that of the root's ``geotransform`` and ``spatial_ref``, the 1-based
column and row of the cube, 0 for none. That transform is not one of the cube's own pixels.

The flags of L2A stand in a file of their own (``EMIT_L2A_MASK_...``), which is looked for beside the cube.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes, ContainerSource
from hadgeo.formats.container import text
from hadgeo.formats.hdf5 import Hdf5Array, is_hdf5, open_hdf5
from hadgeo.formats.products.hdf5_product import (
    Hdf5Product,
    Opened,
    by,
    dimension_names,
    fill_value,
    find_axes,
    spectral_of,
    unit_of,
)
from hadgeo.formats.quality import Flags, Mask, choose, masked
from hadgeo.formats.source import Metadata, Source
from hadgeo.grid import Grid

_PARAMETERS = "sensor_band_parameters"
_ROLES = {"downtrack": "row", "crosstrack": "col", "bands": "band"}
_DOCUMENTED = Axes(row=0, col=1, band=2)
_CUBES = ("reflectance", "radiance")
_FILL = -9999.0

#: What other files of EMIT hold, which look like cubes and are none.
_NO_CUBES = {"mask": "quality flags", "obs": "viewing geometry"}

#: Bands of the mask, where the file does not name them (EMIT L2A User Guide, table of mask bands).
_MASK_BANDS = ("cloud flag", "cirrus flag", "water flag", "spacecraft flag", "dilated cloud flag")

#: What the flags are to us. Clouds are widened by EMIT to take in their shadows.
_FLAGS = {
    "cloud flag": "cloud",
    "cirrus flag": "cirrus",
    "water flag": "water",
    "spacecraft flag": "defect",
    "dilated cloud flag": "shadow",
}

_SENSOR_GEOMETRY = (
    "in sensor geometry, so rows and columns are used as coordinates; the lookup table in the file "
    "(location/glt_x and glt_y) leads to map geometry"
)


@dataclass(frozen=True)
class LookupTable:
    """Which pixel of a cube belongs to each pixel of a map.

    Attributes:
        grid: The map's pixels.
        x: Where the 1-based columns stand, 0 for none.
        y: Where the 1-based rows stand, 0 for none.
    """

    grid: Grid
    x: Hdf5Array
    y: Hdf5Array


class EmitSource(ContainerSource):
    """A cube of EMIT.

    Attributes:
        glt: Its way to map geometry, or None where the file has none.
    """

    glt: LookupTable | None = None


class EmitFormat(Hdf5Product):
    """EMIT L1B and L2A, by the groups and dimensions of the file."""

    title = "EMIT L1B/L2A"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether there are band parameters, and in the root an array of the cube's dimensions or names."""
        cubes = _cubes(file)
        return bool(cubes) and (array is None or array in cubes)

    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe reflectance or radiance; see `Hdf5Product.describe`."""
        dataset = product.cube(_name_of_cube(product, array))
        wavelengths = product.values(f"{_PARAMETERS}/wavelengths")
        count = None if wavelengths is None else wavelengths.size
        axes = find_axes(product, dataset, dimension_names(dataset), _ROLES, _DOCUMENTED, count)
        bands = dataset.shape[axes.band]
        known = spectral_of(
            product,
            bands,
            wavelength=wavelengths,
            fwhm=product.values(f"{_PARAMETERS}/fwhm"),
            good=product.values(f"{_PARAMETERS}/good_wavelengths"),
            unit=unit_of(product.dataset(f"{_PARAMETERS}/wavelengths")),
        )
        packed = product.packing(dataset, bands, _FILL)
        table = _lookup_table(product)
        grid = Grid((dataset.shape[axes.row], dataset.shape[axes.col]))
        product.notes.insert(0, _SENSOR_GEOMETRY if table else _SENSOR_GEOMETRY.partition(";")[0])
        metadata = product.describe("EMIT", dataset, axes, known, grid, packed)
        stored = Hdf5Array.of(dataset)
        source = EmitSource(product.path, stored, axes, metadata, fills=packed.fills, limits=packed.limits)
        source.glt = table
        return masked(source, _masks(product, grid.shape, bands))


EMIT = EmitFormat()


def _cubes(file: Any) -> list[str]:
    """Names of the arrays in the root that have the cube's dimensions or its name, where there are band parameters."""
    arrays = [name for name in file if getattr(file[name], "ndim", 0) == 3] if _PARAMETERS in file else []
    names = (*_CUBES, *_NO_CUBES)
    return [name for name in arrays if name in names or set(dimension_names(file[name])) == set(_ROLES)]


def _name_of_cube(product: Opened, array: str | None) -> str:
    cubes = _cubes(product.file)
    if array is not None:
        if array not in cubes:
            raise CubeError(f"{product.path}: no array {array!r}; it holds {', '.join(cubes)}")
        return array
    known = [name for name in _CUBES if name in cubes]
    if known:
        return known[0]
    for name, what in _NO_CUBES.items():
        if name in cubes:
            raise CubeError(f"{product.path}: {what} of EMIT ({name}), not a cube; open the RFL or RAD file next to it")
    if len(cubes) > 1:
        raise CubeError(f"{product.path}: {len(cubes)} arrays; name one of {', '.join(cubes)} with --variable")
    return cubes[0]


def _lookup_table(product: Opened) -> LookupTable | None:
    x, y = product.dataset("location/glt_x"), product.dataset("location/glt_y")
    place = product.file.attrs.get("geotransform")
    if x is None or y is None or place is None or x.shape != y.shape or len(x.shape) != 2:
        product.notes.append(
            "no lookup table in the file (location/glt_x and glt_y): it cannot be brought to map geometry"
        )
        return None
    crs = None
    if "spatial_ref" in product.file.attrs:
        try:
            crs = CRS.from_wkt(text(product.file.attrs["spatial_ref"]))
        except RASTERIO_ERRORS:
            product.notes.append("the coordinate reference system of its lookup table cannot be interpreted")
    grid = Grid(x.shape, crs, Affine.from_gdal(*(float(value) for value in np.ravel(place)[:6])))
    return LookupTable(grid, Hdf5Array.of(x), Hdf5Array.of(y))


def _masks(product: Opened, shape: tuple[int, int], bands: int) -> list[Mask]:
    if not product.reading.quality:
        return []
    own = Path(product.file.filename)
    found = find_mask_file(own)
    where = "" if found else "its flags come in a file EMIT_L2A_MASK_... of the same scene: put it next to the cube"
    layers = {} if found is None else _layers(found, shape, bands)
    return choose(product.reading.quality, layers, product.path, where)


def find_mask_file(cube: Path) -> Path | None:
    """The mask that belongs to a cube and lies beside it, or None.

    Args:
        cube: Such as ``EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc``.
    """
    same = cube.with_name(re.sub(r"L[12][AB]_(RFL|RAD)(?=_)", "L2A_MASK", cube.name))
    if same != cube and same.is_file() and is_hdf5(str(same)):
        return same
    scene = re.search(r"\d{8}T\d{6}", cube.name)
    if scene is None:
        return None
    others = sorted(cube.parent.glob(f"*MASK*{scene[0]}*.nc"))
    return next((other for other in reversed(others) if is_hdf5(str(other))), None)


def _layers(path: Path, shape: tuple[int, int], bands: int) -> dict[str, list[Mask]]:
    with open_hdf5(str(path), str(path)) as file:
        layers: dict[str, list[Mask]] = {}
        flags = _flag_source(file, "mask", path, shape)
        if flags is not None:
            names = _mask_bands(file, flags.shape[0])
            for place, name in enumerate(names):
                if name in _FLAGS:
                    layers.setdefault(_FLAGS[name], []).append(Flags(flags, values=(1,), places=(place,)))
        packed = _flag_source(file, "band_mask", path, shape)
        if packed is not None and packed.shape[0] * 8 >= bands:
            # One bit a band, the first band in the highest bit of the first byte: 1 where the sample was made up.
            places, bits = zip(*((band // 8, 1 << (7 - band % 8)) for band in range(bands)), strict=True)
            layers.setdefault("defect", []).append(Flags(packed, places=places, bits=bits))
    return layers


def _flag_source(file: Any, name: str, path: Path, shape: tuple[int, int]) -> ContainerSource | None:
    dataset = file.get(name)
    if dataset is None or dataset.ndim != 3:
        return None
    if dataset.shape[:2] != shape:
        raise CubeError(
            f"{path}: {name} is {by(dataset.shape)}, but the cube has {by(shape)} pixels: it belongs to another scene"
        )
    # 241 is -9999 cut to a byte, and a pattern of bits like any other.
    fill = None if dataset.dtype.kind == "u" else fill_value(dataset)
    return ContainerSource(
        str(path), Hdf5Array.of(dataset), _DOCUMENTED, Metadata("EMIT", dataset.dtype, Grid(shape), nodata=fill)
    )


def _mask_bands(file: Any, count: int) -> list[str]:
    named = file.get(f"{_PARAMETERS}/mask_bands")
    if named is None or named.size != count:
        return list(_MASK_BANDS[:count])
    return [text(name).lower() for name in np.ravel(named[()])]
