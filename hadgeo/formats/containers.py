"""NetCDF, HDF5 and Zarr: any array of three axes in them is a cube, once it is known which axis counts bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import ContainerSource, check_bands, check_stored
from hadgeo.formats.axes import FoundAxes, candidates, find_axes
from hadgeo.formats.band_facts import band_facts, facts_of_bands
from hadgeo.formats.container import Container, Variable, text_of
from hadgeo.formats.hdf5 import is_hdf5, list_hdf5
from hadgeo.formats.netcdf3 import is_netcdf3, list_netcdf3
from hadgeo.formats.packing import packing, packing_of_bands
from hadgeo.formats.place import find_place
from hadgeo.formats.quantities import START, acquired, quantity
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Metadata, Source
from hadgeo.formats.stacked import StackedArray
from hadgeo.formats.wavelengths import unknown_wavelengths
from hadgeo.formats.zarr_store import is_zarr, list_zarr, split_zarr

#: Names of parts as GDAL writes them: NETCDF:"file":variable, HDF5:"file"://group/variable, ZARR:"folder":/variable.
_PART = re.compile(r'(?:netcdf|hdf5|zarr):(?:"(?P<quoted>[^"]+)"(?::(?P<inner>.*))?|(?P<plain>.+))$', re.I | re.S)

#: HDF5 underneath, and something else on top of it that GDAL knows.
_NOT_OURS = {".kea", ".bag"}

#: Arrays of two axes that are the bands of one cube.
_BAND_NAME = re.compile(r"(band|layer|b)[ _]?0*(\d+)$", re.I)


@dataclass(frozen=True)
class _Cube:
    """The array or the arrays that are the cube; the first stands for all."""

    variables: tuple[Variable, ...]
    found: FoundAxes


class ContainerFormat:
    """NetCDF, HDF5 and Zarr without a product that hadgeo knows; see `hadgeo.formats.registry.Format`."""

    title = "NetCDF, HDF5, Zarr"

    def claims(self, name: str) -> bool:
        """Whether it is such a file or folder by its first bytes, or a part of one as GDAL names it."""
        file, _ = split_name(name)
        return (Path(file).suffix.lower() not in _NOT_OURS and is_hdf5(file)) or is_netcdf3(file) or is_zarr(file)

    def open(self, name: str, reading: Reading) -> Source:
        """Open its cube; see `Format.open`."""
        file, part = split_name(name)
        container, inner = list_container(name, file)
        cube = _find_cube(container, reading.variable or part or inner, reading.band_axis)
        return _source(name, container, cube)


def split_name(name: str) -> tuple[str, str | None]:
    """The file or folder behind a name, and the array in it that the name tells as GDAL does; None where it does not.

    Args:
        name: A path, or a name such as ``NETCDF:"file":variable``.
    """
    match = _PART.match(name)
    if not match or _exists(name):
        return name, None
    if match["quoted"]:
        return match["quoted"], match["inner"] or None
    plain: str = match["plain"]
    head, colon, tail = plain.rpartition(":")
    # Names without quotes may hold a colon themselves: C:\cube.nc, or a time of day.
    return (plain, None) if not colon or _exists(plain) else (head, tail or None)


def list_container(path: str, file: str) -> tuple[Container, str | None]:
    """All that a file or folder holds.

    Args:
        path: The file as the user named it, for messages.
        file: The file, which is one of these formats.

    Returns:
        Its contents, and the part of them that the path leads to (a group or an array of a Zarr folder), or None.

    Raises:
        CubeError: It is damaged.
        MissingExtraError: The library that reads it is not installed.
    """
    if is_netcdf3(file):
        return list_netcdf3(path, file), None
    if is_hdf5(file):
        return list_hdf5(path, file), None
    outer, inner = split_zarr(file)
    return list_zarr(path, outer), inner or None


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def _find_cube(container: Container, wanted: str | None, band_axis: int | None) -> _Cube:
    if wanted:
        variable = _named(container, wanted)
        if len(variable.shape) == 2 and variable.numeric:
            return _stack(container, [variable], ())
        return _Cube((variable,), find_axes(container, variable, band_axis))
    found = candidates(container)
    if len(found) == 1:
        return _Cube((found[0],), find_axes(container, found[0], band_axis))
    if found:
        raise CubeError(
            f"{container.path}: {len(found)} arrays that could be the cube: {container.listing(found)}; "
            "name one with --variable"
        )
    return _single_bands(container)


def _named(container: Container, wanted: str) -> Variable:
    """The array of a name, or the only cube in the group of that name."""
    group = "/" + wanted.strip("/")
    if group in container.groups and group not in container.variables:
        inside = [v for v in candidates(container) if v.group == group or v.group.startswith(f"{group}/")]
        if len(inside) == 1:
            return inside[0]
    return container.find(wanted)


def _single_bands(container: Container) -> _Cube:
    """A cube of arrays of two axes, where there is one, or they are numbered as bands."""
    flat = [v for v in container.variables.values() if v.numeric and len(v.shape) == 2 and min(v.shape) > 1]
    if len(flat) == 1:
        return _stack(container, flat, ())
    bands = _numbered(flat)
    if bands:
        told = f"{len(bands)} arrays, {bands[0].describe()} to {bands[-1].describe()}, taken as the bands of one cube"
        return _stack(container, bands, (told,))
    held = container.listing(container.variables.values())
    hint = "; name one with --variable" if flat else ""
    raise CubeError(f"{container.path}: no three-dimensional array in it; it holds {held}{hint}")


def _numbered(flat: Sequence[Variable]) -> list[Variable]:
    """Arrays that are numbered as bands, in that order; none where an array of their shape is called otherwise."""
    told = sorted(((int(m[2]), v) for v in flat if (m := _BAND_NAME.match(v.base))), key=lambda pair: pair[0])
    bands = [v for _, v in told]
    if len(bands) < 2 or not _consecutive([number for number, _ in told]):
        return []
    kinds = {
        (v.group, v.base.rstrip("0123456789"), v.shape, v.array.dtype, tuple(d.key for d in v.dims)) for v in bands
    }
    others = [v for v in flat if v not in bands and v.shape == bands[0].shape]
    return bands if len(kinds) == 1 and not others else []


def _consecutive(numbers: Sequence[int]) -> bool:
    return numbers[0] in (0, 1) and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def _stack(container: Container, bands: Sequence[Variable], told: tuple[str, ...]) -> _Cube:
    """Arrays of two axes as one of three, the first of which counts bands."""
    first = bands[0]
    dims = (type(first.dims[0])("band"), *first.dims)
    whole = Variable(StackedArray.of([v.array for v in bands]), dims, first.attrs)
    found = find_axes(container, whole, 0)
    return _Cube((whole, *bands), FoundAxes(found.axes, (*told, *found.assumed)))


def _source(name: str, container: Container, cube: _Cube) -> Source:
    whole, *parts = cube.variables
    # Before anything is made that has one item a band.
    check_stored(whole.array, f"{name}: {whole.name}")
    axes = cube.found.axes
    check_bands(whole.shape[axes.band], f"{name}: {whole.name}")
    shape = (whole.shape[axes.band], whole.shape[axes.row], whole.shape[axes.col])
    known, names = facts_of_bands(parts) if parts else band_facts(container, whole, axes)
    place = find_place(container, whole, axes)
    netcdf = container.driver.startswith("NetCDF")
    packed = packing_of_bands(parts, netcdf=netcdf) if parts else packing(whole, shape[0], netcdf=netcdf)
    missing = unknown_wavelengths(known.wavelength, shape[0])
    metadata = Metadata(
        driver=container.driver,
        stored_dtype=whole.array.dtype,
        grid=place.place.grid,
        interleave=axes.interleave,
        wavelength=known.wavelength,
        fwhm=known.fwhm,
        good=known.good_bands(shape[0]),
        nodata=packed.nodata,
        band_nodata=packed.band_nodata,
        scale=packed.scale,
        offset=packed.offset,
        band_names=names,
        quantity=quantity(whole.text("standard_name", "long_name") or whole.base, whole.text("units", "unit")),
        acquired=next(filter(None, (acquired(text_of(a, *START)) for a in container.attributes(whole))), None),
        warnings=(*container.notes, *place.place.warnings, *known.warnings, *missing, *packed.warnings),
        assumed=(*cube.found.assumed, *known.assumed, *place.assumed),
    )
    return ContainerSource(name, whole.array, axes, metadata, fills=packed.fills, limits=packed.limits)


CONTAINER = ContainerFormat()
