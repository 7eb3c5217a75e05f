"""Scoring a scene window by window: how large windows are, how one is read and scored.

Readers run ahead of the arithmetic, and a CPU scores one window at a time (`hadgeo.run.on_device` has other devices);
what is in memory depends on the windows and never on the scene.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from hadgeo.bands import BandSelection
from hadgeo.compute.device import double_device
from hadgeo.compute.executors import READERS
from hadgeo.compute.memory import LIBRARY_BYTES
from hadgeo.detectors.base import Detector
from hadgeo.errors import ReadError
from hadgeo.formats.source import Source
from hadgeo.formats.stored import Stored
from hadgeo.formats.survey import band_index
from hadgeo.run.on_device import DeviceScorer, score_window
from hadgeo.sampling import valid_pixels
from hadgeo.windows import Holes, Window, tile, window_size

#: Seconds to wait before a window that could not be read is read again.
RETRY_PAUSES = (0.2, 1.0)

T = TypeVar("T")


def plan_windows(
    source: Source, detector: Detector[Any], selection: BandSelection, *, memory: int, window: int | None
) -> tuple[Window, ...]:
    """Partition a scene so that a run keeps to a memory budget.

    Args:
        source: The cube.
        detector: What scores it.
        selection: The bands used.
        memory: Bytes that the whole process may take.
        window: Side of square windows in pixels, whatever they take, or None.
    """
    shape = source.shape[1:]
    pixel_bytes = window_bytes(source, detector, selection)
    if window is not None:
        size = (window, window)
    else:
        budget = max(1, (memory - fixed_bytes(source) - cores_bytes(detector, selection)) // pixel_bytes)
        size = window_size(shape, halo=detector.halo, max_pixels=budget, block=source.block, grid=detector.grid)
    return tuple(tile(shape, size, detector.halo, detector.grid))


def fixed_bytes(source: Source) -> int:
    """Bytes that a run takes whatever its windows."""
    return LIBRARY_BYTES + source.cache_bytes + READERS * source.block_bytes


def cores_bytes(detector: Detector[Any], selection: BandSelection) -> int:
    """Bytes that scoring takes on all cores, whatever the windows."""
    return torch.get_num_threads() * detector.core_bytes(len(selection.indices))


def window_bytes(source: Source, detector: Detector[Any], selection: BandSelection) -> int:
    """Bytes in memory for each pixel of a window while windows are read ahead and one of them is scored."""
    bands = len(selection.indices)
    return READERS * bands * source.sample_bytes + detector.bytes_per_pixel(bands)


#: A window, and (y, x) scores of its own pixels, NaN where there is none.
Scored = tuple[Window, npt.NDArray[np.float32]]


class WindowScorer:
    """Reads one window and scores it; several threads may read at once while one scores.

    Args:
        source: The cube.
        bands: 0-based indices of the used bands.
        detector: A fitted detector.
        device: Where it scores.
        holes: Where there is nothing to read.

    Attributes:
        source: The cube.
        bands: The used bands.
        detector: The detector.
    """

    def __init__(
        self,
        source: Source,
        bands: Sequence[int],
        detector: Detector[Any],
        device: torch.device,
        holes: Holes | None = None,
    ) -> None:
        self.source, self.detector = source, detector
        self.bands = tuple(bands)
        self._index = band_index(bands, source.shape[0])
        self._holes = holes or Holes()
        self._lock = threading.Lock()
        self._elsewhere: DeviceScorer | None = None
        if _scores_on(detector, device):
            self._elsewhere = DeviceScorer(detector, device, read=self._read, read_stored=self._read_stored)

    def __call__(self, window: Window) -> Scored:
        """Score a window.

        Returns:
            The window, and (y, x) scores of its own pixels, NaN where any band is.
        """
        nothing = np.full((window.height, window.width), np.nan, dtype=np.float32)
        if self._holes.cover(window):
            return window, nothing
        if self._elsewhere is not None:
            return window, self._elsewhere(window)
        block = torch.from_numpy(self._read(window))
        valid = valid_pixels(block[(slice(None), *window.inner)])
        if not valid.any():
            return window, nothing
        with self._lock:
            scores = score_window(self.detector, block, window, block.device).float()
        return window, torch.where(valid, scores, torch.nan).numpy()

    def _read(self, window: Window) -> npt.NDArray[np.floating[Any]]:
        """Read a window and its halo."""
        return _patiently(lambda: self.source.read(window.outer_rows, window.outer_cols, self._index))

    def _read_stored(self, window: Window) -> Stored | None:
        """The same as it is stored, where that can be."""
        return _patiently(lambda: self.source.read_stored(window.outer_rows, window.outer_cols, self._index))


def _scores_on(detector: Detector[Any], device: torch.device) -> bool:
    """Whether windows have to be sent to a device other than the CPU.

    A detector of float64 stays on the CPU beside a device that has none; windows would be sent there and back.
    """
    if device == double_device(device):
        return device.type != "cpu"
    return any(tensor.device.type == device.type for tensor in detector.state().values())


def _patiently(read: Callable[[], T]) -> T:
    """What is read; a network drive may need more than one try."""
    for pause in RETRY_PAUSES:
        try:
            return read()
        except ReadError:
            time.sleep(pause)
    return read()
