"""The RX detector: the squared Mahalanobis distance of each spectrum to the scene.

I. S. Reed and X. Yu, "Adaptive multiple-band CFAR detection of an optical pattern with unknown spectral distribution",
IEEE Trans. Acoustics, Speech and Signal Processing 38(10), 1990, doi 10.1109/29.60107.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.cores import map_cores
from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Detector, Params
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, Statistics, valid_pixels

#: Spectra whitened at a time, elsewhere and on a CPU, where their copies then stay in its cache.
_CHUNK_PIXELS = (2**16, 2**10)


class RXParams(Params):
    """Hyper-parameters of RX."""

    basic = ("shrinkage",)

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


class RX(Detector[RXParams]):
    """Global RX: (x - m)ᵀ C⁻¹ (x - m), with the mean m and covariance C of the whole scene (Reed and Yu 1990, eq. 31).

    Attributes:
        mean_: Mean spectrum, float64 (band).
        whitening_: Matrix W with WᵀW = C⁻¹ (the pseudo-inverse where C is singular), float64 (rank, band).
        shrinkage_: The shrinkage that was used.
    """

    name = "rx"
    title = "RX (Reed-Xiaoli)"
    Params = RXParams
    halo = 0

    mean_: Tensor
    whitening_: Tensor
    shrinkage_: float

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Learn mean and covariance in one streamed pass; see `Detector.fit`."""
        statistics = sample.statistics(covariance=True, pixels=self.params.sample)
        bands = sample.bands
        self.shrinkage_ = self.params.shrinkage or 0.0
        if self.params.shrinkage is None and statistics.count <= bands:
            self.shrinkage_ = rao_blackwell_ledoit_wolf(statistics)
            progress.message(
                f"rx: {statistics.count} valid pixels do not determine the covariance of {bands} bands; "
                f"shrunk by {self.shrinkage_:.3f}"
            )
        covariance = statistics.covariance
        sphere = covariance.diagonal().mean()
        if not sphere > 0:
            raise FitError("rx: all valid pixels are equal, so there is nothing to detect; check the input and --bands")
        covariance = (1 - self.shrinkage_) * covariance
        covariance.diagonal().add_(self.shrinkage_ * sphere)
        self.mean_ = statistics.mean.to(double_device(device))
        self.whitening_ = whitening(covariance).to(double_device(device))
        return self

    def score(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance; see `Detector.score`."""
        return mahalanobis(block.to(self.mean_.device), self.mean_, self.whitening_)

    def explain(self, block: Tensor) -> Tensor:
        """The mean spectrum of the scene, everywhere; see `Detector.explain`."""
        valid = valid_pixels(block)
        mean = self.mean_.to(block)[:, None, None]
        return torch.where(valid, mean, torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The distance alone; see `Detector.bytes_per_pixel`."""
        return 8

    def state(self) -> dict[str, Tensor]:
        """Mean and whitening; see `Detector.state`."""
        return {"mean": self.mean_, "whitening": self.whitening_, "shrinkage": torch.tensor(self.shrinkage_)}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.mean_ = state["mean"].to(double_device(device))
        self.whitening_ = state["whitening"].to(double_device(device))
        self.shrinkage_ = float(state["shrinkage"])
        return self


def whitening(covariance: Tensor) -> Tensor:
    """A matrix W with WᵀW = C⁻¹, or C⁺ where C is singular to working precision.

    Args:
        covariance: Symmetric, positive semi-definite, float64 (band, band).

    Returns:
        Float64 (rank, band).
    """
    # Bands of very different scale (radiance beside reflectance) would look singular: judge the correlation instead.
    scale = covariance.diagonal().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    correlation = covariance / torch.outer(scale, scale)
    factor, info = torch.linalg.cholesky_ex(correlation)
    epsilon = torch.finfo(torch.float64).eps * covariance.shape[0]
    if int(info) == 0 and float(factor.diagonal().min()) ** 2 > epsilon:
        identity = torch.eye(covariance.shape[0], dtype=torch.float64, device=covariance.device)
        inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False) / scale
        return inverse
    values, vectors = torch.linalg.eigh(covariance)
    keep = values > epsilon * values.max()
    scaled: Tensor = vectors[:, keep] / values[keep].sqrt()
    return scaled.T.contiguous()


def mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of each pixel.

    Args:
        block: (band, y, x).
        mean: (band), of the precision in which to compute; None where the block is centred already.
        whitening: (rank, band); see `whitening`.

    Returns:
        (y, x); NaN where a band is NaN.
    """
    _, rows, cols = block.shape
    step = max(1, _CHUNK_PIXELS[block.device.type == "cpu"] // cols)
    # One array for all: small ones kept between large ones that come and go would tear the heap apart.
    distance = torch.empty((rows, cols), dtype=whitening.dtype, device=block.device)

    @torch.no_grad()
    def one(row: int) -> None:
        part = slice(row, row + step)
        distance[part] = _mahalanobis(block[:, part], mean, whitening).reshape(-1, cols)

    map_cores(one, range(0, rows, step), block.device)
    return distance


def _mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    if block.stride(0) == 1:
        # BIP: spectra are contiguous; transposing the small matrix instead of the cube saves a pass over memory.
        spectra = block.permute(1, 2, 0).flatten(0, 1)
        centred = spectra if mean is None else spectra - mean
        distance: Tensor = (centred @ whitening.T).square_().sum(dim=1)
        return distance
    spectra = block.flatten(1)
    centred = spectra if mean is None else spectra - mean[:, None]
    return (whitening @ centred).square_().sum(dim=0)


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
