"""The RX detector: the squared Mahalanobis distance of each spectrum to the scene.

I. S. Reed and X. Yu, "Adaptive multiple-band CFAR detection of an optical pattern with unknown spectral distribution",
IEEE Trans. Acoustics, Speech and Signal Processing 38(10), 1990, doi 10.1109/29.60107.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.covariance import CovarianceParams, background_statistics, regularised, trim_bytes
from hadgeo.detectors.precision import precision_name
from hadgeo.detectors.whitening import as_precise, mahalanobis, whitening
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, Statistics, valid_pixels


class RXParams(CovarianceParams, ContrastParams):
    """Hyper-parameters of RX."""

    basic = ("ridge", "shrinkage", "robust")

    shrinkage: float | None = Field(
        default=None,
        title="Shrinkage",
        description="Weight of the spherical target in the covariance, (1 - a) C + a tr(C)/B I. Empty: 0 while there "
        "are more valid pixels than bands, else the Rao-Blackwell Ledoit-Wolf estimate.",
        ge=0,
        le=1,
    )
    sample: int | None = Field(
        default=None,
        title="Sampled pixels",
        description="Estimate mean and covariance from about this many pixels, evenly spread, instead of all of them.",
        ge=2,
    )


class RX(ContrastDetector[RXParams]):
    """Global RX: (x - m)ᵀ C⁻¹ (x - m), with the mean m and covariance C of the whole scene (Reed and Yu 1990, eq. 31).

    Attributes:
        mean_: Mean spectrum, float64 (band).
        whitening_: Matrix W with WᵀW = C⁻¹ (the pseudo-inverse where C is singular), float64 (rank, band).
        shrinkage_: The shrinkage that was used.
        floor_: See `ContrastDetector`.
    """

    name = "rx"
    title = "RX (Reed-Xiaoli)"
    Params = RXParams
    best_at = "spectra that are rare in the whole scene, targets smaller than a pixel among them"
    explained_by = "the mean spectrum of the scene"
    relative_cost = 1.0
    reach = 0

    mean_: Tensor
    whitening_: Tensor
    shrinkage_: float

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:
        """Learn mean and covariance in one streamed pass; see `Detector.fit`."""
        statistics = background_statistics(sample, self.params, device=device, pixels=self.params.sample)
        covariance, self.shrinkage_ = conditioned(
            statistics, ridge=self.params.ridge, shrinkage=self.params.shrinkage, name=self.name, progress=progress
        )
        self.mean_ = statistics.mean.to(double_device(device))
        self._take(whitening(covariance).to(double_device(device)))

    def _take(self, whitening: Tensor) -> None:
        self.whitening_, self._whitening = whitening, as_precise(whitening)

    @property
    def precision(self) -> str:
        """Of the distances; see `Detector.precision` and `hadgeo.detectors.whitening.as_precise`."""
        return precision_name(self._whitening.dtype)

    def statistic(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance; see `Detector.score`."""
        return mahalanobis(block.to(self.mean_.device), self.mean_, self._whitening)

    def explain(self, block: Tensor) -> Tensor:
        """The mean spectrum of the scene, everywhere; see `Detector.explain`."""
        valid = valid_pixels(block)
        mean = self.mean_.to(block)[:, None, None]
        return torch.where(valid, mean, torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The distance alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """What trimming and local contrast take; see `Detector.fit_bytes`."""
        return max(super().fit_bytes(bands, pixels), trim_bytes(self.params, bands, pixels))

    def state(self) -> dict[str, Tensor]:
        """Mean and whitening; see `Detector.state`."""
        learned = {"mean": self.mean_, "whitening": self.whitening_, "shrinkage": torch.tensor(self.shrinkage_)}
        return {**learned, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.mean_ = state["mean"].to(double_device(device))
        self._take(state["whitening"].to(double_device(device)))
        self.shrinkage_ = float(state["shrinkage"])
        self.load_contrast_state(state, double_device(device))
        return self


def conditioned(
    statistics: Statistics, *, ridge: float, shrinkage: float | None = None, name: str, progress: Progress = SILENT
) -> tuple[Tensor, float]:
    """A covariance that can be inverted: shrunk, and with a ridge.

    Args:
        statistics: Moments of the scene.
        ridge: As in `CovarianceParams`.
        shrinkage: Weight of the spherical target, (1 - a) C + a tr(C)/B I; None: 0 while there is a ridge or there are
            more valid pixels than bands, else the Rao-Blackwell Ledoit-Wolf estimate.
        name: The detector, for messages.
        progress: Is told if the covariance had to be shrunk.

    Returns:
        The covariance, float64 (band, band), and the shrinkage that was used.

    Raises:
        FitError: All pixels are equal.
    """
    covariance = statistics.covariance
    bands = len(covariance)
    weight = shrinkage or 0.0
    if shrinkage is None and not ridge and statistics.count <= bands:
        weight = rao_blackwell_ledoit_wolf(statistics)
        progress.message(
            f"{name}: {statistics.count} valid pixels do not determine the covariance of {bands} bands; "
            f"shrunk by {weight:.3f}"
        )
    sphere = covariance.diagonal().mean()
    if not sphere > 0:
        raise FitError(
            f"{name}: all valid pixels are equal, so there is nothing to detect; check the input and --bands"
        )
    covariance = (1 - weight) * covariance
    covariance.diagonal().add_(weight * sphere)
    return regularised(covariance, ridge), weight


def rao_blackwell_ledoit_wolf(statistics: Statistics) -> float:
    """The shrinkage weight that minimises the expected squared error for Gaussian spectra.

    Y. Chen, A. Wiesel, Y. Eldar and A. Hero, "Shrinkage algorithms for MMSE covariance estimation",
    IEEE Trans. Signal Processing 58(10), 2010, eq. 17. It needs two traces of the covariance alone.

    Args:
        statistics: Count and scatter matrix.

    Returns:
        A weight in [0, 1].
    """
    n = statistics.count
    S = statistics.scatter / n
    p = S.shape[0]
    trace = float(S.diagonal().sum())
    trace_of_square = float(S.square().sum())
    excess = trace_of_square - trace**2 / p
    if excess <= 0:
        return 1.0
    return min(1.0, ((n - 2) / n * trace_of_square + trace**2) / ((n + 2) * excess))
