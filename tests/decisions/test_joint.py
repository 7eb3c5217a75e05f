"""Anomalies of several maps: one plane, each thing once, and in which maps it was seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from hadgeo.decisions.calibration import calibrate, calibrate_values
from hadgeo.decisions.joint import Found, Joint, join, place
from hadgeo.decisions.objects import background_strengths, calibrate_groups, find_objects
from hadgeo.decisions.polygons import find_anomalies
from hadgeo.errors import CubeError
from hadgeo.maps.reader import ScoreMap
from tests.maps.made import GRID, UTM, write_map


def line(path: Path, hot: dict[tuple[int, int], float], *, left: int = 0, **made: object) -> ScoreMap:
    """A map of noise with hot pixels, by row and column, that begins so many pixels to the right."""
    values = np.random.default_rng(left).exponential(0.1, size=(40, 40)).astype(np.float32)
    for at, score in hot.items():
        values[at] = score
    return write_map(path, values, **{"transform": GRID * Affine.translation(left, 0), **made})  # type: ignore[arg-type]


def found(scores: ScoreMap, *others: ScoreMap, crs: str = UTM) -> Found:
    """What stands out in a map, by a calibration of it and of others together."""
    anomalies = find_anomalies(scores, 2, calibrate([scores, *others]), grow_pfa=0)
    return place(scores.path.stem, anomalies, CRS.from_user_input(crs))


def joined(*maps: Found, crs: str = UTM, distance: float | None = None) -> Joint:
    return join(maps, CRS.from_user_input(crs), distance)


def test_what_two_lines_show_is_one_object_and_the_rarer_of_both(tmp_path: Path) -> None:
    one = line(tmp_path / "one.tif", {(5, 30): 5.0, (20, 3): 9.0})
    # The same place, ten columns to the left in a line that begins ten to the right.
    other = line(tmp_path / "other.tif", {(5, 20): 7.0, (30, 35): 6.0}, left=10)
    joint = joined(found(one, other), found(other, one))
    assert joint.duplicates == 1
    table = joint.table()
    assert list(zip(table["id"], table["line"], table["lines"], table["line_count"], strict=True)) == [
        (1, "one", "one", 1),
        (2, "other", "one, other", 2),
        (3, "other", "other", 1),
    ]
    assert table["max_score"].tolist() == [9, 7, 6]
    assert (np.diff(table["p_value"]) > 0).all()


def test_two_things_of_one_line_stay_two_though_another_line_shows_one(tmp_path: Path) -> None:
    two = line(tmp_path / "two.tif", {(5, 10): 5.0, (5, 12): 4.0})
    faint = line(tmp_path / "faint.tif", {(5, 11): 3.0})
    table = joined(found(two, faint), found(faint, two)).table()
    assert list(zip(table["line"], table["lines"], strict=True)) == [("two", "two, faint"), ("two", "two")]
    # The rarest takes up both: what one line shows as a whole, another may show as fragments.
    bright = line(tmp_path / "bright.tif", {(5, 11): 6.0})
    joint = joined(found(two, bright), found(bright, two))
    assert joint.seen_in == ((0, 1),)
    assert joint.duplicates == 2


@pytest.mark.parametrize(("columns", "distance", "objects"), [(2, None, 1), (3, None, 2), (3, 4.0, 1), (2, 1.9, 2)])
def test_how_far_apart_one_thing_may_be_seen(
    columns: int, distance: float | None, objects: int, tmp_path: Path
) -> None:
    one = found(line(tmp_path / "one.tif", {(5, 10): 5.0}))
    other = found(line(tmp_path / "other.tif", {(5, 10 + columns): 5.0}))
    assert len(joined(one, other, distance=distance)) == objects


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632"])
def test_lines_of_several_systems_lie_on_one_plane(crs: str, tmp_path: Path) -> None:
    one = line(tmp_path / "one.tif", {(5, 30): 5.0})
    east, north = pyproj.Transformer.from_crs(UTM, 32632, always_xy=True).transform(5e5, 4.5e6)
    turn = Affine.translation(east, north) * ~GRID * Affine.translation(5e5 - GRID.c, 4.5e6 - GRID.f) * GRID
    other = line(tmp_path / "other.tif", {(30, 8): 6.0}, crs="EPSG:32632", transform=turn)
    joint = joined(found(one, crs=crs), found(other, crs=crs), crs=crs)
    assert len(joint) == 2
    table = joint.table()
    for name, own in (("one", UTM), ("other", "EPSG:32632")):
        at = table["line"].tolist().index(name)
        anomalies = joint.found[joint.maps[at]].anomalies
        to_common = pyproj.Transformer.from_crs(own, crs, always_xy=True)
        expected = shapely.transform(anomalies.outlines[0], to_common.transform, interleaved=False)
        assert shapely.hausdorff_distance(expected, joint.outlines[at]) < 1e-6
        assert shapely.contains_xy(joint.outlines[at], table["peak_x"][at], table["peak_y"][at])
        # Distances are in metres whatever the system is.
    near = found(line(tmp_path / "near.tif", {(5, 32): 4.0}), crs=crs)
    assert len(joined(found(one, crs=crs), near, crs=crs)) == 1
    assert len(joined(found(one, crs=crs), near, crs=crs, distance=1.5)) == 2


def test_a_line_without_a_place_or_beyond_the_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="no coordinate reference system"):
        found(line(tmp_path / "none.tif", {(5, 5): 5.0}, crs=None))
    far = line(tmp_path / "far.tif", {(5, 5): 5.0}, crs="EPSG:4326", transform=Affine(1, 0, 100, 0, -1, 100))
    with pytest.raises(CubeError, match="--polygons-crs"):
        found(far)


def test_no_anomalies_are_an_empty_table(tmp_path: Path) -> None:
    joint = joined(*(found(line(tmp_path / f"{name}.tif", {})) for name in "ab"))
    assert len(joint) == len(joint.outlines) == 0
    assert {len(column) for column in joint.table().values()} == {0}


def test_maps_calibrated_together_are_as_one_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = [rng.exponential(size=(60, 50)).astype(np.float32) * factor for factor in (1, 3)]
    maps = [write_map(tmp_path / f"{i}.tif", one) for i, one in enumerate(values)]
    together = calibrate(maps)
    whole = calibrate_values(np.concatenate([one.ravel() for one in values]))
    assert together.count == 6000
    np.testing.assert_array_equal(together.p_values(values[1]), whole.p_values(values[1]))
    # And so are the strengths of their groups.
    strengths = [background_strengths(one, 6.0, together, connectivity=4) for one in maps]
    background = calibrate_groups(np.concatenate(strengths))
    objects = find_objects(maps[1], 6.0, together, connectivity=4, background=background)
    np.testing.assert_allclose(objects.p_values, background.p_values(objects.groups.strengths))
    np.testing.assert_allclose(objects.expected_false_alarms, background.count * objects.p_values)
    assert background.count == sum(map(len, strengths))
