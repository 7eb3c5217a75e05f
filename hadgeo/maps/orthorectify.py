"""A score map on the scene's grid, brought onto a map by a lookup table, or turned north-up.

Scores are brought there, never the cube: an orthorectified flight line repeats pixels, which would count twice in
every statistic of a detector and of a threshold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import Cancelled
from hadgeo.formats.glt import Glt, Integers
from hadgeo.grid import Grid
from hadgeo.maps.part_folder import PartFolder
from hadgeo.maps.reader import BY_TABLE, TURNED, ScoreMap
from hadgeo.maps.writer import ScoreWriter
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.windows import Window

#: Bytes of scores in the sensor's geometry that are in memory at a time.
_PART_BYTES = 2**24


def orthorectify(
    scores: ScoreMap,
    glt: Glt,
    out: Path,
    *,
    overwrite: bool = False,
    north_up: bool = False,
    folder: PartFolder | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Bring scores onto the grid of a lookup table, strip by strip: each pixel is the score of the one it names.

    Args:
        scores: The map in the sensor's geometry.
        glt: The table.
        out: The new map.
        overwrite: Whether a file there may be replaced.
        north_up: As for `ScoreWriter`; the grid of a table may be rotated.
        folder: As for `ScoreWriter`.
        progress: Follows the work and may cancel it.

    Raises:
        ReadError: The map or the table is damaged.
        OutputError: `out` cannot be written.
        Cancelled: `progress` asked for it.
    """
    warped = BY_TABLE + (f", then {TURNED}" if north_up else "")
    writer = ScoreWriter(
        out, grid=glt.grid, **_told(scores, warped), overwrite=overwrite, north_up=north_up, folder=folder
    )
    cols = glt.grid.shape[1]
    placed = np.zeros(scores.grid.shape, dtype=bool)
    progress.stage(Stage.ORTHORECTIFY, glt.grid.pixels)
    with writer:
        for rows in glt.strips():
            if progress.cancelled():
                raise Cancelled("stopped on request")
            height = rows.stop - rows.start
            own_rows, own_cols = glt.read(rows)
            there = own_rows >= 0
            placed[own_rows[there], own_cols[there]] = True
            writer.write(Window(rows.start, 0, height, cols), looked_up(scores, own_rows, own_cols))
            progress.advance(height * cols)
        _tell_lost(scores, placed, progress)
        if folder is None:
            return writer.finish()
        writer.complete()
        return writer.place()


def turn_north_up(scores: ScoreMap, grid: Grid, out: Path, *, folder: PartFolder, progress: Progress = SILENT) -> Path:
    """Warp scores to a grid whose rows run from west to east; see `hadgeo.maps.north_up`.

    Args:
        scores: The map on the scene's grid.
        grid: That grid.
        out: The new map.
        folder: As for `ScoreWriter`.
        progress: Follows the work and may cancel it.

    Raises:
        ReadError: The map is damaged.
        OutputError: `out` cannot be written.
        Cancelled: `progress` asked for it.
    """
    progress.stage(Stage.ORTHORECTIFY, grid.pixels)
    with ScoreWriter(out, grid=grid, **_told(scores, TURNED), north_up=True, folder=folder) as writer:
        for rows, strip in scores.strips():
            if progress.cancelled():
                raise Cancelled("stopped on request")
            writer.write(Window(rows.start, 0, *strip.shape), strip)
            progress.advance(strip.size)
        writer.complete()
        return writer.place()


def _told(scores: ScoreMap, warped: str) -> dict[str, Any]:
    """What a map says of its making when it is that of another one on a new grid."""
    tags = {name: value for name, value in scores.tags.items() if name.startswith("HADGEO_")}
    return {
        "description": f"anomaly score ({scores.detector})" if scores.detector else "anomaly score",
        "tags": {**tags, "HADGEO_WARPED": warped},
    }


def _tell_lost(scores: ScoreMap, placed: npt.NDArray[np.bool_], progress: Progress) -> None:
    """Say how many pixels that have a score the table leads to from nowhere."""
    rows, cols = placed.shape
    step = max(1, _PART_BYTES // (4 * cols * scores.block_rows)) * scores.block_rows
    lost = measured = 0
    for row in range(0, rows, step):
        part = slice(row, min(row + step, rows))
        known = np.isfinite(scores.read(part, slice(0, cols)))
        measured += int(known.sum())
        lost += int((known & ~placed[part]).sum())
    if lost:
        progress.message(
            f"{lost} of {measured} measured pixels have no place in the orthorectified map: the map in the sensor's "
            "geometry has their scores"
        )


def looked_up(scores: ScoreMap, rows: Integers, cols: Integers) -> npt.NDArray[np.float32]:
    """Scores of some pixels.

    Rows that are far apart, as in a map of a line flown from west to east, are read part by part.

    Args:
        scores: The map.
        rows: Row of each pixel, in any shape; -1 for none.
        cols: Column of each, likewise.

    Returns:
        Scores in that shape, NaN for none.
    """
    found = np.full(rows.shape, np.nan, dtype=np.float32)
    there = np.flatnonzero(rows.ravel() >= 0)
    if not there.size:
        return found
    own_rows, own_cols = rows.ravel()[there], cols.ravel()[there]
    left, right = int(own_cols.min()), int(own_cols.max()) + 1
    # Whole blocks of the file, or it would be decoded several times.
    step = max(1, _PART_BYTES // (4 * (right - left) * scores.block_rows)) * scores.block_rows
    order = np.argsort(own_rows, kind="stable")
    part = own_rows[order] // step
    for same in np.split(order, np.flatnonzero(np.diff(part)) + 1):
        low, high = int(own_rows[same[0]]), int(own_rows[same[-1]]) + 1
        values = scores.read(slice(low, high), slice(left, right))
        found.reshape(-1)[there[same]] = values[own_rows[same] - low, own_cols[same] - left]
    return found
