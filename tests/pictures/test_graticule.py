"""Coordinates along a frame: round, where they belong, and named as the system names them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from affine import Affine
from rasterio.crs import CRS

from hadgeo.grid import Grid
from hadgeo.pictures.graticule import Graticule, Tick, round_up

UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(2, 0, 5e5, 0, -2, 4.5e6)


def grid(crs: CRS | None = UTM, transform: Affine | None = NORTH_UP) -> Grid:
    return Grid((300, 200), crs, transform)


def value(tick: Tick) -> float:
    return float(next(word for word in tick.label.replace(",", "").replace("°", "").split() if word[-1].isdigit()))


@pytest.mark.parametrize("angle", [0, 12, -40, 80, 180])
def test_ticks_stand_at_their_coordinate_on_the_edge(angle: float) -> None:
    turned = grid(transform=Affine.translation(5e5, 4.5e6) * Affine.rotation(angle) * Affine.scale(2, -2))
    graticule = Graticule(turned)
    assert graticule.turned == (angle not in (0, 180))
    below, beside = graticule.below((10, 190), 300, 40), graticule.beside((10, 290), 0, 40)
    assert len(below) >= 2
    assert len(beside) >= 2
    for ticks, to_map in ((below, lambda at: turned.to_map(at, 300.0)), (beside, lambda at: turned.to_map(0.0, at))):
        for tick in ticks:
            x, y = to_map(tick.at)
            assert 10 - 1e-6 <= tick.at <= 290 + 1e-6
            assert value(tick) == pytest.approx(x if tick.label.endswith(" E") else y, abs=0.51)
        assert all(abs(b.at - a.at) >= 40 - 1e-6 for a, b in pairwise(ticks))
    # One edge has eastings and the other northings.
    assert {tick.label[-1] for tick in below} != {tick.label[-1] for tick in beside}


def test_oblique_lines_lead_along_equal_coordinates() -> None:
    turned = grid(
        transform=Affine.translation(5e5, 4.5e6) * Affine.rotation(25) * Affine.shear(5) * Affine.scale(2, -2)
    )
    graticule = Graticule(turned)
    below, beside = graticule.below((0, 200), 300, 40), graticule.beside((0, 300), 0, 40)
    lines = list(graticule.oblique(below, beside, 300, 0))
    for tick, (col, row, (right, down)) in zip([*below, *beside], lines, strict=True):
        axis = 0 if tick.label.endswith("E") else 1
        here, there = turned.to_map(col, row), turned.to_map(col + 50 * right, row + 50 * down)
        assert here[axis] == pytest.approx(there[axis])
        assert here[1 - axis] != pytest.approx(there[1 - axis])


def test_degrees_have_their_side_of_the_earth() -> None:
    south_west = Graticule(grid(CRS.from_epsg(4326), Affine(1e-3, 0, -58.1, 0, -1e-3, -34.5)))
    assert [tick.label for tick in south_west.below((0, 200), 300, 90)] == ["58.1° W", "58.0° W", "57.9° W"]
    assert [tick.label for tick in south_west.beside((0, 300), 0, 190)] == ["34.8° S", "34.6° S"]
    assert south_west.about == "WGS 84 (EPSG:4326)"


def test_without_a_system_or_a_place_nothing_is_pretended() -> None:
    units = Graticule(grid(None))
    assert units.about == "no coordinate reference system: coordinates in map units"
    assert units.below((0, 200), 300, 90)[1].label == "x 500,200"
    nowhere = Graticule(grid(None, None))
    assert nowhere.about == "no georeference: rows and columns, counted from 0"
    assert [tick.label for tick in nowhere.beside((0, 300), 0, 90)] == ["row 0", "row 100", "row 200", "row 300"]
    assert [tick.at for tick in nowhere.below((0, 200), 300, 90)] == [0, 100, 200]


def test_the_system_is_called_as_the_register_calls_it() -> None:
    assert Graticule(grid()).about == "WGS 84 / UTM zone 33N (EPSG:32633), metres"
    esri = CRS.from_wkt(CRS.from_epsg(26711).to_wkt(version="WKT1_ESRI"))
    assert Graticule(grid(esri)).about == "NAD27 / UTM zone 11N (EPSG:26711), metres"
    feet = Graticule(grid(CRS.from_epsg(2230)))
    assert feet.about == "NAD83 / California zone 6 (ftUS) (EPSG:2230), units of 0.304801 m"


@pytest.mark.parametrize(("least", "expected"), [(0.9, 1), (1, 1), (1.1, 2), (3, 5), (6e-4, 1e-3), (4.2e5, 5e5)])
def test_steps_are_round(least: float, expected: float) -> None:
    assert round_up(least) == pytest.approx(expected)
