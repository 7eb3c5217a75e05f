"""A rectangle of a cube, as a cube of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError
from hadgeo.formats.source import DerivedSource, Source
from hadgeo.formats.stored import Stored


class Cropped(DerivedSource):
    """Some of the rows and columns of another source.

    Args:
        source: The cube.
        rows: The rows to keep, inside the cube, step 1.
        cols: The columns, likewise.
    """

    def __init__(self, source: Source, rows: slice, cols: slice) -> None:
        self.source, self._rows, self._cols = source, rows, cols
        self.path, self.dtype, self.block = source.path, source.dtype, source.block
        self.shape = (source.shape[0], rows.stop - rows.start, cols.stop - cols.start)
        grid = source.metadata.grid
        # Without a transform, a part lies where a GIS draws it in the scene, and no system holds for rows and columns.
        placed = grid if grid.georeferenced else replace(grid, crs=None, transform=grid.affine)
        self.metadata = replace(source.metadata, grid=placed.window(rows, cols))

    @property
    def variant(self) -> str:
        """Which part of the file it is; see `Source.variant`."""
        rows, cols = self._rows, self._cols
        return f"{super().variant} rows {rows.start}:{rows.stop}, columns {cols.start}:{cols.stop}".strip()

    def keeps(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """As of the other source in the rectangle; see `Source.keeps`."""
        return self.source.keeps(_shifted(rows, self._rows.start), _shifted(cols, self._cols.start))

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window of the rectangle; see `Source.read`."""
        return self.source.read(_shifted(rows, self._rows.start), _shifted(cols, self._cols.start), bands)

    def read_stored(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)) -> Stored | None:
        """As of the other source in the rectangle; see `Source.read_stored`."""
        return self.source.read_stored(_shifted(rows, self._rows.start), _shifted(cols, self._cols.start), bands)


def crop(source: Source, extent: Sequence[float]) -> Cropped:
    """The part of a cube within an extent: the smallest rectangle of its pixels that holds all of it.

    Args:
        source: The cube.
        extent: xmin, ymin, xmax, ymax in the cube's coordinate reference system; on a rotated grid the part reaches
            beyond it. Where the cube has no transform, columns and rows, the rows counted down from 0, or below 0 with
            a minus as a GIS draws such a raster.

    Raises:
        CubeError: The extent is empty, or wholly outside.
    """
    xmin, ymin, xmax, ymax = extent
    told = ", ".join(f"{value:.10g}" for value in extent)
    if not (xmin < xmax and ymin < ymax):
        raise CubeError(f"{source.path}: the extent {told} is empty; give xmin, ymin, xmax, ymax in that order")
    if not source.metadata.georeferenced and ymin < 0 < ymax:
        raise CubeError(
            f"{source.path}: the extent {told} has rows on both sides of 0, and the scene has no transform; give "
            "rows from 0 down, or all with a minus, as a GIS draws them"
        )
    corners = source.metadata.grid.to_pixels(np.array([xmin, xmin, xmax, xmax]), np.array([ymin, ymax, ymin, ymax]))
    cols, rows = (_within(values, length) for values, length in zip(corners, source.shape[:0:-1], strict=True))
    if rows is None or cols is None:
        raise CubeError(f"{source.path}: the extent {told} lies outside the scene")
    return Cropped(source, rows, cols)


def _within(values: npt.NDArray[np.float64], length: int) -> slice | None:
    """The pixels of an axis between the least and the largest of some places, or None where there are none."""
    # A pixel that is only touched, within rounding, is not part of it.
    start = max(math.floor(float(values.min()) + 1e-6), 0)
    stop = min(math.ceil(float(values.max()) - 1e-6), length)
    return slice(start, stop) if start < stop else None


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start + start, part.stop + start)
