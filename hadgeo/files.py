"""How files are written: refused before the work where they could not be written after it, and whole or not at all.

A file grows beside its place in a folder of a random name that is created exclusively, so that nobody's file of that
name is lost and no link is followed. It is flushed to the disk, and takes its place by a rename: at every moment what
stands there is the old file or the new one. A process keeps such a folder locked as long as it lives; what one that was
killed has left behind is known by that, and removed by the next that writes there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError

from hadgeo.errors import HadgeoError, OutputError, OutputExistsError
from hadgeo.interrupt import uninterrupted

#: Every error of rasterio's. Where GDAL or PROJ gives up inside some of its calls, theirs comes through unwrapped.
RASTERIO_ERRORS: tuple[type[Exception], ...] = (RasterioError, CRSError, CPLE_BaseError)

#: What a process keeps locked in a folder where a file of its own grows. The folder of a map, which outlives a kill so
#: that it may go on, may be called the same, but holds another lock.
_LOCK = "growing.lock"

#: What a folder is called in which a file grows, behind the file's own name.
_GROWS = re.compile(r".+\.[0-9a-f]{8}\.part", re.DOTALL)

#: Folders that this process has rid of what others left there.
_swept: set[Path] = set()

#: With less than this left, a failure to write needs no other explanation.
_DISK_FULL_BYTES = 65536

#: What a disk that fails is noticed by, through GDAL too.
_FAILURES: tuple[type[Exception], ...] = (*RASTERIO_ERRORS, OSError)

#: How cells begin that spreadsheets compute, blanks before it included, and numbers, which may begin so.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n|%]")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)

#: Endings of rasters, vectors and documents that are no GeoTIFF.
_OTHER_FORMATS = re.compile(
    r"\.(asc|bil|bip|bmp|bsq|csv|dat|ecw|fgb|geojson|gif|gpkg|grd|h5|hdf5?|hdr|html|img|jp2|jpe?g|json|kml|mat|nc|npy|"
    r"parquet|pdf|pix|png|raw|rst|shp|svg|txt|vrt|webp|xml|zarr)",
    re.IGNORECASE,
)

#: Who is told of what a run has made and not yet finished; see `witnessed`.
_WITNESSES: list[Callable[[Path, bool], None]] = []


def check_output(
    out: Path, *, overwrite: bool, inputs: Iterable[Path] = (), nbytes: int = 0, option: str = "-o"
) -> None:
    """Refuse early what could not be written late.

    Args:
        out: Where the file shall stand.
        overwrite: Whether a file there may be replaced.
        inputs: Files that are not replaced in any case.
        nbytes: The disk that it takes on the way, in bytes.
        option: What names it on the command line.

    Raises:
        OutputExistsError: A file stands there, and `overwrite` is false.
        OutputError: No file can have that name, it is one of the inputs, the folder is missing or not writable, or the
            disk is too full.
    """
    check_name(out, option)
    with writing(out, option):
        check_no_input(out, inputs, option=option)
        _check_folder(out, option)
        _check_replaceable(out, option, overwrite=overwrite)
        _check_space(out, nbytes + _DISK_FULL_BYTES, option)


def check_name(out: Path, option: str = "-o") -> None:
    """Refuse a name that no file can have.

    Raises:
        OutputError: It holds a zero, is not UTF-8, or is too long, what is added to it while the file grows included.
    """
    try:
        # GDAL takes UTF-8 alone.
        str(out).encode()
        # Neither a folder nor a root has a name.
        (_grown(out, _name_beside(out)) if out.name else out).lstat()
    except ValueError as error:
        raise OutputError(f"{out} is not a valid file name ({error}); use {option} to write elsewhere") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{out}: the name is too long; give a shorter one with {option}") from None


def check_tiff_name(out: Path, option: str = "-o") -> None:
    """Refuse to write a GeoTIFF under a name by which other programs take it for something else.

    Raises:
        OutputError: It ends like a file of another format.
    """
    if _OTHER_FORMATS.fullmatch(out.suffix):
        raise OutputError(
            f"{out} would be a GeoTIFF under the name of another format; use {option} to call it "
            f"{out.with_suffix('.tif').name}"
        )


def check_no_input(out: Path, inputs: Iterable[Path], *, told: str = "one of the inputs", option: str = "-o") -> None:
    """Refuse to replace what is needed.

    Args:
        out: Where a file shall stand.
        inputs: What must not be lost, whether it exists or is about to be made.
        told: What the inputs are, for the message.
        option: What names the output on the command line.

    Raises:
        OutputError: It is one of the inputs.
    """
    if any(same_file(out, path) for path in inputs):
        raise OutputError(f"{out} is {told}; give another name with {option}")


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file, through links too, or would be if it existed."""
    if one.absolute() == other.absolute():
        return True
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


@contextmanager
def writing(out: Path, option: str = "-o") -> Iterator[None]:
    """Turn failures of the disk into one clear error.

    Args:
        out: What is written.
        option: What names it on the command line.

    Raises:
        OutputError: The disk is full, or fails.
    """
    try:
        yield
    except HadgeoError:
        raise
    except _FAILURES as error:
        raise OutputError(f"{out} cannot be written: {_reason(error, out.parent, option)}") from error


@contextmanager
def written_beside(out: Path, option: str = "-o") -> Iterator[Path]:
    """A new file to write into, which becomes `out` at the end; nothing is left of it after an error.

    Args:
        out: Where the file shall stand; what is there is replaced.
        option: What names it on the command line.

    Raises:
        OutputError: The disk is full, or fails.
    """
    with writing(out, option), _folder_beside(out) as folder:
        part = _grown(out, folder)
        part.touch(exist_ok=False)
        yield part
        _flush(part)
        part.replace(out)


@contextmanager
def written_together(outs: Sequence[Path], option: str = "-o") -> Iterator[Path]:
    """A new folder for files that belong together, under their own names; at the end they take their places.

    The last one does so first: a header stands before the pixels that it describes.

    Args:
        outs: Where the files shall stand, all in one folder; what is there is replaced.
        option: What names them on the command line.

    Raises:
        OutputError: The disk is full, or fails; then no file is left of those that had not taken their places.
    """
    first = outs[0]
    with writing(first, option), _folder_beside(first) as folder:
        yield folder
        for out in outs:
            _flush(folder / out.name)
        for out in reversed(outs):
            (folder / out.name).replace(out)


def write_whole(out: Path, content: bytes, option: str = "-o") -> None:
    """Write a file, whole or not at all; see `written_beside`."""
    with written_beside(out, option) as part:
        part.write_bytes(content)


@contextmanager
def witnessed(tell: Callable[[Path, bool], None]) -> Iterator[None]:
    """Have somebody told of each file or folder that is made under its own name before it is whole.

    Whoever ends a run by force can so remove what was that run's own, and nothing else.

    Args:
        tell: Called with the path and True once the run has made it, and with False once it is whole or gone again.
    """
    _WITNESSES.append(tell)
    try:
        yield
    finally:
        _WITNESSES.remove(tell)


def begun(path: Path) -> None:
    """Say that this run has made a file or folder that is not whole yet."""
    for tell in _WITNESSES:
        tell(path, True)


def ended(path: Path) -> None:
    """Say that it is whole, or gone again."""
    for tell in _WITNESSES:
        tell(path, False)


def guarded(cell: Any) -> Any:
    """A cell of a table as no spreadsheet takes it for a formula: a text that begins like one gets a quote before it.

    See https://owasp.org/www-community/attacks/CSV_Injection. `unguarded` takes the quote away again.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """A cell as it was before `guarded`."""
    return cell[1:] if cell.startswith("'") and guarded(cell[1:]) == cell else cell


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_folder(out: Path, option: str) -> None:
    if out.is_dir():
        raise OutputError(f"{out} is a folder; give the name of a file, such as {out / 'scores.tif'}")
    if not out.parent.is_dir():
        what = "is a file; move it" if out.parent.exists() else "does not exist; create it first"
        raise OutputError(f"{out}: the folder {out.parent} {what}, or use {option} to write elsewhere")


def _check_replaceable(out: Path, option: str, *, overwrite: bool) -> None:
    if os.path.lexists(out) and not overwrite:
        raise OutputExistsError(f"{out} exists; use --overwrite to replace it, or {option} to write elsewhere")
    if out.exists() and not out.is_file():
        raise OutputError(
            f"{out} is a device or a pipe, not a file that can be replaced; use {option} to write elsewhere"
        )


def _check_space(out: Path, needed: int, option: str) -> None:
    if not os.access(out.parent, os.W_OK):
        raise OutputError(f"{out}: no permission to write into {out.parent}; use {option} to write elsewhere")
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        unit, name = (1e9, "GB") if needed >= 1e9 else (1e6, "MB")
        raise OutputError(
            f"{out}: it needs {needed / unit:.1f} {name} of disk space, but {free / unit:.1f} {name} are free; "
            f"free some space, or use {option} to write elsewhere"
        )


def _name_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.{secrets.token_hex(4)}.part")


def _grown(out: Path, folder: Path) -> Path:
    """What a file is called while it grows: its kind is seen, and no name is longer than that of the folder."""
    return folder / f"new{out.suffix}"


@contextmanager
@uninterrupted
def _folder_beside(out: Path) -> Iterator[Path]:
    """A new folder beside a file, which no other process removes, and of which nothing is left at the end."""
    if (home := out.parent.absolute()) not in _swept:
        _swept.add(home)
        remove_leftovers(home)
    folder, lock = _made_beside(out)
    try:
        yield folder
    finally:
        _discard(folder, lock)


def _made_beside(out: Path) -> tuple[Path, FileLock]:
    while True:
        folder = _name_beside(out)
        lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        # It may pass for a leftover, and be gone, until it is locked.
        with suppress(Timeout, FileNotFoundError):
            lock.acquire(timeout=0)
            return folder, lock


def remove_leftovers(folder: Path) -> None:
    """Remove what runs that were killed have left in a folder while their files grew; nothing of one that goes on.

    Args:
        folder: Where to look; not within its folders.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _GROWS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_leftover(Path(entry.path))


def _remove_leftover(folder: Path) -> None:
    with suppress(OSError, Timeout):
        if not any(folder.iterdir()):
            # Its process was killed before it could lock it, or is about to and will take another.
            folder.rmdir()
        elif is_own_file(folder / _LOCK):
            lock = FileLock(folder / _LOCK, thread_local=False)
            lock.acquire(timeout=0)
            _discard(folder, lock)


def is_own_file(path: Path) -> bool:
    """Whether a name is of a plain file that has no other name: writing into it changes nothing elsewhere."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _discard(folder: Path, lock: FileLock) -> None:
    """Remove a folder and all files in it, and let go of it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
    release_and_remove(lock, folder)


def release_and_remove(lock: FileLock, folder: Path) -> None:
    """Let go of a folder and remove it, if nothing is in it but its lock."""
    name = Path(lock.lock_file)
    if os.name == "nt":
        lock.release()
        with suppress(OSError):
            name.unlink()
    else:
        # In this order, so that whoever opened the file in between sees that it guards nothing any more.
        with suppress(OSError):
            name.unlink()
        lock.release()
    with suppress(OSError):
        folder.rmdir()


def _flush(path: Path) -> None:
    """Have the disk take a file's bytes; some systems do that for files alone that are open for writing."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _reason(error: Exception, folder: Path, option: str) -> str:
    """What went wrong, and what to do."""
    elsewhere = f"use {option} to write elsewhere"
    if not folder.is_dir():
        return f"the folder {folder} no longer exists; create it again, or {elsewhere}"
    cause = _deepest(error)
    words = " ".join(str(getattr(cause, "strerror", None) or cause).split())
    if getattr(cause, "errno", None) in _DISK_FULL_ERRORS:
        return f"the disk is full ({words}); free some space, or {elsewhere}"
    if shutil.disk_usage(folder).free < _DISK_FULL_BYTES:
        return f"the disk is full; free some space, or {elsewhere}"
    return f"{words}; {elsewhere}"


def _deepest(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
