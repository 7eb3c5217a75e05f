"""Where the parts of a scene go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadgeo.pictures.layout import lay_out

lengths = st.integers(1, 50_000)


@given(lengths, lengths, st.sampled_from([1.0, 0.3, 1.005, 4.0]), st.integers(100, 4000))
def test_panels_hold_every_cell_once_and_keep_to_the_picture(rows: int, cols: int, aspect: float, size: int) -> None:
    layout = lay_out((rows, cols), aspect, size)
    cells = (-(-rows // layout.step), -(-cols // layout.step))
    covered = sum((p.rows.stop - p.rows.start) * (p.cols.stop - p.cols.start) for p in layout.panels)
    assert covered == cells[0] * cells[1]
    assert all(p.rows.stop <= cells[0] and p.cols.stop <= cells[1] for p in layout.panels)
    # A cell more for each part that rounding made longer, at its largest height.
    slack = 4 * (1 + len(layout.panels))
    assert layout.width <= size + slack
    assert layout.height <= size + slack
    assert min(layout.cell) >= 1


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
