"""Statistics streamed over a scene are those of the scene, and crops are spread over it."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch

from hadgeo import sampling
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import FitError
from hadgeo.formats.selected import PixelBits, Selected
from hadgeo.formats.survey import survey
from hadgeo.sampling import Sample, Scene, Statistics, valid_pixels
from hadgeo.windows import Window
from tests.support import background, memory_source

CPU = torch.device("cpu")


def sample_of(scene: np.ndarray, readers: Executor) -> Sample:
    return Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)


@pytest.mark.parametrize("piece_bytes", [1, 1000, 4096, 10**9])
@pytest.mark.parametrize("covariance", [True, False])
def test_streamed_statistics_are_those_of_the_whole_scene(
    readers: Executor, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, covariance: bool
) -> None:
    scene = background((5, 23, 17))
    scene[2, 3:6, 4] = np.nan
    scene[:, 10, :] = np.nan
    spectra = scene.reshape(5, -1).T.astype(float)
    spectra = spectra[np.isfinite(spectra).all(axis=1)]
    monkeypatch.setattr(sampling, "PIECE_BYTES", piece_bytes)
    found = sample_of(scene, readers).statistics(covariance=covariance)
    assert found.count == len(spectra)
    np.testing.assert_allclose(found.mean, spectra.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, spectra.std(axis=0, ddof=1), rtol=1e-10)
    np.testing.assert_array_equal(found.minimum, spectra.min(axis=0))
    np.testing.assert_array_equal(found.maximum, spectra.max(axis=0))
    if covariance:
        np.testing.assert_allclose(found.covariance, np.cov(spectra.T), rtol=1e-9, atol=1e-15)


def test_a_large_mean_does_not_drown_a_small_variance() -> None:
    spectra = torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e8
    merged = Statistics.of(spectra[:300]).merge(Statistics.of(spectra[300:]))
    np.testing.assert_allclose(merged.covariance, np.cov(spectra.T), rtol=1e-5)


def test_sampled_statistics_look_at_a_part_spread_over_the_scene(readers: Executor) -> None:
    scene = background((4, 400, 50))
    scene[0] = np.arange(400)[:, None]
    found = sample_of(scene, readers).statistics(pixels=4000)
    assert 3000 <= found.count <= 6000
    assert float(found.minimum[0]) < 20
    assert float(found.maximum[0]) > 380


def test_too_few_valid_pixels_are_an_error(readers: Executor) -> None:
    scene = np.full((3, 4, 4), np.nan, dtype=np.float32)
    scene[:, 0, 0] = 1
    with pytest.raises(FitError, match="1 valid pixels"):
        sample_of(scene, readers).statistics()


def test_values_that_no_score_can_hold_are_an_error(readers: Executor) -> None:
    scene = background((3, 9, 9)).astype(np.float64)
    scene[:, 4, 4] = 1e100
    with pytest.raises(FitError, match=r"values reach 1e\+100, which nothing measured does; .*--fill"):
        sample_of(scene, readers).statistics()


def test_a_small_scene_is_one_crop(readers: Executor) -> None:
    scene = background((3, 20, 30))
    (crop,) = sample_of(scene, readers).crops(size=8, pixels=600, seed=0)
    np.testing.assert_array_equal(crop, scene)


def test_crops_of_a_large_scene_lie_in_every_part_of_it(readers: Executor) -> None:
    scene = np.zeros((3, 300, 60), dtype=np.float32)
    scene[0], scene[1] = np.arange(300)[:, None], np.arange(60)[None, :]
    crops = sample_of(scene, readers).crops(size=8, pixels=40 * 64, seed=1)
    assert 30 <= len(crops) <= 50
    assert all(crop.shape == (3, 8, 8) for crop in crops)
    rows = sorted(float(crop[0].min()) for crop in crops)
    assert rows[0] < 30
    assert rows[-1] > 260
    again = sample_of(scene, readers).crops(size=8, pixels=40 * 64, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (3, 400), (77, 13)])
def test_crops_fit_any_scene(readers: Executor, shape: tuple[int, int]) -> None:
    crops = sample_of(background((2, *shape)), readers).crops(size=16, pixels=100, seed=0)
    assert crops
    assert all(crop.shape[1] <= shape[0] and crop.shape[2] <= shape[1] for crop in crops)


def test_the_only_valid_corner_of_a_scene_is_found(readers: Executor) -> None:
    scene = np.full((2, 200, 200), np.nan, dtype=np.float32)
    scene[:, 190:, 190:] = background((2, 10, 10))
    crops = sample_of(scene, readers).crops(size=16, pixels=600, seed=0)
    assert sum(int(torch.isfinite(crop).all(dim=0).sum()) for crop in crops) > 0


def test_squares_are_spread_over_a_large_scene_and_are_the_whole_of_a_small_one(readers: Executor) -> None:
    def where(scene: np.ndarray, pixels: int) -> list[Window]:
        def shown(block: torch.Tensor, window: Window) -> Window:
            assert block.shape[1:] == window.outer_shape
            return window

        return list(sample_of(scene, readers).stream(shown, halo=5, pixels=pixels, square=20))

    found = where(np.zeros((2, 30, 4000), np.float32), 10 * 400)
    assert len(found) == 10
    assert {(window.height, window.width) for window in found} == {(20, 20)}
    assert max(window.outer_shape for window in found) == (30, 30)
    assert [window.col // 400 for window in found] == list(range(10))
    small = where(np.zeros((2, 30, 40), np.float32), 10_000)
    assert [((window.height, window.width), window.outer_shape) for window in small] == [((30, 40), (30, 40))]


def test_survey_finds_empty_and_constant_bands() -> None:
    scene = background((5, 30, 30))
    scene[1] = np.nan
    scene[3] = 7
    seen = survey(memory_source(scene), [0, 1, 2, 3])
    assert seen.empty.tolist() == [False, True, False, False, False]
    assert seen.constant.tolist() == [False, False, False, True, False]
    assert seen.exhaustive


def test_survey_goes_on_until_it_finds_data() -> None:
    scene = np.full((2, 400, 10), np.nan, dtype=np.float32)
    scene[:, 133] = background((2, 1, 10))[:, 0]
    seen = survey(memory_source(scene), [0, 1], max_bytes=2 * 4 * 10 * 16)
    assert not seen.empty.any()
    assert not seen.constant.any()


def chosen_scene(rows: slice, cols: slice, shape: tuple[int, int] = (900, 700)) -> Scene:
    """A large scene of which a small part is learned from."""
    chosen = PixelBits(shape)
    chosen.put(rows, cols, np.ones((rows.stop - rows.start, cols.stop - cols.start), dtype=bool))
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    return Scene(Selected(memory_source(values), chosen), range(2), chosen=chosen)


@pytest.mark.parametrize("part", [(slice(401, 441), slice(77, 127)), (slice(3, 5), slice(650, 652))])
def test_a_small_part_that_is_learned_from_is_sampled(readers: Executor, part: tuple[slice, slice]) -> None:
    scene = chosen_scene(*part)
    assert scene.chosen is not None
    sample = Sample(scene, executor=readers, device=torch.device("cpu"))
    crops = sample.crops(size=32, pixels=50_000, seed=0)
    assert sum(int(valid_pixels(crop).sum()) for crop in crops) >= 0.8 * scene.chosen.count
    assert sum(crop[0].numel() for crop in crops) <= 50_000
    found = sample.statistics(pixels=50_000)
    assert found.count == scene.chosen.count
    assert 0 < sample.statistics(pixels=scene.chosen.count // 2).count <= scene.chosen.count


def test_crops_of_a_large_part_are_as_many_as_of_a_scene(readers: Executor) -> None:
    scene = chosen_scene(slice(0, 600), slice(0, 700))
    crops = Sample(scene, executor=readers, device=torch.device("cpu")).crops(size=32, pixels=50_000, seed=0)
    assert 30 <= len(crops) <= 50_000 // 32**2


@pytest.mark.parametrize("detector", ["block_rx", "ring_predictor", "fusion"])
def test_a_large_line_that_is_nearly_empty_is_learned_from(detector: str, readers: Executor) -> None:
    scene = np.full((4, 2500, 400), np.nan, dtype=np.float32)
    # Between the strips and outside of the squares that a sample looks at.
    scene[:, 1131:1171, 250:290] = background((4, 40, 40))
    parameters = {"parts": "block_rx@3 + ring_predictor"} if detector == "fusion" else {}
    fitted = make_detector(detector, parameters).fit(sample_of(scene, readers), device=CPU)
    assert fitted.score(torch.from_numpy(scene[:, 1120:1184, 240:304]))[20:40, 20:40].isfinite().all()


def test_a_sample_that_holds_nothing_gives_way_to_the_whole(readers: Executor) -> None:
    scene = np.full((3, 4000, 40), np.nan, dtype=np.float32)
    scene[:, 60:63] = background((3, 3, 40))
    assert sample_of(scene, readers).statistics(pixels=1000).count == 120
