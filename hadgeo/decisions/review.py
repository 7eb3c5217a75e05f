"""A review: what a person says of the anomalies of a map, read from and written to tables and polygon layers.

Verdicts are joined to polygons by ``id``. An id alone means nothing: other polygons of the same map, from another
threshold, have the same ids for other objects. So where both sides know the map, or where an object has its peak, these
are compared first.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

import numpy as np

from hadgeo.decisions.precision import Precision, steps_of
from hadgeo.decisions.review_table import PEAK, SCORE, columns_of, csv_of, floats, ids_of, named, read_csv, verdicts_of
from hadgeo.decisions.verdicts import Verdict
from hadgeo.errors import MissingExtraError, OutputError, ParameterError, ReviewError, ReviewNotFoundError
from hadgeo.files import sha256_of, write_whole
from hadgeo.maps.polygon_fields import ACCEPTED, FIELDS, MAP_FIELD, REJECTED, UNSURE
from hadgeo.maps.reader import sensor_path

if TYPE_CHECKING:
    from hadgeo.decisions.layers import Layer


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
            raise ReviewError(f"verdicts on anomalies that are not there: {named(unknown)}")

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
        layer = _layers().Layer(read_csv(file)) if _is_csv(file) else _layers().read_layer(file)
        ids = ids_of(file, layer.table)
        layer.table["id"] = np.array(ids, dtype=np.int64)
        return cls(dict(zip(ids, verdicts_of(file, layer.table, ids), strict=True)), tuple(ids), layer, file)

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

    def precision(self, first: int | None = None) -> Precision:
        """How many of those that were decided upon are real finds; unsure ones are left out.

        Args:
            first: Only so many of them, the strongest, which are those of the smallest ids; all by default.

        Returns:
            The share, and the interval that it is known to.
        """
        decided = sorted((*self.accepted, *self.rejected))[:first]
        return Precision(sum(number in self.accepted for number in decided), len(decided))

    def threshold(self, precision: float) -> tuple[float, Precision]:
        """The lowest score from which on a wanted share of the anomalies are real finds.

        Anomalies count by `max_score`, their largest: a threshold of this value on the map's scores leaves those that
        reach it. Those without a verdict, and unsure ones, are left out.

        Args:
            precision: The share that is wanted, above 0 and at most 1.

        Returns:
            The threshold, and the precision of the anomalies that reach it.

        Raises:
            ParameterError: The share is out of bounds.
            ReviewError: No threshold reaches it, nothing was decided upon, or the scores are not known.
        """
        if not 0 < precision <= 1:
            raise ParameterError(f"a precision is above 0 and at most 1, such as 0.8, not {precision:g}")
        self.check_decided()
        scores = self._scores
        lacking = set(self.accepted + self.rejected) - scores.keys()
        if lacking:
            raise ReviewError(
                f"{self._told}: no {SCORE} of anomaly {named(lacking)}; give the polygon layer with the verdicts in it"
            )
        steps = steps_of([scores[i] for i in self.accepted], [scores[i] for i in self.rejected])
        reached = [step for step in steps if step[1].value >= precision]
        if not reached:
            score, best = max(steps, key=lambda step: (step[1].value, step[1].decided))
            raise ReviewError(
                f"{self._told}: no threshold reaches a precision of {precision:g}; the best is {best}, of anomalies "
                f"that reach a score of {score:.6g}"
            )
        return min(reached, key=lambda step: step[0])

    def check_decided(self) -> None:
        """Refuse a review from which no precision follows.

        Raises:
            ReviewError: Nothing was accepted or rejected.
        """
        if not self.accepted and not self.rejected:
            raise ReviewError(f"{self._told}: no anomaly was accepted or rejected yet; review some first")

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
        if not self.maps <= _hashes_of(Path(path)):
            raise ReviewError(
                f"{self._told}: a review of another map than {path}, or of an earlier state of it; give the map that "
                "the polygons were made from"
            )

    def of_map(self, path: str | os.PathLike[str]) -> Review:
        """The verdicts on the anomalies of one map, of the layer of a mission those that are in it.

        Args:
            path: The score map.

        Raises:
            ReviewError: They belong to other ones; what does not say where it belongs is taken.
        """
        if len(self.maps) < 2 or self._layer is None:
            self.check_map(path)
            return self
        mine = np.isin(self._layer.table[MAP_FIELD].astype(str), list(_hashes_of(Path(path))))
        if not mine.any():
            raise ReviewError(
                f"{self._told}: a review of {len(self.maps)} other maps than {path}, or of an earlier state of it; "
                "give one of theirs"
            )
        table = {name: column[mine] for name, column in self._layer.table.items()}
        outlines = None if self._layer.outlines is None else self._layer.outlines[mine]
        ids = table["id"].tolist()
        said = {number: verdict for number, verdict in self.verdicts.items() if number in set(ids)}
        return Review(said, tuple(ids), replace(self._layer, table=table, outlines=outlines), self._path)

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
        rows = [said.get(i, there.verdicts.get(i, Verdict())) for i in ids_of(path, there._layer.table)]
        write_whole(path, _layers().with_fields(path, there._layer, columns_of(rows)), "another name")
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
        fields = columns_of([self.verdicts.get(number, Verdict()) for number in order])
        if _is_csv(out):
            known = {name: own.table[name] for name in (MAP_FIELD, *PEAK, SCORE) if name in own.table}
            content = csv_of({"id": own.table["id"], **fields, **known})
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
                f"{polygons._told} has no anomaly {named(missing)}, but {self._told} has; give the polygons that were "
                "reviewed"
            )
        peaks, others = self._peaks, polygons._peaks
        moved = [number for number in peaks if number in others and math.dist(peaks[number], others[number]) >= 1]
        if moved:
            raise ReviewError(
                f"{self._told}: a review of other polygons than {polygons._told}, perhaps from another threshold: "
                f"anomaly {named(moved)} is another one there"
            )

    @cached_property
    def _scores(self) -> dict[int, float]:
        """Largest scores that are known, by id."""
        if self._layer is None or SCORE not in self._layer.table:
            return {}
        scores = floats(self._layer.table[SCORE])
        known = np.isfinite(scores)
        return dict(zip(self._layer.table["id"][known].tolist(), scores[known].tolist(), strict=True))

    @cached_property
    def _peaks(self) -> dict[int, tuple[float, float]]:
        """Row and column of the peaks that are known, by id."""
        if self._layer is None or not all(name in self._layer.table for name in PEAK):
            return {}
        rows, cols = (floats(self._layer.table[name]) for name in PEAK)
        known = np.isfinite(rows) & np.isfinite(cols)
        columns = (self._layer.table["id"][known], rows[known], cols[known])
        return {number: (row, col) for number, row, col in zip(*(c.tolist() for c in columns), strict=True)}


def _hashes_of(scores: Path) -> set[str]:
    """The hash of a map, and of the one beside it that is on the scene's own grid, on which anomalies are found."""
    return {sha256_of(path) for path in (scores, sensor_path(scores)) if path.is_file()}


def _layers() -> ModuleType:
    try:
        from hadgeo.decisions import layers
    except ImportError as error:
        raise MissingExtraError(f'a review needs {error.name}; install it with pip install "hadgeo[vector]"') from error
    return layers


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"
