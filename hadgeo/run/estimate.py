"""What a detection would take, from a short trial on the scene itself."""

from __future__ import annotations

import math
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hadgeo.bands import BandSelection
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import free_bytes
from hadgeo.compute.executors import READERS
from hadgeo.compute.memory import default_memory, machine_memory
from hadgeo.detectors.base import Detector
from hadgeo.detectors.tiles import SIDE
from hadgeo.errors import DeviceError, ParameterError
from hadgeo.formats.cropped import Cropped
from hadgeo.formats.source import Source
from hadgeo.formats.survey import band_index
from hadgeo.maps.writer import disk_bytes
from hadgeo.progress import Silent, Stage
from hadgeo.run.on_device import window_pixels
from hadgeo.run.scoring import WindowScorer, cores_bytes, fixed_bytes, plan_windows, window_bytes
from hadgeo.sampling import PIECE_BYTES, POOL_PIXELS, Sample, Scene, valid_pixels
from hadgeo.windows import Window, pad, tile, whole_halo

#: Training steps of the trial; the first ones also pay for what is only done once.
_TRIAL_STEPS = 6

#: Rows and columns of the piece that the trial looks at.
_TRIAL_SIDE = 192

#: Pieces looked at for data, where the middle holds little.
_TRIAL_PLACES = 16


#: How much larger than a window what is read for it may be, and the most bytes that are taken to come there.
_HALO_SHARE, _MOST_FOR_HALOS = 0.35, 2 * 10**9

#: Decoded bytes of a scene that takes many times as long as the trial.
_WORTH_A_TRIAL = 10**9


@dataclass(frozen=True)
class Estimate:
    """What a detection would take.

    Attributes:
        memory: Peak bytes of the process.
        disk: Bytes that the map takes while it is made.
        seconds: Wall time, or None where nothing was tried.
        plan: The windows in which the scene would be scored.
        budget: Bytes that they were planned for.
    """

    memory: int
    disk: int
    seconds: float | None
    plan: tuple[Window, ...]
    budget: int


def memory_budget(
    source: Source,
    detector: Detector[Any],
    selection: BandSelection,
    *,
    asked: int | None,
    fit: bool = True,
    granted: int | None = None,
    on_cpu: bool = True,
) -> int:
    """Bytes that a run may take: as asked, else as much as pays.

    Args:
        source: The cube.
        detector: What scores it.
        selection: The bands used.
        asked: What the user said.
        fit: Whether the detector is still to be fitted here.
        granted: What each worker of a cluster has, where workers score; by default this machine's memory.
        on_cpu: Whether windows are scored on a CPU.

    Raises:
        ParameterError: The user asked for less than a run takes.
        DeviceError: There is less than a run takes.
    """
    side = 2 * whole_halo(detector.halo, detector.grid) + detector.grid
    smallest = window_bytes(source, detector, selection) * side**2
    smallest += cores_bytes(detector, selection)
    with_fit = fixed_bytes(source) + max(smallest, _fit_bytes(source, detector, selection))
    alone = fixed_bytes(source) + smallest
    least = with_fit if fit else alone
    _check_granted(source, detector, least, machine_memory())
    if granted is None:
        granted = machine_memory()
    else:
        least = alone
        _check_granted(source, detector, least, granted)
    if asked is not None and asked < least:
        raise ParameterError(
            f"--memory {asked / 1e6:.0f}MB: {detector.name} takes {least / 1e6:.0f} MB on {source.path}, "
            "including libraries; give at least that much, or use fewer --bands or -d rx"
        )
    # The same windows whoever has fitted: where they are low, a halo costs more than what it surrounds.
    pays = max(
        min(granted // 2, with_fit),
        min(granted // 4, _whole_blocks(source, detector, selection)),
        min(granted // 4, _narrow_halos(source, detector, selection)),
    )
    return min(asked or max(default_memory(on_cpu=on_cpu), least, pays), granted)


def _device_budget(source: Source, detector: Detector[Any], selection: BandSelection, device: torch.device) -> int:
    """The budget for windows that the device holds as well, if it is another one than the CPU."""
    free = free_bytes(device)
    if free is None:
        return sys.maxsize
    pixels = window_pixels(detector, len(selection.indices), source.dtype.itemsize, free)
    return _bytes_with(source, detector, selection, pixels)


def _bytes_with(source: Source, detector: Detector[Any], selection: BandSelection, pixels: int) -> int:
    """Bytes of a run whose windows have so many pixels, those of their halo among them; without a fit."""
    held = cores_bytes(detector, selection) + window_bytes(source, detector, selection) * pixels
    return fixed_bytes(source) + held


def _check_granted(source: Source, detector: Detector[Any], least: int, granted: int) -> None:
    if least > granted:
        raise DeviceError(
            f"{source.path}: {detector.name} takes {least / 1e6:.0f} MB of memory on it, but a process may use "
            f"{granted / 1e6:.0f} MB; use fewer --bands, -d rx, or a larger machine, or raise the limit (ulimit, or "
            "that of a container or batch system)"
        )


def _whole_blocks(source: Source, detector: Detector[Any], selection: BandSelection) -> int:
    """Bytes with which no window cuts a block of its file."""
    height, width = source.block or (1, 1)
    around = 2 * whole_halo(detector.halo, detector.grid)
    high, wide = (math.lcm(side, detector.grid) + around for side in (height, width))
    # As `window_size` has it: strips of the scene's width, else squares.
    pixels = high * width if width >= source.shape[2] else max(high, wide) ** 2
    return _bytes_with(source, detector, selection, pixels)


def _narrow_halos(source: Source, detector: Detector[Any], selection: BandSelection) -> int:
    """Bytes with which the halo around a square window is no more than `_HALO_SHARE` of it."""
    around = 2 * whole_halo(detector.halo, detector.grid)
    side = around / (math.sqrt(1 + _HALO_SHARE) - 1) + around
    return min(_bytes_with(source, detector, selection, math.ceil(side) ** 2), _MOST_FOR_HALOS)


def estimate(
    source: Source,
    detector: Detector[Any],
    selection: BandSelection,
    *,
    device: torch.device,
    memory: int | None = None,
    window: int | None = None,
    fitted: bool = False,
    trial: bool | None = True,
    granted: int | None = None,
) -> Estimate:
    """What a detection would take; its time from fitting and scoring a small piece, its middle where that holds data.

    Args:
        source: The cube.
        detector: A detector; it stays as it is.
        selection: The bands used.
        device: Where to compute.
        memory: As for `hadgeo.detect`.
        window: As for `hadgeo.detect`.
        fitted: Whether the detector is fitted already.
        trial: Whether to measure the time; None for a scene on which that takes no noticeable part of it.
        granted: Bytes that each worker of a cluster has, where workers score; `memory` is theirs then, too.

    Raises:
        FitError: No piece that was looked at holds data to try on.
        ParameterError: `memory` is too little.
        DeviceError: This machine has too little.
    """
    rows, cols = source.shape[1:]
    on_cpu = device.type == "cpu"
    budget = memory_budget(source, detector, selection, asked=memory, fit=not fitted, granted=granted, on_cpu=on_cpu)
    if memory is None and granted is None:
        budget = min(budget, _device_budget(source, detector, selection, device))
    plan = plan_windows(source, detector, selection, memory=budget, window=window)
    held = window_bytes(source, detector, selection) * max(w.outer_shape[0] * w.outer_shape[1] for w in plan)
    held += cores_bytes(detector, selection)
    # Beside workers, what is said is theirs.
    fit = 0 if fitted or granted is not None else _fit_bytes(source, detector, selection)
    if trial is None:
        trial = rows * cols * len(selection.indices) * source.dtype.itemsize >= _WORTH_A_TRIAL
    seconds = _seconds(source, detector, selection, device, fitted=fitted) if trial else None
    peak, disk = fixed_bytes(source) + max(held, fit), disk_bytes(rows * cols)
    return Estimate(peak, disk, seconds, plan, budget)


def _seconds(
    source: Source, detector: Detector[Any], selection: BandSelection, device: torch.device, *, fitted: bool
) -> float:
    rows, cols = source.shape[1:]
    trial = _trial_window(source, selection)
    seconds = 0.0
    if not fitted:
        steps = detector.training_steps
        detector = detector.shortened(_TRIAL_STEPS)
        clock = _TrialClock()
        scene = Scene(Cropped(source, trial.rows, trial.cols), selection.indices)
        with ThreadPoolExecutor(READERS) as pool, exact_arithmetic(device):
            detector.fit(Sample(scene, executor=pool, device=device, progress=clock), device=device, progress=clock)
        # Steps cost the same whatever the size of the scene; a pass over it grows with it.
        seconds += clock.seconds(Stage.STATISTICS) * rows * cols / trial.pixels
        seconds += clock.seconds(Stage.CROPS) * min(rows * cols, POOL_PIXELS) / trial.pixels
        seconds += clock.step_seconds() * steps
    scorer = WindowScorer(source, selection.indices, detector, device)
    window, first = (
        pad(part, detector.halo, (rows, cols), detector.grid)
        for part in (trial, replace(trial, height=min(trial.height, SIDE), width=min(trial.width, SIDE)))
    )
    # What is only done once.
    scorer(first)
    start = time.perf_counter()
    scorer(window)
    return seconds + (time.perf_counter() - start) / window.pixels * rows * cols


def describe(expected: Estimate) -> str:
    """An estimate in words, for the log."""
    text = f"expected: at most {expected.memory / 1e9:.1f} GB of memory, {expected.disk / 1e6:,.1f} MB of disk space"
    if expected.seconds is None:
        return text
    seconds = expected.seconds
    time_needed = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{text}, and about {time_needed}"


def _fit_bytes(source: Source, detector: Detector[Any], selection: BandSelection) -> int:
    """What a fit holds: pieces of the streamed pass, and what the detector makes of them."""
    bands = len(selection.indices)
    pixels = source.shape[1] * source.shape[2]
    piece = min(PIECE_BYTES, pixels * bands * source.dtype.itemsize)
    passing = 2 * READERS * piece * source.sample_bytes // source.dtype.itemsize
    return passing + detector.fit_bytes(bands, pixels)


def _trial_window(source: Source, selection: BandSelection) -> Window:
    """The middle of a scene, or where that is mostly nodata the fullest of some pieces spread over it."""
    rows, cols = source.shape[1:]
    pieces = list(tile((rows, cols), (_TRIAL_SIDE, _TRIAL_SIDE)))
    spread = np.unique(np.linspace(0, len(pieces) - 1, min(_TRIAL_PLACES, len(pieces))).round().astype(int))
    bands = band_index(selection.indices, source.shape[0])
    best, most = _middle(rows, cols), -1
    for piece in (best, *(pieces[i] for i in spread)):
        valid = int(valid_pixels(torch.from_numpy(source.read(piece.rows, piece.cols, bands))).sum())
        if valid > most:
            best, most = piece, valid
        if valid >= piece.pixels / 2:
            break
    return best


def _middle(rows: int, cols: int) -> Window:
    height, width = min(rows, _TRIAL_SIDE), min(cols, _TRIAL_SIDE)
    return Window((rows - height) // 2, (cols - width) // 2, height, width)


class _TrialClock(Silent):
    """Notes when each stage advanced."""

    def __init__(self) -> None:
        self._runs: dict[str, list[list[float]]] = {}
        self._current: list[float] = []

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the protocol's signature
        """Begin to time a stage."""
        self._current = [time.perf_counter()]
        self._runs.setdefault(name, []).append(self._current)

    def advance(self, n: int = 1) -> None:  # noqa: ARG002 - the protocol's signature
        """Note the time."""
        self._current.append(time.perf_counter())

    def seconds(self, name: str) -> float:
        """From a stage's beginning to its last advance, each time that there was one."""
        return sum(ticks[-1] - ticks[0] for ticks in self._runs.get(name, ()))

    def step_seconds(self) -> float:
        """Median time of a training step."""
        steps = [step for ticks in self._runs.get(Stage.FIT, ()) for step in np.diff(ticks).tolist()]
        return statistics.median(steps) if steps else 0.0
