"""The table of a review: ids and verdicts, checked, from columns of any origin and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hadgeo.decisions.verdicts import Verdict
from hadgeo.errors import ReviewError, refusing
from hadgeo.files import guarded, unguarded
from hadgeo.maps.polygon_fields import FIELDS, MAP_FIELD

#: Columns by name, each (object,).
Table = dict[str, npt.NDArray[Any]]

#: Where the pixel with an object's largest score lies, by which it is known again, and that score.
PEAK: Final = ("peak_row", "peak_col")
SCORE: Final = "max_score"

#: Ids that a message names.
_NAMED = 5


#: Whole numbers below this are themselves as floating-point numbers, too.
_MOST_IDS = 2**53


def floats(column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Numbers that may be there as text; NaN for those that are not."""
    return np.array([float(value) if _is_finite(value) else math.nan for value in column.tolist()])


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def named(ids: Iterable[int]) -> str:
    """Some ids, for people."""
    numbers = sorted(ids)
    more = "" if len(numbers) <= _NAMED else f" and {len(numbers) - _NAMED} more"
    return ", ".join(map(str, numbers[:_NAMED])) + more


def read_csv(path: Path) -> Table:
    """The columns of a review in CSV, whatever separates them; None where there is nothing.

    Raises:
        ReviewError: It is no text, or no review.
    """
    try:
        # Spreadsheets begin a file with a mark of its encoding.
        lines = path.read_text("utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ReviewError(f"{path}: not CSV in UTF-8 ({error})") from None
    heading = lines[0] if lines else ""
    with refusing(ReviewError, f"{path}: not a table", "save it as CSV in UTF-8"):
        rows = list(csv.DictReader(lines, delimiter=max(",;\t", key=heading.count)))
    names = [name for name in ("id", *FIELDS, MAP_FIELD, *PEAK, SCORE) if rows and name in rows[0]]
    table = {name: np.array([unguarded(row[name] or "") or None for row in rows], dtype=object) for name in names}
    table |= {name: floats(table[name]) for name in (*PEAK, SCORE) if name in table}
    _check_fields(path, table, heading.strip() or "none", len(rows))
    return table


def _check_fields(path: Path, table: Mapping[str, Any], found: str, rows: int) -> None:
    """Refuse what is no review."""
    if not rows:
        raise ReviewError(f"{path}: there is no anomaly in it, so there is nothing to review")
    lacking = [name for name in ("id", FIELDS[0]) if name not in table]
    if lacking:
        raise ReviewError(
            f"{path}: not a review: it has no field {' and '.join(lacking)} (but {found}); give polygons that hadgeo "
            f"has written, or CSV with the columns id, {', '.join(FIELDS)}"
        )


def ids_of(path: Path, table: Table) -> list[int]:
    """The ids of a table, as whole numbers that differ.

    Raises:
        ReviewError: There are none, or they are something else.
    """
    _check_fields(path, table, ", ".join(table) or "none", len(next(iter(table.values()), ())))
    values = table["id"].tolist()
    wrong = next((value for value in values if not _is_whole(value)), 0)
    if wrong != 0:
        raise ReviewError(f"{path}: id {wrong!r} is not a whole number; ids are those of the polygons")
    ids = [int(float(value)) for value in values]
    twice = {number for number in ids if ids.count(number) > 1} if len(set(ids)) < len(ids) else set()
    if twice:
        raise ReviewError(f"{path}: id {named(twice)} is there more than once; keep one row for each anomaly")
    return ids


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, as a number or as text."""
    return _is_finite(value) and float(value).is_integer() and abs(float(value)) < _MOST_IDS


def verdicts_of(path: Path, table: Table, ids: Sequence[int]) -> list[Verdict]:
    """What a table says of each anomaly.

    Raises:
        ReviewError: A verdict is unknown, or a time is none.
    """
    columns = [table.get(name, np.full(len(ids), None, dtype=object)).tolist() for name in FIELDS]
    found = []
    for number, *texts in zip(ids, *columns, strict=True):
        try:
            found.append(Verdict(*(None if _is_nothing(text) else str(text) for text in texts)))
        except ReviewError as error:
            raise ReviewError(f"{path}: anomaly {number}: {error}") from None
    return found


def _is_nothing(value: Any) -> bool:
    """Whether there is no text: None, or NaN where a layer has nothing but empty fields."""
    return value is None or value != value


def columns_of(said: Sequence[Verdict]) -> Table:
    """The fields of a table; None where nothing was said."""
    return {name: np.array([getattr(verdict, name) for verdict in said], dtype=object) for name in FIELDS}


def csv_of(table: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Columns as CSV with a heading."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    columns = [["" if _is_nothing(value) else guarded(value) for value in column.tolist()] for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue().encode()
