"""Groups of pixels, against scipy.ndimage on the whole array."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from hadgeo.decisions import groups as groups_module
from hadgeo.decisions.groups import gather, label, pixels_above
from hadgeo.errors import ParameterError
from hadgeo.maps import reader as scores_module
from tests.maps.made import write_map
from tests.support import examples

CORNERS = {4: None, 8: np.ones((3, 3))}
MASKS = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 0, 1, 2, 3, np.nan])
)


def sets_of(labels: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """The places of each label."""
    found = defaultdict(set)
    for row, col in zip(*np.nonzero(labels), strict=True):
        found[labels[row, col]].add((int(row), int(col)))
    return {frozenset(places) for places in found.values()}


@settings(max_examples=examples(1.5))
@given(values=MASKS, connectivity=st.sampled_from([4, 8]), strip_rows=st.integers(1, 15), least=st.integers(1, 4))
def test_groups_by_strips_are_those_of_the_whole_map(
    values: np.ndarray, connectivity: int, strip_rows: int, least: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scores = write_map(tmp_path_factory.getbasetemp() / "groups.tif", values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip_rows * values.shape[1] * 4)
        pixels = pixels_above(scores, 1)
    groups = gather(pixels, label(pixels, connectivity), min_pixels=least)
    expected = {own for own in sets_of(ndimage.label(values >= 1, CORNERS[connectivity])[0]) if len(own) >= least}
    found = [frozenset(zip(own.rows.tolist(), own.cols.tolist(), strict=True)) for own in groups]
    assert set(found) == expected
    assert len(found) == len(expected)
    for group, maximum, mean in zip(groups, groups.max_scores, groups.mean_scores, strict=True):
        np.testing.assert_array_equal(group.scores, values[group.rows, group.cols])
        assert maximum == group.scores.max()
        assert mean == pytest.approx(group.scores.mean())
    assert (np.diff(groups.max_scores) <= 0).all()


@pytest.mark.parametrize("strip_rows", [1, 3, 40])
@pytest.mark.parametrize("centre", [(10.0, 12.0), (10.3, 11.8), (9.6, 12.45)])
def test_a_peak_is_found_between_pixels(centre: tuple[float, float], strip_rows: int, tmp_path: Path) -> None:
    row, col = np.mgrid[:21, :25]
    values = np.exp(-((row - centre[0]) ** 2 + (col - centre[1]) ** 2) / (2 * 1.5**2)).astype(np.float32)
    scores = write_map(tmp_path / "x.tif", values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores_module, "_STRIP_BYTES", strip_rows * 25 * 4)
        pixels = pixels_above(scores, 0.5)
    groups = gather(pixels, label(pixels, 8))
    np.testing.assert_allclose(groups.peaks, [centre], atol=0.05)


def test_peaks_at_borders_and_beside_gaps_stay_in_their_pixel(tmp_path: Path) -> None:
    values = np.zeros((5, 6), dtype=np.float32)
    values[0, 0], values[4, 5], values[2, 3] = 3, 2, 1
    values[2, 2] = np.nan
    pixels = pixels_above(write_map(tmp_path / "x.tif", values), 0.5)
    np.testing.assert_array_equal(gather(pixels, label(pixels, 8)).peaks, [[0, 0], [4, 5], [2, 3]])


def test_a_map_in_which_nothing_stands_out_has_no_groups(tmp_path: Path) -> None:
    pixels = pixels_above(write_map(tmp_path / "x.tif", np.zeros((5, 6), dtype=np.float32)), 1)
    groups = gather(pixels, label(pixels, 8))
    assert len(groups) == len(list(groups)) == 0
    assert groups.peaks.shape == (0, 2)


def test_more_pixels_than_can_be_grouped_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "MAX_PIXELS", 29)
    scores = write_map(tmp_path / "x.tif", np.ones((5, 6), dtype=np.float32))
    with pytest.raises(ParameterError, match="more than 29 pixels reach"):
        pixels_above(scores, 0.5)
