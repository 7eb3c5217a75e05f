"""Where the parts of a scene go."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hadgeo.pictures.layout import GAP, lay_out

#: Short sides are where a single cell more matters, and lengths of a pixel differ by any factor.
lengths = st.integers(1, 50) | st.integers(1, 50_000)
aspects = st.sampled_from([1.0, 0.3, 1.005, 4.0]) | st.floats(1e-6, 1e6)


@given(lengths, lengths, aspects, st.integers(100, 4000))
@example(1, 3, 0.3, 144)
@example(3345, 2, 1.0, 3956)
@example(7, 15_764, 609.0, 321)
def test_panels_hold_every_cell_once_and_keep_to_the_picture(rows: int, cols: int, aspect: float, size: int) -> None:
    layout = lay_out((rows, cols), aspect, size)
    cells = (-(-rows // layout.step), -(-cols // layout.step))
    covered = sum((p.rows.stop - p.rows.start) * (p.cols.stop - p.cols.start) for p in layout.panels)
    assert covered == cells[0] * cells[1]
    assert all(p.rows.stop <= cells[0] and p.cols.stop <= cells[1] for p in layout.panels)
    assert layout.width <= size
    assert layout.height <= size
    # A step is taken when the one before is too large a picture, and halves it at most, gaps aside.
    assert layout.step == 1 or max(layout.width, layout.height) > size / 3
    assert min(layout.cell) >= 1


@given(lengths, lengths, aspects, st.integers(100, 4000))
def test_panels_lie_side_by_side_with_room_for_a_label(rows: int, cols: int, aspect: float, size: int) -> None:
    layout = lay_out((rows, cols), aspect, size)
    for before, after in pairwise(layout.panels):
        assert (after.left, after.top) in (
            (before.left + before.width + GAP, before.top),
            (before.left, before.top + before.height + GAP),
        )
    assert layout.width == max(p.left + p.width for p in layout.panels)
    assert layout.height == max(p.top + p.height for p in layout.panels)


@pytest.mark.parametrize(
    ("shape", "panels"), [((400, 600), 1), ((1700, 600), 1), ((40_000, 600), 10), ((300, 9000), 4)]
)
def test_long_lines_are_cut(shape: tuple[int, int], panels: int) -> None:
    layout = lay_out(shape, 1.0, 2000)
    assert len(layout.panels) == panels
    if panels > 1:
        assert 1 < layout.width / layout.height < 2.2


def test_a_small_scene_is_enlarged_in_whole_pixels() -> None:
    layout = lay_out((64, 128), 1.004, 2000)
    assert (layout.step, layout.cell) == (1, (7, 7))
    assert (layout.width, layout.height) == (896, 448)


def test_pixels_that_are_not_square_keep_their_shape() -> None:
    layout = lay_out((100, 100), 2.5, 2000)
    assert layout.height / layout.width == pytest.approx(2.5, rel=0.01)
    layout = lay_out((5000, 5000), 0.5, 1000)
    assert layout.width / layout.height == pytest.approx(2, rel=0.01)
    assert np.isclose(min(layout.cell), 1)
