"""Scoring windows on another device than the CPU: they come and go while it computes, and are decoded there.

A reader thread reads a window, takes a place on the device, has it sent, and waits for that alone. Only then does it
take its turn: what a detector begins on the device is begun by one thread at a time, and the next thread begins while
the device is still busy with the last one's window. What comes back is the scores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import free_memory, is_out_of_memory
from hadgeo.compute.lanes import PLACES, Lane, from_device, to_device
from hadgeo.detectors.base import Detector
from hadgeo.errors import DeviceError
from hadgeo.formats.source import Rule
from hadgeo.formats.stored import Stored
from hadgeo.sampling import valid_pixels
from hadgeo.windows import Window, halves

#: Bytes that decoding takes for each sample: what was sent, an integer wide enough for it, a number and a mask.
_DECODING_BYTES = 2 + 4 + 4 + 1

#: Share of a device's free memory that windows are planned for: allocators leave gaps, and other processes come.
_SHARE = 0.5


def window_pixels(detector: Detector[Any], bands: int, sample_bytes: int, free: int) -> int:
    """Pixels of a window, its halo's among them, for which a device has memory.

    Args:
        detector: What scores them.
        bands: Bands used.
        sample_bytes: Bytes of a decoded sample.
        free: Bytes that are free on the device.
    """
    each = PLACES * bands * max(sample_bytes, _DECODING_BYTES) + detector.bytes_per_pixel(bands)
    return max(1, int(free * _SHARE) // each)


class DeviceScorer:
    """Scores windows on a device; called from several threads, each of which reads and waits for its own.

    Args:
        detector: A fitted detector.
        device: Where it scores; not the CPU.
        read: Reads the decoded samples (band, y, x) of a window with its halo.
        read_stored: The same as they are stored, or None where that cannot be.
    """

    def __init__(
        self,
        detector: Detector[Any],
        device: torch.device,
        *,
        read: Callable[[Window], npt.NDArray[np.floating[Any]]],
        read_stored: Callable[[Window], Stored | None],
    ) -> None:
        self._detector, self._device = detector, device
        self._read, self._read_stored = read, read_stored
        self._lane = Lane(device)
        self._turn = threading.Lock()
        self._decoder: Decoder | None = None

    def __call__(self, window: Window) -> npt.NDArray[np.float32]:
        """Scores (y, x) of a window's own pixels, NaN where any band is."""
        stored = self._read_stored(window)
        block = None if stored is not None else _single(torch.from_numpy(self._read(window)), self._device)
        try:
            with exact_arithmetic(self._device), self._lane.place():
                return self._score(window, block, stored)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if block is None:
            block = _single(torch.from_numpy(self._read(window)), self._device)
        return self._in_halves(window, block)

    def _score(self, window: Window, block: Tensor | None, stored: Stored | None) -> npt.NDArray[np.float32]:
        def bring() -> tuple[Tensor, Tensor, Tensor]:
            arrived = to_device(block, self._device) if block is not None else self._decoded(stored)
            valid = valid_pixels(arrived[(slice(None), *window.inner)])
            return arrived, valid, from_device(valid.any())

        arrived, valid, any_valid = self._lane.arrive(bring)
        if not any_valid:
            return np.full((window.height, window.width), np.nan, dtype=np.float32)
        with self._turn:
            scores = self._detector.score_inner(arrived, window.inner).float()
            scores = torch.where(valid, scores.to(self._device), torch.nan)
            computed = self._lane.computed()
        found: npt.NDArray[np.float32] = self._lane.depart(scores, computed).numpy()
        return found

    def _decoded(self, stored: Stored | None) -> Tensor:
        assert stored is not None
        if self._decoder is None:
            # Two threads may both make it; it is the same.
            self._decoder = Decoder(stored.rule, stored.band_axis, self._device)
        return self._decoder(stored)

    def _in_halves(self, window: Window, block: Tensor) -> npt.NDArray[np.float32]:
        valid = valid_pixels(block[(slice(None), *window.inner)])
        with exact_arithmetic(self._device), self._turn:
            free_memory(self._device)
            scores = score_window(self._detector, block, window, self._device).float().cpu()
        return torch.where(valid, scores, torch.nan).numpy()


class Decoder:
    """Turns stored samples into physical ones on a device, to the bits of `Source.read`.

    Args:
        rule: Fill value, scale and offset of the bands.
        band_axis: The axis of samples that counts bands.
        device: Where to decode.
    """

    def __init__(self, rule: Rule, band_axis: int, device: torch.device) -> None:
        shape = tuple(-1 if axis == band_axis else 1 for axis in range(3))

        def constant(values: npt.NDArray[Any] | None, dtype: type[np.generic]) -> Tensor | None:
            if values is None:
                return None
            each = torch.from_numpy(values.astype(dtype))
            return to_device(each.reshape(shape) if each.ndim else each, device)

        self._device, self._axis = device, band_axis
        self._fill = constant(rule.fill, np.int32)
        self._scale, self._offset = constant(rule.scale, np.float32), constant(rule.offset, np.float32)

    def __call__(self, stored: Stored) -> Tensor:
        """Send and decode a window, (band, y, x)."""
        samples = stored.samples
        unsigned = samples.dtype == np.uint16
        # Torch computes with signed integers of 16 bits alone.
        sent = to_device(torch.from_numpy(samples.view(np.int16) if unsigned else samples), self._device)
        wanted = [sent.narrow(self._axis, run.start, run.stop - run.start) for run in stored.runs]
        values = wanted[0] if len(wanted) == 1 else torch.cat(wanted, dim=self._axis)
        if unsigned:
            values = values.to(torch.int32) & 0xFFFF
        decoded = values.to(torch.float32, memory_format=torch.contiguous_format)
        if self._fill is not None:
            decoded.masked_fill_(values.to(torch.int32) == self._fill, torch.nan)
        if self._scale is not None:
            decoded *= self._scale
        if self._offset is not None:
            decoded += self._offset
        return decoded.permute(stored.to_bsq)


def _single(block: Tensor, device: torch.device) -> Tensor:
    """A block in what the device can hold: Apple's GPUs have no float64."""
    return block.float() if device.type == "mps" else block


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
        return detector.score_inner(_single(block, device).to(device), window.inner)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if window.height == 1:
            raise DeviceError(
                f"{device} has too little free memory for one row of {block.shape[2]} pixels; "
                "free some memory, use a smaller --window, or --device cpu"
            ) from error
    free_memory(device)
    parts = halves(window, detector.halo, detector.grid)
    return torch.cat([score_window(detector, block[:, w.outer_rows, w.outer_cols], w, device) for w in parts])
