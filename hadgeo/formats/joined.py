"""A cube whose bands are stored in several places: the detectors of one instrument, each with an array of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Metadata, Source


class JoinedBands(Source):
    """Bands of several sources of the same rows and columns, in any order.

    Args:
        path: The file as the user named it.
        parts: The sources.
        order: For each band of the cube, the number of its source and its band therein.
        metadata: What is known of the whole. Decoding is the business of the parts.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parts: Sequence[Source],
        order: Sequence[tuple[int, int]],
        metadata: Metadata,
    ) -> None:
        self.path = os.fspath(path)
        self.parts = tuple(parts)
        self.shape = (len(order), *self.parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self.block = self.parts[0].block
        self.metadata = metadata
        self._order = np.array(order, dtype=np.intp).reshape(-1, 2)

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of all parts; see `Source.files`."""
        return tuple(dict.fromkeys(file for part in self.parts for file in part.files))

    @property
    def sample_bytes(self) -> int:
        """What a part holds, and what is made of it; see `Source.sample_bytes`."""
        return max(part.sample_bytes for part in self.parts) + self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """Those of the part with the largest; see `Source.block_bytes`."""
        return max(part.block_bytes for part in self.parts)

    @property
    def cache_bytes(self) -> int:
        """Those of all parts; see `Source.cache_bytes`."""
        return sum(part.cache_bytes for part in self.parts)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read the window from every part that has a wanted band; see `Source.read`."""
        wanted = self._order[bands]
        out = np.empty((len(wanted), rows.stop - rows.start, cols.stop - cols.start), dtype=self.dtype)
        for number, part in enumerate(self.parts):
            to = np.flatnonzero(wanted[:, 0] == number)
            if to.size:
                out[to] = part.read(rows, cols, wanted[to, 1])
        return out
