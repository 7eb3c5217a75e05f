"""Bands that are no part of the spectrum: alpha and masks say which pixels are data, quality codes say neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError
from hadgeo.formats.source import BandSubset, Source

#: Names of bands that are 0 where there is no data, and nothing else.
_MASK = re.compile(r"(valid|validity|data|valid data)?[ _-]?mask|datamask|alpha([ _-]?(band|channel))?", re.I)

#: Names of bands of codes and flags, whose 0 has another meaning in each product.
_CODES = re.compile(
    r"b?qa([ _-]?(pixel|band|\d+))?|fmask|scl|udm2?|flags?|((pixel|data)[ _-]?)?quality([ _-]?(flags?|mask))?"
    r"|(cloud|cirrus|shadow|snow|haze|saturation)s?[ _-]?(mask|flags?)",
    re.I,
)


class MaskedByBands(BandSubset):
    """The spectral bands of another source, where its masks are not 0.

    Args:
        source: A cube with masks among its bands.
        masks: Which bands they are, one bool a band.

    Attributes:
        mask_bands: Their 0-based indices.
    """

    def __init__(self, source: Source, masks: npt.NDArray[np.bool_]) -> None:
        super().__init__(source, np.flatnonzero(~masks).tolist())
        self.mask_bands: tuple[int, ...] = tuple(np.flatnonzero(masks).tolist())
        self.metadata = replace(self.metadata, masks=None)
        # A fill value is one of the samples: a mask may well hold the same number.
        if source.metadata.nodata is not None:
            self.take_for_nodata(source.metadata.nodata)
        elif source.metadata.band_nodata is not None:
            self.take_for_nodata(source.metadata.band_nodata[self.indices])

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, its masks with it; see `Source.read`."""
        wanted = self.indices[bands]
        block = self.source.read(rows, cols, np.concatenate([wanted, np.array(self.mask_bands)]))
        out, masks = block[: wanted.size], block[wanted.size :]
        # Not a number is no data either.
        masked = ~(np.abs(masks) > 0).all(axis=0)
        if masked.any():
            out[:, masked] = np.nan
        return out


def without_masks(source: Source) -> Source:
    """Take masks out of the bands of a source and apply them.

    Args:
        source: As its format has opened it. Masks are those of `Metadata.masks`, and bands that are called so; bands of
            codes are made bad ones.

    Raises:
        CubeError: Nothing but masks is left.
    """
    known = source.metadata
    names = [name.strip() for name in known.band_names or [""] * source.shape[0]]
    masks = called_masks(names) if known.masks is None else known.masks | called_masks(names)
    codes = _matches(_CODES, names)
    if codes.any():
        good = ~codes if known.good is None else known.good & ~codes
        source.metadata = replace(known, good=good, assumed=(*known.assumed, _said(codes, names, "codes")))
    if not masks.any():
        return source
    if masks.all():
        raise CubeError(f"{source.path}: all of its bands are masks; give the cube that this mask belongs to")
    out = MaskedByBands(source, masks)
    out.metadata = replace(out.metadata, assumed=(*out.metadata.assumed, _said(masks, names, "mask")))
    return out


def called_masks(names: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    """Which bands are masks by their names alone.

    Args:
        names: One a band, None or empty where it has none.

    Returns:
        One bool a band.
    """
    return _matches(_MASK, names)


def _matches(pattern: re.Pattern[str], names: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    return np.array([pattern.fullmatch((name or "").strip()) is not None for name in names], dtype=bool)


def _said(bands: npt.NDArray[np.bool_], names: list[str], what: str) -> str:
    numbers = np.flatnonzero(bands) + 1
    which = ", ".join(f"{n} ({names[n - 1]})" if names[n - 1] else str(n) for n in numbers.tolist())
    one = numbers.size == 1
    if what == "codes":
        return f"band{'' if one else 's'} {which} named like quality codes, not measurements: excluded unless selected"
    kind = f"{'is an alpha or mask band' if one else 'are alpha or mask bands'}, not part of the spectrum"
    return f"band{'' if one else 's'} {which} {kind}: pixels where {'it is' if one else 'one is'} 0 are nodata"
