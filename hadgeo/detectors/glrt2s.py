"""Two-step GLRT: a test for targets of several pixels, whose spectrum and pattern are both unknown.

J. Liu, Z. Hou, W. Li, R. Tao, D. Orlando and H. Li, "Multipixel anomaly detection with unknown patterns for
hyperspectral imagery", IEEE Trans. Neural Networks and Learning Systems 33(10), 2022, doi 10.1109/TNNLS.2021.3071026.
(The detector of J. Liu, Y. Feng, W. Liu, D. Orlando and H. Li, "Training data assisted anomaly detection of multi-pixel
targets in hyperspectral imagery", IEEE Trans. Signal Processing 68, 2020, is a near relative, but needs to know how a
target is spread over its pixels.)

The formula here was derived from the model, and compared with the program that the authors published; the text of the
paper was not at hand. The K pixels of the inner window, less the background's mean, are the columns of X. Under the
null hypothesis they are independent and Gaussian with covariance R; otherwise they hold a bᵀ besides, with a spectrum a
and a pattern b that are both unknown. Step one: with R known, the likelihood is greatest for the best approximation of
R^(-1/2) X of rank one (C. Eckart and G. Young, Psychometrika 1, 1936), so twice the logarithm of the likelihood ratio
is the square of its largest singular value,

    λ_max(Xᵀ R⁻¹ X).

Step two: an estimate of R from the surroundings takes its place.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hadgeo.detectors.dual_window import whitened
from hadgeo.detectors.ring_rx import RingDetector, RingParams
from hadgeo.detectors.rings import in_squares, ring_means
from hadgeo.windows import Window

#: Values of stacked blocks at a time.
_STACKED_VALUES = 2**22


class GLRT2SParams(RingParams):
    """Hyper-parameters of the two-step GLRT."""

    basic = ("inner_window", "outer_window", "covariance", "ridge")

    inner_window: int = Field(
        default=3,
        title="Inner window",
        description="Side in pixels of the block around each pixel that is tested as one and is not background; odd, "
        "and about as large as the targets.",
        ge=1,
        le=21,
    )
    taper: float = Field(
        default=0.1,
        title="Taper",
        description="By what share less than the middle one pixels at the rim of the block count, so that a map peaks "
        "in the middle of a target; 0 as published, where a target shows as a patch as large as the block.",
        ge=0,
        lt=1,
    )

    @property
    def tested(self) -> int:
        """The inner window; see `RingParams.tested`."""
        return self.inner_window


class GLRT2S(RingDetector[GLRT2SParams]):
    """The two-step GLRT: the largest eigenvalue λ of Xᵀ R⁻¹ X, X the block of pixels in the inner window.

    Both the background's mean and, with covariance 'local', R are those of the ring around the block, as for
    `hadgeo.detectors.local_rx.LocalRX`, whose statistic this is for a block of a single pixel. Invalid pixels of a
    block are left out.

    λ is the same for all blocks that hold the same target, and a map of it a plateau around each. So the squares of
    pixels are weighted with 1 - taper · distance, the distance from the middle in units of that of the rim.
    """

    name = "glrt2s"
    title = "Two-step GLRT (multi-pixel targets)"
    Params = GLRT2SParams
    best_at = "targets of several pixels that share a spectrum"
    explained_by = "the mean spectrum of the ring around the pixel"
    relative_cost = 9.7

    def statistic(self, block: Tensor) -> Tensor:
        """What the block around each pixel says; see `Detector.score`."""
        block = block.to(self.mean_.device)
        if self.params.covariance == "local":
            return self.rings(block).forms(self.params.inner_window, self._of_forms)
        score = torch.empty(block.shape[1:], dtype=self.mean_.dtype, device=block.device)

        def one(part: Tensor, window: Window) -> None:
            spectra = whitened(part, self.mean_, self.whitening_)
            means = ring_means(spectra, self.params.sides, spectra.new_zeros(len(spectra)))[0]
            score[window.rows, window.cols] = self._of_tile(spectra, means)[window.inner]

        in_squares(block, self.reach, one)
        return score

    def _of_tile(self, spectra: Tensor, means: Tensor) -> Tensor:
        """Scores (y, x) of a tile, from whitened spectra, NaN where invalid, and means of rings, each (band, y, x)."""
        bands, rows, cols = spectra.shape
        side = self.params.inner_window
        around = [side // 2] * 4
        padded = F.pad(spectra, around, value=torch.nan)
        step = max(1, _STACKED_VALUES // (side**2 * bands * cols))
        scores = []
        for row in range(0, rows, step):
            mean = means[:, row : row + step]
            strip = padded[:, row : row + mean.shape[1] + side - 1]
            stacked = strip.unfold(1, side, 1).unfold(2, side, 1).flatten(3) - mean[..., None]
            block = stacked.nan_to_num(0.0).permute(1, 2, 3, 0).contiguous()
            scores.append(self._of_forms(block @ block.mT))
        return torch.cat(scores)

    def _of_forms(self, forms: Tensor) -> Tensor:
        """Scores from inner products of all pixels of a block, (..., K, K), 0 for pixels that are left out."""
        reach = self.params.inner_window // 2
        if not reach:
            return forms[..., 0, 0]
        span = torch.arange(-reach, reach + 1, device=forms.device).abs()
        distance = torch.maximum(span[:, None], span).flatten().to(forms) / reach
        weight = (1 - self.params.taper * distance).sqrt()
        largest: Tensor = torch.linalg.eigvalsh(forms * torch.outer(weight, weight))[..., -1]
        return largest.clamp(min=0)
