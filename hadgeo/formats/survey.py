"""Which bands of a scene carry data, from a look at a part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Source
from hadgeo.windows import tile, window_size

#: Decoded bytes that may be read.
SURVEY_BYTES = 64 * 2**20


def band_index(bands: Sequence[int], total: int) -> npt.NDArray[np.intp] | slice:
    """Bands as a slice where they are contiguous, which files read without a copy."""
    index = np.asarray(bands, dtype=np.intp)
    if (np.diff(index) == 1).all() and index[-1] < total:
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


@dataclass(frozen=True)
class Survey:
    """What a look at a scene says of its bands.

    Attributes:
        empty: Bands without a finite value.
        constant: Bands with a single value.
        level: Median over the bands of their largest values, which tells reflectance from reflectance times 10,000.
        pixels: Number of pixels looked at.
        exhaustive: Whether that was the whole scene.
    """

    empty: npt.NDArray[np.bool_]
    constant: npt.NDArray[np.bool_]
    level: float
    pixels: int
    exhaustive: bool


def survey(source: Source, bands: Sequence[int], max_bytes: int = SURVEY_BYTES) -> Survey:
    """Find the bands that carry nothing, from evenly spread pieces; from all of them if those hold no data.

    Args:
        source: The cube.
        bands: 0-based indices of the bands in question; the others are reported as neither empty nor constant.
        max_bytes: Decoded bytes to look at.
    """
    rows, cols = source.shape[1:]
    index = band_index(bands, source.shape[0])
    pixel_bytes = len(bands) * source.dtype.itemsize
    size = window_size((rows, cols), halo=0, max_pixels=max(1, max_bytes // 16 // pixel_bytes), block=source.block)
    windows = list(tile((rows, cols), size))
    chosen = {int(i) for i in np.linspace(0, len(windows) - 1, min(16, len(windows))).round()}
    passes: list[Callable[[int], bool]] = [lambda i: i in chosen, lambda i: i not in chosen]
    low = np.full(len(bands), np.nan)
    high = np.full(len(bands), np.nan)
    seen = 0
    for wanted in passes:
        for window in (w for i, w in enumerate(windows) if wanted(i)):
            block: npt.NDArray[Any] = source.read(window.rows, window.cols, index)
            low = np.fmin(low, np.fmin.reduce(block, axis=(1, 2)))
            high = np.fmax(high, np.fmax.reduce(block, axis=(1, 2)))
            seen += window.pixels
        if not np.isnan(low).all():
            break
    empty = np.zeros(source.shape[0], dtype=bool)
    constant = np.zeros(source.shape[0], dtype=bool)
    empty[list(bands)] = np.isnan(low)
    constant[list(bands)] = low == high
    level = float(np.median(high[~np.isnan(high)])) if not np.isnan(high).all() else 0.0
    return Survey(empty, constant, level, seen, seen == rows * cols)
