"""RX in what is left of the spectra once the leading principal components are removed.

A. Schaum, "Hyperspectral anomaly detection beyond RX", Proc. SPIE 6565, 2007; called SSRX in S. Matteoli, M. Diani and
G. Corsini, "A tutorial overview of anomaly detection in hyperspectral images", IEEE Aerospace and Electronic Systems
Magazine 25(7), 2010, doi 10.1109/MAES.2010.5546306. The leading components hold what varies most in a background that
is no single Gaussian (illumination, kinds of ground); a distance along them says little of how rare a spectrum is.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.covariance import CovarianceParams, background_statistics, trim_bytes
from hadgeo.detectors.rx import conditioned
from hadgeo.detectors.whitening import eigenvectors, mahalanobis
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels


class SubspaceRXParams(CovarianceParams, ContrastParams):
    """Hyper-parameters of RX in a subspace."""

    basic = ("energy", "removed", "ridge")

    energy: float = Field(
        default=0.99,
        title="Energy removed",
        description="Remove as many leading principal components as hold this share of the variance, but not all; "
        "unless their number is given.",
        ge=0,
        lt=1,
    )
    removed: int | None = Field(
        default=None,
        title="Components removed",
        description="Remove this many leading principal components. Empty: as many as the energy says.",
        ge=0,
    )


class SubspaceRX(ContrastDetector[SubspaceRXParams]):
    """RX without the p leading principal components: the sum of (vᵢᵀ(x - m))² / λᵢ over i > p.

    Attributes:
        mean_: Mean spectrum, float64 (band).
        removed_: The principal components that are removed, as rows, float64 (p, band).
        whitening_: The others, each divided by the square root of its eigenvalue, float64 (rank - p, band).
        floor_: See `ContrastDetector`.
    """

    name = "subspace_rx"
    title = "Subspace RX (leading components removed)"
    Params = SubspaceRXParams
    best_at = "spectra that differ from mixtures of the common ones, in scenes of many materials"
    explained_by = "the spectrum as far as the removed components make it up"
    relative_cost = 1.0
    reach = 0

    mean_: Tensor
    removed_: Tensor
    whitening_: Tensor

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:
        """Learn mean and components in streamed passes; see `Detector.fit`."""
        device = double_device(device)
        statistics = background_statistics(sample, self.params, device=device)
        covariance, _ = conditioned(statistics, ridge=self.params.ridge, name=self.name, progress=progress)
        values, vectors = eigenvectors(covariance)
        # Largest first, and none that is 0 to working precision.
        values, vectors = values.flip(0), vectors.flip(1)
        keep = values > torch.finfo(torch.float64).eps * len(values) * values[0]
        values, vectors = values[keep], vectors[:, keep]
        # Beyond those that pixels span there is nothing but what shrinkage or a ridge has put there.
        p = self._count_removed(values, min(len(values), statistics.count - 1))
        self.mean_ = statistics.mean.to(device)
        self.removed_ = vectors[:, :p].T.contiguous().to(device)
        self.whitening_ = (vectors[:, p:] / values[p:].sqrt()).T.contiguous().to(device)

    def _count_removed(self, values: Tensor, spanned: int) -> int:
        """How many components to remove, of eigenvalues in descending order, so that one of those spanned is left."""
        removed = self.params.removed
        if removed is None:
            share = values.cumsum(0) / values.sum()
            return min(int((share < self.params.energy).sum()) + (self.params.energy > 0), spanned - 1)
        if removed >= spanned:
            raise FitError(
                f"{self.name}: removed={removed} leaves none of the {spanned} components of the scene; remove fewer"
            )
        return removed

    def statistic(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance in the remaining subspace; see `Detector.score`."""
        return mahalanobis(block.to(self.mean_.device), self.mean_, self.whitening_)

    def explain(self, block: Tensor) -> Tensor:
        """The mean, and what the removed components hold of each spectrum; see `Detector.explain`."""
        basis, mean = self.removed_.to(block), self.mean_.to(block)[:, None, None]
        along = torch.tensordot(basis, block - mean, dims=1)
        expected = mean + torch.tensordot(basis.T, along, dims=1)
        return torch.where(valid_pixels(block), expected, torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The distance alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """What trimming and local contrast take; see `Detector.fit_bytes`."""
        return max(super().fit_bytes(bands, pixels), trim_bytes(self.params, bands, pixels))

    def state(self) -> dict[str, Tensor]:
        """Mean and components; see `Detector.state`."""
        learned = {"mean": self.mean_, "removed": self.removed_, "whitening": self.whitening_}
        return {**learned, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        device = double_device(device)
        self.mean_, self.removed_, self.whitening_ = (state[key].to(device) for key in ("mean", "removed", "whitening"))
        self.load_contrast_state(state, device)
        return self
