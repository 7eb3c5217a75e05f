"""Vegetation, water and shadow: the indices in closed form, on spectra of known materials, in any scale and window."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hadgeo.errors import BandError, Cancelled, ParameterError
from hadgeo.formats import surfaces
from hadgeo.formats.selected import PixelBits
from hadgeo.formats.source import Source
from hadgeo.formats.surfaces import (
    NONE,
    SHADOW,
    UNKNOWN,
    VEGETATION,
    WATER,
    describe_surfaces,
    find_surfaces,
    normalised_difference,
    parse_surfaces,
)
from hadgeo.simulation.spectra import BACKGROUND, make_bands
from tests.support import Recorder, memory_source

SENSOR = make_bands(60)
COLS = len(BACKGROUND)
ROWS = 4
NAMES = [material.name for material in BACKGROUND]
ALL = parse_surfaces("vegetation,water,shadow")


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def materials() -> npt.NDArray[np.float64]:
    """One material a column; the last row lies in shadow, at a fifth of the light."""
    spectra = np.stack([SENSOR.response(material.reflectance()) for material in BACKGROUND], axis=1)
    light = np.array([1.0, 1.0, 1.0, 0.2])
    return spectra[:, None, :] * light[None, :, None]


def source_of(values: npt.NDArray[Any], **metadata: Any) -> Source:
    source = memory_source(values.astype("f4"))
    known = {"wavelength": SENSOR.wavelength, "good": SENSOR.good, **metadata}
    source.metadata = replace(source.metadata, **known)
    return source


def classes(source: Source, pool: Executor, thresholds: dict[str, float] | None = None) -> npt.NDArray[np.uint8]:
    found = find_surfaces(source, thresholds or ALL, pool)
    return found.get(slice(0, source.shape[1]), slice(0, source.shape[2]))


def nearest(nm: float) -> int:
    good = np.flatnonzero(SENSOR.good)
    return int(good[np.abs(SENSOR.wavelength[good] - nm).argmin()])


def test_indices_are_those_of_the_literature() -> None:
    assert normalised_difference(np.array([0.5]), np.array([0.1]))[0] == pytest.approx(0.4 / 0.6)
    assert normalised_difference(np.array([5000]), np.array([1000]))[0] == pytest.approx(0.4 / 0.6)
    odd = normalised_difference(np.array([0.0, -0.2, 0.1, np.nan]), np.array([0.0, 0.1, -0.05, 1.0]))
    assert np.isnan(odd[[0, 1, 3]]).all()
    assert odd[2] == pytest.approx(3)


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.2, 0.4, 0.7])
@pytest.mark.parametrize("scale", [1, 10_000])
def test_classes_are_the_indices_beyond_their_thresholds(pool: Executor, threshold: float, scale: float) -> None:
    cube = materials() * scale
    stored = cube.astype("f4").astype("f8")
    red, nir, green, far = (stored[nearest(nm)] for nm in (670, 800, 560, 860))
    vegetation = classes(source_of(cube), pool, {"vegetation": threshold}) == VEGETATION
    np.testing.assert_array_equal(vegetation, (nir - red) / (nir + red) > threshold)
    water = classes(source_of(cube), pool, {"water": threshold}) == WATER
    np.testing.assert_array_equal(water, (green - far) / (green + far) > threshold)
    brightness = stored[SENSOR.good].mean(axis=0)
    share = max(threshold, 0)
    shadow = classes(source_of(cube), pool, {"shadow": share}) == SHADOW
    np.testing.assert_array_equal(shadow, brightness < share * np.median(brightness))


def test_default_thresholds_tell_known_materials_apart(pool: Executor) -> None:
    found = classes(source_of(materials()), pool)
    for row in range(3):
        told = {name: int(found[row, col]) for col, name in enumerate(NAMES)}
        assert told.pop("green vegetation") == told.pop("forest") == VEGETATION
        assert told.pop("water") == WATER
        assert set(told.values()) == {NONE}, told
    # A leaf in the shade is a leaf, and water is water.
    assert found[3, NAMES.index("forest")] == VEGETATION
    assert found[3, NAMES.index("water")] == WATER
    assert found[3, NAMES.index("asphalt")] == found[3, NAMES.index("iron soil")] == SHADOW


def test_windows_change_nothing_and_are_followed(pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cube = np.repeat(np.repeat(materials(), 9, axis=1), 7, axis=2) * rng.uniform(0.5, 1.5, (60, 36, 7 * COLS))
    source = source_of(cube)
    whole = classes(source, pool)
    monkeypatch.setattr(surfaces, "_PIECE_BYTES", 60 * 4 * 50)
    watch = Recorder()
    pieces = find_surfaces(source, ALL, pool, watch)
    np.testing.assert_array_equal(pieces.get(slice(0, 36), slice(0, 7 * COLS)), whole)
    np.testing.assert_array_equal(pieces.get(slice(5, 9), slice(11, 20)), whole[5:9, 11:20])
    assert watch.stages["select"] == [36 * 7 * COLS, 36 * 7 * COLS]
    with pytest.raises(Cancelled):
        find_surfaces(source, ALL, pool, Recorder(patience=2))


def test_nodata_is_unknown(pool: Executor) -> None:
    cube = materials()
    cube[:, 1] = np.nan
    cube[nearest(800), 2] = np.nan
    found = classes(source_of(cube), pool)
    assert (found[1:3] == UNKNOWN).all()
    assert VEGETATION in found[0]
    # Brightness is that of the bands that have data.
    assert (classes(source_of(cube), pool, {"shadow": 0.3})[2] != UNKNOWN).all()


def test_counts_and_pixels_outside(pool: Executor) -> None:
    source = source_of(materials())
    found = find_surfaces(source, ALL, pool)
    within = PixelBits((ROWS, COLS))
    within.put(slice(0, 2), slice(0, COLS), np.ones((2, COLS), dtype=bool))
    assert found.counts(within) == {"vegetation": 4, "water": 2, "shadow": 0}
    assert found.outside(within).count == 2 * COLS - 6


def test_without_surfaces_it_says_where_there_is_data(pool: Executor) -> None:
    cube = materials()
    cube[:, 1, 3:] = np.nan
    # Even where some bands have none at all.
    cube[nearest(700)] = np.nan
    within = PixelBits((ROWS, COLS))
    within.put(slice(0, ROWS), slice(0, COLS), np.ones((ROWS, COLS), dtype=bool))
    data = find_surfaces(source_of(cube), {}, pool, within=within).data
    np.testing.assert_array_equal(data.get(slice(0, ROWS), slice(0, COLS)), np.isfinite(cube).any(axis=0))


def test_pieces_that_are_of_no_interest_are_not_read(pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(materials())

    def fail(*args: object) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr(type(source), "read", fail)
    assert find_surfaces(source, {}, pool, within=PixelBits((ROWS, COLS))).data.count == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("water", {"water": 0.0}),
        ("shadow, vegetation=0.55", {"vegetation": 0.55, "shadow": 0.3}),
        (["water=-0.1", "shadow"], {"water": -0.1, "shadow": 0.3}),
        ({"vegetation": 0.3}, {"vegetation": 0.3}),
    ],
)
def test_surfaces_are_named_with_or_without_thresholds(text: Any, expected: dict[str, float]) -> None:
    found = parse_surfaces(text)
    assert found == expected
    assert list(found) == sorted(found, key=list(surfaces.SURFACES).index)
    assert parse_surfaces(surfaces.as_text(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snow", "'snow' is not a surface that can be suppressed; name some of vegetation, water, shadow"),
        ("", "'' is not a surface"),
        ("water,water", "water is named twice"),
        ("water=much", "water=much: the threshold must be a number from -1 to 1, such as 0"),
        ("vegetation=2", "vegetation=2: the threshold"),
        ("shadow=-0.1", "from 0 to 1, such as 0.3"),
        ("shadow=nan", "shadow=nan"),
        ({}, "no surface is named"),
    ],
)
def test_what_is_no_surface_is_refused(text: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_surfaces(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_are_described() -> None:
    told = describe_surfaces(parse_surfaces("vegetation=0.5,shadow"))
    assert told == "vegetation (NDVI > 0.5), shadow (brightness < 0.3 of the median)"
    assert describe_surfaces({"water": 0.0}, {"water": 1234}) == "1,234 of water (NDWI > 0)"


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"wavelength": None}, "no wavelengths, but vegetation is told by bands near 670 and 800 nm; add them"),
        ({"wavelength": np.full(60, np.nan)}, "no wavelengths"),
        ({"wavelength": np.linspace(1000, 2400, 60)}, "but the bands run from 1000 to 2400 nm"),
        ({"good": np.zeros(60, dtype=bool)}, "none that is good is near"),
    ],
)
def test_a_scene_without_the_bands_of_an_index_is_refused(pool: Executor, metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(BandError) as caught:
        find_surfaces(source_of(materials(), **metadata), ALL, pool)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_band_for_both_is_refused(pool: Executor) -> None:
    source = memory_source(np.ones((3, 2, 2), dtype="f4"))
    source.metadata = replace(source.metadata, wavelength=np.array([400.0, 735.0, 1100.0]))
    with pytest.raises(BandError, match="the nearest to both is the same one"):
        find_surfaces(source, ALL, pool)


def test_shadow_needs_no_wavelengths(pool: Executor) -> None:
    found = classes(source_of(materials(), wavelength=None), pool, {"shadow": 0.3})
    assert (found[3] == SHADOW).sum() > COLS / 2
