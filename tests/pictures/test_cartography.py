"""Scale and north of scenes in all kinds of grids, against rasterio's own transformations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from hadgeo.grid import Grid
from hadgeo.pictures.cartography import Ground, ground_of, length_text, round_length

SHAPE = (300, 200)
UTM = CRS.from_epsg(32633)

GRIDS = {
    "north up, central meridian": (UTM, Affine(2, 0, 499_800, 0, -2, 4.5e6)),
    "north up, edge of the zone": (UTM, Affine(2, 0, 250_000, 0, -2, 6.5e6)),
    "turned": (UTM, Affine.translation(3e5, 5e6) * Affine.rotation(37) * Affine.scale(3, -3)),
    "turned by half, long pixels": (UTM, Affine.translation(7e5, 5e6) * Affine.rotation(170) * Affine.scale(1, -4)),
    "mirrored": (UTM, Affine(2, 0, 5e5, 0, 2, 4.5e6)),
    "sheared": (UTM, Affine(2, 0.7, 5e5, 0.3, -2, 4.5e6)),
    "degrees": (CRS.from_epsg(4326), Affine(1e-4, 0, 13, 0, -1e-4, 60)),
    "web mercator": (CRS.from_epsg(3857), Affine(10, 0, 1.5e6, 0, -10, 8e6)),
    "polar": (CRS.from_epsg(3413), Affine(30, 0, -2e5, 0, -30, -2.2e6)),
    "southern": (CRS.from_epsg(32733), Affine(5, 0, 4e5, 0, -5, 6.2e6)),
}


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS.keys())
def test_the_arrow_leads_north_on_the_ground(crs: CRS, transform: Affine) -> None:
    ground = ground_of(Grid(SHAPE, crs, transform))
    assert ground.north is not None
    assert math.hypot(*ground.north) == pytest.approx(1)
    row, col = SHAPE[0] / 2, SHAPE[1] / 2
    metres = 100
    there = (col + ground.north[0] * metres / ground.right, row + ground.north[1] * metres / ground.down)
    x, y = zip(transform * (col, row), transform * there, strict=True)
    longitude, latitude = rasterio.warp.transform(crs, "EPSG:4326", x, y)
    assert longitude[1] - longitude[0] == pytest.approx(0, abs=2e-6)
    assert latitude[1] > latitude[0]


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS.keys())
def test_pixels_have_their_length_on_the_ground(crs: CRS, transform: Affine) -> None:
    ground = ground_of(Grid(SHAPE, crs, transform))
    row, col = SHAPE[0] / 2, SHAPE[1] / 2
    x, y = zip(*(transform * place for place in [(col, row), (col + 1, row), (col, row + 1)]), strict=True)
    # In a plane that touches the Earth there, lengths are true.
    (longitude,), (latitude,) = rasterio.warp.transform(crs, "EPSG:4326", x[:1], y[:1])
    plane = CRS.from_string(f"+proj=laea +lat_0={latitude} +lon_0={longitude} +datum=WGS84")
    east, north = (np.array(values) for values in rasterio.warp.transform(crs, plane, x, y))
    assert ground.right == pytest.approx(math.hypot(east[1] - east[0], north[1] - north[0]), rel=1e-4)
    assert ground.down == pytest.approx(math.hypot(east[2] - east[0], north[2] - north[0]), rel=1e-4)
    assert ground.unit == "m"


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 200, 300])
def test_a_grid_that_is_turned_turns_the_arrow(angle: float) -> None:
    # The middle lies on the central meridian, where grid north is true north.
    turned = Affine.rotation(angle) * Affine.scale(2, -2) * Affine.translation(-100, -150)
    ground = ground_of(Grid(SHAPE, UTM, Affine.translation(5e5, 4.5e6) * turned))
    assert ground.north == pytest.approx((math.sin(math.radians(angle)), -math.cos(math.radians(angle))), abs=1e-5)


def test_without_a_place_there_is_no_north() -> None:
    assert ground_of(Grid(SHAPE)) == Ground(1, 1, "px", None)
    assert ground_of(Grid(SHAPE, None, Affine(3, 0, 0, 0, -4, 0))) == Ground(3, 4, "map units", None)
    engineering = CRS.from_wkt('LOCAL_CS["a garden",UNIT["metre",1]]')
    moon = CRS.from_user_input("IAU_2015:30100")
    for elsewhere in (engineering, moon):
        assert ground_of(Grid(SHAPE, elsewhere, Affine(3, 0, 0, 0, -4, 0))) == Ground(3, 4, "map units", None)


@given(st.floats(1e-6, 1e9))
def test_round_lengths_are_round_and_nearly_as_long_as_asked(longest: float) -> None:
    length = round_length(longest)
    assert longest * 0.399 <= length <= longest * 1.0001
    assert f"{length:.5e}"[0] in "125"
    assert float(f"{length:.0e}") == pytest.approx(length)


def test_lengths_read_well() -> None:
    assert [length_text(value, "m") for value in (0.5, 200, 1000, 20_000)] == ["0.5 m", "200 m", "1 km", "20 km"]
    assert length_text(2000, "px") == "2000 px"
