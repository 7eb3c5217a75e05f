"""What holds for all lines of a batch, and what follows from it for one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hadgeo.compute.memory import granted
from hadgeo.cube import as_source
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import ModelError, RegionElsewhereError
from hadgeo.formats.glt import Glt
from hadgeo.formats.igm import open_geometry_of
from hadgeo.formats.masked import masked
from hadgeo.formats.reading import Reading
from hadgeo.formats.regions import keep_inside, keep_outside
from hadgeo.formats.selected import kept_pixels
from hadgeo.formats.source import Source
from hadgeo.mission.flight_lines import FlightLine
from hadgeo.run.cluster import Cluster
from hadgeo.run.learning import Learning
from hadgeo.run.matching.search import Search
from hadgeo.run.model_file import Model
from hadgeo.run.reviewed import excluded_only
from hadgeo.run.score_job import stamp_files, stamp_of
from hadgeo.run.selection import match_bands


@dataclass(frozen=True)
class Settings:
    """What holds for all lines; see `hadgeo.mission.batch.run_batch`."""

    detector: str
    parameters: Mapping[str, str]
    bands: str | None
    device: str
    memory: int | None
    reading: Reading
    mask: str | os.PathLike[str] | None
    learning: Learning | None
    sensor_geometry: bool
    resample_bands: bool
    overwrite: bool
    cluster: Cluster | None
    search: Search | None

    def open(self, line: FlightLine) -> Source:
        """A line's scene under the mask of all.

        Raises:
            HadgeoError: It cannot be opened, or the mask leaves nothing of it.
        """
        with granted(self.memory):
            source = as_source(line.scene, reading=self.reading)
        return source if self.mask is None else masked(source, self.mask)

    def check_background(self, scene: Source) -> None:
        """Refuse a line of which no pixel lies in the background region.

        Raises:
            HadgeoError: As for `keep_inside`.
        """
        common = self.learning
        if common is not None and common.background is not None:
            keep_inside(kept_pixels(scene), scene, common.background)

    def learned_from(
        self, scenes: Sequence[Source], tell: Callable[[str], None], model: Model | None = None
    ) -> dict[str, Any]:
        """What some lines are learned from, as `detect` and `train` take it; `tell` hears what is not as asked."""
        common = self.learning
        if common is not None and model is not None:
            common = common.of_map()
        if common is None:
            return {}
        excluded = common.exclude
        if excluded is not None:
            missed = [error for scene in scenes if (error := _misses(scene, excluded)) is not None]
            if len(missed) == len(scenes):
                tell(f"nothing is excluded: {missed[0]}")
                excluded = None
        return {
            "background": common.background,
            "exclude": excluded,
            "suppress": common.suppress or None,
            "suppress_like": common.unwanted,
        }

    def search_for(self, line: FlightLine) -> Search | None:
        """What is looked for in a line: with a method of its own, it learns its background itself."""
        if self.search is None or not line.apart:
            return self.search
        parameters = line.parameters_with(self.detector, self.parameters)
        return replace(self.search, method=line.detector or self.detector, parameters=parameters, model=None)

    def geometry(self, line: FlightLine, scene: Source) -> Glt | None:
        """What leads from a line in the sensor's geometry to a map."""
        if line.glt is None and line.igm is None and self.sensor_geometry:
            return None
        return open_geometry_of(scene, line.glt, line.igm)

    def of_model(self, scenes: Sequence[Source]) -> dict[str, Any]:
        """What the model of all lines depends on."""
        return {
            "detector": self.detector,
            "parameters": _complete(self.detector, self.parameters),
            "bands": self.bands,
            "scenes": [_known_of(scene) for scene in scenes],
            **_learned_from(self.learning),
            **({} if self.search is None else self.search.settings),
        }

    def of_map(self, line: FlightLine, model: Model | None, source: Source, glt: Glt | None) -> dict[str, Any]:
        """What a map of a line depends on."""
        scene = {"scene": _known_of(source)}
        if glt is not None:
            scene["lookup_table"] = [list(file) for file in stamp_files(glt.files)]
        if model is not None:
            of_map = None if self.learning is None else self.learning.of_map()
            return {
                **scene,
                "model": model.hash,
                "resample_bands": self.resample_bands and _differs(source, model),
                **_learned_from(of_map),
            }
        search = self.search_for(line)
        detector = line.detector or self.detector
        parameters = line.parameters_with(self.detector, self.parameters)
        return {
            **scene,
            "detector": detector,
            "parameters": _complete(detector, parameters),
            "bands": line.bands or self.bands,
            **_learned_from(self.learning),
            **({} if search is None else search.settings),
        }


def _complete(detector: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """All of a detector's parameters, defaults included."""
    complete: dict[str, Any] = make_detector(detector, dict(parameters)).params.model_dump(mode="json")
    return complete


def _known_of(scene: Source) -> list[Any]:
    """By what a scene is known again: its files, and how they are read."""
    return [*stamp_of(scene), *([scene.variant] if scene.variant else [])]


def _learned_from(learning: Learning | None) -> dict[str, Any]:
    """By what it is known again what was learned from; nothing where that was all of the scenes."""
    return {} if learning is None else {"learned_from": learning.settings}


def _differs(scene: Source, model: Model) -> bool:
    """Whether a line lacks bands of a model, so that it has to be interpolated."""
    try:
        match_bands(model.spectrum, scene.shape[0], scene.metadata.wavelength, name=scene.path)
    except ModelError:
        return True
    return False


def _misses(scene: Source, region: Path) -> RegionElsewhereError | None:
    """Why an excluded region has no pixel of a line in it, or None where it has some."""
    try:
        keep_outside(kept_pixels(scene), scene, region, only=excluded_only(region))
    except RegionElsewhereError as error:
        return error
    return None
