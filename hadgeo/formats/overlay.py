"""Yes or no on the grid of a scene, from a raster or polygons of any other: what truths and masks have in common.

The grid is walked in strips of rows, and no more of a file is read at a time than lies under one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.enums import MaskFlags
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from hadgeo.errors import CubeNotFoundError, HadgeoError, ReadError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.envi_header import find_header, read_header
from hadgeo.formats.gdal import cut_short, georeference, open_dataset, settings
from hadgeo.formats.matlab import read_truth
from hadgeo.formats.overlay_polygons import read_geometries, warn_of_shift
from hadgeo.grid import Grid

#: What a pixel is.
NO, YES, UNKNOWN = 0, 1, 255

#: Files that are read as polygons; everything else is a raster.
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".kml", ".gml")

#: Grids whose corners lie closer than this, in pixels, are the same.
_SAME_GRID = 0.01

#: Pixels of a strip, of the grid or of the raster, whichever are more.
STRIP_PIXELS = 2**24

#: Points along each side of a strip by which its place in another raster is found.
_SIDE_POINTS = 33

#: What says that a raster cannot be brought onto a grid.
_NO_WAY: tuple[type[Exception], ...] = (ValueError, *RASTERIO_ERRORS)

#: uint8 (y, x) of `NO`, `YES` and `UNKNOWN`.
Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Purpose:
    """What an overlay is for.

    Attributes:
        what: Its name in messages, such as "truth".
        base: What it is laid over, such as "map".
        error: What is raised where it is of no use.
        touched: Whether polygons mark every pixel that they touch, or those whose middle they hold.
        areas: Whether polygons alone make sense, and somewhere on the grid; else points and lines do as well.
        opaque: Whether transparency and masks in a raster say that nothing is known.
        elsewhere: What is raised where it does not overlap the grid, if not `error`.
        only: A field of polygons, and the text that it has in those that count; all do, by default.
    """

    what: str
    base: str
    error: type[HadgeoError]
    touched: bool
    areas: bool
    opaque: bool
    elsewhere: type[HadgeoError] | None = None
    only: tuple[str, str] | None = None


def read_overlay(path: Path, grid: Grid, over: str, purpose: Purpose) -> Iterator[tuple[slice, Classes]]:
    """Read an overlay onto a grid.

    A raster of the grid's own shape is taken pixel by pixel, unless both are georeferenced and lie elsewhere; any other
    georeferenced raster is resampled by nearest neighbour. In rasters 0 is no, nodata is unknown (unless it is 0
    itself), and every other value is yes; of an image, one colour suffices. Outside of a raster nothing is known,
    outside of polygons is no.

    Args:
        path: A raster, a MATLAB file as `read_truth` knows it, or a file of one of `VECTOR_SUFFIXES`.
        grid: The grid.
        over: The file that has it, for messages.
        purpose: What for.

    Yields:
        Rows of the grid, from top to bottom, and what their pixels are.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: A MATLAB file holds no such array.
        HadgeoError: `purpose.error`, if it is of no use, or cannot be brought onto the grid.
        ReadError: The file is damaged.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    if not path.exists():
        raise CubeNotFoundError(f"{path}: no such {purpose.what}; check the path")
    suffix = path.suffix.lower()
    if suffix in VECTOR_SUFFIXES:
        yield from _polygons(path, grid, over, purpose)
    elif suffix == ".mat":
        whole = read_truth(path).astype(np.uint8)
        _check_shape(whole.shape, path, grid, over, purpose, "a MATLAB file is not georeferenced")
        yield slice(0, grid.shape[0]), whole
    else:
        yield from _raster(path, grid, over, purpose)


def files_of(path: Path) -> tuple[Path, ...]:
    """All files of an overlay that is there: a shapefile has several, and so may a raster."""
    if path.suffix.lower() == ".shp":
        return tuple(sorted(file for file in path.parent.glob(f"{path.stem}.*") if file.is_file()))
    if path.suffix.lower() in (*VECTOR_SUFFIXES, ".mat"):
        return (path,)
    try:
        with open_dataset(os.fspath(path)) as dataset:
            return tuple(Path(name) for name in dataset.files if Path(name).is_file()) or (path,)
    except RASTERIO_ERRORS:
        return (path,)


def _polygons(path: Path, grid: Grid, over: str, purpose: Purpose) -> Iterator[tuple[slice, Classes]]:
    if grid.crs is None or not grid.georeferenced:
        base = purpose.base
        raise purpose.error(f"{path}: polygons need a georeferenced {base}, which {over} is not; give a raster")
    geometries = read_geometries(
        path, grid, purpose.what, purpose.base, purpose.error, areas=purpose.areas, only=purpose.only
    )
    if not geometries and purpose.areas:
        raise _elsewhere(path, over, purpose)
    for rows in _strips(grid, grid.pixels):
        part = grid.window(rows, slice(0, grid.shape[1]))
        classes: Classes = np.full(part.shape, NO, dtype=np.uint8)
        if geometries:
            rasterize(
                ((geometry, YES) for geometry in geometries),
                out=classes,
                transform=part.affine,
                all_touched=purpose.touched,
            )
        yield rows, classes


def _raster(path: Path, grid: Grid, over: str, purpose: Purpose) -> Iterator[tuple[slice, Classes]]:
    header = find_header(path)
    if header is not None:
        # GDAL would read it without bounds.
        read_header(header)
    try:
        with settings(), open_dataset(os.fspath(path)) as dataset:
            if dataset.count > 4:
                article = "an" if purpose.what[0] in "aeiou" else "a"
                raise purpose.error(
                    f"{path}: {dataset.count} bands, but {article} {purpose.what} has one; is this the scene itself?"
                )
            cut = cut_short(dataset)
            if cut:
                # What is missing may lie elsewhere, and a file that was half copied is not to be trusted.
                raise ReadError(f"{path}: damaged ({cut}); copy it again")
            place = georeference(dataset).grid
            if _as_it_is(place, path, grid, over, purpose):
                for rows in _strips(grid, grid.pixels):
                    yield rows, _classes(dataset, path, purpose, rows, slice(0, grid.shape[1]))
            else:
                assert place.crs is not None  # `_as_it_is` has looked
                warn_of_shift(path, place.crs.to_wkt(), grid)
                yield from _moved(dataset, place, path, grid, over, purpose)
    except RASTERIO_ERRORS as error:
        raise purpose.error(
            f"{path}: not a raster that GDAL can read ({_reason(error)}); give a raster, .mat or polygons"
        ) from error


def _as_it_is(place: Grid, path: Path, grid: Grid, over: str, purpose: Purpose) -> bool:
    """Whether a raster is to be taken pixel by pixel.

    Raises:
        HadgeoError: It is, for want of a place, and cannot be.
    """
    if place.crs is None or not place.georeferenced:
        why = f"the {purpose.what} is not georeferenced"
    elif grid.crs is None or not grid.georeferenced:
        why = f"the {purpose.base} is not georeferenced"
    else:
        return grid.same_as(place, within=_SAME_GRID)
    _check_shape(place.shape, path, grid, over, purpose, why)
    return True


def _check_shape(shape: tuple[int, ...], path: Path, grid: Grid, over: str, purpose: Purpose, why: str) -> None:
    if shape != grid.shape:
        ours, theirs = (" x ".join(map(str, lengths)) for lengths in (grid.shape, shape))
        what, base = purpose.what, purpose.base
        raise purpose.error(
            f"{path}: {theirs} pixels, but {over} has {ours}; {why}, so their shapes must be equal: "
            f"give a georeferenced {what} and {base}, or the {what} of this {base}"
        )


def _classes(dataset: DatasetReader, path: Path, purpose: Purpose, rows: slice, cols: slice) -> Classes:
    """Turn the values of a window of a raster into classes, band by band."""
    window = Window.from_slices(rows, cols)
    classes: Classes = np.full((rows.stop - rows.start, cols.stop - cols.start), NO, dtype=np.uint8)
    try:
        # A fourth band, and the last of two, is transparency.
        for number in range(1, {2: 1, 4: 3}.get(dataset.count, dataset.count) + 1):
            values = dataset.read(number, window=window)
            fill = dataset.nodatavals[number - 1]
            unknown = ~np.isfinite(values)
            if fill:
                unknown |= values == fill
            classes[unknown & (classes != YES)] = UNKNOWN
            classes[(values != 0) & ~unknown] = YES
        if purpose.opaque and MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
            classes[dataset.read_masks(1, window=window) == 0] = UNKNOWN
    except RASTERIO_ERRORS as error:
        raise ReadError(f"{path}: damaged ({_reason(error.__cause__ or error)}); copy it again") from error
    return classes


def _moved(
    dataset: DatasetReader, place: Grid, path: Path, grid: Grid, over: str, purpose: Purpose
) -> Iterator[tuple[slice, Classes]]:
    """A raster on the pixels of another grid, each as the nearest of its own."""
    found = False
    every = slice(0, grid.shape[1])
    try:
        whole = _below(grid, place)
        under = 0 if whole is None else place.window(*whole).pixels
        for rows in _strips(grid, max(under, grid.pixels)):
            part = grid.window(rows, every)
            classes: Classes = np.full(part.shape, UNKNOWN, dtype=np.uint8)
            window = _below(part, place)
            if window is not None:
                reproject(
                    _classes(dataset, path, purpose, *window),
                    classes,
                    src_transform=place.window(*window).affine,
                    src_crs=place.crs,
                    src_nodata=UNKNOWN,
                    dst_transform=part.affine,
                    dst_crs=part.crs,
                    dst_nodata=UNKNOWN,
                    resampling=Resampling.nearest,
                )
            found = found or bool((classes != UNKNOWN).any())
            yield rows, classes
    except _NO_WAY as error:
        if isinstance(error, HadgeoError):
            raise
        raise purpose.error(f"{path}: cannot be reprojected onto {over} ({_reason(error)}); check both CRS") from error
    if not found:
        raise _elsewhere(path, over, purpose)


def _below(part: Grid, place: Grid) -> tuple[slice, slice] | None:
    """Rows and columns of a raster that lie under a part of a grid, with some to spare; None where there are none.

    Raises:
        ValueError: No way is known from one coordinate reference system to the other.
    """
    x, y = part.to_map(*_outline(part.shape))
    assert part.crs is not None  # its caller has looked
    cols, rows = place.to_pixels(*(np.asarray(axis) for axis in place.from_system(part.crs.to_wkt(), x, y)))
    there = np.isfinite(cols) & np.isfinite(rows)
    if not there.any():
        return None
    found = []
    for values, length in ((rows[there], place.shape[0]), (cols[there], place.shape[1])):
        low, high = float(values.min()), float(values.max())
        spare = 2 + (high - low) / _SIDE_POINTS
        start, stop = max(int(low - spare), 0), min(int(high + spare) + 1, length)
        if start >= stop:
            return None
        found.append(slice(start, stop))
    return found[0], found[1]


def _outline(shape: tuple[int, int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Columns and rows of points around and across a raster."""
    rows, cols = (np.linspace(0, length, _SIDE_POINTS) for length in shape)
    across, down = np.meshgrid(cols, rows)
    return across.ravel(), down.ravel()


def _strips(grid: Grid, pixels: int) -> Iterator[slice]:
    height = grid.shape[0]
    step = max(int(STRIP_PIXELS * height / max(pixels, 1)), 1)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _elsewhere(path: Path, over: str, purpose: Purpose) -> HadgeoError:
    return (purpose.elsewhere or purpose.error)(
        f"{path}: does not overlap {over}; check both CRS, or give the {purpose.what} of this {purpose.base}"
    )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())
