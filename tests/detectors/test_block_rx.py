"""Block RX against its formula written out, and runs whose windows begin anywhere."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch

import hadgeo
from hadgeo.bands import BandSelection
from hadgeo.detectors.block_rx import BlockRX, BlockRXParams
from hadgeo.detectors.dual_window import DualWindowParams, difference_statistics
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError, ParameterError
from hadgeo.run.scoring import cores_bytes, fixed_bytes, plan_windows, window_bytes
from hadgeo.sampling import Sample, Scene
from hadgeo.testing import DetectorContract
from tests.support import background, memory_source

CPU = torch.device("cpu")


class TestSmallBlocks(DetectorContract):
    @pytest.fixture
    def detector(self) -> BlockRX:
        return make_detector("block_rx", {"block": 3, "margin": 6, "cfar_window": 5})


class TestFusionOfTwoGrids(DetectorContract):
    @pytest.fixture
    def detector(self) -> hadgeo.Detector:
        return make_detector("fusion", {"parts": "block_rx@3(block=3, margin=3) + block_rx(block=4, margin=4)"})


class _Forgetful(BlockRX):
    """One that does not say that its scores depend on blocks."""

    name = "forgetful"
    grid = 1


def test_a_detector_that_does_not_name_its_grid_fails_the_contract() -> None:
    test = partial(DetectorContract().test_windowed_map_equals_whole_map, scene=background((13, 37, 29)))
    test(BlockRX())
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test(_Forgetful())


def sample_of(scene: npt.NDArray[np.float32], readers: Executor) -> Sample:
    return Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)


def fit(scene: npt.NDArray[np.float32], readers: Executor, **parameters: object) -> BlockRX:
    return BlockRX(BlockRXParams(**parameters)).fit(sample_of(scene, readers), device=CPU)


def scene_with_holes(bands: int) -> npt.NDArray[np.float32]:
    scene = background((bands, 30, 43))
    scene[:, 9:14, 20:33] = np.nan
    scene[1, 5, 5] = np.nan
    return scene


@pytest.mark.parametrize("bands", [6, 150])
def test_is_the_distance_with_the_covariance_of_the_block_and_its_margin(readers: Executor, bands: int) -> None:
    scene, ridge = scene_with_holes(bands), 0.05
    detector = fit(scene, readers, block=5, margin=5, ridge=ridge, cfar_window=None)
    sample = sample_of(scene, readers)
    ring = DualWindowParams(inner_window=3, outer_window=21)
    of_scene = difference_statistics(sample, ring, sample.statistics(covariance=False).mean).covariance.numpy()
    extra = ridge * np.trace(of_scene) / bands * np.eye(bands)

    score = detector.score(torch.from_numpy(scene)).numpy()
    explained = detector.explain(torch.from_numpy(scene)).numpy()
    # In the middle, at a hole, and at the corner, where blocks are cut and the margin is the scene's.
    for top, left in [(15, 10), (10, 15), (0, 0), (25, 40)]:
        around = scene[:, max(top - 5, 0) : top + 10, max(left - 5, 0) : left + 10].reshape(bands, -1)
        around = around[:, np.isfinite(around).all(axis=0)].astype(float)
        share = min(1, around.shape[1] / bands)
        mean = around.mean(axis=1)
        covariance = share * np.cov(around, bias=True) + (1 - share) * of_scene + extra
        block = scene[:, top : top + 5, left : left + 5].astype(float)
        centred = (block - mean[:, None, None]).reshape(bands, -1)
        expected = (centred * np.linalg.solve(covariance, centred)).sum(axis=0).reshape(block.shape[1:])
        here = np.isfinite(expected)
        assert here.any()
        np.testing.assert_allclose(score[top : top + 5, left : left + 5][here], expected[here], rtol=1e-8)
        there = explained[:, top : top + 5, left : left + 5][:, here]
        np.testing.assert_allclose(there, np.broadcast_to(mean[:, None], there.shape), rtol=1e-6)


def test_a_spectrum_far_beyond_all_others_spoils_no_block(readers: Executor) -> None:
    scene = background((40, 48, 48))
    scene[:, 20, 20] = 1e12
    scores = fit(scene, readers, ridge=1e-6, cfar_window=None).score(torch.from_numpy(scene))
    assert scores.isfinite().all()
    assert np.unravel_index(int(scores.argmax()), scores.shape) == (20, 20)


def test_a_scene_without_differences_is_refused(readers: Executor) -> None:
    scene = np.zeros((3, 4, 40), np.float32)
    scene[:, :, 20:] = 1
    scene[:, :, 8:32] = np.nan
    with pytest.raises(FitError, match="no pixel differs from its surroundings"):
        fit(scene, readers)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"block": 8, "margin": 12}, r"margin \(12\) must be a multiple of block \(8\)"),
        ({"cfar_window": 4}, "cfar_window must be odd"),
        ({"ridge": 0}, "ridge"),
    ],
)
def test_parameters_that_do_not_fit_are_one_clear_line(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words) as error:
        make_detector("block_rx", parameters)
    assert "\n" not in str(error.value)


def test_the_grid_of_a_fusion_holds_those_of_its_parts() -> None:
    parts = "rx@3 + block_rx(block=6, margin=6) + block_rx(block=4, margin=8, cfar_window=)"
    detector = make_detector("fusion", {"parts": parts})
    assert [make_detector(name).grid for name in ("rx", "block_rx")] == [16, 8]
    assert detector.grid == 48
    assert detector.halo == 16


def read(path: Path) -> npt.NDArray[np.float32]:
    with rasterio.open(path) as file:
        scores: npt.NDArray[np.float32] = file.read(1)
    return scores


@pytest.mark.parametrize("suffix", ["img", "tif"])
def test_a_run_gives_the_same_map_whatever_its_windows(tmp_path: Path, suffix: str) -> None:
    line = tmp_path / f"line.{suffix}"
    hadgeo.simulate(line, rows=70, cols=60, bands=20, targets=3)
    detect = partial(hadgeo.detect, line, "fusion", parameters={"parts": "block_rx | rx@3"}, overwrite=True)
    whole = read(detect(out=tmp_path / "whole.tif", window=500).path)
    for window in (8, 13, 24, 64):
        found = read(detect(out=tmp_path / "map.tif", window=window).path)
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("block", [None, (1, 300), (16, 16), (20, 20), (7, 300)])
def test_windows_begin_on_the_grid_for_any_budget(block: tuple[int, int] | None) -> None:
    source = memory_source(np.zeros((4, 200, 300), dtype=np.float32))
    source.block = block
    detector = make_detector("fusion", {"parts": "block_rx | rx@3"})
    selection = BandSelection((0, 1, 2, 3), 4)
    each = window_bytes(source, detector, selection)
    least = (2 * detector.halo + detector.grid) ** 2
    for pixels in (least, 2 * least, 20_000, 50_000, 10**6):
        memory = fixed_bytes(source) + cores_bytes(detector, selection) + each * pixels
        plan = plan_windows(source, detector, selection, memory=memory, window=None)
        assert all(w.row % 8 == 0 and w.col % 8 == 0 for w in plan)
        assert max(w.outer_shape[0] * w.outer_shape[1] for w in plan) <= pixels
        assert sum(w.pixels for w in plan) == 200 * 300
