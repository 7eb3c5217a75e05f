"""The folder that a batch writes into, and how its files are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.files import check_name, writing

RECORD, MODEL, CSV, HTML = "batch.json", "model.hadgeo", "summary.csv", "summary.html"
OVERVIEW, THUMBNAILS = "overview.png", "thumbnails"


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that maps cannot be written into, or that holds what no batch has written.

    Raises:
        OutputError: It cannot be used.
        OutputExistsError: Something is in it that would be replaced.
    """
    if not folder.name and not folder.is_dir():
        raise OutputError("the output folder's name is empty; give one with -o")
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder with -o")
    if not folder.exists() and not folder.parent.is_dir():
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise OutputError(f"{folder}: no permission to write into it; use -o to write elsewhere")
    for name in (CSV, HTML, MODEL):
        if (folder / name).exists() and not (folder / RECORD).exists() and not overwrite:
            raise OutputExistsError(f"{folder / name} exists and is not from a batch; use --overwrite, or another -o")


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """Make a folder, which is not left behind by a batch that put nothing into it."""
    made = not folder.exists()
    with writing(folder):
        folder.mkdir(exist_ok=True)
    try:
        yield
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise
