"""The engine: choose bands, fit a detector, score a scene window by window, and hand the scores to the writer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Literal

import torch

from hadgeo import __version__
from hadgeo.bands import BandSelection
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import describe_device, free_memory, resolve_device
from hadgeo.compute.executors import READERS, map_ahead, reading_threads
from hadgeo.compute.memory import granted
from hadgeo.cube import SceneLike, as_source
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import Cancelled, DetectorNotFoundError, OutputError, ParameterError
from hadgeo.files import check_name, check_no_input, writing
from hadgeo.formats.gdal import streaming
from hadgeo.formats.glt import Glt, own_glt
from hadgeo.formats.source import Source
from hadgeo.maps.journal import Journal
from hadgeo.maps.part_folder import PartFolder, names_written
from hadgeo.maps.reader import sensor_path
from hadgeo.maps.surface_mask import write_surfaces
from hadgeo.maps.writer import ScoreWriter
from hadgeo.progress import SILENT, Clock, Progress, Stage
from hadgeo.run.cluster import Cluster
from hadgeo.run.estimate import describe
from hadgeo.run.learning import SuppressFrom, SurfacesLike, check_surface_mask, fitting, learning
from hadgeo.run.model_file import Model, model_hash, spectrum_of
from hadgeo.run.outputs import check_outputs, orthorectified
from hadgeo.run.plan import Plan, Task, prepare
from hadgeo.run.reviewed import Unwanted
from hadgeo.run.score_job import ScoreJob, check_same_run, keep_model, kept_fit, look_back, stamp_of, was_completed
from hadgeo.run.scoring import Scored, WindowScorer
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import Holes


@dataclass(frozen=True)
class Detection:
    """What a run did.

    Attributes:
        path: The score map; orthorectified where a lookup table led to a map.
        detector: The fitted detector.
        bands: The bands used.
        device: Where it ran.
        shape: Rows and columns of the scene.
        valid: Number of pixels that have a score.
        windows: Number of windows.
        windows_kept: How many of them an interrupted run had finished.
        seconds: Wall time of each stage.
        pixels_per_second: Rate of the stage "score".
        valid_per_second: The same, counting pixels that have a score alone.
        sensor_map: The map on the scene's own grid, where `path` is orthorectified or turned north-up; else None.
        glt: What led from one to the other.
        learned_pixels: Pixels that regions and suppressed surfaces have left to learn from; None where there were none.
        surface_mask: The mask of suppressed surfaces, or None.
        suppressed: How many pixels got no score for what they are, by its name.
    """

    path: Path
    detector: Detector[Any]
    bands: BandSelection
    device: torch.device
    shape: tuple[int, int]
    valid: int
    windows: int
    windows_kept: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    pixels_per_second: float = 0.0
    valid_per_second: float = 0.0
    sensor_map: Path | None = None
    glt: Glt | None = None
    learned_pixels: int | None = None
    surface_mask: Path | None = None
    suppressed: Mapping[str, int] = field(default_factory=dict)

    def __fspath__(self) -> str:
        """The map, so that whatever takes a map takes a detection."""
        return str(self.path)

    def _repr_html_(self) -> str:
        """As a table in a notebook."""
        rows = {
            "map": self.path,
            "detector": repr(self.detector),
            "bands": self.bands,
            "scene": " x ".join(map(str, self.shape)),
            "pixels with a score": f"{self.valid:,}",
            "seconds": f"{sum(self.seconds.values()):.2f}",
        }
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    @property
    def measured(self) -> Path:
        """The map that holds each measured pixel once."""
        return self.sensor_map or self.path

    def __repr__(self) -> str:
        rows, cols = self.shape
        return (
            f"Detection(path={str(self.path)!r}, detector={self.detector!r}, bands={len(self.bands.indices)}, "
            f"shape=({rows}, {cols}), seconds={sum(self.seconds.values()):.2f})"
        )


def detect(
    cube: SceneLike,
    detector: str | Detector[Any] | Model = DEFAULT_DETECTOR,
    *,
    out: str | os.PathLike[str] | None = None,
    parameters: dict[str, Any] | None = None,
    bands: str | Sequence[int] | BandSelection | None = None,
    background: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    suppress: SurfacesLike | None = None,
    suppress_from: SuppressFrom = "learning",
    suppress_like: Unwanted | None = None,
    suppressed_mask: str | os.PathLike[str] | None = None,
    device: str = "auto",
    memory: int | None = None,
    window: int | None = None,
    resample_bands: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    north_up: bool = False,
    glt: Glt | Literal["own"] | None = "own",
    executor: Executor | None = None,
    cluster: Cluster | None = None,
    progress: Progress = SILENT,
    then: Callable[[Detection], None] | None = None,
) -> Detection:
    """Fit a detector to a scene and write the map of its anomaly scores.

    Args:
        cube: A file, a cube (band, y, x) from `open_cube` or of your own, or a source that is open already.
        detector: A detector's name, an unfitted detector, or a model from `load_model`, which is not fitted again.
        out: The map to write; by default ``<scene>_anomaly.tif`` next to the file of the scene. A cube that was changed
            with xarray, or is in memory, needs one.
        parameters: Hyper-parameters by name, where `detector` is a name.
        bands: ``"400-1300,1500-1750"`` (nm) or ``"1-60,65"`` (band numbers), of which the good ones are used, with a
            ``!`` at the end or ``"all"`` the bad ones too; 0-based indices, or None for the good bands outside
            water-vapour absorption that are neither constant nor entirely nodata. A `BandSelection` of this scene is
            taken as it is.
        background: A raster (nonzero) or polygons of what the detector is fitted on, on any grid; every valid pixel is
            scored. All of the scene by default.
        exclude: A raster or polygons of what it is not fitted on; both may be given.
        suppress: Surfaces that it is not fitted on, told by indices from the wavelengths: ``"vegetation,water,shadow"``
            or some of them, with thresholds as in ``"vegetation=0.5,water"`` or ``{"vegetation": 0.5}``; see
            `hadgeo.formats.surfaces.find_surfaces`.
        suppress_from: ``"learning"``, or ``"map"`` to give these pixels no score either.
        suppress_like: Spectra of rejected anomalies, from `hadgeo.read_rejected`; pixels that are like one of them are
            neither learned from nor scored, with a model too.
        suppressed_mask: A GeoTIFF to write that says which pixels are which surface.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        memory: Memory budget of the process in bytes, including libraries; by default the point beyond which more no
            longer helps.
        window: Side of square windows in pixels, instead of windows chosen from `memory`.
        resample_bands: Interpolate the scene to a model's wavelengths where they differ, instead of refusing.
        overwrite: Whether an existing map, or the finished part of an interrupted run, may be replaced.
        resume: Go on with an interrupted run of the same settings, if there is one.
        north_up: Warp the finished map to a north-up grid; each pixel is then the highest score that it touches, and
            ``<out>_sensor.tif`` is the map on the scene's own grid, on which rates are calibrated.
        glt: What leads from the sensor's geometry to a map: `open_glt` or `open_igm`, the product's own if it has one
            (EMIT), or None. `out` is then orthorectified, and ``<out>_sensor.tif`` is in the sensor's geometry.
        executor: Threads that read; three of our own by default.
        cluster: Workers that score, from `hadgeo.run.cluster.connect`; `memory` is what each of them may take, and
            `device` what each of them uses. The detector is fitted here.
        progress: Follows the run and may cancel it.
        then: Produces further outputs of the run from the finished map. A run over a file that is interrupted
            meanwhile continues from there with `resume`.

    Returns:
        What was done.

    Raises:
        CubeError: The scene cannot be used.
        BandError: Fewer than two bands are left, or a surface to suppress cannot be told by those of the scene.
        ParameterError: The scene is neither a file nor an `xarray.DataArray`, a parameter is unknown or out of bounds,
            `memory` is too little, or a model is given something to learn from.
        DetectorNotFoundError: There is no such detector.
        GeometryError: `glt` is of another flight line.
        RegionError: A region cannot be used, has no pixel of the scene in it, or no pixel is left to learn from.
        DeviceError: The device is not there, or its memory cannot even hold one row.
        FitError: The scene does not determine a background.
        ModelError: A model's bands are not in the scene.
        OutputError: The map cannot be written, another run is writing it, or `resume` finds other settings.
        OutputExistsError: The map exists, or an interrupted run's finished windows do.
        ReadError: The scene cannot be read, or changed during the run.
        ClusterError: The cluster cannot be used, or was lost.
        Cancelled: `progress` asked for it.

    What a run that fails has finished stays in the folder ``<out>.part``, for `resume`; the error's note says so. A run
    that fails before its first window leaves nothing.

    Examples:
        >>> detect("line.img", "bs3lnet", parameters={"steps": 200}, bands="400-1300").path
        PosixPath('line_anomaly.tif')
    """
    clock = Clock()
    torch_device = resolve_device(device)
    learned_from = learning(background, exclude, suppress, suppress_from, suppress_like)
    if isinstance(detector, Model) and learned_from is not None:
        learned_from.check_model()
    with granted(memory):
        source = as_source(cube)
    target = output_path(source, out)
    mask = None if suppressed_mask is None else Path(suppressed_mask)
    task = Task(
        source,
        stamp_of(source),
        detector if isinstance(detector, Model) else None,
        _unfitted(detector, parameters),
        torch_device,
        torch_device if cluster is None else cluster.device(device),
        north_up,
        own_glt(source) if glt == "own" else glt,
        learned_from,
    )
    replaceable = overwrite or (resume and was_completed(target))
    check_outputs(task, target, overwrite=replaceable)
    check_surface_mask(mask, learned_from, source, target, overwrite=replaceable)
    with reading_threads(executor) as pool, streaming(source.cache_bytes), PartFolder(target) as folder:
        earlier = look_back(folder, resume=resume, overwrite=overwrite)
        with clock.stage("survey"):
            look = None if learned_from is None else learned_from.look(source, pool, progress)
            if look is not None:
                task = replace(task, source=look.scored, learned=look.learned)
            plan = prepare(
                task,
                bands,
                resample_bands=resample_bands,
                memory=memory or _kept_budget(earlier),
                window=window,
                trial=False if earlier or cluster else None,
                granted=None if cluster is None else cluster.memory,
            )
        if earlier is not None:
            check_same_run(earlier, plan.settings, folder)
        announce(progress, torch_device, plan.bands_told)
        if look is not None:
            progress.message(look.message(fitted=task.model is not None))
        progress.message(describe(plan.expected))
        with clock.stage("fit") if task.model is None else nullcontext(), fitting([look] if look else []):
            fitted, holes = fit(plan, pool, kept=None if earlier is None else folder, progress=progress)
        journal = _journal(folder, target, earlier, plan, fitted)
        with _writer(target, plan, fitted, folder, journal) as writer:
            if len(journal) and writer.anew:
                progress.message(f"{folder.path}: the unfinished map is damaged, and all of it is scored again")
            job = ScoreJob(writer, folder, journal, plan.expected.plan, source=plan.source, stamp=task.stamp)
            with clock.stage("score"):
                scorer = WindowScorer(plan.source, plan.selection.indices, fitted, torch_device, holes)
                score(job, scorer, pool if cluster is None else cluster, device, progress)
            with clock.stage("write"):
                job.finish()
                orthorectified(task, target, progress)
                if mask is not None and look is not None:
                    write_surfaces(look.surfaces, source.metadata.grid, mask, "--suppressed-mask")
        done = finish(plan, fitted, job, target, clock.seconds, progress)
        if look is not None:
            done = replace(done, learned_pixels=look.left, surface_mask=mask, suppressed=dict(look.unscored))
        if then is not None:
            then(done)
    return done


def fit(
    plan: Plan, pool: Executor, *, kept: PartFolder | None = None, progress: Progress = SILENT
) -> tuple[Detector[Any], Holes | None]:
    """Fit the detector, or take the model's.

    Args:
        plan: The plan.
        pool: Threads that read.
        kept: Where an interrupted run may have kept the same fit.
        progress: Follows the fit and may cancel it.

    Returns:
        The fitted detector, and where the fit found nothing to read, if it looked.

    Raises:
        FitError: The scene does not determine a background.
        Cancelled: `progress` asked for it.
    """
    device, detector = plan.task.device, plan.task.detector
    if plan.task.model is not None:
        # A detector of its own, since several runs may share a model.
        return type(detector)(detector.params).load_state(detector.state(), device), None
    learned, bands = plan.task.learned, plan.selection.indices
    scene = Scene(plan.source, bands) if learned is None else Scene(learned, bands, chosen=learned.chosen)
    sample = Sample(scene, executor=pool, device=device, progress=progress)
    earlier = None if kept is None else kept_fit(kept, detector, device)
    with exact_arithmetic(device):
        fitted = earlier or detector.fit(sample, device=device, progress=progress)
    # What windows may take is planned without what a fit leaves behind.
    free_memory(device)
    # Where nothing was learned from, there may be something to score.
    return fitted, sample.holes() if learned is None else None


def finish(
    plan: Plan,
    fitted: Detector[Any],
    job: ScoreJob,
    target: Path,
    seconds: dict[str, float],
    progress: Progress = SILENT,
) -> Detection:
    """Summarise a run.

    Args:
        plan: What was done.
        fitted: The detector that scored.
        job: The map, in its place.
        target: Where that is.
        seconds: Wall time of each stage.
        progress: Receives the number of pixels without a score.
    """
    windows = plan.expected.plan
    pixels = sum(window.pixels for window in windows)
    if job.valid < pixels:
        progress.message(f"{pixels - job.valid:,} pixels are nodata or not finite, and get no score")
    return Detection(
        target,
        fitted,
        plan.selection,
        plan.task.device,
        plan.source.shape[1:],
        job.valid,
        len(windows),
        windows_kept=len(job.kept),
        seconds=seconds,
        pixels_per_second=sum(window.pixels for window in job.left) / seconds["score"],
        valid_per_second=(job.valid - job.valid_kept) / seconds["score"],
        sensor_map=sensor_path(target) if plan.task.moved else None,
        glt=plan.task.glt,
    )


def score(
    job: ScoreJob, scorer: WindowScorer, workers: Executor | Cluster, device: str = "auto", progress: Progress = SILENT
) -> None:
    """Score the windows that a map lacks.

    Args:
        job: The map.
        scorer: Reads and scores one window.
        workers: Threads that read ahead here, or a cluster whose workers do both.
        device: What each worker of a cluster uses, as for `detect`.
        progress: Follows the windows and may cancel.

    Raises:
        Cancelled: `progress` asked for it.
        ReadError: The scene cannot be read, or changed during the run.
        ClusterError: The cluster cannot be used, or was lost.
    """
    if isinstance(workers, Cluster):
        take_scores(job, workers.map(scorer, job.left, device), progress)
    else:
        take_scores(job, map_ahead(workers, scorer, job.left, READERS + 1), progress)


def take_scores(job: ScoreJob, scored: Generator[Scored], progress: Progress = SILENT) -> None:
    """Give a map the scores that it lacks, as they come.

    Args:
        job: The map.
        scored: Its windows that are left, with scores from whatever thread or process; closed at the end.
        progress: Follows the windows and may cancel.

    Raises:
        Cancelled: `progress` asked for it.
    """
    kept = sum(window.pixels for window in job.kept)
    progress.stage(Stage.SCORE, kept + sum(window.pixels for window in job.left))
    if job.kept:
        progress.message(f"{len(job.kept)} of {len(job.kept) + len(job.left)} windows were finished by an earlier run")
        progress.advance(kept)
    with closing(scored):
        for window, scores in scored:
            if progress.cancelled():
                raise Cancelled("stopped on request")
            job.take(window, scores)
            progress.advance(window.pixels)


def _unfitted(detector: str | Detector[Any] | Model, parameters: dict[str, Any] | None) -> Detector[Any]:
    if isinstance(detector, Model):
        return detector.detector
    if not isinstance(detector, str | Detector):
        raise ParameterError(f"a detector is a name, a Detector or a Model, not {type(detector).__name__}")
    try:
        return make_detector(detector, parameters) if isinstance(detector, str) else detector
    except DetectorNotFoundError:
        if not Path(str(detector)).is_file():
            raise
        raise ParameterError(f"{detector} is a file; for a model, give load_model({str(detector)!r})") from None


def _kept_budget(earlier: Journal | None) -> int | None:
    """The memory for which an earlier run has planned its windows, on whatever machine that was."""
    budget = None if earlier is None else earlier.settings.get("budget")
    # A journal may be damaged, or another's.
    return budget if type(budget) is int and budget > 0 else None


def _journal(folder: PartFolder, target: Path, earlier: Journal | None, plan: Plan, fitted: Detector[Any]) -> Journal:
    """The earlier run's journal if it is of this very detector, or a new one."""
    settings = {**plan.settings, "model": model_hash(fitted), "precision": fitted.precision}
    if earlier is not None:
        check_same_run(earlier, settings, folder)
        return earlier
    with writing(target):
        # Not compared, since other budgets may give the same windows.
        journal = Journal.create(folder.path, {**settings, "budget": plan.expected.budget})
        if plan.task.model is None:
            # What was given is given again; a fit is not repeated.
            keep_model(folder, Model(fitted, spectrum_of(plan.source, plan.selection.indices)))
    return journal


def _writer(target: Path, plan: Plan, fitted: Detector[Any], folder: PartFolder, journal: Journal) -> ScoreWriter:
    return ScoreWriter(
        sensor_path(target) if plan.task.moved else target,
        grid=plan.source.metadata.grid,
        description=f"{fitted.score_name} ({fitted.name})",
        tags=_tags(plan, fitted),
        folder=folder,
        head=journal.head,
    )


def announce(progress: Progress, device: torch.device, bands: str) -> None:
    """Report what a run is about to use, once all checks have passed."""
    progress.message(f"device: {describe_device(device)}")
    progress.message(f"bands: {bands}")


def output_path(source: Source, out: str | os.PathLike[str] | None, kind: str = "anomaly") -> Path:
    """Where the map goes: as asked, else ``<scene>_<kind>.tif`` beside the scene, such as ``<scene>_anomaly.tif``.

    Raises:
        OutputError: The map would replace the scene itself, has no natural place, or a name that no file can have.
    """
    scene = Path(source.path)
    if out is None:
        if source.is_array and scene.is_file():
            # Its map would pass for that of the whole, unchanged file.
            raise OutputError(
                f"a cube that was changed since {scene} was opened needs a map of its own; name one with -o"
            )
        if not scene.is_file():
            raise OutputError(f"{source.path or 'a cube in memory'} has no folder to write to; name the output with -o")
        return scene.with_name(f"{scene.stem}_{kind}.tif")
    if not os.fspath(out):
        raise OutputError("the output's name is empty; give the name of a file with -o")
    target = Path(out)
    check_name(target)
    for name in names_written(target):
        check_no_input(name, source.files, told="the scene itself, or a part of it")
    return target


def _tags(plan: Plan, fitted: Detector[Any]) -> dict[str, str]:
    """What a map says of its making. No dates: the same run gives the same bytes."""
    selection = plan.selection
    tags = {
        "HADGEO_DETECTOR": fitted.name,
        "HADGEO_PARAMETERS": json.dumps(fitted.params.model_dump(mode="json")),
        "HADGEO_VERSION": __version__,
        "HADGEO_MODEL_HASH": model_hash(fitted),
        "HADGEO_SOURCE": Path(plan.source.path).name,
        "HADGEO_BANDS": selection.numbers(),
        "HADGEO_BANDS_DROPPED": "; ".join(f"{count} {reason}" for reason, count in selection.dropped),
    }
    if fitted.precision:
        tags["HADGEO_PRECISION"] = fitted.precision
    if plan.task.learning is not None:
        tags["HADGEO_LEARNED_FROM"] = plan.task.learning.told
    return tags
