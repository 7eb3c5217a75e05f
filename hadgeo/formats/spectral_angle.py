"""Pixels whose spectrum is like one of some known ones, by the angle between both: brightness does not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Spectra = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SpectralAngles:
    """Known spectra at some bands of a scene.

    F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of Environment 44, 1993,
    doi 10.1016/0034-4257(93)90013-N, the angle between two spectra as vectors.

    Attributes:
        bands: 0-based indices of the bands, rising.
        spectra: (spectrum, band).
        others: (spectrum, band): pixels that are more like one of these are not like one of the former.
        angle: The largest angle that is alike, in radian.
    """

    bands: tuple[int, ...]
    spectra: Spectra
    others: Spectra
    angle: float

    def alike(self, block: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
        """Which pixels are alike.

        Args:
            block: (band, y, x) at `bands`; NaN where there is no data.

        Returns:
            Bool (y, x); false where a band has no data.
        """
        pixels = block.reshape(len(self.bands), -1).astype(np.float64)
        known = np.isfinite(pixels).all(axis=0)
        pixels = np.where(known, pixels, 0.0)
        length = np.linalg.norm(pixels, axis=0)
        nearest, other = (self._cosine(spectra, pixels) for spectra in (self.spectra, self.others))
        # Both are cosines times the length of the pixel.
        alike: npt.NDArray[np.bool_] = (length > 0) & (nearest >= math.cos(self.angle) * length) & (nearest >= other)
        return alike.reshape(block.shape[1:])

    @staticmethod
    def _cosine(spectra: Spectra, pixels: Spectra) -> Spectra:
        """The largest of the products of unit vectors along the spectra with each pixel."""
        if not len(spectra):
            return np.full(pixels.shape[1], -np.inf)
        largest: Spectra = (spectra / np.linalg.norm(spectra, axis=1, keepdims=True) @ pixels).max(axis=0)
        return largest
