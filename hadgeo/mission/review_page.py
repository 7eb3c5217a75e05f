"""One page for the review of the anomalies of all lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hadgeo.decisions.decision import Explain
from hadgeo.decisions.layers import Layer, read_layer
from hadgeo.decisions.report import line_of_files, write_report
from hadgeo.formats.glt import Glt
from hadgeo.formats.source import Source
from hadgeo.maps.reader import sensor_path
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.progress import Progress


@dataclass(frozen=True)
class ShownLine:
    """A line as the page shows it.

    Attributes:
        scene: The scene.
        scores: Its map.
        glt: What leads from the scene to the map, or None.
        explain: Compares its anomalies with the background.
        run: How the map was made, as a manifest says it.
    """

    scene: Source
    scores: Path
    glt: Glt | None
    explain: Explain
    run: Mapping[str, Any]


def write_review_page(
    request: MissionAnomalies,
    names: Mapping[str, Callable[[], ShownLine]],
    *,
    title: str,
    progress: Progress,
) -> Path:
    """Write the page of the layer of a mission; each object is shown in the line in which it is the most significant.

    Args:
        request: What is written of the anomalies: the layer, which is there already, and the page.
        names: Opens each line of the mission, by its name.
        title: The page's.
        progress: Follows the work and may cancel it.

    Raises:
        HadgeoError: A scene, its map or the layer cannot be used.
        OutputError: The page cannot be written.
        Cancelled: `progress` asked for it.
    """
    assert request.report is not None
    layer = read_layer(request.out)
    # Ranks and rates of all scores together are thresholds of no single map.
    rule = request.rule if request.calibrate_on == "line" else None
    lines = []
    for name, opened in names.items():
        own = _of_line(layer, name)
        if not len(own.table["id"]):
            continue
        shown = opened()
        lines.append(
            line_of_files(
                shown.scene,
                shown.scores,
                own,
                shown.explain,
                name=name,
                layer_name=request.out.name,
                rule=rule,
                glt=shown.glt,
                measured=None if shown.glt is None else sensor_path(shown.scores),
                run=shown.run,
                progress=progress,
            )
        )
    write_report(lines, request.report, title=title, limit=request.report_limit, progress=progress)
    return request.report


def _of_line(layer: Layer, name: str) -> Layer:
    """The objects of a layer that are the most significant in one line."""
    mine = layer.table["line"] == name
    outlines = None if layer.outlines is None else layer.outlines[mine]
    return Layer({field: column[mine] for field, column in layer.table.items()}, outlines, layer.crs)
