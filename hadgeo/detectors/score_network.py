"""The network of ScoreAD: a U-net along the features of a spectrum, and the noise under which it learns.

"Utilizing the score of data distribution for hyperspectral anomaly detection", arXiv 2601.12379.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Base of the perturbation kernel: at t = 1 the noise is `_SIGMA` / sqrt(2 ln `_SIGMA`) times the range of the data.
_SIGMA = 5.0

_HIDDEN = 256
_FREQUENCIES = 128
_CHANNELS = (1, 16, 32, 64)
_GROUPS = (4, 8, 16)


def noise_std(t: Tensor) -> Tensor:
    """Standard deviation of the perturbation kernel at time t, sqrt((σ^(2t) - 1) / (2 ln σ)) with σ = 5."""
    return ((_SIGMA ** (2 * t) - 1) / (2 * math.log(_SIGMA))).sqrt()


class ScoreNetwork(nn.Module):
    """The paper's network: a U-net along the features of a spectrum, told the time.

    The authors' own also holds a feature-wise modulation after each layer; none but the first of them is ever used, and
    that only where there is a condition, so only that one is here.

    Args:
        bands: Bands of the cube.
        conditioned: Whether there is a condition.
    """

    frequencies: Tensor

    def __init__(self, bands: int, *, conditioned: bool = False) -> None:
        super().__init__()
        self.register_buffer("frequencies", 10 * torch.randn(_FREQUENCIES))
        self.embed = nn.Linear(2 * _FREQUENCIES, _HIDDEN)
        self.first = nn.Linear(bands, _HIDDEN)
        self.first_time = nn.Linear(_HIDDEN, _HIDDEN)
        self.first_norm = nn.LayerNorm(_HIDDEN)
        self.modulation = nn.Linear(bands + 2, 2 * _HIDDEN) if conditioned else None
        one, two, three, four = _CHANNELS
        self.down = nn.ModuleList(
            nn.Conv1d(a, b, 5, stride=2, padding=2, bias=False) for a, b in ((one, two), (two, three), (three, four))
        )
        self.down_time = nn.ModuleList(nn.Linear(_HIDDEN, c) for c in (two, three, four))
        self.down_norm = nn.ModuleList(nn.GroupNorm(g, c) for g, c in zip(_GROUPS, (two, three, four), strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 5, stride=2, padding=2, output_padding=1, bias=b == one)
            for a, b in ((four, three), (2 * three, two), (2 * two, one))
        )
        self.up_time = nn.ModuleList(nn.Linear(_HIDDEN, c) for c in (three, two))
        self.up_norm = nn.ModuleList((nn.GroupNorm(_GROUPS[1], three), nn.GroupNorm(_GROUPS[0], two)))
        self.last = nn.Linear(2 * _HIDDEN, bands)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The score times the noise's standard deviation, which is what the loss compares with the noise.

        Args:
            x: Scaled spectra with noise, (n, band).
            t: Times, (n), or (1) where all share one.
            condition: (n, band + 2), for a conditioned network.

        Returns:
            (n, band).
        """
        phase = 2 * math.pi * t[:, None] * self.frequencies
        time = F.silu(self.embed(torch.cat([phase.sin(), phase.cos()], dim=1)))
        first = F.silu(self.first_norm(self.first(x) + self.first_time(time)))
        if self.modulation is not None:
            assert condition is not None
            gain, offset = self.modulation(condition).chunk(2, dim=1)
            first = gain * first + offset
        features = first[:, None]
        skipped = []
        for conv, at_time, norm in zip(self.down, self.down_time, self.down_norm, strict=True):
            features = F.silu(norm(conv(features) + at_time(time)[..., None]))
            skipped.append(features)
        for conv, at_time, norm, skip in zip(self.up, self.up_time, self.up_norm, skipped[1::-1], strict=False):
            features = F.silu(norm(conv(features) + at_time(time)[..., None]))
            features = torch.cat([features, skip], dim=1)
        features = self.up[-1](features)[:, 0]
        scored: Tensor = self.last(torch.cat([features, first], dim=1))
        return scored


def released_names(network: ScoreNetwork) -> dict[str, str]:
    """The authors' name for each tensor of a network."""
    layers = {"embed": "embed.1", "first": "fc1", "first_time": "dense1", "first_norm": "lnorm1", "last": "tfc1"}
    layers["modulation"] = "film1"
    for i in range(3):
        layers |= {
            f"down.{i}": f"conv{i + 2}",
            f"down_time.{i}": f"dense{i + 2}.dense",
            f"down_norm.{i}": f"gnorm{i + 2}",
        }
        layers |= {f"up.{i}": f"tconv{4 - i}", f"up_time.{i}": f"tdense{4 - i}.dense", f"up_norm.{i}": f"tgnorm{4 - i}"}
    names = {"frequencies": "embed.0.W"}
    for ours in network.state_dict():
        layer, _, kind = ours.rpartition(".")
        if layer:
            names[ours] = f"{layers[layer]}.{kind}"
    return names
