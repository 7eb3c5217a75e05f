"""A review: what a person says of the anomalies of a map, read from and written to tables and polygon layers.

Verdicts are joined to polygons by ``id``. An id alone means nothing: other polygons of the same map, from another
threshold, have the same ids for other objects. So where both sides know the map, or where an object has its peak, these
are compared first.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hadgeo.decisions.verdicts import ACCEPTED, FIELDS, MAP_FIELD, REJECTED, UNSURE, Verdict
from hadgeo.errors import MissingExtraError, OutputError, ParameterError, ReviewError, ReviewNotFoundError
from hadgeo.files import sha256_of, write_whole

if TYPE_CHECKING:
    from hadgeo.decisions.layers import Layer, Table

#: Where the pixel with an object's largest score lies, by which it is known again.
_PEAK = ("peak_row", "peak_col")

#: Ids that a message names.
_NAMED = 5


@dataclass(frozen=True)
class Review:
    """Verdicts on the anomalies of a map.

    Attributes:
        verdicts: What was said, by the ``id`` of the polygon; anomalies of which nothing was said are not in it.
        ids: All anomalies that are known, in rising order; `Review.read` takes those of its file. The verdicts' where
            nothing is given.

    Raises:
        ReviewError: A verdict is on an anomaly that is not among the ids.

    Examples:
        >>> review = Review.read("anomalies_review.geojson")
        >>> review.accepted, review.verdicts[3].note
        ((1, 3), 'white van')
        >>> review.apply_to("anomalies.gpkg")
        PosixPath('anomalies.gpkg')
    """

    verdicts: Mapping[int, Verdict]
    ids: tuple[int, ...] = ()
    _layer: Layer | None = field(default=None, repr=False, compare=False)
    _path: Path | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        said = {number: verdict for number, verdict in sorted(self.verdicts.items()) if verdict}
        ids = tuple(sorted(self.ids or said))
        object.__setattr__(self, "verdicts", MappingProxyType(said))
        object.__setattr__(self, "ids", ids)
        unknown = said.keys() - set(ids)
        if unknown:
            raise ReviewError(f"verdicts on anomalies that are not there: {_named(unknown)}")

    def __repr__(self) -> str:
        return (
            f"Review({len(self.accepted)} accepted, {len(self.rejected)} rejected, {len(self.unsure)} unsure, "
            f"{len(self.unseen)} not looked at)"
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Review:
        """Read a review.

        Args:
            path: A polygon layer with the fields of a verdict (GeoPackage, GeoJSON, GeoParquet of hadgeo's, any other
                vector layer that pyogrio opens), or CSV with a heading: ``id`` and ``verdict``, and, as far as they
                are known, ``note``, ``reviewer`` and ``reviewed_at``.

        Returns:
            The review.

        Raises:
            ReviewNotFoundError: There is no such file.
            ReviewError: It is empty or no review, names an anomaly twice, or contains an unknown verdict.
            MissingExtraError: A layer needs pyogrio and shapely.
        """
        file = Path(path)
        if not file.exists():
            raise ReviewNotFoundError(f"{file}: no such review; give polygons with verdicts, or CSV")
        if file.is_file() and not file.stat().st_size:
            raise ReviewError(f"{file}: the file is empty; export the review again")
        layer = _layers().Layer(_read_csv(file)) if _is_csv(file) else _layers().read_layer(file)
        ids = _ids(file, layer.table)
        layer.table["id"] = np.array(ids, dtype=np.int64)
        return cls(dict(zip(ids, _verdicts(file, layer.table, ids), strict=True)), tuple(ids), layer, file)

    @property
    def accepted(self) -> tuple[int, ...]:
        """Ids of the anomalies that are real finds."""
        return self._with(ACCEPTED)

    @property
    def rejected(self) -> tuple[int, ...]:
        """Ids of those that do not matter."""
        return self._with(REJECTED)

    @property
    def unsure(self) -> tuple[int, ...]:
        """Ids of those that were looked at in vain."""
        return self._with(UNSURE)

    @property
    def unseen(self) -> tuple[int, ...]:
        """Ids of those that are known and have no verdict."""
        return tuple(i for i in self.ids if i not in self.verdicts or self.verdicts[i].verdict is None)

    def _with(self, verdict: str) -> tuple[int, ...]:
        return tuple(number for number, said in self.verdicts.items() if said.verdict == verdict)

    @cached_property
    def maps(self) -> frozenset[str]:
        """Hashes of the maps that the anomalies belong to, as far as their file says so."""
        column = [] if self._layer is None else self._layer.table.get(MAP_FIELD, np.empty(0)).tolist()
        return frozenset(str(value) for value in column if value)

    def check_map(self, path: str | os.PathLike[str]) -> None:
        """Refuse a map that the anomalies do not belong to.

        Args:
            path: The score map.

        Raises:
            ReviewError: They belong to another one; what does not say where it belongs is taken.
        """
        if self.maps and self.maps != {sha256_of(Path(path))}:
            raise ReviewError(
                f"{self._told}: a review of another map than {path}, or of an earlier state of it; give the map that "
                "the polygons were made from"
            )

    def apply_to(self, polygons: str | os.PathLike[str]) -> Path:
        """Write the verdicts into the fields of a polygon layer.

        All anomalies that the review knows get what it says of them, nothing included; any other keeps what it has.

        Args:
            polygons: GeoPackage, GeoJSON or GeoParquet, as hadgeo writes them; replaced whole or not at all.

        Returns:
            The layer.

        Raises:
            ReviewNotFoundError: There is no such layer.
            ReviewError: The layer lacks an anomaly of the review, or is of another map or other anomalies.
            OutputError: It cannot be written, or is open in another program.
        """
        path = Path(polygons)
        there = Review.read(path) if not _is_csv(path) else None
        if there is None or there._layer is None:
            raise ParameterError(f"{path}: not a polygon layer; give .gpkg, .geojson or .parquet, or use write")
        if path.with_name(path.name + "-wal").exists():
            raise OutputError(f"{path} is open in another program; close it there")
        self._check_same(there)
        said = {number: self.verdicts.get(number, Verdict()) for number in self.ids}
        rows = [said.get(i, there.verdicts.get(i, Verdict())) for i in _ids(path, there._layer.table)]
        write_whole(path, _layers().with_fields(path, there._layer, _columns(rows)), "another name")
        return path

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the review to a file of its own, replacing what was there.

        Args:
            path: ``.csv`` for the verdicts alone; ``.geojson``, ``.gpkg`` or ``.parquet`` for the anomalies with all
                that was read of them, or without outlines where the review was not read from a layer.

        Returns:
            The file.

        Raises:
            ParameterError: The suffix is unknown.
            OutputError: It cannot be written.
            MissingExtraError: A layer needs pyogrio and shapely.
        """
        out = Path(path)
        own = self._layer or _layers().Layer({"id": np.array(self.ids, dtype=np.int64)})
        order = [int(number) for number in own.table["id"]]
        fields = _columns([self.verdicts.get(number, Verdict()) for number in order])
        if _is_csv(out):
            known = {name: own.table[name] for name in (MAP_FIELD, *_PEAK) if name in own.table}
            content = _csv({"id": own.table["id"], **fields, **known})
        else:
            driver = _layers().check_suffix(out)
            table = {name: column for name, column in own.table.items() if name not in FIELDS} | fields
            content = _layers().Layer(table, own.outlines, own.crs).encoded(driver)
        write_whole(out, content, "another name")
        return out

    @property
    def _told(self) -> str:
        return "this review" if self._path is None else str(self._path)

    def _check_same(self, polygons: Review) -> None:
        """Refuse polygons that are not those of which this is a review."""
        if self.maps and polygons.maps and not self.maps <= polygons.maps:
            raise ReviewError(f"{self._told}: a review of another map than that of {polygons._told}")
        missing = set(self.ids) - set(polygons.ids)
        if missing:
            raise ReviewError(
                f"{polygons._told} has no anomaly {_named(missing)}, but {self._told} has; give the polygons that were "
                "reviewed"
            )
        peaks, others = self._peaks, polygons._peaks
        moved = [number for number in peaks if number in others and math.dist(peaks[number], others[number]) >= 1]
        if moved:
            raise ReviewError(
                f"{self._told}: a review of other polygons than {polygons._told}, perhaps from another threshold: "
                f"anomaly {_named(moved)} is another one there"
            )

    @cached_property
    def _peaks(self) -> dict[int, tuple[float, float]]:
        """Row and column of the peaks that are known, by id."""
        if self._layer is None or not all(name in self._layer.table for name in _PEAK):
            return {}
        rows, cols = (_floats(self._layer.table[name]) for name in _PEAK)
        known = np.isfinite(rows) & np.isfinite(cols)
        columns = (self._layer.table["id"][known], rows[known], cols[known])
        return {number: (row, col) for number, row, col in zip(*(c.tolist() for c in columns), strict=True)}


def _layers() -> ModuleType:
    try:
        from hadgeo.decisions import layers
    except ImportError as error:
        raise MissingExtraError(f'a review needs {error.name}; install it with pip install "hadgeo[vector]"') from error
    return layers


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _floats(column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Numbers that may be there as text; NaN for those that are not."""
    return np.array([float(value) if _is_finite(value) else math.nan for value in column.tolist()])


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _named(ids: Iterable[int]) -> str:
    """Some ids, for people."""
    numbers = sorted(ids)
    more = "" if len(numbers) <= _NAMED else f" and {len(numbers) - _NAMED} more"
    return ", ".join(map(str, numbers[:_NAMED])) + more


def _read_csv(path: Path) -> Table:
    """The columns of a review in CSV, whatever separates them; None where there is nothing."""
    try:
        # Spreadsheets begin a file with a mark of its encoding.
        lines = path.read_text("utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ReviewError(f"{path}: not CSV in UTF-8 ({error})") from None
    heading = lines[0] if lines else ""
    rows = list(csv.DictReader(lines, delimiter=max(",;\t", key=heading.count)))
    names = [name for name in ("id", *FIELDS, MAP_FIELD, *_PEAK) if rows and name in rows[0]]
    table = {name: np.array([row[name] or None for row in rows], dtype=object) for name in names}
    table |= {name: _floats(table[name]) for name in _PEAK if name in table}
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


def _ids(path: Path, table: Table) -> list[int]:
    """The ids of a table, as whole numbers that differ."""
    _check_fields(path, table, ", ".join(table) or "none", len(next(iter(table.values()), ())))
    values = table["id"].tolist()
    wrong = next((value for value in values if not _is_whole(value)), 0)
    if wrong != 0:
        raise ReviewError(f"{path}: id {wrong!r} is not a whole number; ids are those of the polygons")
    ids = [int(float(value)) for value in values]
    twice = {number for number in ids if ids.count(number) > 1} if len(set(ids)) < len(ids) else set()
    if twice:
        raise ReviewError(f"{path}: id {_named(twice)} is there more than once; keep one row for each anomaly")
    return ids


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, as a number or as text."""
    return _is_finite(value) and float(value).is_integer()


def _verdicts(path: Path, table: Table, ids: Sequence[int]) -> list[Verdict]:
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


def _columns(said: Sequence[Verdict]) -> Table:
    """The fields of a table; None where nothing was said."""
    return {name: np.array([getattr(verdict, name) for verdict in said], dtype=object) for name in FIELDS}


def _csv(table: Mapping[str, npt.NDArray[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    columns = [["" if _is_nothing(value) else value for value in column.tolist()] for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue().encode()
