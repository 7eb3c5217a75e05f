"""Averages of neighbouring pixels and bands: what they are, and that they do not depend on how a scene is cut."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch

from hadgeo.compute.views import AS_IS, View
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import tile
from tests.support import background, memory_source


@pytest.mark.parametrize(
    ("bands", "most", "sizes"),
    [
        (205, 32, [7] * 25 + [6] * 5),
        (101, 32, [4] * 23 + [3] * 3),
        (64, 32, [2] * 32),
        (33, 32, [2] * 16 + [1]),
        (32, 32, [1] * 32),
        (3, 32, [1] * 3),
        (5, 2, [3, 2]),
        (5, 0, [1] * 5),
    ],
)
def test_bands_are_averaged_in_groups_of_nearly_one_size(bands: int, most: int, sizes: list[int]) -> None:
    view = View(bands=most)
    groups = view.groups(bands)
    assert [len(group) for group in groups] == sizes
    assert [band for group in groups for band in group] == list(range(bands))
    assert view.count(bands) == len(sizes)


@pytest.mark.parametrize("bands", [4, 7, 9, 23])
def test_the_mean_of_a_group_is_taken_in_each_pixel(bands: int) -> None:
    cube = background((bands, 6, 5))
    cube[2, 1, 3] = np.nan
    view = View(bands=4)
    found = view.of(torch.from_numpy(cube))
    expected = np.stack([cube[list(group)].mean(axis=0, dtype=np.float64) for group in view.groups(bands)])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not found.sum(dim=0).isfinite()[1, 3], "a pixel without one of its bands stays invalid"
    assert int(found.sum(dim=0).isfinite().sum()) == 29


def test_an_average_is_the_same_in_any_window_and_memory_layout() -> None:
    cube = torch.from_numpy(background((23, 30, 20)))
    view = View(bands=8)
    whole = view.of(cube)
    by_pixel = cube.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(view.of(by_pixel), whole)
    assert torch.equal(view.of(cube[:, 7:19, 3:11]), whole[:, 7:19, 3:11])
    both = View(side=3, bands=8)
    assert torch.equal(both.of(cube[:, 6:20, 2:12])[:, 1:-1, 1:-1], both.of(cube)[:, 7:19, 3:11])


def test_the_largest_numbers_have_an_average() -> None:
    cube = torch.full((7, 2, 2), torch.finfo(torch.float32).max)
    assert View(bands=2).of(cube).isfinite().all()


def test_nothing_is_copied_where_nothing_is_averaged() -> None:
    cube = torch.zeros(5, 2, 2)
    assert AS_IS.of(cube) is cube
    assert View(bands=32).of(cube) is cube


def test_each_band_has_what_its_group_has() -> None:
    values = torch.tensor([[1.0], [2.0]])
    assert View(bands=2).spread(values, 5).flatten().tolist() == [1, 1, 1, 2, 2]


def test_a_sample_is_seen_as_its_scenes_are(readers: Executor) -> None:
    cube = background((9, 40, 30))
    cube[:, :, :4] = np.nan
    sample = Sample(Scene(memory_source(cube), range(9)), executor=readers, device=torch.device("cpu"))
    seen = sample.seen(View(side=3, bands=4))
    assert seen.bands == 3
    averaged = View(side=3, bands=4).of(torch.from_numpy(cube))
    spectra = averaged[:, averaged.sum(dim=0).isfinite()].double()
    np.testing.assert_allclose(seen.statistics().mean, spectra.mean(dim=1), rtol=1e-6)
    np.testing.assert_allclose(seen.statistics().covariance, torch.cov(spectra), rtol=1e-5)


@pytest.mark.parametrize("side", [3, 5])
def test_averages_apart_are_the_same_from_any_pieces(side: int) -> None:
    cube = torch.from_numpy(background((5, 37, 29)))
    view = View(side=side, bands=3)
    whole = view.apart(cube, (slice(0, 37), slice(0, 29)), (slice(0, 37), slice(0, 29)))
    assert whole.shape == (3, 37 // side, 29 // side)
    found = []
    for window in tile((37, 29), (8, 29), view.reach):
        block = cube[:, window.outer_rows, window.outer_cols]
        found.append(view.apart(block, (window.rows, window.cols), (window.outer_rows, window.outer_cols)))
    assert torch.equal(torch.cat(found, dim=1), whole)


@pytest.mark.parametrize("views", [(View(side=3, bands=4), View(bands=4), AS_IS), (AS_IS, View(side=3))])
def test_moments_of_several_views_are_taken_in_one_pass(
    views: tuple[View, ...], readers: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = background((9, 60, 50))
    cube[:, :20, 5:9] = np.nan
    source, reads = memory_source(cube), []
    read = source.read
    source.read = lambda *window: reads.append(window) or read(*window)  # type: ignore[method-assign]
    sample = Sample(Scene(source, range(9)), executor=readers, device=torch.device("cpu"))
    monkeypatch.setattr("hadgeo.sampling.PIECE_BYTES", 9 * 4 * 50 * 16)
    together = sample.seen_together(views)
    found = {view: together[view].statistics() for view in views}
    assert len(reads) == len(sample.places()), "each piece once"
    for view in views:
        alone = sample.seen(view).statistics()
        assert found[view].count == alone.count
        torch.testing.assert_close(found[view].covariance, alone.covariance, rtol=1e-9, atol=0)


def test_a_large_scene_is_averaged_over_squares_that_lie_apart(
    readers: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = background((4, 300, 198))
    sample = Sample(Scene(memory_source(cube), range(4)), executor=readers, device=torch.device("cpu"))
    monkeypatch.setattr("hadgeo.sampling._SQUARES", 5000)
    monkeypatch.setattr("hadgeo.sampling.PIECE_BYTES", 4 * 4 * 198 * 16)
    found = sample.seen(View(side=3)).statistics()
    squares = cube.reshape(4, 100, 3, 66, 3).mean(axis=(2, 4), dtype=float).reshape(4, -1)
    assert found.count == 6600, "each pixel is part of one average"
    np.testing.assert_allclose(found.mean, squares.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(squares), rtol=1e-4)


def test_where_little_of_a_large_scene_is_valid_all_averages_count(
    readers: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = background((4, 300, 198))
    cube[:, 30:] = np.nan
    sample = Sample(Scene(memory_source(cube), range(4)), executor=readers, device=torch.device("cpu"))
    monkeypatch.setattr("hadgeo.sampling._SQUARES", 5000)
    assert sample.seen(View(side=3)).statistics().count == 30 * 198
