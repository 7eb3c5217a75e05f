"""A layer among others in a GeoPackage: what else a person keeps in the file stays there."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from hadgeo.errors import OutputError
from hadgeo.files import written_together
from hadgeo.maps.polygon_fields import LAYER

#: Tables that belong to our layer alone.
_OURS = (LAYER, "layer_styles")

#: The table of projects that QGIS saves into a GeoPackage.
_PROJECTS = "qgis_projects"


def holds_others(path: Path) -> bool:
    """Whether a file is a GeoPackage with anything in it but a layer of anomalies and its style."""
    if path.suffix.lower() != ".gpkg" or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        # No GeoPackage, whatever it is called.
        return False
    return bool(tables - set(_OURS)) or _PROJECTS in names


def put_beside(out: Path, write: Callable[[Path], None], count: int, option: str) -> None:
    """Write a layer of anomalies into a GeoPackage that holds others, whole or not at all.

    Args:
        out: The GeoPackage.
        write: Writes the layer into a copy of it, in the place of one of its name.
        count: How many objects the layer has.
        option: What names the file on the command line.

    Raises:
        OutputError: It cannot be written.
    """
    with written_together([out], option) as folder:
        part = folder / out.name
        shutil.copyfile(out, part)
        _forget_style(part)
        write(part)
        # GDAL does not say when it cannot write the last bytes of a file.
        try:
            with closing(sqlite3.connect(part)) as database:
                sound = database.execute("PRAGMA quick_check").fetchone() == ("ok",)
                written = database.execute(f'SELECT COUNT(*) FROM "{LAYER}"').fetchone() == (count,)  # noqa: S608
        except sqlite3.Error as error:
            raise OutputError(f"{out} cannot be written: {error}; use {option} to write elsewhere") from None
        if not (sound and written):
            raise OutputError(f"{out} cannot be written: the copy is damaged; use {option} to write elsewhere")


def _forget_style(path: Path) -> None:
    """Remove the styles of a layer that is about to be replaced: QGIS would ask whether they may be."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (LAYER,))
        database.commit()
