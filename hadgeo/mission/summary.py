"""The summary of a batch: a table as CSV for programs, and as one HTML page with thumbnails for people."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hadgeo import __version__
from hadgeo.errors import MissingExtraError
from hadgeo.files import guarded, write_whole, written_beside
from hadgeo.mission.outcomes import MissionLayer

#: Columns that say something of a finished map.
FACTS = ("detector", "bands", "rows", "cols", "valid", "seconds", "pixels_per_second")

#: How a name is shown that is not UTF-8.
_ODD_NAMES = "backslashreplace"


@dataclass(frozen=True)
class Row:
    """A row of the summary.

    Attributes:
        scene: The scene's file.
        state: "done", "kept" from an earlier run, or "failed".
        map: The score map.
        facts: Of a finished map, by the names in `FACTS`; valid counts pixels that have a score.
        error: Why it failed.
        thumbnail: A picture of it, or None.
    """

    scene: str
    state: str
    map: str
    facts: Mapping[str, Any]
    error: str
    thumbnail: Path | None


def write_csv(rows: Sequence[Row], out: Path) -> None:
    """Write the table, one row per flight line.

    Raises:
        OutputError: It cannot be written.
    """
    with written_beside(out) as part, part.open("w", encoding="utf-8", errors=_ODD_NAMES, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scene", "state", "map", *FACTS, "error"])
        for row in rows:
            # A line that failed has no map, whatever stands in its place.
            finished = row.map if row.state != "failed" else ""
            facts = [row.facts.get(name, "") for name in FACTS]
            writer.writerow([guarded(cell) for cell in (row.scene, row.state, finished, *facts, row.error)])


def write_html(
    rows: Sequence[Row],
    out: Path,
    *,
    layer: MissionLayer | None = None,
    overview: Path | None = None,
    report: Path | None = None,
) -> None:
    """Write the page, which refers to maps and pictures by relative links.

    Args:
        rows: The table.
        out: The page.
        layer: The anomalies of all lines.
        overview: The picture of all lines.
        report: The page for the review of the anomalies.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OutputError: It cannot be written.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise MissingExtraError('the page needs jinja2; install it with pip install "hadgeo[report]"') from error
    environment = Environment(loader=PackageLoader("hadgeo.mission"), autoescape=True, trim_blocks=True)
    environment.filters["link"] = lambda path: _link(path, out.parent)
    counts = {state: sum(row.state == state for row in rows) for state in ("done", "kept", "failed")}
    text = environment.get_template("summary.html").render(
        rows=rows, counts=counts, layer=layer, overview=overview, report=report, version=__version__
    )
    write_whole(out, text.encode("utf-8", _ODD_NAMES))


def _link(path: str | Path, folder: Path) -> str:
    """How the page refers to a file: relative to itself, so that the folder may move."""
    from urllib.parse import quote

    return quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))
