"""Every detector on a real GPU: the same map as on a CPU, the same bits each time, and what happens without memory.

Skipped where there is no CUDA device; `tests/run/test_on_device.py` says what can be known without one.
"""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import hadgeo
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import detector_class, list_detectors, make_detector
from hadgeo.errors import DeviceError
from hadgeo.run.scoring import WindowScorer
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import tile

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ROWS, COLS, BANDS = 160, 90, 24
STEPS = 20


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=ROWS, cols=COLS, bands=BANDS, targets=4, interleave="bil")
    return path


def fitted(name: str, path: Path, readers: Executor, device: torch.device, **parameters: Any) -> Detector[Any]:
    detector = make_detector(name, parameters).shortened(STEPS)
    scene = Scene(source_of(open_cube(path)), range(BANDS))
    with exact_arithmetic(device):
        return detector.fit(Sample(scene, executor=readers, device=device), device=device)


def moved(detector: Detector[Any], device: torch.device) -> Detector[Any]:
    return type(detector)(detector.params).load_state(detector.state(), device)


def scores(detector: Detector[Any], path: Path, device: torch.device, size: tuple[int, int]) -> np.ndarray:
    source = source_of(open_cube(path))
    scorer = WindowScorer(source, range(BANDS), detector, device)
    out = np.full((ROWS, COLS), np.nan, np.float32)
    for window in tile(source.shape[1:], size, detector.halo, detector.grid):
        out[window.rows, window.cols] = scorer(window)[1]
    return out


def ranks(found: np.ndarray) -> np.ndarray:
    return found.ravel().argsort().argsort() / found.size


@pytest.mark.parametrize("name", list_detectors())
def test_a_detector_scores_on_a_gpu_as_on_a_cpu(name: str, line: Path, readers: Executor) -> None:
    detector = fitted(name, line, readers, CPU)
    expected = scores(detector, line, CPU, (64, COLS))
    found = scores(moved(detector, CUDA), line, CUDA, (64, COLS))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    # A network may multiply in another precision there.
    tolerance = 0.05 if detector.precision else 1e-3
    assert np.abs(ranks(found) - ranks(expected)).mean() <= tolerance / 10
    np.testing.assert_allclose(np.median(found), np.median(expected), rtol=tolerance)


@pytest.mark.parametrize("name", list_detectors())
def test_a_map_of_a_gpu_does_not_depend_on_windows(name: str, line: Path, readers: Executor) -> None:
    detector = fitted(name, line, readers, CUDA)
    whole = scores(detector, line, CUDA, (ROWS, COLS))
    in_windows = scores(detector, line, CUDA, (50, 37))
    if detector.window_tolerance:
        np.testing.assert_allclose(in_windows, whole, rtol=detector.window_tolerance)
    else:
        np.testing.assert_array_equal(in_windows, whole)


@pytest.mark.parametrize("name", list_detectors())
def test_two_fits_on_a_gpu_are_the_same_to_the_bit(name: str, line: Path, readers: Executor) -> None:
    first, second = (fitted(name, line, readers, CUDA).state() for _ in range(2))
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [n for n in list_detectors() if detector_class(n).precision_parameter])
def test_a_network_scores_in_either_precision(name: str, precision: str, line: Path, readers: Executor) -> None:
    role = detector_class(name).precision_parameter
    assert role is not None
    detector = fitted(name, line, readers, CPU, **{role: precision})
    expected = scores(detector, line, CPU, (ROWS, COLS))
    found = scores(moved(detector, CUDA), line, CUDA, (ROWS, COLS))
    assert moved(detector, CUDA).precision == precision
    assert np.corrcoef(ranks(found).ravel(), ranks(expected).ravel())[0, 1] > 0.99


@pytest.mark.parametrize("name", ["rx", "bs3lnet", "scoread", "fusion"])
def test_a_whole_run_on_a_gpu_is_the_same_twice(name: str, line: Path, tmp_path: Path) -> None:
    parameters = {"steps": STEPS} if name in ("bs3lnet", "scoread") else {}
    maps = []
    for out in ("a.tif", "b.tif"):
        found = hadgeo.detect(line, name, parameters=parameters, out=tmp_path / out, device="cuda")
        with rasterio.open(found.path) as file:
            maps.append(file.read(1).tobytes())
    assert maps[0] == maps[1]


@pytest.mark.parametrize("name", ["rx", "bs3lnet", "block_rx"])
def test_a_window_too_large_for_a_gpu_is_scored_in_halves(name: str, line: Path, readers: Executor) -> None:
    detector = fitted(name, line, readers, CUDA)
    whole = scores(detector, line, CUDA, (ROWS, COLS))
    score, sizes = detector.score, []

    def hungry(block: torch.Tensor) -> torch.Tensor:
        if block.shape[1] > 112:
            # More than any device has, so that this error is torch's own.
            torch.empty(2**50, dtype=torch.uint8, device=CUDA)
        sizes.append(block.shape[1])
        return score(block)

    detector.score = hungry  # type: ignore[method-assign]
    np.testing.assert_array_equal(scores(detector, line, CUDA, (ROWS, COLS)), whole)
    assert len(sizes) > 1


def test_a_gpu_without_room_for_one_row_is_named(line: Path, readers: Executor) -> None:
    detector = fitted("rx", line, readers, CUDA)

    def hungry(_: torch.Tensor) -> torch.Tensor:
        return torch.empty(2**50, device=CUDA)

    detector.score = hungry  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match=f"one row of {COLS} pixels"):
        scores(detector, line, CUDA, (ROWS, COLS))
