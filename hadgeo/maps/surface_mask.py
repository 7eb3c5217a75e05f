"""Surfaces on disk: a georeferenced GeoTIFF that says of each pixel which surface it was taken for."""

from __future__ import annotations

import warnings
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from hadgeo.files import written_beside
from hadgeo.formats.surfaces import KINDS, NONE, REJECTED, SURFACES, UNKNOWN, Surfaces, describe_surfaces
from hadgeo.grid import Grid

#: Rows of a strip of the file, and how many of them are written at a time.
_ROWS, _STRIPS = 16, 16

#: How the classes are shown, as red, green, blue and opacity.
_COLOURS = {
    NONE: (0, 0, 0, 0),
    SURFACES["vegetation"].value: (60, 140, 60, 255),
    SURFACES["water"].value: (50, 100, 200, 255),
    SURFACES["shadow"].value: (70, 70, 70, 255),
    REJECTED: (200, 60, 60, 255),
}


def write_surfaces(surfaces: Surfaces, grid: Grid, path: Path, option: str) -> None:
    """Write which pixels are which surface: uint8, 1 vegetation, 2 water, 3 shadow, 0 none of them, 255 nodata.

    What is like a rejected anomaly is 4.

    Args:
        surfaces: The surfaces of a scene.
        grid: Its grid.
        path: The file; what is there is replaced.
        option: What names it on the command line.

    Raises:
        OutputError: The disk is full, or fails.
    """
    height, width = grid.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": UNKNOWN}
    layout = {"compress": "deflate", "blockysize": _ROWS, "bigtiff": "if_safer"}
    place = {"crs": grid.crs, "transform": grid.affine} if grid.georeferenced else {"crs": grid.crs}
    values = {f"HADGEO_VALUE_{KINDS[name].value}": name for name in surfaces.thresholds}
    with written_beside(path, option) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(), rasterio.open(part, "w", **profile, **layout, **place) as dataset:
            dataset.set_band_description(1, "suppressed surfaces")
            dataset.update_tags(HADGEO_SUPPRESSED=describe_surfaces(surfaces.thresholds), **values)
            dataset.write_colormap(1, _COLOURS)
            for start in range(0, height, _ROWS * _STRIPS):
                rows = slice(start, min(start + _ROWS * _STRIPS, height))
                window = Window.from_slices(rows, slice(0, width))
                dataset.write(surfaces.get(rows, slice(0, width)), 1, window=window)
