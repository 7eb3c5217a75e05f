"""What several test modules share: made scenes, sources in memory, and a progress that remembers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from hypothesis import settings

from hadgeo.cube import source_of
from hadgeo.formats.source import Source


def examples(share: float) -> int:
    """A share of the examples that the profile of hypothesis asks for, so that a long search is long for every test."""
    return max(1, round(share * settings().max_examples))


def background(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.float32]:
    """A smooth, correlated scene (band, y, x), float32, mean about 3 and unit noise across bands."""
    rng = np.random.default_rng(seed)
    bands, rows, cols = shape
    ramps = np.add.outer(np.linspace(0, 2, rows), np.sin(np.arange(cols) / 5))
    spectra = rng.normal(size=(bands, 3)) @ np.stack([ramps.ravel(), ramps.ravel() ** 2, np.ones(rows * cols)])
    scene = 3 + spectra.reshape(shape) + 0.1 * rng.normal(size=shape)
    return scene.astype(np.float32)


def memory_source(scene: npt.NDArray[np.generic]) -> Source:
    """A source over an array (band, y, x)."""
    return source_of(xr.DataArray(scene, dims=("band", "y", "x")))


class Recorder:
    """A `Progress` that remembers what it was told, and cancels after `patience` questions."""

    def __init__(self, patience: int | None = None) -> None:
        self.stages: dict[str, list[int]] = {}
        self.messages: list[str] = []
        self._patience = patience
        self._current: list[int] = []

    def stage(self, name: str, total: int) -> None:
        self._current = self.stages[name] = [0, total]

    def advance(self, n: int = 1) -> None:
        self._current[0] += n

    def message(self, text: str) -> None:
        self.messages.append(text)

    def cancelled(self) -> bool:
        if self._patience is None:
            return False
        self._patience -= 1
        return self._patience < 0
