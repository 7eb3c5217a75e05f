"""Which array of a MATLAB file is the cube, and which of its axes counts bands.

The field saves scenes as (rows, columns, bands). Wavelengths, and maps of targets or of usable pixels, confirm it or
say otherwise; where they do not, the samples may contradict it, and then the user is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from hadgeo.errors import CubeError
from hadgeo.formats.matlab_file import MatlabArray, MatlabFile
from hadgeo.formats.names import is_wavelength
from hadgeo.formats.reading import Reading

_CUBES = ("data", "image")

#: Names of maps of true targets.
TRUTHS = ("map", "mask", "groundtruth", "ground_truth", "gt", "truth")

#: Names of maps of usable pixels, as MUUFL Gulfport calls them; never one of `TRUTHS`.
_VALID = re.compile(r"valid|^mask_|_mask$", re.I)

#: Along the bands, means differ most: in twelve published scenes their variance is 1.6 to 39 times that along the worse
#: of rows and columns.
_CONTRADICTS = 4.0

#: Means that hold less of the variance than this say nothing: bands may have been brought to the same mean.
_LITTLE = 0.05

#: Fewer places along an axis tell nothing by their means.
_FEW = 8


@dataclass(frozen=True)
class FoundOrder:
    """The axes of a cube in MATLAB's own order.

    Attributes:
        order: Which of them count bands, rows and columns, 0 the first.
        assumed: One line for each thing that had to be guessed.
    """

    order: tuple[int, int, int]
    assumed: tuple[str, ...] = ()


def is_valid_map(array: MatlabArray) -> bool:
    """Whether it is called as maps of usable pixels are."""
    return array.numeric and array.base not in TRUTHS and bool(_VALID.search(array.base))


def find_cube(file: MatlabFile, variable: str | None) -> MatlabArray:
    """The array that is the cube.

    Args:
        file: The file.
        variable: Its name, if the user says so.

    Raises:
        CubeError: There is none, or more than one and none called ``data`` or ``image``.
    """
    if variable is not None:
        return _named(file, variable)
    cubes = [array for array in file.arrays.values() if len(array.shape) == 3 and array.numeric]
    for wanted in _CUBES:
        called = [array for array in cubes if array.base == wanted]
        outside = [array for array in called if not array.struct]
        if len(outside or called) == 1:
            return (outside or called)[0]
    if len(cubes) != 1:
        hint = "name one with --variable" if cubes else "save the cube as data (rows, columns, bands)"
        raise CubeError(
            f"{file.path}: {len(cubes)} three-dimensional arrays, none of them called data or image; it holds "
            f"{file.listing()}: {hint}"
        )
    return cubes[0]


def _named(file: MatlabFile, variable: str) -> MatlabArray:
    wanted = variable.strip().strip("/").replace("/", ".")
    found = [a for a in file.arrays.values() if a.name == wanted or a.name.endswith(f".{wanted}")]
    exact = [a for a in found if a.name == wanted] or found
    inside = [a for a in file.arrays.values() if a.name.startswith(f"{wanted}.") and len(a.shape) == 3 and a.numeric]
    if len(inside) == 1:
        exact = inside
    if len(exact) != 1 or len(exact[0].shape) != 3 or not exact[0].numeric:
        raise CubeError(f"{file.path}: {variable} is not a three-dimensional array; it holds {file.listing()}")
    return exact[0]


def find_order(file: MatlabFile, cube: MatlabArray, reading: Reading) -> FoundOrder:
    """Which axes of the cube count bands, rows and columns.

    Args:
        file: The file.
        cube: Its cube.
        reading: What the user says of it.

    Raises:
        CubeError: What else the file holds, or its samples, contradict the usual order without telling another one.
    """
    if reading.band_axis is not None:
        if not 0 <= reading.band_axis < 3:
            raise CubeError(f"{file.path}: {cube.describe()} has no axis {reading.band_axis}; its axes are 0, 1 and 2")
        return FoundOrder(_order(reading.band_axis))
    told = [axes for axes in (_by_wavelengths(file, cube), _by_maps(file, cube)) if axes]
    left = set.intersection(*told) if told else set()
    if 2 in left:
        return FoundOrder(_order(2))
    if len(left) == 1:
        return FoundOrder(_order(left.pop()))
    if told or _contradicted(file, cube):
        why = (
            "its other contents contradict each other"
            if told
            else "its values differ more along another axis than the last"
        )
        raise CubeError(
            f"{file.path}: the band axis of {cube.describe()} is not known, since {why}; specify it with --band-axis "
            "0, 1 or 2"
        )
    return FoundOrder(
        _order(2), (f"the last axis of {cube.describe()} taken as the band axis: nothing in the file confirms it",)
    )


def _order(band: int) -> tuple[int, int, int]:
    row, col = (axis for axis in range(3) if axis != band)
    return band, row, col


def _by_wavelengths(file: MatlabFile, cube: MatlabArray) -> set[int]:
    """Axes with as many places as there are wavelengths."""
    lists = [a for a in file.arrays.values() if a.numeric and is_wavelength(a.base)]
    counts = {max(a.shape, default=0) for a in lists if sum(n > 1 for n in a.shape) == 1}
    return {axis for axis in range(3) if cube.shape[axis] in counts}


def _by_maps(file: MatlabFile, cube: MatlabArray) -> set[int]:
    """Axes without which the cube has the shape of a map that comes with it."""
    maps = {a.shape for a in file.arrays.values() if a.numeric and (a.base in TRUTHS or is_valid_map(a))}
    return {axis for axis in range(3) if cube.shape[:axis] + cube.shape[axis + 1 :] in maps}


def _contradicted(file: MatlabFile, cube: MatlabArray) -> bool:
    """Whether the means of the samples differ far more along another axis than along the last."""
    if min(cube.shape) < _FEW:
        return False
    samples = file.sample(cube.name)
    if samples.dtype.kind == "c":
        return False
    finite = np.ma.masked_where(_filled(samples), np.ma.masked_invalid(samples.astype(np.float64)))
    if not finite.count():
        return False
    spread = [float(_means(finite, axis).var()) for axis in range(3)]
    return max(spread[:2]) > max(_CONTRADICTS * spread[2], _LITTLE * float(finite.var()))


def _filled(samples: Any) -> Any:
    """Where a sample is the same all along an axis, as fill is along the bands, whichever axis they are."""
    filled = np.zeros(samples.shape, dtype=bool)
    for axis in range(3):
        filled |= (samples == samples.take([0], axis)).all(axis=axis, keepdims=True)
    return filled


def _means(samples: Any, axis: int) -> Any:
    return samples.mean(axis=tuple(other for other in range(3) if other != axis))
