"""Truths of every kind, brought onto the grid of a score map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import scipy.io
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import xy
from rasterio.warp import Resampling, calculate_default_transform, reproject

from hadgeo.errors import CubeNotFoundError, MissingExtraError, ReadError, TruthError
from hadgeo.evaluation.truth import open_truth
from hadgeo.grid import Grid
from hadgeo.maps.reader import ScoreMap

UTM = CRS.from_epsg(32633)
ROTATED = Affine.translation(5e5, 4.5e6) * Affine.rotation(20) * Affine.scale(2, -2)
SHAPE = (40, 50)
MAP = ScoreMap(Path("map.tif"), Grid(SHAPE, UTM, ROTATED))
PLAIN = ScoreMap(Path("map.tif"), Grid(SHAPE))


def targets() -> npt.NDArray[np.uint8]:
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[5:9, 7:12] = truth[30:33, 40:44] = 1
    return truth


def write(path: Path, values: npt.NDArray[Any], **profile: Any) -> Path:
    bands = values if values.ndim == 3 else values[None]
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype.name}
    driver = {".tif": "GTiff", ".png": "PNG", ".bmp": "BMP"}[path.suffix]
    with rasterio.open(path, "w", driver=driver, **shape, **profile) as dataset:
        dataset.write(bands)
    return path


PLACED = {"crs": UTM, "transform": ROTATED}
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_nodata_is_unknown_and_every_other_value_a_target(tmp_path: Path) -> None:
    values = targets() * 7
    values[0] = 255
    truth = open_truth(write(tmp_path / "truth.tif", values, nodata=255, **PLACED), MAP)
    expected = targets()
    expected[0] = 255
    np.testing.assert_array_equal(truth, expected)


def test_nodata_of_zero_is_background(tmp_path: Path) -> None:
    truth = open_truth(write(tmp_path / "truth.tif", targets(), nodata=0, **PLACED), MAP)
    np.testing.assert_array_equal(truth, targets())


def test_numbers_that_are_not_finite_are_unknown(tmp_path: Path) -> None:
    values = targets().astype(np.float32)
    values[1, 1] = np.nan
    truth = open_truth(write(tmp_path / "truth.tif", values, **PLACED), MAP)
    assert truth[1, 1] == 255
    assert (truth != targets()).sum() == 1


@pytest.mark.parametrize("name", ["truth.png", "truth.bmp", "truth.tif"])
@pytest.mark.parametrize("scores", [MAP, PLAIN])
def test_an_image_of_the_same_shape_is_taken_pixel_by_pixel(name: str, scores: ScoreMap, tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_truth(write(tmp_path / name, targets() * 255), scores), targets())


def test_one_colour_of_an_image_suffices_and_transparency_says_nothing(tmp_path: Path) -> None:
    image = np.zeros((4, *SHAPE), dtype=np.uint8)
    image[1], image[3] = targets(), 255
    np.testing.assert_array_equal(open_truth(write(tmp_path / "truth.png", image), PLAIN), targets())


def test_a_matlab_file_is_taken_pixel_by_pixel(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "truth.mat", {"map": targets()})
    np.testing.assert_array_equal(open_truth(tmp_path / "truth.mat", MAP), targets())


def test_a_truth_on_another_grid_is_found_again(tmp_path: Path) -> None:
    """Written finely in degrees, north up, and read on the rotated metre grid: the same targets."""
    place, width, height = calculate_default_transform(
        UTM, "EPSG:4326", SHAPE[1], SHAPE[0], *_bounds(), resolution=0.25 / 111_000
    )
    fine = np.full((height, width), 255, dtype=np.uint8)
    moved = {"dst_crs": "EPSG:4326", "dst_transform": place, "dst_nodata": 255, "resampling": Resampling.nearest}
    reproject(targets(), fine, src_crs=UTM, src_transform=ROTATED, **moved)
    path = write(tmp_path / "fine.tif", fine, crs="EPSG:4326", transform=place, nodata=255)
    truth = open_truth(path, MAP)
    known = truth != 255
    assert known.mean() > 0.95
    np.testing.assert_array_equal(truth[known], targets()[known])


def _bounds() -> tuple[float, float, float, float]:
    easting, northing = xy(ROTATED, [0, 0, SHAPE[0], SHAPE[0]], [0, SHAPE[1], 0, SHAPE[1]], offset="ul")
    return min(easting), min(northing), max(easting), max(northing)


def test_outside_of_a_smaller_truth_nothing_is_known(tmp_path: Path) -> None:
    part = write(tmp_path / "part.tif", targets()[:20, :30], crs=UTM, transform=ROTATED)
    truth = open_truth(part, MAP)
    np.testing.assert_array_equal(truth[:20, :30], targets()[:20, :30])
    assert (truth[20:] == 255).all()
    assert (truth[:, 30:] == 255).all()


def test_a_shifted_grid_of_the_same_shape_is_moved(tmp_path: Path) -> None:
    shifted = write(tmp_path / "shifted.tif", targets(), crs=UTM, transform=ROTATED * Affine.translation(3, 2))
    np.testing.assert_array_equal(open_truth(shifted, MAP)[2:, 3:], targets()[:-2, :-3])


def polygons(path: Path, shapes: list[Any], crs: str | None = "EPSG:32633", layer: str | None = None) -> Path:
    import pyogrio

    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".kml": "KML"}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes, dtype=object)),
        [],
        [],
        crs=crs,
        geometry_type="Polygon",
        driver=drivers[path.suffix],
        layer=layer,
        append=path.exists(),
    )
    return path


def outline(row: float, col: float, height: float, width: float) -> shapely.Polygon:
    """A rectangle of the map's grid in its CRS."""
    rows, cols = [row, row, row + height, row + height], [col, col + width, col + width, col]
    return shapely.Polygon(zip(*xy(ROTATED, rows, cols, offset="ul"), strict=True))


@pytest.mark.parametrize("name", ["truth.gpkg", "truth.shp", "truth.fgb"])
def test_polygons_mark_their_pixels(name: str, tmp_path: Path) -> None:
    shapes = [outline(5.01, 7.01, 3.98, 4.98), outline(30.01, 40.01, 2.98, 3.98)]
    np.testing.assert_array_equal(open_truth(polygons(tmp_path / name, shapes), MAP), targets())


def test_polygons_in_degrees_are_moved(tmp_path: Path) -> None:
    shapes = [outline(5.05, 7.05, 3.9, 4.9), outline(30.05, 40.05, 2.9, 3.9)]
    move = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform
    degrees = [shapely.transform(shape, move, interleaved=False) for shape in shapes]
    path = polygons(tmp_path / "truth.geojson", degrees, "EPSG:4326")
    np.testing.assert_array_equal(open_truth(path, MAP), targets())


def test_a_polygon_smaller_than_a_pixel_is_not_lost(tmp_path: Path) -> None:
    truth = open_truth(polygons(tmp_path / "small.gpkg", [outline(5.1, 7.1, 0.2, 0.2)]), MAP)
    np.testing.assert_array_equal(np.argwhere(truth == 1), [[5, 7]])


def test_polygons_without_a_crs_are_refused(tmp_path: Path) -> None:
    path = polygons(tmp_path / "nowhere.shp", [outline(5, 7, 4, 5)])
    path.with_suffix(".prj").unlink()
    with pytest.raises(TruthError, match=r"nowhere\.shp: no coordinate reference system; assign one"):
        open_truth(path, MAP)


def test_several_layers_are_refused(tmp_path: Path) -> None:
    for layer in ("cars", "roofs"):
        polygons(tmp_path / "many.gpkg", [outline(5, 7, 4, 5)], layer=layer)
    with pytest.raises(TruthError, match=r"many\.gpkg: 2 layers \(cars, roofs\); save the truth to a separate file"):
        open_truth(tmp_path / "many.gpkg", MAP)


def test_an_empty_layer_is_refused(tmp_path: Path) -> None:
    empty = {"type": "FeatureCollection", "features": []}
    (tmp_path / "empty.geojson").write_text(json.dumps(empty))
    with pytest.raises(TruthError, match="contains no geometry"):
        open_truth(tmp_path / "empty.geojson", MAP)


def test_polygons_need_a_georeferenced_map(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="polygons need a georeferenced map"):
        open_truth(polygons(tmp_path / "truth.gpkg", [outline(5, 7, 4, 5)]), PLAIN)


def test_polygons_without_pyogrio_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = polygons(tmp_path / "truth.gpkg", [outline(5, 7, 4, 5)])
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(MissingExtraError, match=r'pip install "hadgeo\[vector\]"'):
        open_truth(path, MAP)


def test_a_truth_elsewhere_is_refused(tmp_path: Path) -> None:
    far = write(tmp_path / "far.tif", targets(), crs=UTM, transform=Affine.translation(9e5, 4.5e6))
    with pytest.raises(TruthError, match=r"far\.tif: does not overlap map\.tif; check both CRS"):
        open_truth(far, MAP)


@pytest.mark.parametrize("name", ["other.png", "other.mat", "other.tif"])
def test_another_shape_without_georeference_is_refused(name: str, tmp_path: Path) -> None:
    if name.endswith("mat"):
        scipy.io.savemat(tmp_path / name, {"map": targets()[1:]})
    else:
        write(tmp_path / name, targets()[1:])
    with pytest.raises(TruthError, match=r"other\.\w+: 39 x 50 pixels, but map\.tif has 40 x 50; .* not georeferenced"):
        open_truth(tmp_path / name, MAP)


def test_another_shape_is_refused_where_the_map_is_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.tif", targets()[1:], **PLACED)
    with pytest.raises(TruthError, match="the map is not georeferenced, so their shapes must be equal"):
        open_truth(path, PLAIN)


def test_what_is_no_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "notes.gpkg").write_text("nothing")
    write(tmp_path / "cube.tif", np.zeros((5, *SHAPE), np.uint8))
    for name, words in (
        ("notes.txt", "not a raster that GDAL can read"),
        ("notes.gpkg", "not a vector file that GDAL can read"),
        ("cube.tif", "5 bands, but a truth has one"),
    ):
        with pytest.raises(TruthError, match=f"{name}: {words}"):
            open_truth(tmp_path / name, MAP)
    with pytest.raises(CubeNotFoundError, match=r"gone\.tif: no such truth"):
        open_truth(tmp_path / "gone.tif", MAP)


def test_a_damaged_truth_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.tif", targets(), compress="deflate", **PLACED)
    data = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        start, size = (int(dataset.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"truth\.tif: damaged .*copy it again"):
        open_truth(path, MAP)
