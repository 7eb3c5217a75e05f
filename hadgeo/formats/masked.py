"""A cube of which a mask from elsewhere leaves some pixels: all others are nodata, neither learned from nor scored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import MaskError
from hadgeo.formats.overlay import YES, Purpose, files_of, read_overlay
from hadgeo.formats.source import DerivedSource, Source

_MASK = Purpose("mask", "scene", MaskError, touched=False, areas=True, opaque=True)


class Masked(DerivedSource):
    """The samples of another source where a mask says that there is data; see `masked`.

    Attributes:
        mask: The mask's file.
        left: Pixels that it leaves, whether the scene has data there or not.
    """

    def __init__(self, source: Source, path: str | os.PathLike[str]) -> None:
        self.source = source
        self.path, self.shape, self.dtype, self.block = source.path, source.shape, source.dtype, source.block
        self.metadata = source.metadata
        # Absolute, because a run may be gone on with from another folder.
        self.mask = Path(path).absolute()
        # A bit a pixel: a flight line of 40 million takes 5 MB, on its way to a worker too.
        self._bits = np.empty((self.shape[1], -(-self.shape[2] // 8)), dtype=np.uint8)
        self.left = 0
        for rows, classes in read_overlay(Path(path), self.metadata.grid, self.path, _MASK):
            keep = classes == YES
            self._bits[rows] = np.packbits(keep, axis=1)
            self.left += int(keep.sum())
        self._mask_files = files_of(self.mask)
        if not self.left:
            raise MaskError(
                f"{path}: the mask leaves no pixel of {self.path}; pixels to keep must be nonzero in a raster, or "
                "inside the polygons"
            )

    def __str__(self) -> str:
        rows, cols = self.shape[1:]
        return f"{self.mask} leaves {self.left:,} of {rows * cols:,} pixels of {self.path}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the scene and of the mask; see `Source.files`."""
        return (*super().files, *self._mask_files)

    @property
    def variant(self) -> str:
        """With which mask; see `Source.variant`."""
        return f"{super().variant} mask {self.mask}".strip()

    def keeps(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """Which pixels of a window the mask leaves.

        Args:
            rows: Rows, as for `Source.read`.
            cols: Columns, likewise.

        Returns:
            Bool (y, x).
        """
        first = cols.start // 8
        bits = np.unpackbits(self._bits[rows, first : -(-cols.stop // 8)], axis=1)
        return bits[:, cols.start - 8 * first : cols.stop - 8 * first].astype(bool)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, unless the mask leaves nothing of it; see `Source.read`."""
        keep = self.keeps(rows, cols)
        if not keep.any():
            return np.full((np.arange(self.shape[0])[bands].size, *keep.shape), np.nan, dtype=self.dtype)
        out = self.source.read(rows, cols, bands)
        if not keep.all():
            out[:, ~keep] = np.nan
        return out


def masked(source: Source, path: str | os.PathLike[str]) -> Masked:
    """Leave of a cube what a mask says is data.

    In a raster (whatever GDAL reads, or a MATLAB file as `hadgeo.formats.matlab.read_truth` knows it) 0 and nodata are
    not data, and neither is what lies outside; it is brought onto the scene's grid by nearest neighbour, or taken pixel
    by pixel if one of both has no georeference and their shapes are equal. Of polygons, pixels whose middle lies inside
    of one are data: what is half outside is left out, unlike in truths, which mark every pixel that they touch.

    Args:
        source: The cube.
        path: The mask: a raster, or polygons in GeoPackage, GeoJSON, shapefile, FlatGeobuf, KML or GML.

    Raises:
        CubeNotFoundError: There is no such mask.
        MaskError: It cannot be read or brought onto the scene's grid, or leaves no pixel.
        ReadError: It is damaged.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    return Masked(source, path)
