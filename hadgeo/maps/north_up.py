"""A score map of a rotated scene, warped to a grid whose rows run from west to east.

Scores are warped, never the cube: a detector sees the spectra that the sensor measured.
"""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from hadgeo.formats.gdal import streaming
from hadgeo.grid import Grid
from hadgeo.maps.raw_tiff import RawTiff


def warp_north_up(raster: RawTiff, grid: Grid, north_up: RawTiff) -> None:
    """Warp scores strip by strip: each new pixel is the highest of the old ones that it touches, so none is lost.

    Nearest-neighbour sampling would drop up to a sixth of the pixels, a lone hot one among them.

    Args:
        raster: Scores on the rotated grid.
        grid: That grid.
        north_up: Where to, on `Grid.north_up`; filled with nodata.
    """
    rows, cols = north_up.shape
    target = grid.north_up()
    # Both sides have the same system, so any will do where none is known.
    system = grid.crs or CRS.from_epsg(3857)
    with streaming(), rasterio.open(raster.path) as source:
        for row in range(0, rows, north_up.strip_rows):
            strip = np.full((min(north_up.strip_rows, rows - row), cols), np.nan, dtype=np.float32)
            reproject(
                rasterio.band(source, 1),
                strip,
                src_transform=grid.affine,
                src_crs=system,
                src_nodata=np.nan,
                dst_transform=target.window(slice(row, row + len(strip)), slice(0, cols)).affine,
                dst_crs=system,
                dst_nodata=np.nan,
                resampling=Resampling.max,
            )
            north_up.write(row, 0, strip)
