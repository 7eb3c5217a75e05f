"""Where ENVI headers put a scene: the header's own geometry, and what is said where GDAL draws it elsewhere."""

from __future__ import annotations

import logging
import math
import threading
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from hadgeo.formats import Reading, open_source
from hadgeo.formats.gdal import listening, told
from hadgeo.formats.source import Metadata

from .envi_files import numbered, write_envi

#: As in UTM's zone 33 north, in ESRI's words.
ESRI = (
    '{PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,'
    '298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],'
    'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]}'
)


def place(tmp_path: Path, info: str, shape: tuple[int, int] = (30, 24), **fields: str) -> Metadata:
    cube = np.zeros((2, *shape), dtype="i2")
    return open_source(write_envi(tmp_path / "x.img", cube, map_info=info, **fields)).metadata


def by_gdal(tmp_path: Path) -> tuple[Affine, rasterio.CRS]:
    with rasterio.open(tmp_path / "x.img") as dataset:
        return dataset.transform, dataset.crs


def said(known: Metadata, text: str) -> bool:
    return any(text in line for line in (*known.warnings, *known.assumed))


def utm(rest: str, tie: str = "1, 1, 500000, 4500000, 4, 4") -> str:
    return f"{{UTM, {tie}, {rest}}}"


def test_the_reference_pixel_stays_where_it_is_when_the_scene_is_turned(tmp_path: Path) -> None:
    known = place(tmp_path, "{UTM, 13, 16, 500000.0, 4000000.0, 2, 2, 12, North, WGS-84, units=Meters, rotation=30}")
    assert tuple(known.transform)[:6] == pytest.approx(
        (1.7320508, 1, 499964.215390, 1, -1.7320508, 4000013.980762), abs=1e-6
    )
    assert known.transform * (12, 15) == pytest.approx((500000, 4000000))
    # GDAL turns it about the first pixel, 19.9 m away.
    theirs, _ = by_gdal(tmp_path)
    away = math.hypot(theirs.c - known.transform.c, theirs.f - known.transform.f)
    assert away == pytest.approx(19.89, abs=0.01)
    assert said(known, f"up to {away:.4g} m away, since GDAL rotates it about the first pixel")


@pytest.mark.parametrize("rotation", [-66.0, 30.0, 53.0, 90.0, 179.0, -120.5])
@pytest.mark.parametrize("tie", ["1, 1, 5e5, 4.5e6, 4, 4", "7.5, 3.25, 5e5, 4.5e6, 4, 2", "-10, 40, 5e5, 4.5e6, 1, 3"])
def test_columns_and_rows_step_by_their_own_sizes_at_right_angles(tmp_path: Path, rotation: float, tie: str) -> None:
    a, b, _, d, e, _ = place(tmp_path, utm(f"33, North, WGS-84, rotation={rotation}", tie)).transform[:6]
    x0, y0, east, north, dx, dy = (float(item) for item in tie.split(","))
    assert math.hypot(a, d) == pytest.approx(dx)
    assert math.hypot(b, e) == pytest.approx(dy)
    assert a * b + d * e == pytest.approx(0, abs=1e-9)
    assert math.degrees(math.atan2(d, a)) == pytest.approx(rotation)
    assert a * e - b * d < 0
    found = open_source(tmp_path / "x.img").metadata.transform * (x0 - 1, y0 - 1)
    assert found == pytest.approx((east, north))


@pytest.mark.parametrize(
    "info",
    [
        utm("33, North, WGS-84, units=Meters"),
        utm("33, South, WGS-84, units=Meters", "1, 1, 500000, 8500000, 4, 4"),
        utm("33, North, WGS-84, units=Meters", "1.5, 2.5, 500000, 4500000, 4, 2"),
        utm("33, North, WGS-84, units=Meters, rotation=53"),
        utm("33, North, North America 1983, units=Meters"),
        utm("33, North, European 1950"),
        utm("33, North, WGS-84, units=Km", "1, 1, 500, 4500, 0.004, 0.004"),
        utm("33, North, WGS-84, rotation=0.0"),
        "{ UTM , 1.000 , 1.000 , 736600.089 , 4078126.750 , 2.70000e+00 , 2.70000e+00 , 12 , North , WGS-84 }",
        "{Geographic Lat/Lon, 1, 1, 15, 45, 1e-5, 2e-5, WGS-84, units=Degrees}",
        "{Geographic Lat/Lon, 1, 1, 54000, 162000, 1, 1, WGS-84, units=Seconds}",
        "{State Plane (NAD 83), 1, 1, 2000000, 500000, 4, 4, 3376, units=Feet}",
    ],
)
def test_ordinary_headers_lie_where_gdal_puts_them_without_a_word(tmp_path: Path, info: str) -> None:
    known = place(tmp_path, info)
    transform, crs = by_gdal(tmp_path)
    assert known.transform == transform
    assert known.crs == crs
    assert known.warnings == ()
    assert known.assumed == ()


@pytest.mark.parametrize("key", ["Rotation = 30", "ROTATION=30", "rotation =30.0", "rotation=\t30"])
def test_keys_with_blanks_and_capitals_count(tmp_path: Path, key: str) -> None:
    known = place(tmp_path, utm(f"33, North, WGS-84, units=Meters, {key}"))
    assert known.transform.b == pytest.approx(2)
    assert said(known, "ignores the rotation of 30°") == (by_gdal(tmp_path)[0].b == 0)


@pytest.mark.parametrize("rotation", ["180", "-180", "180.00000000", "Rotation=180"])
def test_half_a_turn_is_the_limit_of_turning_and_gdals_flip_is_told(tmp_path: Path, rotation: str) -> None:
    key = rotation if "=" in rotation else f"rotation={rotation}"
    known = place(tmp_path, f"{{UTM, 1, 1, 500000, 4000000, 2, 2, 12, North, WGS-84, units=Meters, {key}}}")
    assert tuple(known.transform)[:6] == (-2, 0, 500000, 0, 2, 4000000)
    assert said(known, "away, since GDAL")
    assert said(known, "rows that run from south to north") == (not key.startswith("R"))


def test_gdals_place_is_taken_on_request(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "x.img", numbered(), map_info=utm("33, North, WGS-84, rotation=180"))
    known = open_source(path, reading=Reading(place="gdal")).metadata
    assert known.transform == by_gdal(tmp_path)[0]
    assert tuple(known.transform)[:6] == (4, 0, 500000, 0, 4, 4500000)
    assert said(known, "georeferenced as GDAL does")


def test_degrees_are_turned_too_and_differences_are_in_degrees(tmp_path: Path) -> None:
    known = place(tmp_path, "{Geographic Lat/Lon, 1, 1, 15, 45, 1e-5, 2e-5, WGS-84, units=Degrees, rotation=20}")
    assert math.hypot(known.transform.b, known.transform.e) == pytest.approx(2e-5)
    assert said(known, "degrees away, since GDAL shears pixels that are not square")


@pytest.mark.parametrize(
    ("rest", "tie", "epsg", "told"),
    [
        ("33, WGS-84, units=Meters", "1, 1, 500000, 4500000, 4, 4", 32633, "North assumed"),
        ("33, WGS-84, units=Meters", "1, 1, 500000, 9600000, 4, 4", 32733, "South assumed, since a northing of"),
        ("33, WGS-84, units=Meters", "1, 1, 500000, 500000, 4, 4", 32633, "North assumed, since a northing of"),
        ("33, , WGS-84", "1, 1, 500000, 4500000, 4, 4", 32633, "North assumed"),
        ("33, S, WGS-84", "1, 1, 500000, 8500000, 4, 4", 32733, ""),
        ("33S, WGS-84", "1, 1, 500000, 8500000, 4, 4", 32733, ""),
        ("-33, WGS-84", "1, 1, 500000, 8500000, 4, 4", 32733, ""),
        ("33, south, wgs-84", "1, 1, 500000, 8500000, 4, 4", 32733, ""),
        ("33, North, units=Meters, WGS-84", "1, 1, 500000, 4500000, 4, 4", 32633, ""),
    ],
)
def test_a_zone_keeps_its_datum_however_the_hemisphere_is_written(
    tmp_path: Path, rest: str, tie: str, epsg: int, told: str
) -> None:
    known = place(tmp_path, utm(rest, tie))
    assert known.crs is not None
    assert known.crs.to_epsg() == epsg
    assert not told or said(known, told)
    if by_gdal(tmp_path)[1] != known.crs:
        assert said(known, "GDAL-based programs assume ")


def test_a_zone_in_the_name_and_quotes_are_understood(tmp_path: Path) -> None:
    for info in (
        "{UTM Zone 33N, 1, 1, 500000, 4500000, 4, 4, WGS-84}",
        '{"UTM", 1, 1, 500000, 4500000, 4, 4, 33, "North", "WGS-84", units="Meters"}',
    ):
        known = place(tmp_path, info)
        assert known.crs is not None
        assert known.crs.to_epsg() == 32633


def test_a_zone_that_does_not_exist_gives_no_system(tmp_path: Path) -> None:
    known = place(tmp_path, utm("61, North, WGS-84"))
    assert known.crs is None
    assert said(known, "no zone from 1 to 60")


@pytest.mark.parametrize(
    ("datum", "geographic"),
    [
        ("Ordnance Survey of Great Britain 36", 4277),
        ("OSGB36", 4277),
        ("ETRS89", 4258),
        ("NAD83", 4269),
        ("D_North_American_1983", 4269),
        ("European 1979", 4668),
        ("Pulkovo 1942", 4284),
        ("Tokyo", 4301),
        ("WGS84", 4326),
        ("WGS 1984", 4326),
        ("GDA94", 4283),
        ("Adindan", 4201),
    ],
)
def test_datums_that_gdal_does_not_know_are_found_by_their_names(tmp_path: Path, datum: str, geographic: int) -> None:
    for info in (
        utm(f"33, North, {datum}, units=Meters"),
        f"{{Geographic Lat/Lon, 1, 1, 15, 45, 1e-5, 1e-5, {datum}}}",
    ):
        known = place(tmp_path, info)
        assert known.crs is not None
        found = pyproj.CRS.from_wkt(known.crs.to_wkt()).geodetic_crs
        assert found is not None
        assert found.name == pyproj.CRS.from_epsg(geographic).name
        assert said(known, "GDAL-based programs assume") == (geographic != 4326)
        assert known.transform == by_gdal(tmp_path)[0]


@pytest.mark.parametrize(
    "info", [utm("33, North, Nowhere 7"), "{Geographic Lat/Lon, 1, 1, 15, 45, 1e-5, 1e-5, Nowhere 7}"]
)
def test_an_unknown_datum_is_never_wgs_84(tmp_path: Path, info: str) -> None:
    known = place(tmp_path, info)
    assert known.crs is None
    assert known.georeferenced
    assert said(known, "unknown datum 'Nowhere 7'")


def test_the_datum_of_projection_info_is_looked_up_too(tmp_path: Path) -> None:
    info = "{Transverse Mercator, 1, 1, 500000, 4500000, 4, 4, %s, units=Meters}"
    projection = "{3, 6378245.0, 6356863.0, 0, 15, 500000, 0, 0.9996, %s, Transverse Mercator}"
    known = place(tmp_path, info % "Pulkovo 1942", projection_info=projection % "Pulkovo 1942")
    assert known.crs is not None
    found = pyproj.CRS.from_wkt(known.crs.to_wkt()).geodetic_crs
    assert found is not None
    assert found.datum == pyproj.CRS.from_epsg(4284).datum
    assert place(tmp_path, info % "Nowhere", projection_info=projection % "Nowhere").crs is None


def test_no_datum_is_north_america_1927_as_envi_has_it_and_said(tmp_path: Path) -> None:
    known = place(tmp_path, utm("11, North, units=Meters"))
    assert known.crs == by_gdal(tmp_path)[1]
    assert said(known, "names no datum: North America 1927 assumed")


@pytest.mark.parametrize(
    ("units", "metres"), [("Kilometers", 1000.0), ("US Survey Feet", 1200 / 3937), ("feet", 0.3048), ("Metres", 1.0)]
)
@pytest.mark.parametrize("key", ["units=", "Units = "])
def test_units_of_length_are_read_however_they_are_spelled(tmp_path: Path, units: str, metres: float, key: str) -> None:
    tie = f"1, 1, {500000 / metres}, {4500000 / metres}, {4 / metres}, {4 / metres}"
    known = place(tmp_path, utm(f"33, North, WGS-84, {key}{units}", tie))
    assert known.crs is not None
    assert known.crs.linear_units_factor[1] == pytest.approx(metres)
    found = known.grid.to_longitude_latitude([known.transform.c], [known.transform.f])
    right = place(tmp_path, utm("33, North, WGS-84")).grid.to_longitude_latitude([500000.0], [4500000.0])
    assert found is not None
    assert right is not None
    np.testing.assert_allclose(found, right, atol=1e-8)


def test_the_coordinate_system_string_has_the_last_word_and_contradictions_are_told(tmp_path: Path) -> None:
    for info in (
        utm("32, North, WGS-84, units=Meters"),
        utm("33, North, North America 1927, units=Meters"),
        utm("33, South, WGS-84, units=Meters"),
        "{Geographic Lat/Lon, 1, 1, 500000, 4500000, 4, 4, WGS-84}",
        utm("33, North, WGS-84, units=Feet"),
    ):
        known = place(tmp_path, info, coordinate_system_string=ESRI)
        assert known.crs is not None
        assert known.crs.to_epsg() == 32633
        assert said(known, "the string is used"), info
    known = place(tmp_path, utm("33, North, WGS-84, units=Meters"), coordinate_system_string=ESRI)
    assert known.crs == by_gdal(tmp_path)[1]
    assert known.warnings == ()


def test_a_string_that_cannot_be_read_is_told_and_printed_by_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = place(tmp_path, utm("33, North, WGS-84"), coordinate_system_string='{PROJCS["broken"}')
    assert known.crs is not None
    assert known.crs.to_epsg() == 32633
    assert said(known, "the coordinate system string cannot be interpreted")
    assert capfd.readouterr().err == ""


def test_metres_that_are_called_degrees_are_told(tmp_path: Path) -> None:
    known = place(tmp_path, "{Geographic Lat/Lon, 1, 1, 564545, 2884010, 5, 10, WGS-84}")
    assert said(known, "coordinates such as 564545, 2884010 are not degrees")
    whole = place(tmp_path, "{Geographic Lat/Lon, 1, 1, -180.25, 90.25, 15, 6, WGS-84}")
    assert not said(whole, "are not degrees")


def test_degrees_that_are_called_utm_are_told(tmp_path: Path) -> None:
    assert said(place(tmp_path, utm("33, North, WGS-84", "1, 1, 15.2, 45.1, 1e-5, 1e-5")), "look like degrees")


def test_no_place_on_earth_is_told(tmp_path: Path) -> None:
    known = place(tmp_path, "{Arbitrary, 1, 1, -0.5, -0.5, 1, 1, 0, North, rotation=180}")
    assert tuple(known.transform)[:6] == (-1, 0, -0.5, 0, 1, -0.5)
    assert said(known, "'Arbitrary', which does not tell where on Earth")
    assert said(known, "48 units away")
    assert known.grid.pixel_area() is None


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (utm("33, North, WGS-84, rotation=abc"), "a rotation of 'abc', which is not a number"),
        ("{UTM, 1, 1, 500000}", "4 of the 7 items"),
        (utm("33, North, WGS-84", "1, 1, x, 4500000, 4, 4"), "contains 'x' where a number is expected"),
        (utm("33, North, WGS-84", "1, 1, 500000, 4500000, 0, 4"), "pixels of 0 by 4"),
        (utm("33, North, WGS-84", "1, 1, 500000.0 4500000.0, 4, 4"), "contains '500000.0 4500000.0' where a number"),
        (utm("33, North, WGS-84", "1, 1, 500000,5, 4500000,5, 4,0, 4,0"), "are there decimal commas?"),
    ],
)
def test_what_cannot_be_read_gives_no_place_and_says_why(tmp_path: Path, info: str, message: str) -> None:
    known = place(tmp_path, info)
    assert not known.georeferenced
    assert said(known, message)


def test_negative_sizes_are_taken_at_their_word_and_told(tmp_path: Path) -> None:
    known = place(tmp_path, utm("33, North, WGS-84", "1, 1, 500000, 4500000, 4, -4"))
    assert known.transform.e == 4
    assert said(known, "rows or columns run in the opposite direction")


def test_compressed_cubes_are_placed_by_the_same_rules(tmp_path: Path) -> None:
    info = utm("33, North, WGS-84, Rotation = 30", "3, 4, 500000, 4500000, 4, 4")
    path = write_envi(tmp_path / "x.img", numbered(), map_info=info, compress=True)
    assert open_source(path).metadata.transform == place(tmp_path, info).transform


def test_what_gdal_warns_of_reaches_the_user_once(tmp_path: Path) -> None:
    info = "{State Plane (NAD 83), 1, 1, 2000000, 500000, 4, 4, 9998, units=Feet}"
    # GDAL itself says this once a process: no other test may have that line.
    known = place(tmp_path, info)
    heard = [line for line in known.warnings if line.startswith("GDAL warns: ")]
    assert len(heard) == 1
    assert "state plane" in heard[0]
    assert "\n" not in heard[0]


def test_what_gdal_warns_of_in_another_thread_is_not_heard() -> None:
    log = logging.getLogger("rasterio._env")
    with listening() as heard:
        other = threading.Thread(target=log.warning, args=("CPLE_AppDefined in something else",))
        other.start()
        other.join()
        log.warning("CPLE_AppDefined in two\nparts")
    assert heard == ["two parts"]
    assert told(["a", "a", *"bcdefg"]) == (*(f"GDAL warns: {line}" for line in "abcde"), "GDAL gives 2 more warnings")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("-110.5", "40.25"),
        ("110.5W", "40.25 N"),
        ("-110:30:00", "40:15:00"),
        ("110d30m0.0sW", "40d15m0.0sN"),
        ("110 30 0 W", "40 15 0"),
        ("110°30'0\" W", "40°15'0\" N"),
        ("249.5", "40.25"),
    ],
)
def test_degrees_are_read_however_they_are_written(tmp_path: Path, x: str, y: str) -> None:
    known = place(tmp_path, f"{{Geographic Lat/Lon, 1, 1, {x}, {y}, 0.001, 0.001, WGS-84, units=Degrees}}")
    assert known.crs is not None
    assert known.crs.to_epsg() == 4326
    assert known.transform.c % 360 == pytest.approx(249.5)
    assert known.transform.f == pytest.approx(40.25)


def test_latitudes_of_the_south_are_negative(tmp_path: Path) -> None:
    known = place(tmp_path, "{Geographic Lat/Lon, 1, 1, 18.5E, 33d30mS, 0.001, 0.001, WGS-84, units=DMS}")
    assert (known.transform.c, known.transform.f) == pytest.approx((18.5, -33.5))
    assert said(place(tmp_path, "{Geographic Lat/Lon, 1, 1, 18.3, -33.3, 1, 1, WGS-84, units=DMS}"), "units=DMS, but")


@pytest.mark.parametrize("tie", ["4000000, 500000", "-900000, 4000000", "500000, 40000000"])
def test_coordinates_that_no_zone_has_are_told(tmp_path: Path, tie: str) -> None:
    assert said(place(tmp_path, utm("12, North, WGS-84", f"1, 1, {tie}, 4, 4")), "far outside of any UTM zone")
    assert said(place(tmp_path, utm("12, South, WGS-84", "1, 1, 500000, 400000, 4, 4")), "of the other hemisphere")
    assert said(place(tmp_path, utm("12, North, WGS-84", "1, 1, 500000, 9900000, 4, 4")), "of the other hemisphere")
    for ordinary in ("166000, 0", "834000, 9300000", "-200000, 4000000", "500000, -50000"):
        assert not said(place(tmp_path, utm("12, North, WGS-84", f"1, 1, {ordinary}, 4, 4")), "outside of any UTM zone")


def test_items_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    twice = place(tmp_path, utm("12, North, WGS-84, rotation=30, Rotation = 0"))
    assert not twice.georeferenced
    assert said(twice, "two different rotations")
    both = place(tmp_path, utm("12N, South, WGS-84", "1, 1, 500000, 6000000, 4, 4"))
    assert both.crs is not None
    assert both.crs.to_epsg() == 32712
    assert said(both, "says zone 12N and South: South assumed")
