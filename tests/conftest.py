"""What several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from hadgeo.cube import source_of
from hadgeo.formats.source import Source


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scenes: the environment variable HADGEO_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HADGEO_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scenes in {folder}; set HADGEO_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def readers() -> Iterator[Executor]:
    """Threads that read."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


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


def pytest_configure(config: pytest.Config) -> None:
    # rasterio and rioxarray multiply transforms in a way that affine 3 means to give up; nothing that we could change.
    config.addinivalue_line("filterwarnings", "ignore:Use `@` matmul:PendingDeprecationWarning")


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
