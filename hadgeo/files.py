"""How small products are written: checked before the work, made beside their place, and put there by a rename."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hadgeo.errors import OutputError
from hadgeo.maps.writer import check_name, check_output


def check_product(out: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse early what could not be written late.

    Args:
        out: Where the product shall stand.
        inputs: Files that must not be lost.
        overwrite: Whether a file there may be replaced.

    Raises:
        OutputExistsError: A file stands there, and `overwrite` is false.
        OutputError: It is one of the inputs, or the folder is missing, not writable or full.
    """
    check_name(out)
    for path in (out, _part_name(out)):
        if path.name and path.exists() and any(other.exists() and path.samefile(other) for other in inputs):
            raise OutputError(f"{path} is one of the inputs; give another name")
    check_output(out, overwrite=overwrite)


@contextmanager
def written_beside(out: Path) -> Iterator[Path]:
    """A name to write under; what stands there becomes `out` at the end, and nothing is left of it after an error.

    Raises:
        OutputError: The disk is full, or fails.
    """
    part = _part_name(out)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise OutputError(f"{out} cannot be written: {reason}; make room, or write elsewhere") from error
    finally:
        part.unlink(missing_ok=True)


def _part_name(out: Path) -> Path:
    return out.with_name(out.name + ".part") if out.name else out
