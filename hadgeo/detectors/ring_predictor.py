"""Ring predictor: each pixel is predicted from its surroundings by linear regression, in closed form.

What a blind-spot network learns by descent, this has in one pass over the scene: the least-squares prediction of a
pixel from the means of two rings around it. For Gaussian fields it is the best prediction that these means allow, and
the distance of what remains, whitened by its own covariance, is then the generalised likelihood ratio test for a target
of unknown spectrum in the pixel alone (Reed and Yu 1990, eq. 31, on the distribution of the pixel given its rings: T.
W. Anderson, "An Introduction to Multivariate Statistical Analysis", 3rd ed., 2003, theorem 2.5.1).
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hadgeo.compute.cores import one_core
from hadgeo.compute.device import double_device
from hadgeo.compute.executors import READERS
from hadgeo.compute.lanes import to_device
from hadgeo.detectors.contrast import ContrastByDefaultParams, ContrastDetector
from hadgeo.detectors.covariance import regularised
from hadgeo.detectors.rings import LEARNED_SIDE, in_squares, ring_means, square_bytes, squares
from hadgeo.detectors.tiles import times
from hadgeo.detectors.whitening import mahalanobis, whitening
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, Statistics, spectra_of, valid_pixels
from hadgeo.windows import Window

#: Copies of a square with its neighbours: sums over three windows and what they are made of, and means of two rings.
_COPIES = 12


class RingPredictorParams(ContrastByDefaultParams):
    """Hyper-parameters of the ring predictor."""

    basic = ("guard_window", "middle_window", "outer_window")

    guard_window: int = Field(
        default=3,
        title="Guard window",
        description="Side in pixels of the block around a pixel that does not take part in its prediction; odd, and "
        "at least as large as a target and its blur.",
        ge=1,
        le=99,
    )
    middle_window: int = Field(
        default=7,
        title="Middle window",
        description="Side in pixels of the window that ends the first ring and begins the second; odd.",
        ge=3,
        le=101,
    )
    outer_window: int = Field(
        default=13,
        title="Outer window",
        description="Side in pixels of the window that ends the second ring; odd.",
        ge=5,
        le=151,
    )
    ridge: float = Field(
        default=1e-6,
        title="Ridge",
        description="Ridge of the regression, in units of the mean variance of the rings' means; it steadies the "
        "prediction from rings that hold almost the same.",
        ge=0,
        le=1000,
    )
    residual_ridge: float = Field(
        default=0.0,
        title="Residual ridge",
        description="What is added to each eigenvalue of the residual's covariance, in units of their mean. 0 is right "
        "where noise is the same everywhere, as in a simulation; such as 0.01 suits real sensors, whose quietest "
        "directions hold stripes and calibration.",
        ge=0,
        le=1000,
    )
    sample: int = Field(
        default=2**18,
        title="Sampled pixels",
        description="Learn from about this many pixels, evenly spread; from all of them where there are fewer.",
        ge=2,
    )

    @model_validator(mode="after")
    def _windows(self) -> Self:
        sides = (self.guard_window, self.middle_window, self.outer_window)
        if any(side % 2 == 0 for side in sides):
            raise ValueError("the windows must be odd, so that they have a centre")
        if not sides[0] < sides[1] < sides[2]:
            raise ValueError("guard_window, middle_window and outer_window must grow in this order")
        return self


class RingPredictor(ContrastDetector[RingPredictorParams]):
    """Squared Mahalanobis distance of what two rings do not predict of a pixel.

    Attributes:
        mean_: Mean spectrum of the scene, float64 (band).
        rings_mean_: Mean of both rings' mean spectra, float64 (2 band).
        weights_: What is predicted of each band for each of the rings' values, float64 (band, 2 band).
        whitening_: Matrix W with WᵀW the inverse covariance of the residual, float64 (rank, band).
    """

    name = "ring_predictor"
    title = "Ring predictor (linear blind spot)"
    Params = RingPredictorParams
    best_at = "targets of a pixel or less, in noise and in smooth land"
    explained_by = "what the rings around a pixel predict of it"
    relative_cost = 7.6

    mean_: Tensor
    rings_mean_: Tensor
    weights_: Tensor
    whitening_: Tensor

    @property
    def _sides(self) -> tuple[int, int, int]:
        return self.params.guard_window, self.params.middle_window, self.params.outer_window

    @property
    def reach(self) -> int:
        """Half the outer window; see `ContrastDetector.reach`."""
        return self.params.outer_window // 2

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Learn the regression from one pass over the scene; see `ContrastDetector.learn`."""
        device = double_device(device)
        bands, pixels = sample.bands, self.params.sample
        # A mean that rings without a valid pixel take; and scenes without a background are refused here.
        self.mean_ = sample.statistics(covariance=False, pixels=pixels).mean.to(device)
        total = sample.merged(self._joint_moments, halo=self.reach, pixels=pixels, square=LEARNED_SIDE)
        if total is None or not (total.covariance.diagonal()[:bands] > 0).any():
            raise FitError(
                f"{self.name}: all valid pixels are equal, so there is nothing to detect; check the input and --bands"
            )
        own, cross, rings = _split(total.covariance.cpu(), bands)
        weights, residual = self._regression(own, cross, rings)
        self.weights_, self.whitening_ = weights.to(device), whitening(residual).to(device)
        self.mean_, self.rings_mean_ = total.mean[:bands].to(device), total.mean[bands:].to(device)

    @one_core()
    def _regression(self, own: Tensor, cross: Tensor, rings: Tensor) -> tuple[Tensor, Tensor]:
        """Weights A of the rings' values and the covariance of what they leave, from the covariances C, X and R."""
        # (R + r I)^-1 by its whitening, which stays true where rings are dependent.
        regular = rings.clone()
        regular.diagonal().add_(self.params.ridge * rings.diagonal().mean())
        W = whitening(regular)
        weights = cross @ W.T @ W
        # Of these very residuals, whatever the ridge: C - A Xᵀ - X Aᵀ + A R Aᵀ.
        residual = own - weights @ cross.T - cross @ weights.T + weights @ rings @ weights.T
        return weights, regularised((residual + residual.T) / 2, self.params.residual_ridge)

    def _joint_moments(self, block: Tensor, window: Window) -> Statistics | None:
        """Moments of a pixel and both rings together, (3 band), over a piece; None where nothing is valid."""
        total: Statistics | None = None
        block = to_device(block, self.mean_.device)
        for square in squares(window, self.reach, block.device):
            part = block[:, square.outer_rows, square.outer_cols].double()
            together = torch.cat([part, *ring_means(part, self._sides, self.mean_)])
            spectra = spectra_of(together[(slice(None), *square.inner)])
            spectra = spectra[spectra.sum(dim=1).isfinite()]
            if len(spectra):
                moments = Statistics.of(spectra)
                total = moments if total is None else total.merge(moments)
        return total

    @torch.no_grad()
    def statistic(self, block: Tensor) -> Tensor:
        """Distance of the residual; see `ContrastDetector.statistic`."""
        distance = torch.empty(block.shape[1:], dtype=torch.float64, device=self.mean_.device)

        def one(part: Tensor, square: Window) -> None:
            distance[square.rows, square.cols] = mahalanobis(self._residual(part, square), None, self.whitening_)

        in_squares(block, self.reach, one)
        return distance

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor:
        """What the rings predict; see `Detector.explain`."""
        expected = torch.empty_like(block)

        def one(part: Tensor, square: Window) -> None:
            residual = self._residual(part, square).to(block)
            expected[:, square.rows, square.cols] = part[(slice(None), *square.inner)] - residual

        in_squares(block, self.reach, one)
        return expected

    def _residual(self, part: Tensor, square: Window) -> Tensor:
        """What is not predicted of a square (band, y, x) that comes with its halo; float64, NaN where invalid."""
        part = part.to(self.mean_.device, torch.float64)
        inner = (slice(None), *square.inner)
        around = torch.cat([ring[inner] for ring in ring_means(part, self._sides, self.mean_)]).flatten(1)
        expected = times(self.weights_, around - self.rings_mean_[:, None]) + self.mean_[:, None]
        own = part[inner]
        return torch.where(valid_pixels(own), own - expected.reshape(own.shape), torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - spectra are copied a square at a time
        """The distance and its local contrast; see `Detector.bytes_per_pixel`."""
        return 32

    def core_bytes(self, bands: int) -> int:
        """A square; see `Detector.core_bytes`."""
        return square_bytes(bands, self.reach, _COPIES)

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """A square and moments of three spectra a pixel, in each reading thread; see `Detector.fit_bytes`."""
        learning = READERS * (square_bytes(bands, self.reach, _COPIES, pixels) + 5 * 8 * (3 * bands) ** 2)
        return max(super().fit_bytes(bands, pixels), learning)

    def state(self) -> dict[str, Tensor]:
        """The regression and the whitening of its residual; see `Detector.state`."""
        learned = {
            "mean": self.mean_,
            "rings_mean": self.rings_mean_,
            "weights": self.weights_,
            "whitening": self.whitening_,
        }
        return {**learned, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.mean_, self.rings_mean_, self.weights_, self.whitening_ = (
            state[key].to(double_device(device)) for key in ("mean", "rings_mean", "weights", "whitening")
        )
        self.load_contrast_state(state, double_device(device))
        return self


def _split(covariance: Tensor, bands: int) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance of pixels, of pixels with rings, and of rings."""
    return covariance[:bands, :bands], covariance[:bands, bands:], covariance[bands:, bands:]
