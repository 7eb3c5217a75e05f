"""What a detector is fitted on: statistics streamed over a scene, and crops spread over it.

Nothing here depends on the windows in which a scene is scored, nor on the memory that scoring may take: the same
scene, bands and seed give the same fit. A pixel counts where every used band is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hadgeo.device import double_device
from hadgeo.errors import Cancelled, FitError
from hadgeo.executors import map_ahead
from hadgeo.formats.source import Source
from hadgeo.progress import SILENT, Progress
from hadgeo.windows import Window, tile, window_size

#: Decoded bytes of one piece of a streamed pass: large enough to keep a disk and a matrix unit busy.
PIECE_BYTES = 32 * 2**20

#: Decoded bytes that may be read to learn which bands carry data.
SURVEY_BYTES = 256 * 2**20

#: Longest side of a crop where a scene is taken whole: what is computed on a crop is in memory several times over.
_WHOLE_SIDE = 256

_READ_AHEAD = 3


@dataclass
class Statistics:
    """First and second moments of spectra, mergeable piece by piece.

    Attributes:
        count: Number of pixels.
        mean: Mean spectrum, float64 (band).
        scatter: Sum of (x - mean)(x - mean)ᵀ, float64 (band, band); its diagonal alone, (band), where only variances
            were asked for.
        minimum: Smallest value of each band, float64 (band).
        maximum: Largest value of each band, float64 (band).
    """

    count: int
    mean: Tensor
    scatter: Tensor
    minimum: Tensor
    maximum: Tensor

    @classmethod
    def of(cls, spectra: Tensor, *, covariance: bool = True) -> Statistics:
        """Moments of one piece.

        Args:
            spectra: Finite spectra, (pixel, band), at least one pixel.
            covariance: Whether to keep the whole scatter matrix or its diagonal.
        """
        low, high = torch.aminmax(spectra, dim=0)
        x = spectra.double()
        mean = x.mean(dim=0)
        x = x - mean
        scatter = x.T @ x if covariance else (x * x).sum(dim=0)
        return cls(spectra.shape[0], mean, scatter, low.double(), high.double())

    def merge(self, other: Statistics) -> Statistics:
        """Moments of both pieces together.

        Pairwise update of Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
        The American Statistician 37 (1983), eq. 2.1, for matrices.
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        square = torch.outer(delta, delta) if self.scatter.ndim == 2 else delta * delta
        return Statistics(
            count,
            self.mean + delta * (other.count / count),
            self.scatter + other.scatter + square * (self.count * other.count / count),
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance, float64 (band, band); zero for a single pixel."""
        return self.scatter / max(self.count - 1, 1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each band, float64 (band)."""
        diagonal = self.scatter.diagonal() if self.scatter.ndim == 2 else self.scatter
        return (diagonal / max(self.count - 1, 1)).sqrt()


def spectra_of(block: Tensor) -> Tensor:
    """View a cube as a matrix of spectra, without a copy where its memory layout is BSQ or BIP.

    Args:
        block: (band, y, x).

    Returns:
        (pixel, band), pixels row by row.
    """
    bands = block.shape[0]
    if block.stride(0) == 1:
        return block.permute(1, 2, 0).reshape(-1, bands)
    return block.reshape(bands, -1).T


def valid_pixels(block: Tensor) -> Tensor:
    """Where every band is finite.

    Args:
        block: (band, y, x).

    Returns:
        Bool (y, x).
    """
    # NaN and infinity survive a sum, which saves a mask as large as the block.
    return block.sum(dim=0).isfinite()


class Sample:
    """The pixels of one scene, as a detector's `fit` sees them.

    Args:
        source: The cube.
        bands: 0-based indices of the used bands.
        executor: Reads pieces ahead of the arithmetic.
        device: Where statistics are computed.
        progress: Follows long passes.
    """

    def __init__(
        self,
        source: Source,
        bands: Sequence[int],
        *,
        executor: Executor,
        device: torch.device,
        progress: Progress = SILENT,
    ) -> None:
        self._source = source
        self._bands = band_index(bands, source.shape[0])
        self._executor = executor
        self._device = device
        self._progress = progress
        self.bands = len(bands)
        self.shape = source.shape[1:]

    def _pieces(self, piece_bytes: int, step: int = 1) -> list[Window]:
        pixels = max(1, piece_bytes // (self.bands * self._source.dtype.itemsize))
        size = window_size(self.shape, halo=0, max_pixels=pixels, block=self._source.block)
        return list(tile(self.shape, size))[::step]

    def _read(self, window: Window) -> Tensor:
        return torch.from_numpy(self._source.read(window.outer_rows, window.outer_cols, self._bands))

    def _stream(self, windows: Sequence[Window], name: str) -> Iterator[Tensor]:
        self._progress.stage(name, sum(w.pixels for w in windows))
        for window, block in zip(windows, map_ahead(self._executor, self._read, windows, _READ_AHEAD), strict=True):
            if self._progress.cancelled():
                raise Cancelled("stopped on request")
            yield block
            self._progress.advance(window.pixels)

    def statistics(self, *, covariance: bool = True, pixels: int | None = None) -> Statistics:
        """Moments of the scene in one streamed pass.

        Args:
            covariance: Whether to compute the covariance matrix or the variances alone.
            pixels: Look at about this many pixels, evenly spread, instead of all of them.

        Raises:
            FitError: Fewer than two pixels are valid, or all of them are equal.
        """
        total: Statistics | None = None
        device = double_device(self._device)
        for block in self._stream(self._sampled_pieces(pixels), "statistics"):
            spectra = spectra_of(block.to(device))
            valid = spectra.sum(dim=1).isfinite()
            if not valid.all():
                spectra = spectra[valid]
            if spectra.shape[0]:
                part = Statistics.of(spectra, covariance=covariance)
                total = part if total is None else total.merge(part)
        if total is None or total.count < 2:
            count = 0 if total is None else total.count
            raise FitError(
                f"{self._source.path}: {count} valid pixels in the used bands; an anomaly needs a background, "
                "so give a larger scene, or leave out bands that are nodata with --bands"
            )
        if torch.equal(total.minimum, total.maximum):
            raise FitError(
                f"{self._source.path}: all {total.count} valid pixels are equal, so nothing can stand out; "
                "check the input, or choose other bands with --bands"
            )
        return total

    def _sampled_pieces(self, pixels: int | None) -> list[Window]:
        available = self.shape[0] * self.shape[1]
        if pixels is None or pixels >= available:
            return self._pieces(PIECE_BYTES)
        # At least 32 places, so that a sample is spread over the whole line.
        place = max(1, pixels // 32)
        windows = self._pieces(place * self.bands * self._source.dtype.itemsize)
        wanted = max(1, math.ceil(pixels / max(w.pixels for w in windows)))
        keep = np.unique(np.linspace(0, len(windows) - 1, min(wanted, len(windows))).round().astype(int))
        return [windows[i] for i in keep]

    def crops(self, *, size: int, pixels: int, seed: int) -> list[Tensor]:
        """Square pieces of the scene, one from each cell of a regular grid, so that no part of it is left out.

        A scene of no more than `pixels` pixels comes whole, in one crop or a few large ones.

        Args:
            size: Rows and columns of a crop; less where the scene is smaller.
            pixels: About how many pixels to return together.
            seed: Chooses the place inside each cell.

        Returns:
            Blocks (band, y, x) on the CPU, of which at least one pixel in each is valid.

        Raises:
            FitError: No pixel is valid.
        """
        rows, cols = self.shape
        if rows * cols <= pixels:
            windows = list(tile(self.shape, (_even_part(rows), _even_part(cols))))
        else:
            windows = list(_grid_crops(self.shape, size, max(1, pixels // size**2), np.random.default_rng(seed)))
        crops = [b for b in self._stream(windows, "crops") if valid_pixels(b).any()]
        if not crops:
            # Lines can be nearly empty: then the valid pieces are looked for, not sampled.
            crops = self._first_valid(size, pixels)
        return crops

    def _first_valid(self, size: int, pixels: int) -> list[Tensor]:
        crops: list[Tensor] = []
        found = 0
        for window in tile(self.shape, (size, size)):
            block = self._read(window)
            if valid_pixels(block).any():
                crops.append(block)
                found += window.pixels
            if found >= pixels:
                break
        if not crops:
            raise FitError(f"{self._source.path}: no pixel is valid in all used bands; choose other bands with --bands")
        return crops


def _even_part(length: int) -> int:
    """Length of the fewest nearly equal parts that are no longer than `_WHOLE_SIDE`."""
    return math.ceil(length / math.ceil(length / _WHOLE_SIDE))


def _grid_crops(shape: tuple[int, int], size: int, count: int, rng: np.random.Generator) -> Iterator[Window]:
    """One crop at a random place of each cell of a grid of about `count` nearly square cells."""
    rows, cols = shape
    height, width = min(size, rows), min(size, cols)
    down = min(max(1, round(math.sqrt(count * rows / cols))), max(1, rows // height))
    across = min(max(1, round(count / down)), max(1, cols // width))
    for i in range(down):
        for j in range(across):
            low_row, high_row = i * rows // down, max((i + 1) * rows // down - height, i * rows // down)
            low_col, high_col = j * cols // across, max((j + 1) * cols // across - width, j * cols // across)
            row = min(int(rng.integers(low_row, high_row + 1)), rows - height)
            col = min(int(rng.integers(low_col, high_col + 1)), cols - width)
            yield Window(row, col, height, width)


def band_index(bands: Sequence[int], total: int) -> npt.NDArray[np.intp] | slice:
    """Bands as a slice where they are contiguous, which files read without a copy."""
    first, last = bands[0], bands[-1]
    if last - first + 1 == len(bands) and last < total:
        return slice(first, last + 1)
    return np.asarray(bands, dtype=np.intp)


@dataclass(frozen=True)
class Survey:
    """What a look at a scene says of its bands.

    Attributes:
        empty: Bands without a finite value.
        constant: Bands with a single value.
        pixels: Number of pixels looked at.
        exhaustive: Whether that was the whole scene.
    """

    empty: npt.NDArray[np.bool_]
    constant: npt.NDArray[np.bool_]
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
    return Survey(empty, constant, seen, seen == rows * cols)
