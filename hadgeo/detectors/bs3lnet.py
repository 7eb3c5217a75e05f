"""BS3LNet: a network learns to predict each pixel from its neighbours, and what it cannot predict is anomalous.

L. Gao, D. Wang, L. Zhuang, X. Sun, M. Huang and A. Plaza, "BS3LNet: A new blind-spot self-supervised learning network
for hyperspectral anomaly detection", IEEE Trans. Geoscience and Remote Sensing 61, 2023, doi 10.1109/TGRS.2023.3246565.

The network and the masked training are the paper's. Here the network is trained fully convolutionally, on crops with
fresh masks each step instead of one patch for each pixel, which gives the same gradient for a small part of the work.
The paper scores by the mean square of the residual; the default here is its local contrast after whitening.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hadgeo.compute.cores import map_cores, one_core
from hadgeo.compute.device import double_device, fast_dtype, free_memory
from hadgeo.compute.lanes import to_device
from hadgeo.detectors.base import load_network, network_state, seeded
from hadgeo.detectors.blind_spot_network import BlindSpotNetwork, TiledNetwork
from hadgeo.detectors.blind_spots import Crop, blind, random_piece, turned
from hadgeo.detectors.contrast import ContrastDetector
from hadgeo.detectors.one_cycle import OneCycleAdam
from hadgeo.detectors.precision import PrecisionParams, network_dtype, precision_name
from hadgeo.detectors.tiles import each_tile
from hadgeo.detectors.whitening import mahalanobis, whitening
from hadgeo.errors import Cancelled, FitError
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.sampling import POOL_PIXELS, Sample, Statistics

#: Pixels whose moments a CPU sums up at a time.
_MOMENTS_PIXELS = 2048


class BS3LNetParams(PrecisionParams):
    """Hyper-parameters of BS3LNet."""

    basic = ("statistic", "inner_window")

    statistic: Literal["cfar", "whitened", "mse"] = Field(
        default="cfar",
        title="Statistic",
        description="How a residual becomes a score: 'mse', its mean square (the paper's); 'whitened', its regularised "
        "Mahalanobis distance to the scene's residuals; 'cfar', that distance divided by its local median.",
    )
    cfar_window: int = Field(
        default=15,
        title="CFAR window",
        description="Side in pixels of the window of the local median, for the statistic 'cfar'; odd, and such that "
        "a target fills less than half of it.",
        ge=3,
        le=101,
    )
    inner_window: int = Field(
        default=1,
        title="Inner window",
        description="Side in pixels of the block that is masked around each blind spot; 1 is the paper's, a larger odd "
        "number keeps large targets from leaking through their own neighbours.",
        ge=1,
        le=15,
    )
    neighbour_window: int = Field(
        default=5,
        title="Neighbour window",
        description="Side in pixels of the window from which the spectra that replace masked ones are drawn; odd, and "
        "larger than the inner window.",
        ge=3,
        le=31,
    )
    mask_ratio: float = Field(
        default=0.1,
        title="Mask ratio",
        description="Fraction of the pixels of a crop that is masked in each step.",
        gt=0,
        le=0.5,
    )
    channels: int = Field(default=64, title="Channels", description="Feature channels of the network.", ge=1, le=1024)
    blocks: int = Field(
        default=2,
        title="Residual blocks",
        description="Residual blocks of the network; a score sees 2 * blocks + 3 pixels to each side.",
        ge=0,
        le=16,
    )
    steps: int = Field(default=100, title="Steps", description="Training steps.", ge=1, le=1_000_000)
    crop: int = Field(
        default=64,
        title="Crop",
        description="Side in pixels of the piece of the scene used in each step.",
        ge=8,
        le=1024,
    )
    learning_rate: float = Field(
        default=1e-3,
        title="Learning rate",
        description="Peak of Adam's one-cycle learning rate.",
        gt=0,
        le=1,
    )
    seed: int = Field(
        default=0, title="Seed", description="Random seed for weights, crops and masks.", ge=0, le=2**63 - 1
    )

    @model_validator(mode="after")
    def _windows(self) -> Self:
        for name in ("inner_window", "neighbour_window", "cfar_window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, so that it has a centre")
        if self.neighbour_window <= self.inner_window:
            raise ValueError(
                f"neighbour_window ({self.neighbour_window}) must be larger than inner_window ({self.inner_window})"
            )
        return self


class BS3LNet(ContrastDetector[BS3LNetParams]):
    """Blind-spot self-supervised network.

    The network scores in the precision that `precision` says, in canonical tiles (`hadgeo.detectors.tiles`). What it
    leaves of the pixels, and all that is made of that, is float32.

    Attributes:
        mean_: Mean spectrum of the scene, float32 (band).
        std_: Standard deviation of each band, float32 (band); 1 where it is constant.
        network_: The trained network, in evaluation mode.
        whitening_: Matrix W with WᵀW = (C + λI)⁻¹, C the covariance of the residuals and λ the mean of its eigenvalues,
            float32 (band, band).
        floor_: Median of the whitened residual's size over the scene, a scalar.
    """

    name = "bs3lnet"
    title = "BS3LNet (blind-spot network)"
    Params = BS3LNetParams
    presets = {"paper": {"statistic": "mse", "inner_window": 1, "neighbour_window": 5, "mask_ratio": 0.1}}  # noqa: RUF012
    best_at = "targets of a few pixels that their neighbours do not predict, in structured scenes such as towns"
    explained_by = "what the network predicts from the neighbours of a pixel"
    relative_cost = 12.0
    seed_parameter = "seed"
    steps_parameter = "steps"
    precision_parameter = "precision"

    mean_: Tensor
    std_: Tensor
    network_: BlindSpotNetwork
    whitening_: Tensor
    floor_: Tensor

    @property
    def contrast_window(self) -> int:
        """Window of the local median; see `ContrastDetector.contrast_window`."""
        return self.params.cfar_window if self.params.statistic == "cfar" else 0

    @property
    def reach(self) -> int:
        """Reach of the network's receptive field; see `ContrastDetector.reach`."""
        return 2 * self.params.blocks + 3

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Tensor:
        """Learn to predict pixels from their neighbours; see `ContrastDetector.learn`."""
        statistics = sample.statistics(covariance=False)
        if not (statistics.std > 0).any():
            raise FitError(
                "bs3lnet: all valid pixels are equal, so there is nothing to detect; check the input and --bands"
            )
        self._set_scale(statistics, device)
        crops = sample.crops(size=self.params.crop, pixels=POOL_PIXELS, seed=self.params.seed)
        _replace(crops, lambda crop: self._standardise(to_device(crop, device)))
        self.network_ = self._make_network(sample.bands).to(device)
        # Sums over a crop that several threads share depend on how many there are.
        with one_core():
            self._train([Crop.of(crop.permute(2, 0, 1)) for crop in crops], device, progress)
        _replace(crops, self._residual)
        self.whitening_ = self._residual_whitening(crops)
        return torch.cat([self._whitened(residual).flatten() for residual in crops])

    @property
    def precision(self) -> str:
        """Of the network; see `Detector.precision`."""
        return precision_name(network_dtype(self.params, self.mean_.device))

    def _tiled(self) -> TiledNetwork:
        """The network as it scores; made once of a network."""
        made: tuple[BlindSpotNetwork, TiledNetwork] | None = self.__dict__.get("_made")
        if made is None or made[0] is not self.network_:
            made = self.network_, TiledNetwork(self.network_, network_dtype(self.params, self.mean_.device))
            self._made = made
        return made[1]

    def _set_scale(self, statistics: Statistics, device: torch.device) -> None:
        std = torch.where(statistics.std > 0, statistics.std, torch.ones_like(statistics.std))
        self.mean_ = statistics.mean.float().to(device)
        self.std_ = std.float().to(device)

    def _standardise(self, block: Tensor) -> Tensor:
        """Each band of (band, y, x) scaled to the scene's unit variance, float32 (y, x, band), contiguous."""
        spectra = block.permute(1, 2, 0)
        scaled = torch.empty(spectra.shape, dtype=torch.float32, device=block.device)
        return torch.sub(spectra.to(torch.float32), self.mean_, out=scaled).div_(self.std_)

    def _make_network(self, bands: int) -> BlindSpotNetwork:
        with seeded(self.params.seed):
            network = BlindSpotNetwork(bands, self.params.channels, self.params.blocks)
        network.initialise(torch.Generator().manual_seed(self.params.seed))
        for weight in network.parameters():
            if weight.ndim == 4:
                # The layout in which convolutions are fast, on CPUs and tensor cores alike.
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        return network

    def _train(self, crops: list[Crop], device: torch.device, progress: Progress) -> None:
        params = self.params
        network = self.network_.train()
        optimiser = OneCycleAdam(network.parameters(), params.learning_rate, params.steps)
        generator = torch.Generator().manual_seed(params.seed)
        dtype = fast_dtype(device)
        side = params.crop
        losses = []
        progress.stage(Stage.FIT, params.steps)
        for _ in range(params.steps):
            if progress.cancelled():
                raise Cancelled("stopped on request")
            found = turned(random_piece(crops, side, generator), generator)
            piece = found.pixels
            masked, target = blind(found, params, generator)
            if not len(target):
                # A lone valid pixel has no neighbour to be predicted from.
                progress.advance()
                continue
            try:
                with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                    predicted = network(masked[None])[0]
                loss = (predicted.float() - piece).flatten(1)[:, target].abs().mean()
                optimiser.zero_grad()
                loss.backward()
            except torch.OutOfMemoryError:
                if side <= 16:
                    raise
                side //= 2
                free_memory(device)
                progress.message(f"bs3lnet: out of memory on {device}; continuing with crops of {side} pixels")
                continue
            optimiser.step()
            losses.append(loss.detach())
            progress.advance()
        network.eval()
        self.loss_ = torch.stack(losses).cpu().tolist() if losses else []

    @torch.no_grad()
    def _residual(self, x: Tensor) -> Tensor:
        """What the network does not predict of standardised (y, x, band), put in its place; NaN in invalid pixels."""
        invalid = ~x.sum(dim=2).isfinite()
        self._tiled().subtract_from(x)
        return x.masked_fill_(invalid[..., None], torch.nan)

    def _residual_whitening(self, residuals: list[Tensor]) -> Tensor:
        total: Statistics | None = None
        device = double_device(self.mean_.device)
        size = _MOMENTS_PIXELS if device.type == "cpu" else POOL_PIXELS
        for residual in residuals:
            spectra = residual.to(device).flatten(0, 1)
            spectra = spectra[spectra.sum(dim=1).isfinite()]
            for part in map_cores(Statistics.of, torch.split(spectra, size) if len(spectra) else (), device):
                total = part if total is None else total.merge(part)
        if total is None:
            raise FitError(
                "bs3lnet: training diverged; use a smaller learning_rate, or check the input for extreme values"
            )
        covariance = total.covariance
        covariance.diagonal().add_(covariance.diagonal().mean())
        return whitening(covariance).float().to(self.mean_.device)

    @torch.no_grad()
    def statistic(self, block: Tensor) -> Tensor:
        """Size of the residual in the chosen statistic; see `Detector.score`."""
        residual = self._residual(self._standardise(block))
        if self.params.statistic == "mse":
            return each_tile(residual.permute(2, 0, 1), lambda x: x.square().mean(dim=1), dtype=torch.float32)
        return self._whitened(residual)

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor:
        """What the network predicts from the neighbours; see `Detector.explain`."""
        residual = self._residual(self._standardise(block))
        return block.to(torch.float32) - (residual * self.std_).permute(2, 0, 1)

    @torch.no_grad()
    def _whitened(self, residual: Tensor) -> Tensor:
        return mahalanobis(residual.permute(2, 0, 1), None, self.whitening_)

    def bytes_per_pixel(self, bands: int) -> int:
        """Copies of the window, and feature maps, in float32; see `Detector.bytes_per_pixel`."""
        return 4 * (2 * bands + max(bands, 3 * self.params.channels))

    def state(self) -> dict[str, Tensor]:
        """Scale, network and whitening; see `Detector.state`."""
        return {
            "mean": self.mean_,
            "std": self.std_,
            "whitening": self.whitening_,
            "floor": self.floor_,
            **network_state(self.network_),
        }

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.mean_, self.std_, self.whitening_, self.floor_ = (
            state[key].to(device) for key in ("mean", "std", "whitening", "floor")
        )
        bands, params = len(self.mean_), self.params
        self.network_ = load_network(lambda: BlindSpotNetwork(bands, params.channels, params.blocks), state, device)
        return self


def _replace(blocks: list[Tensor], function: Callable[[Tensor], Tensor]) -> None:
    """Map over blocks in place, so that only one of them is in memory twice."""
    for i, block in enumerate(blocks):
        blocks[i] = function(block)
