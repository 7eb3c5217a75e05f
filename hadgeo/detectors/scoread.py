"""ScoreAD: around an anomaly, the score of the distribution of a scene's spectra points towards the background.

"Utilizing the score of data distribution for hyperspectral anomaly detection", arXiv 2601.12379. The score of a density
p is the gradient of log p; the network learns it for spectra under Gaussian noise of growing strength, by denoising
(Y. Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021).

Network, noise and loss are the paper's. The paper scales the cube as one and scores by how well the scores of 100 noisy
copies of a pixel agree. The default here scales each band, and scores by the local contrast of the score's size at the
pixel itself; where copies are asked for, all pixels share their noise, so that a map does not depend on windows.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.cores import map_cores, one_core
from hadgeo.compute.device import fast_dtype
from hadgeo.detectors.base import load_network, network_state, seeded
from hadgeo.detectors.contrast import ContrastDetector
from hadgeo.detectors.one_cycle import OneCycleAdam
from hadgeo.detectors.precision import PrecisionParams, network_dtype, precision_name
from hadgeo.detectors.score_network import ScoreNetwork, TimedNetwork, noise_std, released_names
from hadgeo.detectors.tiles import PIXELS, each_tile, each_tile_spectra
from hadgeo.errors import Cancelled, ModelError
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.sampling import POOL_PIXELS, Sample, spectra_of, valid_pixels

#: The least t that is trained; at 0 the score of a sample does not exist.
_LEAST_T = 1e-5

#: Share of the learning rate by which weights shrink in each step.
_WEIGHT_DECAY = 0.01

#: Tiles that are scored together, elsewhere, where their feature maps have to fit, and on a CPU, where one alone would
#: leave convolutions waiting for what it takes to begin them.
_TOGETHER = (128, 2)

#: Spectra whose scores tell what is usual.
_USUAL_SPECTRA = 2**16


class ScoreADParams(PrecisionParams):
    """Hyper-parameters of ScoreAD."""

    basic = ("noise",)

    noise: Literal["antithetic", "independent", "none"] = Field(
        default="none",
        title="Noise",
        description="Copies of a pixel at which the score is taken: 'antithetic', in pairs of opposite noise; "
        "'independent', each with noise of its own (the paper's); 'none', the pixel itself, and the score's size.",
    )
    evaluations: int = Field(
        default=2,
        title="Evaluations",
        description="Noisy copies of a pixel; must be even for antithetic noise; ignored for none.",
        ge=1,
        le=10_000,
    )
    t: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.05,),
        title="Noise times",
        description="Strength of the noise, above 0 and at most 1, of one score or of several that are averaged; "
        "such as 0.05, or 0.02,0.05.",
        min_length=1,
        max_length=100,
    )
    normalisation: Literal["cfar", "none"] = Field(
        default="cfar",
        title="Normalisation",
        description="'cfar' divides a score by its local median; 'none' leaves it as it is (the paper's).",
    )
    cfar_window: int = Field(
        default=15,
        title="CFAR window",
        description="Side in pixels of the window of the local median, for the normalisation 'cfar'; odd, and such "
        "that a target fills less than half of it.",
        ge=3,
        le=101,
    )
    scaling: Literal["cube", "band"] = Field(
        default="band",
        title="Scaling",
        description="What is scaled to 0...1 by its own minimum and maximum: the 'cube' (the paper's) or each 'band'.",
    )
    condition: bool = Field(
        default=False,
        title="Condition",
        description="Condition the score on the most similar spectrum in the ring of neighbours between the two "
        "windows.",
    )
    inner_window: int = Field(
        default=5,
        title="Inner window",
        description="Side in pixels of the inner window, whose spectra are excluded as conditions; odd.",
        ge=1,
        le=31,
    )
    outer_window: int = Field(
        default=7,
        title="Outer window",
        description="Side in pixels of the outer window, whose spectra may serve as the condition; odd, and larger "
        "than the inner window.",
        ge=3,
        le=63,
    )
    retain_ratio: float = Field(
        default=1.0,
        title="Retain ratio",
        description="Fraction of a batch to learn from, those with the smallest losses; less than 1 guards against "
        "anomalies that are common enough to be learned.",
        gt=0,
        le=1,
    )
    steps: int = Field(default=400, title="Steps", description="Training steps.", ge=1, le=1_000_000)
    batch: int = Field(default=256, title="Batch", description="Spectra in one training step.", ge=1, le=65536)
    crop: int = Field(
        default=64,
        title="Crop",
        description="Side in pixels of the pieces of a large scene from which spectra are drawn.",
        ge=8,
        le=1024,
    )
    learning_rate: float = Field(
        default=2e-3,
        title="Learning rate",
        description="Peak of AdamW's one-cycle learning rate.",
        gt=0,
        le=1,
    )
    seed: int = Field(
        default=0, title="Seed", description="Random seed for weights, batches and noise.", ge=0, le=2**63 - 1
    )

    @field_validator("t", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split())
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _rules(self) -> Self:
        for name in ("inner_window", "outer_window", "cfar_window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, so that it has a centre")
        if self.outer_window <= self.inner_window:
            raise ValueError(
                f"outer_window ({self.outer_window}) must be larger than inner_window ({self.inner_window})"
            )
        if self.noise == "antithetic" and self.evaluations % 2:
            raise ValueError(
                f"evaluations ({self.evaluations}) must be even for antithetic noise, which comes in pairs"
            )
        return self


#: The paper's statistic at a fiftieth of its cost: one pair of opposite draws ranks as 100 independent ones do.
RELEASED = ScoreADParams(noise="antithetic", evaluations=2, normalisation="none", scaling="cube")


class ScoreAD(ContrastDetector[ScoreADParams]):
    """Score-based detector: how steadily the score points one way around a spectrum.

    Attributes:
        low_: What is subtracted from each band, float32 (band).
        range_: By what each band is then divided, float32 (band); 1 where it is constant.
        noise_: Noise of the copies, shared by all pixels, float32 (evaluation, band).
        network_: The trained network, in evaluation mode.
        floor_: Median score of the scene before normalisation, a scalar; 0 for the normalisation 'none'.
        loss_: Training loss of each step, for each band.
    """

    name = "scoread"
    title = "ScoreAD (score of the data distribution)"
    Params = ScoreADParams
    presets = {  # noqa: RUF012 - as the contract has it
        "paper": {"noise": "independent", "evaluations": 100, "t": 0.05, "normalisation": "none", "scaling": "cube"}
    }
    best_at = "spectra off the manifold of the scene's spectra, where that is curved, whatever the size of the target"
    explained_by = "the nearest spectrum that the network takes for background"
    relative_cost = 62.0
    seed_parameter = "seed"
    steps_parameter = "steps"
    precision_parameter = "precision"

    low_: Tensor
    range_: Tensor
    noise_: Tensor
    network_: ScoreNetwork
    floor_: Tensor

    @property
    def contrast_window(self) -> int:
        """Window of the local median; see `ContrastDetector.contrast_window`."""
        return self.params.cfar_window if self.params.normalisation == "cfar" else 0

    @property
    def reach(self) -> int:
        """The ring of the condition; see `ContrastDetector.reach`."""
        return self.params.outer_window // 2 if self.params.condition else 0

    @classmethod
    def from_release(cls, path: str | Path, params: ScoreADParams | None = None, *, device: str = "cpu") -> Self:
        """The detector with a network that the authors trained, for cubes that are scaled to 0...1 already.

        Args:
            path: A state dictionary of the authors' release; nothing in it is executed.
            params: Of the score; by default what comes nearest to the authors' maps, `RELEASED`. `condition` must suit
                the network's training.
            device: Where to score.

        Raises:
            ModelError: The file holds no network of theirs.
        """
        detector = cls(params or RELEASED)
        try:
            released: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
            bands = released["fc1.weight"].shape[1]
            network = detector._make_network(bands)
            network.load_state_dict({ours: released[theirs] for ours, theirs in released_names(network).items()})
        except (pickle.UnpicklingError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelError(f"{path}: not a network of the ScoreAD release ({error})") from None
        detector.low_, detector.range_ = torch.zeros(bands, device=device), torch.ones(bands, device=device)
        detector.floor_ = torch.zeros((), device=device)
        detector.noise_ = detector._draw_noise(bands).to(device)
        detector.network_ = network.to(device).eval()
        return detector

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Tensor | None:
        """Learn the score of the scene's spectra; see `ContrastDetector.learn`."""
        statistics = sample.statistics(covariance=False)
        low, high = statistics.minimum, statistics.maximum
        if self.params.scaling == "cube":
            low, high = low.min().expand_as(low), high.max().expand_as(high)
        self.low_ = low.float().to(device)
        self.range_ = torch.where(high > low, high - low, torch.ones_like(low)).float().to(device)
        self.noise_ = self._draw_noise(sample.bands).to(device)
        self.network_ = self._make_network(sample.bands).to(device)
        crops = sample.crops(size=self.params.crop, pixels=POOL_PIXELS, seed=self.params.seed)
        spectra, conditions = self._pool(crops)
        # The second core brings nothing, and sums that several share depend on how many there are.
        with one_core():
            self._train(spectra, conditions, device, progress)
        return self._usual_scores(spectra, conditions) if self.contrast_window else None

    @property
    def precision(self) -> str:
        """Of the network; see `Detector.precision`."""
        return precision_name(network_dtype(self.params, self.low_.device))

    def _timed(self) -> list[tuple[Tensor, TimedNetwork]]:
        """The network at each noise time, and the noise's standard deviation there; made once of a network."""
        made: tuple[ScoreNetwork, list[tuple[Tensor, TimedNetwork]]] | None = self.__dict__.get("_made")
        if made is None or made[0] is not self.network_:
            times = torch.tensor(self.params.t).to(self.low_.device)
            dtype = network_dtype(self.params, self.low_.device)
            made = self.network_, [(noise_std(t), TimedNetwork(self.network_, t, dtype)) for t in times]
            self._made = made
        return made[1]

    @torch.no_grad()
    def _usual_scores(self, spectra: Tensor, conditions: Tensor | None) -> Tensor:
        """Scores of some of the spectra that it was trained on, in blocks as large as those of a map."""
        step = math.ceil(len(spectra) / _USUAL_SPECTRA)
        x = spectra[::step]
        if conditions is not None:
            x = torch.cat([x, conditions[::step]], dim=1)
        size = _TOGETHER[x.device.type == "cpu"] * PIXELS
        # What fills up the last block is not counted.
        blocks = torch.split(F.pad(x, (0, 0, 0, -len(x) % size)), size)
        return torch.cat(map_cores(self._statistic_of, blocks, x.device))[: len(x)]

    def _draw_noise(self, bands: int) -> Tensor:
        params = self.params
        if params.noise == "none":
            return torch.zeros(1, bands)
        generator = torch.Generator().manual_seed(params.seed)
        if params.noise == "independent":
            return torch.randn(params.evaluations, bands, generator=generator)
        noise = torch.randn(params.evaluations // 2, bands, generator=generator)
        return torch.cat([noise, -noise])

    def _make_network(self, bands: int) -> ScoreNetwork:
        with seeded(self.params.seed):
            return ScoreNetwork(bands, conditioned=self.params.condition)

    def _pool(self, crops: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Valid scaled spectra (pixel, band) of all crops, which are used up, and their conditions."""
        spectra, conditions = [], []
        while crops:
            scaled = self._scale(crops.pop(0))
            valid = valid_pixels(scaled).flatten()
            spectra.append(spectra_of(scaled)[valid])
            if self.params.condition:
                conditions.append(nearest_neighbours(scaled, self.params)[valid])
        return torch.cat(spectra), torch.cat(conditions) if conditions else None

    def _scale(self, block: Tensor) -> Tensor:
        """Scale a (band, y, x) so that the scene spans 0...1."""
        scaled = block.to(self.low_.device, torch.float32) - self.low_[:, None, None]
        return scaled.div_(self.range_[:, None, None])

    def _train(self, spectra: Tensor, conditions: Tensor | None, device: torch.device, progress: Progress) -> None:
        params = self.params
        network = self.network_.train()
        optimiser = OneCycleAdam(network.parameters(), params.learning_rate, params.steps, weight_decay=_WEIGHT_DECAY)
        generator = torch.Generator(device=device).manual_seed(params.seed)
        dtype = fast_dtype(device)
        losses = []
        progress.stage(Stage.FIT, params.steps)
        for _ in range(params.steps):
            if progress.cancelled():
                raise Cancelled("stopped on request")
            # Drawn where they are used: a batch that is sent would be waited for.
            chosen = torch.randint(len(spectra), (params.batch,), generator=generator, device=device)
            t = torch.rand(params.batch, generator=generator, device=device) * (1 - _LEAST_T) + _LEAST_T
            z = torch.randn(params.batch, spectra.shape[1], generator=generator, device=device)
            noisy = spectra[chosen] + noise_std(t)[:, None] * z
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                predicted = network(noisy, t, None if conditions is None else conditions[chosen])
            loss = (predicted.float() + z).square().sum(dim=1)
            if params.retain_ratio < 1:
                loss = loss.topk(max(1, round(params.retain_ratio * params.batch)), largest=False).values
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
            losses.append(loss.detach().mean() / spectra.shape[1])
            progress.advance()
        network.eval()
        self.loss_ = torch.stack(losses).cpu().tolist()

    @torch.no_grad()
    def statistic(self, block: Tensor) -> Tensor:
        """Agreement or size of the scores around each pixel; see `Detector.score`."""
        return each_tile(self._inputs(block), self._statistic_of, dtype=torch.float32, together=_TOGETHER)

    def _inputs(self, block: Tensor) -> Tensor:
        """What the network sees of each pixel: its scaled spectrum, and after it the condition where there is one."""
        scaled = self._scale(block)
        if not self.params.condition:
            return scaled
        conditions = nearest_neighbours(scaled, self.params)
        return torch.cat([scaled, conditions.T.reshape(-1, *block.shape[1:])])

    def _split(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Spectra (pixel, band) and conditions of `_inputs`."""
        bands = len(self.low_)
        return inputs[:, :bands], inputs[:, bands:] if self.params.condition else None

    @torch.no_grad()
    def _statistic_of(self, inputs: Tensor) -> Tensor:
        spectra, condition = self._split(inputs)
        size = torch.zeros(len(spectra), device=spectra.device)
        # What it would save elsewhere is less than what asking a device costs.
        if spectra.device.type == "cpu" and not spectra.sum(dim=1).isfinite().any():
            return size
        for std, network in self._timed():
            if self.params.noise == "none":
                # There is a single arrow, and only its length can tell.
                size += network(spectra, condition).norm(dim=1)
                continue
            total = torch.zeros_like(spectra)
            for noise in self.noise_:
                total += F.normalize(network(spectra + std * noise, condition), dim=1)
            size += total.norm(dim=1) / len(self.noise_)
        return size / len(self.params.t)

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor:
        """The spectrum without what the network takes for noise, averaged over the noise times; see `Detector.explain`.

        Tweedie's formula, x + std(t)² · score (B. Efron, "Tweedie's formula and selection bias", J. American
        Statistical Association 106(496), 2011, section 1); the network gives score · std(t).
        """
        expected = each_tile_spectra(self._inputs(block), self._denoised, bands=len(self.low_), together=_TOGETHER)
        return (expected * self.range_ + self.low_).permute(2, 0, 1)

    @torch.no_grad()
    def _denoised(self, inputs: Tensor) -> Tensor:
        spectra, condition = self._split(inputs)
        towards = [std * network(spectra, condition) for std, network in self._timed()]
        return spectra + torch.stack(towards).mean(dim=0)

    def bytes_per_pixel(self, bands: int) -> int:
        """Copies of the window, and the condition; feature maps are those of one chunk; see `Detector`."""
        return 4 * (4 * bands + (4 * bands if self.params.condition else 0))

    def state(self) -> dict[str, Tensor]:
        """Scale, noise and network; see `Detector.state`."""
        scale = {"low": self.low_, "range": self.range_}
        return {**scale, "noise": self.noise_, "floor": self.floor_, **network_state(self.network_)}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.low_, self.range_, self.noise_, self.floor_ = (
            state[key].to(device) for key in ("low", "range", "noise", "floor")
        )
        bands, conditioned = len(self.low_), self.params.condition
        self.network_ = load_network(lambda: ScoreNetwork(bands, conditioned=conditioned), state, device)
        return self


def nearest_neighbours(scaled: Tensor, params: ScoreADParams) -> Tensor:
    """The condition of each pixel: the spectrum of its ring that is nearest by Euclidean distance.

    Args:
        scaled: Scaled block (band, y, x), NaN where invalid.
        params: The windows that bound the ring.

    Returns:
        (pixel, band + 2): the spectrum, its cosine similarity to the pixel, and its distance; zeros where no neighbour
        inside the block is valid, and anything at invalid pixels.
    """
    _, rows, cols = scaled.shape
    valid = valid_pixels(scaled)
    spectra = scaled.nan_to_num(0.0, 0.0, 0.0)
    index = torch.arange(rows * cols, device=scaled.device).reshape(rows, cols)
    nearest = index.clone()
    least = torch.full((rows, cols), torch.inf, device=scaled.device)
    for down, right in _ring(params.inner_window // 2, params.outer_window // 2):
        # One offset at a time: all of the ring together would be as many copies of the cube.
        here, there = _overlap(rows, down), _overlap(rows, -down)
        here_x, there_x = _overlap(cols, right), _overlap(cols, -right)
        distance = (spectra[:, here, here_x] - spectra[:, there, there_x]).square_().sum(dim=0)
        distance.masked_fill_(~valid[there, there_x], torch.inf)
        closer = distance < least[here, here_x]
        least[here, here_x] = torch.where(closer, distance, least[here, here_x])
        nearest[here, here_x] = torch.where(closer, index[there, there_x], nearest[here, here_x])
    found = least.isfinite().flatten()
    own = spectra_of(spectra)
    neighbour = own[nearest.flatten()]
    similarity = F.cosine_similarity(own, neighbour, dim=1)
    condition = torch.cat([neighbour, similarity[:, None], least.flatten()[:, None].sqrt()], dim=1)
    return torch.where(found[:, None], condition, 0.0)


def _ring(inner: int, outer: int) -> list[tuple[int, int]]:
    """Row and column offsets within `outer` pixels and farther than `inner`."""
    side = range(-outer, outer + 1)
    return [(down, right) for down in side for right in side if max(abs(down), abs(right)) > inner]


def _overlap(length: int, offset: int) -> slice:
    """The positions p of [0, length) for which p + offset lies inside it too."""
    return slice(min(length, max(0, -offset)), max(0, min(length, length - offset)))
