"""Geographic lookup tables: which pixel of a flight line, as the sensor saw it, belongs to each pixel of a map.

A table of ENVI's kind (GLT) has two integer bands on the map's grid: the sample (column) and the line (row) of the raw
image, both from 1. The sign tells how the pixel was found: positive where the sensor looked, negative where the map has
a gap that the nearest measured pixel fills; 0 where there is nothing. Either way the value names the pixel. Its map
info, rotation included, is the map's.

- AVIRIS: ``*.glt``, AVIRIS Distribution Document 030217 (the ``*_geo.readme`` of each flight).
- AVIRIS-NG: ``*_ort_glt``, ``*_rdn_*_glt``, AVIRIS-NG Distribution Document (the README of each flight line).
- ENVI: Build GLT, https://www.nv5geospatialsoftware.com/docs/GeoreferenceFromInputGeometry.html.
- EMIT has the two bands as arrays of its own file, ``location/glt_x`` and ``glt_y``: `hadgeo.formats.products.emit`.

A flight line with coordinates for each of its pixels instead (IGM) gets its table from `hadgeo.formats.igm`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeNotFoundError, GeometryError
from hadgeo.formats.envi import ENVI
from hadgeo.formats.gdal import is_no_path
from hadgeo.formats.products.emit import EmitSource
from hadgeo.formats.products.emit import LookupTable as EmitTable
from hadgeo.formats.raster import GDAL
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import DerivedSource, Source
from hadgeo.grid import Grid

Integers = npt.NDArray[np.intp]

#: Pixels of a table that are looked up at a time.
STRIP_PIXELS = 2**20

#: What stands for parts of a scene's name in that of its geometry; see `beside`.
PLACEHOLDERS = ("{stem}", "{flight}")

#: What some programs write where there is nothing, without saying so.
_FILL = -9999

#: The share of a line's rows or columns that a table of its own may leave out.
_MOST_LEFT_OUT = 0.1

#: Bytes of decoded chunks of an array that may be kept.
_CACHE = 2**22


class Glt(ABC):
    """A lookup table, read strip by strip.

    Attributes:
        path: The file, for people.
        grid: The pixels of the map, and where they lie.
        files: What it is read from.
    """

    path: str
    grid: Grid
    files: tuple[Path, ...]

    @abstractmethod
    def read(self, rows: slice) -> tuple[Integers, Integers]:
        """Look some rows of the map up.

        Args:
            rows: From where to where, step 1.

        Returns:
            Row and column in the sensor's geometry, from 0, each (y, x); both -1 where there is nothing.

        Raises:
            ReadError: The file is damaged.
            GeometryError: It holds no numbers of pixels.
        """

    def strips(self) -> Iterator[slice]:
        """Rows of the map from top to bottom, so many at a time that looking them up takes little memory."""
        rows, cols = self.grid.shape
        step = max(1, STRIP_PIXELS // cols)
        for row in range(0, rows, step):
            yield slice(row, min(row + step, rows))

    def find(self, rows: Integers, cols: Integers) -> tuple[Integers, Integers]:
        """Look some pixels of the map up.

        Args:
            rows: Row of each.
            cols: Column of each.

        Returns:
            As for `read`, one a pixel.
        """
        found = np.full((2, len(rows)), -1, dtype=np.intp)
        for strip in self.strips():
            here = np.flatnonzero((rows >= strip.start) & (rows < strip.stop))
            if here.size:
                for own, table in zip(found, self.read(strip), strict=True):
                    own[here] = table[rows[here] - strip.start, cols[here]]
        return found[0], found[1]


class FileGlt(Glt):
    """A table in two bands of a raster.

    Args:
        source: The raster.

    Raises:
        GeometryError: It has other than two bands, or no place.
    """

    def __init__(self, source: Source) -> None:
        self.path, self.files, self.grid = source.path, source.files, source.metadata.grid
        self._source = source
        if source.shape[0] != 2:
            raise GeometryError(
                f"{self.path}: {source.shape[0]} bands, and a lookup table (GLT) has two, sample and line; "
                "coordinates of pixels are an IGM: --igm"
            )
        if not self.grid.georeferenced:
            raise GeometryError(f"{self.path}: no map info, so its map lies nowhere; is it a lookup table (GLT)?")

    def read(self, rows: slice) -> tuple[Integers, Integers]:
        """Look some rows of the map up; see `Glt.read`."""
        sample, line = self._source.read(rows, slice(0, self.grid.shape[1]))
        return _indices(sample, line, self.path)


class EmitGlt(Glt):
    """The table in a file of EMIT.

    Args:
        source: A cube of EMIT.
        table: Its table.
    """

    def __init__(self, source: EmitSource, table: EmitTable) -> None:
        self.path, self.files, self.grid = f"{source.path} (location/glt_x and glt_y)", source.files, table.grid
        self._x, self._y = table.x, table.y

    def read(self, rows: slice) -> tuple[Integers, Integers]:
        """Look some rows of the map up; see `Glt.read`."""
        sample, line = (np.asarray(array.open(_CACHE)[rows, slice(None)]) for array in (self._x, self._y))
        return _indices(sample, line, self.path)


def open_glt(path: str | os.PathLike[str]) -> Glt:
    """Open a lookup table.

    Args:
        path: ENVI (the data or its header), or a GeoTIFF of two bands.

    Returns:
        The table, of which nothing but its size is read yet.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster.
        GeometryError: It has other than two bands, or no place.
    """
    return FileGlt(open_geometry(path))


def open_geometry(path: str | os.PathLike[str]) -> Source:
    """Open a raster of geometry with its values as they are, none of them taken for undeclared fill.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster.
    """
    name = os.fspath(path)
    if not is_no_path(name) and not Path(name).is_file():
        raise CubeNotFoundError(f"{name}: no such file; check the path")
    return (ENVI if ENVI.claims(name) else GDAL).open(name, Reading())


def beside(pattern: str, scene: str) -> str:
    """The name of a scene's file of geometry.

    Args:
        pattern: A name. Where it holds ``{stem}``, the scene's name without suffix, or ``{flight}``, what stands before
            its first ``_``, it is relative to the scene's folder.
        scene: The scene's file.
    """
    stem = Path(scene).stem
    name = pattern
    for placeholder, value in zip(PLACEHOLDERS, (stem, stem.partition("_")[0]), strict=True):
        name = name.replace(placeholder, value)
    return name if name == pattern else str(Path(scene).parent / name)


def own_glt(source: Source) -> Glt | None:
    """The table that a product brings along for its own cube, or None.

    Args:
        source: The cube, whatever has been laid over it. A part of one has none: its rows are not those of the table.
    """
    inner = source
    while isinstance(inner, DerivedSource):
        inner = inner.source
    if not isinstance(inner, EmitSource) or inner.glt is None or inner.shape[1:] != source.shape[1:]:
        return None
    return EmitGlt(inner, inner.glt)


def check_glt(glt: Glt, source: Source) -> None:
    """Check that a table is of a flight line, by reading all of it once.

    Raises:
        GeometryError: It leads beyond the line, to a small part of it only, or nowhere, or the line is on its map's
            grid already.
        ReadError: It is damaged.
    """
    place = source.metadata.grid
    if place.georeferenced and place.same_as(glt.grid):
        raise GeometryError(
            f"{source.path}: on the map's grid of {glt.path} already, not in the sensor's geometry; leave the table out"
        )
    first, last = _reach(glt)
    for axis, name, length in ((0, "lines", source.shape[1]), (1, "samples", source.shape[2])):
        low, high = int(first[axis]), int(last[axis])
        told = f"{glt.path}: leads to {name} {low + 1} to {high + 1}, and {source.path} has {length}"
        if high >= length:
            raise GeometryError(f"{told}; it is of another flight line: give the line's own")
        if not isinstance(glt, EmitGlt) and high + 1 - low < (1 - _MOST_LEFT_OUT) * length:
            raise GeometryError(f"{told}; it is of another flight line, or of a part of this one: give the line's own")


def _reach(glt: Glt) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and last row and column to which a table leads."""
    first, last = np.full(2, np.iinfo(np.intp).max), np.full(2, -1)
    for strip in glt.strips():
        rows, cols = glt.read(strip)
        there = rows >= 0
        if there.any():
            found = np.stack([rows[there], cols[there]])
            first, last = np.minimum(first, found.min(axis=1)), np.maximum(last, found.max(axis=1))
    if last[0] < 0:
        raise GeometryError(f"{glt.path}: 0 everywhere, so it leads to no pixel; is it a lookup table (GLT)?")
    return first, last


def _indices(sample: npt.NDArray[Any], line: npt.NDArray[Any], path: str) -> tuple[Integers, Integers]:
    """Row and column from 0 of what a table holds, -1 where that is nothing."""
    nothing = ~np.isfinite(sample) | ~np.isfinite(line) | (sample == 0) | (line == 0)
    nothing |= (sample == _FILL) & (line == _FILL)
    found = []
    for values in (line, sample):
        numbers = np.where(nothing, 0, values)
        whole = np.abs(numbers).astype(np.intp)
        if (whole != np.abs(numbers)).any():
            raise GeometryError(
                f"{path}: {numbers[whole != np.abs(numbers)][0]:g} is no number of a pixel; is it a lookup table "
                "(GLT)? Coordinates of pixels are an IGM: --igm"
            )
        found.append(whole - 1)
    return found[0], found[1]
