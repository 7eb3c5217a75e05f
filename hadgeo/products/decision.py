"""From a score map to a decision: its threshold, how many pixels reach it, and on request polygons and p-values."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hadgeo.errors import MissingExtraError, OutputError, ParameterError
from hadgeo.geotiff import ScoreWriter, check_output, names_written
from hadgeo.products.groups import MAX_PIXELS, gather, label, pixels_above
from hadgeo.products.scores import ScoreMap, open_scores
from hadgeo.products.tail import Tail
from hadgeo.products.threshold import Calibration, Rule, calibrate, followed
from hadgeo.progress import SILENT, Progress
from hadgeo.windows import Window


@dataclass(frozen=True)
class Grouping:
    """How pixels that stand out become anomalies.

    Attributes:
        connectivity: 4, neighbours share a side, or 8, they may touch at a corner.
        min_pixels: Smaller anomalies are left out, after merging.
        merge_distance: Groups whose outlines are at most so far apart are one anomaly, in metres; in the units of the
            grid where the map has no coordinate system. For polygons only.
    """

    connectivity: int = 8
    min_pixels: int = 1
    merge_distance: float = 0.0

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise ParameterError(f"connectivity must be 4 or 8, not {self.connectivity}")
        if self.min_pixels < 1:
            raise ParameterError(f"min_pixels must be at least 1, not {self.min_pixels}")
        if not 0 <= self.merge_distance < np.inf:
            raise ParameterError(f"merge_distance must be at least 0, not {self.merge_distance:g}")


@dataclass(frozen=True)
class Decision:
    """What a rule makes of a map.

    Attributes:
        scores: The score map.
        rule: The rule.
        threshold: The score from which on, itself included, pixels stand out.
        pixels: How many pixels do.
        valid: How many pixels have a score.
        expected_false_alarms: How many background pixels of such a scene would.
        tail: The tail that was fitted, or None.
        groups: How many anomalies they form; None where they are too many to be grouped.
        polygons: The vector file, or None.
        p_values: The map of p-values, or None.
    """

    scores: Path
    rule: Rule
    threshold: float
    pixels: int
    valid: int
    expected_false_alarms: float
    tail: Tail | None
    groups: int | None
    polygons: Path | None = None
    p_values: Path | None = None

    def facts(self) -> dict[str, Any]:
        """What a program wants to know, ready for JSON."""
        tail = None if self.tail is None else {**asdict(self.tail), "quality": self.tail.quality}
        return {
            "scores": str(self.scores),
            "rule": {name: value for name, value in asdict(self.rule).items() if value is not None},
            "threshold": self.threshold,
            "pixels": self.pixels,
            "valid_pixels": self.valid,
            "expected_false_alarms": self.expected_false_alarms,
            "tail": tail,
            "groups": self.groups,
            "polygons": None if self.polygons is None else str(self.polygons),
            "p_values": None if self.p_values is None else str(self.p_values),
        }


def decide(
    scores: str | os.PathLike[str],
    rule: Rule,
    *,
    polygons: str | os.PathLike[str] | None = None,
    p_values: str | os.PathLike[str] | None = None,
    grouping: Grouping | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Decision:
    """Find what stands out in a score map.

    Args:
        scores: The map, such as `hadgeo.detect` writes.
        rule: Which pixels stand out.
        polygons: A vector file to write them to: ``.gpkg``, ``.geojson`` or ``.parquet``.
        p_values: A GeoTIFF to write each pixel's p-value to.
        grouping: How pixels become anomalies; by the defaults of `Grouping` where it is None.
        overwrite: Whether these two may be replaced.
        progress: Follows the run and may cancel it.

    Raises:
        CubeNotFoundError: There is no such map.
        CubeError: It is no map of scores, or holds none.
        ParameterError: The rule asks for what the map cannot tell.
        MissingExtraError: Polygons need a library that is not installed.
        OutputError: An output cannot be written.
        Cancelled: `progress` asked for it; nothing is left behind.
    """
    grouping = grouping or Grouping()
    source = open_scores(scores)
    outputs = check_outputs(polygons, p_values, grouping, [source.path], overwrite=overwrite)
    calibration = calibrate(source, progress=progress)
    threshold = calibration.threshold(rule)
    pixels = _count(source, threshold, progress)
    if outputs.polygons is not None:
        groups: int | None = _write_polygons(outputs.polygons, source, threshold, calibration, grouping, progress)
    else:
        groups = _count_groups(source, threshold, grouping, progress) if pixels <= MAX_PIXELS else None
    if outputs.p_values is not None:
        _write_p_values(outputs.p_values, source, calibration, overwrite=overwrite, progress=progress)
    return Decision(
        source.path,
        rule,
        threshold,
        pixels,
        calibration.count,
        calibration.expected_false_alarms(threshold),
        calibration.tail,
        groups,
        outputs.polygons,
        outputs.p_values,
    )


@dataclass(frozen=True)
class Outputs:
    """Where a decision goes, after `check_outputs`."""

    polygons: Path | None
    p_values: Path | None


def check_outputs(
    polygons: str | os.PathLike[str] | None,
    p_values: str | os.PathLike[str] | None,
    grouping: Grouping,
    inputs: list[Path],
    *,
    overwrite: bool,
) -> Outputs:
    """Refuse early what could not be written late.

    Args:
        polygons: The vector file, or None.
        p_values: The GeoTIFF, or None.
        grouping: How pixels become anomalies.
        inputs: Files that must not be replaced, whether they exist or are about to be made.
        overwrite: Whether what is there may be replaced.

    Raises:
        ParameterError: The name of the vector file says no known format, or groups shall be merged without polygons.
        MissingExtraError: Polygons need a library that is not installed.
        OutputError: An output is an input or the other one, exists, is read-only or open elsewhere, or its folder is
            missing.
    """
    taken = list(inputs)
    vector = None if polygons is None else _check_place(polygons, "--polygons", taken, overwrite=overwrite)
    if vector is not None:
        _polygons().check_suffix(vector)
    elif grouping.merge_distance:
        raise ParameterError("groups are merged for polygons only; add --polygons, or leave --merge-distance out")
    band = None if p_values is None else _check_place(p_values, "--p-values", taken, overwrite=overwrite)
    return Outputs(vector, band)


def _check_place(name: str | os.PathLike[str], option: str, taken: list[Path], *, overwrite: bool) -> Path:
    if not os.fspath(name):
        raise OutputError(f"the output's name is empty; give the name of a file with {option}")
    out = Path(name)
    try:
        check_output(out, overwrite=overwrite)
    except OutputError as error:
        raise type(error)(str(error).replace(" -o ", f" {option} ").replace(" -o;", f" {option};")) from None
    for written in names_written(out):
        for other in taken:
            if written.absolute() == other.absolute() or (
                written.exists() and other.exists() and written.samefile(other)
            ):
                raise OutputError(f"{out} is {other}, which is needed; give another name with {option}")
    if out.exists() and not out.stat().st_mode & 0o222:
        raise OutputError(f"{out} is read-only; make it writable, or use {option} to write elsewhere")
    if out.with_name(out.name + "-wal").exists():
        raise OutputError(f"{out} is open in another program; close it there, or use {option} to write elsewhere")
    taken.append(out)
    return out


def _polygons() -> ModuleType:
    try:
        from hadgeo.products import polygons
    except ImportError as error:
        raise MissingExtraError(f'polygons need {error.name}; install it with pip install "hadgeo[vector]"') from error
    return polygons


def _count(scores: ScoreMap, threshold: float, progress: Progress) -> int:
    return sum(int((strip >= threshold).sum()) for _, strip in followed(scores, progress, "count"))


def _count_groups(scores: ScoreMap, threshold: float, grouping: Grouping, progress: Progress) -> int:
    pixels = pixels_above(scores, threshold, progress=progress)
    return len(gather(pixels, label(pixels, grouping.connectivity), min_pixels=grouping.min_pixels))


def _write_polygons(
    out: Path, scores: ScoreMap, threshold: float, calibration: Calibration, grouping: Grouping, progress: Progress
) -> int:
    polygons = _polygons()
    found = polygons.find(scores, threshold, calibration, progress=progress, **asdict(grouping))
    polygons.write(found, out)
    return len(found)


def _write_p_values(
    out: Path, scores: ScoreMap, calibration: Calibration, *, overwrite: bool, progress: Progress
) -> None:
    writer = ScoreWriter(
        out,
        shape=scores.shape,
        crs=scores.crs,
        transform=scores.transform,
        description="p-value of the anomaly score",
        tags={**{k: v for k, v in scores.tags.items() if k.startswith("HADGEO_")}, "HADGEO_SCORES": scores.path.name},
        overwrite=overwrite,
    )
    with writer:
        for rows, strip in followed(scores, progress, "p-values"):
            p_values = calibration.p_values(strip).astype(np.float32)
            writer.write(Window(rows.start, 0, rows.stop - rows.start, scores.shape[1]), p_values)
        writer.finish()
