"""The angle between a pixel's spectrum and the mean spectrum around it: blind to brightness, so shadows do not count.

The spectral angle is that of F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of
Environment 44(2-3), 1993, doi 10.1016/0034-4257(93)90013-N.
"""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Detector, Params
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels


class LocalAngleParams(Params):
    """Hyper-parameters of the local angle."""

    basic = ("guard",)

    guard: int = Field(
        default=5,
        title="Guard window",
        description="Side in pixels of the window that is no background, as large as a target and its blur; odd.",
        ge=1,
        le=51,
    )
    window: int = Field(
        default=15,
        title="Window",
        description="Side in pixels of the window whose mean is the background, without the guard window; odd.",
        ge=3,
        le=101,
    )

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if self.guard % 2 == 0 or self.window % 2 == 0 or self.guard >= self.window:
            raise ValueError("guard and window must be odd, and guard the smaller of them")
        return self


class LocalAngle(Detector[LocalAngleParams]):
    """Angle to the mean spectrum of a ring.

    Attributes:
        mean_: Mean spectrum of the scene, float64 (band), for pixels without a valid neighbour.
    """

    name = "local-angle"
    title = "Angle to the local mean spectrum"
    Params = LocalAngleParams
    best_at = "small targets of a colour that their surroundings lack, whatever the light"
    explained_by = "the mean spectrum of the ring around a pixel"

    mean_: Tensor

    @property
    def halo(self) -> int:
        """Half the window; see `Detector.halo`."""
        return self.params.window // 2

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:  # noqa: ARG002
        """Take the mean of the scene; see `Detector.fit`."""
        self.mean_ = sample.statistics(covariance=False).mean.to(double_device(device))
        return self

    def explain(self, block: Tensor) -> Tensor:
        """The mean of the ring around each pixel; see `Detector.explain`."""
        block = block.to(self.mean_)
        valid = valid_pixels(block)
        spectra, count = torch.where(valid, block, 0), valid[None].to(block)
        total, pixels = (ring_sums(x, self.params.guard, self.params.window) for x in (spectra, count))
        mean = torch.where(pixels > 0, total / pixels.clamp(min=1), self.mean_[:, None, None])
        return torch.where(valid, mean, torch.nan)

    def score(self, block: Tensor) -> Tensor:
        """The angle in radians, 0 to π; see `Detector.score`."""
        a, b = (F.normalize(spectra, dim=0) for spectra in (block.to(self.mean_), self.explain(block)))
        # Unlike the arc cosine, this is exact for small angles too.
        return 2 * torch.atan2((a - b).norm(dim=0), (a + b).norm(dim=0))

    def bytes_per_pixel(self, bands: int) -> int:
        """Some copies of the window in float64; see `Detector.bytes_per_pixel`."""
        return 8 * 6 * bands

    def state(self) -> dict[str, Tensor]:
        """The mean; see `Detector.state`."""
        return {"mean": self.mean_}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take it back; see `Detector.load_state`."""
        self.mean_ = state["mean"].to(double_device(device))
        return self


def ring_sums(x: Tensor, guard: int, window: int) -> Tensor:
    """Sums of (band, y, x) over the window around each pixel, without the guard window; nothing lies beyond x."""

    def box_sums(side: int) -> Tensor:
        rows = F.avg_pool2d(x, (side, 1), stride=1, padding=(side // 2, 0), divisor_override=1)
        return F.avg_pool2d(rows, (1, side), stride=1, padding=(0, side // 2), divisor_override=1)

    return box_sums(window) - box_sums(guard)
