"""A chip shows the right pixels in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from hadgeo.evidence.chip import SIDE, read_chip
from hadgeo.pictures.composite import ColourBands
from tests.support import memory_source

MIDDLE = SIDE // 2


@pytest.mark.parametrize(("row", "col"), [(20, 20), (0, 0), (39, 29), (3, 28)])
def test_the_pixel_is_in_the_middle_and_what_is_beyond_the_scene_transparent(row: int, col: int) -> None:
    scene = np.random.default_rng(0).random((4, 40, 30)).astype(np.float32)
    scene[:, row, col] = 5
    chip = read_chip(memory_source(scene), ColourBands((2, 0, 2), ""), row, col)
    assert chip[MIDDLE, MIDDLE].tolist() == [255, 255, 255, 255]
    rows, cols = (np.arange(SIDE) - MIDDLE + at for at in (row, col))
    inside = ((rows >= 0) & (rows < 40))[:, None] & ((cols >= 0) & (cols < 30))[None, :]
    np.testing.assert_array_equal(chip[..., 3] == 255, inside)
    np.testing.assert_array_equal(chip[..., 0], chip[..., 2])


def test_pixels_without_data_are_transparent() -> None:
    scene = np.random.default_rng(0).random((3, 40, 30)).astype(np.float32)
    scene[1, 18, 17] = np.nan
    bands = ColourBands((0, 1, 2), "")
    assert read_chip(memory_source(scene), bands, 18, 17)[MIDDLE, MIDDLE].tolist() == [0, 0, 0, 0]
    scene[:] = np.nan
    assert not read_chip(memory_source(scene), bands, 18, 17).any()
