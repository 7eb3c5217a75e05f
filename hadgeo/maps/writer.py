"""The one writer: a score map grows in a folder beside its place and becomes a cloud-optimised GeoTIFF by a rename.

At every moment the output is either what stood there before or the finished map.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from hadgeo.files import RASTERIO_ERRORS, check_output, writing
from hadgeo.formats.gdal import streaming
from hadgeo.grid import Grid
from hadgeo.maps.north_up import warp_north_up
from hadgeo.maps.part_folder import FINISHED, FRESH, SCORES, TOGETHER, WARPED, PartFolder, held_bytes, overview_name
from hadgeo.maps.raw_tiff import Pick, RawTiff, create_rawtiff, halve
from hadgeo.windows import Window

#: How often a pixel stands on the disk while scores, overviews and the map with its own overviews exist together.
_COPIES = 2 * 4 / 3

_ITEM_BYTES = 4

#: What a map that was damaged is noticed by.
_UNREADABLE: tuple[type[Exception], ...] = (*RASTERIO_ERRORS, OSError, ValueError)

#: Side of the blocks of a map; a raster of one block needs no overview.
_BLOCK = 512


def disk_bytes(pixels: int) -> int:
    """The disk that a map of so many pixels takes while it is made."""
    return int(pixels * _ITEM_BYTES * _COPIES)


class ScoreWriter:
    """Writes windows of one float32 map, in any order. Use it as a context manager.

    Overviews keep the extreme of the pixels that they stand for, so that a lone hot pixel is seen at every zoom level.

    Args:
        out: Where the map shall stand.
        grid: Rows and columns, and where they lie.
        description: What the band holds.
        tags: Dataset tags.
        overwrite: Whether a file at `out` may be replaced.
        overviews: Which of the pixels an overview keeps: "max", or "min" where small values matter, as p-values do.
        north_up: Whether the finished map is warped to a north-up grid; see `hadgeo.maps.north_up`. Windows are of the
            grid as it is. Needs a transform.
        folder: Where the map grows, if the caller holds it, whose business its fate is. By default the folder is made
            here, and removed whatever happens.
        head: What was noted of the `head` of the map that an earlier run has begun in `folder`. That is gone on with if
            it is still so; by default, and where its grid, tags or anything else besides pixels was damaged, the map is
            made anew.

    Attributes:
        head: `RawTiff.head` of the map that is written into.
        anew: Whether nothing was in it yet.

    Raises:
        OutputError: See `hadgeo.files.check_output` and `PartFolder`.
    """

    def __init__(
        self,
        out: Path,
        *,
        grid: Grid,
        description: str,
        tags: Mapping[str, str],
        overwrite: bool = False,
        overviews: Literal["max", "min"] = "max",
        north_up: bool = False,
        folder: PartFolder | None = None,
        head: str = "",
    ) -> None:
        if folder is None:
            check_output(out, overwrite=overwrite, nbytes=disk_bytes(grid.pixels) - held_bytes(out))
        self.out = out
        self._pick: Pick = np.fmax if overviews == "max" else np.fmin
        self._own = folder is None
        self._folder = folder or PartFolder(out)
        self._grid, self._north_up = grid, north_up
        self._told: dict[str, Any] = {"description": description, "tags": tags}
        try:
            with _writing(out):
                if self._own:
                    # What a run that was killed has left here may be of another map.
                    self._folder.clear()
                part = self._folder.path / SCORES
                kept = _kept(part, grid, head)
                self.anew = kept is None
                self._part = kept or self._begun(part)
                self.head = self._part.head()
        except BaseException:
            self._discard()
            raise

    def _begun(self, part: Path) -> RawTiff:
        """A map that holds nothing yet, in the place of a damaged one, whose disk it takes."""
        part.unlink(missing_ok=True)
        fresh = part.with_name(FRESH)
        self._create(fresh, self._grid)
        fresh.replace(part)
        return RawTiff(part)

    def _create(self, path: Path, grid: Grid) -> None:
        place = {"crs": grid.crs} if grid.transform is None else {"crs": grid.crs, "transform": grid.transform}
        create_rawtiff(path, grid.shape, **self._told, **place)

    def write(self, window: Window, scores: npt.NDArray[np.float32]) -> None:
        """Write one window.

        Args:
            window: Where.
            scores: (y, x) of the window's own pixels, NaN where there is no score.

        Raises:
            OutputError: The disk is full, or fails.
        """
        with _writing(self.out):
            self._part.write(window.row, window.col, scores)

    def read(self, window: Window) -> npt.NDArray[np.float32]:
        """Read back what was written, (y, x) of the window's own pixels."""
        with _writing(self.out):
            return self._part.read(window.rows, window.cols)

    def complete(self) -> None:
        """Turn what was written into the finished map, beside its place.

        Raises:
            OutputError: The disk is full, or fails.
        """
        cog = self._folder.path / FINISHED
        with _writing(self.out), ExitStack() as opened:
            levels = self._overviews(self._warped(opened) if self._north_up else self._part, opened)
            source = _with_overviews(levels[0].path, [level.path for level in levels[1:]])
            # GDAL would remove an older file together with whatever it takes for a part of it.
            cog.unlink(missing_ok=True)
            _in_background(lambda: _copy_cog(source, cog))
            for number, level in enumerate(levels):
                _check_same(level, cog, number)
            with cog.open("rb") as file:
                os.fsync(file.fileno())

    @property
    def finished(self) -> Path:
        """The finished map beside its place, checked and on the disk, if it was ever said to be; else its place."""
        beside = self._folder.path / FINISHED
        return beside if beside.exists() else self.out

    def place(self) -> Path:
        """Put the finished map in its place, which is one rename; nothing is done where that has happened before."""
        with _writing(self.out):
            try:
                (self._folder.path / FINISHED).replace(self.out)
            except FileNotFoundError:
                if not self.out.exists():
                    raise
        return self.out

    def finish(self) -> Path:
        """Turn what was written into the map and put it in its place.

        Raises:
            OutputError: The disk is full, or fails.
        """
        self.complete()
        self.place()
        self._discard()
        return self.out

    def _warped(self, opened: ExitStack) -> RawTiff:
        path = self._folder.path / WARPED
        self._create(path, self._grid.north_up())
        warped = opened.enter_context(closing(RawTiff(path)))
        warp_north_up(self._part, self._grid, warped)
        return warped

    def _overviews(self, whole: RawTiff, opened: ExitStack) -> list[RawTiff]:
        """A map, and every level that a cloud-optimised GeoTIFF wants, each from the one before it."""
        levels = [whole]
        while max(levels[-1].shape) > _BLOCK:
            path = self._folder.path / overview_name(len(levels))
            levels.append(opened.enter_context(closing(halve(levels[-1], path, self._pick))))
        return levels

    def _discard(self) -> None:
        if self._own:
            self._folder.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What a full disk keeps from being flushed is thrown away all the same.
        with suppress(OSError):
            self._part.close()
        self._discard()


def _kept(part: Path, grid: Grid, head: str) -> RawTiff | None:
    """The map that an earlier run has begun; None where it is gone, or is not as it was then."""
    try:
        raster = RawTiff(part)
    except _UNREADABLE:
        return None
    if head and raster.shape == grid.shape and raster.head() == head:
        return raster
    raster.close()
    return None


def _with_overviews(raster: Path, overviews: Sequence[Path]) -> Path:
    """A virtual raster beside others that gives one of them the rest as overviews.

    GDAL makes overviews by averages, medians and the like, but by no maximum; what a source brings along it copies.
    """
    path = raster.with_name(TOGETHER)
    path.unlink(missing_ok=True)
    rasterio.shutil.copy(raster, path, driver="VRT")
    tree = ElementTree.parse(path)  # noqa: S314 - written by GDAL a line above
    band = tree.getroot().find("VRTRasterBand")
    assert band is not None
    for overview in overviews:
        element = ElementTree.SubElement(band, "Overview")
        ElementTree.SubElement(element, "SourceFilename", relativeToVRT="1").text = overview.name
        ElementTree.SubElement(element, "SourceBand").text = "1"
    tree.write(path)
    return path


def _copy_cog(source: Path, cog: Path) -> None:
    with streaming():
        rasterio.shutil.copy(
            source, cog, driver="COG", compress="deflate", predictor="yes", bigtiff="if_safer", num_threads="all_cpus"
        )


def _in_background(work: Callable[[], None]) -> None:
    """Do something long beside the main thread, which hears of no signal while GDAL computes in it."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(work).result()
    finally:
        pool.shutdown(wait=False)


def _check_same(raster: RawTiff, cog: Path, level: int) -> None:
    """Read a finished map back: a full disk can leave a file that GDAL does not complain about.

    Raises:
        OSError: Its overview of this level, 0 being the map itself, does not hold what was written.
    """
    options = {"overview_level": level - 1} if level else {}
    with streaming(), rasterio.open(cog, **options) as copied:
        same = copied.shape == raster.shape
        for row in range(0, raster.shape[0], raster.strip_rows):
            rows = slice(row, min(row + raster.strip_rows, raster.shape[0]))
            strip = RasterWindow.from_slices(rows, slice(0, raster.shape[1]))
            same = same and np.array_equal(raster.read(rows), copied.read(1, window=strip), equal_nan=True)
    if not same:
        raise OSError(errno.EIO, "the map differs from what was written", str(cog))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn failures of the disk into one clear error; see `hadgeo.files.writing`."""
    with writing(out), warnings.catch_warnings():
        # A map without a georeference is all that a scene without one can have; its reader was warned.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
