"""Quality layers of products: pixels that their makers flag as cloud, saturated or defective become nodata on request.

A layer is a source of its own on the cube's grid, read window by window together with the cube.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError
from hadgeo.formats.reading import QUALITY
from hadgeo.formats.source import DerivedSource, Source


class Mask(Protocol):
    """Samples of a cube that are no data."""

    @property
    def source(self) -> Source:
        """Where that is read from."""

    def read(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Read a window.

        Args:
            rows: Rows, as `Source.read` takes them.
            cols: Columns, likewise.
            bands: Bands of the cube.

        Returns:
            Bool (band, y, x), True where there is no data; one band where that is the same for all.
        """


@dataclass(frozen=True, eq=False)
class Flags:
    """Flags in a layer of a product.

    Attributes:
        source: The layer, on the cube's grid.
        values: What it says of a flagged pixel; None for anything but 0.
        places: The band of the layer with the flags of each band of the cube, or a single one for all of them.
        bits: Which bits of that band count, one for each of `places`; None for the value as a whole.
    """

    source: Source
    values: tuple[int, ...] | None = None
    places: tuple[int, ...] = (0,)
    bits: tuple[int, ...] | None = None

    def read(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Read a window; see `Mask.read`."""
        places = np.array(self.places, dtype=np.intp)
        chosen = np.zeros(1, dtype=np.intp) if places.size == 1 else bands
        # Several bands of a cube may share one of the layer.
        stored, back = np.unique(places[chosen], return_inverse=True)
        # Fill is NaN: of such a pixel the layer says nothing.
        layer = np.nan_to_num(self.source.read(rows, cols, stored)).astype(np.int64)[back]
        if self.bits is not None:
            layer &= np.array(self.bits, dtype=np.int64)[chosen][:, None, None]
        return layer != 0 if self.values is None else np.isin(layer, self.values)


@dataclass(frozen=True, eq=False)
class ZeroThroughout:
    """Pixels that are 0 in every one of some bands, as products fill what lies outside of what the sensor saw.

    Attributes:
        source: Stored values, not decoded.
        places: The bands to look at.
    """

    source: Source
    places: tuple[int, ...]

    def read(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # noqa: ARG002
        """Read a window; see `Mask.read`."""
        return np.asarray((self.source.read(rows, cols, np.array(self.places)) == 0).all(axis=0, keepdims=True))


class MaskedByProduct(DerivedSource):
    """Another source, with what its product's own layers mark as nodata.

    Args:
        source: The cube.
        masks: What to leave out.
    """

    def __init__(self, source: Source, masks: Sequence[Mask]) -> None:
        self.source = source
        self.masks = tuple(masks)
        self.path = source.path
        self.shape = source.shape
        self.dtype = source.dtype
        self.block = source.block
        self.metadata = source.metadata

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the cube and of the layers; see `Source.files`."""
        return tuple(dict.fromkeys((*self.source.files, *(f for mask in self.masks for f in mask.source.files))))

    @property
    def sample_bytes(self) -> int:
        """A layer of flags for each band is read beside the cube; see `Source.sample_bytes`."""
        return super().sample_bytes + max((np.dtype(np.int64).itemsize for _ in self.masks), default=0)

    @property
    def cache_bytes(self) -> int:
        """Those of the cube and of the layers; see `Source.cache_bytes`."""
        return super().cache_bytes + sum(mask.source.cache_bytes for mask in self.masks)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window and its masks; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        out = self.source.read(rows, cols, indices)
        if out.size:
            for mask in self.masks:
                np.copyto(out, np.nan, where=mask.read(rows, cols, indices))
        return out


def choose(names: Sequence[str], layers: Mapping[str, Sequence[Mask]], path: str, where: str = "") -> list[Mask]:
    """The masks that were asked for.

    Args:
        names: Out of `QUALITY`.
        layers: What the product has, by those names; nothing under a name counts as not there.
        path: The cube, for the message.
        where: Where the product would have more, for the message.

    Raises:
        CubeError: The product has no such layer.
    """
    has = [name for name in QUALITY if layers.get(name)]
    for name in names:
        if name not in has:
            known = f"it has {', '.join(has)}" if has else "it has none"
            raise CubeError(f"{path}: no quality layer for {name!r}; {known}{where and f' ({where})'}")
    return [mask for name in dict.fromkeys(names) for mask in layers[name]]


def masked(source: Source, masks: Sequence[Mask]) -> Source:
    """A source without what some masks leave out; the source itself where there are none."""
    return MaskedByProduct(source, masks) if masks else source
