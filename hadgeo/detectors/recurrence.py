"""Recurrence: how much a spectrum resembles the strongest anomalies at other places of the scene.

What does not belong in a scene seldom comes alone: vehicles of one make, roofs of one paint, outcrops of one mineral.
Noise and mixed pixels stand out just as far, each in a direction of its own. So a few exemplars are taken from the
strongest anomalies, far enough apart not to be pieces of one object, and a pixel is scored by how alike it is to them,
and by how few others are. Likeness is the cosine of the angle in whitened space, whose square is the adaptive cosine
estimator (S. Kraut, L. L. Scharf and L. T. McWhorter, "Adaptive subspace detectors", IEEE Trans. Signal Processing
49(1), 2001, doi 10.1109/78.890324). The most alike exemplar may be the pixel itself, or lie on the same object; the
second is elsewhere, and it is the one that counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.cores import one_core
from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Detector, Params
from hadgeo.detectors.covariance import regularised
from hadgeo.detectors.tiles import SIDE, each_tile
from hadgeo.detectors.whitening import whitening
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import POOL_PIXELS, Sample, spectra_of, valid_pixels

#: Exemplars that are taken even where fewer pixels are rare: in a small scene, rare is less than one.
_LEAST = 8

#: Steps between cosines of 0 and 1: what lies between two counts as the lower one.
_CELLS = 1024

#: Pixels whose cosines to all exemplars are held at a time, to learn how rare they are.
_COUNTED = 2**14


class RecurrenceParams(Params):
    """Hyper-parameters of recurrence."""

    basic = ("exemplars", "spacing")

    exemplars: int = Field(
        default=64,
        title="Exemplars",
        description="The most anomalies that spectra are compared with.",
        ge=2,
        le=4096,
    )
    spacing: int = Field(
        default=12,
        title="Spacing",
        description="Pixels on each side of an exemplar among which it is the strongest anomaly; as long as the "
        "longest object, whose parts would vouch for each other.",
        ge=1,
        le=128,
    )
    rare: float = Field(
        default=0.002,
        title="Rare share",
        description="Exemplars are taken from the strongest pixels of the scene, so large a share of all.",
        gt=0,
        le=1,
    )
    ridge: float = Field(
        default=1e-4,
        title="Ridge",
        description="What is added to each eigenvalue of the scene's covariance, in units of their mean; it keeps "
        "directions that hold hardly anything but noise from outweighing all others.",
        ge=0,
        le=1000,
    )


class Recurrence(Detector[RecurrenceParams]):
    """The second largest likeness of a spectrum to an exemplar, of c · -ln p.

    With W such that WᵀW = C⁻¹, c = (W (x - m))ᵀ W (e - m) / (|W (x - m)| |W (e - m)|) is the cosine between spectrum x
    and exemplar e, 0 where it is negative, and p the share of the scene's pixels with as large a cosine to that
    exemplar: what resembles one is common in some scenes. It is made to be a part of a fusion, whose other parts'
    evidence says which pixels are strong.

    Attributes:
        mean_: Mean spectrum m of the scene, float64 (band).
        whitening_: W, of the scene's covariance C with a ridge, float64 (rank, band).
        exemplars_: Whitened exemplars of length 1, the strongest first, float64 (exemplar, rank).
        likeness_: c · -ln p of each at cosines from 0 to 1 that are evenly spaced, float64 (exemplar, cosine).
    """

    name = "recurrence"
    title = "Recurrence (likeness to anomalies elsewhere)"
    Params = RecurrenceParams
    best_at = "targets of which there are several in the scene"

    mean_: Tensor
    whitening_: Tensor
    exemplars_: Tensor
    likeness_: Tensor

    @property
    def halo(self) -> int:
        """None: a pixel is scored by itself; see `Detector.halo`."""
        return 0

    @property
    def grid(self) -> int:
        """A tile; see `hadgeo.detectors.tiles`."""
        return SIDE

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:  # noqa: ARG002
        """Refuse: somebody else has to say what is anomalous.

        Raises:
            FitError: Always.
        """
        raise FitError(
            f"{self.name} looks at what other detectors find; make it the last part of a fusion, such as "
            f"-d fusion -p 'parts=rx + {self.name}'"
        )

    @one_core()
    @torch.no_grad()
    def fit_to(self, sample: Sample, crops: Sequence[Tensor], strengths: Sequence[Tensor]) -> Self:
        """Learn the background, and take exemplars from the anomalies that others have found.

        Args:
            sample: The pixels to learn the background from.
            crops: Pieces of the scene (band, y, x), NaN where invalid, on the device to compute on; at least one pixel
                of them is valid.
            strengths: How anomalous their pixels are, float64 (y, x).

        Raises:
            FitError: The pixels do not determine a background.
        """
        device = double_device(crops[0].device)
        statistics = sample.statistics(pixels=POOL_PIXELS)
        self.mean_ = statistics.mean.to(device)
        self.whitening_ = whitening(regularised(statistics.covariance, self.params.ridge)).to(device)
        found = [
            torch.where(valid_pixels(crop).to(device), strength, -torch.inf)
            for crop, strength in zip(crops, strengths, strict=True)
        ]
        peaks = [_peaks(strength, self.params.spacing) for strength in found]
        spectra = torch.cat([crop[:, peak.to(crop.device)].T for crop, peak in zip(crops, peaks, strict=True)])
        heights = torch.cat([strength[peak] for strength, peak in zip(found, peaks, strict=True)])
        everywhere = torch.cat([strength[strength > -torch.inf] for strength in found])
        rare = everywhere.topk(math.ceil(self.params.rare * len(everywhere))).values[-1]
        count = min(max(_LEAST, int((heights >= rare).sum())), self.params.exemplars)
        highest = heights.argsort(descending=True, stable=True)[:count]
        white = self._white(spectra[highest.to(spectra.device)])
        self.exemplars_ = F.normalize(white[white.any(dim=1)])
        cosines = torch.arange(_CELLS + 1, dtype=torch.float64, device=device) / _CELLS
        self.likeness_ = cosines * self._rarity(crops)
        return self

    def _rarity(self, crops: Sequence[Tensor]) -> Tensor:
        """-ln of the share of pixels that are at least as alike to an exemplar as each of the cosines."""
        counts = self.exemplars_.new_zeros((len(self.exemplars_), _CELLS + 1))
        for crop in crops:
            for rows in torch.split(crop, max(1, _COUNTED // crop.shape[2]), dim=1):
                cells = self._cells(self._cosines(spectra_of(rows)[valid_pixels(rows).flatten()]))
                counts += cells.flatten().bincount(minlength=counts.numel()).view(counts.shape)
        reached = counts.flip(1).cumsum(dim=1).flip(1)
        return -(reached.clamp(min=1.0) / reached[:, :1].clamp(min=1.0)).log()

    def _white(self, spectra: Tensor) -> Tensor:
        """Spectra (pixel, band) less the mean, whitened."""
        return (spectra.to(self.mean_) - self.mean_) @ self.whitening_.T

    def _cosines(self, spectra: Tensor) -> Tensor:
        """Cosines of all exemplars to spectra (pixel, band), float32 (exemplar, pixel), in [0, 1]."""
        return (self.exemplars_.float() @ F.normalize(self._white(spectra)).float().T).clamp_(0.0, 1.0)

    def _cells(self, cosines: Tensor) -> Tensor:
        """The number in `likeness_` of the last cosine that is not above each of (exemplar, pixel); 0 for NaN."""
        rows = torch.arange(len(cosines), device=cosines.device)[:, None] * (_CELLS + 1)
        return rows + (cosines * _CELLS).nan_to_num_(0.0).long()

    def _score(self, spectra: Tensor) -> Tensor:
        """Of spectra (pixel, band), (pixel)."""
        if len(self.exemplars_) < 2:
            # There is no other place.
            return self.mean_.new_zeros(len(spectra))
        likeness = self.likeness_.float().take(self._cells(self._cosines(spectra)))
        return _second_largest(likeness).to(self.mean_).where(spectra.sum(dim=1).isfinite(), torch.nan)

    @torch.no_grad()
    def score(self, block: Tensor) -> Tensor:
        """Likeness to the second most alike exemplar, at least 0; see `Detector.score`."""
        return each_tile(block.to(self.mean_.device), self._score)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The score alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """The pieces of the scene in which exemplars are looked for; see `Detector.fit_bytes`."""
        return 4 * bands * min(pixels, POOL_PIXELS)

    def state(self) -> dict[str, Tensor]:
        """Background and exemplars; see `Detector.state`."""
        background = {"mean": self.mean_, "whitening": self.whitening_}
        return {**background, "exemplars": self.exemplars_, "likeness": self.likeness_}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        device = double_device(device)
        self.mean_, self.whitening_, self.exemplars_, self.likeness_ = (
            state[key].to(device) for key in ("mean", "whitening", "exemplars", "likeness")
        )
        return self


def _peaks(strength: Tensor, spacing: int) -> Tensor:
    """Where (y, x) holds the largest value within so many pixels, and one that is larger than -inf."""
    around = strength[None]
    for window in ((2 * spacing + 1, 1), (1, 2 * spacing + 1)):
        around = F.max_pool2d(around, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    return (strength == around[0]) & (strength > -torch.inf)


def _second_largest(values: Tensor) -> Tensor:
    """Of values that are at least 0, along the first of two dimensions; torch's own sorts each column by itself."""
    first, second = values, torch.zeros_like(values)
    while len(first) > 1:
        if len(first) % 2:
            first, second = (F.pad(each, (0, 0, 0, 1)) for each in (first, second))
        (a, b), (c, d) = first.chunk(2), second.chunk(2)
        first, second = torch.maximum(a, b), torch.maximum(torch.minimum(a, b), torch.maximum(c, d))
    return second[0]
