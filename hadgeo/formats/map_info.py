"""``map info`` of ENVI headers: where a scene lies, as the header defines it.

GDAL reads the same text otherwise in places: it does not turn the reference pixel, swaps the pixel sizes where they
differ, flips what is turned by 180°, overlooks keys with blanks or capitals, and takes WGS 84 for a datum that it does
not know. Here the header has the word, and what programs built on GDAL show is told where it differs.

Fields: https://www.nv5geospatialsoftware.com/docs/ENVIHeaderFiles.html, ``map info``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from affine import Affine

from hadgeo.formats.gdal import Georeference, missing
from hadgeo.formats.map_info_crs import coordinate_system, crs_name, is_geographic
from hadgeo.formats.number_lists import shown
from hadgeo.grid import Grid

#: By how much of a pixel two places may differ and count as the same.
_SAME_WITHIN = 0.01

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")

#: -110.5, 110.5W, -110:30:00, 110d30m0.0sW, 110° 30' 0" W; whoever reads it has taken quotes at the end away.
_DEGREES = re.compile(
    r"\s*(?P<sign>[-+]?)\s*(?P<degrees>\d+(?:\.\d*)?)"
    r"(?:\s*[d°:\s]\s*(?P<minutes>\d+(?:\.\d*)?)(?:\s*[m'′:\s]\s*(?P<seconds>\d+(?:\.\d*)?))?)?"
    r"\s*(?:deg|[d°ms'\"′″])?\s*(?P<hemisphere>[NSEW])?\s*$",
    re.IGNORECASE,
)

#: A pixel that is longer than wide by this is none.
_MOST_OBLONG = 1000.0

#: Cosine and sine of whole quarters, which have no rounding errors.
_QUARTERS = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}

_DEGREES_APART = re.compile(r"\d\s*[d°:\s]\s*\d")

#: What brings angles of geographic coordinates to degrees.
_TO_DEGREES = {"minutes": 1 / 60, "seconds": 1 / 3600, "radians": 180 / math.pi}


@dataclass(frozen=True)
class MapInfo:
    """The items of a ``map info``.

    Attributes:
        projection: Name of the projection, the first item.
        reference: Column and row of the reference pixel, from 1; (1, 1) is the outer corner of the first pixel.
        place: Its easting and northing.
        size: Sizes of a pixel along x and y.
        words: What stands behind them without a key: zone, hemisphere, datum.
        units: What ``units=`` says, in lower case, or empty.
        rotation: Degrees.
        items: All items as they stand there, quotes kept, for what GDAL makes of them.
    """

    projection: str
    reference: tuple[float, float]
    place: tuple[float, float]
    size: tuple[float, float]
    words: tuple[str, ...]
    units: str
    rotation: float
    items: tuple[str, ...]

    @property
    def transform(self) -> Affine:
        """The affine: with t the rotation, columns step by dx (cos t, sin t) and rows by dy (sin t, -cos t)."""
        angle = self.rotation * (math.pi / 180)
        cos, sin = _QUARTERS.get(self.rotation % 360) or (math.cos(angle), math.sin(angle))
        dx, dy = self.size
        a, b, d, e = dx * cos, dy * sin, dx * sin, -dy * cos
        before_x, before_y = self.reference[0] - 1, self.reference[1] - 1
        c = self.place[0] - before_x * a - before_y * b
        f = self.place[1] - before_x * d - before_y * e
        return Affine(*(value + 0.0 for value in (a, b, c, d, e, f)))

    @property
    def gdal_rotation(self) -> str | None:
        """What GDAL takes for the rotation: it knows ``rotation=`` alone, without blanks and capitals."""
        return next((item[9:] for item in self.items if item.startswith("rotation=")), None)


def parse_map_info(text: str) -> MapInfo | str:
    """Read a ``map info``.

    Args:
        text: Its list.

    Returns:
        What it says, or what is wrong with it.
    """
    raw = [item.strip() for item in text.strip().strip("{}").split(",")]
    while raw and not raw[-1]:
        raw.pop()
    items = [item.strip("\"'").strip() for item in raw]
    if len({i.partition("=")[2].strip() for i in items if i.lower().replace(" ", "").startswith("rotation=")}) > 1:
        return "map info has two different rotations"
    keyed = {key.strip().lower(): value.strip() for key, _, value in (i.partition("=") for i in items if "=" in i)}
    plain = [item for item in items if "=" not in item]
    if len(plain) < 7:
        return f"map info has {len(plain)} of the 7 items that georeference a scene"
    read = _angle if is_geographic(plain[0]) else _number
    values = [_number(item) for item in plain[1:3]] + [read(item) for item in plain[3:7]]
    wrong = next((item for item, value in zip(plain[1:7], values, strict=True) if value is None), None)
    if wrong is not None:
        return f"map info contains {shown(wrong)} where a number is expected"
    x0, y0, east, north, dx, dy = (value for value in values if value is not None)
    if min(abs(dx), abs(dy)) * _MOST_OBLONG <= max(abs(dx), abs(dy)):
        return f"map info has pixels of {dx:g} by {dy:g}; are its items in order, and are there decimal commas?"
    rotation = _number(keyed.get("rotation") or "0")
    if rotation is None:
        return f"map info has a rotation of {shown(keyed['rotation'])}, which is not a number"
    units = keyed.get("units", "").strip("\"'").lower()
    return MapInfo(plain[0], (x0, y0), (east, north), (dx, dy), tuple(plain[7:]), units, rotation, tuple(raw))


def _number(text: str) -> float | None:
    """A number, whatever unit stands behind it, but no second one: a comma is missing then."""
    found = _NUMBER.match(text.strip())
    if found and any(character.isdecimal() for character in text.strip()[found.end() :]):
        return None
    value = float(found[0].replace("D", "e").replace("d", "e")) if found else math.nan
    return value if math.isfinite(value) else None


def _angle(text: str) -> float | None:
    """A number, or degrees, minutes and seconds, with or without the name of a hemisphere behind it, in degrees."""
    found = _DEGREES.match(text)
    if not found or not (found["minutes"] or found["hemisphere"]):
        return _number(text)
    parts = [float(found[name] or 0) for name in ("degrees", "minutes", "seconds")]
    value = parts[0] + parts[1] / 60 + parts[2] / 3600
    return -value if found["sign"] == "-" or (found["hemisphere"] or "").upper() in ("W", "S") else value


def locate(fields: Mapping[str, str], seen: Georeference, place: Literal["header", "gdal"] = "header") -> Georeference:
    """Place a scene by its header.

    Args:
        fields: Of the header.
        seen: Where GDAL puts it; its coordinate reference system is taken where GDAL understands the header.
        place: Whose word counts.
    """
    text = fields.get("map info", "")
    if not text.strip("{}, \n"):
        return seen
    info = parse_map_info(text)
    if isinstance(info, str):
        grid = Grid(seen.grid.shape)
        return Georeference(grid, (f"{info}: correct the header", *missing(grid)), seen.assumed)
    crs, notes, assumed = coordinate_system(fields, info.projection, info.words, info.units, info.items, seen.grid.crs)
    factor = _TO_DEGREES.get(info.units, 1.0) if crs is not None and crs.is_geographic else 1.0
    transform = info.transform if factor == 1.0 else Affine(*(value * factor for value in info.transform[:6]))
    grid = Grid(seen.grid.shape, crs, transform)
    odd = (*notes, *oddities(info, grid), *_apart(info, grid, seen.grid, place))
    if place == "gdal" and seen.grid.georeferenced:
        return Georeference(
            seen.grid, (*seen.warnings, *odd), (*seen.assumed, "georeferenced as GDAL does, as requested")
        )
    lost = tuple(line for line in seen.warnings if line.startswith("GDAL"))
    return Georeference(grid, (*lost, *missing(grid), *odd), (*seen.assumed, *assumed))


def oddities(info: MapInfo, grid: Grid) -> list[str]:
    """What a header may mean, and hardly does.

    Args:
        info: What it says.
        grid: The grid that follows from it.

    Returns:
        One line for each.
    """
    notes = []
    if min(info.size) < 0:
        notes.append(
            f"map info has pixels of {info.size[0]:g} by {info.size[1]:g}: the signs are taken literally, so rows or "
            "columns run in the opposite direction; ENVI itself writes positive sizes"
        )
    if info.units == "dms" and not any(_DEGREES_APART.search(item) for item in info.items[3:5]):
        notes.append("map info says units=DMS, but its coordinates are plain numbers: taken as degrees")
    projected = grid.crs is not None and grid.crs.is_projected
    if projected and info.projection.lower().startswith("utm") and _in_degrees(grid):
        notes.append(
            f"map info says UTM, but its coordinates, such as {info.place[0]:g}, {info.place[1]:g}, look like degrees"
        )
    return notes


def _in_degrees(grid: Grid) -> bool:
    x, y = grid.corners
    return bool((np.abs(x) <= 360).all() and (np.abs(y) <= 90).all())


def _apart(info: MapInfo, grid: Grid, seen: Grid, place: str) -> list[str]:
    """How far away from here programs built on GDAL draw the scene, and why."""
    if not seen.georeferenced:
        return []
    if grid.crs != seen.crs and grid.crs is not None and seen.crs is not None:
        far = _metres_apart(grid, seen)
        where = f", and place the scene up to {far:.4g} m away" if far is not None and far > 0.01 else ""
        return [f"GDAL-based programs assume the coordinate reference system {crs_name(seen.crs)}{where}"]
    away = np.hypot(*(np.array(grid.corners) - np.array(seen.corners))).max()
    if not away > _SAME_WITHIN * math.sqrt(grid.cell_area):
        return []
    kept = "GDAL's position is used" if place == "gdal" else "--place gdal uses GDAL's position"
    return [
        f"GDAL-based programs place the scene up to {_length(float(away), grid)} away, since GDAL "
        f"{' and '.join(_reasons(info))}; {kept}"
    ]


def _reasons(info: MapInfo) -> list[str]:
    heard = _number(info.gdal_rotation or "0") or 0.0
    if heard != info.rotation:
        return [f"ignores the rotation of {info.rotation:g}°"]
    if abs(info.rotation) == 180:
        return [
            "interprets a rotation of 180° as rows that run from south to north, and writes it for such rasters itself "
            "(in which case GDAL's position is the right one)"
        ]
    reasons = []
    if info.rotation and info.reference != (1.0, 1.0):
        reasons.append("rotates it about the first pixel, not the reference pixel")
    if info.rotation and abs(info.size[0]) != abs(info.size[1]):
        reasons.append("shears pixels that are not square")
    return reasons or ["interprets map info differently"]


def _length(away: float, grid: Grid) -> str:
    """A length on the map, in metres where the map has a unit of length."""
    if grid.crs is not None and grid.crs.is_projected:
        return f"{away * grid.crs.linear_units_factor[1]:.4g} m"
    return f"{away:.4g} {'degrees' if grid.crs is not None and grid.crs.is_geographic else 'units'}"


def _metres_apart(one: Grid, other: Grid) -> float | None:
    """Largest distance of the same corner in two grids, on the WGS 84 ellipsoid; None where one has no place there."""
    from pyproj import Geod

    here, there = (grid.to_longitude_latitude(*grid.corners) for grid in (one, other))
    if not np.isfinite([here, there]).all():
        return None
    _, _, away = Geod(ellps="WGS84").inv(*here, *there)
    return float(np.max(away))
