"""The anomalies of all lines of a mission in one vector file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hadgeo.decisions.calibration import Calibration, calibrate
from hadgeo.decisions.decision import Explain, Outputs, check_outputs, check_unreviewed, reasons
from hadgeo.decisions.joint import Found, Joint, join, place
from hadgeo.decisions.layers import Table
from hadgeo.decisions.objects import background_strengths, calibrate_groups
from hadgeo.decisions.polygons import find_anomalies, write_layer
from hadgeo.errors import Cancelled, HadgeoError, OutputError, OutputExistsError
from hadgeo.files import sha256_of
from hadgeo.maps.polygon_fields import MAP_FIELD
from hadgeo.maps.reader import ScoreMap, open_scores, sensor_path
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.mission.batch_record import BatchRecord
from hadgeo.mission.outcomes import MissionLayer
from hadgeo.progress import Progress

Thing = TypeVar("Thing")
Made = TypeVar("Made")

#: Says what compares the anomalies of a line, by its name, with the background.
ExplainLine = Callable[[str], Explain]


class LayerWriter:
    """Writes the file of a batch, unless it is there already.

    Args:
        request: What is wanted.
        record: The record of the batch.
        folder: Where that is.
        overwrite: Whether a file of other settings, or one that was changed since, may be replaced.
    """

    def __init__(self, request: MissionAnomalies, record: BatchRecord, folder: Path, *, overwrite: bool) -> None:
        self._request, self._record, self._overwrite = request, record, overwrite
        self._name = Path(os.path.relpath(request.out, folder)).as_posix()

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse early what could not be written late.

        Raises:
            ParameterError: The name of the file says no known format.
            MissingExtraError: A library is missing.
            OutputError: The file cannot be written, or is one of the inputs.
            OutputExistsError: It is there, and was not made by this batch with these settings.
        """
        known = self._record.product(self._name)
        ours = known.get("request", known.get("begun")) == self._request.settings
        outputs = Outputs(polygons=self._request.out)
        check_outputs(
            outputs,
            self._request.grouping,
            list(inputs),
            explained=True,
            overwrite=self._overwrite or ours,
            may_stay=ours,
        )

    def write(
        self, maps: Mapping[str, Path], settings: Mapping[str, Any], explain: ExplainLine, progress: Progress
    ) -> MissionLayer:
        """Write it.

        Args:
            maps: The map of each line that has one, by the line's name, in order.
            settings: What each was made with, likewise.
            explain: Compares anomalies with the background.
            progress: Follows the work and may cancel it.

        Raises:
            OutputError: No line can be in it, or it cannot be written.
            OutputExistsError: It has been changed since an earlier run made it of other lines.
            Cancelled: `progress` asked for it.
        """
        out, request = self._request.out, self._request
        known = self._record.product(self._name)
        if out.exists() and known.get("request") == request.settings:
            changed = sha256_of(out) != known["sha256"]
            if known["maps"] == settings:
                if changed:
                    progress.message(f"{out} has been changed since it was made, and is kept")
                facts = {name: known[name] for name in ("crs", "objects", "duplicates", "left_out")}
                return MissionLayer(out, **facts, kept=True)
            if changed and not self._overwrite:
                raise OutputExistsError(
                    f"{out}: the flight lines are others than those it was made of, and it has been changed since, by "
                    "verdicts perhaps; move it away, or use --overwrite to replace it"
                )
        check_unreviewed(out)
        failed: dict[str, str] = {}
        joint, unplaced = _found_in(maps, request, failed, progress)
        table = _table_of(joint, explain, progress)
        # Whatever stands there from now on may be replaced, even if this run is killed before it can say so.
        self._record.note_product(self._name, {"begun": request.settings})
        write_layer(table, joint.outlines, joint.grid, out)
        layer = MissionLayer(out, joint.crs.to_string(), len(joint), joint.duplicates, unplaced | failed)
        # Without the lines that failed, which are tried again next time.
        made_of = {name: made for name, made in settings.items() if name not in failed}
        facts = {"crs": layer.crs, "objects": layer.objects, "duplicates": layer.duplicates, "left_out": unplaced}
        noted = {"request": request.settings, "maps": made_of, "sha256": sha256_of(out), **facts}
        self._record.note_product(self._name, noted)
        return layer


def _found_in(
    maps: Mapping[str, Path], request: MissionAnomalies, failed: dict[str, str], progress: Progress
) -> tuple[Joint, dict[str, str]]:
    """The anomalies of all maps, and why some maps have no place among them; why some failed is added to `failed`."""
    opened = _each(maps, open_scores, failed)
    placed = {name: scores for name, scores in opened.items() if scores.grid.georeferenced and scores.crs is not None}
    unplaced = {name: "it has no coordinate reference system" for name in opened if name not in placed}
    if not placed:
        raise OutputError(_nothing(request.out, unplaced | failed))
    crs = request.wanted_crs or next(iter(placed.values())).crs
    assert crs is not None  # every map that has a place has one
    # Rates count each measured pixel once, which a map made by a lookup table may repeat.
    once = _each(placed, _measured, failed)
    pooled = _pooled(placed, once, request, failed, progress) if request.calibrate_on == "mission" else None

    def find(name: str) -> Found:
        calibration, background = pooled or (calibrate(once[name], progress=progress), None)
        found = find_anomalies(
            placed[name],
            calibration.threshold(request.rule),
            calibration,
            **asdict(request.grouping),
            background=background,
            progress=progress,
        )
        return place(name, found, crs)

    found = _each({name: name for name in once if name not in failed}, find, failed)
    if not found:
        raise OutputError(_nothing(request.out, unplaced | failed))
    return join(list(found.values()), crs, request.join_distance), unplaced


def _measured(scores: ScoreMap) -> ScoreMap:
    """The map in the sensor's geometry of one that a lookup table led to."""
    return open_scores(sensor_path(scores.path)) if scores.orthorectified else scores


def _pooled(
    maps: Mapping[str, ScoreMap],
    once: Mapping[str, ScoreMap],
    request: MissionAnomalies,
    failed: dict[str, str],
    progress: Progress,
) -> tuple[Calibration, Calibration | None]:
    """What scores of all maps mean, and what the strength of a group of any of them does."""
    readable = _each(once, _read_through, failed)
    if not readable:
        raise OutputError(_nothing(request.out, failed))
    calibration = calibrate(list(readable.values()), progress=progress)
    threshold, grouping = calibration.threshold(request.rule), request.grouping
    if not grouping.grow_pfa:
        return calibration, None
    strengths = np.concatenate(
        [
            background_strengths(
                maps[name],
                threshold,
                calibration,
                connectivity=grouping.connectivity,
                grow_pfa=grouping.grow_pfa,
                progress=progress,
            )
            for name in readable
        ]
    )
    return calibration, calibrate_groups(strengths) if len(strengths) else None


def _read_through(scores: ScoreMap) -> ScoreMap:
    """Read a map, so that what is damaged in it is known before the others are counted with it."""
    for _ in scores.strips():
        pass
    return scores


def _each(things: Mapping[str, Thing], work: Callable[[Thing], Made], failed: dict[str, str]) -> dict[str, Made]:
    """What is made of some things, by their names; why of some nothing is, is added to `failed`."""
    made = {}
    for name, thing in things.items():
        try:
            made[name] = work(thing)
        except Cancelled:
            raise
        except HadgeoError as error:
            failed[name] = str(error)
    return made


def _nothing(out: Path, left_out: Mapping[str, str]) -> str:
    reasons_told = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
    return f"{out}: none of the flight lines can be in it ({reasons_told or 'none has a map; the summary says why'})"


def _table_of(joint: Joint, explain: ExplainLine, progress: Progress) -> Table:
    """What is told of objects, with the bands and the parts of the detector by which they stand out in their line."""
    table = joint.table()
    told = {name: np.full(len(joint), None, dtype=object) for name in ("bands", "parts")}
    for number, one in enumerate(joint.found):
        mine = np.flatnonzero(joint.maps == number)
        if not len(mine):
            continue
        groups = list(one.anomalies.groups)
        try:
            own = reasons(explain(one.name)([groups[member] for member in joint.members[mine]]))
        except Cancelled:
            raise
        except HadgeoError as error:
            progress.message(f"{one.name}: what its anomalies stand out by is not known ({error})")
            continue
        for name, column in told.items():
            column[mine] = [own[name].get(groups[member].id) for member in joint.members[mine]]
    return table | told | {MAP_FIELD: joint.map_hashes}
