"""Block RX: the distance of each spectrum to the mean of its surroundings, with a covariance for each block of a scene.

Local RX with a covariance of its own for each pixel (`hadgeo.detectors.local_rx`) decomposes a matrix for each pixel.
Land does not change from pixel to pixel, so here a block of pixels shares mean and covariance, those of the block and a
margin around it; the statistic is that of I. S. Reed and X. Yu, "Adaptive multiple-band CFAR detection of an optical
pattern with unknown spectral distribution", IEEE Trans. Acoustics, Speech and Signal Processing 38(10), 1990, doi
10.1109/29.60107. A target takes part in its own background, as in global RX, so a block and its margin must be many
times as large as targets are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from hadgeo.compute.boxes import box_sum
from hadgeo.compute.cores import map_cores, one_core
from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastByDefaultParams, ContrastDetector
from hadgeo.detectors.covariance import regularised
from hadgeo.detectors.dual_window import (
    DualWindowParams,
    check_differences,
    difference_statistics,
    difference_statistics_bytes,
    whitened,
)
from hadgeo.detectors.whitening import whitening
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels
from hadgeo.windows import Window, tile

#: The ring whose mean is taken from pixels before the covariance of the scene is that of what remains.
_RING = DualWindowParams(inner_window=3, outer_window=21)

#: Rows and columns in pixels of what is worked on at a time, elsewhere and on one core of a CPU, and bytes that its
#: matrices may take, which makes it narrower.
_TILE, _MATRIX_BYTES = ((1024, 1024), (64, 256)), (2**28, 2**24)


class BlockRXParams(ContrastByDefaultParams):
    """Hyper-parameters of block RX."""

    basic = ("block", "margin", "ridge")

    block: int = Field(
        default=8,
        title="Block",
        description="Side in pixels of the blocks whose pixels share a background.",
        ge=2,
        le=64,
    )
    margin: int = Field(
        default=8,
        title="Margin",
        description="Pixels on each side of a block that belong to its background; a multiple of block.",
        ge=0,
        le=128,
    )
    ridge: float = Field(
        default=0.01,
        title="Ridge",
        description="What is added to each eigenvalue of a covariance, in units of the mean eigenvalue of the scene's; "
        "it keeps directions that hold hardly anything but noise from outweighing all others.",
        ge=1e-6,
        le=1000,
    )
    sample: int = Field(
        default=2**18,
        title="Sampled pixels",
        description="Estimate the covariance of the scene, which steadies those of blocks, from about this many "
        "pixels, evenly spread; from all of them where there are fewer.",
        ge=2,
    )

    @model_validator(mode="after")
    def _whole_blocks(self) -> Self:
        if self.margin % self.block:
            raise ValueError(f"margin ({self.margin}) must be a multiple of block ({self.block})")
        return self


class BlockRX(ContrastDetector[BlockRXParams]):
    """RX with a mean and a covariance for each block of the scene.

    The score of x is (x - m)ᵀ C⁻¹ (x - m), with C = w (S + r I) + (1 - w) (G + r I). m and S are mean and covariance of
    the k valid pixels of the block and its margin, G is the covariance of the scene's pixels less the mean of the ring
    around them, r the ridge in units of G's mean eigenvalue, and w = k / n, or 1 where there are at least as many
    pixels as the n bands. Blocks are counted from the first row and column of the scene.

    Attributes:
        mean_: Mean spectrum of the scene, float64 (band).
        whitening_: Matrix W with WᵀW = (G + r I)⁻¹, float64 (rank, band).
        ridge_: r, in squared units of the input, a scalar.
    """

    name = "block_rx"
    title = "Block RX (covariance of each block)"
    Params = BlockRXParams
    best_at = "small targets in scenes of several kinds of land, each with a spread of its own"
    explained_by = "the mean spectrum of the block around the pixel and of its margin"
    relative_cost = 5.6

    mean_: Tensor
    whitening_: Tensor
    ridge_: Tensor

    @property
    def grid(self) -> int:
        """A block; see `Detector.grid`."""
        return self.params.block

    @property
    def reach(self) -> int:
        """The margin around a block; see `ContrastDetector.reach`."""
        return self.params.margin

    @property
    def _blocks(self) -> int:
        """Blocks on each side of a block that belong to its background."""
        return self.params.margin // self.params.block

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Learn the covariance of pixels less the mean of their ring, in streamed passes; see `Detector.fit`."""
        device, pixels = double_device(device), self.params.sample
        mean = sample.statistics(covariance=False, pixels=pixels).mean
        covariance = difference_statistics(sample, _RING, mean, pixels=pixels).covariance
        check_differences(covariance, self.name)
        ridge = self.params.ridge * covariance.diagonal().mean()
        self._take(mean, whitening(regularised(covariance, self.params.ridge)), ridge, device)

    @one_core()
    def _take(self, mean: Tensor, whitening: Tensor, ridge: Tensor, device: torch.device) -> None:
        self.mean_, self.whitening_, self.ridge_ = mean.to(device), whitening.to(device), ridge.to(device)
        self._whitened_ridge = self.ridge_ * (self.whitening_ @ self.whitening_.T)

    def statistic(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the background of the block; see `ContrastDetector.statistic`."""
        block = block.to(self.mean_.device)
        _, rows, cols = block.shape
        distance = torch.empty((rows, cols), dtype=self.mean_.dtype, device=block.device)

        @torch.no_grad()
        def one(part: Window) -> None:
            found = torch.cat(list(self._of_tile(block, part)))
            distance[part.rows, part.cols] = found[: part.height, : part.width]

        down, across = self._tile_blocks(len(self.whitening_), on_cpu=block.device.type == "cpu")
        map_cores(one, tile((rows, cols), (down * self.params.block, across * self.params.block)), block.device)
        return distance

    def _tile_blocks(self, rank: int, *, on_cpu: bool) -> tuple[int, int]:
        """Rows and columns of blocks that are worked on at a time."""
        down, across = (max(1, side // self.params.block) for side in _TILE[on_cpu])
        return down, max(1, min(across, _MATRIX_BYTES[on_cpu] // self._block_bytes(rank)))

    def _block_bytes(self, rank: int) -> int:
        """Bytes of the matrices that are at hand for each block of a row."""
        return 8 * (rank + 1) ** 2 * (2 * self._blocks + 5)

    def _of_tile(self, block: Tensor, part: Window) -> Iterator[Tensor]:
        """The distances of one row of blocks after the other, (y, x), the last ones of which may be too many.

        Sums over a margin are sums of those of blocks, so each block's are computed once for all that it is around.
        """
        side, margin, blocks = self.params.block, self.params.margin, self._blocks
        around, length = 2 * blocks + 1, len(self.whitening_) + 1
        across = math.ceil(part.width / side)
        if block.device.type != "cpu":
            # Libraries there may take another way for another number of matrices.
            _, across = self._tile_blocks(len(self.whitening_), on_cpu=False)
        spectra: deque[Tensor] = deque(maxlen=blocks + 1)
        # Made once: matrices that come and go among others that stay leave holes, several times what is in use.
        moments = self.mean_.new_empty((across + 2 * blocks, length, length))
        sums = self.mean_.new_empty((around, across, length, length))
        total = torch.empty_like(sums[0])
        for number, row in enumerate(range(part.row - margin, part.row + part.height + margin, side)):
            spectra.append(self._row_of_blocks(block, row, part.col - margin, across + 2 * blocks))
            torch.matmul(spectra[-1].mT, spectra[-1], out=moments)
            _total([moments[first : first + across] for first in range(around)], sums[number % around])
            if number + 1 >= around:
                _total([sums[(number + 1 + later) % around] for later in range(around)], total)
                found = _distances(spectra[0][blocks : blocks + across], total, self._whitened_ridge)
                yield found.view(across, side, side).transpose(0, 1).flatten(1)

    def _row_of_blocks(self, block: Tensor, row: int, col: int, count: int) -> Tensor:
        """Whitened spectra of blocks side by side, each with a last 1; all 0 where invalid or outside of the window.

        Args:
            block: (band, y, x).
            row: First row of the blocks; may lie outside, as the following.
            col: First column of the first one.
            count: How many.

        Returns:
            (block, pixel, rank + 1), so that products of it are sums of products, of spectra, and of pixels.
        """
        side = self.params.block
        spectra = self.mean_.new_zeros((side, count * side, len(self.whitening_) + 1))
        rows = slice(max(row, 0), max(row + side, 0))
        cols = slice(max(col, 0), max(col + count * side, 0))
        part = block[:, rows, cols]
        height, width = part.shape[1:]
        here = spectra[rows.start - row :, cols.start - col :][:height, :width]
        if part.numel():
            valid = valid_pixels(part)
            whitened_part = whitened(part, self.mean_, self.whitening_).permute(1, 2, 0)
            here[..., :-1] = torch.where(valid[..., None], whitened_part, 0)
            here[..., -1] = valid
        return spectra.view(side, count, side, -1).transpose(0, 1).flatten(1, 2)

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor:
        """The mean of the block and its margin; see `Detector.explain`."""
        side, around = self.params.block, 2 * self._blocks + 1
        rows, cols = block.shape[1:]
        valid = valid_pixels(block)

        def sums(values: Tensor) -> Tensor:
            values = F.pad(values.to(self.mean_), (0, -cols % side, 0, -rows % side))
            down, across = (length // side for length in values.shape[1:])
            return box_sum(values.reshape(-1, down, side, across, side).sum(dim=(2, 4)), around)

        means = sums(torch.where(valid, block, 0)) / sums(valid[None]).clamp(min=1)
        means = means.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)[:, :rows, :cols]
        return torch.where(valid, means.to(block), torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - matrices are those of a few blocks on each core
        """The distance and its local contrast; see `Detector.bytes_per_pixel`."""
        return 32

    def core_bytes(self, bands: int) -> int:
        """Matrices and spectra of a few rows of blocks, side by side; see `Detector.core_bytes`."""
        side, each = self.params.block, self._block_bytes(bands)
        _, across = self._tile_blocks(bands, on_cpu=True)
        rows, cols = (self._blocks + 3) * side, (across + 2 * self._blocks) * side
        return across * each + 2 * 8 * (bands + 1) ** 2 * (across + 2 * self._blocks) + 8 * (bands + 1) * rows * cols

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """Crops that tell what is usual, or copies of a square in each reading thread; see `Detector.fit_bytes`."""
        return max(super().fit_bytes(bands, pixels), difference_statistics_bytes(_RING, bands, pixels))

    def state(self) -> dict[str, Tensor]:
        """Mean, whitening and ridge; see `Detector.state`."""
        learned = {"mean": self.mean_, "whitening": self.whitening_, "ridge": self.ridge_}
        return {**learned, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        double = double_device(device)
        self._take(state["mean"], state["whitening"], state["ridge"], double)
        self.load_contrast_state(state, double)
        return self


def _distances(spectra: Tensor, sums: Tensor, ridge: Tensor) -> Tensor:
    """Distances of the pixels of blocks, each to its block's background.

    Args:
        spectra: Whitened, with a last 1, (block, pixel, rank + 1).
        sums: What their products sum up to over each background, (block, rank + 1, rank + 1).
        ridge: What is added to each covariance, whitened, (rank, rank).

    Returns:
        (block, pixel).
    """
    rank = len(ridge)
    count = sums[:, -1, -1].clamp(min=1)
    mean = sums[:, :-1, -1] / count[:, None]
    covariance = sums[:, :-1, :-1] / count[:, None, None]
    covariance.sub_(mean[:, :, None] * mean[:, None]).add_(ridge)
    # Whitened, the covariance of the scene with its ridge is the identity.
    share = (count / rank).clamp(max=1)
    covariance.mul_(share[:, None, None])
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    # As much as rounding takes, so that a matrix can be decomposed whatever values a sensor gives.
    rounding = torch.finfo(ridge.dtype).eps * rank * diagonal.sum(dim=1)
    diagonal.add_((1 - share + rounding)[:, None])
    factor = torch.linalg.cholesky_ex(covariance).L
    centred = spectra[..., :-1] - mean[:, None]
    distance: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).square_().sum(dim=1)
    return distance


def _total(parts: list[Tensor], out: Tensor) -> None:
    """The sum of tensors, one after the other, in another one."""
    out.copy_(parts[0])
    for part in parts[1:]:
        out += part
