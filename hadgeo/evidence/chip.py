"""The surroundings of an anomaly as a small picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Source
from hadgeo.pictures.composite import ColourBands
from hadgeo.sampling import band_index

#: Pixels of a chip's side, odd.
SIDE = 25

#: Percentiles of a chip that become black and white.
_STRETCH = (2.0, 98.0)


def read_chip(source: Source, bands: ColourBands, row: int, col: int) -> npt.NDArray[np.uint8]:
    """Read the surroundings of a pixel in three colours, stretched by themselves.

    Args:
        source: The cube.
        bands: What is drawn in red, green and blue.
        row: Row of the pixel.
        col: Column of the pixel.

    Returns:
        (`SIDE`, `SIDE`, 4): red, green, blue and opacity, which is 0 beyond the scene and where it has no data.
    """
    chip = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    rows, cols = (
        slice(max(0, at - SIDE // 2), min(length, at + SIDE // 2 + 1))
        for at, length in zip((row, col), source.shape[1:], strict=True)
    )
    distinct, inverse = np.unique(bands.indices, return_inverse=True)
    seen = source.read(rows, cols, band_index(distinct.tolist(), source.shape[0]))[inverse]
    valid = np.isfinite(seen).all(axis=0)
    if not valid.any():
        return chip
    low, high = np.percentile(seen[:, valid], _STRETCH, axis=1)[..., None, None]
    stretched = np.nan_to_num((seen - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    top, left = rows.start - row + SIDE // 2, cols.start - col + SIDE // 2
    inside = chip[top : top + valid.shape[0], left : left + valid.shape[1]]
    inside[..., :3] = np.rint(255 * stretched * valid).transpose(1, 2, 0)
    inside[..., 3] = 255 * valid
    return chip
