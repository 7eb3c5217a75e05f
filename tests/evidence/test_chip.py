"""A chip shows the right pixels in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from hadgeo.evidence.chip import SIDE, Frame, read_chip
from hadgeo.pictures.composite import ColourBands
from tests.support import memory_source

MIDDLE = SIDE // 2


@pytest.mark.parametrize(("row", "col"), [(20, 20), (0, 0), (39, 29), (3, 28)])
def test_the_pixel_is_in_the_middle_and_what_is_beyond_the_scene_transparent(row: int, col: int) -> None:
    scene = np.random.default_rng(0).random((4, 40, 30)).astype(np.float32)
    scene[:, row, col] = 5
    chip = read_chip(memory_source(scene), ColourBands((2, 0, 2), ""), Frame.around(row, col))
    assert chip[MIDDLE, MIDDLE].tolist() == [255, 255, 255, 255]
    rows, cols = (np.arange(SIDE) - MIDDLE + at for at in (row, col))
    inside = ((rows >= 0) & (rows < 40))[:, None] & ((cols >= 0) & (cols < 30))[None, :]
    np.testing.assert_array_equal(chip[..., 3] == 255, inside)
    np.testing.assert_array_equal(chip[..., 0], chip[..., 2])


def test_pixels_without_data_are_transparent() -> None:
    scene = np.random.default_rng(0).random((3, 40, 30)).astype(np.float32)
    scene[1, 18, 17] = np.nan
    bands = ColourBands((0, 1, 2), "")
    assert read_chip(memory_source(scene), bands, Frame.around(18, 17))[MIDDLE, MIDDLE].tolist() == [0, 0, 0, 0]
    scene[:] = np.nan
    assert not read_chip(memory_source(scene), bands, Frame.around(18, 17)).any()


def test_a_chip_of_steps_shows_the_middle_pixel_of_each() -> None:
    scene = np.random.default_rng(0).random((3, 90, 80)).astype(np.float32)
    frame = Frame.around(40, 30, side=4, step=3)
    assert (frame.row, frame.col) == (34, 24)
    chip = read_chip(memory_source(scene), ColourBands((1, 1, 1), ""), frame)
    order = np.argsort(scene[1, 35:46:3, 25:36:3].ravel())
    assert chip[..., 3].tolist() == [[255] * 4] * 4
    assert (np.diff(chip[..., 0].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(("row", "col"), [(-200, 5), (5, 400), (300, -90)])
def test_a_frame_beyond_the_scene_is_empty(row: int, col: int) -> None:
    scene = np.ones((3, 40, 30), dtype=np.float32)
    assert not read_chip(memory_source(scene), ColourBands((0, 1, 2), ""), Frame.around(row, col)).any()
