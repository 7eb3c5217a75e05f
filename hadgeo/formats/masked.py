"""A cube of which a mask from elsewhere leaves some pixels: all others are nodata, neither learned from nor scored."""

from __future__ import annotations

import os
from pathlib import Path

from hadgeo.errors import MaskError
from hadgeo.formats.overlay import YES, Purpose, files_of, read_overlay
from hadgeo.formats.selected import PixelBits, Selected
from hadgeo.formats.source import Source

_MASK = Purpose("mask", "scene", MaskError, touched=False, areas=True, opaque=True)


class Masked(Selected):
    """The samples of another source where a mask says that there is data; see `masked`.

    Attributes:
        mask: The mask's file.
        left: Pixels that it leaves, whether the scene has data there or not.
    """

    def __init__(self, source: Source, path: str | os.PathLike[str]) -> None:
        grid = source.metadata.grid
        chosen = PixelBits(source.shape[1:])
        for rows, classes in read_overlay(Path(path), grid, source.path, _MASK):
            chosen.put(rows, slice(0, grid.shape[1]), classes == YES)
        super().__init__(source, chosen)
        # Absolute, because a run may be gone on with from another folder.
        self.mask = Path(path).absolute()
        self.left = chosen.count
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
