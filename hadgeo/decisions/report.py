"""What the page of anomalies needs of a decision: how scores are distributed, and the anomalies that were found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hadgeo.decisions.calibration import Calibration, Rule, calibrate
from hadgeo.decisions.decision import Decision, words_of
from hadgeo.decisions.tail import Tail
from hadgeo.errors import CubeError, CubeNotFoundError, MissingExtraError
from hadgeo.evidence.report.content import DEFAULT_LIMIT, contents_of
from hadgeo.evidence.report.line import Explain, ReportLine, ScoreFigures
from hadgeo.evidence.report.page import check_report as check_report  # what follows is written there
from hadgeo.evidence.report.page import write_page
from hadgeo.files import sha256_of
from hadgeo.formats.glt import Glt
from hadgeo.formats.source import Source
from hadgeo.maps.polygon_fields import MAP_FIELD, check_outlines
from hadgeo.maps.reader import ScoreMap, on_scene_grid, open_scores
from hadgeo.progress import SILENT, Progress

if TYPE_CHECKING:
    from hadgeo.decisions.layers import Layer
    from hadgeo.evidence.report.layer import PageLayer
    from hadgeo.grid import Grid

#: Bins of the histogram.
_BINS = 160

#: Scores that are spread over more than this ratio get bins of equal ratio.
_WIDE = 50.0


def write_report(
    lines: Sequence[ReportLine],
    out: Path,
    *,
    title: str | None = None,
    limit: int = DEFAULT_LIMIT,
    option: str = "--report",
    progress: Progress = SILENT,
) -> int:
    """Write the page of one scene, or one page for several.

    Args:
        lines: The scenes and their anomalies.
        out: The page; what is there is replaced.
        title: Title; the names of the scenes by default.
        limit: How many anomalies of all of them, the rarest, get pictures and a spectrum.
        option: What names the page on the command line.
        progress: Follows the reading and may cancel it.

    Returns:
        How many have got them.

    Raises:
        OutputError: It cannot be written.
        ReadError: A scene or a map is damaged.
        Cancelled: `progress` asked for it.
    """
    contents = contents_of(lines, limit=limit, progress=progress)
    write_page(contents, out, title=title, option=option)
    return sum(len(content["chips"]["frames"]) for content in contents)


def line_of_decision(
    decision: Decision,
    source: Source,
    explain: Explain,
    *,
    glt: Glt | None = None,
    measured: Path | None = None,
    run: Mapping[str, Any] | None = None,
    repeat: str = "",
) -> ReportLine:
    """What was decided on a map, for the page.

    Args:
        decision: Made with `find`.
        source: The scene.
        explain: As for `decide`.
        glt: What leads from the scene to the map, where one does.
        measured: As for `decide`.
        run: The manifest, as JSON has it.
        repeat: The command that makes map or polygons again.
    """
    from hadgeo.decisions.layers import Layer
    from hadgeo.decisions.polygons import described

    assert decision.anomalies is not None  # by `find`
    assert decision.calibration is not None
    scores = _found_on(open_scores(decision.scores))
    name = decision.outputs.polygons.name if decision.outputs.polygons else f"{scores.path.stem}_polygons.gpkg"
    table = described(decision.anomalies, **words_of(decision.evidence))
    return ReportLine(
        source,
        scores,
        _page_layer(name, Layer(table, decision.anomalies.outlines, scores.grid.proj), scores.grid),
        explain,
        score_figures(decision.calibration, decision.threshold, str(decision.rule), decision.pixels),
        evidence=decision.evidence,
        run=run,
        repeat=repeat,
        glt=glt,
        sensor_scores=None if measured is None or glt is None else open_scores(measured),
    )


def line_of_files(
    source: Source,
    scores: str | Path,
    polygons: str | Path | Layer,
    explain: Explain,
    *,
    name: str = "",
    layer_name: str = "",
    rule: Rule | None = None,
    glt: Glt | None = None,
    measured: Path | None = None,
    run: Mapping[str, Any] | None = None,
    repeat: str = "",
    progress: Progress = SILENT,
) -> ReportLine:
    """A finished map and its polygons, for the page.

    Args:
        source: The scene.
        scores: The map.
        polygons: A vector file, or what was read of one.
        explain: Compares anomalies with the background.
        name: What the scene is called; its file's name by default.
        layer_name: What the polygons are called, likewise.
        rule: Which pixels stand out; by default what `run` says.
        glt: As for `line_of_decision`.
        measured: As for `decide`.
        run: The manifest of the run that made the polygons or the map; the threshold is taken from it.
        repeat: As for `line_of_decision`.
        progress: Follows the reading and may cancel it.

    Raises:
        CubeError: One of them cannot be used, or they do not belong together.
        ReadError: A file is damaged.
        Cancelled: `progress` asked for it.
    """
    opened = _found_on(open_scores(scores))
    read = _read(Path(polygons)) if isinstance(polygons, str | Path) else polygons
    layer = _page_layer(layer_name or str(polygons), read, opened.grid)
    _check_same_map(layer, opened.path)
    once = opened if measured is None else open_scores(measured)
    calibration = calibrate(once, progress=progress)
    threshold, told = _threshold_of(run) if rule is None else (calibration.threshold(rule), str(rule))
    figures = score_figures(calibration, threshold, told)
    return ReportLine(
        source,
        opened,
        layer,
        explain,
        figures,
        name=name,
        run=run,
        repeat=repeat,
        glt=glt,
        sensor_scores=None if measured is None else once,
    )


def _found_on(scores: ScoreMap) -> ScoreMap:
    """The map on which `decide` finds anomalies: where one is only turned, that on the scene's own grid."""
    try:
        return scores if scores.orthorectified else on_scene_grid(scores)
    except CubeError:
        return scores


def _read(polygons: Path) -> Layer:
    if not polygons.exists():
        raise CubeNotFoundError(f"{polygons}: no such file; check the path")
    check_outlines(polygons)
    try:
        from hadgeo.decisions.layers import read_layer
    except ImportError as error:
        raise MissingExtraError(f'polygons need {error.name}; install it with pip install "hadgeo[vector]"') from error
    return read_layer(polygons)


def _page_layer(name: str, layer: Layer, grid: Grid) -> PageLayer:
    from hadgeo.evidence.report.layer import page_layer

    return page_layer(name, layer.table, layer.outlines, None if layer.crs is None else layer.crs.to_wkt(), grid)


def _check_same_map(layer: PageLayer, scores: Path) -> None:
    """Refuse polygons that say that they belong to another map."""
    told = {row[MAP_FIELD] for row in layer.table if row.get(MAP_FIELD)}
    if told and told != {sha256_of(scores)}:
        raise CubeError(
            f"{layer.name}: polygons of another map than {scores}, or of an earlier state of it; give the map that "
            "they were made from"
        )


def _threshold_of(run: Mapping[str, Any] | None) -> tuple[float | None, str]:
    """The threshold that a manifest tells, and its rule."""
    facts = (run or {}).get("facts", {})
    facts = facts.get("decision", facts)
    if not isinstance(facts, dict) or not isinstance(facts.get("threshold"), int | float):
        return None, ""
    rule = facts.get("rule")
    return facts["threshold"], " ".join(f"{k} {v:g}" for k, v in rule.items()) if isinstance(rule, dict) else ""


def score_figures(
    calibration: Calibration, threshold: float | None, rule: str = "", pixels: int | None = None
) -> ScoreFigures:
    """How the scores of a map are distributed, and what its tail says of them.

    Args:
        calibration: The map's.
        threshold: From which score on pixels are flagged, or None where that is not known.
        rule: How it was chosen, for people.
        pixels: How many reach it, where that is known.
    """
    lowest, highest = calibration.lowest, calibration.highest
    # The highest score lies in the last bin, not behind it.
    end = math.nextafter(highest, math.inf) if highest > lowest else lowest + 1.0
    edges = (
        np.geomspace(lowest, end, _BINS + 1)
        if lowest > 0 and highest > _WIDE * lowest
        else np.linspace(lowest, end, _BINS + 1)
    )
    reached = calibration.reached(edges[:-1])
    counts = reached - np.append(reached[1:], 0)
    tail = calibration.tail
    modelled: list[float | None] = [None] * _BINS
    if tail is not None:
        shares = calibration.count * np.diff(-tail.survival(edges))
        modelled = [
            float(f"{share:.4g}") if edge >= tail.start else None
            for edge, share in zip(edges[:-1], shares, strict=True)
        ]
    return ScoreFigures(
        edges.tolist(),
        counts.tolist(),
        modelled,
        threshold,
        rule,
        _facts(calibration, threshold, rule, pixels, tail),
    )


def _facts(
    calibration: Calibration, threshold: float | None, rule: str, pixels: int | None, tail: Tail | None
) -> dict[str, str]:
    facts = {"pixels with a score": f"{calibration.count:,}"}
    if threshold is not None:
        facts["threshold"] = f"{threshold:.6g} ({rule})" if rule else f"{threshold:.6g}"
        facts["false alarms expected above it"] = f"{calibration.expected_false_alarms(threshold):.3g} pixels"
    if pixels is not None:
        facts["pixels above it"] = f"{pixels:,}"
    if tail is None:
        facts["tail"] = "none: too few distinct values among the largest scores; rates are counted only"
        return facts
    unused = "; not used, rates are counted only" if tail.quality == "poor" else ""
    facts["tail"] = f"generalised Pareto, shape {tail.shape:.3f}, scale {tail.scale:.4g}, {tail.quality} fit{unused}"
    facts["tail fitted to"] = f"{tail.excesses:,} scores above {tail.start:.6g}"
    return facts
