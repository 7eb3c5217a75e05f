"""Which windows of a map an interrupted run has finished, and under which settings.

A text file of JSON lines that only grows: the settings, what the file of the map says besides its pixels, one entry per
window after its scores were written, and a last entry when the map is complete. Each entry carries a checksum of its
scores, so a crash of the whole machine, which may lose pixels and keep the entry, costs a window and never the map.
Nothing counts from the first truncated or foreign entry on.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hadgeo.maps.part_folder import JOURNAL
from hadgeo.windows import Window


class Journal:
    """The journal in a folder of unfinished work.

    Attributes:
        settings: What the map depends on, as given to `create`.
        head: `RawTiff.head` of the file that the windows were written into; empty where there was none yet.
        complete: Whether the map was whole.
        valid: Pixels that have a score, once the map is whole.
        finished: The SHA-256 of the file of the whole map, once there is one.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._checksums: dict[Window, int] = {}
        #: Bytes of the file that were read and count.
        self._sound = 0
        self.settings = dict(settings)
        self.head = ""
        self.complete = False
        self.valid = 0
        self.finished = ""

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Begin a journal; an older one is lost.

        Args:
            folder: Where the map grows.
            settings: What the map depends on, by names for people.
        """
        journal = cls(folder / JOURNAL, settings)
        journal._path.unlink(missing_ok=True)
        journal._append({"settings": journal.settings})
        return journal

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read a journal, or None where there is none that says anything."""
        path = folder / JOURNAL
        try:
            data = path.read_bytes()
        except OSError:
            return None
        journal = cls(path, {})
        for line in data.splitlines(keepends=True):
            if not (line.endswith(b"\n") and journal._take(line, first=not journal._sound)):
                break
            journal._sound += len(line)
        return journal if journal._sound else None

    def _take(self, line: bytes, *, first: bool) -> bool:
        """Take in a line, if it is sound."""
        try:
            told = json.loads(line)
            if first:
                self.settings = dict(told["settings"])
            elif "window" in told:
                self._checksums[Window(*map(index, told["window"]))] = index(told["crc32"])
            elif "head" in told:
                self.head = str(told["head"])
            else:
                self.valid, self.finished, self.complete = index(told["valid"]), str(told["sha256"]), True
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        return True

    def __len__(self) -> int:
        """Number of finished windows."""
        return len(self._checksums)

    def repair(self) -> None:
        """Cut off what does not count, so that what is added is read again."""
        os.truncate(self._path, self._sound)

    def begin(self, head: str) -> None:
        """Note into which file windows are written from now on.

        Args:
            head: Its `RawTiff.head`.
        """
        self.head = head
        self._append({"head": head})

    def add(self, window: Window, scores: npt.NDArray[np.float32]) -> None:
        """Note that a window's scores (y, x) were written."""
        self._checksums[_bare(window)] = _checksum(scores)
        place = [window.row, window.col, window.height, window.width]
        self._append({"window": place, "crc32": _checksum(scores)})

    def holds(self, window: Window) -> bool:
        """Whether a window was finished."""
        return _bare(window) in self._checksums

    def matches(self, window: Window, scores: npt.NDArray[np.float32]) -> bool:
        """Whether these are the scores (y, x) that were written."""
        return self._checksums[_bare(window)] == _checksum(scores)

    def end(self, valid: int, finished: str) -> None:
        """Note that the map is whole.

        Args:
            valid: Pixels that have a score.
            finished: The SHA-256 of its file.
        """
        self.complete, self.valid, self.finished = True, valid, finished
        self._append({"valid": valid, "sha256": finished})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two settings, for people; an empty text where nothing does."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key} was {before.get(key)} and is {now.get(key)}" for key in keys)


def _bare(window: Window) -> Window:
    return Window(window.row, window.col, window.height, window.width)


def _checksum(scores: npt.NDArray[np.float32]) -> int:
    return zlib.crc32(np.ascontiguousarray(scores, dtype=np.float32).tobytes())
