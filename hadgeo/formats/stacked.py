"""Bands that are an array each, seen as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.arrays import Boxes, StoredArray


@dataclass(frozen=True)
class StackedArray(StoredArray):
    """Arrays of two axes on top of each other.

    Attributes:
        parts: One for each band, all of one shape and type.
    """

    parts: tuple[StoredArray, ...] = ()

    @property
    def keeps_chunks(self) -> bool:  # type: ignore[override]
        """As its parts do."""
        return self.parts[0].keeps_chunks

    @classmethod
    def of(cls, parts: Sequence[StoredArray]) -> StackedArray:
        """Stack arrays."""
        first = parts[0]
        chunks = None if first.chunks is None else (1, *first.chunks)
        return cls(first.file, first.name, (len(parts), *first.shape), first.dtype, chunks, tuple(parts))

    def open(self, cache: int) -> Boxes:
        """Open each part when it is first read; see `StoredArray.open`."""
        return _Stack(self.parts, cache)

    def stored_bytes(self) -> int | None:
        """Of all parts; see `StoredArray.stored_bytes`."""
        parts = [part.stored_bytes() for part in self.parts]
        return None if None in parts else sum(part or 0 for part in parts)


class _Stack:
    """Boxes out of a stack."""

    def __init__(self, parts: Sequence[StoredArray], cache: int) -> None:
        self._parts, self._cache = parts, cache
        self._opened: dict[int, Boxes] = {}

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        bands, *rest = box
        return np.stack([np.asarray(self._boxes(i)[tuple(rest)]) for i in range(bands.start, bands.stop)])

    def _boxes(self, part: int) -> Boxes:
        if part not in self._opened:
            self._opened[part] = self._parts[part].open(self._cache // len(self._parts))
        return self._opened[part]
