"""Polygons: outlines, places and areas against GDAL, shapely and pyproj; files read back by other libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pyogrio
import pyogrio.raw
import pyproj
import pytest
import shapely
import shapely.geometry
from affine import Affine
from rasterio import features

from hadgeo.decisions.calibration import calibrate
from hadgeo.decisions.polygons import Anomalies, find_anomalies, write_polygons
from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.maps.reader import ScoreMap
from tests.maps.made import GRID, write_map

ROTATED = Affine.translation(5e5, 4.5e6) * Affine.rotation(25) * Affine.shear(8) * Affine.scale(3, -2)
FIELDS = ["id", "pixels", "area_m2", "max_score", "mean_score", "p_value", "expected_false_alarms", "peak_p_value"]
FIELDS += ["lon", "lat", "peak_x", "peak_y", "peak_row", "peak_col", "detector", "bands", "parts"]
FIELDS += ["map_sha256", "verdict", "note", "reviewer", "reviewed_at"]


def scene(shape: tuple[int, int] = (60, 80), seed: int = 0) -> np.ndarray:
    """Noise, smoothed a little so that groups have shapes of all kinds, holes among them."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)).astype(np.float32)


def found(scores: ScoreMap, threshold: float = 0.8, **options: float) -> Anomalies:
    return find_anomalies(scores, threshold, calibrate(scores), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("transform", [GRID, ROTATED], ids=["north-up", "rotated and sheared"])
def test_outlines_are_the_edges_of_the_pixels(transform: Affine, connectivity: int, tmp_path: Path) -> None:
    values = scene()
    anomalies = found(write_map(tmp_path / "x.tif", values, transform=transform), connectivity=connectivity)
    assert shapely.is_valid(anomalies.outlines).all()
    assert {outline.geom_type for outline in anomalies.outlines} == {"MultiPolygon"}
    mask = values >= np.float32(0.8)
    shapes = features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4, transform=transform)
    expected = shapely.union_all([shapely.geometry.shape(geometry) for geometry, _ in shapes])
    assert shapely.union_all(anomalies.outlines).symmetric_difference(expected).area < 1e-4
    np.testing.assert_allclose(shapely.area(anomalies.outlines), anomalies.groups.sizes * abs(transform.determinant))


def table(path: Path) -> dict[str, np.ndarray]:
    """Attributes and geometries that GDAL reads."""
    meta, _, geometries, columns = pyogrio.raw.read(path)
    return {**dict(zip(meta["fields"], columns, strict=True)), "geometry": shapely.from_wkb(geometries)}


def test_attributes_say_where_and_how_much(tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", scene(), transform=ROTATED, detector="bs3lnet")
    calibration = calibrate(scores)
    anomalies = find_anomalies(scores, 0.8, calibration)
    layer = table(write_polygons(anomalies, tmp_path / "x.gpkg"))
    assert list(layer) == [*FIELDS, "geometry"]
    count = len(anomalies)
    np.testing.assert_array_equal(layer["id"], np.arange(1, count + 1))
    np.testing.assert_allclose(layer["area_m2"], shapely.area(layer["geometry"]))
    np.testing.assert_allclose(layer["p_value"], anomalies.p_values)
    assert (np.diff(layer["p_value"]) >= 0).all()
    # The threshold is so low that nothing can grow, and all groups are anomalies.
    np.testing.assert_allclose(layer["expected_false_alarms"], count * layer["p_value"])
    np.testing.assert_allclose(layer["peak_p_value"], calibration.p_values(layer["max_score"]))
    centroids = shapely.centroid(layer["geometry"])
    to_wgs84 = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = to_wgs84.transform(shapely.get_x(centroids), shapely.get_y(centroids))
    np.testing.assert_allclose(layer["lon"], lon, atol=1e-9)
    np.testing.assert_allclose(layer["lat"], lat, atol=1e-9)
    x, y = ROTATED @ (layer["peak_col"] + 0.5, layer["peak_row"] + 0.5)
    np.testing.assert_allclose(layer["peak_x"], x)
    np.testing.assert_allclose(layer["peak_y"], y)
    # On the edge at the farthest.
    assert (shapely.distance(shapely.points(x, y), layer["geometry"]) < 1e-6).all()
    assert set(layer["detector"]) == {"bs3lnet"}
    assert set(layer["bands"]) == {None}


def test_areas_on_the_ellipsoid_are_those_of_an_equal_area_projection(tmp_path: Path) -> None:
    transform = Affine(0.001, 0.0002, 13, 0.0001, -0.001, 52)
    anomalies = found(write_map(tmp_path / "x.tif", scene(), crs="EPSG:4326", transform=transform))
    layer = table(write_polygons(anomalies, tmp_path / "x.gpkg"))
    to_equal_area = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)
    projected = shapely.transform(anomalies.outlines, lambda xy: np.stack(to_equal_area.transform(*xy.T), axis=1))
    np.testing.assert_allclose(layer["area_m2"], shapely.area(projected), rtol=1e-4)
    centroids = shapely.centroid(anomalies.outlines)
    np.testing.assert_allclose(layer["lon"], shapely.get_x(centroids), atol=1e-9)


def test_feet_are_turned_into_metres(tmp_path: Path) -> None:
    values = np.zeros((10, 30), dtype=np.float32)
    values[5, [3, 10]] = 2, 1
    grid = Affine(10, 0, 1e6, 0, -10, 2e5)
    scores = write_map(tmp_path / "x.tif", values, crs="EPSG:2263", transform=grid)
    foot = 1200 / 3937
    layer = table(write_polygons(found(scores), tmp_path / "x.gpkg"))
    np.testing.assert_allclose(layer["area_m2"], (10 * foot) ** 2)
    # Six pixels of ten feet lie between the two.
    assert len(found(scores, merge_distance=60 * foot - 0.01)) == 2
    assert len(found(scores, merge_distance=60 * foot + 0.01)) == 1


@pytest.mark.parametrize(
    ("crs", "transform", "pixel"),
    [
        ("EPSG:32633", GRID, 2.0),
        ("EPSG:4326", Affine(1e-5, 0, 13, 0, -1e-5, 0.0), 1.11319),
        (None, None, 1.0),
    ],
    ids=["metres", "degrees", "pixels"],
)
def test_groups_that_are_near_are_merged(
    crs: str | None, transform: Affine | None, pixel: float, tmp_path: Path
) -> None:
    values = np.zeros((20, 60), dtype=np.float32)
    for col in (5, 9, 20):  # gaps of 3 and 10 pixels
        values[8:11, col] = col
    scores = write_map(tmp_path / "x.tif", values, crs=crs, transform=transform)
    sizes = {d: found(scores, merge_distance=d * pixel).groups.sizes.tolist() for d in (0, 2.9, 3.1, 9.9, 10.1)}
    assert sizes == {0: [3, 3, 3], 2.9: [3, 3, 3], 3.1: [3, 6], 9.9: [3, 6], 10.1: [9]}
    assert found(scores, merge_distance=3.1 * pixel, min_pixels=4).groups.sizes.tolist() == [6]


@pytest.mark.parametrize("distance", [4.0, 9.0])
def test_merging_is_that_of_all_distances(distance: float, tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", scene(seed=3), transform=ROTATED)
    alone, merged = found(scores, 3.0), found(scores, 3.0, merge_distance=distance)
    outlines, count = alone.outlines, len(alone)
    near = shapely.distance(outlines[:, None], outlines[None]) <= distance
    reached = np.linalg.matrix_power(near.astype(float), count) > 0
    assert 1 < len(merged) == len({tuple(row) for row in reached.tolist()}) < count


def test_geojson_is_in_wgs84_as_its_standard_demands(tmp_path: Path) -> None:
    anomalies = found(write_map(tmp_path / "x.tif", scene(), transform=ROTATED))
    path = write_polygons(anomalies, tmp_path / "x.geojson")
    collection = json.loads(path.read_text())
    assert "crs" not in collection
    assert len(collection["features"]) == len(anomalies)
    to_wgs84 = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    for feature, outline in zip(collection["features"], anomalies.outlines, strict=True):
        expected = shapely.transform(outline, lambda xy: np.stack(to_wgs84.transform(*xy.T), axis=1))
        geometry = shapely.geometry.shape(feature["geometry"])
        assert all(part.exterior.is_ccw for part in geometry.geoms)
        np.testing.assert_allclose(geometry.bounds, expected.bounds, atol=2e-7)
        assert list(feature["properties"]) == FIELDS
        assert feature["properties"]["bands"] is None


def test_geoparquet_carries_geometry_and_coordinate_system(tmp_path: Path) -> None:
    anomalies = found(write_map(tmp_path / "x.tif", scene()))
    layer = pyarrow.parquet.read_table(write_polygons(anomalies, tmp_path / "x.parquet"))
    geo = json.loads(layer.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32633
    geometries = shapely.from_wkb(layer["geometry"].to_numpy())
    assert shapely.equals(geometries, anomalies.outlines).all()
    np.testing.assert_allclose(column["bbox"], shapely.total_bounds(geometries))
    assert layer.column_names == [*FIELDS, "geometry"]
    assert layer["bands"].null_count == len(anomalies)
    np.testing.assert_array_equal(layer["pixels"].to_numpy(), anomalies.groups.sizes)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
@pytest.mark.parametrize("crs", ["EPSG:32633", None])
@pytest.mark.filterwarnings("ignore:.*no coordinate reference system")
def test_no_anomaly_is_an_empty_layer(suffix: str, crs: str | None, tmp_path: Path) -> None:
    scores = write_map(tmp_path / "x.tif", scene(), crs=crs, transform=GRID if crs else None)
    path = write_polygons(found(scores, 1e6), tmp_path / f"x{suffix}")
    if suffix == ".parquet":
        layer = pyarrow.parquet.read_table(path)
        assert layer.num_rows == 0
        assert layer.column_names == [*FIELDS, "geometry"]
        return
    info = pyogrio.read_info(path)
    assert info["features"] == 0
    if suffix == ".gpkg":
        assert list(info["fields"]) == FIELDS
        assert info["crs"] == crs


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_a_scene_without_a_coordinate_system_has_polygons_in_pixels(suffix: str, tmp_path: Path) -> None:
    anomalies = found(write_map(tmp_path / "x.tif", scene(), crs=None, transform=None))
    with pytest.warns(CubeWarning, match="no coordinate reference system"):
        path = write_polygons(anomalies, tmp_path / f"x{suffix}")
    if suffix == ".parquet":
        layer = pyarrow.parquet.read_table(path)
        assert json.loads(layer.schema.metadata[b"geo"])["columns"]["geometry"]["crs"] is None
        assert layer["lon"].null_count == layer["area_m2"].null_count == len(anomalies)
        return
    layer = table(path)
    # None where GDAL saw no number to guess the type from, else NaN.
    assert not np.isfinite(layer["lon"].astype(float)).any()
    assert not np.isfinite(layer["area_m2"].astype(float)).any()
    np.testing.assert_allclose(shapely.area(layer["geometry"]), layer["pixels"])


def test_a_caller_says_which_bands_made_a_group_stand_out(tmp_path: Path) -> None:
    anomalies = found(write_map(tmp_path / "x.tif", scene()))
    layer = table(
        write_polygons(anomalies, tmp_path / "x.gpkg", bands=lambda group: f"{group.id}: {len(group.rows)} px")
    )
    expected = [f"{number}: {size} px" for number, size in zip(layer["id"], layer["pixels"], strict=True)]
    assert layer["bands"].tolist() == expected


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_the_same_anomalies_are_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    anomalies = found(write_map(tmp_path / "x.tif", scene()))
    first, second = (write_polygons(anomalies, tmp_path / f"{name}{suffix}") for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connectivity": 6}, "4 or 8"),
        ({"min_pixels": 0}, "at least 1"),
        ({"merge_distance": -1.0}, "at least 0"),
        ({"merge_distance": float("nan")}, "at least 0"),
    ],
)
def test_an_option_out_of_bounds_is_refused(options: dict[str, float], words: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=words):
        found(write_map(tmp_path / "x.tif", scene()), **options)
