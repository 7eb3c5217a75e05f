"""What a run is about to do, and how: a task, and the plan that a look at the scene makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hadgeo import __version__
from hadgeo.bands import BandSelection
from hadgeo.detectors.base import Detector
from hadgeo.formats.glt import Glt
from hadgeo.formats.selected import Selected
from hadgeo.formats.source import Source
from hadgeo.run.estimate import Estimate, estimate
from hadgeo.run.learning import Learning
from hadgeo.run.model_file import Model
from hadgeo.run.score_job import Stamp, stamp_files
from hadgeo.run.selection import scene_of_model, usable_bands


@dataclass(frozen=True)
class Task:
    """What shall be done, checked as far as that needs no look at the pixels.

    Attributes:
        source: The scene.
        stamp: What `stamp_of` said of it before anything was read.
        model: The model to apply, or None where a detector is to be fitted.
        detector: The detector, unfitted unless it is the model's.
        device: Where it is fitted.
        scored_on: Where windows are scored: the same, or what the workers of a cluster have.
        north_up: Whether the map is warped to a north-up grid.
        glt: What leads from the sensor's geometry to a map, or None where the map is on the scene's own grid.
        learning: What the detector learns from, or None where that is all of the scene.
        learned: The scene with nodata wherever it is not learned from; None before that is known, or for all of it.
    """

    source: Source
    stamp: Stamp
    model: Model | None
    detector: Detector[Any]
    device: torch.device
    scored_on: torch.device
    north_up: bool = False
    glt: Glt | None = None
    learning: Learning | None = None
    learned: Selected | None = None

    @property
    def moved(self) -> bool:
        """Whether the map is on another grid than the scene; beside it stands one that is on the scene's."""
        grid = self.source.metadata.grid
        return self.glt is not None or (self.north_up and grid.georeferenced and grid.north_up() != grid)


@dataclass(frozen=True)
class Plan:
    """A task of which it is clear that it can be done, and how.

    Attributes:
        task: The task.
        source: The scene as the detector sees it, interpolated to a model's bands where that was asked for.
        selection: The bands used.
        expected: Windows, memory, disk and time.
        settings: What the bytes of the map depend on, by names for people.
    """

    task: Task
    source: Source
    selection: BandSelection
    expected: Estimate
    settings: dict[str, Any]

    @property
    def bands_told(self) -> str:
        """The bands, for the log."""
        return str(self.selection) if self.task.model is None else f"the {len(self.selection.indices)} of the model"


def prepare(
    task: Task,
    bands: str | Sequence[int] | BandSelection | None = None,
    *,
    resample_bands: bool = False,
    memory: int | None = None,
    window: int | None = None,
    trial: bool | None = None,
    granted: int | None = None,
) -> Plan:
    """Look at a scene, choose its bands, and plan its windows.

    Args:
        task: What shall be done.
        bands: As for `detect`; a model has its own.
        resample_bands: As for `detect`.
        memory: As for `detect`.
        window: As for `detect`.
        trial: As for `hadgeo.run.estimate.estimate`.
        granted: Bytes that each worker of a cluster has, where workers score.

    Raises:
        BandError: Fewer than two bands are left.
        ModelError: The model's bands are not in the scene.
        ParameterError: `memory` is too little.
        DeviceError: This machine has too little.
    """
    if task.model is None:
        source, selection = task.source, usable_bands(task.source, bands)
    else:
        source, selection = scene_of_model(task.source, task.model, resample=resample_bands)
    expected = estimate(
        source,
        task.detector,
        selection,
        device=task.device,
        memory=memory,
        window=window,
        fitted=task.model is not None,
        trial=trial,
        granted=granted,
    )
    return Plan(task, source, selection, expected, _settings(task, source, selection, expected))


def _settings(task: Task, source: Source, selection: BandSelection, expected: Estimate) -> dict[str, Any]:
    """What the bytes of a map depend on, by names for people."""
    first = expected.plan[0]
    return {
        "hadgeo": __version__,
        "scene": source.path if not task.stamp else [list(file) for file in task.stamp],
        "read as": source.variant,
        "bands": selection.numbers(),
        "detector": task.detector.name,
        "parameters": task.detector.params.model_dump(mode="json"),
        "device": task.scored_on.type,
        "window": f"{first.height} x {first.width}",
        "grid": [*source.shape[1:], *tuple(source.metadata.transform)[:6]],
        "north-up": task.north_up,
        "learned from": None if task.learning is None else task.learning.settings,
        "lookup table": None if task.glt is None else [list(file) for file in stamp_files(task.glt.files)],
    }
