"""Outlines of polygons from any vector file, in the pixels of a scene, and how they are drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, CubeNotFoundError, MissingExtraError, refusing
from hadgeo.formats.drivers import check_vector
from hadgeo.formats.source import Metadata
from hadgeo.grid import Grid
from hadgeo.maps.polygon_fields import LAYER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Two coordinates of points, (point, 2).
Points = npt.NDArray[np.float64]

#: Diameter of a circle in points.
CIRCLE = 9.5

#: Outlines smaller than this many pixels of the picture are circled instead.
_SMALLEST = 8


@dataclass(frozen=True)
class Outlines:
    """Outlines in pixels of a scene, (0, 0) its upper left corner.

    Attributes:
        rings: Columns and rows of the corners of each ring, (corner, 2).
        owners: To which polygon each ring belongs.
        bounds: Least and greatest column and row of each polygon: left, top, right, bottom, (polygon, 4).
        ids: The field ``id`` of each, or None where the layer has none.
    """

    rings: list[Points]
    owners: npt.NDArray[np.intp]
    bounds: npt.NDArray[np.float64]
    ids: npt.NDArray[np.int64] | None = None

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(self.bounds)

    @property
    def centres(self) -> Points:
        """Column and row of the middle of each polygon, (polygon, 2)."""
        return (self.bounds[:, :2] + self.bounds[:, 2:]) / 2

    @property
    def sides(self) -> npt.NDArray[np.float64]:
        """The longer side of each polygon's bounding box."""
        longer: npt.NDArray[np.float64] = (self.bounds[:, 2:] - self.bounds[:, :2]).max(axis=1)
        return longer

    def within(self, shape: tuple[int, int]) -> Outlines:
        """Those that reach into a scene of so many rows and columns."""
        left, top, right, bottom = self.bounds.T
        inside = (left < shape[1]) & (right > 0) & (top < shape[0]) & (bottom > 0)
        number = np.cumsum(inside) - 1
        kept = inside[self.owners]
        rings = [ring for ring, chosen in zip(self.rings, kept, strict=True) if chosen]
        return Outlines(
            rings, number[self.owners[kept]], self.bounds[inside], None if self.ids is None else self.ids[inside]
        )

    def circled(self, scale: float) -> npt.NDArray[np.bool_]:
        """Which are too small to outline at so many pixels of the picture for one of the scene."""
        return self.sides * scale < _SMALLEST

    def draw(self, axes: Axes, colour: str, scale: float) -> None:
        """Draw them into axes whose units are pixels of the scene.

        Args:
            axes: Where; what lies outside is cut off.
            colour: Of the lines.
            scale: Pixels of the picture for one of the scene.
        """
        from matplotlib.collections import LineCollection

        large = ~self.circled(scale)
        rings = [ring for ring, owner in zip(self.rings, self.owners, strict=True) if large[owner]]
        small = self.centres[~large]
        # A dark line below: seen on bright ground too.
        for width, shade in ((2.6, "#00000090"), (1.1, colour)):
            axes.add_collection(LineCollection(rings, colors=shade, linewidths=width), autolim=False)
            limits = axes.get_xlim(), axes.get_ylim()
            axes.scatter(small[:, 0], small[:, 1], s=CIRCLE**2, facecolors="none", edgecolors=shade, linewidths=width)
            axes.set(xlim=limits[0], ylim=limits[1])


def read_outlines(path: str | os.PathLike[str], scene: Metadata) -> Outlines:
    """Read the first layer with geometries of a vector file.

    Args:
        path: GeoPackage, GeoJSON, GeoParquet, Shapefile or whatever else GDAL reads.
        scene: Into whose pixels they are turned. Without a place, the file's own coordinates are taken for pixels.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no vector file, or its coordinates cannot be turned into the scene's.
        MissingExtraError: pyogrio or shapely is not installed.
    """
    try:
        import shapely
        from pyogrio import list_layers
        from pyogrio.raw import read
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: vector files need pyogrio and shapely; install them with pip install "hadgeo[vector]"'
        ) from error
    if not Path(path).exists():
        raise CubeNotFoundError(f"{path}: no such file; check the path")
    check_vector(path)
    with refusing(CubeError, f"{path}: not a vector file", "give polygons"):
        layer = _layer_of(list_layers(path))
        meta, _, geometry, fields = read(path, layer=layer, columns=["id"], force_2d=True)
    with refusing(CubeError, f"{path}: its geometries are damaged", "repair them in a GIS and save them again"):
        shapes = shapely.from_wkb(geometry) if geometry is not None else np.empty(0, dtype=object)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes, ids = shapes[there], _ids(fields, there)
    shapes = shapely.transform(shapes, lambda points: _to_pixels(points, path, meta["crs"], scene.grid))
    parts, shape_of_part = shapely.get_parts(shapes, return_index=True)
    # Points and lines have no ring.
    ring_shapes, part_of_ring = shapely.get_rings(parts, return_index=True)
    rings = [shapely.get_coordinates(ring) for ring in ring_shapes]
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    return Outlines(rings, shape_of_part[part_of_ring], bounds, ids)


def _layer_of(layers: npt.NDArray[np.object_]) -> str | None:
    """That of anomalies, or the first that has geometries: programs add tables of their own, of styles perhaps."""
    names = [str(name) for name, kind in layers if kind is not None]
    return LAYER if LAYER in names else next(iter(names), None)


def _ids(fields: Sequence[npt.NDArray[Any]], there: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
    """The numbers by which polygons are known in their table."""
    if not len(fields) or fields[0].dtype.kind not in "iu":
        return None
    return np.asarray(fields[0], dtype=np.int64)[there]


def _to_pixels(points: Points, path: str | os.PathLike[str], crs: str | None, grid: Grid) -> Points:
    """Turn coordinates of a layer into columns and rows of a grid."""
    if not len(points):
        return points
    moved = points[:, 0], points[:, 1]
    if crs and grid.crs is not None and grid.georeferenced:
        try:
            moved = grid.from_system(crs, *moved)
        except ValueError as error:
            raise CubeError(
                f"{path}: cannot be transformed to the scene's coordinate reference system ({error}); "
                "give polygons of this scene"
            ) from None
        if not np.isfinite(moved).all():
            raise CubeError(
                f"{path}: extends beyond the validity of the scene's coordinate reference system; give polygons of "
                "this scene"
            )
    return np.column_stack(grid.to_pixels(*moved))
