"""Some pixels of a cube: bits of any window, and nodata everywhere else."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest

from hadgeo.formats.cropped import Cropped
from hadgeo.formats.selected import PixelBits, Selected, kept_pixels
from hadgeo.formats.source import Source
from tests.support import background, memory_source

ROWS, COLS = 23, 37


def some(seed: int = 0) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random((ROWS, COLS)) < 0.4


def bits_of(values: npt.NDArray[np.bool_]) -> PixelBits:
    bits = PixelBits((ROWS, COLS))
    bits.put(slice(0, ROWS), slice(0, COLS), values)
    return bits


def whole(bits: PixelBits) -> npt.NDArray[np.bool_]:
    return bits.get(slice(0, ROWS), slice(0, COLS))


@pytest.fixture
def scene() -> Source:
    return memory_source(background((5, ROWS, COLS)))


def test_windows_of_any_size_are_put_and_got() -> None:
    bits, values = PixelBits((ROWS, COLS)), np.zeros((ROWS, COLS), dtype=bool)
    rng = np.random.default_rng(1)
    for _ in range(200):
        (top, bottom), (left, right) = (np.sort(rng.choice(n + 1, 2, replace=False)) for n in (ROWS, COLS))
        rows, cols = slice(int(top), int(bottom)), slice(int(left), int(right))
        values[rows, cols] = rng.random((bottom - top, right - left)) < 0.5
        bits.put(rows, cols, values[rows, cols])
        np.testing.assert_array_equal(bits.get(rows, cols), values[rows, cols])
    np.testing.assert_array_equal(whole(bits), values)
    assert bits.count == values.sum()


def test_bits_are_combined_pixel_by_pixel() -> None:
    one, other = bits_of(some(0)), bits_of(some(1))
    np.testing.assert_array_equal(whole(one & other), some(0) & some(1))
    np.testing.assert_array_equal(whole(one - other), some(0) & ~some(1))
    assert (one - one).count == 0
    np.testing.assert_array_equal(whole(one), some(0))


def test_pixels_that_are_not_chosen_are_nodata(scene: Source) -> None:
    chosen = Selected(scene, bits_of(some()))
    rows, cols = slice(0, ROWS), slice(0, COLS)
    expected = np.where(some(), scene.read(rows, cols), np.nan)
    np.testing.assert_array_equal(chosen.read(rows, cols), expected)
    np.testing.assert_array_equal(
        chosen.read(slice(3, 9), slice(11, 30), np.array([4, 1])), expected[[4, 1], 3:9, 11:30]
    )
    again = pickle.loads(pickle.dumps(chosen))
    np.testing.assert_array_equal(again.read(rows, cols), expected)
    assert (chosen.path, chosen.shape, chosen.variant, chosen.files) == (
        scene.path,
        scene.shape,
        scene.variant,
        scene.files,
    )


def test_what_is_not_chosen_is_not_read(scene: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    values = some()
    values[:12] = False
    chosen = Selected(scene, bits_of(values))

    def fail(*args: object) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr(type(scene), "read", fail)
    window = chosen.read(slice(0, 12), slice(0, COLS), np.array([2, 3]))
    assert window.shape == (2, 12, COLS)
    assert np.isnan(window).all()


def test_what_is_kept_is_known_through_every_wrapper(scene: Source) -> None:
    assert kept_pixels(scene).count == ROWS * COLS
    twice = Selected(Selected(scene, bits_of(some(0))), bits_of(some(1)))
    np.testing.assert_array_equal(whole(kept_pixels(twice)), some(0) & some(1))
    part = Cropped(twice, slice(2, 20), slice(5, 33))
    bits = kept_pixels(part)
    assert bits.shape == (18, 28)
    np.testing.assert_array_equal(bits.get(slice(0, 18), slice(0, 28)), (some(0) & some(1))[2:20, 5:33])
