"""Opening files through GDAL without its noise, and what GDAL alone knows: where a scene lies on the ground."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.env import set_gdal_config
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from hadgeo.formats.drivers import open_allowed
from hadgeo.grid import Grid


@dataclass(frozen=True)
class Georeference:
    """Where a scene lies.

    Attributes:
        grid: Its pixels and their place.
        warnings: One line for each thing that is missing or odd.
        assumed: One line for each thing that was guessed.
    """

    grid: Grid
    warnings: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def open_dataset(name: str) -> DatasetReader:
    """Open a file or a GDAL name for reading, as a handle of this thread alone; see `hadgeo.formats.drivers`.

    Args:
        name: A path, or anything else that GDAL opens (``/vsizip/...``, ``NETCDF:"file":variable``).

    Raises:
        rasterio.errors.RasterioIOError: GDAL cannot open it.
        CubeError: It leads elsewhere, and the user has not asked for that.
    """
    with _no_georeference_warnings(), settings():
        return open_allowed(name)


#: Where rasterio logs what GDAL warns of.
_LOG = logging.getLogger("rasterio")

#: rasterio's prefix, such as ``CPLE_AppDefined in``.
_LOG_PREFIX = re.compile(r"^(CPLE_\w+ in |GDAL signalled an error: )")

#: Said in better words: `hadgeo.formats.map_info` looks into datums itself.
_SAID_BETTER = re.compile(r"Unrecognized datum")

#: More of GDAL's lines than these help nobody.
_MOST_LINES = 5


class _Ear(logging.Handler):
    """Keeps what is logged in the thread that made it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record, if it is of this thread."""
        if record.thread == self._thread:
            self.lines.append(" ".join(_LOG_PREFIX.sub("", record.getMessage()).split()))


@contextmanager
def listening() -> Iterator[list[str]]:
    """Hear what GDAL warns of in this thread.

    Yields:
        Its lines, as they come.
    """
    ear = _Ear()
    _LOG.addHandler(ear)
    try:
        yield ear.lines
    finally:
        _LOG.removeHandler(ear)


def told(heard: Sequence[str]) -> tuple[str, ...]:
    """What GDAL warned of, for the user: each thing once, and not what hadgeo says in better words.

    Args:
        heard: Lines of `listening`.
    """
    distinct = [line for line in dict.fromkeys(heard) if not _SAID_BETTER.search(line)]
    more = len(distinct) - _MOST_LINES
    said = tuple(f"GDAL warns: {line}" for line in distinct[:_MOST_LINES])
    return (*said, f"GDAL gives {more} more warnings") if more > 0 else said


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
    grid = Grid(dataset.shape, crs or None, None if flat or transform.is_identity else transform)
    if flat:
        notes = (
            "a degenerate transform (pixels without area): rows and columns are used as coordinates",
            *missing(grid)[1:],
        )
        return Georeference(grid, notes)
    return Georeference(grid, missing(grid, points))


def missing(grid: Grid, points: int = 0) -> tuple[str, ...]:
    """One line for each thing that is missing of a grid, or cannot be.

    Args:
        grid: Where a scene lies.
        points: How many ground control points there are.
    """
    notes = []
    if not grid.georeferenced and points:
        notes.append(f"{points} ground control points and no transform: the pixel grid is used as it is")
    elif not grid.georeferenced:
        notes.append("no transform: rows and columns are used as coordinates")
    elif _beyond_degrees(grid):
        x, y = grid.to_map(0.0, 0.0)
        notes.append(
            f"coordinates such as {x:.10g}, {y:.10g} are not degrees, but {grid.crs} is in degrees: the file "
            "contradicts itself, and the results will be misplaced"
        )
    elif _beyond_utm(grid):
        x, y = grid.to_map(0.0, 0.0)
        notes.append(
            f"coordinates such as {x:.10g}, {y:.10g} lie far outside of any UTM zone: are they exchanged, of the "
            "other hemisphere, or in another coordinate reference system? The results will be misplaced"
        )
    if grid.crs is None:
        notes.append(NO_CRS)
    return tuple(notes)


def _beyond_utm(grid: Grid) -> bool:
    """Whether a grid in UTM lies where no zone reaches: farther than the next zone, or beyond 84° N or 80° S."""
    if grid.crs is None or not grid.crs.is_projected:
        return False
    x, y = (values * grid.crs.linear_units_factor[1] for values in grid.corners)
    west, east, south, north = _UTM
    far = (x < west).any() or (x > east).any()
    if not far and not (y < south).any() and not (y > north).any():
        return False
    known = grid.crs.to_dict()
    beyond = (y < south).any() if known.get("south") else (np.abs(y) > north).any()
    return known.get("proj") == "utm" and bool(far or beyond)


def _beyond_degrees(grid: Grid) -> bool:
    """Whether a grid in degrees reaches beyond all longitudes or latitudes, by more than a pixel."""
    if grid.crs is None or not grid.crs.is_geographic or "degree" not in grid.crs.units_factor[0].lower():
        return False
    a, b, _, d, e, _ = grid.affine[:6]
    margin_x, margin_y = abs(a) + abs(b), abs(d) + abs(e)
    # A pixel of many degrees is no excuse.
    limit_x, limit_y = 360.0 + min(margin_x, 1.0), 90.0 + min(margin_y, 1.0)
    x, y = grid.corners
    return bool((np.abs(x) > limit_x).any() or (np.abs(y) > limit_y).any())


#: Eastings of UTM's zones, with one zone more to each side; the least northing of the southern hemisphere and the
#: largest of the northern one. In metres.
_UTM = (-500_000.0, 1_500_000.0, 1_100_000.0, 9_400_000.0)

#: Said of every cube without a coordinate reference system.
NO_CRS = "no coordinate reference system: the results will have none; set one with cube.rio.write_crs(...)"


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


#: Formats of raw samples beside a header. GDAL reads 0 where such a file ends too early.
_RAW = {"EHdr", "GenBin", "ISCE", "ROI_PAC"}


def cut_short(dataset: DatasetReader) -> str:
    """What tells that a TIFF or a raw file was cut short; an empty text where nothing does.

    The last blocks of a TIFF stand, or should stand, at its end.

    Args:
        dataset: Any open dataset.
    """
    if dataset.driver not in ("GTiff", *_RAW) or not exists(dataset.name):
        return ""
    size = Path(dataset.name).stat().st_size
    if dataset.driver in _RAW:
        bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        promised = dataset.count * dataset.height * dataset.width * np.dtype(dataset.dtypes[0]).itemsize
        return f"{size} bytes, but its header specifies {promised}" if promised > size and bits is None else ""
    height, width = dataset.block_shapes[0]
    last_row = (dataset.height - 1) // height
    promised = 0
    for band in {1, dataset.count}:
        for col in range(-(-dataset.width // width)):
            offset_and_size = [
                int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{last_row}", "TIFF", bidx=band) or 0)
                for what in ("OFFSET", "SIZE")
            ]
            promised = max(promised, sum(offset_and_size))
    return f"{size} bytes, but its last block ends at {promised}" if promised > size else ""
