"""Detectors whose scores can be judged against what is usual around each pixel; see `hadgeo.detectors.cfar`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from hadgeo.detectors.base import Detector, Params
from hadgeo.detectors.cfar import local_contrast
from hadgeo.detectors.tiles import SIDE
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample

#: Pixels of the crops whose scores tell what is usual in a scene, and the side of a crop beside its halo.
_USUAL_PIXELS, _USUAL_SIDE = 2**16, 64


class ContrastParams(Params):
    """Hyper-parameters of a detector whose scores can be divided by their local median."""

    cfar_window: int | None = Field(
        default=None,
        title="CFAR window",
        description="Divide each score by the median score of a window of this many pixels a side; odd, and such that "
        "a target fills less than half of it. Empty: leave scores as they are.",
        ge=3,
        le=101,
    )

    @field_validator("cfar_window")
    @classmethod
    def _odd(cls, value: int | None) -> int | None:
        if value is not None and value % 2 == 0:
            raise ValueError("cfar_window must be odd, so that it has a centre")
        return value


class ContrastByDefaultParams(ContrastParams):
    """The same, where scores are divided by it unless somebody says otherwise."""

    cfar_window: int | None = Field(
        default=15,
        title="CFAR window",
        description="Divide each score by the median score of a window of this many pixels a side; odd, and such that "
        "a target fills less than half of it. Empty: leave scores as they are.",
        ge=3,
        le=101,
    )


ContrastParamsT = TypeVar("ContrastParamsT", bound=Params)


class ContrastDetector(Detector[ContrastParamsT]):
    """A detector whose statistic, which is at least 0, may be divided by its local median.

    A subclass says how it learns and what its statistic is; halo, local contrast and what that needs to know of the
    scene are the same for all.

    Attributes:
        floor_: Median of the statistic over the scene, a scalar; 0 where there is no local contrast.
    """

    floor_: Tensor

    @property
    def contrast_window(self) -> int:
        """Side of the window of the local median in pixels; 0 for none."""
        return getattr(self.params, "cfar_window", None) or 0

    @property
    @abstractmethod
    def reach(self) -> int:
        """Pixels of true neighbours on each side that the statistic needs."""

    @property
    def halo(self) -> int:
        """Reach of the statistic, and of the local median; see `Detector.halo`."""
        return self.reach + self.contrast_window // 2

    @property
    def grid(self) -> int:
        """A tile; see `hadgeo.detectors.tiles`."""
        return SIDE

    @abstractmethod
    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Tensor | None:
        """Learn all that the statistic needs.

        Args:
            sample: The pixels to learn from.
            device: Where to compute.
            progress: As for `Detector.fit`.

        Returns:
            The statistic of pixels spread over the scene, in any shape, NaN where invalid, where it is at hand; None to
            have it computed.

        Raises:
            FitError: The pixels do not determine a background.
            Cancelled: `progress` asked for it.
        """

    @abstractmethod
    def statistic(self, block: Tensor) -> Tensor:
        """Score a window before local contrast; as `Detector.score`, on the device of the fit."""

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Learn the background, and what is usual of the statistic; see `Detector.fit`."""
        usual = self.learn(sample, device=device, progress=progress)
        if usual is None and self.contrast_window:
            usual = self._usual(sample, device)
        self.floor_ = torch.zeros((), device=device) if usual is None else usual[usual.isfinite()].median()
        return self

    @torch.no_grad()
    def score(self, block: Tensor) -> Tensor:
        """The statistic, or its local contrast; see `Detector.score`."""
        statistic = self.statistic(block)
        if not self.contrast_window:
            return statistic
        return local_contrast(statistic, window=self.contrast_window, floor=self.floor_.to(statistic))

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """As by default, or the crops that tell what is usual, and a copy of them; see `Detector.fit_bytes`."""
        crops = 2 * 4 * bands * min(pixels, _USUAL_PIXELS) if self.contrast_window else 0
        return max(super().fit_bytes(bands, pixels), crops)

    @torch.no_grad()
    def _usual(self, sample: Sample, device: torch.device) -> Tensor:
        crops = sample.crops(size=_USUAL_SIDE + 2 * self.reach, pixels=_USUAL_PIXELS, seed=0)
        return torch.cat([self.statistic(crop.to(device)).flatten() for crop in crops])

    def contrast_state(self) -> dict[str, Tensor]:
        """The part of `Detector.state` that local contrast needs."""
        return {"floor": self.floor_} if self.contrast_window else {}

    def load_contrast_state(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Take it back; see `Detector.load_state`."""
        self.floor_ = state.get("floor", torch.zeros(())).to(device)
