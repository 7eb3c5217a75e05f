"""Pooling that loses no hot pixel, and a ramp over it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.errors import Cancelled
from hadgeo.maps.reader import open_scores
from hadgeo.pictures.overlay import grown, laid_over, pooled_scores, ramp_of
from tests.support import Recorder, examples

RAMP = np.linspace([0.2, 0, 0.5], [1, 1, 0], 256).astype(np.float32)


def write_scores(path: Path, scores: np.ndarray) -> Path:
    shape = {"count": 1, "height": scores.shape[0], "width": scores.shape[1], "dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", nodata=np.nan, blockysize=1, **shape) as dataset:
            dataset.write(scores.astype(np.float32), 1)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(0.4))
@given(rows=st.integers(1, 60), cols=st.integers(1, 40), step=st.integers(1, 70), seed=st.integers(0, 99))
def test_pooling_by_strips_equals_pooling_the_whole(
    rows: int, cols: int, step: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rows, cols)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.4] = np.nan
    monkeypatch.setattr("hadgeo.maps.reader._STRIP_BYTES", 4 * cols * int(rng.integers(1, 20)))
    pooled = pooled_scores(open_scores(write_scores(tmp_path / "scores.tif", scores)), step)
    padded = np.full((-(-rows // step) * step, -(-cols // step) * step), np.nan, np.float32)
    padded[:rows, :cols] = scores
    blocks = padded.reshape(padded.shape[0] // step, step, -1, step).transpose(0, 2, 1, 3).reshape(*pooled.shape, -1)
    lowest = np.where(np.isnan(blocks), -np.inf, blocks).max(axis=2)
    np.testing.assert_array_equal(pooled, np.where(np.isneginf(lowest), np.nan, lowest))


def test_pooling_can_be_cancelled(tmp_path: Path) -> None:
    scores = open_scores(write_scores(tmp_path / "scores.tif", np.zeros((5, 5))))
    with pytest.raises(Cancelled):
        pooled_scores(scores, 2, progress=Recorder(patience=0))


def test_the_ramp_rises_with_rarity_whatever_the_scale() -> None:
    rng = np.random.default_rng(1)
    ranks = rng.permutation(40_000).astype(np.float32).reshape(200, 200)
    for scores in (ranks, 1e-3 * ranks, np.exp(ranks / 4000), ranks - 1e6):
        ramp = ramp_of(scores, (5, 5))
        assert ramp is not None
        assert ramp.labels == ("95 %", "99 %", "99.9 %", "99.99 %", "max")
        heights = ramp(scores)
        assert (heights > 0).mean() == pytest.approx(0.05, abs=0.001)
        assert (heights > 0.5).mean() == pytest.approx(0.001, abs=0.0001)
        assert heights.flat[ranks.argmax()] == 1
    assert ramp_of(ranks, (1, 1)).labels[0] == "99 %"


def test_scores_that_are_all_alike_stand_out_nowhere() -> None:
    for scores in (np.full((5, 5), 3.0), np.full((5, 5), np.nan)):
        assert ramp_of(scores.astype(np.float32), (1, 1)) is None


@pytest.mark.parametrize("hot", [1, 3])
def test_few_or_equal_scores_still_have_a_ramp(hot: int) -> None:
    scores = np.zeros((2, 4), np.float32)
    scores.flat[:hot] = 9
    scores[1, 3] = np.nan
    ramp = ramp_of(scores, (9, 9))
    assert ramp is not None
    np.testing.assert_array_equal(ramp(scores), np.nan_to_num(scores) / 9)


def test_a_hot_cell_becomes_a_dot_only_where_cells_are_small() -> None:
    heights = np.zeros((9, 9), np.float32)
    heights[4, 4] = 1
    assert grown(heights, (1, 1)).sum() == 9
    assert grown(heights, (2, 4)).sum() == 3
    np.testing.assert_array_equal(grown(heights, (3, 3)), heights)


def test_scores_hide_the_picture_as_they_rise_and_show_where_it_has_nothing() -> None:
    colours = np.full((1, 4, 3), 0.4, np.float32)
    colours[0, 3] = np.nan
    image = laid_over(colours, np.array([[0, 0.25, 1, 0]], np.float32), RAMP)
    np.testing.assert_array_equal(image[0, 0], [102, 102, 102, 255])
    np.testing.assert_allclose(image[0, 1, :3], 255 * (0.5 * 0.4 + 0.5 * RAMP[64]), atol=1)
    np.testing.assert_array_equal(image[0, 2], [255, 255, 0, 255])
    assert image[0, 3, 3] == 0
    alone = laid_over(np.full((1, 1, 3), np.nan, np.float32), np.ones((1, 1), np.float32), RAMP)
    np.testing.assert_array_equal(alone[0, 0], [255, 255, 0, 255])
