"""Where a cube of a container lies: coordinates of its rows and columns, and the grid mapping of the CF conventions.

Row 0 of the file is row 0 of the cube; whether it is the northern one is told by the sign of the transform. Places in
GDAL's manner (``GeoTransform``) and in that of GeoZarr (``spatial:transform``) are understood too.
https://cfconventions.org/cf-conventions/cf-conventions.html#grid-mappings-and-projections
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.arrays import Axes
from hadgeo.formats.axes import role_of
from hadgeo.formats.container import Container, Variable, numbers_of, text, text_of
from hadgeo.formats.gdal import NO_CRS, Georeference
from hadgeo.grid import Grid

#: By how much of a pixel a coordinate may be off, besides the rounding of its own type.
_TOLERANCE = 0.02

#: By how much of a pixel coordinates and a transform may differ and still say the same.
_SAME = 0.1

_LENGTHS = {"km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0}

_BAD_CRS: tuple[type[Exception], ...] = (*RASTERIO_ERRORS, ValueError, TypeError, KeyError)

_NO_TRANSFORM = "no transform: rows and columns are used as coordinates"


@dataclass(frozen=True)
class FoundPlace:
    """Where a cube lies.

    Attributes:
        place: Its grid, and one line for each thing that is missing or odd.
        assumed: One line for each thing that was guessed.
    """

    place: Georeference
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Coordinate:
    """Regular coordinates of pixel centres: the first, and the step from each to the next (NaN for a lone one)."""

    first: float
    step: float
    index: bool
    degrees: bool


def find_place(container: Container, variable: Variable, axes: Axes) -> FoundPlace:
    """Find the place of a cube.

    Args:
        container: What the cube stands in.
        variable: The cube.
        axes: Its axes.
    """
    notes: list[str] = []
    assumed: list[str] = []
    y = _coordinate(container, variable, axes.row, "row", notes)
    x = _coordinate(container, variable, axes.col, "col", notes)
    mapping = _grid_mapping(container, variable, assumed, guess=x is not None and y is not None)
    crs, written = _crs(mapping, notes), _written(mapping)
    if crs is None and written is None and (x is None or y is None):
        _swath(container, variable, axes, notes)
    if crs is None and x is not None and y is not None and x.degrees and y.degrees:
        crs = CRS.from_epsg(4326)
        assumed.append("longitude and latitude assumed to be on WGS 84: there is no grid mapping")
    rows, cols = variable.shape[axes.row], variable.shape[axes.col]
    transform = _transform(x, y, written, (rows, cols), notes, has_crs=crs is not None)
    if transform is not None:
        # Turning rows makes -0.0 of 0.0.
        transform = Affine(*(value + 0.0 for value in transform[:6]))
    else:
        notes.append(_NO_TRANSFORM)
        if text_of(container.groups.get("", {}), "GDAL") and y is None:
            assumed.append(
                "row 0 of the file taken as the first row, although GDAL, which wrote it, would start with the last"
            )
    if crs is None:
        notes.append(NO_CRS)
    return FoundPlace(Georeference(Grid((rows, cols), crs, transform), tuple(notes)), tuple(assumed))


def _coordinate(
    container: Container, variable: Variable, axis: int, kind: Literal["row", "col"], notes: list[str]
) -> _Coordinate | None:
    found = _coordinate_variable(container, variable, axis, kind)
    if found is None:
        return None
    values = found.numbers()
    unit = found.text("units").lower()
    if unit in ("rad", "radian", "radians", "microradian", "microradians"):
        notes.append(f"coordinates {found.name} are viewing angles ({unit}): ignored")
        return None
    values = values * _LENGTHS.get(unit, 1.0)
    if not np.isfinite(values).all():
        notes.append(f"coordinates {found.name} are not finite: ignored")
        return None
    step = float(values[-1] - values[0]) / (values.size - 1) if values.size > 1 else float("nan")
    if values.size > 1 and not _regular(values, step, found.array.dtype):
        notes.append(
            f"coordinates {found.name} are not evenly spaced: ignored, so the results will not be georeferenced"
        )
        return None
    counted = values.size < 2 or step == 1.0
    index = counted and values[0] in (0.0, 1.0) and not unit and not found.text("standard_name")
    degrees = unit.startswith("degree") or found.text("standard_name") in ("latitude", "longitude")
    named = found.base.lower() in ("lat", "lon", "latitude", "longitude")
    return _Coordinate(float(values[0]), step, index, degrees or (named and not unit))


def _regular(values: npt.NDArray[np.float64], step: float, stored: np.dtype[Any]) -> bool:
    largest = np.abs(values).max().astype(stored.newbyteorder("="))
    rounding = float(np.spacing(largest)) if stored.kind == "f" else 0.0
    if step == 0.0:
        return False
    off = np.abs(values - (values[0] + step * np.arange(values.size))).max()
    return bool(off <= _TOLERANCE * abs(step) + rounding) and rounding < abs(step)


def _coordinate_variable(
    container: Container, variable: Variable, axis: int, kind: Literal["row", "col"]
) -> Variable | None:
    dim, length = variable.dims[axis], variable.shape[axis]
    one = [v for v in container.near(variable) if v.shape == (length,) and v.numeric]
    if dim.key:
        along = [v for v in one if v.dims[0].key == dim.key]
        own = next((v for v in along if v.base == dim.name), None)
        return own or next((v for v in along if _kind(container, v) == kind), None)
    # Without dimensions in the file, names and lengths tell.
    return next((v for v in one if not v.dims[0].key and _kind(container, v) == kind), None)


def _kind(container: Container, variable: Variable) -> str | None:
    """What a coordinate array is by its own name or attributes, whatever its dimension is called."""
    own = Variable(variable.array, tuple(type(d)(variable.base, "") for d in variable.dims), variable.attrs)
    standard = variable.text("standard_name")
    if standard in ("projection_y_coordinate", "latitude"):
        return "row"
    if standard in ("projection_x_coordinate", "longitude"):
        return "col"
    return role_of(container, own, 0)


def _grid_mapping(
    container: Container, variable: Variable, assumed: list[str], *, guess: bool
) -> list[Mapping[str, Any]]:
    """Attributes that may tell the coordinate reference system, those that are meant for this array first."""
    holders: list[Mapping[str, Any]] = []
    named = re.split(r"[:\s]", text_of(variable.attrs, "grid_mapping"))[0]
    near = container.near(variable)
    if named:
        holders += [v.attrs for v in near if v.base == named.rpartition("/")[2]][:1]
    holders.append(variable.attrs)
    if not holders[0] or not named:
        others = [v for v in near if len(v.shape) < 2 and _is_mapping(v.attrs)]
        if len(others) == 1 and guess:
            holders.append(others[0].attrs)
            assumed.append(f"{others[0].name} taken as the grid mapping: no attribute declares one")
        elif len(others) == 1 and others[0].base in ("spatial_ref", "crs"):
            holders.append(others[0].attrs)
    if guess or _map_like(variable):
        holders += container.attributes(variable)[1:]
    else:
        holders += [a for a in container.attributes(variable)[1:] if "spatial:transform" in a]
    return holders


def _map_like(variable: Variable) -> bool:
    """Whether dimensions are called as those of maps are, and not as those of a swath."""
    names = {dim.name.lower() for dim in variable.dims}
    return {"x", "y"} <= names or {"lat", "lon"} <= names or {"latitude", "longitude"} <= names


def _is_mapping(attrs: Mapping[str, Any]) -> bool:
    return any(key in attrs for key in ("grid_mapping_name", "crs_wkt", "spatial_ref", "GeoTransform"))


def _crs(holders: list[Mapping[str, Any]], notes: list[str]) -> CRS | None:
    for attrs in holders:
        for definition in _definitions(attrs):
            try:
                return _as_crs(definition)
            except _BAD_CRS as error:
                notes.append(f"a coordinate reference system that cannot be interpreted is ignored ({_short(error)})")
    return None


def _as_crs(definition: str | dict[str, Any]) -> CRS:
    import pyproj
    from pyproj.exceptions import CRSError

    try:
        if isinstance(definition, str):
            return CRS.from_user_input(definition)
        known = (
            pyproj.CRS.from_cf(definition)
            if "grid_mapping_name" in definition
            else pyproj.CRS.from_json_dict(definition)
        )
        code = known.to_authority(min_confidence=90)
        return CRS.from_user_input(":".join(code) if code else known.to_wkt())
    except CRSError as error:
        raise ValueError(_short(error)) from error


def _definitions(attrs: Mapping[str, Any]) -> Iterator[str | dict[str, Any]]:
    """All ways in which attributes may define a coordinate reference system, the most exact first."""
    for key in ("crs_wkt", "spatial_ref", "proj:wkt2", "proj:code", "epsg_code", "crs"):
        value = text_of(attrs, key)
        if value and not (key == "crs" and not re.match(r"epsg:|\+|[A-Z]+CRS\[|[A-Z]+CS\[", value, re.I)):
            yield f"EPSG:{value}" if value.isdigit() else value
    for key in ("proj:projjson", "_CRS"):
        held = attrs.get(key)
        known = _json(held) if isinstance(held, str) else held
        if isinstance(known, dict):
            wkt = known.get("wkt")
            yield wkt if isinstance(wkt, str) else known.get("projjson", known)
    if "grid_mapping_name" in attrs:
        yield {key: _plain(value) for key, value in attrs.items() if _plain(value) is not None}


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    """An attribute in Python's own types, as pyproj wants it; None where it has none."""
    if isinstance(value, str | bytes):
        return text(value)
    numbers = numbers_of(value)
    return None if not numbers else numbers[0] if len(numbers) == 1 else numbers


def _written(holders: list[Mapping[str, Any]]) -> Affine | None:
    for attrs in holders:
        lower = {key.lower(): value for key, value in attrs.items()}
        if len(numbers := numbers_of(lower.get("geotransform", ()))) == 6:
            return Affine.from_gdal(*numbers)
        if len(numbers := numbers_of(lower.get("spatial:transform", ()))) >= 6:
            return Affine(*numbers[:6])
    return None


def _transform(
    x: _Coordinate | None,
    y: _Coordinate | None,
    written: Affine | None,
    shape: tuple[int, int],
    notes: list[str],
    *,
    has_crs: bool,
) -> Affine | None:
    """The transform that coordinates and a written one tell together."""
    told = None if x is None or y is None or _counts_only(x, y, has_crs) else _of_coordinates(x, y, written)
    if written is None or told is None:
        return written if told is None else told
    bare = Affine(written.a, 0.0, written.c, 0.0, written.e, written.f)
    if _same(told, bare, shape):
        return written
    # GDAL stores rows from below, and writes the coordinates of a rotated grid as if it were not rotated.
    if _same(told, _from_below(bare, shape[0]), shape):
        return _from_below(written, shape[0])
    if written.b or written.d:
        notes.append("a rotated GeoTransform and coordinates contradict each other: both are ignored")
        return None
    notes.append("the GeoTransform differs from the coordinates, which are used")
    return told


def _from_below(transform: Affine, rows: int) -> Affine:
    """The transform of the same grid with its rows in the other order."""
    a, b, c, d, e, f = transform[:6]
    return Affine(a, -b, c + rows * b, d, -e, f + rows * e)


def _counts_only(x: _Coordinate, y: _Coordinate, has_crs: bool) -> bool:
    """Whether coordinates are mere numbers of rows and columns."""
    return x.index and y.index and (not has_crs or (x.first == y.first == 0.0))


def _of_coordinates(x: _Coordinate, y: _Coordinate, written: Affine | None) -> Affine | None:
    step_x = written.a if np.isnan(x.step) and written else x.step
    step_y = written.e if np.isnan(y.step) and written else y.step
    if np.isnan(step_x) or np.isnan(step_y):
        return None
    return Affine(step_x, 0.0, x.first - step_x / 2, 0.0, step_y, y.first - step_y / 2)


def _same(one: Affine, other: Affine, shape: tuple[int, int]) -> bool:
    rows, cols = shape
    return all(
        abs((one.c - other.c) + col * (one.a - other.a)) <= _SAME * abs(one.a)
        and abs((one.f - other.f) + row * (one.e - other.e)) <= _SAME * abs(one.e)
        for row, col in ((0, 0), (rows, cols))
    )


def _swath(container: Container, variable: Variable, axes: Axes, notes: list[str]) -> None:
    """Say of coordinates for each pixel that they are there and not used."""
    shapes = [
        (variable.shape[axes.row], variable.shape[axes.col]),
        (variable.shape[axes.col], variable.shape[axes.row]),
    ]
    names = [v.name for v in container.near(variable) if v.shape in shapes and _kind(container, v) in ("row", "col")]
    if names:
        notes.append(f"each pixel has its own coordinates ({', '.join(sorted(names)[:4])}): they are not applied")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
