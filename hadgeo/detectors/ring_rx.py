"""What detectors share that whiten pixels, less the mean of their ring, with a covariance."""

from __future__ import annotations

from typing import Literal, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.cores import one_core
from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.covariance import TRIM_CROP, TRIM_PIXELS, TRIMS, CovarianceParams, regularised, trim_bytes
from hadgeo.detectors.dual_window import (
    DualWindowParams,
    check_differences,
    difference_bytes,
    difference_statistics,
    difference_statistics_bytes,
    expected_by_ring,
    ring_differences,
    whitened,
)
from hadgeo.detectors.ring_covariance import Rings, forms_bytes
from hadgeo.detectors.rx import rao_blackwell_ledoit_wolf
from hadgeo.detectors.whitening import whitening
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, Statistics, valid_pixels


class RingParams(CovarianceParams, DualWindowParams, ContrastParams):
    """Hyper-parameters of a detector that whitens pixels less the mean of their ring."""

    basic = ("inner_window", "outer_window", "covariance", "ridge")

    @property
    def tested(self) -> int:
        """Side in pixels of the block around each pixel that is tested as one."""
        return 1

    covariance: Literal["global", "local"] = Field(
        default="global",
        title="Covariance",
        description="'global': one for the scene, of pixels less the mean of their ring; 'local': that of each ring, "
        "which must have more pixels than there are bands.",
    )


RingParamsT = TypeVar("RingParamsT", bound=RingParams)


class RingDetector(ContrastDetector[RingParamsT]):
    """A detector that whitens pixels less the mean of their ring, with the covariance of the scene or of the ring.

    Attributes:
        mean_: Mean spectrum of the scene, float64 (band).
        whitening_: Matrix W with WᵀW = C⁻¹, float64 (rank, band), where C is the covariance of pixels less the mean of
            their ring; with the ridge where covariance is 'global', without it where it is 'local'.
        ridge_: What the ridge adds to each eigenvalue of a covariance, in squared units of the input, a scalar.
        floor_: See `ContrastDetector`.
    """

    mean_: Tensor
    whitening_: Tensor
    ridge_: Tensor

    @property
    def reach(self) -> int:
        """Half the outer window."""
        return self.params.outer_window // 2

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:
        """Learn the covariance of pixels less the mean of their ring, in streamed passes; see `Detector.fit`."""
        params, double = self.params, double_device(device)
        mean = sample.statistics(covariance=False).mean
        statistics = self._trimmed(sample, mean)
        covariance = statistics.covariance
        check_differences(covariance, self.name)
        if not params.ridge and statistics.count <= sample.bands:
            weight = rao_blackwell_ledoit_wolf(statistics)
            progress.message(
                f"{self.name}: {statistics.count} valid pixels do not determine the covariance of {sample.bands} "
                f"bands; shrunk by {weight:.3f}"
            )
            sphere = weight * covariance.diagonal().mean()
            covariance = (1 - weight) * covariance
            covariance.diagonal().add_(sphere)
        local = params.covariance == "local"
        ridge = params.ridge * covariance.diagonal().mean()
        W = whitening(covariance if local else regularised(covariance, params.ridge))
        self._take(mean, W, ridge, double)
        rank = len(self.whitening_)
        if local and not params.ridge and params.neighbours <= rank:
            outer = params.outer_window
            while outer**2 - params.inner_window**2 <= rank:
                outer += 2
            raise FitError(
                f"{self.name}: the {params.neighbours} pixels between inner_window {params.inner_window} and "
                f"outer_window {params.outer_window} do not determine a covariance of {rank} bands; raise outer_window "
                f"to {outer}, set a ridge, or set covariance to global"
            )

    @one_core()
    def _take(self, mean: Tensor, whitening: Tensor, ridge: Tensor, device: torch.device) -> None:
        self.mean_, self.whitening_, self.ridge_ = mean.to(device), whitening.to(device), ridge.to(device)
        self._of_rings: tuple[Tensor, Tensor | None] = self.whitening_, None
        if self.params.ridge and self.params.covariance == "local":
            # Whitened with the scene's covariance and its ridge, which keeps numbers near 1.
            W = self.whitening_
            identity = torch.eye(len(W), dtype=W.dtype, device=W.device)
            factor = torch.linalg.cholesky(identity + self.ridge_ * (W @ W.T))
            W = torch.linalg.solve_triangular(factor, W, upper=False)
            self._of_rings = W, self.ridge_ * (W @ W.T)

    def _trimmed(self, sample: Sample, mean: Tensor) -> Statistics:
        """Moments of differences, without the farthest ones if that was asked for."""
        params = self.params
        total = difference_statistics(sample, params, mean)
        if params.robust == "none" or not total.covariance.diagonal().max() > 0:
            return total
        crops = sample.crops(size=TRIM_CROP + 2 * self.reach, pixels=TRIM_PIXELS, seed=0)
        for _ in range(TRIMS):
            W = whitening(regularised(total.covariance, params.ridge))
            found = [ring_differences(whitened(crop, mean, W), params.sides).square().sum(dim=0) for crop in crops]
            distance = torch.cat([part[part.isfinite()] for part in found]).sort().values
            farthest = distance[min(len(distance) - 1, int((1 - params.trim) * len(distance)))]

            def near(differences: Tensor, W: Tensor = W, farthest: Tensor = farthest) -> Tensor:
                return (differences @ W.T).square_().sum(dim=1) <= farthest

            total = difference_statistics(sample, params, mean, keep=near)
        return total

    def rings(self, block: Tensor) -> Rings:
        """The neighbourhood of each pixel of a window (band, y, x), whitened, for a covariance of each ring."""
        W, ridge = self._of_rings
        spectra = whitened(block, self.mean_, W).permute(1, 2, 0)
        return Rings(
            spectra, valid_pixels(block), inner=self.params.inner_window, outer=self.params.outer_window, ridge=ridge
        )

    def explain(self, block: Tensor) -> Tensor:
        """The mean of the ring around each pixel; see `Detector.explain`."""
        return expected_by_ring(block, self.params.sides, self.mean_.to(block))

    def bytes_per_pixel(self, bands: int) -> int:
        """With covariance 'local', whitened spectra, and those with spare bands in two precisions; else scores."""
        return 16 + (8 * bands + 12 * (bands + 8) if self.params.covariance == "local" else 0)

    def core_bytes(self, bands: int) -> int:
        """A square and what its differences take, or matrices of a few tiles; see `Detector.core_bytes`."""
        if self.params.covariance == "local":
            return forms_bytes(bands, *self.params.sides, self.params.tested)
        return difference_bytes(self.params, bands)

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """What is usual, or squares and moments of each reading thread; see `Detector.fit_bytes`."""
        learning = difference_statistics_bytes(self.params, bands, pixels)
        return max(super().fit_bytes(bands, pixels), learning + trim_bytes(self.params, bands, pixels))

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
