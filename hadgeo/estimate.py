"""What a detection would take, from a short trial on the scene itself."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hadgeo.bands import BandSelection
from hadgeo.detectors.base import Detector
from hadgeo.engine import READERS, WindowScorer, plan_windows, window_bytes
from hadgeo.formats.source import Source
from hadgeo.progress import Silent
from hadgeo.sampling import PIECE_BYTES, POOL_PIXELS, WHOLE_SIDE, Sample, Scene, band_index, valid_pixels
from hadgeo.windows import Window, pad, tile

#: Training steps of the trial; the first ones also pay for what is only done once.
_TRIAL_STEPS = 6

#: Rows and columns of the piece that the trial looks at.
_TRIAL_SIDE = 192

#: Pieces looked at for data, where the middle holds little.
_TRIAL_PLACES = 16

#: What Python, torch and the geospatial libraries take before the first window, in bytes.
LIBRARY_BYTES = 450 * 10**6


@dataclass(frozen=True)
class Estimate:
    """What a detection would take.

    Attributes:
        memory: Peak bytes of the process.
        seconds: Wall time.
        windows: Number of windows.
    """

    memory: int
    seconds: float
    windows: int


def estimate(
    source: Source, detector: Detector[Any], selection: BandSelection, *, device: torch.device, memory: int
) -> Estimate:
    """Fit and score a small piece of a scene, its middle where that holds data, and extrapolate.

    Args:
        source: The cube.
        detector: An unfitted detector; it stays so.
        selection: The bands used.
        device: Where to compute.
        memory: Bytes that windows may take; see `hadgeo.engine`.

    Raises:
        FitError: No piece that was looked at holds data to try on.
    """
    rows, cols = source.shape[1:]
    trial = _shortened(detector)
    place = _place(source, selection)
    clock = _TrialClock()
    with ThreadPoolExecutor(READERS) as pool:
        sample = Sample(Scene(_Piece(source, place), selection.indices), executor=pool, device=device, progress=clock)
        trial.fit(sample, device=device, progress=clock)
    scorer = WindowScorer(source, selection.indices, trial, device)
    window = pad(place, detector.halo, (rows, cols))
    scorer(window)
    start = time.perf_counter()
    scorer(window)
    per_pixel = (time.perf_counter() - start) / window.pixels
    share = rows * cols / place.pixels
    # Steps cost the same whatever the size of the scene; a pass over it grows with it.
    seconds = clock.seconds("statistics") * share
    if "steps" in type(detector.params).model_fields:
        seconds += clock.step_seconds() * detector.params.steps
    seconds += per_pixel * rows * cols
    plan = plan_windows(source, detector, selection, memory=memory, window=None)
    held = window_bytes(source, detector, selection) * max(w.outer_shape[0] * w.outer_shape[1] for w in plan)
    return Estimate(LIBRARY_BYTES + max(held, _fit_bytes(rows * cols, detector, selection)), seconds, len(plan))


def _fit_bytes(pixels: int, detector: Detector[Any], selection: BandSelection) -> int:
    """What a fit holds: the crops of a learned detector, features of one of them, and pieces of the streamed pass."""
    bands = len(selection.indices)
    passing = 6 * PIECE_BYTES
    if "steps" not in type(detector.params).model_fields:
        return passing
    whole = min(pixels, WHOLE_SIDE**2)
    return passing + 4 * bands * min(pixels, POOL_PIXELS) + detector.bytes_per_pixel(bands) * whole


def _shortened(detector: Detector[Any]) -> Detector[Any]:
    """The same detector with few training steps."""
    params = detector.params
    if "steps" in type(params).model_fields:
        params = params.model_copy(update={"steps": min(params.steps, _TRIAL_STEPS)})
    return type(detector)(params)


def _place(source: Source, selection: BandSelection) -> Window:
    """The middle of a scene, or where that is mostly nodata the fullest of some pieces spread over it."""
    rows, cols = source.shape[1:]
    pieces = list(tile((rows, cols), (_TRIAL_SIDE, _TRIAL_SIDE)))
    spread = np.unique(np.linspace(0, len(pieces) - 1, min(_TRIAL_PLACES, len(pieces))).round().astype(int))
    bands = band_index(selection.indices, source.shape[0])
    best, most = _middle(rows, cols), -1
    for place in (best, *(pieces[i] for i in spread)):
        valid = int(valid_pixels(torch.from_numpy(source.read(place.rows, place.cols, bands))).sum())
        if valid > most:
            best, most = place, valid
        if valid >= place.pixels / 2:
            break
    return best


def _middle(rows: int, cols: int) -> Window:
    height, width = min(rows, _TRIAL_SIDE), min(cols, _TRIAL_SIDE)
    return Window((rows - height) // 2, (cols - width) // 2, height, width)


class _Piece(Source):
    """A rectangle of a source, as a source of its own."""

    def __init__(self, source: Source, place: Window) -> None:
        self._source, self._place = source, place
        self.path, self.dtype, self.block = source.path, source.dtype, source.block
        self.metadata = source.metadata
        self.shape = (source.shape[0], place.height, place.width)

    def read(self, rows: slice, cols: slice, bands: Any = slice(None)) -> np.ndarray[Any, Any]:
        """Read a window of the rectangle; see `Source.read`."""
        row, col = self._place.row, self._place.col
        return self._source.read(
            slice(rows.start + row, rows.stop + row), slice(cols.start + col, cols.stop + col), bands
        )


class _TrialClock(Silent):
    """Notes when each stage advanced."""

    def __init__(self) -> None:
        self._ticks: dict[str, list[float]] = {}
        self._current: list[float] = []

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the protocol's signature
        """Begin to time a stage."""
        self._current = self._ticks.setdefault(name, [])
        self._current.append(time.perf_counter())

    def advance(self, n: int = 1) -> None:  # noqa: ARG002 - the protocol's signature
        """Note the time."""
        self._current.append(time.perf_counter())

    def seconds(self, name: str) -> float:
        """From a stage's beginning to its last advance."""
        ticks = self._ticks.get(name, [0.0])
        return ticks[-1] - ticks[0]

    def step_seconds(self) -> float:
        """Median time of a training step."""
        ticks = self._ticks.get("fit", [])
        steps = np.diff(ticks)
        return statistics.median(steps.tolist()) if len(steps) else 0.0
