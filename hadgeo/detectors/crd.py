"""Collaborative representation: how badly a pixel is made up of those around it.

W. Li and Q. Du, "Collaborative representation for hyperspectral anomaly detection", IEEE Trans. Geoscience and Remote
Sensing 53(3), 2015, doi 10.1109/TGRS.2014.2343955. A pixel y is approximated by the n pixels x_i of the ring between
two windows, with weights that add up to one, and of which those of pixels unlike y are kept small:

    minimise ‖y - X a‖² + λ ‖Γ a‖² subject to 1ᵀa = 1, with Γ = diag(‖y - x_i‖); the score is ‖y - X a‖.

The paper appends a row of ones to X and y (its variant with the sum-to-one constraint), so that weights add up to one
only as far as data of some scale let them. Here they do so exactly. For such weights X a - y = D a, with D = X - y 1ᵀ,
and the solution is the one of locally linear embedding (L. K. Saul and S. T. Roweis, "Think globally, fit locally",
Journal of Machine Learning Research 4, 2003, sec. 3):

    a ∝ (DᵀD + λ Γ²)⁻¹ 1.

Neither the scale of the data nor its zero point matters to the weights, so λ means the same for reflectance and for
digital numbers. With Z = D Γ⁻¹, whose columns have length one, and g = Γ⁻¹ 1, weights and
residual come from the smaller of ZᵀZ + λI (n x n) and ZZᵀ + λI (band x band), both well-conditioned.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.cores import map_cores
from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.dual_window import DualWindowParams
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels

#: Values of neighbours gathered at a time, elsewhere and on a CPU, for each core.
_GATHERED_VALUES = (2**27, 2**20)

#: Neighbours nearer than this, in units of the farthest one's distance, count as that near.
_NEAREST = 1e-6


class CRDParams(DualWindowParams, ContrastParams):
    """Hyper-parameters of CRD."""

    basic = ("inner_window", "outer_window")

    outer_window: int = Field(
        default=11,
        title="Outer window",
        description="Side in pixels of the window whose pixels, less those of the inner window, make up the one in its "
        "middle; odd, and larger than inner_window. Time grows with the square of the number of these pixels, or more.",
        ge=3,
        le=51,
    )
    regularization: float = Field(
        default=0.1,
        title="Regularization",
        description="λ of the paper, there 1e-6: how much neighbours unlike the pixel are kept out of it. Near 0, "
        "rings with more pixels than bands make up anything, anomalies too.",
        gt=0,
        le=1000,
    )


class CRD(ContrastDetector[CRDParams]):
    """Distance of each spectrum to the combination of its neighbours that comes closest to it.

    Neighbours beyond the border and invalid ones are left out. A pixel without any is compared to the scene's mean.

    Attributes:
        mean_: Mean spectrum of the scene, float64 (band).
        floor_: See `ContrastDetector`.
    """

    name = "crd"
    title = "CRD (collaborative representation)"
    Params = CRDParams
    best_at = "targets that no mixture of their surroundings explains, in scenes with several kinds of land"
    explained_by = "the combination of the ring's pixels that comes closest to the pixel"
    relative_cost = 64.0

    mean_: Tensor

    @property
    def reach(self) -> int:
        """Half the outer window."""
        return self.params.outer_window // 2

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002 - one pass
        """Learn the mean spectrum alone; see `Detector.fit`."""
        self.mean_ = sample.statistics(covariance=False).mean.to(double_device(device))

    def statistic(self, block: Tensor) -> Tensor:
        """Length of the residual; see `Detector.score`."""
        return self._residuals(block)[1]

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor:
        """The combination of neighbours; see `Detector.explain`."""
        residual = torch.empty_like(block, dtype=torch.float64, device=self.mean_.device)
        self._residuals(block, residual)
        return torch.where(valid_pixels(block), block + residual.to(block), torch.nan)

    def _residuals(self, block: Tensor, residual: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Residuals X a - y.

        Args:
            block: (band, y, x).
            residual: Where they go, (band, y, x); None if nobody wants them.

        Returns:
            `residual`, and their lengths (y, x), anything where invalid.
        """
        block = block.to(self.mean_.device)
        _, rows, cols = block.shape
        neighbours = Neighbours(block, self.mean_, self.params)
        length = torch.empty(rows * cols, dtype=torch.float64, device=block.device)
        flat = None if residual is None else residual.flatten(1)
        step = max(1, _GATHERED_VALUES[block.device.type == "cpu"] // (self.params.neighbours * len(block)))

        @torch.no_grad()
        def some(first: int) -> None:
            pixels = torch.arange(first, min(first + step, rows * cols), device=block.device)
            found = _residual(*neighbours(pixels), self.params.regularization)
            length[pixels] = found.norm(dim=1)
            if flat is not None:
                flat[:, pixels] = found.T

        map_cores(some, range(0, rows * cols, step), block.device)
        return residual, length.view(rows, cols)

    def bytes_per_pixel(self, bands: int) -> int:
        """A padded copy of the window in float64; see `Detector.bytes_per_pixel`."""
        return 8 * bands + 8

    def state(self) -> dict[str, Tensor]:
        """The mean; see `Detector.state`."""
        return {"mean": self.mean_, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take it back; see `Detector.load_state`."""
        self.mean_ = state["mean"].to(double_device(device))
        self.load_contrast_state(state, double_device(device))
        return self


class Neighbours:
    """The rings of a window's pixels.

    Args:
        block: (band, y, x), NaN where invalid.
        mean: Mean spectrum of the scene, float64 (band).
        params: The windows.
    """

    def __init__(self, block: Tensor, mean: Tensor, params: DualWindowParams) -> None:
        reach, hidden = params.outer_window // 2, params.inner_window // 2
        valid = valid_pixels(block)
        centred = torch.where(valid, block.to(mean) - mean[:, None, None], 0.0)
        self._cols, self._reach = block.shape[2], reach
        self._width = self._cols + 2 * reach
        self._flat = F.pad(centred, [reach] * 4).permute(1, 2, 0).flatten(0, 1).contiguous()
        self._valid = F.pad(valid, [reach] * 4).flatten()
        span = torch.arange(-reach, reach + 1, device=block.device)
        ring = torch.maximum(span.abs()[:, None], span.abs()[None, :]) > hidden
        self._offsets = (span[:, None] * self._width + span[None, :])[ring]

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectra of pixels and of their neighbours, less the scene's mean.

        Args:
            pixels: Indices into the window, row by row (pixel).

        Returns:
            Spectra (pixel, band); those of the neighbours (pixel, neighbour, band); and which of them are there, bool
            (pixel, neighbour).
        """
        rows, cols = pixels // self._cols, pixels % self._cols
        middle = (rows + self._reach) * self._width + cols + self._reach
        index = middle[:, None] + self._offsets
        return self._flat[middle], self._flat[index.flatten()].view(*index.shape, -1), self._valid[index]


def _residual(y: Tensor, x: Tensor, there: Tensor, regularization: float) -> Tensor:
    """X a - y for the weights a of the module's formula, (pixel, band), from what `Neighbours` gives."""
    D = (x - y[:, None]) * there[..., None]
    distance = D.norm(dim=2)
    farthest = distance.amax(dim=1, keepdim=True)
    distance = torch.where(farthest > 0, distance.clamp(min=_NEAREST * farthest), 1.0)
    # In units of the farthest neighbour's distance, so that sums below are of the order of one.
    g = there * torch.where(farthest > 0, farthest, 1.0) / distance
    Z = D / distance[..., None]
    few = x.shape[1] <= x.shape[2]
    gram = Z @ Z.mT if few else Z.mT @ Z
    gram.diagonal(dim1=-2, dim2=-1).add_(regularization)
    factor = torch.linalg.cholesky_ex(gram)[0]
    if few:
        u = torch.cholesky_solve(g[..., None], factor)
        total = (g * u[..., 0]).sum(dim=1)
        along = (Z.mT @ u)[..., 0]
    else:
        Zg = Z.mT @ g[..., None]
        along = torch.cholesky_solve(Zg, factor)[..., 0]
        total = (g.square().sum(dim=1) - (Zg[..., 0] * along).sum(dim=1)) / regularization
    scaled = along * torch.where(farthest > 0, farthest, 1.0) / total[:, None]
    return torch.where(there.any(dim=1, keepdim=True), scaled, -y)
