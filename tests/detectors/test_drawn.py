"""What is drawn depends on scene and seed alone, and comes from everywhere."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from hadgeo.detectors import drawn
from hadgeo.detectors.drawn import drawn_spectra
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Scene
from hadgeo.testing import fitted
from tests.support import background, memory_source

CPU = torch.device("cpu")


def sample_of(scene: np.ndarray, readers: Executor) -> Sample:
    return Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)


def numbered(rows: int, cols: int) -> np.ndarray:
    """A scene whose pixels tell where they are: row, column."""
    return np.stack(np.mgrid[:rows, :cols]).astype(np.float32)


def test_a_small_scene_is_taken_whole(readers: Executor) -> None:
    spectra = drawn_spectra(sample_of(numbered(20, 30), readers), pixels=600, seed=0)
    assert len(np.unique(spectra.numpy(), axis=0)) == len(spectra) == 600


def test_of_a_large_one_pixels_come_from_everywhere_and_none_twice(readers: Executor) -> None:
    scene = numbered(400, 300)
    spectra = drawn_spectra(sample_of(scene, readers), pixels=2000, seed=0).numpy()
    assert 2000 <= len(spectra) < 2100
    assert len(np.unique(spectra, axis=0)) == len(spectra)
    counts, *_ = np.histogram2d(*spectra.T, bins=4, range=[[0, 400], [0, 300]])
    assert counts.min() > 40


@pytest.mark.parametrize("threads", [1, 5])
def test_the_seed_decides_and_threads_do_not(readers: Executor, threads: int) -> None:
    scene = numbered(300, 300)
    first, other = (drawn_spectra(sample_of(scene, readers), pixels=500, seed=seed) for seed in (0, 1))
    with ThreadPoolExecutor(threads) as pool:
        again = drawn_spectra(sample_of(scene, pool), pixels=500, seed=0)
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_invalid_pixels_are_not_drawn_and_do_not_take_places(readers: Executor) -> None:
    scene = numbered(200, 300)
    scene[1, :, 100:] = np.nan
    spectra = drawn_spectra(sample_of(scene, readers), pixels=1000, seed=0)
    assert spectra.isfinite().all()
    assert len(spectra) >= 1000


def test_a_nearly_empty_scene_is_searched(readers: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "_LOOK", 1)
    scene = np.full((2, 3000, 10), np.nan, np.float32)
    scene[:, 1501, 2:5] = [[1, 2, 3], [4, 5, 7]]
    assert len(drawn_spectra(sample_of(scene, readers), pixels=100, seed=0)) == 3


def test_too_few_and_equal_pixels_are_refused(readers: Executor) -> None:
    with pytest.raises(FitError, match="0 valid pixels"):
        drawn_spectra(sample_of(np.full((2, 9, 9), np.nan, np.float32), readers), pixels=10, seed=0)
    with pytest.raises(FitError, match="all 81 valid pixels are equal"):
        drawn_spectra(sample_of(np.ones((2, 9, 9), np.float32), readers), pixels=81, seed=0)
    scene = np.ones((2, 90, 90), np.float32)
    scene[:, 7, 13] = 2
    with pytest.raises(FitError, match="pixels drawn at random are equal; draw more of them with sample"):
        drawn_spectra(sample_of(scene, readers), pixels=2, seed=0)


@pytest.mark.parametrize("name", ["kmeans", "cluster_rx", "isolation_forest"])
def test_values_that_nothing_measures_are_refused(name: str) -> None:
    scene = background((5, 20, 20)).astype(np.float64)
    scene[0] *= 1e200
    with pytest.raises(FitError, match="which nothing measured does"):
        fitted(make_detector(name), scene)
