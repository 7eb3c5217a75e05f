"""A score map of a rotated scene, warped to a grid whose rows run from west to east.

Scores are warped, never the cube: a detector sees the spectra that the sensor measured.
"""

from __future__ import annotations

import math

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from hadgeo.formats.gdal import streaming
from hadgeo.maps.raw_tiff import RawTiff


def north_up_grid(shape: tuple[int, int], transform: Affine) -> tuple[tuple[int, int], Affine]:
    """The smallest north-up grid around a rotated one, with square pixels of the same area.

    Args:
        shape: Rows and columns.
        transform: Full affine.

    Returns:
        Rows and columns of the new grid, and its affine.
    """
    rows, cols = shape
    corners = [
        (transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f)
        for x, y in ((0, 0), (cols, 0), (0, rows), (cols, rows))
    ]
    west, north = min(x for x, _ in corners), max(y for _, y in corners)
    side = math.sqrt(abs(transform.a * transform.e - transform.b * transform.d))
    # Rounding must not add a row or column of nothing.
    width, height = (max(1, math.ceil((max(axis) - min(axis)) / side - 1e-6)) for axis in zip(*corners, strict=True))
    return (height, width), Affine(side, 0.0, west, 0.0, -side, north)


def warp_north_up(raster: RawTiff, transform: Affine, crs: CRS | None, north_up: RawTiff, grid: Affine) -> None:
    """Warp scores strip by strip: each new pixel is the highest of the old ones that it touches, so none is lost.

    Nearest-neighbour sampling would drop up to a sixth of the pixels, a lone hot one among them.

    Args:
        raster: Scores on the rotated grid.
        transform: Its affine.
        crs: The coordinate reference system of both.
        north_up: Where to; filled with nodata.
        grid: Its affine.
    """
    rows, cols = north_up.shape
    # Both sides have the same system, so any will do where none is known.
    system = crs or CRS.from_epsg(3857)
    with streaming(), rasterio.open(raster.path) as source:
        for row in range(0, rows, north_up.strip_rows):
            strip = np.full((min(north_up.strip_rows, rows - row), cols), np.nan, dtype=np.float32)
            reproject(
                rasterio.band(source, 1),
                strip,
                src_transform=transform,
                src_crs=system,
                src_nodata=np.nan,
                dst_transform=Affine(grid.a, 0.0, grid.c, 0.0, grid.e, grid.f + row * grid.e),
                dst_crs=system,
                dst_nodata=np.nan,
                resampling=Resampling.max,
            )
            north_up.write(row, 0, strip)
