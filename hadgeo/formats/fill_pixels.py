"""Fill as a spectrum: pixels of a cube that hold it in all their bands are nodata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import DerivedSource, Source

#: Bands by which a place is judged first.
PROBES = 4

#: Decoded bytes of bands that nobody asked for and that are read at a time.
ASKED_BYTES = 2**23


@dataclass(frozen=True)
class Fill:
    """Fill that was found.

    Attributes:
        stored: Stored values, one a band.
        decoded: The same as `Source.read` gives them.
        by_sample: Whether every sample of its value is nodata, or only pixels that hold it in all bands.
    """

    stored: npt.NDArray[np.float64]
    decoded: npt.NDArray[np.floating[Any]]
    by_sample: bool

    @property
    def constant(self) -> bool:
        """Whether it is the same in all bands."""
        return constant(self.stored)

    @property
    def nodata(self) -> float | npt.NDArray[np.float64]:
        """As `Source.take_for_nodata` wants it."""
        return float(self.stored[0]) if self.constant else self.stored

    def __str__(self) -> str:
        if self.constant:
            return f"{self.stored[0]:.7g} in every band at the border"
        low, high = self.stored.min(), self.stored.max()
        return f"the same values, {low:.7g} to {high:.7g} from band to band, in many pixels at the border"


class FillPixels(DerivedSource):
    """Another source, in which pixels that hold the fill in all bands are nodata, or every sample that holds it.

    Args:
        source: A cube whose samples are read and compared.
        fill: What they are compared with.
    """

    def __init__(self, source: Source, fill: Fill) -> None:
        self.source = source
        self._values, self._by_sample = fill.decoded, fill.by_sample
        self.path, self.shape, self.dtype, self.block = source.path, source.shape, source.dtype, source.block
        self.metadata = source.metadata

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, and ask the other bands where the wanted ones hold the fill; see `Source.read`."""
        out = self.source.read(rows, cols, bands)
        if not out.size:
            return out
        every = np.arange(self.shape[0])
        wanted = every[bands]
        if self._by_sample:
            out[out == self._values[wanted][:, None, None]] = np.nan
            return out
        hit = equal(out, self._values[wanted])
        rest = np.setdiff1d(every, wanted)
        # A few bands spread over the spectrum tell most of what is measured from fill, unless all are read with them.
        few = () if self.metadata.interleave == "bip" else (rest[spread(rest.size, PROBES)],)
        for asked in (*few, rest):
            self._ask(hit, rows.start, cols.start, asked)
        if hit.any():
            out[:, hit] = np.nan
        return out

    def _ask(self, hit: npt.NDArray[np.bool_], row: int, col: int, bands: npt.NDArray[np.intp]) -> None:
        """Drop pixels of a window, whose first lies at `row` and `col`, in which one of the bands holds no fill."""
        by_row = self.metadata.interleave in ("bip", "bil")
        for some, high, wide in _pieces(hit, bands, self.dtype.itemsize, by_row=by_row):
            there = (slice(row + high.start, row + high.stop), slice(col + wide.start, col + wide.stop))
            hit[high, wide] &= equal(self.source.read(*there, some), self._values[some])


def _pieces(
    hit: npt.NDArray[np.bool_], bands: npt.NDArray[np.intp], itemsize: int, *, by_row: bool
) -> Iterator[tuple[npt.NDArray[np.intp], slice, slice]]:
    """Bands, rows and columns that hold all pixels still in question, in pieces that fit into `ASKED_BYTES`.

    Files whose pixels or lines lie together are cut between rows, others between bands, so that nothing is read twice.
    """
    high = _hull(np.asarray(hit.any(axis=1)))
    samples = ASKED_BYTES // itemsize
    step = max(samples // max(bands.size * hit.shape[1], 1), 1) if by_row else max(high.stop - high.start, 1)
    for row in range(high.start, high.stop, step):
        rows = slice(row, min(row + step, high.stop))
        group = bands.size if by_row else max(samples // (step * hit.shape[1]), 1)
        for first in range(0, bands.size, max(group, 1)):
            cols = _hull(np.asarray(hit[rows].any(axis=0)))
            if cols.stop > cols.start:
                yield bands[first : first + group], rows, cols


def _hull(flags: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last that is set."""
    places = np.flatnonzero(flags)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def equal(block: npt.NDArray[np.floating[Any]], values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Pixels of a block (band, y, x) whose every band holds its value."""
    hit = np.ones(block.shape[1:], dtype=bool)
    for band in spread(values.size, PROBES):
        hit &= block[band] == values[band]
    # Row by row, whatever the layout: what is compared stays in a core's own cache.
    for row in np.flatnonzero(hit.any(axis=1)):
        hit[row] = (block[:, row] == values[:, None]).all(axis=0)
    return hit


def spread(count: int, most: int) -> npt.NDArray[np.intp]:
    """Up to `most` of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.intp)) if count else np.empty(0, np.intp)


def constant(spectrum: npt.NDArray[np.float64]) -> bool:
    """Whether all bands have the same value."""
    return bool((spectrum == spectrum[0]).all())
