"""From a score map to a decision: its threshold, how many pixels reach it; on request polygons, p-values, evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hadgeo.decisions.calibration import Calibration, Rule, calibrate, followed
from hadgeo.decisions.groups import MAX_PIXELS, Group
from hadgeo.decisions.objects import GROW_PFA, check_grow_pfa, find_objects
from hadgeo.decisions.tail import Tail
from hadgeo.errors import CubeError, MissingExtraError, OutputError, OutputExistsError, ParameterError, ReviewError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.files import check_no_input, check_output, check_tiff_name
from hadgeo.maps.part_folder import names_written
from hadgeo.maps.reader import ScoreMap, check_varied, on_scene_grid, open_scores
from hadgeo.maps.writer import ScoreWriter
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.windows import Window

if TYPE_CHECKING:
    import xarray as xr

    from hadgeo.decisions.polygons import Anomalies

#: How many anomalies get a plot of their spectrum, where nothing else is said.
SPECTRA_LIMIT = 100

#: Compares anomalies with the background: `gather_evidence` for a scene and what found them there.
Explain: TypeAlias = Callable[[Sequence[Anomaly]], "xr.Dataset"]


@dataclass(frozen=True)
class Grouping:
    """How flagged pixels become anomalies.

    Attributes:
        connectivity: 4, neighbours share a side, or 8, they may touch at a corner.
        min_pixels: Smaller anomalies are left out, after merging.
        merge_distance: Groups whose outlines are at most so far apart are one anomaly, in metres; in the units of the
            grid where the map has no coordinate system. For polygons only.
        grow_pfa: Anomalies grow from flagged pixels through neighbours whose p-value is at most this; 0 for no growth.

    Raises:
        ParameterError: One of them is out of bounds.
    """

    connectivity: int = 8
    min_pixels: int = 1
    merge_distance: float = 0.0
    grow_pfa: float = GROW_PFA

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise ParameterError(f"connectivity must be 4 or 8, not {self.connectivity}")
        if self.min_pixels < 1:
            raise ParameterError(f"min_pixels must be at least 1, not {self.min_pixels}")
        if not 0 <= self.merge_distance < np.inf:
            raise ParameterError(f"merge_distance must be at least 0, not {self.merge_distance:g}")
        check_grow_pfa(self.grow_pfa)


@dataclass(frozen=True)
class Outputs:
    """What to write of a decision; None for what is not wanted, and a text is taken for a path.

    Attributes:
        polygons: A vector file: ``.gpkg``, ``.geojson`` or ``.parquet``.
        p_values: A GeoTIFF of the p-value of each pixel.
        evidence: A NetCDF file of the spectra of each anomaly; see `hadgeo.evidence.gather`.
        spectra: A folder for plots of the spectrum of each anomaly.
    """

    polygons: Path | None = None
    p_values: Path | None = None
    evidence: Path | None = None
    spectra: Path | None = None

    def __post_init__(self) -> None:
        for name, path in self.wanted.items():
            object.__setattr__(self, name, Path(path))

    @property
    def wanted(self) -> dict[str, Path]:
        """Those that are."""
        return {name: path for name, path in vars(self).items() if path is not None}

    @property
    def anomalies(self) -> bool:
        """Whether any of them needs the anomalies one by one."""
        return bool(self.polygons or self.evidence or self.spectra)


@dataclass(frozen=True)
class Decision:
    """The result of applying a rule to a map.

    Attributes:
        scores: The score map.
        rule: The rule.
        threshold: The lowest score at which pixels are flagged.
        pixels: Number of flagged pixels.
        valid: How many pixels have a score.
        expected_false_alarms: Expected number of background pixels among them.
        tail: The tail that was fitted, or None.
        groups: How many anomalies they form; None if there are too many to group.
        grown_to: The lowest score of a pixel that anomalies could grow into; None where they did not grow.
        outputs: What was written.
        calibration: What the scores mean; this and the following only where `find` was asked of `decide`.
        anomalies: They themselves.
        evidence: Of all of them, where they were compared with the background.
    """

    scores: Path
    rule: Rule
    threshold: float
    pixels: int
    valid: int
    expected_false_alarms: float
    tail: Tail | None
    groups: int | None
    grown_to: float | None
    outputs: Outputs
    calibration: Calibration | None = field(default=None, repr=False)
    anomalies: Anomalies | None = field(default=None, repr=False)
    evidence: xr.Dataset | None = field(default=None, repr=False)

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
            "grown_to": self.grown_to,
            **{name: None if path is None else str(path) for name, path in vars(self.outputs).items()},
        }


def decide(
    scores: str | os.PathLike[str],
    rule: Rule,
    outputs: Outputs | None = None,
    *,
    grouping: Grouping | None = None,
    measured: str | os.PathLike[str] | None = None,
    explain: Explain | None = None,
    find: bool = False,
    spectra_limit: int = SPECTRA_LIMIT,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Decision:
    """Threshold a score map, and write its anomalies.

    Args:
        scores: The map, such as `hadgeo.detect` writes.
        rule: Which pixels stand out.
        outputs: What to write; nothing where it is None.
        grouping: How pixels become anomalies; by the defaults of `Grouping` where it is None.
        measured: The map on the scene's own grid, where `scores` is orthorectified or turned north-up and repeats
            pixels: rates, ranks and the number of pixels that stand out are of this one, and so are anomalies where the
            other is only turned; p-values are on the other. By default it is the one that stands beside such a map.
        explain: Compares anomalies with the background; polygons then name the bands that stand out.
        find: Find the anomalies one by one even where no output needs them, and return them.
        spectra_limit: Spectra of how many anomalies are plotted, the rarest of them.
        overwrite: Whether outputs may be replaced.
        progress: Follows the run and may cancel it.

    Returns:
        The threshold, and what reaches it.

    Raises:
        CubeNotFoundError: There is no such map.
        CubeError: It is not a score map, or contains no scores.
        ParameterError: The map cannot answer the rule, or evidence is wanted without `explain`.
        MissingExtraError: An output needs a library that is not installed.
        OutputError: An output cannot be written.
        Cancelled: `progress` asked for it; nothing is left behind.

    Examples:
        >>> decision = decide("line_anomaly.tif", Rule(pfa=1e-4), Outputs(polygons="anomalies.gpkg"))
        >>> print(decision.threshold, decision.pixels, decision.groups)
    """
    if not isinstance(rule, Rule):
        raise ParameterError(f"a rule is a hadgeo.Rule, such as Rule(pfa=1e-3), not {rule!r}")
    grouping, outputs = grouping or Grouping(), outputs or Outputs()
    source = open_scores(scores)
    once = _each_pixel_once(source, progress) if measured is None else open_scores(measured)
    needed = [source.path, once.path]
    check_outputs(outputs, grouping, needed, explained=explain is not None, find=find, overwrite=overwrite)
    # Outlines are on the ground, so they need no grid that is turned.
    found_on = source if source.orthorectified else once
    calibration = calibrate(once, progress=progress)
    check_varied(once, calibration.varied)
    threshold = calibration.threshold(rule)
    pixels = _count(once, threshold, progress)
    groups, grown_to, found, evidence = None, None, None, None
    if outputs.anomalies or find:
        found = _polygons().find_anomalies(found_on, threshold, calibration, progress=progress, **asdict(grouping))
        evidence = None if explain is None else explain(list(found.groups))
        _write_anomalies(found, outputs, evidence, limit=spectra_limit, overwrite=overwrite, progress=progress)
        groups, grown_to = len(found), found.grown_to
    elif pixels <= MAX_PIXELS:
        counted = find_objects(
            found_on,
            threshold,
            calibration,
            connectivity=grouping.connectivity,
            min_pixels=grouping.min_pixels,
            grow_pfa=grouping.grow_pfa,
            progress=progress,
        )
        groups, grown_to = len(counted.groups), counted.grown_to
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
        grown_to,
        outputs,
        *((calibration, found, evidence) if find else ()),
    )


def _each_pixel_once(scores: ScoreMap, progress: Progress) -> ScoreMap:
    """The map that rates are calibrated on: the one on the scene's grid, where a warped one has it beside it."""
    try:
        return on_scene_grid(scores)
    except CubeError as error:
        progress.message(f"rates count each repetition of a pixel: {error}")
        return scores


def check_outputs(
    outputs: Outputs,
    grouping: Grouping,
    inputs: list[Path],
    *,
    explained: bool,
    find: bool = False,
    overwrite: bool,
    may_stay: bool = False,
) -> None:
    """Refuse early what could not be written late.

    Args:
        outputs: What shall be written.
        grouping: How pixels become anomalies.
        inputs: Files that must not be replaced, whether they exist or are about to be made.
        explained: Whether anomalies can be compared with the background.
        find: Whether they are wanted one by one even where no output needs them.
        overwrite: Whether what is there may be replaced.
        may_stay: Whether polygons that are there may be kept, so that it is too early to ask for verdicts in them.

    Raises:
        ParameterError: The name of the vector file says no known format, groups shall be merged without need, or
            evidence cannot be had.
        MissingExtraError: An output needs a library that is not installed.
        OutputError: An output is an input or another one, exists, holds verdicts, is read-only or open elsewhere, or
            its folder is missing.
    """
    if (outputs.evidence or outputs.spectra) and not explained:
        raise ParameterError("evidence and spectra need the scene; add --scene, or omit them")
    found = outputs.anomalies or find
    if not found and grouping.merge_distance:
        raise ParameterError("groups are only merged for polygons; add --polygons, or omit --merge-distance")
    taken = list(inputs)
    for name in ("polygons", "p_values", "evidence"):
        out = getattr(outputs, name)
        if out is not None:
            _check_place(out, f"--{name.replace('_', '-')}", taken, overwrite=overwrite)
    if outputs.p_values is not None:
        check_tiff_name(outputs.p_values, "--p-values")
    if found:
        polygons = _polygons()
        if outputs.polygons is not None:
            polygons.check_suffix(outputs.polygons)
            if not may_stay:
                check_unreviewed(outputs.polygons)
    if outputs.spectra is not None:
        _spectra().check_folder(outputs.spectra, overwrite=overwrite)


def check_unreviewed(out: Path) -> None:
    """Refuse to lose what a person has said, even where a file may be replaced.

    Raises:
        OutputExistsError: There are verdicts in it.
    """
    from hadgeo.decisions.review import Review

    try:
        said = len(Review.read(out).verdicts)
    except ReviewError:
        return
    if said:
        raise OutputExistsError(
            f"{out} contains a person's verdicts on {said} anomalies, which would be lost; move it away, or use "
            "--polygons to write elsewhere"
        )


def _check_place(out: Path, option: str, taken: list[Path], *, overwrite: bool) -> None:
    check_output(out, overwrite=overwrite, option=option)
    for written in names_written(out) if option == "--p-values" else [out]:
        for other in taken:
            check_no_input(written, [other], told=f"{other}, which this run needs", option=option)
    if out.exists() and not out.stat().st_mode & 0o222:
        raise OutputError(f"{out} is read-only; make it writable, or use {option} to write elsewhere")
    if out.with_name(out.name + "-wal").exists():
        raise OutputError(f"{out} is open in another program; close it there, or use {option} to write elsewhere")
    taken.append(out)


def _polygons() -> ModuleType:
    try:
        from hadgeo.decisions import polygons
    except ImportError as error:
        raise MissingExtraError(f'polygons need {error.name}; install it with pip install "hadgeo[vector]"') from error
    return polygons


def _spectra() -> ModuleType:
    try:
        from hadgeo.evidence import spectrum_plots as spectra
    except ImportError as error:
        raise MissingExtraError(f'pictures need {error.name}; install it with pip install "hadgeo[report]"') from error
    return spectra


def _count(scores: ScoreMap, threshold: float, progress: Progress) -> int:
    return sum(int((strip >= threshold).sum()) for _, strip in followed(scores, progress, Stage.COUNT))


def explained_by(scene: Any, detector: Any, **options: Any) -> Explain:
    """What compares anomalies with the background of their scene.

    Args:
        scene: As for `gather_evidence`.
        detector: Likewise.
        options: Likewise.
    """
    # Whoever calls this has loaded torch; whoever only cuts a map at a threshold need not wait for it.
    from hadgeo.evidence.gather import gather_evidence

    return partial(gather_evidence, scene, detector, **options)


def reasons(evidence: xr.Dataset | None) -> dict[str, dict[int, str | None]]:
    """Why anomalies stand out, in words: by ``bands`` and by ``parts`` of the detector, each by the anomaly's id."""
    if evidence is None:
        return {"bands": {}, "parts": {}}
    from hadgeo.evidence.gather import top_bands, top_parts

    told = {"bands": top_bands(evidence), "parts": top_parts(evidence)}
    ids = evidence.id.values.tolist()
    return {name: dict(zip(ids, (text or None for text in texts), strict=True)) for name, texts in told.items()}


def words_of(evidence: xr.Dataset | None) -> dict[str, Callable[[Group], str | None]]:
    """`reasons` as `hadgeo.write_polygons` takes them."""

    def said(told: dict[int, str | None], group: Group) -> str | None:
        return told.get(group.id)

    return {name: partial(said, told) for name, told in reasons(evidence).items()}


def _write_anomalies(
    found: Anomalies,
    outputs: Outputs,
    evidence: xr.Dataset | None,
    *,
    limit: int,
    overwrite: bool,
    progress: Progress,
) -> None:
    if evidence is not None and outputs.evidence is not None:
        from hadgeo.evidence.gather import write_evidence

        write_evidence(evidence, outputs.evidence, overwrite=overwrite)
    if evidence is not None and outputs.spectra is not None:
        told = evidence.assign_coords(_rarity(found))
        _spectra().spectra_plots(told, outputs.spectra, limit=limit, overwrite=overwrite, progress=progress)
    if outputs.polygons is not None:
        _polygons().write_polygons(found, outputs.polygons, **words_of(evidence))


def _rarity(found: Anomalies) -> dict[str, Any]:
    """How high and how rare each anomaly is, as coordinates of its evidence."""
    return {"max_score": ("anomaly", found.groups.max_scores), "p_value": ("anomaly", found.p_values)}


def _write_p_values(
    out: Path, scores: ScoreMap, calibration: Calibration, *, overwrite: bool, progress: Progress
) -> None:
    writer = ScoreWriter(
        out,
        grid=scores.grid,
        description="p-value of the anomaly score",
        tags={**{k: v for k, v in scores.tags.items() if k.startswith("HADGEO_")}, "HADGEO_SCORES": scores.path.name},
        overwrite=overwrite,
        overviews="min",
    )
    with writer:
        for rows, strip in followed(scores, progress, Stage.P_VALUES):
            p_values = calibration.p_values(strip).astype(np.float32)
            writer.write(Window(rows.start, 0, rows.stop - rows.start, scores.shape[1]), p_values)
        writer.finish()
