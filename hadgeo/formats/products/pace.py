"""PACE OCI L1B and L2: NetCDF 4 swaths, the bands of L1B in three arrays, joined here.

NASA Ocean Biology Processing Group, "PACE OCI Level-1B data product" and "OCI Level-2 data products",
https://oceancolor.gsfc.nasa.gov/resources/docs/format/: L1B has ``observation_data`` with ``rhot_blue``, ``rhot_red``
and ``rhot_SWIR`` (band, scan, pixel; ``Lt_..`` in radiance files), L2 ``geophysical_data`` with ``rhos`` or ``Rrs``
(line, pixel, wavelength), both ``sensor_band_parameters`` with the wavelengths in nm. Fill is -32767.

Flags of L2 are bits of ``l2_flags``, which tells their names itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import text
from hadgeo.formats.joined import Detector, join
from hadgeo.formats.products.hdf5_product import (
    Hdf5Product,
    Opened,
    by,
    dimension_names,
    find_axes,
    spectral_of,
    unit_of,
)
from hadgeo.formats.quality import Flags, Mask, choose, masked
from hadgeo.formats.source import Metadata, Source
from hadgeo.grid import Grid

_PARAMETERS = "sensor_band_parameters"
_L1, _L2 = "observation_data", "geophysical_data"
_DETECTORS = ("blue", "red", "SWIR")
_QUANTITIES = ("rhot", "Lt")
_CUBES = ("rhos", "Rrs")
_FILL = -32767.0

_L1_AXES = Axes(band=0, row=1, col=2)
_L2_AXES = Axes(row=0, col=1, band=2)
_ROLES = {
    **dict.fromkeys(("scans", "number_of_scans", "number_of_lines", "lines"), "row"),
    **dict.fromkeys(("pixels", "ccd_pixels", "SWIR_pixels", "pixels_per_line", "pixel_control_points"), "col"),
    **dict.fromkeys(("blue_bands", "red_bands", "SWIR_bands", "wavelength_3d"), "band"),
}

_SENSOR_GEOMETRY = (
    "in sensor geometry, so rows and columns are used as coordinates; the file has the longitude and latitude of each "
    "pixel, and level-3 products are georeferenced"
)

#: Names of bits of ``l2_flags`` (https://oceancolor.gsfc.nasa.gov/resources/atbd/ocl2flags/).
_FLAGS = {"cloud": ("CLDICE",), "shadow": ("CLDSHDSTL",), "saturation": ("HILT",), "defect": ("NAVFAIL", "PRODFAIL")}


class PaceFormat(Hdf5Product):
    """PACE OCI, by its groups."""

    title = "PACE OCI L1B/L2"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether there are observations by detector, or geophysical data along the wavelength."""
        if _PARAMETERS not in file:
            return False
        known = [*_quantities(file), *(f"{_L2}/{name}" for name in _products(file))]
        return bool(known) and (array is None or array in known)

    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe reflectance or radiance; see `Hdf5Product.describe`."""
        quantities = _quantities(product.file)
        if quantities:
            return _level_1(product, _chosen(product, array, quantities))
        products = _products(product.file)
        return _level_2(product, _chosen(product, array and array.removeprefix(f"{_L2}/"), products, _CUBES))


PACE = PaceFormat()


def _quantities(file: Any) -> list[str]:
    return [q for q in _QUANTITIES if any(f"{_L1}/{q}_{d}" in file for d in _DETECTORS)]


def _products(file: Any) -> list[str]:
    """Arrays (line, pixel, wavelength)."""
    group = file.get(_L2, {})
    return [
        name
        for name in group
        if getattr(group[name], "ndim", 0) == 3 and ("wavelength_3d" in dimension_names(group[name]) or name in _CUBES)
    ]


def _chosen(product: Opened, array: str | None, names: list[str], preferred: tuple[str, ...] = ()) -> str:
    if array is not None:
        if array not in names:
            raise CubeError(f"{product.path}: no cube {array!r}; it holds {', '.join(names)}")
        return array
    known = next((name for name in preferred or names if name in names), None)
    if known is not None:
        return known
    if len(names) > 1:
        raise CubeError(f"{product.path}: {len(names)} arrays; name one of {', '.join(names)} with --variable")
    return names[0]


def _level_1(product: Opened, quantity: str) -> Source:
    detectors = []
    for name in _DETECTORS:
        dataset = product.dataset(f"{_L1}/{quantity}_{name}")
        if dataset is None:
            product.notes.append(f"{quantity}_{name} is missing from the file")
            continue
        wavelength = product.values(f"{_PARAMETERS}/{name}_wavelength")
        count = None if wavelength is None else wavelength.size
        axes = find_axes(product, dataset, dimension_names(dataset), _ROLES, _L1_AXES, count)
        bands = dataset.shape[axes.band]
        known = spectral_of(
            product, bands, wavelength=wavelength, unit=unit_of(product.dataset(f"{_PARAMETERS}/{name}_wavelength"))
        )
        packed = product.packing(dataset, bands, _FILL)
        grid = Grid((dataset.shape[axes.row], dataset.shape[axes.col]))
        metadata = product.describe("PACE", dataset, axes, known, grid, packed)
        detectors.append(Detector(name, product.source(dataset, axes, metadata, packed), known.wavelength))
    shape = detectors[0].source.shape[1:]
    if any(detector.source.shape[1:] != shape for detector in detectors):
        sizes = ", ".join(f"{d.name} {by(d.source.shape[1:])}" for d in detectors)
        raise CubeError(f"{product.path}: its detectors have different sizes ({sizes}); download the product again")
    choose(product.reading.quality, {}, product.path)
    whole = Metadata(
        driver="PACE",
        stored_dtype=np.dtype("f4"),
        grid=Grid(shape),
        interleave="bsq",
        warnings=(_SENSOR_GEOMETRY, *dict.fromkeys(product.notes)),
        assumed=tuple(dict.fromkeys(product.assumed)),
    )
    # The last bands of the blue detector lie in the flank of its filter.
    return join(detectors, whole, product.path, winner="last")


def _level_2(product: Opened, name: str) -> Source:
    dataset = product.cube(f"{_L2}/{name}")
    place = f"{_PARAMETERS}/wavelength_3d"
    wavelength = product.values(place)
    count = None if wavelength is None else wavelength.size
    axes = find_axes(product, dataset, dimension_names(dataset), _ROLES, _L2_AXES, count)
    bands, shape = dataset.shape[axes.band], (dataset.shape[axes.row], dataset.shape[axes.col])
    known = spectral_of(product, bands, wavelength=wavelength, unit=unit_of(product.dataset(place)))
    packed = product.packing(dataset, bands, _FILL)
    product.notes.insert(0, _SENSOR_GEOMETRY)
    metadata = product.describe("PACE", dataset, axes, known, Grid(shape), packed)
    return masked(product.source(dataset, axes, metadata, packed), _masks(product, shape))


def _masks(product: Opened, shape: tuple[int, int]) -> list[Mask]:
    if not product.reading.quality:
        return []
    dataset = product.dataset(f"{_L2}/l2_flags")
    layer = product.layer(f"{_L2}/l2_flags", shape)
    layers: dict[str, list[Mask]] = {}
    if dataset is not None and layer is not None:
        meanings = text(dataset.attrs.get("flag_meanings", "")).split()
        bits = np.ravel(dataset.attrs.get("flag_masks", [1 << i for i in range(len(meanings))])).astype(np.int64)
        known = dict(zip(meanings, bits.tolist(), strict=False))
        for name, flags in _FLAGS.items():
            mask = sum({known[flag] for flag in flags if flag in known})
            if mask:
                layers[name] = [Flags(layer, bits=(mask,))]
    return choose(product.reading.quality, layers, product.path, "from l2_flags")
