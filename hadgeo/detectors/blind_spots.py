"""What BS3LNet is trained on: pieces of a scene in which some pixels are replaced by neighbours of theirs.

L. Gao, D. Wang, L. Zhuang, X. Sun, M. Huang and A. Plaza, "BS3LNet: A new blind-spot self-supervised learning network
for hyperspectral anomaly detection", IEEE Trans. Geoscience and Remote Sensing 61, 2023, doi 10.1109/TGRS.2023.3246565.

Pixels may be on any device. Which of them are valid is known on the CPU, where places are drawn, so that no step has to
wait for a device; a step sends it places alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from hadgeo.compute.lanes import to_device
from hadgeo.sampling import valid_pixels

if TYPE_CHECKING:
    from hadgeo.detectors.bs3lnet import BS3LNetParams


@dataclass(frozen=True)
class Crop:
    """A piece of a scene.

    Attributes:
        pixels: Standardised (band, y, x), NaN where invalid.
        valid: Where they are valid, bool (y, x), on the CPU.
    """

    pixels: Tensor
    valid: Tensor

    @classmethod
    def of(cls, pixels: Tensor) -> Self:
        """A piece of which it is not yet known where it is valid: its device is waited for."""
        return cls(pixels, valid_pixels(pixels).cpu())


def random_piece(crops: list[Crop], side: int, generator: torch.Generator) -> Crop:
    """A random square out of the crops that holds at least one valid pixel, where a few tries find one.

    Args:
        crops: Each with at least one valid pixel.
        side: Rows and columns wanted; less where a crop is smaller.
        generator: Source of chance, on the CPU.
    """
    for _ in range(20):
        crop = crops[int(torch.randint(len(crops), (), generator=generator))]
        height, width = crop.valid.shape
        rows, cols = min(side, height), min(side, width)
        row = int(torch.randint(height - rows + 1, (), generator=generator))
        col = int(torch.randint(width - cols + 1, (), generator=generator))
        here = slice(row, row + rows), slice(col, col + cols)
        if crop.valid[here].any():
            return Crop(crop.pixels[(slice(None), *here)], crop.valid[here])
    return crop


def turned(piece: Crop, generator: torch.Generator) -> Crop:
    """One of the eight rotations and reflections of a square: nature has no preferred direction."""
    turns = int(torch.randint(8, (), generator=generator))

    def turn(x: Tensor) -> Tensor:
        x = x.rot90(turns % 4, (-2, -1))
        return x.flip(-1) if turns >= 4 else x

    return Crop(turn(piece.pixels), turn(piece.valid))


def blind(piece: Crop, params: BS3LNetParams, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace masked pixels by spectra of their neighbours (paper, section III-B).

    Args:
        piece: The piece.
        params: Mask ratio and windows.
        generator: Source of chance, on the CPU.

    Returns:
        The masked pixels (band, y, x), invalid ones filled with the mean, and the flat indices of the masked pixels
        that are valid.
    """
    x, (rows, cols) = piece.pixels, piece.valid.shape
    inner, reach = params.inner_window // 2, params.neighbour_window // 2
    block = _offsets(inner)
    ring = _offsets(reach, inside=inner)
    valid = piece.valid.flatten()
    candidates = valid.nonzero()
    count = max(1, round(params.mask_ratio * len(candidates) / len(block)))
    centre = candidates[torch.randperm(len(candidates), generator=generator)[:count]]
    row, col = centre // cols, centre % cols
    draw = ring[torch.randint(len(ring), (len(centre), len(block)), generator=generator)]
    target_row, target_col = row + block[:, 0], col + block[:, 1]
    source_row, source_col = _reflect(row + draw[..., 0], rows), _reflect(col + draw[..., 1], cols)
    inside = (target_row >= 0) & (target_row < rows) & (target_col >= 0) & (target_col < cols)
    target = (target_row * cols + target_col)[inside]
    source = (source_row * cols + source_col)[inside]
    # Reflection at the border can lead back to the pixel itself, which would show the answer.
    usable = (source != target) & valid[target] & valid[source]
    target, source = target[usable], source[usable]
    # Blocks overlap; a pixel that is written twice would be either of two.
    _, first = np.unique(target.numpy(), return_index=True)
    target, source = to_device(torch.stack([target[first], source[first]]), x.device)
    filled = x.nan_to_num(0.0)
    masked = filled.flatten(1).clone()
    masked[:, target] = filled.flatten(1)[:, source]
    return masked.reshape(x.shape), target


def _offsets(reach: int, inside: int = -1) -> Tensor:
    """Row and column offsets within `reach` pixels and farther than `inside`, (n, 2)."""
    side = torch.arange(-reach, reach + 1)
    offsets = torch.cartesian_prod(side, side).reshape(-1, 2)
    return offsets[offsets.abs().amax(dim=1) > inside]


def _reflect(index: Tensor, size: int) -> Tensor:
    """Reflect indices into [0, size), the border pixels not repeated."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return torch.minimum(index, period - index)
