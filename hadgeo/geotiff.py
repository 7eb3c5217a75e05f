"""The one writer: a score map grows in a part file and becomes a cloud-optimised GeoTIFF by a rename at the end.

At every moment the output is either what stood there before or the finished map.
"""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio._err import CPLE_BaseError  # what rasterio raises, unwrapped, where it closes a file
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.windows import Window

#: Bytes of disk that a pixel takes while both the part file and the map exist, overviews included.
_DISK_BYTES_PER_PIXEL = 4 + 4 * 4 / 3

#: With less than this left, a failure to write needs no other explanation.
_DISK_FULL_BYTES = 65536

#: Whole blocks of a map, read back at a time.
_ROWS_COMPARED = 512


def check_output(out: Path, *, overwrite: bool, pixels: int = 0, option: str = "-o") -> None:
    """Refuse early what could not be written late.

    Args:
        out: Where the map shall stand.
        overwrite: Whether a file there may be replaced.
        pixels: Pixels of the map, for the space that it takes.
        option: What names it on the command line.

    Raises:
        OutputExistsError: A file stands there, and `overwrite` is false.
        OutputError: The folder is missing or not writable, or the disk too full.
    """
    check_name(out, option)
    if out.is_dir():
        raise OutputError(f"{out} is a folder; give the name of a file, such as {out / 'scores.tif'}")
    if not out.parent.is_dir():
        what = "is a file" if out.parent.exists() else "does not exist; make it first"
        raise OutputError(f"{out}: the folder {out.parent} {what}, or use {option} to write elsewhere")
    if os.path.lexists(out) and not overwrite:
        raise OutputExistsError(f"{out} exists; use --overwrite to replace it, or {option} to write elsewhere")
    if out.exists() and not out.is_file():
        raise OutputError(
            f"{out} is a device or a pipe, not a file that could be replaced; use {option} to write elsewhere"
        )
    if not os.access(out.parent, os.W_OK):
        raise OutputError(f"{out}: no permission to write into {out.parent}; use {option} to write elsewhere")
    needed = int(pixels * _DISK_BYTES_PER_PIXEL) + 65536
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise OutputError(
            f"{out}: the map needs {needed / 1e6:.1f} MB of disk and {free / 1e6:.1f} MB are free; "
            f"make room, or use {option} to write elsewhere"
        )


def check_name(out: Path, option: str = "-o") -> None:
    """Refuse a name that no file can have.

    Raises:
        OutputError: It holds a zero, is not UTF-8, or is too long, the names included under which a map grows.
    """
    try:
        # GDAL takes UTF-8 alone.
        str(out).encode()
        # Neither a folder nor a root has a name.
        (_cog_name(out) if out.name else out).lstat()
    except ValueError as error:
        raise OutputError(f"{out} is no name of a file ({error}); use {option} to write elsewhere") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{out}: the name is too long; give a shorter one with {option}") from None


def names_written(out: Path) -> list[Path]:
    """The names under which a map grows and ends: whatever stood there before is lost."""
    return [out, _part_name(out), _cog_name(out)] if out.name else [out]


def _part_name(out: Path) -> Path:
    return out.with_name(out.name + ".part")


def _cog_name(out: Path) -> Path:
    return out.with_name(out.name + ".part.tif")


class ScoreWriter:
    """Writes windows of one float32 map, in any order, each pixel once. Use it as a context manager.

    Args:
        out: Where the map shall stand.
        shape: Rows and columns.
        crs: Coordinate reference system, or None.
        transform: Full affine of the input, or None where it has none.
        description: What the band holds.
        tags: Dataset tags.
        overwrite: Whether a file at `out` may be replaced.

    Raises:
        OutputError: See `check_output`.
    """

    def __init__(
        self,
        out: Path,
        *,
        shape: tuple[int, int],
        crs: CRS | None,
        transform: Affine | None,
        description: str,
        tags: Mapping[str, str],
        overwrite: bool = False,
    ) -> None:
        check_output(out, overwrite=overwrite, pixels=shape[0] * shape[1])
        self.out = out
        self._part = _part_name(out)
        self._cog = _cog_name(out)
        self._width = shape[1]
        self._file: BinaryIO | None = None
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": shape[0],
            "width": shape[1],
            "count": 1,
            "dtype": "float32",
            "nodata": np.nan,
            "crs": crs,
            "blockysize": 1,
            "bigtiff": "if_safer",
        }
        if transform is not None:
            profile["transform"] = transform
        try:
            with _writing(self.out), rasterio.Env():
                # Closed at once, GDAL fills it with nodata: the disk is taken before hours are spent on scores.
                with rasterio.open(self._part, "w", **profile) as dataset:
                    dataset.set_band_description(1, description)
                    dataset.update_tags(**tags)
                self._start = _pixels_start(self._part)
                # Not through GDAL, whose cache can lose rows to a disk that is full for a while, and not say so.
                self._file = self._part.open("r+b")
        except BaseException:
            self.discard()
            raise

    def write(self, window: Window, scores: npt.NDArray[np.float32]) -> None:
        """Write one window.

        Args:
            window: Where.
            scores: (y, x) of the window's own pixels, NaN where there is no score.

        Raises:
            OutputError: The disk is full, or fails.
        """
        assert self._file is not None  # closed by `finish` and `discard` alone
        with _writing(self.out):
            for row, line in enumerate(np.ascontiguousarray(scores, dtype=np.float32), start=window.row):
                self._file.seek(self._start + (row * self._width + window.col) * line.itemsize)
                self._file.write(line.data)
            self._file.flush()

    def finish(self) -> Path:
        """Turn the part file into the map and put it in its place.

        Raises:
            OutputError: The disk is full, or fails.
        """
        assert self._file is not None
        with _writing(self.out), rasterio.Env():
            self._file.close()
            rasterio.shutil.copy(
                self._part,
                self._cog,
                driver="COG",
                compress="deflate",
                predictor="yes",
                overview_resampling="average",
                bigtiff="if_safer",
                num_threads="all_cpus",
            )
            _check_same(self._part, self._cog)
            with self._cog.open("rb") as file:
                os.fsync(file.fileno())
            self._cog.replace(self.out)
        self.discard()
        return self.out

    def discard(self) -> None:
        """Remove what is unfinished."""
        if self._file is not None:
            # What a full disk keeps from being flushed is thrown away all the same.
            with suppress(OSError):
                self._file.close()
        for path in (self._part, self._cog, self._cog.with_name(self._cog.name + ".ovr.tmp")):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()


def _pixels_start(path: Path) -> int:
    """Where the first pixel of an uncompressed GeoTIFF stands, the others behind it row by row.

    Raises:
        OSError: They do not all stand there: the disk was full.
    """
    with rasterio.open(path) as dataset:
        first, last = (
            int(dataset.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1) or 0) for row in (0, dataset.height - 1)
        )
        line = dataset.width * 4
        if not first or last != first + (dataset.height - 1) * line or path.stat().st_size < last + line:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return first


def _check_same(part: Path, cog: Path) -> None:
    """Read a finished map back: a full disk can leave a file that GDAL does not complain about.

    Raises:
        OSError: It does not hold what was written into the part file.
    """
    with rasterio.open(part) as written, rasterio.open(cog) as copied:
        for row in range(0, written.height, _ROWS_COMPARED):
            strip = RasterWindow(0, row, written.width, min(_ROWS_COMPARED, written.height - row))
            if not np.array_equal(written.read(1, window=strip), copied.read(1, window=strip), equal_nan=True):
                raise OSError(errno.EIO, "the map differs from what was written", str(cog))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn failures of the disk into one clear error."""
    try:
        with warnings.catch_warnings():
            # A map without a georeference is all that a scene without one can have; its reader was warned.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        full = shutil.disk_usage(out.parent).free < _DISK_FULL_BYTES
        reason = "the disk is full" if full else _last_line(error)
        raise OutputError(f"{out} cannot be written: {reason}; make room, or use -o to write elsewhere") from error


def _last_line(error: BaseException) -> str:
    """What the deepest cause says, on one line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return " ".join(str(cause).split())
