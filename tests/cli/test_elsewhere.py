"""Scenes whose coordinate reference system is not on Earth, through every command that has to do with places."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from click.testing import CliRunner, Result

from hadgeo.cli import cli
from hadgeo.grid import turned
from tests.formats.envi_files import write_envi
from tests.support import background

SHAPE = (30, 24)
HOT = (20, 5)
FEET = 'ENGCRS["a site",EDATUM["a peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["foot",0.3048]]'
TURNED = turned(50, 70, 0.5, 25)

#: Coordinate reference system and transform; whether coordinates are metres of a projection.
PLACES = {
    "arbitrary": (None, TURNED, False),
    "local": ('LOCAL_CS["a garden",UNIT["metre",1]]', TURNED, False),
    "engineering": (FEET, Affine(2, 0, 50, 0, -2, 45), False),
    "moon": ("IAU_2015:30100", Affine(1e-3, 0, 13, 0, -1e-3, 22), False),
    "moon-plane": ("IAU_2015:30110", turned(5e5, 4e5, 2, 25), True),
}


@dataclass(frozen=True)
class Detected:
    """A scene, what `hadgeo detect` made of it, and what it said."""

    scene: Path
    scores: Path
    polygons: Path
    evidence: Path
    said: str
    projected: bool


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def envi(path: Path, cube: np.ndarray) -> Path:
    """An ENVI scene on a grid of nobody's."""
    cube.tofile(path)
    header = f"""ENVI
samples = {cube.shape[2]}
lines = {cube.shape[1]}
bands = {cube.shape[0]}
file type = ENVI Standard
data type = 4
interleave = bsq
byte order = 0
map info = {{Arbitrary, 1, 1, 50, 70, 0.5, 0.5, 0, North, rotation=25}}
"""
    path.with_suffix(".hdr").write_text(header)
    return path


def tiff(path: Path, values: np.ndarray, crs: str, transform: Affine) -> Path:
    layout = {"count": len(values), "height": SHAPE[0], "width": SHAPE[1], "dtype": values.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **layout) as dataset:
        dataset.write(values)
    return path


@pytest.fixture(scope="module", params=PLACES)
def detected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detected:
    folder = tmp_path_factory.mktemp(request.param)
    crs, transform, projected = PLACES[request.param]
    cube = background((12, *SHAPE))
    cube[::2, HOT[0], HOT[1]] += 9
    cube[1::2, 3, 4] += 8
    scene = envi(folder / "scene.img", cube) if crs is None else tiff(folder / "scene.tif", cube, crs, transform)
    outputs = [folder / name for name in ("x.tif", "x.gpkg", "x.nc")]
    options = [f"--{name}={path}" for name, path in zip(("output", "polygons", "evidence"), outputs, strict=True)]
    done = run("detect", scene, "-d", "rx", "--top", "2", *options, "--spectra", folder / "spectra")
    return Detected(scene, *outputs, done.output, projected)


def attributes(path: Path) -> dict[str, np.ndarray]:
    meta, _, geometries, fields = pyogrio.raw.read(path)
    return {**dict(zip(meta["fields"], fields, strict=True)), "geometry": shapely.from_wkb(geometries)}


def test_polygons_have_an_area_and_no_longitude(detected: Detected) -> None:
    table = attributes(detected.polygons)
    assert (table["peak_row"][0], table["peak_col"][0]) == pytest.approx(HOT, abs=0.5)
    assert not np.isfinite([table["lon"].astype(float), table["lat"].astype(float)]).any()
    assert "is not on Earth: longitudes and latitudes are empty" in detected.said
    assert ("in squared units of the coordinates" in detected.said) is not detected.projected
    assert ("area" in table) is not detected.projected
    if not detected.projected:
        assert not np.isfinite(table["area_m2"].astype(float)).any()
    area = table["area_m2" if detected.projected else "area"]
    np.testing.assert_allclose(area, shapely.area(table["geometry"]), rtol=1e-9)


@pytest.mark.parametrize("suffix", [".geojson", ".parquet"])
def test_other_formats_of_polygons_are_written_in_the_grids_units(
    suffix: str, detected: Detected, tmp_path: Path
) -> None:
    out = tmp_path / f"x{suffix}"
    run("threshold", detected.scores, "--top", "2", "--merge-distance", "0.1", "--polygons", out)
    if suffix == ".geojson":
        peak = json.loads(out.read_text())["features"][0]["properties"]
        table = attributes(detected.polygons)
        assert (peak["peak_x"], peak["peak_y"]) == pytest.approx((table["peak_x"][0], table["peak_y"][0]), rel=1e-6)
        assert peak["lon"] is None


def test_evidence_knows_coordinates_and_no_longitude(detected: Detected) -> None:
    with xr.open_dataset(detected.evidence, engine="scipy") as evidence, rasterio.open(detected.scores) as scores:
        assert "longitude" not in evidence.coords
        assert "latitude" not in evidence.coords
        x, y = scores.xy(*HOT)
        assert (float(evidence.x[0]), float(evidence.y[0])) == pytest.approx((x, y))
    assert len(list((detected.evidence.parent / "spectra").iterdir())) == evidence.sizes["anomaly"]


def test_the_map_lies_where_the_scene_does_and_north_up_keeps_the_hottest(detected: Detected, tmp_path: Path) -> None:
    run("detect", detected.scene, "-d", "rx", "-o", tmp_path / "up.tif", "--north-up")
    with (
        rasterio.open(detected.scene) as scene,
        rasterio.open(detected.scores) as scores,
        rasterio.open(tmp_path / "up.tif") as upright,
    ):
        assert scores.crs == scene.crs == upright.crs
        assert scores.transform.almost_equals(scene.transform)
        assert upright.transform.b == upright.transform.d == 0
        assert np.nanmax(upright.read(1)) == np.nanmax(scores.read(1))


def test_a_part_of_the_scene_is_found_by_its_coordinates(detected: Detected, tmp_path: Path) -> None:
    with rasterio.open(detected.scores) as scores:
        x, y = scores.xy(*HOT)
    around = [str(value) for value in (x - 1e-4, y - 1e-4, x + 1e-4, y + 1e-4)]
    run("info", detected.scene, "-d", "rx", "--no-trial")
    run("detect", detected.scene, "-d", "rx", "-o", tmp_path / "part.tif", "--extent", *around, status=2)
    cell = max(abs(v) for v in scores.transform[:6] if abs(v) < 10)
    around = [str(v) for v in (x - 5 * cell, y - 5 * cell, x + 5 * cell, y + 5 * cell)]
    run("detect", detected.scene, "-d", "rx", "-o", tmp_path / "part.tif", "--extent", *around)
    with rasterio.open(tmp_path / "part.tif") as part:
        assert part.shape < SHAPE
        assert part.index(x, y) == np.unravel_index(np.nanargmax(part.read(1)), part.shape)


def test_a_quicklook_takes_scores_and_polygons(detected: Detected, tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    run("quicklook", detected.scene, detected.scores, "--polygons", detected.polygons, "-o", picture)
    assert picture.stat().st_size > 0


def test_polygons_of_earth_are_not_drawn_elsewhere(detected: Detected, tmp_path: Path) -> None:
    earthly = tmp_path / "earth.geojson"
    square = [[[13, 50], [14, 50], [14, 51], [13, 50]]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": square}}
    earthly.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    for words in (
        ("quicklook", detected.scene, "--polygons", earthly, "-o", tmp_path / "x.png"),
        ("evaluate", detected.scores, earthly),
    ):
        told = run(*words, status=2).stderr.splitlines()[-1]
        assert len(told) < 400
        assert "no transformation is known from" in told
        assert "WGS 84" in told


@pytest.mark.parametrize("kind", ["raster", "polygons", "shifted raster"])
def test_an_evaluation_leaves_square_kilometres_out_where_nobody_knows_them(
    kind: str, detected: Detected, tmp_path: Path
) -> None:
    with rasterio.open(detected.scores) as scores:
        crs, transform = scores.crs, scores.transform
    values = np.zeros((1, *SHAPE), dtype=np.uint8)
    if kind == "shifted raster":
        transform *= Affine.translation(1, 2)
        values[0, HOT[0] - 2, HOT[1] - 1] = 1
    else:
        values[0, HOT[0], HOT[1]] = 1
    truth = detected.polygons if kind == "polygons" else tiff(tmp_path / "truth.tif", values, crs, transform)
    done = json.loads(run("evaluate", detected.scores, truth, "--bootstrap", "0", "--json").stdout)
    one = done["evaluations"][0] if "evaluations" in done else done
    known = detected.projected or detected.scene.parent.name.startswith("moon")
    assert (one["area_km2"] is not None) is known
    assert one["metrics"]["auc_d_f"]["value"] > 0.9
    assert ("km2" in run("evaluate", detected.scores, truth, "--bootstrap", "0").stdout) is known


def test_an_earthly_truth_is_refused_in_one_line(detected: Detected, tmp_path: Path) -> None:
    truth = tiff(
        tmp_path / "truth.tif", np.ones((1, *SHAPE), dtype=np.uint8), "EPSG:32633", Affine(2, 0, 5e5, 0, -2, 5e6)
    )
    told = run("evaluate", detected.scores, truth, status=2).stderr
    assert len(told.splitlines()) == 1
    assert len(told) < 400
    assert "cannot be reprojected onto" in told


def test_a_comparison_and_a_batch_with_a_mosaic(detected: Detected, tmp_path: Path) -> None:
    run("compare", detected.scene, "--truth", detected.polygons, "-d", "rx", "--bootstrap", "0")
    run("batch", detected.scene, "-d", "rx", "-o", tmp_path / "maps", "--mosaic", tmp_path / "all.vrt")
    with rasterio.open(tmp_path / "all.vrt") as mosaic, rasterio.open(detected.scores) as scores:
        assert mosaic.crs == scores.crs
        assert mosaic.transform.almost_equals(scores.transform)
        np.testing.assert_array_equal(mosaic.read(1), scores.read(1))


def test_the_scene_of_a_report(data_dir: Path, tmp_path: Path) -> None:
    scene = data_dir / "reports/04_rot180_arbitrary/cube.img"
    if not scene.exists():
        pytest.skip(f"no {scene}")
    outputs = ("-o", tmp_path / "x.tif", "--polygons", tmp_path / "x.gpkg", "--evidence", tmp_path / "x.nc")
    run("detect", scene, "-d", "rx", "--top", "3", *outputs)
    table = attributes(tmp_path / "x.gpkg")
    assert (table["peak_row"][0], table["peak_col"][0]) == pytest.approx((20, 5), abs=0.5)
    assert table["area"].tolist() == table["pixels"].tolist()
    with xr.open_dataset(tmp_path / "x.nc", engine="scipy") as evidence:
        assert "longitude" not in evidence.coords


def test_metres_that_are_called_degrees_give_polygons_without_longitude_and_area(tmp_path: Path) -> None:
    info = "{Geographic Lat/Lon, 1, 1, 564545, 2884010, 5, 10, WGS-84}"
    cube = np.random.default_rng(1).integers(1000, 2000, (4, 12, 10)).astype("i2")
    scene = write_envi(tmp_path / "line.img", cube, map_info=info)
    out = tmp_path / "found.geojson"
    run("detect", scene, "-d", "rx", "-o", tmp_path / "map.tif", "--top", "2", "--polygons", out)
    features = json.loads(out.read_text())["features"]
    assert features
    assert all(each["properties"][name] is None for each in features for name in ("lon", "lat", "area_m2"))
    assert all(each["geometry"]["coordinates"] for each in features)
