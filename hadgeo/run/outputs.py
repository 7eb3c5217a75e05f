"""The maps of a run: whether they can be written, and the one on the map's grid where a lookup table leads there."""

from __future__ import annotations

from pathlib import Path

from hadgeo.errors import ParameterError
from hadgeo.files import check_no_input, check_output, check_tiff_name
from hadgeo.formats.glt import check_glt
from hadgeo.maps.orthorectify import orthorectify, turn_north_up
from hadgeo.maps.part_folder import PartFolder, held_bytes, names_written
from hadgeo.maps.reader import open_scores, sensor_path
from hadgeo.maps.writer import disk_bytes
from hadgeo.progress import Progress
from hadgeo.run.learning import check_regions
from hadgeo.run.plan import Task


def check_outputs(task: Task, target: Path, *, overwrite: bool) -> None:
    """Refuse early what could not be written late.

    Raises:
        OutputError: As for `check_output`.
        ParameterError: The map shall be warped, and nobody knows how it lies.
        GeometryError: The lookup table is of another flight line.
    """
    check_tiff_name(target)
    check_regions(task.learning, target)
    # What an earlier run has taken is gone on with, or freed.
    check_output(target, overwrite=overwrite, nbytes=disk_bytes(_pixels_written(task)) - held_bytes(target))
    if task.moved:
        beside = sensor_path(target)
        check_output(beside, overwrite=overwrite)
        check_regions(task.learning, beside)
        for name in names_written(beside):
            check_no_input(name, task.source.files, told="the scene itself, or a part of it")
    if task.glt is not None:
        beside = sensor_path(target)
        for name in (*names_written(target), *names_written(beside)):
            check_no_input(name, task.glt.files, told="the lookup table itself, or a part of it")
        check_glt(task.glt, task.source)


def _pixels_written(task: Task) -> int:
    """Pixels of all grids that maps are on.

    Raises:
        ParameterError: One shall be warped, and nobody knows how it lies.
    """
    source, glt = task.source, task.glt
    pixels = source.shape[1] * source.shape[2] + (0 if glt is None else glt.grid.pixels)
    if not task.north_up:
        return pixels
    grid = source.metadata.grid if glt is None else glt.grid
    if not grid.georeferenced:
        raise ParameterError(f"{source.path}: not georeferenced, so the direction of north is unknown; omit --north-up")
    return pixels + grid.north_up().pixels


def orthorectified(task: Task, target: Path, progress: Progress) -> None:
    """Make the orthorectified or turned map of the finished one on the scene's grid, if one is wanted.

    A run that is killed meanwhile makes it anew: that takes seconds, where scores take hours.

    Raises:
        OutputError: The disk is full, or fails.
        Cancelled: `progress` asked for it.
    """
    if not task.moved:
        return
    beside = sensor_path(target)
    # In the folder of the other map, since its own holds the finished windows.
    with PartFolder(beside) as folder:
        folder.clear()
        scores = open_scores(beside)
        if task.glt is None:
            turn_north_up(scores, task.source.metadata.grid, target, folder=folder, progress=progress)
        else:
            orthorectify(scores, task.glt, target, north_up=task.north_up, folder=folder, progress=progress)
