"""A finished score map on disk, read strip by strip."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from hadgeo.errors import CubeError, CubeNotFoundError, ReadError
from hadgeo.files import RASTERIO_ERRORS
from hadgeo.formats.gdal import open_dataset, streaming
from hadgeo.formats.matlab import read_scores
from hadgeo.grid import Grid

#: Rows of a strip are as many whole blocks of the file as stay below this.
_STRIP_BYTES = 2**25

#: How the tag HADGEO_WARPED begins in a map that a lookup table led to, and what it is in one that was turned.
BY_TABLE, TURNED = "lookup table, nearest", "north-up, max"


#: Different values of a truth or a mask.
_YES_AND_NO = 2

#: Tags of rasters that are no scores.
_NO_SCORES = {
    "HADGEO_SCORES": "p-values, which fall as scores rise",
    "HADGEO_SUPPRESSED": "a mask of surfaces",
    "HADGEO_TRUTH_OF": "a truth",
}


@dataclass(frozen=True)
class ScoreMap:
    """Anomaly scores on disk; nothing is read until asked.

    Attributes:
        path: The file.
        grid: Its rows and columns, and where they lie.
        tags: The file's own tags, `HADGEO_DETECTOR` among them for a map of hadgeo's.
        block_rows: Rows of a block in the file.
        whole: The scores themselves, where a file can only be read as a whole (MATLAB).
    """

    path: Path
    grid: Grid
    tags: dict[str, str] = field(default_factory=dict)
    block_rows: int = 1
    whole: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def __fspath__(self) -> str:
        """The file, so that whatever takes the name of a map takes an open one."""
        return str(self.path)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.shape

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system, or None."""
        return self.grid.crs

    @property
    def transform(self) -> Affine | None:
        """Full affine from pixel corners to the CRS, or None where the file has none."""
        return self.grid.transform

    @property
    def detector(self) -> str:
        """The detector's name, or an empty text for a map from elsewhere."""
        return self.tags.get("HADGEO_DETECTOR", "")

    @property
    def orthorectified(self) -> bool:
        """Whether a lookup table led to its pixels, so that it repeats some of those that were measured."""
        return self.tags.get("HADGEO_WARPED", "").startswith(BY_TABLE)

    @property
    def warped(self) -> bool:
        """Whether it is not on the grid of its scene; `on_scene_grid` finds the map that is."""
        return bool(self.tags.get("HADGEO_WARPED"))

    def strips(self, *, margin: int = 0) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Read the map from top to bottom in strips of whole rows.

        Args:
            margin: Rows that are read on both sides of a strip too, where the map has them.

        Yields:
            The strip's rows without the margin, and scores (y, x) with it; NaN where there is no score.

        Raises:
            ReadError: The file is damaged.
        """
        rows, cols = self.shape
        step = max(1, _STRIP_BYTES // (4 * cols * self.block_rows)) * self.block_rows
        with self._reader() as read:
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                yield slice(start, stop), read(slice(max(0, start - margin), min(rows, stop + margin)), slice(0, cols))

    def read(self, rows: slice, cols: slice) -> npt.NDArray[np.float32]:
        """Read a rectangle, (y, x), NaN where there is no score.

        Raises:
            ReadError: The file is damaged.
        """
        with self._reader() as read:
            return read(rows, cols)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[slice, slice], npt.NDArray[np.float32]]]:
        if self.whole is not None:
            whole = self.whole
            yield lambda rows, cols: whole[rows, cols].copy()
        else:
            with _opened(self.path) as dataset:
                yield lambda rows, cols: _read(dataset, RasterWindow.from_slices(rows, cols))


def check_varied(scores: ScoreMap, values: int) -> None:
    """Refuse a map from elsewhere that is a truth or a mask rather than scores.

    Args:
        scores: The map.
        values: How many different values it has.

    Raises:
        CubeError: They are two.
    """
    if not scores.detector and values == _YES_AND_NO:
        raise CubeError(f"{scores.path}: only two different values: a truth or a mask, not scores; give a score map")


def sensor_path(out: Path) -> Path:
    """Where the map on the scene's own grid stands: ``x_sensor.tif`` beside the orthorectified or turned ``x.tif``."""
    return out.with_name(f"{out.stem}_sensor{out.suffix}")


def on_scene_grid(scores: ScoreMap) -> ScoreMap:
    """The map that has each pixel of the scene once: the one beside it where it was orthorectified or turned.

    Args:
        scores: A map.

    Returns:
        The same map, or that of the same run on the scene's own grid.

    Raises:
        CubeError: There is none.
    """
    if not scores.warped:
        return scores
    beside = sensor_path(scores.path)
    same = ("HADGEO_MODEL_HASH", "HADGEO_SOURCE", "HADGEO_BANDS")
    if beside.is_file():
        own = open_scores(beside)
        if all(own.tags.get(name) == scores.tags.get(name) for name in same):
            return own
    raise CubeError(
        f"{scores.path} is not on the grid of its scene ({scores.tags['HADGEO_WARPED']}), and {beside.name}, the map "
        "of the same run that is, does not stand beside it; keep both together, or detect again"
    )


def open_scores(path: str | os.PathLike[str]) -> ScoreMap:
    """Open a map of anomaly scores, higher meaning more anomalous.

    Args:
        path: Any raster of one band, or a MATLAB file with one 2-D array.

    Returns:
        The map, of which nothing but a MATLAB file is read yet.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster, or not of one band of real numbers.

    Examples:
        >>> for rows, scores in open_scores("line_anomaly.tif").strips():
        ...     print(rows.start, np.nanmax(scores))
    """
    file = Path(path)
    if not file.exists():
        raise CubeNotFoundError(f"{file}: no such score map; make one with `hadgeo detect`")
    if file.suffix.lower() == ".mat":
        scores = read_scores(file)
        scores[~np.isfinite(scores)] = np.nan
        return ScoreMap(file, Grid(scores.shape), whole=scores)
    with _opened(file) as dataset:
        if dataset.count != 1:
            raise CubeError(
                f"{file}: {dataset.count} bands, but a score map has one; give the output of `hadgeo detect`"
            )
        if np.dtype(dataset.dtypes[0]).kind not in "fiu":
            raise CubeError(f"{file}: its values are {dataset.dtypes[0]}, but scores are real numbers")
        _check_tags(dataset.tags(), file)
        transform = dataset.transform
        placed = not transform.is_identity and not transform.is_degenerate
        return ScoreMap(
            file,
            Grid(dataset.shape, dataset.crs, transform if placed else None),
            dataset.tags(),
            dataset.block_shapes[0][0],
        )


def _check_tags(tags: Mapping[str, str], file: Path) -> None:
    """Refuse other maps of hadgeo's, which would be read without complaint.

    Raises:
        CubeError: It is one.
    """
    for tag, what in _NO_SCORES.items():
        if tag in tags:
            raise CubeError(f"{file}: {what} ({tags[tag]}), not scores; give the output of `hadgeo detect`")


@contextmanager
def _opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    with warnings.catch_warnings():
        # A map of a scene without georeference is as good as any.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = open_dataset(str(path))
        except RASTERIO_ERRORS as error:
            reason = " ".join(str(error).split())
            raise CubeError(f"{path}: not a raster that GDAL can read ({reason}); give a score map") from None
    # Strips are whole blocks.
    with streaming(), dataset:
        yield dataset


def _read(dataset: rasterio.DatasetReader, window: RasterWindow) -> npt.NDArray[np.float32]:
    try:
        values = dataset.read(1, window=window, masked=True)
    except RASTERIO_ERRORS as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ReadError(f"{dataset.name}: damaged ({reason}); copy it again, or recreate it") from error
    scores: npt.NDArray[np.float32] = np.ma.filled(values.astype(np.float32), np.nan)
    scores[~np.isfinite(scores)] = np.nan
    return scores
