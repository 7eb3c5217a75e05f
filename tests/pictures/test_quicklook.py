"""Quicklooks: what the pixels of the picture say."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio.raw
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from matplotlib import colormaps
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

import hadgeo
from hadgeo.cube import as_source
from hadgeo.errors import (
    Cancelled,
    CubeError,
    CubeNotFoundError,
    CubeWarning,
    MissingExtraError,
    OutputError,
    ParameterError,
)
from hadgeo.pictures.layout import lay_out
from hadgeo.pictures.outlines import read_outlines
from hadgeo.pictures.quicklook import quicklook
from tests.support import Recorder

NORTH_UP = Affine(2, 0, 5e5, 0, -2, 4.5e6)
HOTTEST = tuple(round(255 * c) for c in colormaps["plasma"](1.0)[:3])
GREY = (227, 227, 227)

#: Pixels above, beside and below the map.
HEAD, LEFT, FOOT = 76, 34, 116


def write(path: Path, values: npt.NDArray[Any], transform: Affine | None = NORTH_UP, **profile: Any) -> Path:
    """Write a GeoTIFF of one band or more, with wavelengths where there are four or more."""
    cube = values[None] if values.ndim == 2 else values
    shape = {"count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2], "dtype": cube.dtype.name}
    place = {} if transform is None else {"crs": "EPSG:32633", "transform": transform}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **{**shape, **place, **profile}) as dataset:
            if cube.shape[0] > 3:
                dataset.update_tags(wavelength=", ".join(str(460 + 90 * i) for i in range(cube.shape[0])))
            dataset.write(cube)
    return path


def grey_scene(path: Path, rows: int, cols: int, transform: Affine | None = NORTH_UP) -> Path:
    """A scene in greys, four bands."""
    greys = np.random.default_rng(0).integers(10, 20, size=(rows, cols)).astype(np.uint8)
    return write(path, np.broadcast_to(greys, (4, rows, cols)), transform)


def scores(path: Path, rows: int, cols: int, hot: tuple[int, int], transform: Affine | None = NORTH_UP) -> Path:
    values = np.random.default_rng(1).random((rows, cols)).astype(np.float32)
    values[hot] = 50
    return write(path, values, transform)


def map_of(picture: Path, notes: int = 1) -> npt.NDArray[np.uint8]:
    """The picture without what stands below the map, so many lines of notes among it."""
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"))[: -FOOT - 14 * notes]


def places_of(picture: npt.NDArray[np.uint8], colour: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Rows and columns of the pixels that have a colour."""
    return np.argwhere((np.abs(picture.astype(int) - colour) <= 1).all(axis=2))


def cyan_places(picture: Path) -> npt.NDArray[np.intp]:
    """Rows and columns of outlines, whose lines are smoothed, in the picture of a grey scene."""
    rgb = map_of(picture).astype(int)
    return np.argwhere(rgb[..., 2] - rgb[..., 0] > 90)


@pytest.mark.parametrize(
    ("rows", "cols", "hot"), [(8000, 400, (5431, 123)), (300, 7000, (299, 6999)), (50, 40, (3, 2))]
)
def test_a_lone_hot_pixel_stays_visible_in_its_place(
    rows: int, cols: int, hot: tuple[int, int], tmp_path: Path
) -> None:
    scene = grey_scene(tmp_path / "scene.tif", rows, cols)
    found = scores(tmp_path / "scores.tif", rows, cols, hot)
    done = quicklook(scene, found, out=tmp_path / "q.png", size=800)
    layout = lay_out((rows, cols), 1.0, 800)
    assert (done.step, done.panels) == (layout.step, len(layout.panels))
    yellow = places_of(map_of(done.path), HOTTEST)
    row, col = hot[0] // layout.step, hot[1] // layout.step
    panel = next(p for p in layout.panels if p.rows.start <= row < p.rows.stop and p.cols.start <= col < p.cols.stop)
    head = HEAD + (18 if len(layout.panels) > 1 else 0)
    left = LEFT + (max(layout.width, 640) - layout.width) // 2
    y = head + panel.top + (row - panel.rows.start + 0.5) * layout.cell[1]
    x = left + panel.left + (col - panel.cols.start + 0.5) * layout.cell[0]
    assert len(yellow) >= 4
    assert np.abs(yellow - (y, x)).max() <= max(2, *layout.cell)


def test_without_scores_the_composite_is_drawn_and_nodata_is_grey(tmp_path: Path) -> None:
    cube = np.full((4, 100, 200), 100, np.int16)
    cube[2, :, :100] = 900  # 640 nm: red
    cube[:, 80:] = -1
    scene = write(tmp_path / "scene.tif", cube, nodata=-1)
    done = quicklook(scene, out=tmp_path / "q.png", stretch=(0, 100))
    assert done.colours == "true colour, 640/550/460 nm"
    picture = map_of(done.path, notes=0)
    red, grey = places_of(picture, (255, 128, 128)), places_of(picture[HEAD:, LEFT:-LEFT], GREY)
    assert len(red) == 100 * 80 * 25
    assert len(grey) == 200 * 20 * 25
    assert HEAD + grey[:, 0].min() > red[:, 0].max()


def test_a_jpeg_is_a_jpeg(tmp_path: Path) -> None:
    done = quicklook(grey_scene(tmp_path / "scene.tif", 30, 40), out=tmp_path / "q.jpg")
    with Image.open(done.path) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_outlines_are_drawn_where_they_are_from_any_reference_system(crs: str, tmp_path: Path) -> None:
    turned = Affine.translation(5e5, 4.5e6) * Affine.rotation(25) * Affine.scale(2, -2)
    scene = grey_scene(tmp_path / "scene.tif", 100, 100, turned)
    corners = [turned * corner for corner in [(20, 30), (80, 30), (80, 60), (20, 60)]]
    x, y = rasterio.warp.transform("EPSG:32633", crs, *zip(*corners, strict=True))
    square = shapely.Polygon(list(zip(x, y, strict=True)))
    vector = tmp_path / "found.gpkg"
    geometry = shapely.to_wkb(np.array([square, shapely.Point(x[0], y[0])]))
    pyogrio.raw.write(vector, geometry, [], [], crs=crs, geometry_type="Unknown", driver="GPKG")
    done = quicklook(scene, out=tmp_path / "q.png", polygons=vector)
    cyan = cyan_places(done.path)
    # 10 pixels each: the box from column 20 to 80 and row 30 to 60.
    low, high = np.percentile(cyan, [2, 98], axis=0)
    np.testing.assert_allclose(low, [HEAD + 300, LEFT + 200], atol=12)
    np.testing.assert_allclose(high, [HEAD + 600, LEFT + 800], atol=12)


def test_an_empty_layer_and_a_tiny_polygon(tmp_path: Path) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 3000, 500)
    for name, shapes in (("empty", []), ("tiny", [shapely.box(5e5 + 500, 4.5e6 - 2002, 5e5 + 502, 4.5e6 - 2000)])):
        geometry = shapely.to_wkb(np.array(shapes, dtype=object))
        vector = tmp_path / f"{name}.geojson"
        pyogrio.raw.write(vector, geometry, [], [], crs="EPSG:32633", geometry_type="Polygon", driver="GeoJSON")
        done = quicklook(scene, out=tmp_path / f"{name}.png", polygons=vector, size=400)
        assert bool(shapes) == (len(cyan_places(done.path)) > 20)


def test_polygons_are_numbered_as_in_their_table(tmp_path: Path) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 100, 100)
    inside, beyond = (
        shapely.box(5e5 + 20, 4.5e6 - 60, 5e5 + 50, 4.5e6 - 20),
        shapely.box(5e5 - 90, 4.5e6, 5e5 - 80, 4.6e6),
    )
    for name, fields in (("ids", {"id": np.array([17, 3])}), ("words", {"id": np.array(["a", "b"], dtype=object)})):
        geometry = shapely.to_wkb(np.array([inside, beyond]))
        pyogrio.raw.write(tmp_path / f"{name}.gpkg", geometry, list(fields.values()), list(fields), crs="EPSG:32633",
                          geometry_type="Polygon", driver="GPKG")  # fmt: skip
    outlines = read_outlines(tmp_path / "ids.gpkg", as_source(scene).metadata)
    assert outlines.ids is not None
    assert outlines.ids.tolist() == [17, 3]
    assert outlines.within((100, 100)).ids.tolist() == [17]
    assert read_outlines(tmp_path / "words.gpkg", as_source(scene).metadata).ids is None
    maps = [
        map_of(quicklook(scene, out=tmp_path / f"{n}.png", polygons=tmp_path / f"{n}.gpkg").path)
        for n in ("ids", "words")
    ]
    changed = np.argwhere((maps[0] != maps[1]).any(axis=2))
    # Beside the upper right corner of the polygon, 10 pixels of the picture each, and nowhere else.
    assert len(changed) > 30
    assert changed.min(axis=0)[0] >= HEAD + 100 - 20
    assert changed.max(axis=0)[0] <= HEAD + 100 + 5
    assert changed.min(axis=0)[1] >= LEFT + 250 - 5
    assert changed.max(axis=0)[1] <= LEFT + 250 + 30


def test_the_scale_bar_has_the_length_that_it_says(tmp_path: Path) -> None:
    done = quicklook(grey_scene(tmp_path / "scene.tif", 100, 100), out=tmp_path / "q.png")
    with Image.open(done.path) as image:
        line = np.asarray(image.convert("L"))[-94:][47, :160]
    # 2 m a pixel, 10 pixels of the picture each: 20 m would be 100, 50 m 250, and 220 are allowed. Half of it is black.
    black = np.flatnonzero(line < 60)
    assert black[0] == pytest.approx(LEFT, abs=2)
    inner = black[black < LEFT + 55]
    assert inner.size == pytest.approx(50, abs=3)
    assert black.max() == pytest.approx(LEFT + 100, abs=2)


def test_a_cube_without_a_place_and_three_bands(tmp_path: Path) -> None:
    scene = write(tmp_path / "photo.tif", np.random.default_rng(0).integers(0, 255, (3, 20, 30)).astype(np.uint8), None)
    with pytest.warns(CubeWarning):
        done = quicklook(scene, out=tmp_path / "q.png")
    assert done.colours == "bands 1/2/3"
    cube = hadgeo.open_cube(grey_scene(tmp_path / "scene.tif", 20, 20))
    assert quicklook(cube, out=tmp_path / "cube.png").path.exists()


@pytest.mark.parametrize("name", ["cost $5 or $6.tif", "線 1.tif", "two\nlines.tif", r"back\slash_{x}.tif"])
def test_any_name_of_a_scene_can_be_a_title(name: str, tmp_path: Path) -> None:
    assert quicklook(grey_scene(tmp_path / name, 9, 9), out=tmp_path / "q.png").path.exists()


def test_scores_that_are_all_alike_hide_nothing(tmp_path: Path) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 30, 30)
    plain = quicklook(scene, out=tmp_path / "plain.png")
    for name, value in (("equal", 3), ("none", np.nan)):
        path = write(tmp_path / f"{name}.tif", np.full((30, 30), value, np.float32))
        done = quicklook(scene, path, out=tmp_path / f"{name}.png")
        np.testing.assert_array_equal(map_of(done.path)[HEAD:], map_of(plain.path, notes=0)[HEAD:])


def test_scores_of_another_scene_are_refused(tmp_path: Path) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 30, 30)
    smaller = scores(tmp_path / "smaller.tif", 29, 30, (1, 1))
    with pytest.raises(CubeError, match=r"29 x 30 pixels, but .*scene.tif has 30 x 30"):
        quicklook(scene, smaller, out=tmp_path / "q.png")
    shifted = scores(tmp_path / "shifted.tif", 30, 30, (1, 1), NORTH_UP * Affine.translation(3, 0))
    with pytest.raises(CubeError, match="not the grid of"):
        quicklook(scene, shifted, out=tmp_path / "q.png")
    nudged = scores(tmp_path / "nudged.tif", 30, 30, (1, 1), NORTH_UP * Affine.translation(0.01, 0))
    quicklook(scene, nudged, out=tmp_path / "q.png")


@pytest.mark.parametrize("options", [{"stretch": (98, 2)}, {"stretch": (-1, 98)}, {"stretch": (5, 5)}, {"size": 5}])
def test_numbers_out_of_bounds_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        quicklook(grey_scene(tmp_path / "scene.tif", 5, 5), out=tmp_path / "q.png", **options)


@pytest.mark.parametrize(("missing", "extra"), [("matplotlib.figure", "report"), ("pyogrio.raw", "vector")])
def test_a_missing_library_is_named_with_its_cure(
    missing: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 5, 5)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "hadgeo\[{extra}\]"'):
        quicklook(scene, out=tmp_path / "q.png", polygons=scene if extra == "vector" else None)


def test_what_is_there_is_not_lost(tmp_path: Path) -> None:
    scene = grey_scene(tmp_path / "scene.tif", 30, 30)
    found = scores(tmp_path / "scores.png", 30, 30, (1, 1))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="one of the inputs"):
        quicklook(scene, found, out=found, overwrite=True)
    with pytest.raises(OutputError, match=r"must end in \.png, \.jpg"):
        quicklook(scene, out=tmp_path / "q.tiff")
    with pytest.raises(CubeNotFoundError, match="no such file"):
        quicklook(scene, out=tmp_path / "q.png", polygons=tmp_path / "no.gpkg")
    with pytest.raises(CubeError, match="not a vector file"):
        quicklook(scene, out=tmp_path / "q.png", polygons=scene)
    with pytest.raises(Cancelled):
        quicklook(scene, found, out=tmp_path / "q.png", progress=Recorder(patience=1))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
