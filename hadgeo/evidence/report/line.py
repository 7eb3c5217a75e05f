"""What a page is made of: scenes, their maps, their anomalies, how scores were judged, and how all of it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hadgeo.errors import CubeError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.evidence.report.layer import PageLayer
from hadgeo.formats.glt import Glt
from hadgeo.formats.source import Source
from hadgeo.maps.reader import ScoreMap

if TYPE_CHECKING:
    import xarray as xr

#: Compares anomalies with the background: `gather_evidence` for a scene and what found them there.
Explain = Callable[[Sequence[Anomaly]], "xr.Dataset"]


@dataclass(frozen=True)
class ScoreFigures:
    """How the scores of a map are distributed, and where it was cut.

    Attributes:
        edges: Of the bins, one more than there are bins.
        counts: Pixels of each bin.
        modelled: How many the fitted tail says; None below its start.
        threshold: The lowest score at which pixels are flagged, or None where it is not known.
        rule: How it was chosen, for people.
        facts: Further numbers by name, for people.
    """

    edges: list[float]
    counts: list[int]
    modelled: list[float | None]
    threshold: float | None
    rule: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class ReportLine:
    """A scene, its map and its anomalies.

    Attributes:
        source: The scene.
        scores: The map in which the anomalies are.
        layer: The anomalies.
        explain: Compares them with the background.
        figures: Of the map.
        name: What the scene is called; its file's name where this is empty.
        evidence: What `explain` has said of all of them, where that is known already.
        run: The manifest of the run that made the map or the polygons, as JSON has it; None where there is none.
        repeat: The command that makes them again, or an empty text.
        glt: What leads from the scene to the map, or None where the map is on the scene's grid.
        sensor_scores: The map on the scene's grid, where there is such a table.
    """

    source: Source
    scores: ScoreMap
    layer: PageLayer
    explain: Explain
    figures: ScoreFigures
    name: str = ""
    evidence: xr.Dataset | None = None
    run: Mapping[str, Any] | None = None
    repeat: str = ""
    glt: Glt | None = None
    sensor_scores: ScoreMap | None = None

    def __post_init__(self) -> None:
        shape = self.source.shape[1:] if self.glt is None else self.glt.grid.shape
        if self.scores.shape != shape:
            raise CubeError(
                f"{self.scores.path}: {self.scores.shape[0]} x {self.scores.shape[1]} pixels, but {self.source.path} "
                f"has {shape[0]} x {shape[1]}; give the score map of this scene"
            )
