"""Detectors joined to one cube: order, overlap, what was not acquired, and what belongs to each band."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from hadgeo.formats.joined import Detector, join
from hadgeo.formats.source import Metadata
from hadgeo.grid import Grid
from tests.support import background, memory_source


def detector(name: str, centres: list[float] | None, seed: int, scale: float | None = None) -> Detector:
    count = 4 if centres is None else len(centres)
    source = memory_source(background((count, 5, 6), seed))
    if scale is not None:
        source.metadata = replace(source.metadata, scale=np.full(count, scale))
    return Detector(name, source, None if centres is None else np.array(centres))


def read(one: Detector) -> npt.NDArray[np.floating]:
    return one.source.read(slice(0, 5), slice(0, 6))


WHOLE = Metadata("test", np.dtype("f4"), Grid((5, 6)))


@pytest.mark.parametrize("winner", ["first", "last"])
def test_one_of_two_detectors_is_taken_where_they_overlap(winner: Literal["first", "last"]) -> None:
    left = detector("a", [600.0, 500.0, 0.0, 400.0], 1)
    right = detector("b", [550.0, 700.0, 900.0], 2)
    joined = join([left, right], WHOLE, "x", winner=winner)
    kept = [400.0, 500.0, 600.0, 700.0, 900.0] if winner == "first" else [400.0, 500.0, 550.0, 700.0, 900.0]
    assert joined.metadata.wavelength is not None
    assert joined.metadata.wavelength.tolist() == kept
    middle = read(left)[0] if winner == "first" else read(right)[0]
    both = [read(left)[3], read(left)[1], middle, read(right)[1], read(right)[2]]
    np.testing.assert_array_equal(joined.read(slice(0, 5), slice(0, 6)), both)
    assert any("overlap from 550 to 600 nm" in line for line in joined.metadata.assumed)
    assert any("1 bands without a wavelength" in line for line in joined.metadata.assumed)


def test_without_wavelengths_of_one_all_bands_stand_as_they_are() -> None:
    left, right = detector("a", None, 1), detector("b", [900.0, 800.0], 2)
    joined = join([left, right], WHOLE, "x")
    np.testing.assert_array_equal(joined.read(slice(0, 5), slice(0, 6)), np.concatenate([read(left), read(right)]))
    assert joined.metadata.wavelength is None
    assert joined.metadata.band_names == ("a 1", "a 2", "a 3", "a 4", "b 1", "b 2")


def test_decoding_is_told_for_each_band() -> None:
    joined = join([detector("a", [500.0, 400.0], 1, 0.5), detector("b", [900.0], 2)], WHOLE, "x")
    assert joined.metadata.scale is not None
    assert joined.metadata.scale.tolist() == [0.5, 0.5, 1.0]


def test_only_parts_with_a_wanted_band_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = detector("a", [400.0, 500.0], 1), detector("b", [900.0], 2)
    joined = join([left, right], WHOLE, "x")
    monkeypatch.setattr(right.source, "read", None)
    np.testing.assert_array_equal(
        joined.read(slice(1, 3), slice(2, 4), np.array([1, 0, 1])), read(left)[[1, 0, 1], 1:3, 2:4]
    )


def test_flags_of_the_detectors_follow_the_order_of_the_cube() -> None:
    left, right = detector("a", [500.0, 400.0], 1), detector("b", [900.0], 2)
    flags = [memory_source(background((count, 5, 6), 7 + count)) for count in (2, 1)]
    like = join([left, right], WHOLE, "x").like(flags)
    assert like.shape == (3, 5, 6)
    whole = [source.read(slice(0, 5), slice(0, 6)) for source in flags]
    np.testing.assert_array_equal(like.read(slice(0, 5), slice(0, 6)), [whole[0][1], whole[0][0], whole[1][0]])
