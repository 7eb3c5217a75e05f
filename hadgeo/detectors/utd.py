"""The uniform target detector, and its difference to RX.

E. A. Ashton and A. Schaum, "Algorithms for the detection of sub-pixel targets in multispectral imagery",
Photogrammetric Engineering and Remote Sensing 64(7), 1998; in the form of C.-I Chang and S.-S. Chiang, "Anomaly
detection and classification for hyperspectral imagery", IEEE Trans. Geoscience and Remote Sensing 40(6), 2002,
doi 10.1109/TGRS.2002.800280.

Both are linear in what they look for, and signed: a pixel may lack of the uniform target what another has. So there is
no local contrast, which divides by the median of a score that is at least 0.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Detector
from hadgeo.detectors.covariance import CovarianceParams, background_statistics, trim_bytes
from hadgeo.detectors.rx import conditioned
from hadgeo.detectors.tiles import SIDE, each_tile
from hadgeo.detectors.whitening import whitening
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels


class UTDParams(CovarianceParams):
    """Hyper-parameters of the uniform target detector."""

    basic = ("level", "ridge", "robust")

    level: float | None = Field(
        default=None,
        title="Level of the uniform target",
        description="Value of the uniform target in every band, in units of the input: the 1 of the formula. It is "
        "published as 1, for reflectance; 10000 is the same for reflectance times 10,000. Empty: about the brightest "
        "of the scene, the median over the bands of their largest values, which suits any unit.",
        ge=-1e9,
        le=1e9,
    )


class UTD(Detector[UTDParams]):
    """Uniform target detector: (1 - m)ᵀ C⁻¹ (x - m), with the mean m and covariance C of the scene.

    The matched filter for a target about which nothing is known, so that it is as bright
    in one band as in any other. The 1 is a spectrum, whose meaning depends on the units of the input: of reflectance it
    is a perfectly white surface, of reflectance times 10,000 it is black. Here it is a multiple of the vector of
    ones, by default as bright as the brightest of the scene, and the scores do not depend on the units.

    Attributes:
        mean_: Mean spectrum, float64 (band).
        whitening_: As of `RX`, float64 (rank, band).
        level_: Value of the uniform target in every band, a scalar.
    """

    name = "utd"
    title = "UTD (uniform target detector)"
    Params = UTDParams
    best_at = "spectra brighter than the scene in all bands alike"
    explained_by = "the mean spectrum of the scene"
    relative_cost = 0.9

    mean_: Tensor
    whitening_: Tensor
    level_: Tensor

    @property
    def halo(self) -> int:
        """None: each pixel by itself; see `Detector.halo`."""
        return 0

    @property
    def grid(self) -> int:
        """A tile; see `hadgeo.detectors.tiles`."""
        return SIDE

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Learn mean and covariance in streamed passes; see `Detector.fit`."""
        device = double_device(device)
        statistics = background_statistics(sample, self.params, device=device)
        covariance, _ = conditioned(statistics, ridge=self.params.ridge, name=self.name, progress=progress)
        level = self.params.level
        self.level_ = statistics.maximum.median() if level is None else torch.tensor(level, dtype=torch.float64)
        self.level_ = self.level_.to(device)
        self.mean_ = statistics.mean.to(device)
        self.whitening_ = whitening(covariance).to(device)
        return self

    def score(self, block: Tensor) -> Tensor:
        """The matched filter; see `Detector.score`."""
        filter_ = self.whitening_.T @ (self.whitening_ @ (self.level_ - self.mean_))
        return each_tile(block.to(self.mean_.device), lambda spectra: (spectra - self.mean_) @ filter_)

    def explain(self, block: Tensor) -> Tensor:
        """The mean spectrum of the scene, everywhere; see `Detector.explain`."""
        return torch.where(valid_pixels(block), self.mean_.to(block)[:, None, None], torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The score alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """What trimming takes; see `Detector.fit_bytes`."""
        return max(super().fit_bytes(bands, pixels), trim_bytes(self.params, bands, pixels))

    def state(self) -> dict[str, Tensor]:
        """Mean, whitening and level; see `Detector.state`."""
        return {"mean": self.mean_, "whitening": self.whitening_, "level": self.level_}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        device = double_device(device)
        self.mean_, self.whitening_, self.level_ = (state[key].to(device) for key in ("mean", "whitening", "level"))
        return self


class RXDUTDParams(UTDParams):
    """Hyper-parameters of the difference of RX and the uniform target detector."""

    level: float | None = Field(
        default=0.0,
        title="Level of the uniform target",
        description="Value of the uniform target in every band, in units of the input: the 1 of the formula. 0 is what "
        "a 1 amounts to in radiance or in reflectance times 10,000. Empty: about the brightest of the scene, the "
        "median over the bands of their largest values.",
        ge=-1e9,
        le=1e9,
    )


class RXDUTD(UTD):
    """Difference of RX and the uniform target detector: (x - 1)ᵀ C⁻¹ (x - m).

    What is far from the scene, and not in the way in which the uniform target is. The brighter that is, the more the
    linear part outweighs RX, and hides what RX finds. So the default is black, which the published 1 nearly is in the
    units of most scenes, and which does not depend on the units either.
    """

    name = "rxd_utd"
    title = "RXD-UTD (RX less the uniform target detector)"
    Params = RXDUTDParams
    best_at = "rare spectra other than the brightest ones"
    relative_cost = 1.0

    def score(self, block: Tensor) -> Tensor:
        """RX less the matched filter; see `Detector.score`."""
        target = self.whitening_ @ (self.level_ - self.mean_)

        def difference(spectra: Tensor) -> Tensor:
            white = (spectra - self.mean_) @ self.whitening_.T
            return ((white - target) * white).sum(dim=1)

        return each_tile(block.to(self.mean_.device), difference)
