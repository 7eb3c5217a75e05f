"""Uncompressed float32 GeoTIFFs of one band, whose pixels are written and read past GDAL.

GDAL's cache can lose rows to a disk that is full for a while, and not say so; a plain write says so at once. GDAL makes
the file and fills it with nodata, so the disk is taken before hours are spent on scores.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

#: Bytes of a strip where a raster is read from top to bottom.
STRIP_BYTES = 2**24

_ITEM_BYTES = 4

#: Chooses one of two values, elementwise, and leaves NaN aside: `numpy.fmax` or `numpy.fmin`.
Pick = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def create_rawtiff(
    path: Path, shape: tuple[int, int], *, description: str = "", tags: Mapping[str, str] | None = None, **place: Any
) -> None:
    """Make a raster that holds nodata alone.

    Args:
        path: The file.
        shape: Rows and columns.
        description: What the band holds.
        tags: Dataset tags.
        place: `crs` and `transform`, as rasterio takes them.
    """
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "float32"}
    layout = {"nodata": np.nan, "blockysize": 1, "bigtiff": "if_safer"}
    # GDAL would look into what stands there, and remove all that it names.
    path.unlink(missing_ok=True)
    with rasterio.Env(), rasterio.open(path, "w", **profile, **layout, **place) as dataset:
        dataset.set_band_description(1, description)
        dataset.update_tags(**(tags or {}))


class RawTiff:
    """A raster of `create_rawtiff`, open for reading and writing.

    Args:
        path: The file.

    Attributes:
        path: The file.
        shape: Rows and columns.

    Raises:
        OSError: Its pixels do not all stand there: the disk was full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with rasterio.open(path, driver="GTiff") as dataset:
            self.shape: tuple[int, int] = dataset.shape
            first, last = (
                int(dataset.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1) or 0)
                for row in (0, dataset.height - 1)
            )
        line = self.shape[1] * _ITEM_BYTES
        if not first or last != first + (self.shape[0] - 1) * line or path.stat().st_size < last + line:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self._start = first
        self._file = path.open("r+b")

    @property
    def strip_rows(self) -> int:
        """Rows of a strip of about `STRIP_BYTES`, an even number."""
        return max(2, STRIP_BYTES // (self.shape[1] * _ITEM_BYTES) // 2 * 2)

    def write(self, row: int, col: int, values: npt.NDArray[np.float32]) -> None:
        """Write a rectangle (y, x) whose first pixel has this row and column."""
        for line, samples in enumerate(np.ascontiguousarray(values, dtype=np.float32), start=row):
            self._seek(line, col)
            self._file.write(samples.data)
        self._file.flush()

    def read(self, rows: slice, cols: slice | None = None) -> npt.NDArray[np.float32]:
        """Read a rectangle (y, x); whole rows by default."""
        across = cols or slice(0, self.shape[1])
        values = np.empty((rows.stop - rows.start, across.stop - across.start), dtype=np.float32)
        for line, samples in enumerate(values, start=rows.start):
            self._seek(line, across.start)
            if self._file.readinto(samples.data.cast("B")) != samples.nbytes:
                raise OSError(errno.EIO, "cut short", str(self.path))
        return values

    def head(self) -> str:
        """The SHA-256, as hexadecimal digits, of all that stands in the file besides pixels: their kind and place."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            digest.update(file.read(self._start))
            file.seek(self._start + self.shape[0] * self.shape[1] * _ITEM_BYTES)
            while more := file.read(STRIP_BYTES):
                digest.update(more)
        return digest.hexdigest()

    def _seek(self, row: int, col: int) -> None:
        self._file.seek(self._start + (row * self.shape[1] + col) * _ITEM_BYTES)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def halve(finer: RawTiff, path: Path, pick: Pick) -> RawTiff:
    """Write a raster of half the resolution, strip by strip: each pixel is the pick of the 2 x 2 that it covers.

    Args:
        finer: The raster to reduce.
        path: The file to write.
        pick: `numpy.fmax` or `numpy.fmin`.
    """
    rows, cols = finer.shape
    create_rawtiff(path, ((rows + 1) // 2, (cols + 1) // 2))
    coarser = RawTiff(path)
    try:
        for row in range(0, rows, finer.strip_rows):
            values = finer.read(slice(row, min(row + finer.strip_rows, rows)))
            coarser.write(row // 2, 0, pool(values, pick))
    except BaseException:
        coarser.close()
        raise
    return coarser


def pool(values: npt.NDArray[np.float32], pick: Pick) -> npt.NDArray[np.float32]:
    """The pick of each 2 x 2 pixels, (y, x); NaN only where all of them are. Odd edges stand for what they cover."""
    rows, cols = values.shape
    even = np.pad(values, ((0, rows % 2), (0, cols % 2)), constant_values=np.nan)
    tall = pick(even[::2], even[1::2])
    return pick(tall[:, ::2], tall[:, 1::2])
