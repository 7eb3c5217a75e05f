"""A cube seen through the bands of another sensor, by linear interpolation between neighbouring bands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import BandError
from hadgeo.formats.source import DerivedSource, Source


class ResampledSource(DerivedSource):
    """Another source's samples, interpolated to given wavelengths.

    Args:
        source: A cube with wavelengths.
        wavelength: Wanted band centres in nm.
        good: Which of the source's bands may be interpolated between; all by default.

    Raises:
        BandError: The cube has no wavelengths, or a wanted band lies outside them.
    """

    def __init__(
        self,
        source: Source,
        wavelength: npt.NDArray[np.float64],
        good: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        have = source.metadata.wavelength
        if have is None:
            raise BandError(f"{source.path}: bands cannot be interpolated without wavelengths; add them to its header")
        usable = np.flatnonzero(np.isfinite(have) & (True if good is None else good))
        usable = usable[np.argsort(have[usable], kind="stable")]
        centres = have[usable]
        outside = wavelength[(wavelength < centres[0]) | (wavelength > centres[-1])] if usable.size else wavelength
        if outside.size:
            raise BandError(
                f"{source.path}: {outside.size} of the wanted bands, such as {outside[0]:.1f} nm, lie outside its good "
                "bands, and bands are never extrapolated; train on a scene from this sensor"
            )
        right = np.searchsorted(centres, wavelength).clip(1, max(usable.size - 1, 1)).clip(max=usable.size - 1)
        left = (right - 1).clip(min=0)
        span = np.where(centres[right] > centres[left], centres[right] - centres[left], 1.0)
        self._left, self._right = usable[left], usable[right]
        self._weight = (wavelength - centres[left]) / span
        self.source = source
        self.path = source.path
        self.shape = (wavelength.size, *source.shape[1:])
        self.dtype = source.dtype
        self.block = source.block
        self.metadata = replace(
            source.metadata,
            wavelength=wavelength,
            fwhm=None,
            good=np.ones(wavelength.size, dtype=bool),
            band_names=None,
            nodata=None,
            band_nodata=None,
            scale=None,
            offset=None,
        )

    @property
    def sample_bytes(self) -> int:
        """What the source holds, and what is made of it; see `Source.sample_bytes`."""
        return super().sample_bytes + self.dtype.itemsize

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read and interpolate a window; see `Source.read`."""
        left, right, weight = self._left[bands], self._right[bands], self._weight[bands]
        needed = np.unique(np.concatenate([left, right]))
        block = self.source.read(rows, cols, needed)
        out = np.empty((left.size, *block.shape[1:]), dtype=self.dtype)
        for to, (i, j, w) in enumerate(
            zip(np.searchsorted(needed, left), np.searchsorted(needed, right), weight, strict=True)
        ):
            out[to] = block[i] if w == 0 else block[j] if w == 1 else (1 - w) * block[i] + w * block[j]
        return out
