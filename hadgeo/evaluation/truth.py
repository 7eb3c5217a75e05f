"""What is known of a scene, on the grid of its score map: targets, background, and pixels of which nothing is known."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject

from hadgeo.errors import CubeNotFoundError, MissingExtraError, ReadError, TruthError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.gdal import georeference, open_dataset, settings
from hadgeo.formats.matlab import read_truth
from hadgeo.grid import Grid
from hadgeo.maps.reader import ScoreMap

#: The values of a truth: those that `hadgeo simulate` writes.
BACKGROUND, TARGET, UNKNOWN = 0, 1, 255

#: Files that are read as polygons; everything else is a raster.
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")

#: Grids whose corners lie closer than this, in pixels, are the same.
_SAME_GRID = 0.01

#: What says that a raster cannot be brought onto a grid.
_NO_WAY: tuple[type[Exception], ...] = (ValueError, *RASTERIO_ERRORS)

Truth = npt.NDArray[np.uint8]


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
    """
    file = Path(path)
    if not file.exists():
        raise CubeNotFoundError(f"{file}: no such truth; check the path")
    if file.suffix.lower() in VECTOR_SUFFIXES:
        return _polygons(file, scores)
    if file.suffix.lower() == ".mat":
        truth = read_truth(file).astype(np.uint8)
        return _as_it_is(truth, file, scores, "a MATLAB file is not georeferenced")
    return _raster(file, scores)


def _raster(file: Path, scores: ScoreMap) -> Truth:
    try:
        with settings(), open_dataset(os.fspath(file)) as dataset:
            place = georeference(dataset)
            truth = _classes(dataset, file)
    except RASTERIO_ERRORS as error:
        reason = " ".join(str(error).split())
        raise TruthError(f"{file}: not a raster that GDAL reads ({reason}); give a raster, .mat or polygons") from error
    if place.grid.crs is None or not place.grid.georeferenced:
        return _as_it_is(truth, file, scores, "the truth is not georeferenced")
    if scores.grid.crs is None or not scores.grid.georeferenced:
        return _as_it_is(truth, file, scores, "the map is not georeferenced")
    if scores.grid.same_as(place.grid, within=_SAME_GRID):
        return truth
    return _warped(truth, file, place.grid, scores)


def _classes(dataset: rasterio.DatasetReader, file: Path) -> Truth:
    """Turn the values of a raster into classes, band by band."""
    if dataset.count > 4:
        raise TruthError(f"{file}: {dataset.count} bands, and a truth has one; is it the scene itself?")
    truth = np.zeros(dataset.shape, dtype=np.uint8)
    # A fourth band, and the last of two, is transparency.
    for number in range(1, {2: 1, 4: 3}.get(dataset.count, dataset.count) + 1):
        try:
            values = dataset.read(number)
        except RASTERIO_ERRORS as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ReadError(f"{file}: damaged ({reason}); copy it again") from error
        fill = dataset.nodatavals[number - 1]
        unknown = ~np.isfinite(values)
        if fill:
            unknown |= values == fill
        truth[unknown & (truth != TARGET)] = UNKNOWN
        truth[(values != 0) & ~unknown] = TARGET
    return truth


def _as_it_is(truth: Truth, file: Path, scores: ScoreMap, why: str) -> Truth:
    """Take a truth pixel by pixel, if it has the map's shape."""
    if truth.shape != scores.shape:
        ours, theirs = (" x ".join(map(str, shape)) for shape in (scores.shape, truth.shape))
        raise TruthError(
            f"{file}: {theirs} pixels, and {scores.path} has {ours}; {why}, so their shapes must be equal: "
            "give a georeferenced truth and map, or the truth of this map"
        )
    return truth


def _warped(truth: Truth, file: Path, grid: Grid, scores: ScoreMap) -> Truth:
    out = np.full(scores.shape, UNKNOWN, dtype=np.uint8)
    assert grid.crs is not None  # its caller has looked
    try:
        # GDAL says the same at length.
        scores.grid.from_system(grid.crs.to_wkt(), *grid.corners)
        reproject(
            truth,
            out,
            src_transform=grid.affine,
            src_crs=grid.crs,
            src_nodata=UNKNOWN,
            dst_transform=scores.grid.affine,
            dst_crs=scores.grid.crs,
            dst_nodata=UNKNOWN,
            resampling=Resampling.nearest,
        )
    except _NO_WAY as error:
        reason = " ".join(str(error).split())
        raise TruthError(f"{file}: cannot be reprojected onto {scores.path} ({reason}); check both CRS") from error
    if (out == UNKNOWN).all():
        raise TruthError(f"{file}: does not overlap {scores.path}; check both CRS, or give the truth of this map")
    return out


def _polygons(file: Path, scores: ScoreMap) -> Truth:
    if scores.grid.crs is None or not scores.grid.georeferenced:
        raise TruthError(f"{file}: polygons need a georeferenced map, and {scores.path} is none; give a raster")
    geometries = _geometries(file, scores.grid)
    if not geometries:
        raise TruthError(f"{file}: holds no geometry, so there is no target to find; give the truth of this map")
    truth: Truth = rasterize(
        geometries,
        out_shape=scores.shape,
        transform=scores.grid.affine,
        fill=BACKGROUND,
        default_value=TARGET,
        all_touched=True,
        dtype=np.uint8,
    )
    return truth


def _geometries(file: Path, grid: Grid) -> list[Any]:
    """Read the geometries of a vector file's only layer, in the CRS of a grid."""
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise MissingExtraError(
            f'{file}: polygons need pyogrio and shapely; install them with pip install "hadgeo[vector]"'
        ) from error
    try:
        layers = pyogrio.list_layers(file)[:, 0].tolist()
        if len(layers) != 1:
            raise TruthError(f"{file}: {len(layers)} layers ({', '.join(layers)}); save the truth in a file of its own")
        with warnings.catch_warnings():
            # Of a GeoJSON file without a CRS and the like; what matters is checked below.
            warnings.simplefilter("ignore", UserWarning)
            meta, _, wkb, _ = pyogrio.raw.read(file, columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        reason = " ".join(str(error).split())
        raise TruthError(f"{file}: not a vector file that GDAL reads ({reason}); give polygons or a raster") from error
    if meta["crs"] is None:
        raise TruthError(f"{file}: no coordinate reference system; assign one, so that it can be laid over the map")
    shapes = shapely.from_wkb([] if wkb is None else wkb)
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    try:
        return list(shapely.transform(shapes, lambda points: np.column_stack(grid.from_system(meta["crs"], *points.T))))
    except ValueError as error:
        raise TruthError(f"{file}: cannot be reprojected onto the map ({error}); check both CRS") from error
