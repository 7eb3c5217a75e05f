"""Where the pixels of a raster lie: one immutable value, shared by scenes, score maps, writers and products.

A grid is a shape, a coordinate reference system and an affine transform. Rows and columns are counted from the outer
corner of the first pixel, so (0, 0) is that corner and (0.5, 0.5) the middle of the pixel. Rotation and shear are
allowed everywhere. No file is opened here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.warp
from affine import Affine
from rasterio.crs import CRS

from hadgeo.rasterio_errors import RASTERIO_ERRORS

#: Coordinates, one or many.
Values = npt.NDArray[np.float64]

#: By how much of a pixel two grids may differ, at any corner, and still be the same.
SAME_WITHIN = 1e-3


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster and their place on the ground.

    Attributes:
        shape: Rows and columns.
        crs: Coordinate reference system, or None.
        transform: Full affine from column and row to coordinates, or None where the raster has no place.
    """

    shape: tuple[int, int]
    crs: CRS | None = None
    transform: Affine | None = None

    @property
    def georeferenced(self) -> bool:
        """Whether there is a transform."""
        return self.transform is not None

    @property
    def affine(self) -> Affine:
        """The transform; without one, coordinates are columns and rows."""
        return Affine.identity() if self.transform is None else self.transform

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def rectilinear(self) -> bool:
        """Whether columns run along x and rows along y: neither rotated nor sheared."""
        return self.affine.b == 0.0 and self.affine.d == 0.0

    def to_map(self, cols: npt.ArrayLike, rows: npt.ArrayLike) -> tuple[Any, Any]:
        """Coordinates of places in the raster.

        Args:
            cols: Columns, fractions included; an array or one number.
            rows: Rows, likewise.

        Returns:
            x and y, in the shape of the arguments.
        """
        return apply(self.affine, cols, rows)

    def to_pixels(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Any, Any]:
        """Columns and rows of coordinates, fractions included; the inverse of `to_map`."""
        return apply(~self.affine, x, y)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Coordinates of the outer corners, clockwise from that of the first pixel."""
        rows, cols = self.shape
        return tuple(self.to_map(col, row) for col, row in ((0, 0), (cols, 0), (cols, rows), (0, rows)))

    def window(self, rows: slice, cols: slice) -> Grid:
        """The grid of a rectangle of pixels, which may reach beyond this one.

        Args:
            rows: From where to where, step 1.
            cols: Likewise.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if self.transform is None:
            return Grid(shape, self.crs)
        x, y = self.to_map(cols.start, rows.start)
        a, b, _, d, e, _ = self.transform[:6]
        return Grid(shape, self.crs, Affine(a, b, x, d, e, y))

    def same_as(self, other: Grid) -> bool:
        """Whether another grid has the same pixels at the same places, to a thousandth of a pixel."""
        if self.shape != other.shape or self.georeferenced != other.georeferenced:
            return False
        if self.georeferenced and self.crs != other.crs:
            return False
        cols, rows = self.to_pixels(*np.array(other.corners).T)
        own_cols, own_rows = self.to_pixels(*np.array(self.corners).T)
        return bool(np.abs([cols - own_cols, rows - own_rows]).max() <= SAME_WITHIN)

    def north_up(self) -> Grid:
        """The smallest grid around this one whose rows run from west to east, with square pixels of the same area."""
        x, y = (np.array(values) for values in zip(*self.corners, strict=True))
        a, b, _, d, e, _ = self.affine[:6]
        side = math.sqrt(abs(a * e - b * d))
        # Rounding must not add a row or column of nothing.
        width, height = (max(1, math.ceil(float(np.ptp(axis)) / side - 1e-6)) for axis in (x, y))
        return Grid((height, width), self.crs, Affine(side, 0.0, float(x.min()), 0.0, -side, float(y.max())))

    def to_longitude_latitude(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Values, Values] | None:
        """WGS 84 longitude and latitude of coordinates in degrees, not finite where there are none.

        Returns:
            None where the coordinate reference system is not known, or lies nowhere on Earth.
        """
        if self.crs is None:
            return None
        try:
            longitude, latitude = rasterio.warp.transform(self.crs, "EPSG:4326", np.ravel(x), np.ravel(y))
        except RASTERIO_ERRORS:
            return None
        return np.array(longitude), np.array(latitude)

    def pixel_size(self) -> tuple[float, float] | None:
        """Length in metres of the middle pixel along a row and along a column, on the WGS 84 ellipsoid.

        Returns:
            None where the grid has no known place on Earth.
        """
        from pyproj import Geod

        if self.transform is None:
            return None
        row, col = self.shape[0] / 2, self.shape[1] / 2
        places = self.to_longitude_latitude(*self.to_map([col, col + 1, col], [row, row, row + 1]))
        if places is None or not np.isfinite(places).all():
            return None
        longitude, latitude = places
        _, _, (right, down) = Geod(ellps="WGS84").inv(
            [longitude[0]] * 2, [latitude[0]] * 2, longitude[1:], latitude[1:]
        )
        return float(right), float(down)

    def pixel_area(self) -> float | None:
        """Area of the middle pixel in square metres, on the WGS 84 ellipsoid.

        Returns:
            None where the grid has no known place on Earth.
        """
        from pyproj import Geod

        if self.transform is None:
            return None
        row, col = self.shape[0] / 2, self.shape[1] / 2
        ring = self.to_map([col, col + 1, col + 1, col], [row, row, row + 1, row + 1])
        places = self.to_longitude_latitude(*ring)
        if places is None or not np.isfinite(places).all():
            return None
        return abs(float(Geod(ellps="WGS84").polygon_area_perimeter(*places)[0]))


def apply(transform: Affine, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Any, Any]:
    """Where a transform takes points. Written out, because affine 3 wants ``@`` for it, and affine 2 knows only ``*``.

    Args:
        transform: The transform.
        x: First coordinates, an array or one number.
        y: Second coordinates, likewise.
    """
    a, b, c, d, e, f = transform[:6]
    across, along = (v if isinstance(v, int | float) else np.asarray(v, dtype=np.float64) for v in (x, y))
    return a * across + b * along + c, d * across + e * along + f
