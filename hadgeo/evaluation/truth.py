"""What is known of a scene, on the grid of its score map: targets, background, and pixels of which nothing is known."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from hadgeo.errors import CubeWarning, TruthError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.gdal import open_dataset
from hadgeo.formats.overlay import NO, UNKNOWN, YES, Classes, Purpose, read_overlay
from hadgeo.maps.reader import ScoreMap

#: The values of a truth: those that `hadgeo simulate` writes.
BACKGROUND, TARGET = NO, YES

_TRUTH = Purpose("truth", "map", TruthError, touched=True, areas=False, opaque=False)

Truth = Classes

__all__ = ["BACKGROUND", "TARGET", "UNKNOWN", "Truth", "open_truth"]


def open_truth(path: str | os.PathLike[str], scores: ScoreMap) -> Truth:
    """Read a truth onto the grid of a score map.

    A raster of the map's own shape is taken pixel by pixel, unless both are georeferenced and lie elsewhere; any other
    georeferenced raster is resampled by nearest neighbour. In rasters 0 is background, nodata is unknown (unless it is
    0 itself), and every other value is a target; of an image, one colour suffices. Outside of the raster nothing is
    known. Polygons mark every pixel that they touch, so that targets smaller than a pixel are not lost; all
    other pixels are background.

    Args:
        path: A GeoTIFF or whatever else GDAL reads (``.bmp``, ``.png``, ENVI), a MATLAB file with ``map`` or another
            of the names that `read_truth` knows, or polygons (``.gpkg``, ``.geojson``, ``.shp``, ``.fgb``).
        scores: The map.

    Returns:
        uint8 (y, x) of the map's shape: 0 background, 1 target, 255 unknown.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: A MATLAB file holds no truth.
        TruthError: The truth is of no use, or cannot be brought onto the map's grid.
        ReadError: The file is damaged.
        MissingExtraError: Polygons need pyogrio and shapely.

    Warns:
        CubeWarning: The truth says that it is of another scene.
    """
    _check_belongs(Path(path), scores)
    truth: Truth = np.empty(scores.shape, dtype=np.uint8)
    for rows, classes in read_overlay(Path(path), scores.grid, str(scores.path), _TRUTH):
        truth[rows] = classes
    return truth


def _check_belongs(path: Path, scores: ScoreMap) -> None:
    """Refuse scores for a truth, and say where a truth names another scene than the map does."""
    try:
        with open_dataset(str(path)) as dataset:
            tags = dataset.tags()
    except RASTERIO_ERRORS:
        # Polygons, a MATLAB file, or what `read_overlay` has words for.
        return
    if "HADGEO_DETECTOR" in tags:
        raise TruthError(f"{path}: a score map of hadgeo, not a truth; the scores come first, then the truth")
    of, made_from = tags.get("HADGEO_TRUTH_OF", ""), scores.tags.get("HADGEO_SOURCE", "")
    if of and made_from and Path(of).stem != Path(made_from).stem:
        warnings.warn(f"{path} is of {of}, but {scores.path} of {made_from}", CubeWarning, stacklevel=4)
