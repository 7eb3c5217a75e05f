"""The anomalies of several maps as one list: on one plane, each thing once, the most significant first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.crs import CRS

from hadgeo.decisions.layers import Geometries, Table
from hadgeo.decisions.polygons import Anomalies, attributes, moved
from hadgeo.errors import CubeError
from hadgeo.grid import Grid, Values

Integers = npt.NDArray[np.intp]

#: How many pixels may lie between the outlines of one thing in two maps: one, whatever rounding and projections make
#: of it.
REACH = 1.5


@dataclass(frozen=True)
class Found:
    """What was found in one of the maps.

    Attributes:
        name: The map's, for people; no other has it.
        anomalies: Its anomalies.
        outlines: Theirs, in the coordinate system of all.
    """

    name: str
    anomalies: Anomalies
    outlines: Geometries


@dataclass(frozen=True)
class Joint:
    """The anomalies of several maps, each thing once, the most significant first.

    Attributes:
        found: The maps.
        crs: The coordinate system of all.
        maps: (object,) number of the map in which each is the most significant.
        members: (object,) its number among the anomalies of that map.
        seen_in: For each, the numbers of the maps in which it was seen, rising.
    """

    found: tuple[Found, ...]
    crs: CRS
    maps: Integers
    members: Integers
    seen_in: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def duplicates(self) -> int:
        """How many anomalies were joined to a more significant one of another map."""
        return sum(len(one.anomalies) for one in self.found) - len(self)

    @property
    def grid(self) -> Grid:
        """A grid in the coordinate system of all."""
        return Grid((1, 1), self.crs, Affine.identity())

    @property
    def outlines(self) -> Geometries:
        """(object,) multi-polygons in the coordinate system of all."""
        return self._chosen([one.outlines for one in self.found])

    def table(self) -> Table:
        """What a layer tells of each object, column by column: as of one map, and in which maps it was seen."""
        tables = [attributes(one.anomalies) for one in self.found]
        for table, one in zip(tables, self.found, strict=True):
            table["peak_x"], table["peak_y"] = _move(one.anomalies.grid, self.grid, table["peak_x"], table["peak_y"])
        names = list(dict.fromkeys(name for table in tables for name in table))
        unknown = [np.full(len(one.anomalies), np.nan) for one in self.found]
        columns = {
            name: self._chosen([table.get(name, none) for table, none in zip(tables, unknown, strict=True)])
            for name in names
        }
        columns["id"] = np.arange(1, len(self) + 1)
        called = [one.name for one in self.found]
        columns["line"] = np.array([called[number] for number in self.maps], dtype=object)
        columns["line_count"] = np.array([len(seen) for seen in self.seen_in], dtype=np.int64)
        columns["lines"] = np.array(
            [", ".join(called[number] for number in seen) for seen in self.seen_in], dtype=object
        )
        return columns

    @property
    def map_hashes(self) -> npt.NDArray[Any]:
        """(object,) the hash of the map in which each is the most significant."""
        return np.array([self.found[number].anomalies.map_sha256 or None for number in self.maps], dtype=object)

    def _chosen(self, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Of a column of each map, the values of the objects."""
        firsts = np.cumsum([0, *(len(column) for column in columns)])
        values: npt.NDArray[Any] = np.concatenate(columns)[firsts[self.maps] + self.members]
        return values


def place(name: str, anomalies: Anomalies, crs: CRS) -> Found:
    """Move the anomalies of a map into the coordinate system of all.

    Raises:
        CubeError: The map has no coordinate system, or lies where that of all does not reach.
    """
    if anomalies.grid.crs is None or not anomalies.grid.georeferenced:
        raise CubeError("it has no coordinate reference system")
    common = Grid((1, 1), crs, Affine.identity())
    outlines = moved(anomalies.outlines, lambda x, y: _move(anomalies.grid, common, x, y))
    if not np.isfinite(shapely.get_coordinates(outlines)).all():
        raise CubeError(f"it extends beyond the validity of {crs.to_string()}; give another with --polygons-crs")
    return Found(name, anomalies, outlines)


def join(found: Sequence[Found], crs: CRS, distance: float | None = None) -> Joint:
    """Make one list of the anomalies of several maps.

    By falling significance, each anomaly takes up those of other maps that lie near it and are not taken up yet. Those
    of its own map stay: there they are different things.

    Args:
        found: The maps, at least one; see `place`.
        crs: The coordinate system of all.
        distance: How far the outlines of one thing may be apart in metres; `REACH` pixels of the coarser map
            by default.
    """
    maps = np.repeat(np.arange(len(found)), [len(one.anomalies) for one in found])
    members = np.concatenate([np.arange(len(one.anomalies)) for one in found])
    rarity = [np.concatenate([getattr(one.anomalies, name) for one in found]) for name in ("peak_p_values", "p_values")]
    # Stable: what is equally rare stays in the order of the maps.
    order = np.lexsort(rarity)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    pairs = _near(found, maps, crs, distance)
    pairs = pairs[:, (maps[pairs[0]] != maps[pairs[1]]) & (rank[pairs[0]] < rank[pairs[1]])]
    pairs = pairs[:, np.lexsort((rank[pairs[1]], rank[pairs[0]]))]
    owner = np.arange(len(order))
    for strong, weak in pairs.T.tolist():
        if owner[strong] == strong and owner[weak] == weak:
            owner[weak] = strong
    kept = order[owner[order] == order]
    seen: dict[int, set[int]] = {one: set() for one in kept.tolist()}
    for one, by in enumerate(owner.tolist()):
        seen[by].add(int(maps[one]))
    return Joint(tuple(found), crs, maps[kept], members[kept], tuple(tuple(sorted(seen[one])) for one in kept.tolist()))


def _near(found: Sequence[Found], maps: Integers, crs: CRS, distance: float | None) -> Integers:
    """(2, pair) the anomalies that are near each other, both ways round."""
    if not len(maps):
        return np.empty((2, 0), dtype=np.intp)
    outlines = np.concatenate([one.outlines for one in found])
    left, bottom, right, top = shapely.total_bounds(outlines)
    frame = Grid((1, 1), crs, Affine(right - left, 0, left, 0, bottom - top, top))
    plane = moved(outlines, frame.to_metres)
    sides = np.array([REACH * max(one.anomalies.grid.pixel_size() or one.anomalies.grid.cell) for one in found])
    reach = sides if distance is None else np.full(len(found), distance)
    pairs: Integers = shapely.STRtree(plane).query(plane, predicate="dwithin", distance=float(reach.max()))
    allowed = np.maximum(*reach[maps[pairs]])
    return pairs[:, shapely.distance(*plane[pairs]) <= allowed]


def _move(own: Grid, common: Grid, x: Values, y: Values) -> tuple[Values, Values]:
    try:
        return common.from_system("" if own.crs is None else own.crs.to_wkt(), x, y)
    except ValueError as error:
        raise CubeError(f"it cannot be placed ({error}); give another system with --polygons-crs") from None
