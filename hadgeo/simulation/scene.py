"""A scene as a function of rows: any strip of it, pixels and truth, from the options alone."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.simulation.land import WATER, land
from hadgeo.simulation.noise import Floats
from hadgeo.simulation.spec import INT16_SCALE, NODATA, TRUTH_NODATA, SceneSpec
from hadgeo.simulation.spectra import BACKGROUND, TARGETS, clutter_basis, make_bands, mixing_basis
from hadgeo.simulation.targets import Swath, flight_key, place_targets

# The signal-to-noise ratio that is asked for holds at this reflectance in the best band.
_REFERENCE = 0.3
# How much a pixel differs from its neighbours for reasons that no field has: brightness, slope, water, pigment.
_GRAIN = np.array([0.035, 0.012, 0.08, 0.08], dtype=np.float32)
# The spread of small features, and of its logarithm: most pixels are plain, a few are odd, as in any real scene.
_CLUTTER, _CLUTTER_TAIL = np.float32(0.014), np.float32(0.7)
# Multiplications up to which OpenBLAS keeps a product on the calling thread. Rows are too small to be worth threads,
# which cost a factor of ten on a busy machine.
_ONE_THREAD = 2**18
_TARGET_ROWS = {material.name: len(BACKGROUND) + i for i, material in enumerate(TARGETS)}


@dataclass(frozen=True)
class Strip:
    """Some rows of a scene.

    Attributes:
        start: First row.
        pixels: (rows, cols, bands) in the scene's data type.
        truth: uint8 (rows, cols): 1 target, 0 background, 255 nodata.
    """

    start: int
    pixels: npt.NDArray[Any]
    truth: npt.NDArray[np.uint8]


class Scene:
    """Makes strips. Nothing in it grows with the number of rows except the list of targets.

    Args:
        spec: The options.

    Raises:
        ParameterError: The targets do not fit in.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.bands = make_bands(spec.bands)
        self.swath = Swath(spec.rows, spec.cols, spec.wedges, spec.seed)
        self.targets = place_targets(
            self.swath, spec.targets, spec.seed, spec.flight, size=spec.target_size, abundance=spec.abundance
        )
        self._target_starts = [target.row for target in self.targets]
        self._scale = np.float32(INT16_SCALE if spec.dtype == "int16" else 1)
        clutter = clutter_basis(self.bands)
        self._features = len(clutter)
        self._basis = np.concatenate([mixing_basis(self.bands), clutter]) * self._scale
        self._piece = max(1, _ONE_THREAD // self._basis.size)
        # Half of the variance is the sensor's own, half is photon noise, which grows with the signal.
        variance = 0.5 * (_REFERENCE / spec.snr * self.bands.noise * float(self._scale)) ** 2
        self._white = variance.astype(np.float32)
        self._shot = (variance / (_REFERENCE * float(self._scale))).astype(np.float32)

    @property
    def target_pixels(self) -> int:
        """How many pixels the truth marks."""
        return sum(target.size[0] * target.size[1] for target in self.targets)

    def strip(self, start: int, stop: int) -> Strip:
        """Make rows `start` to `stop`; the same rows come out the same in whatever strip they are."""
        rows, cols = stop - start, self.spec.cols
        ground = land(self.spec.seed, start, stop, cols)
        abundance = np.zeros((rows, len(BACKGROUND) + len(TARGETS), cols), dtype=np.float32)
        abundance[:, : len(BACKGROUND)] = ground.abundance.transpose(1, 0, 2)
        truth = np.full((rows, cols), TRUTH_NODATA, dtype=np.uint8)
        pixels = np.full((rows, cols, self.spec.bands), NODATA, dtype=self.spec.dtype)
        lefts = self.swath.left(np.arange(start, stop))
        for i, left in enumerate(lefts.tolist()):
            truth[i, left : left + self.swath.width] = 0
        self._implant(start, stop, abundance, truth)
        for i, left in enumerate(lefts.tolist()):
            valid = slice(left, left + self.swath.width)
            self._measure(
                start + i,
                abundance[i, :, valid],
                ground.brightness[i, valid],
                ground.variation[:, i, valid],
                pixels[i, valid],
            )
        return Strip(start, pixels, truth)

    def _implant(self, start: int, stop: int, abundance: Floats, truth: npt.NDArray[np.uint8]) -> None:
        tallest = max((target.size[0] for target in self.targets), default=0)
        first = bisect.bisect_right(self._target_starts, start - tallest)
        last = bisect.bisect_left(self._target_starts, stop)
        for target in self.targets[first:last]:
            height, width = target.size
            rows = slice(max(0, target.row - start), max(0, target.row + height - start))
            cols = slice(target.col, target.col + width)
            abundance[rows, : len(BACKGROUND), cols] *= np.float32(1 - target.abundance)
            abundance[rows, _TARGET_ROWS[target.material], cols] = target.abundance
            truth[rows, cols] = 1

    def _measure(
        self, row: int, abundance: Floats, brightness: Floats, variation: Floats, out: npt.NDArray[Any]
    ) -> None:
        """Mix, light and measure one row.

        A row has its own generator, and its products have shapes of its own, so that neither the random numbers nor the
        order of the sums depends on the strip that it is made in.
        """
        seeds = np.random.SeedSequence(self.spec.seed, spawn_key=(1, row, *flight_key(self.spec.flight)))
        rng = np.random.Generator(np.random.SFC64(seeds))
        grain = rng.standard_normal((4, len(brightness)), dtype=np.float32) * _GRAIN[:, None]
        oddness = _CLUTTER * np.exp(_CLUTTER_TAIL * rng.standard_normal(len(brightness), dtype=np.float32))
        oddness *= brightness * (1 - abundance[WATER])
        clutter = rng.standard_normal((self._features, len(brightness)), dtype=np.float32) * oddness
        lit = abundance * (brightness * (1 + grain[0]))
        weights = np.concatenate([lit, *(lit * (variation[j] + grain[j + 1]) for j in range(3)), clutter])
        signal = np.empty((len(brightness), self.spec.bands), dtype=np.float32)
        for first in range(0, len(signal), self._piece):
            piece = slice(first, first + self._piece)
            np.matmul(weights[:, piece].T, self._basis, out=signal[piece])
        sigma = np.maximum(signal, 0)
        sigma *= self._shot
        sigma += self._white
        np.sqrt(sigma, out=sigma)
        sigma *= rng.standard_normal(signal.shape, dtype=np.float32)
        signal += sigma
        # Noise in a dead band may go below zero, never down to the nodata value.
        np.maximum(signal, -0.5 * self._scale, out=signal)
        if out.dtype.kind == "i":
            np.rint(signal, out=signal)
            np.minimum(signal, np.iinfo(np.int16).max, out=signal)
        out[:] = signal
