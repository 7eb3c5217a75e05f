"""The network of ScoreAD: a U-net along the features of a spectrum, and the noise under which it learns.

"Utilizing the score of data distribution for hyperspectral anomaly detection", arXiv 2601.12379.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Base of the perturbation kernel: at t = 1 the noise is `_SIGMA` / sqrt(2 ln `_SIGMA`) times the range of the data.
_SIGMA = 5.0

_HIDDEN = 256
_FREQUENCIES = 128
_CHANNELS = (1, 16, 32, 64)
_GROUPS = (4, 8, 16)

#: Places whose values the last convolution gives in one step, elsewhere and on a CPU, whose kernels compute sixteen
#: channels at least, where one place has two.
_STEP = (1, 8)

#: Spectra whose features are normed together, elsewhere and on a CPU, where what is float32 meanwhile stays in a core's
#: cache.
_NORMED = (2**20, 64)


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

    def time(self, t: Tensor) -> Tensor:
        """What the layers are told of times (n), (n, 256)."""
        phase = 2 * math.pi * t[:, None] * self.frequencies
        told: Tensor = F.silu(self.embed(torch.cat([phase.sin(), phase.cos()], dim=1)))
        return told

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The score times the noise's standard deviation, which is what the loss compares with the noise.

        Args:
            x: Scaled spectra with noise, (n, band).
            t: Times, (n), or (1) where all share one.
            condition: (n, band + 2), for a conditioned network.

        Returns:
            (n, band).
        """
        time = self.time(t)
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


class TimedNetwork:
    """A trained network at one time, as it scores.

    What the time adds is a constant then, and part of each layer's bias. Convolutions along the spectrum are those of
    images of one row, whose channels are neighbours in memory, and a transposed one of stride 2 is a plain one that
    gives two values at each place; the last gives those of several places in one step. Norms are float32, and so is the
    first product: spectra are large beside what tells them apart, so that rounding them is most of what bfloat16 would
    cost.

    Args:
        network: The network.
        t: The time, a scalar.
        dtype: Of all other weights and of what is multiplied with them; sums within a product are float32 in any case.
    """

    def __init__(self, network: ScoreNetwork, t: Tensor, dtype: torch.dtype) -> None:
        self._dtype = dtype
        with torch.no_grad():
            time = network.time(t.reshape(1))[0]
            self._first = _linear(network.first, torch.float32, network.first_time(time))
            self._first_norm = network.first_norm
            self._modulation = None if network.modulation is None else _linear(network.modulation, dtype)
            down: Any = zip(network.down, network.down_time, network.down_norm, strict=True)
            self._down = [
                _Stage(_filters(conv.weight, dtype), at_time(time).to(dtype), norm) for conv, at_time, norm in down
            ]
            *others, last = cast(Iterable[nn.ConvTranspose1d], network.up)
            up: Any = zip(others, network.up_time, network.up_norm, strict=True)
            self._up = [
                _Stage(_doubling_filters(conv.weight, dtype), at_time(time).repeat(2).to(dtype), norm)
                for conv, at_time, norm in up
            ]
            assert last.bias is not None
            self._step = _STEP[last.weight.device.type == "cpu"]
            widest = _stepping_filters(_doubling_filters(last.weight, dtype), self._step)
            self._widest = widest, last.bias.detach().repeat(2 * self._step).to(dtype)
            self._last = _linear(network.last, dtype)

    @torch.no_grad()
    def __call__(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """The score times the noise's standard deviation; see `ScoreNetwork.forward`.

        Args:
            x: Scaled spectra with noise, (n, band).
            condition: (n, band + 2), for a conditioned network.

        Returns:
            (n, band), float32.
        """
        dtype, norm = self._dtype, self._first_norm
        first = F.linear(x, *self._first)
        first = F.silu(F.layer_norm(first, norm.normalized_shape, norm.weight, norm.bias, norm.eps), inplace=True)
        if self._modulation is not None:
            assert condition is not None
            gain, offset = F.linear(condition.to(dtype), *self._modulation).float().chunk(2, dim=1)
            first = gain * first + offset
        first = first.to(dtype)
        features = first[..., None]
        skipped = []
        for stage in self._down:
            features = stage(features, stride=2)
            skipped.append(features)
        for stage, skip in zip(self._up, skipped[1::-1], strict=True):
            features = torch.cat([stage(features), skip], dim=2)
        widest = _along(features, *self._widest, self._step, padding=1).flatten(1)
        return F.linear(torch.cat([widest, first], dim=1), *self._last).float()


class _Stage:
    """A convolution along the spectrum, its norm and its activation; two channels of a doubling one become one."""

    def __init__(self, weight: Tensor, bias: Tensor, norm: nn.GroupNorm) -> None:
        self._weight, self._bias, self._norm = weight, bias, norm
        self._normed = _NORMED[weight.device.type == "cpu"]
        size = norm.num_channels // norm.num_groups
        group = torch.arange(norm.num_channels, device=weight.device) // size
        self._mean = (group[:, None] == group) / size

    def __call__(self, x: Tensor, stride: int = 1) -> Tensor:
        """From (n, place, channel) to the same, with half or twice as many places."""
        found = _along(x, self._weight, self._bias, stride).reshape(len(x), -1, self._norm.num_channels)
        for part in torch.split(found, self._normed):
            # In place from here on: new memory costs as much as the arithmetic.
            part.copy_(F.silu(self._group_norm_(part.float()), inplace=True))
        return found

    def _group_norm_(self, x: Tensor) -> Tensor:
        """The norm of float32 (n, place, channel), in place; torch's own is slow where channels are neighbours."""
        norm = self._norm
        # As products with a small matrix, since torch is slow at sums of a few neighbours, too.
        mean = x.mean(dim=1) @ self._mean
        # What a convolution gives has a mean of the order of its spread, so that float32 is enough for this difference.
        variance = torch.addcmul(x.square().mean(dim=1) @ self._mean, mean, mean, value=-1)
        scale = variance.clamp_(min=0).add_(norm.eps).rsqrt_() * norm.weight
        offset = torch.addcmul(norm.bias, mean, scale, value=-1)
        return torch.addcmul(offset[:, None], x, scale[:, None], out=x)


def _along(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
    """A convolution along the places of (n, place, channel), as that of an image of one row, half a filter added."""
    image = x.transpose(1, 2)[:, :, None]
    around = weight.shape[3] // 2 if padding is None else padding
    found = F.conv2d(image, weight, bias, stride=(1, stride), padding=(0, around))
    return found[:, :, 0].transpose(1, 2)


def _filters(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights (out, in, place) of a convolution along a spectrum as those of one of images."""
    return weight.detach().to(dtype)[:, :, None].contiguous(memory_format=torch.channels_last)


def _doubling_filters(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights (in, out, 5) of a transposed convolution of stride 2 as those of one that gives two values at each place.

    Value 2 m is made of the places m - 1, m and m + 1 with the weights 4, 2 and 0, value 2 m + 1 of m and m + 1 with 3
    and 1.
    """
    even = torch.stack([weight[:, :, place] for place in (4, 2, 0)], dim=2)
    odd = F.pad(torch.stack([weight[:, :, place] for place in (3, 1)], dim=2), (1, 0))
    return _filters(torch.cat([even, odd], dim=1).transpose(0, 1), dtype)


def _stepping_filters(weight: Tensor, places: int) -> Tensor:
    """Filters (out, in, 1, place) as those of steps of several places, which give the values of each after another.

    Sums have the same terms in the same order, with zeros before and behind them.
    """
    filters = [F.pad(weight, (place, places - 1 - place)) for place in range(places)]
    return torch.cat(filters).contiguous(memory_format=torch.channels_last)


def _linear(layer: nn.Linear, dtype: torch.dtype, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer, to which something may be added."""
    bias = layer.bias if more is None else layer.bias + more
    return layer.weight.detach().to(dtype), bias.detach().to(dtype)


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
