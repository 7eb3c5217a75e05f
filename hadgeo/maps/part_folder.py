"""Where a map grows: the folder ``<output>.part`` beside it, held by one process at a time.

What a run writes stands in there until it is whole. A run that was killed leaves the folder behind, under a name by
which the next one finds it; nobody holds it any more then, because a lock dies with its process. Links are not
followed, and nothing is removed but what a run puts there.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.files import begun, ended, is_own_file, release_and_remove, remove_leftovers, writing
from hadgeo.interrupt import uninterrupted

#: The map's pixels, and the finished map.
SCORES, FINISHED = "scores.tif", "cog.tif"

#: What a run makes of the pixels on the way: a map not yet whole, a warped one, and a map with its overviews.
FRESH, WARPED, TOGETHER = "new.tif", "north_up.tif", "map.vrt"

#: The fitted detector, and what else the run is about to write beside its map.
MODEL, PRODUCTS = "model.hadgeo", "products.json"

#: The file that says what the others are worth.
JOURNAL = "journal.jsonl"

#: The file by which a folder of ours is known, and which its process keeps locked.
_LOCK = "hadgeo.lock"

_NAMES = {SCORES, FINISHED, FRESH, WARPED, TOGETHER, MODEL, PRODUCTS, JOURNAL}

#: Overviews, and what a kill can leave behind: files that GDAL puts beside a raster, and one that was not yet whole.
_OTHER_NAMES = re.compile(
    r"overview\d+\.tif|(scores|cog|new|north_up|overview\d+)\.tif(\.aux\.xml|(\.msk|\.ovr)*\.tmp)"
)


def part_path(out: Path) -> Path:
    """The folder in which an output grows."""
    return out.with_name(out.name + ".part")


def names_written(out: Path) -> list[Path]:
    """The names under which a map grows and ends."""
    return [out, part_path(out)] if out.name else [out]


def overview_name(level: int) -> str:
    """The file of an overview, 1 being the finest."""
    return f"overview{level}.tif"


def held_bytes(out: Path) -> int:
    """The disk that a folder in which an output grows has taken already; none where there is no such folder."""
    place, held = part_path(out) if out.name else out, 0
    with suppress(OSError):
        if not place.is_symlink():
            for path in _ours(place):
                status = path.lstat()
                # A file with holes takes less than its size; not every system says so.
                held += getattr(status, "st_blocks", status.st_size // 512) * 512
    return held


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
        OutputExistsError: Something of that name stands there that is none of ours, or a link.
    """

    @uninterrupted
    def __init__(self, out: Path) -> None:
        self.path = part_path(out)
        self.keep = False
        self.note = ""
        self._out = out
        self._lock = FileLock(self.path / _LOCK)
        with writing(out):
            self._made = self._make()
            try:
                self._check_ours(made=self._made)
                self._hold()
            except OutputError:
                # Another run was quicker, and it is that one's now.
                if self._made:
                    ended(self.path)
                raise
            remove_leftovers(out.parent)

    def _make(self) -> bool:
        try:
            self.path.mkdir()
        except FileExistsError:
            return False
        begun(self.path)
        return True

    def _check_ours(self, *, made: bool) -> None:
        links = [path for path in (self.path, *self._content()) if path.is_symlink()]
        if links:
            raise OutputExistsError(
                f"{links[0]} is a link, which a run does not follow when writing; move it away, or use -o to write "
                "elsewhere"
            )
        if not made and self.path.is_dir():
            self._check_owner()
        if not (self.path / _LOCK).is_file() and (not self.path.is_dir() or self._content()):
            raise OutputExistsError(
                f"{self.path} is in the way, and was not made by a run of hadgeo; move it away, or use -o to write "
                "elsewhere"
            )
        for path in (self.path / _LOCK, *_ours(self.path)):
            if os.path.lexists(path) and not is_own_file(path):
                raise OutputExistsError(
                    f"{path} is no plain file, or has another name elsewhere; a run does not write into it: move it "
                    "away, or use -o to write elsewhere"
                )

    def _check_owner(self) -> None:
        """Refuse what another user may change while it is written into."""
        owner = self.path.stat().st_uid
        if os.name != "nt" and owner != os.geteuid():
            raise OutputExistsError(
                f"{self.path} belongs to another user ({_user(owner)}), whose run may go on; wait for it, or use -o to "
                "write elsewhere"
            )

    def _content(self) -> list[Path]:
        return list(self.path.iterdir()) if self.path.is_dir() else []

    def _hold(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):
            raise OutputError(
                f"{self._out} is being written by another run of hadgeo; wait for it, or use -o to write elsewhere"
            ) from None

    def clear(self) -> None:
        """Remove all that runs put into the folder, the journal last: a run that is killed meanwhile is known by it.

        Raises:
            OutputError: It cannot be removed.
        """
        with writing(self._out):
            for path in sorted(_ours(self.path), key=lambda path: path.name == JOURNAL):
                path.unlink(missing_ok=True)
            remove_leftovers(self.path)

    def discard(self) -> None:
        """Remove the folder and let go of it; what is none of ours stays, and the folder with it."""
        if not self._lock.is_locked:
            return
        # The folder may be gone already, or be about to be used by another run.
        with suppress(OSError):
            self.clear()
        release_and_remove(self._lock, self.path)
        if self._made:
            ended(self.path)

    def release(self) -> None:
        """Let go of the folder and leave what is in it."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self.keep:
            if self.note and self.path.is_dir():
                error.add_note(self.note)
            self.release()
        else:
            self.discard()


def _user(number: int) -> str:
    """What a user is called, or the number where nobody knows."""
    try:
        from pwd import getpwuid

        return getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)


def _ours(folder: Path) -> list[Path]:
    """What runs put into a folder."""
    return [path for path in folder.iterdir() if path.name in _NAMES or _OTHER_NAMES.fullmatch(path.name)]
