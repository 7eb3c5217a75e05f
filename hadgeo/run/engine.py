"""The engine: choose bands, fit a detector, score a scene window by window, and hand the scores to the writer."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from hadgeo._version import __version__
from hadgeo.bands import BandSelection, select_bands
from hadgeo.compute.device import describe_device, free_memory, resolve_device
from hadgeo.compute.executors import READERS, map_ahead
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import BandError, Cancelled, CubeWarning, ModelError, OutputError, ParameterError
from hadgeo.formats.gdal import streaming
from hadgeo.formats.resampled import ResampledSource
from hadgeo.formats.source import Source
from hadgeo.maps.journal import Journal
from hadgeo.maps.north_up import north_up_grid
from hadgeo.maps.part_folder import PartFolder
from hadgeo.maps.writer import ScoreWriter, check_name, check_output, names_written, writing
from hadgeo.model_file import Model, match_bands, model_hash, spectrum_of
from hadgeo.progress import SILENT, Progress
from hadgeo.run.cluster import Cluster
from hadgeo.run.estimate import describe, estimate
from hadgeo.run.score_job import Job, Stamp, check_same_run, keep_model, kept_fit, look_back, stamp_of, was_completed
from hadgeo.run.scoring import Scored, WindowScorer
from hadgeo.sampling import Sample, Scene, survey
from hadgeo.windows import Window

#: Products of one sensor whose values differ by this factor are scaled differently, whatever the weather.
OTHER_SCALE = 5.0

#: Fewer bands leave no spectrum to speak of.
MIN_BANDS = 2


@dataclass(frozen=True)
class Detection:
    """What a run did.

    Attributes:
        path: The score map.
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


def detect(
    cube: str | os.PathLike[str] | xr.DataArray,
    detector: str | Detector[Any] | Model = DEFAULT_DETECTOR,
    *,
    out: str | os.PathLike[str] | None = None,
    parameters: dict[str, Any] | None = None,
    bands: str | Sequence[int] | None = None,
    device: str = "auto",
    memory: int | None = None,
    window: int | None = None,
    resample_bands: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    north_up: bool = False,
    executor: Executor | None = None,
    cluster: Cluster | None = None,
    progress: Progress = SILENT,
    then: Callable[[Detection], None] | None = None,
) -> Detection:
    """Fit a detector to a scene and write the map of its anomaly scores.

    Args:
        cube: A file, or a cube (band, y, x) from `open_cube` or of your own.
        detector: A detector's name, an unfitted detector, or a model of `load_model`, which is applied as it is.
        out: The map to write; by default ``<scene>_anomaly.tif`` beside the scene.
        parameters: Hyper-parameters by name, where `detector` is a name.
        bands: ``"400-1300,1500-1750"`` (nm), ``"1-60,65"`` (band numbers), ``"all"``, 0-based indices, or None for the
            bands that are good, outside water vapour, and neither constant nor wholly nodata.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        memory: Bytes that the process may take, the libraries' own included; by default as much as pays.
        window: Side of square windows in pixels, instead of windows chosen from `memory`.
        resample_bands: Interpolate the scene to a model's wavelengths where they differ, instead of refusing.
        overwrite: Whether an existing map, or the finished part of an interrupted run, may be replaced.
        resume: Go on with an interrupted run of the same settings, if there is one.
        north_up: Warp the finished map to a north-up grid; each pixel is then the highest score that it touches.
        executor: Threads that read; three of our own by default.
        cluster: Workers that score, from `hadgeo.run.cluster.connect`; `memory` is what each of them may take, and
            `device` what each of them uses. The detector is fitted here.
        progress: Follows the run and may cancel it.
        then: Makes what else belongs to the run, from the finished map. A run over a file that ends in the middle of
            it goes on there with `resume`.

    Returns:
        What was done.

    Raises:
        CubeError: The scene cannot be used.
        BandError: Fewer than two bands are left.
        ParameterError: A parameter is unknown or out of bounds, or `memory` is too little.
        DetectorNotFoundError: There is no such detector.
        DeviceError: The device is not there, or its memory cannot even hold one row.
        FitError: The scene does not determine a background.
        ModelError: A model's bands are not in the scene.
        OutputError: The map cannot be written, another run is writing it, or `resume` finds other settings.
        OutputExistsError: The map exists, or an interrupted run's finished windows do.
        ReadError: The scene cannot be read, or changed meanwhile.
        ClusterError: The cluster cannot be used, or was lost.
        Cancelled: `progress` asked for it.

    What a run that fails has finished stays in the folder ``<out>.part``, for `resume`; the error's note says so. A run
    that fails before its first window leaves nothing.
    """
    clock = Clock()
    model = detector if isinstance(detector, Model) else None
    chosen = _detector(detector, parameters)
    where = resolve_device(device)
    scored_on = where if cluster is None else cluster.device(device)
    source = source_of(cube if isinstance(cube, xr.DataArray) else open_cube(cube))
    stamp = stamp_of(source)
    target = output_path(source, out)
    check_output(
        target,
        overwrite=overwrite or (resume and was_completed(target)),
        pixels=_pixels_written(source, north_up=north_up),
    )
    with reading_threads(executor) as pool, streaming(source.cache_bytes), PartFolder(target) as folder:
        earlier = look_back(folder, resume=resume, overwrite=overwrite)
        with clock.stage("survey"):
            source, selection = _select(source, model, bands, resample=resample_bands)
        if model is not None:
            # A detector of its own, since several runs may share a model.
            chosen = type(chosen)(chosen.params).load_state(chosen.state(), where)
        expected = estimate(
            source,
            chosen,
            selection,
            device=where,
            memory=memory or _kept_budget(earlier),
            window=window,
            fitted=model is not None,
            trial=False if earlier or cluster else None,
            granted=None if cluster is None else cluster.memory,
        )
        plan = expected.plan
        settings = {**_settings(stamp, source, chosen, selection, scored_on, plan), "north-up": north_up}
        if earlier is not None:
            check_same_run(earlier, settings, folder)
        announce(progress, where, str(selection) if model is None else f"the {len(selection.indices)} of the model")
        progress.message(describe(expected))
        if model is None:
            with clock.stage("fit"):
                kept = None if earlier is None else kept_fit(folder, chosen, where)
                sample = Sample(Scene(source, selection.indices), executor=pool, device=where, progress=progress)
                chosen = kept or chosen.fit(sample, device=where, progress=progress)
                # What windows may take is planned without what a fit leaves behind.
                free_memory(where)
        holes = sample.holes() if model is None else None
        fitted = Model(chosen, spectrum_of(source, selection.indices))
        journal = _journal(folder, target, earlier, settings, fitted, expected.budget)
        with _writer(target, source, chosen, selection, folder, north_up=north_up) as writer:
            job = Job(writer, folder, journal, plan, source=source, stamp=stamp)
            with clock.stage("score"):
                scorer = WindowScorer(source, selection.indices, chosen, where, holes)
                if cluster is None:
                    scored = map_ahead(pool, scorer, job.left, READERS + 1)
                else:
                    scored = cluster.map(scorer, job.left, device)
                take_scores(job, scored, progress)
            with clock.stage("write"):
                job.finish()
        pixels = sum(window.pixels for window in plan)
        if job.valid < pixels:
            progress.message(f"{pixels - job.valid:,} pixels are nodata or not finite and have no score")
        done = Detection(
            target,
            chosen,
            selection,
            where,
            source.shape[1:],
            job.valid,
            len(plan),
            windows_kept=len(job.kept),
            seconds=clock.seconds,
            pixels_per_second=sum(window.pixels for window in job.left) / clock.seconds["score"],
            valid_per_second=(job.valid - job.valid_kept) / clock.seconds["score"],
        )
        if then is not None:
            then(done)
    return done


def take_scores(job: Job, scored: Generator[Scored], progress: Progress = SILENT) -> None:
    """Give a map the scores that it lacks, as they come.

    Args:
        job: The map.
        scored: Its windows that are left, with scores from whatever thread or process; closed at the end.
        progress: Follows the windows and may cancel.

    Raises:
        Cancelled: `progress` asked for it.
    """
    kept = sum(window.pixels for window in job.kept)
    progress.stage("score", kept + sum(window.pixels for window in job.left))
    if job.kept:
        progress.message(f"{len(job.kept)} of {len(job.kept) + len(job.left)} windows were finished by an earlier run")
        progress.advance(kept)
    with closing(scored):
        for window, scores in scored:
            if progress.cancelled():
                raise Cancelled("stopped on request")
            job.take(window, scores)
            progress.advance(window.pixels)


def _pixels_written(source: Source, *, north_up: bool) -> int:
    """Pixels of the map, and where it is warped of both grids.

    Raises:
        ParameterError: It shall be warped, and nobody knows how it lies.
    """
    pixels = source.shape[1] * source.shape[2]
    if not north_up:
        return pixels
    if not source.metadata.georeferenced:
        raise ParameterError(f"{source.path}: no georeference, so where north is remains unknown; leave --north-up out")
    rows, cols = north_up_grid(source.shape[1:], source.metadata.transform)[0]
    return pixels + rows * cols


def _detector(detector: str | Detector[Any] | Model, parameters: dict[str, Any] | None) -> Detector[Any]:
    if isinstance(detector, Model):
        return detector.detector
    return make_detector(detector, parameters) if isinstance(detector, str) else detector


def _select(
    source: Source, model: Model | None, bands: str | Sequence[int] | None, *, resample: bool
) -> tuple[Source, BandSelection]:
    if model is not None:
        return scene_of_model(source, model, resample=resample)
    return source, usable_bands(source, bands)


def _settings(
    stamp: Stamp,
    source: Source,
    detector: Detector[Any],
    selection: BandSelection,
    device: torch.device,
    plan: Sequence[Window],
) -> dict[str, Any]:
    """What the bytes of a map depend on, under names for people."""
    return {
        "hadgeo": __version__,
        "scene": source.path if not stamp else [list(file) for file in stamp],
        "bands": selection.numbers(),
        "detector": detector.name,
        "parameters": detector.params.model_dump(mode="json"),
        "device": device.type,
        "window": f"{plan[0].height} x {plan[0].width}",
        "grid": [*source.shape[1:], *tuple(source.metadata.transform)[:6]],
    }


def _kept_budget(earlier: Journal | None) -> int | None:
    """The memory for which an earlier run has planned its windows, on whatever machine that was."""
    return None if earlier is None else earlier.settings.get("budget")


def _journal(
    folder: PartFolder, target: Path, earlier: Journal | None, settings: dict[str, Any], fitted: Model, budget: int
) -> Journal:
    """The earlier run's journal if it is of this very detector, or a new one."""
    settings = {**settings, "model": model_hash(fitted.detector)}
    if earlier is not None:
        check_same_run(earlier, settings, folder)
        return earlier
    with writing(target):
        # Not compared, since other budgets may give the same windows.
        journal = Journal.create(folder.path, {**settings, "budget": budget})
        keep_model(folder, fitted)
    return journal


def _writer(
    target: Path,
    source: Source,
    detector: Detector[Any],
    selection: BandSelection,
    folder: PartFolder,
    *,
    north_up: bool,
) -> ScoreWriter:
    return ScoreWriter(
        target,
        shape=source.shape[1:],
        crs=source.metadata.crs,
        transform=source.metadata.transform if source.metadata.georeferenced else None,
        description=f"anomaly score ({detector.name})",
        tags={**_tags(source, detector, selection), **({"HADGEO_WARPED": "north-up, max"} if north_up else {})},
        north_up=north_up,
        folder=folder,
    )


def announce(progress: Progress, device: torch.device, bands: str) -> None:
    """Say what a run is about to use, once nothing can be refused any more."""
    progress.message(f"device: {describe_device(device)}")
    progress.message(f"bands: {bands}")


class Clock:
    """Wall time of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def output_path(source: Source, out: str | os.PathLike[str] | None) -> Path:
    """Where the map goes: as asked, else ``<scene>_anomaly.tif`` beside the scene.

    Raises:
        OutputError: The map would replace the scene itself, has no natural place, or a name that no file can have.
    """
    scene = Path(source.path)
    if out is None:
        if not scene.is_file():
            raise OutputError(f"{source.path or 'a cube in memory'} has no folder of its own; name the output (-o)")
        return scene.with_name(f"{scene.stem}_anomaly.tif")
    if not os.fspath(out):
        raise OutputError("the output's name is empty; give the name of a file with -o")
    target = Path(out)
    check_name(target)
    parts = [file for file in source.files if file.exists()]
    for name in names_written(target):
        if name.exists() and any(name.samefile(part) for part in parts):
            raise OutputError(f"{name} is the scene itself, or a part of it; give another name with -o")
    return target


def usable_bands(source: Source, bands: str | Sequence[int] | None) -> BandSelection:
    """Choose bands by the header and the user, then leave out those that the data show to be useless.

    Constant bands stay where the user named bands; bands without any data never do, since every pixel would be invalid.

    Raises:
        BandError: The selection is malformed, or fewer than two bands are left.
    """
    metadata = source.metadata
    try:
        selection = select_bands(bands, source.shape[0], metadata.wavelength, metadata.good)
    except BandError as error:
        raise BandError(f"{source.path}: {error}") from None
    if selection.indices:
        seen = survey(source, selection.indices)
        selection = selection.without(seen.empty, "wholly nodata")
        if bands is None:
            selection = selection.without(seen.constant, "constant")
    if len(selection.indices) < MIN_BANDS:
        raise BandError(
            f"{source.path}: {selection}, and a detector needs at least {MIN_BANDS}; "
            "is the file a hyperspectral cube with data in it? choose bands with --bands"
        )
    return selection


def scene_of_model(source: Source, model: Model, *, resample: bool) -> tuple[Source, BandSelection]:
    """Find the bands of a model in a scene, by wavelength where both know theirs.

    Args:
        source: The cube.
        model: A fitted detector.
        resample: Interpolate to the model's wavelengths, if the scene's differ, instead of refusing.

    Raises:
        ModelError: The scene lacks bands of the model, or has no data in them.
    """
    metadata, spectrum = source.metadata, model.spectrum
    try:
        indices = match_bands(spectrum, source.shape[0], metadata.wavelength, name=source.path).tolist()
    except ModelError:
        if not resample or spectrum.wavelength is None:
            raise
        source = ResampledSource(source, np.asarray(spectrum.wavelength), metadata.good)
        indices = list(range(source.shape[0]))
    check_alike(source, indices, model.level)
    return source, BandSelection(tuple(indices), source.shape[0])


def check_alike(source: Source, indices: Sequence[int], level: float) -> None:
    """Check that a scene has data in a model's bands, and warn where its values are scaled otherwise.

    Args:
        source: The cube.
        indices: 0-based indices of the model's bands in it.
        level: The `Survey.level` of the scene that decided the model's bands.

    Raises:
        ModelError: A band holds no data.
    """
    seen = survey(source, indices)
    empty = int(seen.empty[list(indices)].sum())
    if empty:
        raise ModelError(
            f"{source.path}: {empty} of the {len(indices)} bands of the model hold no data here; "
            "train on a scene of this sensor, or with --bands that both have"
        )
    if level > 0 and not 1 / OTHER_SCALE < seen.level / level < OTHER_SCALE:
        warnings.warn(
            f"{source.path}: its values reach {seen.level:.3g}, and those that the model was fitted on "
            f"{level:.3g}: is a scale factor missing in one of the headers?",
            CubeWarning,
            stacklevel=3,
        )


@contextmanager
def reading_threads(executor: Executor | None) -> Iterator[Executor]:
    """The caller's executor, or threads of our own that end with the block."""
    if executor is not None:
        yield executor
        return
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="hadgeo-read")
    try:
        yield pool
    except BaseException:
        # Who stops a run shall not wait for windows that nobody wants any more.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _tags(source: Source, detector: Detector[Any], selection: BandSelection) -> dict[str, str]:
    """What a map says of its making. No dates: the same run gives the same bytes."""
    return {
        "HADGEO_DETECTOR": detector.name,
        "HADGEO_PARAMETERS": json.dumps(detector.params.model_dump(mode="json")),
        "HADGEO_VERSION": __version__,
        "HADGEO_MODEL_HASH": model_hash(detector),
        "HADGEO_SOURCE": Path(source.path).name,
        "HADGEO_BANDS": selection.numbers(),
        "HADGEO_BANDS_DROPPED": "; ".join(f"{count} {reason}" for reason, count in selection.dropped),
    }
