"""A layer of polygons as the page needs it: attributes, outlines in pixels of a map, and geometries for export."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import rasterize

from hadgeo.errors import CubeError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.grid import Grid

#: (polygon,) array of shapely geometries.
Shapes = npt.NDArray[np.object_]

#: Decimals of a degree, as RFC 7946 advises: about a centimetre.
_DEGREE_DECIMALS = 7


@dataclass(frozen=True)
class PageLayer:
    """Polygons of a map.

    Attributes:
        name: What they are called, for people.
        table: The attributes of each polygon, as JSON can hold them.
        shapes: In columns and rows of the map.
        exported: In WGS 84 where the map lies on Earth, else in its own coordinates.
    """

    name: str
    table: list[dict[str, Any]]
    shapes: Shapes
    exported: Shapes

    def __len__(self) -> int:
        return len(self.table)

    @property
    def sha256(self) -> str:
        """A hash of their numbers and places, the same for the same polygons in another kind of file."""
        places = shapely.bounds(self.shapes).reshape(-1, 4).round().astype(int).tolist()
        numbered = sorted([row["id"], *place] for row, place in zip(self.table, places, strict=True))
        return hashlib.sha256(json.dumps(numbered).encode()).hexdigest()

    def rarest(self, count: int) -> PageLayer:
        """The polygons with the smallest p-values, rarest first; by score where there are none."""
        order = sorted(range(len(self)), key=lambda i: rarity(self.table[i]))[:count]
        taken = np.array(order, dtype=np.intp)
        return replace(
            self, table=[self.table[i] for i in order], shapes=self.shapes[taken], exported=self.exported[taken]
        )

    def features(self) -> list[dict[str, Any]]:
        """GeoJSON features, attributes included."""
        geometries = [json.loads(text) for text in shapely.to_geojson(self.exported)]
        return [
            {"type": "Feature", "properties": row, "geometry": geometry}
            for row, geometry in zip(self.table, geometries, strict=True)
        ]

    def rings(self) -> list[list[list[float]]]:
        """The rings of each polygon in columns and rows of the map: x, y, x, y, ..."""
        parts, owner = shapely.get_parts(self.shapes, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        told: list[list[list[float]]] = [[] for _ in range(len(self))]
        for ring, number in zip(rings, owner[part], strict=True):
            told[number].append(shapely.get_coordinates(ring).round(2).ravel().tolist())
        return told

    def anomalies(self, shape: tuple[int, int]) -> list[Anomaly]:
        """The pixels of each polygon, by its id: those whose middle lies in it, or the one in its own middle.

        Args:
            shape: Rows and columns of the map.

        Raises:
            CubeError: A polygon lies outside of the map.
        """
        return [
            _pixels(int(row["id"]), outline, shape, self.name)
            for row, outline in zip(self.table, self.shapes, strict=True)
        ]


def page_layer(
    name: str, table: Mapping[str, npt.NDArray[Any]], outlines: Shapes | None, crs: str | None, grid: Grid
) -> PageLayer:
    """Bring polygons to the pixels of a map.

    Args:
        name: What they are called.
        table: Their attributes, column by column; without ``id`` they are numbered from 1.
        outlines: The polygons.
        crs: Their coordinate system. Where they or the map have none, their coordinates are taken for those of the map.
        grid: The map's.

    Raises:
        CubeError: They are no polygons, not numbered, or cannot be brought to the map.
    """
    count = 0 if outlines is None else len(outlines)
    own = np.empty(0, dtype=object) if outlines is None else outlines
    kept = ~(shapely.is_missing(own) | shapely.is_empty(own)) & np.isin(shapely.get_type_id(own), (3, 6))
    if not kept.all() or any(len(column) != count for column in table.values()):
        raise CubeError(f"{name}: {int((~kept).sum())} of its objects are no polygons; give polygons alone")
    rows = [dict(zip(table, map(_plain, values), strict=True)) for values in zip(*table.values(), strict=True)]
    placed = shapely.transform(own, lambda at: _in_system(at, name, crs, grid))
    shapes = shapely.transform(placed, lambda at: np.column_stack(grid.to_pixels(*at.T)))
    return PageLayer(name, _numbered(rows or [{}] * count, name), shapes, _in_degrees(placed, grid))


def _numbered(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Rows that have a number each."""
    if all("id" not in row for row in rows):
        return [{"id": number, **row} for number, row in enumerate(rows, 1)]
    ids = [row["id"] for row in rows]
    # Some programs make all numbers of a layer decimal.
    if any(not isinstance(number, int | float) or number != int(number) for number in ids) or len(set(ids)) < len(ids):
        raise CubeError(f"{name}: the field id does not number the polygons; give what hadgeo has written")
    return [{**row, "id": int(row["id"])} for row in rows]


def _in_system(points: npt.NDArray[np.float64], name: str, crs: str | None, grid: Grid) -> npt.NDArray[np.float64]:
    """Coordinates of a layer as those of a grid."""
    if not crs or grid.crs is None or not len(points):
        return points
    try:
        moved = np.column_stack(grid.from_system(crs, *points.T))
    except ValueError as error:
        raise CubeError(f"{name}: cannot be transformed to the map's system ({error}); give its polygons") from None
    if not np.isfinite(moved).all():
        raise CubeError(f"{name}: extends beyond the validity of the map's system; give the polygons of this map")
    return moved


def _in_degrees(placed: Shapes, grid: Grid) -> Shapes:
    """Shapes in longitude and latitude, or as they are where a corner has none."""
    if not grid.on_earth:
        return placed
    there = np.column_stack(grid.to_longitude_latitude(*shapely.get_coordinates(placed).T))
    if not np.isfinite(there).all():
        return placed
    return np.asarray(shapely.set_coordinates(placed.copy(), there.round(_DEGREE_DECIMALS)))


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: None for what is not known."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def rarity(row: dict[str, Any]) -> tuple[float, float]:
    """By what polygons are ordered, the rarest first: p-value, and falling score."""
    numbers = (row.get("p_value"), row.get("max_score"))
    p, score = (float(number) if isinstance(number, int | float) else None for number in numbers)
    return math.inf if p is None else p, math.inf if score is None else -score


def _pixels(number: int, outline: Any, shape: tuple[int, int], name: str) -> Anomaly:
    left, top, right, bottom = outline.bounds
    rows, cols = shape
    if bottom <= 0 or right <= 0 or top >= rows or left >= cols:
        raise CubeError(f"{name}: polygon {number} lies outside of the map; give the polygons of this map")
    first_row, first_col = max(0, math.floor(top)), max(0, math.floor(left))
    height, width = min(rows, math.ceil(bottom)) - first_row, min(cols, math.ceil(right)) - first_col
    inside = rasterize(
        [(outline, 1)], out_shape=(height, width), transform=Affine.translation(first_col, first_row), dtype="uint8"
    )
    found_rows, found_cols = np.nonzero(inside)
    if not found_rows.size:
        found_rows, found_cols = np.array([height // 2]), np.array([width // 2])
    return Anomaly(number, found_rows + first_row, found_cols + first_col)
