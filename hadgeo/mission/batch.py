"""Many flight lines, one summary: detect on each, keep going where one fails, and do only what is missing next time.

Beside the maps stands ``batch.json``, which says with which settings each of them was begun and finished. That, and the
size of the map, is how a line is known to be done; what an interrupted line has finished is gone on with.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

from hadgeo._version import __version__
from hadgeo.bands import BandSelection
from hadgeo.cube import as_source
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import (
    Cancelled,
    HadgeoError,
    ModelError,
    OutputError,
    OutputExistsError,
    ParameterError,
    RegionElsewhereError,
    RegionError,
)
from hadgeo.files import check_name, writing
from hadgeo.formats.glt import Glt
from hadgeo.formats.igm import open_geometry_of
from hadgeo.formats.masked import masked
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.regions import keep_inside, keep_outside
from hadgeo.formats.selected import kept_pixels
from hadgeo.formats.source import Source
from hadgeo.maps.mosaic import Mosaic, check_mosaic, make_mosaic
from hadgeo.maps.part_folder import PartFolder
from hadgeo.maps.reader import sensor_path
from hadgeo.mission.batch_record import BatchRecord, describe_difference
from hadgeo.mission.flight_lines import FlightLine
from hadgeo.mission.summary import Row, write_csv, write_html
from hadgeo.pictures.quicklook import quicklook
from hadgeo.progress import SILENT, Progress, Stoppable
from hadgeo.run.cluster import Cluster
from hadgeo.run.engine import Detection, detect
from hadgeo.run.learning import Learning, SuppressFrom, SurfacesLike, learning
from hadgeo.run.matching.search import Search
from hadgeo.run.model_file import Model, load_model
from hadgeo.run.reviewed import Unwanted, excluded_only
from hadgeo.run.score_job import stamp_files, stamp_of, was_completed
from hadgeo.run.selection import match_bands, usable_bands
from hadgeo.run.training import largest_group, train

FitOn = Literal["first", "each", "sample-of-all"]

RECORD, MODEL, CSV, HTML, THUMBNAILS = "batch.json", "model.hadgeo", "summary.csv", "summary.html", "thumbnails"

#: Lines that share a cluster, so that its workers have windows of the next one while a map is finished.
_LINES_AT_ONCE = 2

#: Seconds for lines that are stopped to put away what they have.
_PATIENCE = 1.5

#: Pixels that a thumbnail's map may be wide and high.
_THUMBNAIL_SIZE = 480


@dataclass(frozen=True)
class Outcome:
    """The outcome of a flight line.

    Attributes:
        line: The flight line.
        state: "done" now, "kept" from an earlier run, or "failed".
        error: Why it failed.
        facts: Of its map: detector, bands, rows, cols, valid, seconds, pixels_per_second.
        thumbnail: A small picture of it, or None.
    """

    line: FlightLine
    state: Literal["done", "kept", "failed"]
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: Path | None = None


@dataclass(frozen=True)
class Batch:
    """What a batch did.

    Attributes:
        folder: Where maps and summary are.
        outcomes: One per flight line, in order.
        model: The model of all flight lines, or None if each was fitted on itself.
        mosaic: The mosaic, or None.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    model: Model | None
    mosaic: Mosaic | None = None

    @property
    def failed(self) -> int:
        """Number of lines that failed."""
        return sum(outcome.state == "failed" for outcome in self.outcomes)


class Watch(Protocol):
    """What a caller hands in to follow a batch. On a cluster it is called from several threads."""

    def fitting(self) -> Progress:
        """The model of all lines is fitted now."""

    def begun(self, number: int, line: FlightLine) -> Progress:
        """A line, counted from 0, is begun; what is returned follows it."""

    def ended(self, number: int, outcome: Outcome) -> None:
        """A line has ended."""

    def message(self, text: str) -> None:
        """Something worth logging."""


class Unwatched:
    """A watch for nobody."""

    def fitting(self) -> Progress:
        """Follow nothing."""
        return SILENT

    def begun(self, number: int, line: FlightLine) -> Progress:  # noqa: ARG002 - the protocol's signature
        """Follow nothing."""
        return SILENT

    def ended(self, number: int, outcome: Outcome) -> None:
        """Ignore it."""

    def message(self, text: str) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class _Settings:
    """What holds for all lines."""

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
        OutputExistsError: The folder contains a summary that was not written by a batch.
        HadgeoError: The model of all lines cannot be fitted, as for `hadgeo.train`.

    Examples:
        >>> batch = run_batch(flight_lines(["line1.img", "line2.img"], "maps"), "maps", detector="rx")
        >>> [outcome.state for outcome in batch.outcomes]
        ['done', 'done']
    """
    for line in lines:
        if not isinstance(line, FlightLine):
            raise ParameterError(f"{line!r} is no FlightLine; hadgeo.flight_lines([...], folder) makes them of names")
    if not lines:
        raise ParameterError("no flight line given; name some, or give a table with --table")
    if search is not None:
        if model is not None:
            raise ParameterError(f"{model}: a model looks for what it was trained for; give it to the search instead")
        detector, parameters = search.method, {name: str(value) for name, value in search.parameters.items()}
    make_detector(detector, dict(parameters or {}))
    learned_from = learning(background, exclude, suppress, suppress_from, suppress_like)
    given = None if model is None else load_model(model)
    if given is not None and learned_from is not None:
        learned_from.check_model()
    home = Path(folder)
    _check_folder(home, overwrite=overwrite)
    settings = _Settings(
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
    with _folder_made(home), PartFolder(home / "batch"):
        if mosaic is not None:
            check_mosaic(Path(mosaic), [Path(line.scene) for line in lines], overwrite=overwrite)
        run = _Run(home, settings, watch or Unwatched())
        return run.all(lines, given, fit_on, None if mosaic is None else Path(mosaic))


class _Run:
    """A batch in a folder that no other batch writes into."""

    def __init__(self, folder: Path, settings: _Settings, watch: Watch) -> None:
        self._folder, self._settings, self._watch = folder, settings, watch
        self._record = BatchRecord(folder / RECORD)
        self._stopped = threading.Event()
        self._pictures = bool(find_spec("matplotlib") and find_spec("jinja2"))
        if not self._pictures:
            watch.message(f'{HTML} is not written; install matplotlib and jinja2 with pip install "hadgeo[report]"')

    def all(self, lines: Sequence[FlightLine], model: Model | None, fit_on: FitOn, mosaic: Path | None) -> Batch:
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
        self._summarise(outcomes)
        return Batch(self._folder, tuple(outcomes), model, None if mosaic is None else self._mosaic(outcomes, mosaic))

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
        wanted = {
            "detector": common.detector,
            "parameters": _complete(common.detector, common.parameters),
            "bands": common.bands,
            "scenes": [_known_of(scene) for scene in scenes],
            **_learned_from(common.learning),
            **({} if common.search is None else common.search.settings),
        }
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
            **self._learning(scenes),
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
                scene = self._open(line)
                self._check_background(scene)
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
        scene = self._open(line)
        glt = self._table(line, scene)
        wanted = self._wanted(line, model, scene, glt)
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
        search = self._search(line)
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
            **self._learning([scene], model),
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

    def _open(self, line: FlightLine) -> Source:
        source = as_source(line.scene, reading=self._settings.reading)
        return source if self._settings.mask is None else masked(source, self._settings.mask)

    def _check_background(self, scene: Source) -> None:
        """Refuse a line of which no pixel lies in the background region.

        Raises:
            HadgeoError: As for `keep_inside`.
        """
        common = self._settings.learning
        if common is not None and common.background is not None:
            keep_inside(kept_pixels(scene), scene, common.background)

    def _learning(self, scenes: Sequence[Source], model: Model | None = None) -> dict[str, Any]:
        """What some lines are learned from, as `detect` and `train` take it."""
        common = self._settings.learning
        if common is not None and model is not None:
            common = common.of_map()
        if common is None:
            return {}
        excluded = common.exclude
        if excluded is not None:
            missed = [error for scene in scenes if (error := _misses(scene, excluded)) is not None]
            if len(missed) == len(scenes):
                self._watch.message(f"nothing is excluded: {missed[0]}")
                excluded = None
        return {
            "background": common.background,
            "exclude": excluded,
            "suppress": common.suppress or None,
            "suppress_like": common.unwanted,
        }

    def _search(self, line: FlightLine) -> Search | None:
        """What is looked for in a line: with a method of its own, it learns its background itself."""
        common = self._settings
        if common.search is None or not line.apart:
            return common.search
        parameters = line.parameters_with(common.detector, common.parameters)
        return replace(common.search, method=line.detector or common.detector, parameters=parameters, model=None)

    def _table(self, line: FlightLine, scene: Source) -> Glt | None:
        """What leads from a line in the sensor's geometry to a map."""
        if line.glt is None and line.igm is None and self._settings.sensor_geometry:
            return None
        return open_geometry_of(scene, line.glt, line.igm)

    def _wanted(self, line: FlightLine, model: Model | None, source: Source, glt: Glt | None) -> dict[str, Any]:
        """What a map of a line depends on."""
        common = self._settings
        scene = {"scene": _known_of(source)}
        if glt is not None:
            scene["lookup_table"] = [list(file) for file in stamp_files(glt.files)]
        if model is not None:
            of_map = None if common.learning is None else common.learning.of_map()
            return {
                **scene,
                "model": model.hash,
                "resample_bands": common.resample_bands and _differs(source, model),
                **_learned_from(of_map),
            }
        search = self._search(line)
        detector = line.detector or common.detector
        parameters = line.parameters_with(common.detector, common.parameters)
        return {
            **scene,
            "detector": detector,
            "parameters": _complete(detector, parameters),
            "bands": line.bands or common.bands,
            **_learned_from(common.learning),
            **({} if search is None else search.settings),
        }

    def _outcome(
        self, line: FlightLine, scene: Source, glt: Glt | None, state: Literal["done", "kept"], facts: Mapping[str, Any]
    ) -> Outcome:
        # The scene and its map are drawn side by side, so both are shown as the sensor saw them.
        scores = line.map if glt is None else sensor_path(line.map)
        return Outcome(line, state, facts=facts, thumbnail=self._thumbnail(line, scene, scores, anew=state == "done"))

    def _thumbnail(self, line: FlightLine, scene: Source, scores: Path, *, anew: bool) -> Path | None:
        if not self._pictures:
            return None
        picture = self._folder / THUMBNAILS / f"{line.map.stem}.png"
        if picture.exists() and not anew:
            return picture
        try:
            picture.parent.mkdir(exist_ok=True)
            quicklook(scene, scores, out=picture, size=_THUMBNAIL_SIZE, title=line.map.stem, overwrite=True)
        except (HadgeoError, OSError) as error:
            self._watch.message(f"{line.scene}: no thumbnail ({error})")
            return None
        return picture

    def _summarise(self, outcomes: Sequence[Outcome]) -> None:
        rows = [
            Row(one.line.scene, one.state, str(one.line.map), one.facts, one.error, one.thumbnail) for one in outcomes
        ]
        write_csv(rows, self._folder / CSV)
        if self._pictures:
            write_html(rows, self._folder / HTML)

    def _mosaic(self, outcomes: Sequence[Outcome], path: Path) -> Mosaic:
        maps = [one.line.map for one in outcomes if one.state != "failed"]
        if not maps:
            raise OutputError(f"{path}: no flight line has a map to put in it; the summary says why")
        made = make_mosaic(maps, path, overwrite=self._settings.overwrite)
        for left_out, reason in made.left_out.items():
            self._watch.message(f"{left_out} was left out of the mosaic: {reason}")
        return made


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if not folder.name and not folder.is_dir():
        raise OutputError("the output folder's name is empty; give one with -o")
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder with -o")
    if not folder.exists() and not folder.parent.is_dir():
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise OutputError(f"{folder}: no permission to write into it; use -o to write elsewhere")
    for name in (CSV, HTML, MODEL):
        if (folder / name).exists() and not (folder / RECORD).exists() and not overwrite:
            raise OutputExistsError(f"{folder / name} exists and is not from a batch; use --overwrite, or another -o")


@contextmanager
def _folder_made(folder: Path) -> Iterator[None]:
    """Make a folder, which is not left behind by a batch that put nothing into it."""
    made = not folder.exists()
    with writing(folder):
        folder.mkdir(exist_ok=True)
    try:
        yield
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


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
