"""The engine: choose bands, fit a detector, score a scene window by window, and hand the scores to the writer.

Readers run ahead of the device, one window is scored at a time, and one writer follows; what is in memory depends on
the windows and never on the scene.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from hadgeo._version import __version__
from hadgeo.bands import BandSelection, select_bands
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.device import describe_device, free_memory, is_out_of_memory, resolve_device
from hadgeo.errors import BandError, Cancelled, CubeWarning, DeviceError, ModelError, OutputError
from hadgeo.executors import map_ahead
from hadgeo.formats.resampled import ResampledSource
from hadgeo.formats.source import Source
from hadgeo.geotiff import ScoreWriter, check_name, check_output, names_written
from hadgeo.model_file import Model, match_bands
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, Scene, band_index, survey, valid_pixels
from hadgeo.windows import Window, halves, tile, window_size

#: Bytes that windows under way may take together, if the user says nothing.
DEFAULT_MEMORY = 600 * 10**6

#: Threads that read; one of them scores at any time.
READERS = 3

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
        windows: Number of windows scored.
        seconds: Wall time of each stage.
    """

    path: Path
    detector: Detector[Any]
    bands: BandSelection
    device: torch.device
    shape: tuple[int, int]
    valid: int
    windows: int
    seconds: dict[str, float] = field(default_factory=dict)


def detect(
    cube: str | os.PathLike[str] | xr.DataArray,
    detector: str | Detector[Any] | Model = DEFAULT_DETECTOR,
    *,
    out: str | os.PathLike[str] | None = None,
    parameters: dict[str, Any] | None = None,
    bands: str | Sequence[int] | None = None,
    device: str = "auto",
    memory: int = DEFAULT_MEMORY,
    window: int | None = None,
    resample_bands: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: Progress = SILENT,
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
        memory: Bytes that windows under way may take together, beside the libraries' own.
        window: Side of square windows in pixels, instead of windows chosen from `memory`.
        resample_bands: Interpolate the scene to a model's wavelengths where they differ, instead of refusing.
        overwrite: Whether an existing map may be replaced.
        executor: Threads that read; three of our own by default.
        progress: Follows the run and may cancel it.

    Returns:
        What was done.

    Raises:
        CubeError: The scene cannot be used.
        BandError: Fewer than two bands are left.
        ParameterError: A parameter is unknown or out of bounds.
        DetectorNotFoundError: There is no such detector.
        DeviceError: The device is not there, or its memory cannot even hold one row.
        FitError: The scene does not determine a background.
        ModelError: A model's bands are not in the scene.
        OutputError: The map cannot be written.
        Cancelled: `progress` asked for it; nothing is left behind.
    """
    clock = Clock()
    if isinstance(detector, Model):
        chosen = detector.detector
    else:
        chosen = make_detector(detector, parameters) if isinstance(detector, str) else detector
    where = resolve_device(device)
    if not isinstance(cube, xr.DataArray):
        cube = open_cube(cube)
    source = source_of(cube)
    target = output_path(source, out)
    check_output(target, overwrite=overwrite, pixels=source.shape[1] * source.shape[2])
    with reading_threads(executor) as pool:
        if isinstance(detector, Model):
            chosen.load_state(chosen.state(), where)
            with clock.stage("survey"):
                source, selection = scene_of_model(source, detector, resample=resample_bands)
            announce(progress, where, f"the {len(selection.indices)} of the model")
        else:
            with clock.stage("survey"):
                selection = usable_bands(source, bands)
            announce(progress, where, str(selection))
            with clock.stage("fit"):
                sample = Sample(Scene(source, selection.indices), executor=pool, device=where, progress=progress)
                chosen.fit(sample, device=where, progress=progress)
        plan = plan_windows(source, chosen, selection, memory=memory, window=window)
        writer = ScoreWriter(
            target,
            shape=source.shape[1:],
            crs=source.metadata.crs,
            transform=source.metadata.transform if source.metadata.georeferenced else None,
            description=f"anomaly score ({chosen.name})",
            tags=_tags(source, chosen, selection),
            overwrite=overwrite,
        )
        valid = 0
        with writer:
            with clock.stage("score"):
                scorer = WindowScorer(source, selection.indices, chosen, where)
                progress.stage("score", source.shape[1] * source.shape[2])
                for done, scores in map_ahead(pool, scorer, plan, READERS + 1):
                    if progress.cancelled():
                        raise Cancelled("stopped on request")
                    writer.write(done, scores)
                    valid += int(np.isfinite(scores).sum())
                    progress.advance(done.pixels)
            with clock.stage("write"):
                writer.finish()
    without = source.shape[1] * source.shape[2] - valid
    if without:
        progress.message(f"{without:,} pixels are nodata or not finite and have no score")
    return Detection(target, chosen, selection, where, source.shape[1:], valid, len(plan), clock.seconds)


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


def plan_windows(
    source: Source, detector: Detector[Any], selection: BandSelection, *, memory: int, window: int | None
) -> tuple[Window, ...]:
    """Partition a scene so that the windows under way keep to a memory budget."""
    shape = source.shape[1:]
    pixel_bytes = window_bytes(source, detector, selection)
    if window is not None:
        size = (window, window)
    else:
        size = window_size(shape, halo=detector.halo, max_pixels=max(1, memory // pixel_bytes), block=source.block)
    return tuple(tile(shape, size, detector.halo))


def window_bytes(source: Source, detector: Detector[Any], selection: BandSelection) -> int:
    """Bytes in memory for each pixel of a window while windows are read ahead and one of them is scored."""
    bands = len(selection.indices)
    return READERS * bands * source.dtype.itemsize + detector.bytes_per_pixel(bands)


class WindowScorer:
    """Reads one window and scores it; several threads may read at once while one scores.

    Args:
        source: The cube.
        bands: 0-based indices of the used bands.
        detector: A fitted detector.
        device: Where it scores.
    """

    def __init__(self, source: Source, bands: Sequence[int], detector: Detector[Any], device: torch.device) -> None:
        self._source = source
        self._bands = band_index(bands, source.shape[0])
        self._detector = detector
        self._device = device
        self._lock = threading.Lock()

    def __call__(self, window: Window) -> tuple[Window, npt.NDArray[np.float32]]:
        """Score a window.

        Returns:
            The window, and (y, x) scores of its own pixels, NaN where any band is.
        """
        block = torch.from_numpy(self._source.read(window.outer_rows, window.outer_cols, self._bands))
        valid = valid_pixels(block[(slice(None), *window.inner)])
        if not valid.any():
            return window, np.full((window.height, window.width), np.nan, dtype=np.float32)
        with self._lock:
            scores = score_window(self._detector, block, window, self._device).float().cpu()
        return window, torch.where(valid, scores, torch.nan).numpy()


def score_window(detector: Detector[Any], block: Tensor, window: Window, device: torch.device) -> Tensor:
    """Score a window that was read, in halves where the device's memory does not hold the whole.

    Args:
        detector: A fitted detector.
        block: (band, y, x) of the window and its halo.
        window: The window.
        device: Where the detector scores.

    Returns:
        (y, x) scores of the window's own pixels.

    Raises:
        DeviceError: The device cannot even hold a single row.
    """
    try:
        # Apple's GPUs have no float64.
        moved = block.to(device, torch.float32 if device.type == "mps" else block.dtype)
        return detector.score(moved)[window.inner]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if window.height == 1:
            raise DeviceError(
                f"{device} has too little free memory for one row of {block.shape[2]} pixels; "
                "free some, use a smaller --window, or --device cpu"
            ) from error
    free_memory(device)
    return torch.cat(
        [score_window(detector, block[:, w.outer_rows, w.outer_cols], w, device) for w in halves(window, detector.halo)]
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


def model_hash(detector: Detector[Any]) -> str:
    """SHA-256 over a fitted detector's name, parameters and tensors."""
    digest = hashlib.sha256(f"{detector.name} {detector.params.model_dump_json()}".encode())
    for name, value in sorted(detector.state().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
