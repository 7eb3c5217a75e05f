"""Where the pixels of a raster lie: one immutable value, shared by scenes, score maps, writers and products.

A grid is a shape, a coordinate reference system and an affine transform. Columns and rows are counted from the outer
corner of the first pixel, so (0, 0) is that corner and (0.5, 0.5) the middle of the pixel. Rotation and shear are
allowed everywhere. No file is opened here, and no affine product is written out anywhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

#: Coordinates, one or many.
Values = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Values)

#: By how much of a pixel two grids may differ, at any corner, and still be the same.
SAME_WITHIN = 1e-3

#: Latitude beyond which there is no Earth, with a rounding error.
_POLE = 90 + 1e-9

#: Where GIS draw a raster that has no transform.
_PIXELS = Affine(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)

_WGS84 = pyproj.CRS("EPSG:4326")


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster and their place on the ground.

    Attributes:
        shape: Rows and columns.
        crs: Coordinate reference system, or None.
        transform: Full affine from column and row to coordinates, or None where the raster has no place.

    Examples:
        >>> grid = Grid((400, 300), CRS.from_epsg(32633), Affine(2, 0, 500_000, 0, -2, 5_200_000))
        >>> grid.to_map(10.0, 20.0)
        (500020.0, 5199960.0)
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
        """The transform; without one, x is the column and y the row with a minus: rows go down, as GIS draw them."""
        return _PIXELS if self.transform is None else self.transform

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def rectilinear(self) -> bool:
        """Whether columns run along x and rows along y: neither rotated nor sheared."""
        return self.affine.b == 0.0 and self.affine.d == 0.0

    @property
    def cell(self) -> tuple[float, float]:
        """Length of a pixel along a row and along a column, in units of the coordinates."""
        t = self.affine
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def cell_area(self) -> float:
        """Area of a pixel in squared units of the coordinates."""
        return abs(float(self.affine.determinant))

    def to_map(self, cols: Number, rows: Number) -> tuple[Number, Number]:
        """Coordinates of places in the raster.

        Args:
            cols: Columns, fractions included; an array or one number.
            rows: Rows, likewise.

        Returns:
            x and y, in the shape of the arguments.
        """
        return _apply(self.affine, cols, rows)

    def to_pixels(self, x: Number, y: Number) -> tuple[Number, Number]:
        """Columns and rows of coordinates, fractions included; the inverse of `to_map`.

        Without a transform, coordinates that all are positive are taken for columns and rows as they are counted.
        """
        if self.transform is None and np.size(y) and np.min(y) >= 0:
            return x, y
        return _apply(~self.affine, x, y)

    @property
    def centres(self) -> tuple[Values, Values]:
        """Of a rectilinear grid: x of the middle of each column, and y of that of each row."""
        rows, cols = (np.arange(length, dtype=np.float64) + 0.5 for length in self.shape)
        t = self.affine
        return t.c + cols * t.a, t.f + rows * t.e

    @property
    def corners(self) -> tuple[Values, Values]:
        """Coordinates of the outer corners, x and y, clockwise from that of the first pixel as the raster is stored."""
        return self.to_map(*self._corner_pixels)

    @property
    def _corner_pixels(self) -> tuple[Values, Values]:
        rows, cols = self.shape
        return np.array([0.0, cols, cols, 0.0]), np.array([0.0, 0.0, rows, rows])

    def window(self, rows: slice, cols: slice) -> Grid:
        """The grid of a rectangle of pixels, which may reach beyond this one.

        Args:
            rows: From where to where, step 1.
            cols: Likewise.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if self.transform is None:
            return Grid(shape, self.crs)
        x, y = self.to_map(float(cols.start), float(rows.start))
        t = self.transform
        return Grid(shape, self.crs, Affine(t.a, t.b, x, t.d, t.e, y))

    def apart(self, other: Grid) -> float:
        """How far the corners of another grid lie from those of this one at most, in pixels of this one.

        Args:
            other: A grid in the same coordinate reference system.
        """
        cols, rows = self.to_pixels(*other.corners)
        own_cols, own_rows = self._corner_pixels
        return float(np.hypot(cols - own_cols, rows - own_rows).max())

    def same_as(self, other: Grid, within: float = SAME_WITHIN) -> bool:
        """Whether another grid has the same pixels at the same places.

        Args:
            other: The other grid.
            within: How far corners may be apart, in pixels.
        """
        if self.shape != other.shape or self.georeferenced != other.georeferenced:
            return False
        return not self.georeferenced or (self.crs == other.crs and self.apart(other) <= within)

    def north_up(self) -> Grid:
        """The smallest grid around this one whose rows run from west to east, with square pixels of the same area."""
        x, y = self.corners
        side = math.sqrt(self.cell_area)
        # Rounding must not add a row or column of nothing.
        width, height = (max(1, math.ceil(float(np.ptp(axis)) / side - 1e-6)) for axis in (x, y))
        return Grid((height, width), self.crs, Affine(side, 0.0, float(x.min()), 0.0, -side, float(y.max())))

    @property
    def proj(self) -> pyproj.CRS | None:
        """The coordinate reference system as pyproj knows it, or None."""
        return None if self.crs is None else pyproj.CRS.from_wkt(self.crs.to_wkt())

    @property
    def unit(self) -> float | None:
        """Metres in a unit of a projection's coordinates; None for degrees, and where no projection makes them."""
        system = self.proj
        return float(system.axis_info[0].unit_conversion_factor) if system is not None and system.is_projected else None

    @property
    def on_earth(self) -> bool:
        """Whether longitude and latitude are known: not for a site's own system, and not on another planet."""
        return _transformer(self.proj, _WGS84) is not None

    def to_longitude_latitude(self, x: Values, y: Values) -> tuple[Values, Values]:
        """WGS 84 longitude and latitude of coordinates, in degrees; NaN where there are none."""
        longitude, latitude = _move(_transformer(self.proj, _WGS84), x, y)
        # Metres that are called degrees.
        nowhere = np.abs(latitude) > _POLE
        longitude[nowhere] = latitude[nowhere] = np.nan
        return longitude, latitude

    def from_longitude_latitude(self, longitude: Values, latitude: Values) -> tuple[Values, Values]:
        """Coordinates of WGS 84 longitudes and latitudes in degrees; NaN where there are none."""
        return _move(_transformer(_WGS84, self.proj), longitude, latitude)

    def from_system(self, crs: str, x: Values, y: Values) -> tuple[Values, Values]:
        """Coordinates in another coordinate reference system as those of the grid; infinite where there are none.

        Args:
            crs: The other system, as WKT or an authority's code.
            x: Coordinates in it.
            y: Likewise.

        Raises:
            ValueError: No way from one system to the other is known.
        """
        own = self.proj
        try:
            # Not every system that is the same in another file is the same text.
            if CRS.from_user_input(crs) == self.crs:
                return x, y
            other = pyproj.CRS.from_user_input(crs)
        except (CRSError, ProjError) as error:
            raise ValueError(
                f"its coordinate reference system cannot be interpreted: {' '.join(str(error).split())}"
            ) from error
        transformer = _transformer(other, own)
        if transformer is None:
            raise ValueError(f"no transformation is known from {other.name} to {'none' if own is None else own.name}")
        moved: tuple[Values, Values] = transformer.transform(x, y)
        return moved

    def to_metres(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Coordinates in metres: a projection's own, else on a plane true to length around the middle of the grid.

        Without a place on Earth, units are kept as they are.
        """
        unit = self.unit
        if unit is not None:
            return x * unit, y * unit
        longitude, latitude = self.to_longitude_latitude(*self.to_map(*self._middle))
        if not np.isfinite([longitude[0], latitude[0]]).all():
            return x, y
        plane = pyproj.CRS(f"+proj=aeqd +lon_0={longitude[0]} +lat_0={latitude[0]} +datum=WGS84")
        return _move(_transformer(self.proj, plane), x, y)

    def pixel_size(self) -> tuple[float, float] | None:
        """Length in metres of the middle pixel along a row and along a column, on the WGS 84 ellipsoid.

        Returns:
            None where the grid has no known place on Earth.
        """
        longitude, latitude = self._middle_pixel()
        if not np.isfinite([longitude, latitude]).all():
            return None
        start = np.zeros(2, dtype=np.intp)
        ends = np.array([1, 3])
        geod = pyproj.Geod(ellps="WGS84")
        _, _, (right, down) = geod.inv(longitude[start], latitude[start], longitude[ends], latitude[ends])
        return float(right), float(down)

    def pixel_area(self) -> float | None:
        """Area of the middle pixel in square metres, on the WGS 84 ellipsoid.

        Returns:
            None where the grid has no known place on Earth.
        """
        longitude, latitude = self._middle_pixel()
        if not np.isfinite([longitude, latitude]).all():
            return None
        return abs(float(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)[0]))

    @property
    def _middle(self) -> tuple[Values, Values]:
        rows, cols = self.shape
        return np.array([cols / 2]), np.array([rows / 2])

    def _middle_pixel(self) -> tuple[Values, Values]:
        """Longitudes and latitudes of its corners, clockwise; NaN where they are not known."""
        (col,), (row,) = self._middle
        ring = self.to_map(np.array([col, col + 1, col + 1, col]), np.array([row, row, row + 1, row + 1]))
        if self.transform is None:
            return np.full(4, np.nan), np.full(4, np.nan)
        return self.to_longitude_latitude(*ring)


def joined(outer: Affine, inner: Affine) -> Affine:
    """The transform that goes through `inner` and then through `outer`."""
    x, y = _apply(outer, inner.c, inner.f)
    return Affine(
        outer.a * inner.a + outer.b * inner.d,
        outer.a * inner.b + outer.b * inner.e,
        x,
        outer.d * inner.a + outer.e * inner.d,
        outer.d * inner.b + outer.e * inner.e,
        y,
    )


def from_centres(x: Values, y: Values, lone: tuple[float, float]) -> Affine:
    """The rectilinear transform whose evenly spaced pixel centres are given.

    Args:
        x: Of the columns.
        y: Of the rows.
        lone: Steps in x and y that cannot be told from a single column or row.
    """
    step_x, step_y = (
        float(axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else step
        for axis, step in zip((x, y), lone, strict=True)
    )
    return Affine(step_x, 0.0, float(x[0]) - step_x / 2, 0.0, step_y, float(y[0]) - step_y / 2)


def turned(x: float, y: float, side: float, degrees: float) -> Affine:
    """The transform of square pixels whose rows are turned anticlockwise from those of a north-up grid.

    Args:
        x: Of the outer corner of the first pixel.
        y: Likewise.
        side: Of a pixel.
        degrees: By how much, in the very sums by which GDAL reads ``rotation`` in an ENVI header.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle) * side, math.sin(angle) * side
    return Affine(cos, sin, x, sin, -cos, y)


def _apply(transform: Affine, x: Number, y: Number) -> tuple[Number, Number]:
    # Written out, because affine 3 wants @ for it, and affine 2 knows only *.
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def _transformer(source: pyproj.CRS | None, target: pyproj.CRS | None) -> pyproj.Transformer | None:
    """From one coordinate reference system to another, x before y; None where no way is known."""
    if source is None or target is None:
        return None
    try:
        return pyproj.Transformer.from_crs(source, target, always_xy=True)
    except ProjError:
        # A site's own system lies nowhere on Earth, and neither does a crater of the Moon.
        return None


def _move(transformer: pyproj.Transformer | None, x: Values, y: Values) -> tuple[Values, Values]:
    if transformer is None:
        return np.full(np.shape(x), np.nan), np.full(np.shape(y), np.nan)
    moved = np.stack([np.asarray(axis, dtype=np.float64) for axis in transformer.transform(x, y)])
    moved[:, ~np.isfinite(moved).all(axis=0)] = np.nan
    return moved[0], moved[1]
