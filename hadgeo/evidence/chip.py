"""The surroundings of an anomaly as a small picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Source
from hadgeo.formats.survey import band_index
from hadgeo.pictures.composite import ColourBands

#: Pixels of a chip's side, odd.
SIDE = 25

#: Percentiles of a chip that become black and white.
_STRETCH = (2.0, 98.0)


@dataclass(frozen=True)
class Frame:
    """What a chip shows.

    Attributes:
        row: The first row, which may lie above the scene.
        col: The first column, likewise.
        side: Pixels of the chip's side.
        step: Rows and columns of the scene for one of the chip.
    """

    row: int
    col: int
    side: int = SIDE
    step: int = 1

    @classmethod
    def around(cls, row: int, col: int, side: int = SIDE, step: int = 1) -> Frame:
        """A frame with a pixel in its middle."""
        return cls(row - side // 2 * step, col - side // 2 * step, side, step)

    def inside(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of a scene that the frame covers; step 1, and empty where it lies outside."""
        length = self.side * self.step
        rows, cols = (
            slice(min(max(0, first), size), max(0, min(size, first + length)))
            for first, size in zip((self.row, self.col), shape, strict=True)
        )
        return rows, cols

    def place(self, block: npt.NDArray[np.floating], rows: slice, cols: slice) -> npt.NDArray[np.floating]:
        """Put what `inside` has named into the frame, NaN around it.

        Args:
            block: (..., y, x).
            rows: The rows of it.
            cols: The columns of it.

        Returns:
            (..., side x step, side x step).
        """
        length = self.side * self.step
        framed = np.full((*block.shape[:-2], length, length), np.nan, dtype=block.dtype)
        top, left = rows.start - self.row, cols.start - self.col
        framed[..., top : top + block.shape[-2], left : left + block.shape[-1]] = block
        return framed


def read_chip(
    source: Source, bands: ColourBands, frame: Frame, limits: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.uint8]:
    """Read the surroundings of a pixel in three colours, stretched by themselves.

    Args:
        source: The cube.
        bands: What is drawn in red, green and blue.
        frame: What is shown; of each of its steps, the pixel in the middle.
        limits: Values of a picture's black and white, (2, 3): colours are then as there, and brightness alone is
            stretched. By default each colour is.

    Returns:
        (side, side, 4): red, green, blue and opacity, which is 0 beyond the scene and where it has no data.
    """
    chip = np.zeros((frame.side, frame.side, 4), dtype=np.uint8)
    rows, cols = frame.inside(source.shape[1:])
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return chip
    distinct, inverse = np.unique(bands.indices, return_inverse=True)
    seen = source.read(rows, cols, band_index(distinct.tolist(), source.shape[0]))[inverse]
    every = slice(frame.step // 2, None, frame.step)
    seen = frame.place(seen, rows, cols)[:, every, every]
    valid = np.isfinite(seen).all(axis=0)
    if not valid.any():
        return chip
    if limits is not None:
        black, white = limits[..., None, None]
        seen = (seen - black) / np.where(white > black, white - black, 1)
    axis = 1 if limits is None else None
    low, high = np.percentile(seen[:, valid], _STRETCH, axis=axis, keepdims=True)[..., None]
    stretched = np.nan_to_num((seen - low) / np.where(high > low, high - low, 1)).clip(0, 1)
    chip[..., :3] = np.rint(255 * stretched * valid).transpose(1, 2, 0)
    chip[..., 3] = 255 * valid
    return chip
