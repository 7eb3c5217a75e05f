"""Local RX: the distance of each spectrum to the ring of pixels around it.

The ring between an inner window, in which the target may lie, and an outer window is the background of its pixel
(dual-window RX; H. Kwon, S. Z. Der and N. M. Nasrabadi, "Adaptive anomaly detection using subspace separation for
hyperspectral imagery", Optical Engineering 42(11), 2003, doi 10.1117/1.1614265, for the windows; I. S. Reed and X. Yu,
"Adaptive multiple-band CFAR detection of an optical pattern with unknown spectral distribution", IEEE Trans. Acoustics,
Speech and Signal Processing 38(10), 1990, doi 10.1109/29.60107, for the statistic):

    (x - m)ᵀ C⁻¹ (x - m), with the mean m of the ring.

The covariance C is either that of the ring, or, by default, one for the whole scene: that of pixels less the mean of
their ring. The first adapts to the land around each pixel, but is estimated from so few pixels that its smallest
eigenvalues are mostly noise. The second keeps the local mean, which does most of the work, has a covariance from all
pixels of the scene, and costs little more than global RX.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hadgeo.detectors.dual_window import ring_differences, whitened
from hadgeo.detectors.ring_rx import RingDetector, RingParams
from hadgeo.detectors.rings import in_squares
from hadgeo.windows import Window


class LocalRXParams(RingParams):
    """Hyper-parameters of local RX."""


class LocalRX(RingDetector[LocalRXParams]):
    """RX with the mean of the ring around each pixel, and the covariance of the scene or of the ring.

    With covariance 'local', C = (S + (N - n) G) / (N - 1) + r I. S is the centred scatter of the n valid neighbours, N
    their number where nothing is missing, G the covariance that 'global' would use, and r the ridge in units of G's
    mean eigenvalue. So away from borders and holes it is the covariance of the ring alone, and each neighbour that is
    missing counts as one that varies as neighbours do in the whole scene. So does one neighbour where a complete ring
    does not determine C, because its pixels are equal.
    """

    name = "local_rx"
    title = "Local RX (dual window)"
    Params = LocalRXParams
    best_at = "small targets that differ from what surrounds them, on land that changes across the scene"
    explained_by = "the mean spectrum of the ring around the pixel"
    relative_cost = 2.9

    def statistic(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the ring; see `Detector.score`."""
        block = block.to(self.mean_.device)
        if self.params.covariance == "local":
            return self.rings(block).forms(1, lambda forms: forms[..., 0, 0])
        distance = torch.empty(block.shape[1:], dtype=self.mean_.dtype, device=block.device)

        def one(part: Tensor, window: Window) -> None:
            differences = ring_differences(whitened(part, self.mean_, self.whitening_), self.params.sides)
            distance[window.rows, window.cols] = differences[(slice(None), *window.inner)].square().sum(dim=0)

        in_squares(block, self.reach, one)
        return distance
