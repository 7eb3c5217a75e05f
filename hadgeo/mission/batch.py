"""Many flight lines, one summary: detect on each, keep going where one fails, and do only what is missing next time.

Beside the maps stands ``batch.json``, which says with which settings each of them was begun and finished. That, and the
size of the map, is how a line is known to be done; what an interrupted line has finished is gone on with.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import Any, Literal

from hadgeo import __version__
from hadgeo.bands import BandSelection
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import (
    Cancelled,
    HadgeoError,
    OutputExistsError,
    ParameterError,
    RegionError,
)
from hadgeo.files import check_name
from hadgeo.formats.glt import Glt
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Source
from hadgeo.maps.part_folder import PartFolder
from hadgeo.maps.reader import sensor_path
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.mission.batch_record import BatchRecord, describe_difference
from hadgeo.mission.flight_lines import FlightLine
from hadgeo.mission.folder import MODEL, RECORD, check_folder, folder_made
from hadgeo.mission.outcomes import Batch, Outcome, Unwatched, Watch
from hadgeo.mission.products import Products
from hadgeo.mission.settings import Settings
from hadgeo.progress import Progress, Stoppable
from hadgeo.run.cluster import Cluster
from hadgeo.run.engine import Detection, detect
from hadgeo.run.learning import SuppressFrom, SurfacesLike, learning
from hadgeo.run.matching.search import Search
from hadgeo.run.model_file import Model, load_model
from hadgeo.run.reviewed import Unwanted
from hadgeo.run.score_job import was_completed
from hadgeo.run.selection import usable_bands
from hadgeo.run.training import largest_group, train

FitOn = Literal["first", "each", "sample-of-all"]

#: Lines that share a cluster, so that its workers have windows of the next one while a map is finished.
_LINES_AT_ONCE = 2

#: Seconds for lines that are stopped to put away what they have.
_PATIENCE = 1.5


def run_batch(
    lines: Sequence[FlightLine],
    folder: str | os.PathLike[str],
    *,
    detector: str = DEFAULT_DETECTOR,
    parameters: Mapping[str, str] | None = None,
    model: str | os.PathLike[str] | None = None,
    fit_on: FitOn = "first",
    bands: str | None = None,
    device: str = "auto",
    memory: int | None = None,
    reading: Reading = AS_IT_SAYS,
    mask: str | os.PathLike[str] | None = None,
    background: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    suppress: SurfacesLike | None = None,
    suppress_from: SuppressFrom = "learning",
    suppress_like: Unwanted | None = None,
    sensor_geometry: bool = False,
    resample_bands: bool = False,
    mosaic: str | os.PathLike[str] | None = None,
    anomalies: MissionAnomalies | None = None,
    overwrite: bool = False,
    cluster: Cluster | None = None,
    search: Search | None = None,
    watch: Watch | None = None,
) -> Batch:
    """Detect on flight lines, with one model for all of them: one after the other, or on a cluster two at a time.

    A flight line whose map exists already, made from the same scene with the same settings, is skipped. One that was
    interrupted is continued. One with its own detector, bands or parameters is fitted on itself.

    Args:
        lines: The flight lines, from `hadgeo.mission.flight_lines.flight_lines` or `read_flight_lines`.
        folder: Where the maps go by default, the model, the summary as CSV, and with matplotlib and jinja2 as HTML with
            thumbnails. It is created if its parent exists.
        detector: The detector to fit.
        parameters: Its hyper-parameters.
        model: A model file of `train`, instead of fitting one.
        fit_on: Fit on the "first" line that can be opened, on a "sample-of-all", or on "each" for itself alone.
        bands: As for `hadgeo.detect`.
        device: As for `hadgeo.detect`.
        memory: As for `hadgeo.detect`.
        reading: What you say of files that do not say it themselves; see `hadgeo.open_cube`.
        mask: A raster or polygons of what to keep of every line; see `hadgeo.mask`. A line of which it leaves nothing
            fails.
        background: A raster or polygons of what to learn from; see `hadgeo.detect`. The model of all lines is fitted on
            lines that have pixels in it; with `fit_on` "each", a line that has none fails.
        exclude: A raster or polygons of what not to learn from. All of a line that has no pixel in it is learned from.
        suppress: Surfaces not to learn from, as for `hadgeo.detect`.
        suppress_from: As for `hadgeo.detect`.
        suppress_like: As for `hadgeo.detect`.
        sensor_geometry: Leave maps in the sensor's geometry where a product brings its own lookup table along.
        resample_bands: As for `hadgeo.detect`.
        mosaic: A virtual raster (``.vrt``) of all maps.
        anomalies: One vector file of the anomalies of all lines, each thing once; see `MissionAnomalies`.
        overwrite: Whether maps and a model of other settings may be replaced.
        cluster: As for `hadgeo.detect`.
        search: A spectrum to be found, instead of anomalies: a `hadgeo.run.matching.search.Search`. Its method and
            parameters are those of all lines then, and its model holds their background.
        watch: Follows the batch.

    Returns:
        The outcome of each flight line.

    Raises:
        ParameterError: There are no flight lines, or settings are wrong.
        RegionError: No flight line has a pixel of the background region in it.
        ModelError: `model` cannot be used.
        OutputError: The folder cannot be used, another batch is writing into it, or the model in it has other settings.
        OutputExistsError: The folder contains a summary that was not written by a batch, or the file of the anomalies
            exists and was not made by this batch with these settings.
        HadgeoError: The model of all lines cannot be fitted, as for `hadgeo.train`.

    Examples:
        >>> batch = run_batch(flight_lines(["line1.img", "line2.img"], "maps"), "maps", detector="rx")
        >>> [outcome.state for outcome in batch.outcomes]
        ['done', 'done']
    """
    if not lines:
        raise ParameterError("no flight line given; name some, or give a table with --table")
    for line in lines:
        if not isinstance(line, FlightLine):
            raise ParameterError(f"{line!r} is no FlightLine; hadgeo.flight_lines([...], folder) makes them of names")
    if search is not None:
        if model is not None:
            raise ParameterError(f"{model}: a model looks for what it was trained for; give it to the search instead")
        detector, parameters = search.method, {name: str(value) for name, value in search.parameters.items()}
    if anomalies is not None and anomalies.calibrate_on == "mission":
        _check_one_scale(lines, alone=fit_on == "each" and model is None and (search is None or search.model is None))
    make_detector(detector, dict(parameters or {}))
    learned_from = learning(background, exclude, suppress, suppress_from, suppress_like)
    given = None if model is None else load_model(model)
    if given is not None and learned_from is not None:
        learned_from.check_model()
    home = Path(folder)
    check_folder(home, overwrite=overwrite)
    settings = Settings(
        detector,
        parameters or {},
        bands,
        device,
        memory,
        reading,
        mask,
        learned_from,
        sensor_geometry,
        resample_bands,
        overwrite,
        cluster,
        search,
    )
    with folder_made(home), PartFolder(home / "batch"):
        run = _Run(home, settings, watch or Unwatched(), None if mosaic is None else Path(mosaic), anomalies)
        run.check(lines)
        return run.all(lines, given, fit_on)


class _Run:
    """A batch in a folder that no other batch writes into."""

    def __init__(
        self, folder: Path, settings: Settings, watch: Watch, mosaic: Path | None, anomalies: MissionAnomalies | None
    ) -> None:
        self._folder, self._settings, self._watch = folder, settings, watch
        self._record = BatchRecord(folder / RECORD)
        self._stopped = threading.Event()
        self._products = Products(folder, settings, self._record, watch, mosaic, anomalies)

    def check(self, lines: Sequence[FlightLine]) -> None:
        """Refuse early what could not be written late."""
        self._products.check(lines)

    def all(self, lines: Sequence[FlightLine], model: Model | None, fit_on: FitOn) -> Batch:
        """Do all lines, and what is made of all their maps."""
        shared = [line for line in lines if not line.apart]
        held = self._settings.search is not None and self._settings.search.model is not None
        if model is None and not held and fit_on != "each" and shared:
            model = self._fit(shared, fit_on)
        models = [None if line.apart else model for line in lines]
        outcomes: list[Outcome] = []
        try:
            outcomes.extend(self._each(lines, models))
        except (KeyboardInterrupt, Cancelled) as stop:
            over = sum(outcome.state != "failed" for outcome in outcomes)
            stop.__notes__ = [
                f"{over} of {len(lines)} flight lines are finished in {self._folder}; run the same command again to "
                "continue with the rest"
            ]
            raise
        return self._products.make(Batch(self._folder, tuple(outcomes), model))

    def _each(self, lines: Sequence[FlightLine], models: Sequence[Model | None]) -> Iterator[Outcome]:
        """What becomes of each line, in order."""
        if self._settings.cluster is None:
            yield from map(self._one, count(), lines, models)
            return
        pool = ThreadPoolExecutor(_LINES_AT_ONCE, thread_name_prefix="hadgeo-line")
        running = [pool.submit(self._one, *line) for line in zip(count(), lines, models, strict=False)]
        try:
            for line in running:
                yield line.result()
        except BaseException:
            self._stopped.set()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            wait(running, timeout=_PATIENCE)

    def _fit(self, lines: Sequence[FlightLine], fit_on: FitOn) -> Model:
        """The model of all lines: the one in the folder if it is of these settings, or a new one."""
        scenes = self._learnable(lines, fit_on)
        common = self._settings
        wanted = common.of_model(scenes)
        path = self._folder / MODEL
        if path.exists() and self._record.is_fitted(wanted):
            return load_model(path)
        if path.exists() and not common.overwrite:
            raise OutputExistsError(
                f"{path} was fitted with other settings ({describe_difference(self._record.model, wanted)}); use "
                "--overwrite to fit it again and replace the maps too, or -o for another folder"
            )
        self._watch.message(f"the model is fitted on {len(scenes)} of {len(lines)} flight lines")
        progress = self._watch.fitting()
        detector: str | Detector[Any] = common.detector
        bands: str | BandSelection | None = common.bands
        if common.search is not None:
            detector, bands = common.search.unfitted_for(scenes[0], bands=common.bands, progress=progress)
        fitted = train(
            scenes,
            detector,
            out=path,
            parameters=dict(common.parameters),
            bands=bands,
            **common.learned_from(scenes, self._watch.message),
            device=common.device,
            overwrite=True,
            progress=progress,
        )
        self._record.fitted(wanted)
        return fitted

    def _learnable(self, lines: Sequence[FlightLine], fit_on: FitOn) -> list[Source]:
        """The lines that a model of all can be fitted on; the others fail in their turn, or are only scored.

        Raises:
            HadgeoError: There is none.
        """
        scenes: list[Source] = []
        reasons: list[HadgeoError] = []
        for line in lines:
            try:
                scene = self._settings.open(line)
                self._settings.check_background(scene)
                usable_bands(scene, self._settings.bands)
            except HadgeoError as error:
                self._watch.message(f"not learned from {line.scene}: {error}")
                reasons.append(error)
                continue
            scenes.append(scene)
            if fit_on == "first":
                return scenes
        if not scenes:
            if isinstance(reasons[0], RegionError):
                raise reasons[0]
            raise ParameterError(f"no model can be fitted on any of the {len(lines)} flight lines: {reasons[0]}")
        group = largest_group(scenes, self._settings.bands)
        for scene in scenes:
            if not any(scene is one for one in group):
                self._watch.message(f"not learned from {scene.path}: its bands are not those of the other flight lines")
        return group

    def _one(self, number: int, line: FlightLine, model: Model | None) -> Outcome:
        progress = Stoppable(self._watch.begun(number, line), self._stopped)
        try:
            outcome = self._detect(line, model, progress)
        except Cancelled:
            raise
        except HadgeoError as error:
            outcome = Outcome(line, "failed", str(error))
        except Exception as error:
            # Whatever is wrong with one line, tomorrow the others shall be there.
            outcome = Outcome(line, "failed", f"unexpected {type(error).__name__}: {error}")
        self._watch.ended(number, outcome)
        return outcome

    def _detect(self, line: FlightLine, model: Model | None, progress: Progress) -> Outcome:
        common = self._settings
        scene = common.open(line)
        check_name(line.map, "an output in a --table")
        glt = common.geometry(line, scene)
        wanted = common.of_map(line, model, scene, glt)
        begun = {**wanted, "hadgeo": __version__, "memory": common.memory, "device": common.device}
        # Relative, so that the folder may move.
        name = Path(os.path.relpath(line.map, self._folder)).as_posix()
        if self._record.is_finished(name, wanted, line.map):
            if was_completed(line.map):
                # Killed in the middle of cleaning up.
                PartFolder(line.map).discard()
            return self._outcome(line, scene, glt, "kept", self._record.facts(name))
        unfinished = self._record.is_begun(name, begun)
        if line.map.exists() and not (common.overwrite or unfinished or was_completed(line.map)):
            told = describe_difference(self._record.settings(name), wanted)
            raise OutputExistsError(
                f"{line.map} exists, made with other settings ({told}); use --overwrite to replace it"
            )
        self._record.begin(name, begun)
        detector: str | Detector[Any] | Model = model or line.detector or common.detector
        bands: str | BandSelection | None = None if model else line.bands or common.bands
        search = common.search_for(line)
        if search is not None and model is None:
            detector, bands = search.detector_for(
                scene, bands=line.bands or common.bands, resample_bands=common.resample_bands, progress=progress
            )
        detect(
            scene,
            detector,
            out=line.map,
            parameters=None if model else line.parameters_with(common.detector, common.parameters),
            bands=bands,
            **common.learned_from([scene], self._watch.message, model),
            suppress_from=common.learning.suppress_from if common.learning and common.learning.suppress else "learning",
            device=common.device,
            memory=common.memory,
            resample_bands=common.resample_bands and isinstance(detector, Model),
            overwrite=common.overwrite or unfinished,
            # Otherwise what other settings have left would be refused, although it may be replaced.
            resume=unfinished or not common.overwrite,
            glt=glt,
            cluster=common.cluster,
            progress=progress,
            then=lambda done: self._record.finish(name, wanted, _facts(done), line.map),
        )
        return self._outcome(line, scene, glt, "done", self._record.facts(name))

    def _outcome(
        self, line: FlightLine, scene: Source, glt: Glt | None, state: Literal["done", "kept"], facts: Mapping[str, Any]
    ) -> Outcome:
        # The scene and its map are drawn side by side, so both are shown as the sensor saw them.
        scores = line.map if glt is None else sensor_path(line.map)
        return Outcome(
            line, state, facts=facts, thumbnail=self._products.thumbnail(line, scene, scores, anew=state == "done")
        )


def _check_one_scale(lines: Sequence[FlightLine], *, alone: bool) -> None:
    """Refuse to count scores together that cannot be compared."""
    apart = [line.scene for line in lines if line.apart]
    if alone or apart:
        who = "each flight line is" if alone else f"{apart[0]} has settings of its own and is"
        raise ParameterError(
            f"{who} fitted on itself, so its scores are on a scale of their own; calibrate on each line, or use "
            "one model for all"
        )


def _facts(done: Detection) -> dict[str, Any]:
    return {
        "detector": done.detector.name,
        "bands": len(done.bands.indices),
        "rows": done.shape[0],
        "cols": done.shape[1],
        "valid": done.valid,
        "seconds": round(sum(done.seconds.values()), 3),
        "pixels_per_second": round(done.pixels_per_second),
    }
