"""Which windows of a map an interrupted run has finished, and under which settings.

A text file of JSON lines that only grows: the settings, one line a window after its scores were written, and a last
line when the map is whole. Each window's line carries a checksum of its scores, so a crash of the whole machine,
which may lose pixels and keep the line, costs a window and never the map. A line that was cut short does not count.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
        complete: Whether the map was whole.
        valid: Pixels that have a score, once the map is whole.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._checksums: dict[Window, int] = {}
        self.settings = dict(settings)
        self.complete = False
        self.valid = 0

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
        lines = list(_whole_lines(path))
        if not lines or "settings" not in lines[0]:
            return None
        journal = cls(path, lines[0]["settings"])
        for line in lines[1:]:
            if "window" in line:
                journal._checksums[Window(*line["window"])] = line["crc32"]
            else:
                journal.complete, journal.valid = True, line["valid"]
        return journal

    def __len__(self) -> int:
        """Number of finished windows."""
        return len(self._checksums)

    def repair(self) -> None:
        """Cut off a line that was not finished, so that the next one stands alone."""
        data = self._path.read_bytes()
        with self._path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)

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

    def end(self, valid: int) -> None:
        """Note that the map is whole.

        Args:
            valid: Pixels that have a score.
        """
        self.complete, self.valid = True, valid
        self._append({"valid": valid})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two settings, for people; an empty text where nothing does."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key} was {before.get(key)} and is {now.get(key)}" for key in keys)


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            yield json.loads(line)


def _bare(window: Window) -> Window:
    return Window(window.row, window.col, window.height, window.width)


def _checksum(scores: npt.NDArray[np.float32]) -> int:
    return zlib.crc32(np.ascontiguousarray(scores, dtype=np.float32).tobytes())
