"""Input geometry files (IGM): coordinates for each pixel of a flight line, of which a lookup table is made.

An IGM has the samples and lines of the raw image, and two or three bands: easting and northing (or longitude and
latitude) of the middle of each pixel, then its elevation. It seldom says in which coordinate system; the lookup table
that is delivered with it does. AVIRIS Distribution Document 030217 (``*.igm``), AVIRIS-NG Distribution Document
(``*_ort_igm``), ENVI:
Georeference from Input Geometry,
https://www.nv5geospatialsoftware.com/docs/GeoreferenceFromInputGeometry.html.

The map is north-up. Each of its pixels takes the nearest measured one, unless that is farther away than the line's
usual spacing along or across, whichever is larger: a gap of one pixel is filled, a wider one stays empty. What is
nearest to a measured pixel is a square of its spacing d, turned with the line by an angle t against north. That holds
an upright square of d / (cos t + sin t), and with pixels of that size, at most 1.4 times smaller than d, the middle of
one of the map's: no measured pixel of a steady line is lost. With pixels of size d, up to a sixth would be. ENVI keeps
the spacing in Build GLT and turns the map instead.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import CubeError, CubeWarning, GeometryError
from hadgeo.formats.glt import Glt, Integers, open_geometry, open_glt, own_glt
from hadgeo.formats.source import Source
from hadgeo.grid import Grid

Coordinates = npt.NDArray[np.float64]

#: Pixels of an IGM that are read at a time, and of the map that are looked up at a time.
_CHUNK_PIXELS, _STRIP_PIXELS = 2**18, 2**19

#: What stands for no coordinate where nothing is declared.
_FILL = -9999.0

#: A map that has more pixels for each of the line's than this lies around coordinates that are none.
_MOST_EMPTY = 200

#: How far the nearest measured pixel may be, in usual spacings: one that is missing is filled, two are not.
_REACH = 1.1

_XY = np.array([0, 1])


@dataclass(frozen=True)
class _Survey:
    """What a look at all coordinates tells.

    Attributes:
        low: Smallest x and y.
        high: Largest x and y.
        top: Largest y of each line, minus infinity where it has no coordinates.
        bottom: Smallest y of each line, infinity where it has none.
        spacing: Usual distances of neighbours across and along the line, in units of y.
        oblate: Length of a unit of x in units of y.
        turned: Sum of the cosine and the sine by which the line is turned against the map's axes: 1 where it runs along
            one of them, the root of 2 halfway between.
    """

    low: Coordinates
    high: Coordinates
    top: Coordinates
    bottom: Coordinates
    spacing: tuple[float, float]
    oblate: float
    turned: float


class IgmGlt(Glt):
    """A lookup table made of coordinates; nothing of it is kept in memory but the reach of each line.

    Args:
        source: The coordinates.
        crs: Their coordinate reference system, or None.

    Raises:
        GeometryError: They are no coordinates of a flight line.
        ReadError: The file is damaged.
    """

    def __init__(self, source: Source, crs: CRS | None) -> None:
        self.path, self.files, self._source = source.path, source.files, source
        survey = _look(source, degrees=crs is not None and crs.is_geographic)
        side = min(survey.spacing) / survey.turned
        self._limit = _REACH * max(survey.spacing) / side
        size = np.array([side / survey.oblate, side])
        spread = (survey.high - survey.low) / size
        if spread.prod() > _MOST_EMPTY * source.shape[1] * source.shape[2]:
            raise GeometryError(
                f"{self.path}: coordinates from {survey.low[0]:.10g}, {survey.low[1]:.10g} to {survey.high[0]:.10g}, "
                f"{survey.high[1]:.10g}, and pixels {side:.4g} apart: some are no coordinates; declare them as data "
                "ignore value in its header"
            )
        # No measured pixel lies farther outside than half of the map's.
        cols, rows = (int(length + 0.5) + 1 for length in spread)
        left, top = survey.low[0] - size[0] / 2, survey.high[1] + size[1] / 2
        self.grid = Grid((rows, cols), crs, Affine(size[0], 0.0, left, 0.0, -size[1], top))
        # In rows of the map.
        self._first, self._last = (top - survey.top) / size[1], (top - survey.bottom) / size[1]

    def strips(self) -> Iterator[slice]:
        """Lower strips than of other tables, since a tree of coordinates is made for each; see `Glt.strips`."""
        rows, cols = self.grid.shape
        step = max(1, _STRIP_PIXELS // cols)
        for row in range(0, rows, step):
            yield slice(row, min(row + step, rows))

    def read(self, rows: slice) -> tuple[Integers, Integers]:
        """Find the nearest measured pixel of each of the map's; see `Glt.read`."""
        from scipy.spatial import cKDTree

        shape = (rows.stop - rows.start, self.grid.shape[1])
        places, sensor_rows, sensor_cols = self._near(rows)
        found = np.full((2, *shape), -1, dtype=np.intp)
        if len(places):
            down, right = np.indices(shape, dtype=np.float64).reshape(2, -1) + 0.5
            wanted = np.column_stack([right, down + rows.start])
            _, nearest = cKDTree(places).query(wanted, distance_upper_bound=self._limit)
            there = np.flatnonzero(nearest < len(places))
            for own, numbers in zip(found.reshape(2, -1), (sensor_rows, sensor_cols), strict=True):
                own[there] = numbers[nearest[there]]
        return found[0], found[1]

    def _near(self, rows: slice) -> tuple[Coordinates, Integers, Integers]:
        """Measured pixels that can be the nearest of some in these rows: columns and rows on the map, and numbers."""
        low, high = rows.start - self._limit, rows.stop + self._limit
        wanted = np.flatnonzero((self._first <= high) & (self._last >= low))
        near: list[tuple[Coordinates, Integers, Integers]] = [
            (np.empty((0, 2)), np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))
        ]
        for chunk in _chunks(self._source):
            own = wanted[np.searchsorted(wanted, chunk.start) : np.searchsorted(wanted, chunk.stop)]
            if not own.size:
                continue
            lines = slice(int(own[0]), int(own[-1]) + 1)
            cols, down = self.grid.to_pixels(*_coordinates(self._source, lines))
            with np.errstate(invalid="ignore"):
                row, col = np.nonzero((down >= low) & (down <= high))
            near.append((np.column_stack([cols[row, col], down[row, col]]), row + lines.start, col))
        places, sensor_rows, sensor_cols = (np.concatenate(parts) for parts in zip(*near, strict=True))
        return places, sensor_rows, sensor_cols


def open_geometry_of(
    source: Source, glt: str | os.PathLike[str] | None = None, igm: str | os.PathLike[str] | None = None
) -> Glt | None:
    """What leads from a cube to a map: the table or the coordinates that are named, else the product's own, if any.

    Args:
        source: The cube.
        glt: Its lookup table; see `open_glt`.
        igm: Its coordinates; see `open_igm`.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster.
        GeometryError: It cannot be used.
    """
    if glt is not None:
        return open_glt(glt)
    return own_glt(source) if igm is None else open_igm(igm)


def open_igm(path: str | os.PathLike[str]) -> Glt:
    """Make a lookup table of the coordinates of a flight line's pixels.

    Their coordinate system is that of the file's own header, else that of the lookup table beside it (``glt`` for
    ``igm`` in its name), else WGS 84 where they can be longitudes and latitudes, which is warned of, else none.

    Args:
        path: ENVI (the data or its header) or a GeoTIFF, with two or three bands.

    Returns:
        The table, which is made strip by strip as it is used.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster.
        GeometryError: It has other bands, or they are no coordinates of a flight line.
        ReadError: It is damaged.
    """
    source = open_geometry(path)
    if source.shape[0] not in (2, 3):
        raise GeometryError(
            f"{source.path}: {source.shape[0]} bands, and coordinates (IGM) are two or three: x, y and elevation"
        )
    if source.metadata.stored_dtype.kind != "f":
        raise GeometryError(
            f"{source.path}: whole numbers ({source.metadata.stored_dtype.name}), and coordinates (IGM) are "
            "floating-point; is it a lookup table? --glt"
        )
    if min(source.shape[1:]) < 2:
        raise GeometryError(f"{source.path}: a single line or column of coordinates shows no spacing of pixels")
    return IgmGlt(source, source.metadata.crs or _crs_beside(Path(source.path)) or _guessed(source))


def _crs_beside(path: Path) -> CRS | None:
    """The coordinate system of the lookup table that was delivered with an IGM."""
    renamed = re.sub(r"igm(?!.*igm)", "glt", path.name, flags=re.IGNORECASE)
    for name in (renamed, renamed.replace("glt", "GLT")):
        beside = path.with_name(name)
        if name != path.name and beside.is_file():
            try:
                return open_geometry(beside).metadata.crs
            except CubeError:
                continue
    return None


def _guessed(source: Source) -> CRS | None:
    x, y = _coordinates(source, next(_chunks(source)))
    if (np.abs(x[np.isfinite(x)]) <= 360).all() and (np.abs(y[np.isfinite(y)]) <= 90).all():
        told, crs = "taken for longitudes and latitudes (WGS 84)", CRS.from_epsg(4326)
    else:
        told, crs = "so the map has none; write it into the header as coordinate system string", None
    warnings.warn(f"{source.path}: its coordinate system is not said, {told}", CubeWarning, stacklevel=3)
    return crs


def _chunks(source: Source) -> Iterator[slice]:
    rows, cols = source.shape[1:]
    # Two lines at least, so that each chunk shows how far apart they are.
    step = max(2, _CHUNK_PIXELS // cols)
    for row in range(0, rows, step):
        yield slice(row, min(row + step, rows))


def _coordinates(source: Source, rows: slice) -> tuple[Coordinates, Coordinates]:
    """Easting and northing (line, sample), NaN where there are none."""
    both = source.read(rows, slice(0, source.shape[2]), _XY).astype(np.float64)
    none = ~np.isfinite(both).all(axis=0) | (both == 0).all(axis=0) | (both == _FILL).all(axis=0)
    both[:, none] = np.nan
    return both[0], both[1]


def _look(source: Source, *, degrees: bool) -> _Survey:
    low, high = np.full(2, math.inf), np.full(2, -math.inf)
    top, bottom = np.full(source.shape[1], -math.inf), np.full(source.shape[1], math.inf)
    across, along, weights, turned = [], [], [], []
    for rows in _chunks(source):
        x, y = _coordinates(source, rows)
        if np.isnan(x).all():
            continue
        both = np.stack([x, y])
        low = np.fmin(low, np.nanmin(both, axis=(1, 2)))
        high = np.fmax(high, np.nanmax(both, axis=(1, 2)))
        top[rows] = np.fmax.reduce(y, axis=1, initial=-math.inf)
        bottom[rows] = np.fmin.reduce(y, axis=1, initial=math.inf)
        weights.append(_length(degrees=degrees, at=float(np.nanmean(y))))
        steps = np.diff(both, axis=2)
        across.append(_usual(steps, weights[-1]))
        turned.append(_turned(steps, weights[-1]))
        along.append(_usual(np.diff(both, axis=1), weights[-1]))
    spacing = (_median(across), _median(along))
    if not min(spacing) > 0:
        raise GeometryError(f"{source.path}: no coordinates of pixels side by side; is it an IGM?")
    return _Survey(low, high, top, bottom, spacing, _median(weights), _median(turned))


def _length(*, degrees: bool, at: float) -> float:
    """How long a unit of x is in units of y: a degree of longitude is shorter than one of latitude."""
    return max(math.cos(math.radians(at)), 0.01) if degrees else 1.0


def _usual(steps: Coordinates, oblate: float) -> float:
    distances = np.hypot(steps[0] * oblate, steps[1])
    known = distances[np.isfinite(distances)]
    return float(np.median(known)) if known.size else math.nan


def _turned(steps: Coordinates, oblate: float) -> float:
    """The usual sum of cosine and sine of the direction of steps."""
    x, y = np.abs(steps[0] * oblate), np.abs(steps[1])
    with np.errstate(invalid="ignore"):
        sums = (x + y) / np.hypot(x, y)
    known = sums[np.isfinite(sums)]
    return float(np.median(known)) if known.size else math.nan


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan
