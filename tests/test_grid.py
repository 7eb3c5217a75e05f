"""Grids: pixels and coordinates, windows, north-up grids, and the size of a pixel on the ellipsoid."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS as PROJ_CRS
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from hadgeo.grid import Grid, from_centres, joined, turned

UTM = CRS.from_epsg(32633)
DEGREES = CRS.from_epsg(4326)
NORTH_UP = Affine(2, 0, 5e5, 0, -2, 4.5e6)
GARDEN = CRS.from_wkt('LOCAL_CS["a garden",UNIT["metre",1]]')
ENGINEERING = CRS.from_wkt(
    'ENGCRS["a site",EDATUM["a peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["foot",0.3048]]'
)
MOON = CRS.from_user_input("IAU_2015:30100")
MOON_PLANE = CRS.from_user_input("IAU_2015:30110")
MARS = CRS.from_user_input("IAU_2015:49900")
ELSEWHERE = {"local": GARDEN, "engineering": ENGINEERING, "Moon": MOON, "Moon, projected": MOON_PLANE, "Mars": MARS}


@st.composite
def transforms(draw: st.DrawFn) -> Affine:
    """Rotated, mirrored, sheared, with long pixels; never flat."""
    turn = math.radians(draw(st.floats(-180, 180)))
    shear = math.tan(math.radians(draw(st.floats(-60, 60))))
    wide, high = (draw(st.floats(0.01, 100)) * draw(st.sampled_from((-1, 1))) for _ in range(2))
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = (draw(st.floats(-1e7, 1e7)) for _ in range(2))
    return Affine(cos * wide, (cos * shear - sin) * high, x, sin * wide, (sin * shear + cos) * high, y)


shapes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
grids = st.builds(Grid, shapes, st.sampled_from((None, UTM, DEGREES, GARDEN, MOON)), transforms())


@given(grids, st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_what_goes_to_the_map_comes_back_to_its_pixel(grid: Grid, col: float, row: float) -> None:
    assert grid.to_pixels(*grid.to_map(col, row)) == pytest.approx((col, row), abs=1e-4)


@given(grids)
def test_many_places_go_where_each_one_goes_alone_and_where_affine_says(grid: Grid) -> None:
    cols, rows = np.array([[0.0, 3.5], [7.0, -1.0]]), np.array([[0.5, 2.0], [9.0, 4.0]])
    x, y = grid.to_map(cols, rows)
    assert x.shape == y.shape == cols.shape
    for place in np.ndindex(cols.shape):
        alone = grid.to_map(float(cols[place]), float(rows[place]))
        assert alone == (x[place], y[place])
        assert alone == pytest.approx(grid.affine * (cols[place], rows[place]), rel=1e-12, abs=1e-9)


@given(grids)
def test_corners_go_round_the_raster(grid: Grid) -> None:
    rows, cols = grid.shape
    x, y = grid.corners
    for at, place in enumerate([(0, 0), (cols, 0), (cols, rows), (0, rows)]):
        assert (x[at], y[at]) == grid.to_map(float(place[0]), float(place[1]))
    # The shoelace formula.
    area = abs(np.dot(x - x[0], np.roll(y, -1) - np.roll(y, 1))) / 2
    assert area == pytest.approx(grid.cell_area * grid.pixels, rel=1e-6)


@given(grids, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60))
def test_a_window_keeps_its_pixels_where_they_are(grid: Grid, row: int, col: int, height: int, width: int) -> None:
    part = grid.window(slice(row, row + height), slice(col, col + width))
    assert part.shape == (height, width)
    assert part.crs == grid.crs
    there, here = part.to_map(0.5, height - 0.5), grid.to_map(col + 0.5, row + height - 0.5)
    assert there == pytest.approx(here, rel=1e-12, abs=1e-6)
    back = part.window(slice(-row, -row + grid.shape[0]), slice(-col, -col + grid.shape[1]))
    assert back.same_as(grid)


def test_a_window_of_a_grid_without_a_place_has_none() -> None:
    assert Grid((9, 9)).window(slice(2, 5), slice(1, 8)) == Grid((3, 7))


@given(grids, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_grids_are_the_same_as_far_as_asked(grid: Grid, right: float, down: float) -> None:
    t = grid.affine
    x, y = grid.to_map(right, down)
    moved = Grid(grid.shape, grid.crs, Affine(t.a, t.b, x, t.d, t.e, y))
    apart = math.hypot(right, down)
    assert grid.apart(moved) == pytest.approx(apart, abs=1e-4)
    assert grid.same_as(moved, within=apart + 2e-4)
    assert not grid.same_as(moved, within=max(apart - 2e-4, -1))


def test_grids_of_other_shape_system_or_place_are_not_the_same() -> None:
    grid = Grid((9, 8), UTM, NORTH_UP)
    assert grid.same_as(Grid((9, 8), CRS.from_wkt(UTM.to_wkt()), NORTH_UP))
    others = [Grid((8, 9), UTM, NORTH_UP), Grid((9, 8), DEGREES, NORTH_UP), Grid((9, 8), None, NORTH_UP)]
    assert not any(grid.same_as(other) or other.same_as(grid) for other in [*others, Grid((9, 8), UTM)])
    # A step that is a hundredth off shows at the far end alone.
    assert not grid.same_as(Grid((9, 8), UTM, Affine(2.02, 0, 5e5, 0, -2, 4.5e6)))
    assert Grid((9, 8)).same_as(Grid((9, 8), UTM)), "without a transform nothing lies anywhere"


@given(grids)
def test_a_north_up_grid_holds_all_of_the_other_in_pixels_of_the_same_area(grid: Grid) -> None:
    upright = grid.north_up()
    assert upright.rectilinear
    assert upright.affine.e == -upright.affine.a < 0
    assert upright.cell_area == pytest.approx(grid.cell_area)
    cols, rows = upright.to_pixels(*grid.corners)
    assert min(cols.min(), rows.min()) == pytest.approx(0, abs=1e-4)
    # The smallest: less than a pixel is left over.
    for length, most in ((upright.shape[1], cols.max()), (upright.shape[0], rows.max())):
        assert most - 1e-3 <= length < max(most, 0) + 1.001


def test_a_north_up_grid_is_left_as_it_is() -> None:
    grid = Grid((7, 9), UTM, NORTH_UP)
    assert grid.north_up() == grid


@given(grids, st.integers(2, 40), st.integers(2, 40), st.integers(1, 5), st.integers(1, 5))
def test_a_slice_with_steps_is_a_transform_within_a_transform(
    grid: Grid, cols: int, rows: int, right: int, down: int
) -> None:
    inner = from_centres(3 + np.arange(cols) * right + 0.5, 1 + np.arange(rows) * down + 0.5, (1.0, 1.0))
    both = Grid((rows, cols), grid.crs, joined(grid.affine, inner))
    middle = both.to_map(cols - 0.5, rows - 0.5)
    assert middle == pytest.approx(grid.to_map(3 + (cols - 1) * right + 0.5, 1 + (rows - 1) * down + 0.5), abs=1e-5)


def test_centres_make_the_transform_that_made_them() -> None:
    grid = Grid((6, 5), UTM, Affine(2, 0, 5e5, 0, -4, 4.5e6))
    assert from_centres(*grid.centres, (9.0, 9.0)) == grid.affine
    lone = Grid((1, 1), UTM, Affine(2, 0, 5e5, 0, -4, 4.5e6))
    assert from_centres(*lone.centres, (2.0, -4.0)) == lone.affine


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, -45])
def test_a_turned_grid_is_turned_anticlockwise(degrees: float) -> None:
    grid = Grid((1, 1), None, turned(7.0, 9.0, 2.0, degrees))
    x, y = grid.to_map(1.0, 0.0)
    assert math.degrees(math.atan2(y - 9, x - 7)) % 360 == pytest.approx(degrees % 360)
    assert grid.cell == pytest.approx((2, 2))
    assert grid.affine.determinant < 0, "rows run down"


def test_a_grid_is_a_value() -> None:
    grid = Grid((6, 5), UTM, NORTH_UP)
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert len({grid, Grid((6, 5), UTM, NORTH_UP)}) == 1
    with pytest.raises(AttributeError):
        grid.crs = None  # type: ignore[misc]


def area_by_hand(grid: Grid) -> float:
    """Of the middle pixel, through a plane that is true to area there."""
    row, col = grid.shape[0] / 2, grid.shape[1] / 2
    assert grid.crs is not None
    own = PROJ_CRS.from_wkt(grid.crs.to_wkt())
    ring = [grid.affine * place for place in ((col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1))]
    longitude, latitude = Transformer.from_crs(own, "EPSG:4326", always_xy=True).transform(*zip(*ring, strict=True))
    plane = f"+proj=laea +lon_0={longitude[0]} +lat_0={latitude[0]} +datum=WGS84"
    x, y = (np.array(axis) for axis in Transformer.from_crs("EPSG:4326", plane).transform(latitude, longitude))
    return float(abs(np.dot(x, np.roll(y, -1) - np.roll(y, 1))) / 2)


EARTHLY = {
    "central meridian": (UTM, NORTH_UP),
    "turned": (UTM, turned(5e5, 4.5e6, 3, 37)),
    "sheared": (UTM, Affine(2, 0.7, 5e5, 0.3, -2, 4.5e6)),
    "edge of the zone": (UTM, Affine(2, 0, 166_500, 0, -2, 1e5)),
    "far beyond the zone": (UTM, Affine(2, 0, 1.2e6, 0, -2, 6.5e6)),
    "degrees": (DEGREES, Affine(1e-4, 0, 13, 0, -1e-4, 60)),
    "degrees, south up": (DEGREES, Affine(1e-4, 0, -70, 0, 1e-4, -33)),
    "across the date line": (DEGREES, Affine(1e-3, 0, 179.9, 0, -1e-3, 10)),
    "feet": (CRS.from_epsg(2263), Affine(10, 0, 1e6, 0, -10, 2e5)),
    "gradians from Paris": (CRS.from_epsg(4807), Affine(1e-4, 0, 2, 0, -1e-4, 50)),
    "web mercator": (CRS.from_epsg(3857), Affine(10, 0, 1.5e6, 0, -10, 8e6)),
}


@pytest.mark.parametrize(("crs", "transform"), EARTHLY.values(), ids=EARTHLY.keys())
def test_a_pixel_has_its_area_on_the_ellipsoid(crs: CRS, transform: Affine) -> None:
    grid = Grid((300, 200), crs, transform)
    area, size = grid.pixel_area(), grid.pixel_size()
    assert area == pytest.approx(area_by_hand(grid), rel=1e-4)
    assert size is not None
    # Rectangles alone are as large as their sides say.
    if grid.rectilinear:
        assert area == pytest.approx(size[0] * size[1], rel=1e-3)


def test_areas_at_the_equator_and_at_60_degrees_are_those_of_geod() -> None:
    geod = Geod(ellps="WGS84")
    for latitude in (0.0, 60.0):
        grid = Grid((2, 2), DEGREES, Affine(0.01, 0, 10, 0, -0.01, latitude))
        ring = [10.01, 10.02, 10.02, 10.01], [latitude - 0.01, latitude - 0.01, latitude - 0.02, latitude - 0.02]
        assert grid.pixel_area() == pytest.approx(abs(geod.polygon_area_perimeter(*ring)[0]), rel=1e-9)
        size = grid.pixel_size()
        assert size is not None
        assert size[0] == pytest.approx(geod.inv(10.01, latitude - 0.01, 10.02, latitude - 0.01)[2], rel=1e-9)


def test_the_plane_of_a_projection_is_not_the_ground() -> None:
    edge = Grid((2, 2), UTM, Affine(2, 0, 166_500, 0, -2, 1e5))
    assert edge.pixel_area() == pytest.approx(4 / 1.00097**2, rel=1e-4)
    assert edge.cell_area == 4


@pytest.mark.parametrize("crs", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_place_that_is_not_on_earth_has_no_longitude_and_no_ellipsoid(crs: CRS) -> None:
    grid = Grid((30, 20), crs, turned(10, 20, 0.5, 30))
    assert not grid.on_earth
    assert grid.pixel_size() is None
    assert grid.pixel_area() is None
    x, y = grid.corners
    assert np.isnan(grid.to_longitude_latitude(x, y)).all()
    assert np.isnan(grid.from_longitude_latitude(x, y)).all()
    assert grid.cell == pytest.approx((0.5, 0.5))
    assert grid.cell_area == pytest.approx(0.25)
    np.testing.assert_array_equal(grid.to_metres(x, y), (x, y))


def test_without_a_system_or_a_transform_nothing_is_on_earth() -> None:
    for grid in (Grid((3, 3)), Grid((3, 3), None, NORTH_UP)):
        assert not grid.on_earth
        assert grid.unit is None
        assert grid.pixel_size() is grid.pixel_area() is None
    assert Grid((3, 3), DEGREES).pixel_area() is None
    # There GIS draw a raster without a transform: rows go down.
    assert Grid((3, 3)).to_map(1.0, 2.0) == (1, -2)
    assert Grid((3, 3)).to_pixels(1.0, -2.0) == (1, 2)


def test_longitude_and_latitude_there_and_back() -> None:
    grid = Grid((300, 200), UTM, turned(3e5, 5e6, 3, 37))
    x, y = grid.corners
    longitude, latitude = grid.to_longitude_latitude(x, y)
    expected = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y)
    np.testing.assert_array_equal((longitude, latitude), expected)
    np.testing.assert_allclose(grid.from_longitude_latitude(longitude, latitude), (x, y), atol=1e-6)


def test_metres_that_are_called_degrees_are_no_place() -> None:
    grid = Grid((9, 9), DEGREES, Affine(2, 0, 564545, 0, -2, 2884010))
    assert np.isnan(grid.to_longitude_latitude(*grid.corners)).all()
    assert grid.pixel_size() is grid.pixel_area() is None


@pytest.mark.parametrize(("code", "unit"), [(32633, 1), (2263, 1200 / 3937), (4326, None), (4978, None)])
def test_a_projection_tells_its_unit(code: int, unit: float | None) -> None:
    assert Grid((1, 1), CRS.from_epsg(code)).unit == (None if unit is None else pytest.approx(unit))


def test_a_plane_on_the_moon_has_metres_too() -> None:
    assert Grid((1, 1), MOON_PLANE).unit == 1


def test_lengths_in_metres_are_true_around_the_middle() -> None:
    for crs, transform in (
        (DEGREES, Affine(1e-4, 0, 13, 0, -1e-4, 60)),
        (CRS.from_epsg(2263), Affine(3, 0, 1e6, 0, -3, 2e5)),
    ):
        grid = Grid((30, 20), crs, transform)
        size = grid.pixel_size()
        assert size is not None
        x, y = grid.to_metres(*grid.to_map(np.array([10.0, 11.0, 10.0]), np.array([15.0, 15.0, 16.0])))
        assert math.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(size[0], rel=1e-3)
        assert math.hypot(x[2] - x[0], y[2] - y[0]) == pytest.approx(size[1], rel=1e-3)


def test_coordinates_of_another_system_become_the_grids() -> None:
    grid = Grid((9, 9), UTM, NORTH_UP)
    there = np.array([13.0, 14.0]), np.array([50.0, 51.0])
    x, y = grid.from_system("EPSG:4326", *there)
    np.testing.assert_allclose(grid.to_longitude_latitude(x, y), there, atol=1e-9)
    garden = Grid((9, 9), GARDEN, NORTH_UP)
    for same in (grid, garden):
        assert same.crs is not None
        np.testing.assert_array_equal(same.from_system(same.crs.to_wkt(), x, y), (x, y))
    with pytest.raises(ValueError, match=r"no transformation is known from WGS 84 to a garden$"):
        garden.from_system("EPSG:4326", *there)
    with pytest.raises(ValueError, match="cannot be interpreted"):
        grid.from_system("no such system", *there)
