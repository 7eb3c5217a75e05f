"""Flags become nodata: by value, by bit, for pixels and for samples, in any window."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from hadgeo.errors import CubeError
from hadgeo.formats.quality import Flags, Mask, MaskedByProduct, ZeroThroughout, choose, masked
from tests.support import background, memory_source

BANDS, ROWS, COLS = 5, 6, 7
CUBE = background((BANDS, ROWS, COLS))
ALL = (slice(0, ROWS), slice(0, COLS))


def layer(values: dict[tuple[int, int, int], float], bands: int = 1) -> np.ndarray:
    flags = np.zeros((bands, ROWS, COLS), dtype="f4")
    for place, value in values.items():
        flags[place] = value
    return flags


def missing(mask: Mask) -> list[tuple[int, ...]]:
    read = MaskedByProduct(memory_source(CUBE), [mask]).read(*ALL)
    assert np.array_equal(read, CUBE, equal_nan=True) or np.isnan(read).any()
    np.testing.assert_array_equal(read[np.isfinite(read)], CUBE[np.isfinite(read)])
    return [tuple(place) for place in np.argwhere(np.isnan(read)).tolist()]


def every_band(row: int, col: int) -> list[tuple[int, ...]]:
    return [(band, row, col) for band in range(BANDS)]


def test_a_value_flags_a_pixel_in_all_bands() -> None:
    flags = memory_source(layer({(0, 1, 2): 3, (0, 4, 4): 1, (0, 5, 5): np.nan}))
    assert missing(Flags(flags, values=(3,))) == every_band(1, 2)
    assert missing(Flags(flags)) == sorted([*every_band(1, 2), *every_band(4, 4)])


def test_bits_flag_a_pixel() -> None:
    flags = memory_source(layer({(0, 1, 2): 0b1010, (0, 4, 4): 0b0101}))
    assert missing(Flags(flags, bits=(0b0010,))) == every_band(1, 2)


def test_a_layer_with_a_band_for_each_flags_samples() -> None:
    flags = memory_source(layer({(3, 1, 2): 1, (0, 5, 6): 1}, BANDS))
    assert missing(Flags(flags, places=tuple(range(BANDS)))) == [(0, 5, 6), (3, 1, 2)]


def test_packed_bits_flag_samples() -> None:
    flags = memory_source(layer({(0, 1, 2): 1 << 7, (1, 3, 3): 1 << 6}, 2))
    mask = Flags(flags, places=(0, 0, 0, 1, 1), bits=(1 << 7, 1 << 6, 1 << 5, 1 << 7, 1 << 6))
    assert missing(mask) == [(0, 1, 2), (4, 3, 3)]


def test_zero_throughout_is_nodata_and_a_single_zero_is_not() -> None:
    stored = np.ones((BANDS, ROWS, COLS), dtype="f4")
    stored[:, 2, 3] = 0
    stored[:4, 0, 0] = 0
    assert missing(ZeroThroughout(memory_source(stored), tuple(range(BANDS)))) == every_band(2, 3)


def test_windows_and_bands_are_parts_of_the_whole() -> None:
    flags = memory_source(layer({(3, 1, 2): 1, (1, 2, 3): 1}, BANDS))
    source = MaskedByProduct(memory_source(CUBE), [Flags(flags, places=tuple(range(BANDS)))])
    whole = source.read(*ALL)
    bands = np.array([3, 1, 1])
    np.testing.assert_array_equal(source.read(slice(1, 3), slice(2, 5), bands), whole[bands, 1:3, 2:5])
    np.testing.assert_array_equal(source.read(slice(1, 3), slice(2, 5), slice(2, 4)), whole[2:4, 1:3, 2:5])
    assert source.read(slice(1, 1), slice(0, 3)).shape == (BANDS, 0, 3)
    assert source.sample_bytes > source.source.sample_bytes


def test_layers_are_chosen_by_name_and_others_refused() -> None:
    cloud, snow = (Flags(memory_source(layer({}))) for _ in range(2))
    layers: dict[str, list[Mask]] = {"snow": [snow], "cloud": [cloud], "haze": []}
    assert choose(["cloud", "cloud"], layers, "x") == [cloud]
    with pytest.raises(CubeError, match="x: no quality layer for 'haze'; it has cloud, snow \\(next to it\\)"):
        choose(["haze"], layers, "x", "next to it")


def test_without_masks_a_source_stays_itself() -> None:
    source = memory_source(CUBE)
    assert masked(source, []) is source
    assert isinstance(pickle.loads(pickle.dumps(Flags(source))), Flags)
