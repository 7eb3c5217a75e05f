"""Windows partition any scene, and their halos are true neighbours."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hadgeo.windows import Window, halves, pad, tile, whole_halo, window_size

shapes = st.tuples(st.integers(1, 60), st.integers(1, 60))
sizes = st.tuples(st.integers(1, 80), st.integers(1, 80))
halos = st.integers(0, 20)


@given(shapes, sizes, halos)
def test_windows_partition_a_scene(shape: tuple[int, int], size: tuple[int, int], halo: int) -> None:
    covered = np.zeros(shape, dtype=int)
    for window in tile(shape, size, halo):
        covered[window.rows, window.cols] += 1
    assert (covered == 1).all()


@given(shapes, sizes, halos)
def test_halos_are_true_neighbours_and_never_outside(shape: tuple[int, int], size: tuple[int, int], halo: int) -> None:
    scene = np.arange(shape[0] * shape[1]).reshape(shape)
    for window in tile(shape, size, halo):
        rows, cols = window.outer_rows, window.outer_cols
        assert 0 <= rows.start < rows.stop <= shape[0]
        assert 0 <= cols.start < cols.stop <= shape[1]
        read = scene[rows, cols]
        assert read.shape == window.outer_shape
        np.testing.assert_array_equal(read[window.inner], scene[window.rows, window.cols])
        for have, room in (
            (window.top, window.row),
            (window.left, window.col),
            (window.bottom, shape[0] - window.rows.stop),
            (window.right, shape[1] - window.cols.stop),
        ):
            assert have == min(halo, room)


@given(shapes, sizes, halos, st.integers(1, 9))
def test_blocks_of_a_grid_are_read_whole_wherever_windows_begin(
    shape: tuple[int, int], size: tuple[int, int], halo: int, grid: int
) -> None:
    for window in tile(shape, size, halo, grid):
        for own, outer, length in (
            (window.rows, window.outer_rows, shape[0]),
            (window.cols, window.outer_cols, shape[1]),
        ):
            assert outer.start % grid == 0
            assert outer.start == 0 or own.start - halo - grid < outer.start <= own.start - halo
            assert outer.stop == length or outer.stop % grid == 0
            assert outer.stop == length or own.stop + halo <= outer.stop < own.stop + halo + grid


@given(
    shapes,
    halos,
    st.integers(1, 5000),
    st.none() | st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([1, 2, 5, 8]),
)
def test_window_size_fits_the_scene_the_budget_and_the_grid(
    shape: tuple[int, int], halo: int, max_pixels: int, block: tuple[int, int] | None, grid: int
) -> None:
    height, width = window_size(shape, halo=halo, max_pixels=max_pixels, block=block, grid=grid)
    for side, length in ((height, shape[0]), (width, shape[1])):
        assert 1 <= side <= length
        assert side == length or side % grid == 0
    if max_pixels < (2 * whole_halo(halo, grid) + grid) ** 2:
        return  # a budget below a single block with its halo is met as well as it can be
    for window in tile(shape, (height, width), halo, grid):
        rows, cols = window.outer_shape
        assert rows * cols <= max_pixels


def test_raw_files_are_read_in_strips_of_full_width() -> None:
    assert window_size((40_000, 700), halo=7, max_pixels=700 * 114) == (100, 700)


def test_tiled_files_are_read_in_whole_blocks() -> None:
    assert window_size((4000, 4000), halo=7, max_pixels=1100**2, block=(256, 256)) == (1024, 1024)
    assert window_size((4000, 4000), halo=0, max_pixels=4000 * 100, block=(16, 4000)) == (96, 4000)


@given(shapes, st.data(), halos, st.sampled_from([1, 3, 4]))
def test_halves_cover_a_window_with_the_halo_it_has(
    shape: tuple[int, int], data: st.DataObject, halo: int, grid: int
) -> None:
    row, col = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    height = data.draw(st.integers(1, shape[0] - row))
    if height < 2:
        return
    window = pad(Window(row, col, height, data.draw(st.integers(1, shape[1] - col))), halo, shape, grid)
    scene = np.arange(shape[0] * shape[1]).reshape(shape)
    read = scene[window.outer_rows, window.outer_cols]
    parts = [read[half.outer_rows, half.outer_cols][half.inner] for half in halves(window, halo, grid)]
    np.testing.assert_array_equal(np.concatenate(parts), scene[window.rows, window.cols])
    assert all(half.outer_rows.start % grid == half.outer_cols.start % grid == 0 for half in halves(window, halo, grid))


def test_wide_scenes_are_not_read_in_strips_that_are_mostly_halo() -> None:
    for cols in (1000, 2000, 2800, 6000):
        height, width = window_size((5000, cols), halo=14, max_pixels=90_000)
        assert (height + 28) * (min(width + 28, cols)) <= 1.31 * height * width
