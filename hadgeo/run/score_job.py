"""One map in the making: which of its windows are left, where scores go, and what an earlier run left behind.

Scores may come in any order and from anywhere; whoever has them hands them to `ScoreJob.take`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hadgeo.detectors.base import Detector
from hadgeo.errors import ModelError, OutputError, OutputExistsError, ReadError
from hadgeo.files import sha256_of, writing
from hadgeo.formats.source import Source
from hadgeo.maps.journal import Journal, differences
from hadgeo.maps.part_folder import FINISHED, MODEL, PartFolder, part_path
from hadgeo.maps.reader import sensor_path
from hadgeo.maps.writer import ScoreWriter
from hadgeo.run.model_file import Model, load_model, to_bytes
from hadgeo.windows import Window

#: Name, size in bytes and time of change in nanoseconds of each file of a scene.
Stamp = list[tuple[str, int, int]]


class ScoreJob:
    """A map in the making.

    Args:
        writer: Writes the map into `folder`.
        folder: Where the map grows; after the first window its contents outlive a failure.
        journal: Notes what is finished.
        plan: All windows of the map.
        source: The scene, which must not change meanwhile.
        stamp: What `stamp_of` said of it before anything was read.

    Attributes:
        left: Windows that had no scores when the run began, in order.
        kept: Windows that an earlier run had finished.
        valid: Pixels that have a score so far.
        valid_kept: Those among them that an earlier run had finished.
    """

    def __init__(
        self,
        writer: ScoreWriter,
        folder: PartFolder,
        journal: Journal,
        plan: Sequence[Window],
        *,
        source: Source,
        stamp: Stamp,
    ) -> None:
        self._writer, self._folder, self._journal = writer, folder, journal
        self._plan, self._source, self._stamp = plan, source, stamp
        self.left: list[Window] = []
        self.kept: list[Window] = []
        self.valid = 0
        self._whole = _is_whole(journal, [writer.finished])
        if journal.head != writer.head:
            with writing(writer.out):
                journal.begin(writer.head)
        for window in plan:
            (self.kept if self._was_finished(window) else self.left).append(window)
        if self._whole:
            self.valid = journal.valid
        self.valid_kept = self.valid
        self._finished = len(self.kept)
        self._note()

    def _was_finished(self, window: Window) -> bool:
        if self._whole or not self._journal.holds(window):
            return self._whole
        scores = self._writer.read(window)
        matches = self._journal.matches(window, scores)
        if matches:
            self.valid += int(np.isfinite(scores).sum())
        return matches

    def take(self, window: Window, scores: npt.NDArray[np.float32]) -> None:
        """Write the scores (y, x) of a window.

        Raises:
            ReadError: The scene has changed since the run began.
            OutputError: The disk is full, or fails.
        """
        self._check_unchanged()
        self._writer.write(window, scores)
        with writing(self._writer.out):
            self._journal.add(window, scores)
        self.valid += int(np.isfinite(scores).sum())
        self._finished += 1
        self._note()

    def finish(self) -> None:
        """Make the map of what was written, where an earlier run did not come that far, and put it in its place.

        Raises:
            ReadError: The scene has changed since the run began.
            OutputError: The disk is full, or fails.
        """
        self._check_unchanged()
        if not self._whole:
            self._writer.complete()
            with writing(self._writer.out):
                self._journal.end(self.valid, sha256_of(self._writer.finished))
        self._writer.place()
        if self._folder.keep:
            self._folder.note = f"{self._writer.out} is finished; complete the run with --resume"

    def _note(self) -> None:
        # An array in memory cannot be told from another one tomorrow.
        if self._finished and not self._source.is_array:
            self._folder.keep = True
            self._folder.note = (
                f"{self._finished} of {len(self._plan)} windows are kept in {self._folder.path}; continue with --resume"
            )

    def _check_unchanged(self) -> None:
        if stamp_of(self._source) != self._stamp:
            self._folder.keep = False
            raise ReadError(
                f"{self._source.path}: changed while it was being read, so its scores would match neither version; "
                "start again when it is complete"
            )


def stamp_of(source: Source) -> Stamp:
    """Name, size and time of change of each file that a scene is made of; empty for one that has no files."""
    return stamp_files(source.files)


def stamp_files(files: Iterable[Path]) -> Stamp:
    """Name, size and time of change of files, leaving out what is inside an archive or on the web."""
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file.absolute()), status.st_size, status.st_mtime_ns))
    return found


def look_back(folder: PartFolder, *, resume: bool, overwrite: bool) -> Journal | None:
    """What an earlier run left in a folder, if it shall be gone on with; else the folder is emptied.

    Args:
        folder: Where the map grows.
        resume: Whether to go on with it.
        overwrite: Whether it may be lost.

    Raises:
        OutputExistsError: There are finished windows, and the user said neither.
    """
    earlier = Journal.read(folder.path)
    if earlier is not None and resume:
        folder.keep = True
        earlier.repair()
        return earlier
    if earlier is not None and len(earlier) and not overwrite:
        folder.keep = True
        raise OutputExistsError(
            f"{folder.path} holds {len(earlier)} finished windows of an interrupted run; "
            "continue with --resume, or start over with --overwrite"
        )
    folder.clear()
    return None


def was_completed(out: Path) -> bool:
    """Whether a run was stopped between the last window of a map and the end of its cleaning up.

    That counts as long as its map is as it was: what somebody else has put into its place is not the run's to replace.
    """
    folder = part_path(out)
    earlier = Journal.read(folder)
    return earlier is not None and _is_whole(earlier, [folder / FINISHED, out, sensor_path(out)])


def _is_whole(journal: Journal, places: Iterable[Path]) -> bool:
    """Whether the map that was whole then is still so, in one of some places."""
    if not journal.complete:
        return False
    with suppress(OSError):
        return any(sha256_of(path) == journal.finished for path in places if path.is_file())
    return False


def check_same_run(earlier: Journal, settings: Mapping[str, Any], folder: PartFolder) -> None:
    """Refuse to mix two runs in one map.

    Raises:
        OutputError: The earlier run had other settings, or another input.
    """
    earlier_settings = {key: value for key, value in earlier.settings.items() if key in settings}
    different = differences(earlier_settings, settings)
    if different:
        raise OutputError(
            f"{folder.path} belongs to a run with other settings ({different}); "
            "resume with those, or start over with --overwrite alone"
        )


def keep_model(folder: PartFolder, model: Model) -> None:
    """Write a fitted detector into the folder, so that a fit is not repeated.

    Raises:
        ModelError: The fit diverged.
        OSError: The disk is full, or fails.
    """
    (folder.path / MODEL).write_bytes(to_bytes(model))


def kept_fit(folder: PartFolder, like: Detector[Any], device: torch.device) -> Detector[Any] | None:
    """The fitted detector of an earlier run, or None where it had not come that far."""
    try:
        found = load_model(folder.path / MODEL, device).detector
    except ModelError:
        return None
    return found if type(found) is type(like) and found.params == like.params else None
