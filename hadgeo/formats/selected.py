"""Some of the pixels of a cube: a bit for each of them, and the cube with nodata everywhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import DerivedSource, Source

#: Pixels whose bits are unpacked at a time.
_STRIP_PIXELS = 2**22


class PixelBits:
    """Yes or no for each pixel of a grid: a bit each, so that a flight line of 40 million pixels takes 5 MB.

    Args:
        shape: Rows and columns. At first every pixel is no.

    Attributes:
        shape: Rows and columns.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._bits = np.zeros((shape[0], -(-shape[1] // 8)), dtype=np.uint8)

    def put(self, rows: slice, cols: slice, yes: npt.NDArray[np.bool_]) -> None:
        """Set the pixels of a window.

        Args:
            rows: Rows, as for `Source.read`.
            cols: Columns, likewise.
            yes: Bool (y, x).
        """
        first, last = cols.start // 8, -(-cols.stop // 8)
        bits = np.unpackbits(self._bits[rows, first:last], axis=1)
        bits[:, cols.start - 8 * first : cols.stop - 8 * first] = yes
        self._bits[rows, first:last] = np.packbits(bits, axis=1)

    def get(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """The pixels of a window, bool (y, x)."""
        first = cols.start // 8
        bits = np.unpackbits(self._bits[rows, first : -(-cols.stop // 8)], axis=1)
        return bits[:, cols.start - 8 * first : cols.stop - 8 * first].astype(bool)

    def __and__(self, other: PixelBits) -> PixelBits:
        """Pixels that are yes in both."""
        return self._of(self._bits & other._bits)

    def __sub__(self, other: PixelBits) -> PixelBits:
        """Pixels that are yes here, and no in the other."""
        return self._of(self._bits & ~other._bits)

    def _of(self, bits: npt.NDArray[np.uint8]) -> PixelBits:
        made = PixelBits(self.shape)
        made._bits = bits
        return made

    @property
    def count(self) -> int:
        """Number of pixels that are yes."""
        return int(np.bitwise_count(self._bits).sum(dtype=np.int64))


def kept_pixels(source: Source) -> PixelBits:
    """The pixels of a cube that masks from elsewhere leave, whether there is data or not."""
    _, height, width = source.shape
    kept = PixelBits((height, width))
    step = max(_STRIP_PIXELS // width, 1)
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        kept.put(rows, slice(0, width), source.keeps(rows, slice(0, width)))
    return kept


class Selected(DerivedSource):
    """The samples of another source at some of its pixels; all others are nodata.

    Args:
        source: The cube.
        chosen: The pixels.

    Attributes:
        chosen: The pixels.
    """

    def __init__(self, source: Source, chosen: PixelBits) -> None:
        self.source, self.chosen = source, chosen
        self.path, self.shape, self.dtype, self.block = source.path, source.shape, source.dtype, source.block
        self.metadata = source.metadata

    def keeps(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """Which pixels are chosen here, and left by what the source itself chooses; see `Source.keeps`."""
        return self.chosen.get(rows, cols) & self.source.keeps(rows, cols)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, unless no pixel of it is chosen; see `Source.read`."""
        chosen = self.chosen.get(rows, cols)
        if not chosen.any():
            return np.full((np.arange(self.shape[0])[bands].size, *chosen.shape), np.nan, dtype=self.dtype)
        out = self.source.read(rows, cols, bands)
        if not chosen.all():
            out[:, ~chosen] = np.nan
        return out
