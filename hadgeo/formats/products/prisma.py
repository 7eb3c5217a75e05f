"""PRISMA L1, L2B, L2C and L2D: HDF-EOS5 with a VNIR and a SWIR cube, joined here.

ASI, "PRISMA Products Specification Document", issue 2.3 (2020), https://prisma.asi.it: the swath ``PRS_L.._HCO`` has
``VNIR_Cube`` and ``SWIR_Cube`` (row, band, column), uint16. Attributes of the root list band centres and widths in nm
from long to short waves; centres of bands that were not acquired are 0. L1 radiance is DN / ScaleFactor - Offset; at
level 2 a value is L2Scale..Min + DN (L2Scale..Max - L2Scale..Min) / 65535. Pixels outside of the image are 0.

L2D lies on a map grid. Its corners in the attributes are the centres of the corner pixels, 30 m apart; where the
distance tells that they are outer corners, they are taken for that. All other levels are in the sensor's geometry.

The error matrices mark samples. L1: 1 defective, 2 saturated, 4 not a number. Level 2: 1 invalid at L1, 2 negative, 4
saturated after the atmospheric correction.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes, ContainerSource
from hadgeo.formats.container import text
from hadgeo.formats.gdal import NO_CRS
from hadgeo.formats.hdf5 import Hdf5Array
from hadgeo.formats.joined import Detector, JoinedBands, join
from hadgeo.formats.products.hdf5_product import Hdf5Product, Opened, by, find_axes
from hadgeo.formats.quality import Flags, Mask, ZeroThroughout, choose, masked
from hadgeo.formats.source import Metadata, Source
from hadgeo.formats.wavelengths import NO_WAVELENGTHS
from hadgeo.grid import Grid

_SWATHS = "HDFEOS/SWATHS"
_DETECTORS = ("VNIR", "SWIR")
_DOCUMENTED = Axes(row=0, band=1, col=2)
_LARGEST = 65535.0
_PIXEL = 30.0

#: In so many bands, spread over a detector, a pixel is looked at to tell whether it is 0 throughout.
_LOOKED_AT = 8

_SENSOR_GEOMETRY = (
    "in sensor geometry, so rows and columns are used as coordinates; the file has the longitude and latitude of each "
    "pixel, and the L2D product of the same scene is georeferenced"
)

#: What the error matrices say of a sample, by level.
_ERRORS: dict[str, dict[str, tuple[int, ...]]] = {
    "1": {"defect": (1, 4), "saturation": (2,)},
    "2": {"defect": (1,), "saturation": (4,)},
}

#: Layers of L1, and what they say of a pixel.
_LAYERS = {"cloud": ("Cloud_Mask", 1), "water": ("LandCover_Mask", 0), "snow": ("LandCover_Mask", 1)}


class PrismaFormat(Hdf5Product):
    """PRISMA, by its swath of coregistered hyperspectral cubes."""

    title = "PRISMA L1/L2"

    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether there is a swath PRS_L.._HCO with one of the cubes."""
        swath = _swath(file)
        return swath is not None and (array is None or _detector(swath, array) in _cubes(file, swath))

    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe the joined cube, or one of the two if that was named; see `Hdf5Product.describe`."""
        swath = _swath(product.file)
        assert swath is not None  # since it has been recognised
        names = _cubes(product.file, swath)
        if array is not None:
            if _detector(swath, array) not in names:
                raise CubeError(f"{product.path}: no cube {array!r}; it holds {' and '.join(names)}")
            names = [_detector(swath, array)]
        elif len(names) == 1:
            product.notes.append(f"only the {names[0]} cube: the other one is missing from the file")
        level = re.sub(r"\D*(\d).*", r"\1", swath.rpartition("PRS_L")[2])
        detectors = [_describe(product, swath, name, level) for name in names]
        shape = detectors[0].source.shape[1:]
        if any(detector.source.shape[1:] != shape for detector in detectors):
            sizes = ", ".join(f"{d.name} {by(d.source.shape[1:])}" for d in detectors)
            raise CubeError(
                f"{product.path}: its cubes have different sizes ({sizes}); name one of them with --variable"
            )
        if any(detector.wavelength is None for detector in detectors):
            product.notes.append(NO_WAVELENGTHS)
        fill = _outside(product, shape, detectors)
        metadata = Metadata(
            driver="PRISMA",
            stored_dtype=np.dtype("u2"),
            grid=_grid(product, swath, shape),
            interleave="bil",
            warnings=tuple(product.notes),
            assumed=tuple(product.assumed),
        )
        source = join(detectors, metadata, product.path)
        return masked(source, [*fill, *_masks(product, swath, level, source, detectors)])


PRISMA = PrismaFormat()


def _swath(file: Any) -> str | None:
    """The swath of the hyperspectral cube: coregistered (HCO) before the other one (HRC)."""
    found = [name for name in file.get(_SWATHS, {}) if re.fullmatch(r"PRS_L\w+_H(CO|RC)", name)]
    return next((f"{_SWATHS}/{n}" for n in sorted(found) if _cubes(file, f"{_SWATHS}/{n}")), None)


def _cubes(file: Any, swath: str) -> list[str]:
    return [n for n in _DETECTORS if getattr(file.get(f"{swath}/Data Fields/{n}_Cube"), "ndim", 0) == 3]


def _detector(swath: str, array: str) -> str:
    """VNIR or SWIR, as a user or GDAL names the cube."""
    name = array.replace("Data_Fields", "Data Fields").removeprefix(f"{swath}/Data Fields/")
    return name.removesuffix("_Cube").upper()


def _describe(product: Opened, swath: str, name: str, level: str) -> Detector:
    dataset = product.cube(f"{swath}/Data Fields/{name}_Cube")
    centres, widths = _list(product, f"List_Cw_{name.title()}"), _list(product, f"List_Fwhm_{name.title()}")
    there = _list(product, f"List_Cw_{name.title()}_Flags")
    count = None if centres is None else centres.size
    axes = find_axes(product, dataset, (), {}, _DOCUMENTED, count, firm=True)
    bands = dataset.shape[axes.band]
    lists = {"centres": centres, "widths": widths, "flags": there}
    for what, values in lists.items():
        if values is not None and values.size != bands:
            product.notes.append(f"{values.size} {what} of {name} for {bands} bands: ignored")
            lists[what] = None
    centres, widths, there = lists.values()
    if centres is not None and there is not None:
        centres = np.where(there > 0, centres, 0.0)
    scale, offset = _scaling(product, name.title(), level)
    metadata = Metadata(
        driver="PRISMA",
        stored_dtype=dataset.dtype,
        grid=Grid((dataset.shape[axes.row], dataset.shape[axes.col])),
        interleave=axes.interleave,
        scale=None if scale == 1.0 else np.full(bands, scale),
        offset=None if offset == 0.0 else np.full(bands, offset),
    )
    return Detector(name, ContainerSource(product.path, Hdf5Array.of(dataset), axes, metadata), centres, widths)


def _attribute(product: Opened, name: str) -> Any:
    for place in ("/", "HDFEOS/ADDITIONAL/FILE_ATTRIBUTES"):
        holder = product.file.get(place)
        if holder is not None and name in holder.attrs:
            return holder.attrs[name]
    return None


def _list(product: Opened, name: str) -> npt.NDArray[np.float64] | None:
    value = _attribute(product, name)
    if value is None:
        return None
    # Through text, so that 406.9934 does not become 406.99340820312.
    return np.array([float(text(item)) for item in np.ravel(value)], dtype=np.float64)


def _number(product: Opened, name: str) -> float | None:
    value = _list(product, name)
    return float(value[0]) if value is not None and value.size == 1 and np.isfinite(value[0]) else None


def _scaling(product: Opened, name: str, level: str) -> tuple[float, float]:
    """Factor and offset from stored numbers to radiance or reflectance."""
    if level == "1":
        factor, offset = _number(product, f"ScaleFactor_{name}"), _number(product, f"Offset_{name}")
        if factor:
            return 1.0 / factor, -(offset or 0.0)
    else:
        low, high = _number(product, f"L2Scale{name}Min"), _number(product, f"L2Scale{name}Max")
        if low is not None and high is not None and high > low:
            return (high - low) / _LARGEST, low
    product.notes.append(f"no scale of {name.upper()} in the file: its samples are left as stored numbers")
    return 1.0, 0.0


def _grid(product: Opened, swath: str, shape: tuple[int, int]) -> Grid:
    if "_L2D_" not in swath:
        product.notes.insert(0, _SENSOR_GEOMETRY)
        return Grid(shape)
    corners = [
        _number(product, f"Product_{corner}corner_{axis}")
        for corner, axis in (("UL", "easting"), ("UL", "northing"), ("LR", "easting"), ("LR", "northing"))
    ]
    if None in corners or min(shape) < 2:
        product.notes.append("no corners in the file: rows and columns are used as coordinates")
        return Grid(shape)
    transform = _transform(product, [value for value in corners if value is not None], shape)
    crs, code = None, _number(product, "Epsg_Code")
    try:
        crs = None if code is None else CRS.from_epsg(int(code))
    except RASTERIO_ERRORS:
        product.notes.append(f"unknown EPSG code {code:.0f}: ignored")
    if crs is None:
        product.notes.append(NO_CRS)
    return Grid(shape, crs, transform)


def _transform(product: Opened, corners: list[float], shape: tuple[int, int]) -> Affine:
    """The transform of corners that are pixel centres, or outer corners if pixels are 30 m only then."""
    left, top, right, bottom = corners
    by_centres, by_edges = (((right - left) / (shape[1] - n), (bottom - top) / (shape[0] - n)) for n in (1, 0))
    off = [max(abs(abs(step) - _PIXEL) for step in steps) for steps in (by_centres, by_edges)]
    if off[1] < 0.01 < off[0]:
        product.assumed.append("corners in the file taken as outer corners, since that gives pixels of 30 m")
        return Affine(by_edges[0], 0.0, left, 0.0, by_edges[1], top)
    across, down = by_centres
    if off[0] > 0.01:
        product.assumed.append(
            f"corners in the file taken as pixel centres, as documented, although that gives pixels of {across:.2f} by "
            f"{abs(down):.2f} m, not 30 m"
        )
    return Affine(across, 0.0, left - across / 2, 0.0, down, top - down / 2)


def _outside(product: Opened, shape: tuple[int, int], detectors: list[Detector]) -> list[Mask]:
    """What lies outside of the image: pixels that are 0 throughout. A single 0 may be a dark sample."""
    if product.reading.fill == "none":
        return []
    product.assumed.append("pixels that are 0 in all bands, the fill of PRISMA, are nodata; --fill none keeps them")
    there, source = detectors[0].acquired(), detectors[0].source
    assert isinstance(source, ContainerSource)
    chosen = there[np.linspace(0, there.size - 1, min(_LOOKED_AT, there.size)).astype(int)]
    stored = ContainerSource(
        product.path, source.array, source.axes, Metadata("PRISMA", source.array.dtype, Grid(shape))
    )
    return [ZeroThroughout(stored, tuple(int(band) for band in chosen))]


def _masks(product: Opened, swath: str, level: str, source: JoinedBands, detectors: list[Detector]) -> list[Mask]:
    if not product.reading.quality:
        return []
    shape = source.shape[1:]
    layers: dict[str, list[Mask]] = {}
    for name, (place, value) in _LAYERS.items():
        found = product.layer(f"{swath}/Data Fields/{place}", shape)
        if found is not None:
            layers[name] = [Flags(found, values=(value,))]
    matrix = _error_matrix(product, swath, level, source, detectors)
    if matrix is not None:
        places = tuple(range(source.shape[0]))
        for name, values in _ERRORS[level].items():
            layers[name] = [Flags(matrix, values=values, places=places)]
    return choose(product.reading.quality, layers, product.path)


def _error_matrix(
    product: Opened, swath: str, level: str, source: JoinedBands, detectors: list[Detector]
) -> Source | None:
    """The error matrices, joined as the cubes are; None where one is missing."""
    kind = "SAT_ERR" if level == "1" else "L2_ERR"
    parts = []
    for detector in detectors:
        dataset = product.dataset(f"{swath}/Data Fields/{detector.name}_PIXEL_{kind}_MATRIX")
        cube = detector.source
        assert isinstance(cube, ContainerSource)
        if dataset is None or dataset.shape != cube.array.shape:
            return None
        plain = Metadata("PRISMA", dataset.dtype, Grid(source.shape[1:]))
        parts.append(ContainerSource(product.path, Hdf5Array.of(dataset), cube.axes, plain))
    return source.like(parts)
