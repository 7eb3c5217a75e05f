"""Which axis of an array counts bands, rows and columns: from what the file says, and never from position alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import Container, Variable, numbers_of
from hadgeo.formats.names import is_wavelength

Role = Literal["band", "row", "col", "other"]

_BAND = re.compile(
    r"(^|_)(n|num|nb|nr)?(spectral|wavelength)?"
    r"(bands?|wave(length|number)?s?|wvls?|wls?|lambdas?|λ|spectral|spectrum|spectra|chan(nel)?s?|frequency)(_|$)"
)
_ROW = re.compile(
    r"(^|_)(n|num)?(y|lat|latitude|rows?|lines?|scans?|scanlines?|north|northings?|down_?track|along_?track|j|height"
    r"|yc|ydim|frames?)(_|$)"
)
_COL = re.compile(
    r"(^|_)(n|num)?(x|lon|long|longitude|cols?|columns?|samples?|pixels?|east|eastings?|a?cross_?track|i|width"
    r"|xc|xdim)(_|$)"
)
#: Axes that are neither in space nor in the spectrum.
_OTHER = re.compile(r"(^|_)(times?|t|dates?|epochs?|level|lev|depth|pressure|member|ensemble|nv|bnds|bounds)(_|$)")

#: Standard names of the CF conventions, and what ``axis`` may be.
_CF = {
    "radiation_wavelength": "band",
    "sensor_band_central_radiation_wavelength": "band",
    "radiation_frequency": "band",
    "projection_y_coordinate": "row",
    "latitude": "row",
    "grid_latitude": "row",
    "projection_x_coordinate": "col",
    "longitude": "col",
    "grid_longitude": "col",
    "time": "other",
}
_CF_AXIS = {"Y": "row", "X": "col", "T": "other"}


@dataclass(frozen=True)
class FoundAxes:
    """The axes of a cube.

    Attributes:
        axes: Which is which.
        assumed: One line for each thing that had to be guessed.
    """

    axes: Axes
    assumed: tuple[str, ...] = ()


def role_of(container: Container, variable: Variable, axis: int) -> Role | None:
    """What an axis counts, by its name or by the CF attributes of its coordinates; None where nothing says so."""
    dim = variable.dims[axis]
    by_name = _role_of_name(dim.name)
    if by_name is not None or not dim.key:
        return by_name
    for other in container.near(variable):
        if len(other.dims) == 1 and other.dims[0].key == dim.key and other.base == dim.name:
            return _CF.get(other.text("standard_name")) or _CF_AXIS.get(other.text("axis").upper())  # type: ignore[return-value]
    return None


def _role_of_name(name: str) -> Role | None:
    # spectralBand, SpectralBand and "spectral band" are all the same.
    plain = re.sub(r"[^a-zλ]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    for pattern, role in ((_BAND, "band"), (_OTHER, "other"), (_ROW, "row"), (_COL, "col")):
        if pattern.search(plain):
            return role  # type: ignore[return-value]
    return None


def candidates(container: Container) -> list[Variable]:
    """Arrays that could be the cube: with three axes besides those of length 1, those with a known band axis first."""
    arrays = [v for v in container.variables.values() if v.numeric and _could_be_cube(v)]
    known = [v for v in arrays if _find_band(container, v, _kept(container, v)) is not None]
    return known or arrays


def _could_be_cube(variable: Variable) -> bool:
    return len(variable.shape) == 3 or (len(variable.shape) > 3 and sum(n > 1 for n in variable.shape) == 3)


def find_axes(container: Container, variable: Variable, band_axis: int | None) -> FoundAxes:
    """Find the axes of a cube.

    Args:
        container: What it stands in.
        variable: The array, with three axes or more.
        band_axis: Which of its axes counts bands, if the user says so.

    Raises:
        CubeError: Nothing says which axis counts bands, or the array has no three axes.
    """
    kept = _kept(container, variable)
    if len(kept) != 3:
        raise CubeError(
            f"{container.path}: {variable.describe()} has {len(kept)} axes, but a cube has three; save a single cube, "
            "or name another array with --variable"
        )
    assumed: list[str] = []
    if band_axis is not None:
        if band_axis not in kept:
            raise CubeError(
                f"{container.path}: {variable.describe()} has no axis {band_axis} for the bands; "
                f"its axes are {', '.join(map(str, kept))}"
            )
        band = band_axis
    else:
        found = _find_band(container, variable, kept)
        if found is None:
            raise CubeError(
                f"{container.path}: the band axis of {variable.name} is not known: {_describe_axes(variable, kept)}; "
                "specify it with --band-axis"
            )
        band, how = found
        assumed.extend(how)
    row, col = (axis for axis in kept if axis != band)
    roles = (role_of(container, variable, row), role_of(container, variable, col))
    if roles in (("col", "row"), ("col", None), (None, "row")):
        row, col = col, row
    elif "row" not in roles and "col" not in roles:
        assumed.append(
            f"axes {row} and {col} of {variable.name} ({variable.describe_shape()}) taken as rows and columns"
        )
    return FoundAxes(Axes(band, row, col), tuple(assumed))


def _kept(container: Container, variable: Variable) -> list[int]:
    """The axes of a cube: all but those of length 1 that are too many, those without a role in a cube first."""
    kept = list(range(len(variable.shape)))
    roles = {axis: role_of(container, variable, axis) for axis in kept}
    for axis in sorted(kept, key=lambda a: roles[a] in ("band", "row", "col")):
        if len(kept) > 3 and variable.shape[axis] == 1:
            kept.remove(axis)
    return kept


def _find_band(container: Container, variable: Variable, kept: list[int]) -> tuple[int, list[str]] | None:
    """The band axis and what was guessed on the way; None where nothing tells it."""
    roles = {axis: role_of(container, variable, axis) for axis in kept}
    named = [axis for axis in kept if roles[axis] == "band"]
    if len(named) == 1:
        # A list of wavelengths along rows or columns means that names of axes were exchanged.
        others = [axis for axis in kept if axis != named[0]]
        contradicted = any(_has_wavelengths(container, variable, axis, own=True) for axis in others)
        return None if contradicted and not _has_wavelengths(container, variable, named[0]) else (named[0], [])
    if not named:
        # An axis that has another role by its name may have as many places as there are wavelengths by chance.
        told = [axis for axis in kept if roles[axis] is None and _has_wavelengths(container, variable, axis)]
        if len(told) == 1:
            return told[0], []
        if told:
            return None
    left = [axis for axis in (named or kept) if roles[axis] in ("band", None)]
    if len(left) == 1 and {"row", "col"} <= set(roles.values()):
        return left[0], [
            f"axis {left[0]} of {variable.describe()} taken as the band axis: the others are rows and columns"
        ]
    return None


def _has_wavelengths(container: Container, variable: Variable, axis: int, *, own: bool = False) -> bool:
    """Whether there are as many wavelengths as places along an axis, or, for `own`, along its very dimension."""
    dim, length = variable.dims[axis], variable.shape[axis]
    for attrs in () if own else container.attributes(variable):
        if any(is_wavelength(key) and _count(value) == length for key, value in attrs.items()):
            return True
    for other in container.near(variable):
        at = other.list_axis
        along = at is not None and other.shape[at] == length and length > 1
        if along and (is_wavelength(other.base) or is_wavelength(other.text("standard_name"))):
            key = other.dims[at or 0].key
            both = bool(dim.key and key)
            if (both and dim.key == key) or (not both and not own):
                return True
    return False


def _count(value: object) -> int:
    return len(numbers_of(value))


def _describe_axes(variable: Variable, kept: list[int]) -> str:
    return ", ".join(f"axis {a} {variable.dims[a].name or ''}".rstrip() + f" ({variable.shape[a]})" for a in kept)
