"""The network of BS3LNet, as it is trained and as it scores: convolution by convolution, each in canonical tiles.

L. Gao, D. Wang, L. Zhuang, X. Sun, M. Huang and A. Plaza, "BS3LNet: A new blind-spot self-supervised learning network
for hyperspectral anomaly detection", IEEE Trans. Geoscience and Remote Sensing 61, 2023, doi 10.1109/TGRS.2023.3246565.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hadgeo.compute.cores import map_cores
from hadgeo.detectors.tiles import SIDE, filled_up, joined, pieces, placed
from hadgeo.windows import Window

#: Tiles that are convolved together, elsewhere and on a CPU.
_TOGETHER = (256, 16)


class BlindSpotNetwork(nn.Module):
    """The network of the paper's fig. 2: encoder, residual blocks, decoder, and a skip from the encoder.

    All convolutions are 3x3 with reflection padding, so its receptive field reaches 2 * blocks + 3 pixels.

    Args:
        bands: Bands of the cube.
        channels: Feature channels.
        blocks: Residual blocks.
    """

    def __init__(self, bands: int, channels: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.encoder = Conv(bands, channels, bias=True)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.decoder = Conv(channels, channels, bias=False)
        self.decoder_norm = nn.BatchNorm2d(channels)
        self.output = Conv(channels, bands, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Predict (n, band, y, x) from as much."""
        encoded = features = F.relu(self.encoder(x))
        for block in self.blocks:
            features = block(features)
        predicted: Tensor = self.output(self.decoder_norm(self.decoder(features)) + encoded)
        return predicted

    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights as the paper does: convolutions N(0, 0.02), norms N(1, 0.02), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                mean = 0.0 if isinstance(module, nn.Conv2d) else 1.0
                nn.init.normal_(module.weight, mean, 0.02, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class Conv(nn.Conv2d):
    """A 3x3 convolution that reflects at the border, or repeats it where a single row leaves nothing to reflect."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve without a change of size."""
        if x.device.type != "cpu":
            return super().forward(reflected(x))
        if min(x.shape[-2:]) > 1:
            return super().forward(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        for sides, size in (((1, 1, 0, 0), x.shape[-1]), ((0, 0, 1, 1), x.shape[-2])):
            x = F.pad(x, sides, mode="reflect" if size > 1 else "replicate")
        return super().forward(x)


def reflected(x: Tensor) -> Tensor:
    """Features (n, channel, y, x) with a border of one pixel, as `Conv` pads, to the same bits in each run.

    The gradient of torch's own padding is added up on a GPU in whatever order its threads come; that of these pieces is
    added up one after the other.
    """
    for dim in (-1, -2):
        length = x.shape[dim]
        inside = 1 if length > 1 else 0
        x = torch.cat([x.narrow(dim, inside, 1), x, x.narrow(dim, length - 1 - inside, 1)], dim=dim)
    return x


class ResidualBlock(nn.Module):
    """Two convolutions with batch norms beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = Conv(channels, channels, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Refine features (n, channel, y, x)."""
        inner = F.relu(self.first_norm(self.first(x)))
        refined: Tensor = x + self.second_norm(self.second(inner))
        return refined


class TiledNetwork:
    """A trained network that scores: batch norms are part of the convolutions, which run tile by tile in one precision.

    Each convolution sees tiles of one shape with a border of one pixel, so that no pixel is computed twice, and a score
    needs no more neighbours than the network's receptive field. At the border of what it is given it reflects, as in
    training.

    Args:
        network: The network.
        dtype: Of weights and feature maps; sums within a convolution are float32 in any case.
    """

    def __init__(self, network: BlindSpotNetwork, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._encoder = _Layer.of(network.encoder, None, dtype)
        self._blocks = [
            (_Layer.of(block.first, block.first_norm, dtype), _Layer.of(block.second, block.second_norm, dtype))
            for block in network.blocks
            if isinstance(block, ResidualBlock)
        ]
        self._decoder = _Layer.of(network.decoder, network.decoder_norm, dtype)
        self._output = _Layer.of(network.output, None, dtype)

    @torch.no_grad()
    def subtract_from(self, x: Tensor) -> None:
        """Subtract from pixels what the network predicts of them.

        Args:
            x: Standardised pixels (y, x, band), float32, that begin at the border of a tile; what is not finite counts
                as 0.
        """
        rows, cols, _ = x.shape

        def plane(channels: int) -> _Plane:
            return _Plane(rows, cols, channels, self._dtype, x.device)

        channels = len(self._encoder.weight)
        encoded = plane(channels)
        self._encoder.run(_Plane.of(x, self._dtype), encoded, relu=True)
        features = encoded
        inner = plane(channels)
        for first, second in self._blocks:
            first.run(features, inner, relu=True)
            refined = plane(channels) if features is encoded else features
            second.run(inner, refined, plus=features)
            features = refined
        self._decoder.run(features, inner, plus=encoded)
        self._output.run(inner, lambda tiles, part: _subtract(x, tiles, part))


def _subtract(x: Tensor, tiles: Tensor, part: Window) -> None:
    """Subtract the tiles (tile, y, x, channel) of a part from pixels (y, x, channel), which may end before it does."""
    here = x[part.rows, part.cols]
    if here.shape[:2] == (part.height, part.width):
        # A view of both, where all tiles are whole: joining them takes a copy.
        here.view(part.height // SIDE, SIDE, part.width // SIDE, SIDE, -1).sub_(placed(tiles, part))
    else:
        here -= joined(tiles, part)[: len(here), : here.shape[1]]


class _Plane:
    """A feature map, with a border of one pixel and room for whole tiles.

    Args:
        rows: Rows of the map itself.
        cols: Its columns.
        channels: Its channels.
        dtype: Its type.
        device: Where it is.

    Attributes:
        values: (y + 2, x + 2, channel), y and x rounded up to whole tiles; what lies beyond the border is 0 or whatever
            a convolution makes of that.
        shape: y and x.
    """

    def __init__(self, rows: int, cols: int, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows, self._cols = rows, cols
        self.shape = -(rows // -SIDE) * SIDE, -(cols // -SIDE) * SIDE
        # Not left as it comes: kernels multiply what lies behind the last channel by 0, which NaN outlives.
        self.values = torch.zeros((self.shape[0] + 2, self.shape[1] + 2, channels), dtype=dtype, device=device)

    @classmethod
    def of(cls, x: Tensor, dtype: torch.dtype) -> Self:
        """A copy of pixels (y, x, channel), zeros where they are not finite."""
        rows, cols, channels = x.shape
        plane = cls(rows, cols, channels, dtype, x.device)
        own = plane.values[1 : rows + 1, 1 : cols + 1]
        own.copy_(x)
        own.nan_to_num_(0.0, 0.0, 0.0)
        plane.reflect()
        return plane

    def reflect(self) -> None:
        """Fill the border with what lies as far inside, or with the only row or column that there is."""
        for values, length in ((self.values, self._rows), (self.values.transpose(0, 1), self._cols)):
            inside = 1 if length > 1 else 0
            values[0] = values[1 + inside]
            values[length + 1] = values[length - inside]

    def surroundings(self, part: Window, count: int) -> Tensor:
        """The tiles of a part with their borders, and zeros for others up to a number, (tile, channel, y, x)."""
        values = self.values[part.row : part.row + part.height + 2, part.col : part.col + part.width + 2]
        found = values.unfold(0, SIDE + 2, SIDE).unfold(1, SIDE + 2, SIDE).permute(0, 1, 3, 4, 2)
        return filled_up(found, count).permute(0, 3, 1, 2)

    def own(self, part: Window) -> Tensor:
        """A view of a part as `placed` has it."""
        values = self.values[1 + part.row : 1 + part.row + part.height, 1 + part.col : 1 + part.col + part.width]
        return values.view(part.height // SIDE, SIDE, part.width // SIDE, SIDE, -1)


@dataclass(frozen=True)
class _Layer:
    """A convolution and the batch norm after it, as one."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, conv: Conv, norm: nn.BatchNorm2d | None, dtype: torch.dtype) -> Self:
        """Of a trained network."""
        weight = conv.weight.detach()
        bias = torch.zeros_like(weight[:, 0, 0, 0]) if conv.bias is None else conv.bias.detach()
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
            weight = weight * gain[:, None, None, None]
            bias = norm.bias.detach() + gain * (bias - norm.running_mean)
        # The layout in which convolutions are fast, on CPUs and tensor cores alike.
        return cls(weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype))

    def run(
        self,
        source: _Plane,
        into: _Plane | Callable[[Tensor, Window], None],
        *,
        relu: bool = False,
        plus: _Plane | None = None,
    ) -> None:
        """Convolve a feature map.

        Args:
            source: The map.
            into: Where the result goes, or what takes each piece of it: tiles (tile, y, x, channel), and their place.
            relu: Whether negative values become 0.
            plus: What is added, of the size of the result; may be where it goes.
        """
        device = source.values.device
        count = _TOGETHER[device.type == "cpu"]

        @torch.no_grad()
        def one(part: Window) -> None:
            batch = source.surroundings(part, count)
            found = F.conv2d(batch, self.weight, self.bias).permute(0, 2, 3, 1)
            if not isinstance(into, _Plane):
                into(found, part)
            elif relu:
                torch.clamp_min(placed(found, part), 0, out=into.own(part))
            elif plus is None:
                into.own(part).copy_(placed(found, part))
            else:
                torch.add(placed(found, part), plus.own(part), out=into.own(part))

        map_cores(one, pieces(*source.shape, count), device)
        if isinstance(into, _Plane):
            into.reflect()
