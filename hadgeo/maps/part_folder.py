"""Where an output grows: the folder ``<output>.part`` beside it, held by one process at a time.

What a run writes stands in there until it is whole. A run that was killed leaves the folder behind; nobody holds it any
more then, because a lock dies with its process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from hadgeo.errors import OutputError, OutputExistsError

#: The file by which a folder of ours is known, and which its process keeps locked.
_LOCK = "hadgeo.lock"

#: The file that says what the others are worth.
JOURNAL = "journal.jsonl"


def part_path(out: Path) -> Path:
    """The folder in which an output grows."""
    return out.with_name(out.name + ".part")


class PartFolder:
    """The folder in which an output grows. As a context manager it is removed at the end.

    Args:
        out: The output.

    Attributes:
        path: The folder.
        keep: Whether what is in it outlives a run that fails.
        note: What is kept and how to go on, which is then added to the error.

    Raises:
        OutputError: Another run holds it, or it cannot be made.
        OutputExistsError: Something of that name stands there that is none of ours.
    """

    def __init__(self, out: Path) -> None:
        self.path = part_path(out)
        self.keep = False
        self.note = ""
        with suppress(FileExistsError):
            self._make(out)
        name = self.path / _LOCK
        if not name.is_file() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise OutputExistsError(
                f"{self.path} is in the way, and not from a run of hadgeo; move it away, or use -o to write elsewhere"
            )
        self._lock = FileLock(name)
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):
            raise OutputError(
                f"{out} is being written by another run of hadgeo; wait for it, or use -o to write elsewhere"
            ) from None

    def _make(self, out: Path) -> None:
        try:
            self.path.mkdir()
        except FileExistsError:
            raise
        except OSError as error:
            raise OutputError(
                f"{out} cannot be written: {error.strerror}; make room, or use -o to write elsewhere"
            ) from error

    def clear(self) -> None:
        """Remove all that is in the folder, the journal last: a run that is killed meanwhile is known by it."""
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == JOURNAL):
            if path.name != _LOCK:
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the folder and let go of it."""
        if not self._lock.is_locked:
            return
        self.clear()
        name = self.path / _LOCK
        if os.name == "nt":
            self._lock.release()
            name.unlink(missing_ok=True)
        else:
            # In this order, so that whoever opened the file in between sees that it guards nothing any more.
            name.unlink(missing_ok=True)
            self._lock.release()
        # Another run may be about to use the folder already.
        with suppress(OSError):
            self.path.rmdir()

    def release(self) -> None:
        """Let go of the folder and leave what is in it."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self.keep:
            if self.note:
                error.add_note(self.note)
            self.release()
        else:
            self.discard()
