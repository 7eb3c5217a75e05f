"""Geometries of a vector file, in the coordinates of a grid that they are laid over."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS

from hadgeo.errors import CubeWarning, HadgeoError, MissingExtraError
from hadgeo.formats.datum_shift import datum_shift
from hadgeo.formats.drivers import check_vector
from hadgeo.grid import Grid

#: Points along each side of a grid by which its place is found, and pieces of a side that a straight line may span.
_PIECES = 32


def read_geometries(
    path: Path,
    grid: Grid,
    what: str,
    base: str,
    error: type[HadgeoError],
    *,
    areas: bool = False,
    only: tuple[str, str] | None = None,
) -> list[Any]:
    """Read what lies on a grid, or near it, of a vector file's only layer.

    Args:
        path: The file.
        grid: The grid.
        what: What the file is, for messages, such as "truth".
        base: What has the grid, likewise.
        error: What to raise.
        areas: Whether points and lines are left out.
        only: A field and the text that it has in what is wanted; all is, by default.

    Returns:
        Geometries in the coordinates of the grid; none where all lie elsewhere.

    Raises:
        HadgeoError: `error`, if the file cannot be used.
        MissingExtraError: pyogrio or shapely is not there.
    """
    pyogrio, shapely = _libraries(path)
    check_vector(path)
    try:
        with warnings.catch_warnings():
            # Of a GeoJSON file without a CRS and the like, or of a ring that is open; what matters is checked below.
            warnings.simplefilter("ignore", UserWarning)
            warnings.filterwarnings("ignore", "Non closed ring", RuntimeWarning)
            layer = _only_layer(pyogrio.list_layers(path), path, what, error)
            where = None if only is None else "\"{}\" = '{}'".format(*only)
            meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[], where=where)
    except UnicodeDecodeError:
        # Of GDAL's own message, which repeats what it found.
        raise error(
            f"{path}: not a vector file that GDAL can read (bytes that are not UTF-8); give polygons or a raster"
        ) from None
    except HadgeoError:
        raise
    except (RuntimeError, ValueError) as failure:
        reason = " ".join(str(failure).split())
        raise error(f"{path}: not a vector file that GDAL can read ({reason}); give polygons or a raster") from failure
    if meta["crs"] is None:
        raise error(f"{path}: no coordinate reference system; assign one, so that it can be overlaid on the {base}")
    try:
        shapes = shapely.from_wkb([] if wkb is None else wkb)
    except shapely.errors.GEOSException as failure:
        raise error(
            f"{path}: its geometries are damaged ({failure}); repair them in a GIS and save them again"
        ) from None
    shapes = shapely.get_parts(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    if areas:
        shapes = shapes[shapely.get_dimensions(shapes) == 2]
    if not shapes.size:
        kind = "polygon" if areas else "geometry"
        raise error(
            f"{path}: contains no {kind}, so there is nothing to overlay on the {base}; give the {what} of this {base}"
        )
    warn_of_shift(path, meta["crs"], grid)
    try:
        return _onto(grid, meta["crs"], shapes)
    except ValueError as failure:
        raise error(f"{path}: cannot be reprojected onto the {base} ({failure}); check both CRS") from failure


def warn_of_shift(path: Path, crs: str, grid: Grid) -> None:
    """Say which way leads from the datum of an overlay to that of a grid.

    Warns:
        CubeWarning: They are different.
    """
    shift = datum_shift(crs, grid)
    if shift is not None:
        warnings.warn(f"{path}: {shift}", CubeWarning, stacklevel=2)


def _only_layer(layers: npt.NDArray[Any], path: Path, what: str, error: type[HadgeoError]) -> str:
    """The layer that has geometries: GIS keep styles in tables beside it."""
    names = layers[:, 0].tolist()
    placed = [name for name, kind in layers if kind is not None] if len(names) > 1 else names
    if len(placed) != 1:
        raise error(f"{path}: {len(names)} layers ({', '.join(names)}); save the {what} to a separate file")
    return str(placed[0])


def _libraries(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: polygons need pyogrio and shapely; install them with pip install "hadgeo[vector]"'
        ) from error
    return pyogrio, shapely


def _onto(grid: Grid, crs: str, shapes: npt.NDArray[Any]) -> list[Any]:
    """Move shapes onto a grid, cut off around it: what lies on the other side of the Earth may have no place there.

    Raises:
        ValueError: No way is known from one coordinate reference system to the other.
    """
    import shapely

    edge = np.linspace(-0.1, 1.1, _PIECES + 1)
    across, down = (axis.ravel() for axis in np.meshgrid(edge * grid.shape[1], edge * grid.shape[0]))
    assert grid.crs is not None  # its caller has looked
    around = Grid((1, 1), CRS.from_user_input(crs)).from_system(grid.crs.to_wkt(), *grid.to_map(across, down))
    points = np.stack([np.asarray(axis) for axis in around])
    points = points[:, np.isfinite(points).all(axis=0)]
    if not points.size:
        return []
    (left, bottom), (right, top) = points.min(axis=1), points.max(axis=1)
    shapes = shapes[shapely.intersects(shapely.box(*shapely.bounds(shapes).T), shapely.box(left, bottom, right, top))]
    near = shapely.clip_by_rect(shapely.make_valid(shapes), left, bottom, right, top)
    near = near[~shapely.is_empty(near)]
    # A straight line of one system is a curve in another.
    near = shapely.segmentize(near, max(right - left, top - bottom) / _PIECES)
    return list(shapely.transform(near, lambda at: np.column_stack(grid.from_system(crs, *at.T))))
