"""Opening files through GDAL without its noise, and what GDAL alone knows: where a scene lies on the ground."""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import rasterio
from affine import Affine
from rasterio.env import set_gdal_config
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from hadgeo.grid import Grid


@dataclass(frozen=True)
class Georeference:
    """Where a scene lies.

    Attributes:
        grid: Its pixels and their place.
        warnings: One line for each thing that is missing.
    """

    grid: Grid
    warnings: tuple[str, ...]


def open_dataset(name: str) -> DatasetReader:
    """Open a file or a GDAL name for reading, as a handle of this thread alone.

    Args:
        name: A path, or anything else that GDAL opens (``/vsizip/...``, ``NETCDF:"file":variable``).

    Raises:
        rasterio.errors.RasterioIOError: GDAL cannot open it.
    """
    with _no_georeference_warnings(), settings():
        return rasterio.open(name, sharing=False)


def settings() -> rasterio.Env:
    """GDAL's settings while a file is opened or read.

    Without them, reading compressed ENVI leaves a .properties file in the folder of the data.
    """
    return rasterio.Env(CPL_VSIL_GZIP_WRITE_PROPERTIES="NO")


_CACHE = "GDAL_CACHEMAX"

#: Bytes of blocks that GDAL keeps while a raster is copied, or read once.
SMALL_CACHE = 2**26

#: Beyond these, reading a block twice is cheaper.
LARGE_CACHE = 2**28


def streaming(cache: int = SMALL_CACHE) -> rasterio.Env:
    """GDAL's settings while a raster is read or copied window by window, in the place of a cache of 5 % of the memory.

    Args:
        cache: Bytes of blocks that GDAL may keep.
    """
    return rasterio.Env(**_cache_option(cache))


def bound_cache(cache: int) -> None:
    """Bound GDAL's cache for as long as this process lasts, as `streaming` does for a while.

    Args:
        cache: Bytes of blocks that GDAL may keep.
    """
    for name, value in _cache_option(cache).items():
        set_gdal_config(name, value)


def _cache_option(cache: int) -> dict[str, int]:
    """GDAL's option, unless the user has chosen it in the environment."""
    return {} if _CACHE in os.environ else {_CACHE: max(cache, SMALL_CACHE)}


#: `warnings.catch_warnings` changes the whole process: two threads in it at once may restore each other's filters.
_WARNINGS = threading.Lock()


@contextmanager
def _no_georeference_warnings() -> Iterator[None]:
    with _WARNINGS, warnings.catch_warnings():
        # What is missing is said once, by `georeference`, and not once for every thread that opens the file.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def georeference(dataset: DatasetReader) -> Georeference:
    """Read coordinate reference system and transform of an open file."""
    with _no_georeference_warnings():
        crs, transform = dataset.crs, dataset.transform
        points = len(dataset.gcps[0])
    # GDAL writes the zeros of an ENVI north-up grid as -0.0.
    transform = Affine(*(value + 0.0 for value in tuple(transform)[:6]))
    flat = not math.isfinite(transform.determinant) or transform.is_degenerate
    georeferenced = not transform.is_identity and not flat
    missing = []
    if flat:
        missing.append("a transform that leaves pixels no area: rows and columns stand for coordinates")
    elif not georeferenced and points:
        missing.append(f"{points} ground control points and no transform: rows and columns are kept as they are")
    elif not georeferenced:
        missing.append("no transform: rows and columns stand for coordinates")
    if not crs:
        missing.append(NO_CRS)
    return Georeference(Grid(dataset.shape, crs or None, transform if georeferenced else None), tuple(missing))


#: Said of every cube without a coordinate reference system.
NO_CRS = "no coordinate reference system: the results will carry none; set one with cube.rio.write_crs(...)"


#: Names that GDAL understands and that are no files: /vsizip/..., NETCDF:"file":variable, s3://bucket/key.
#: Two letters at least before the colon: C:\\ is a drive.
_GDAL_NAME = re.compile(r"/vsi|[A-Za-z][A-Za-z0-9_+.-]+:")


def is_no_path(name: str | os.PathLike[str]) -> bool:
    """Whether a name is one that GDAL alone understands, and no file or folder of this computer has it."""
    return not exists(name) and _GDAL_NAME.match(os.fspath(name)) is not None


def exists(name: str | os.PathLike[str]) -> bool:
    """Whether a name is something on this computer's own disk."""
    try:
        return os.path.lexists(name)
    except (OSError, ValueError):
        return False
