"""The picture of a mission: every line in its place, the highest scores seen, whatever grids the lines have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from matplotlib import colormaps
from PIL import Image
from rasterio.crs import CRS

from hadgeo.cube import as_source
from hadgeo.errors import CubeError, OutputExistsError
from hadgeo.pictures.overview import LineToDraw, overview
from tests.maps.made import write_map
from tests.pictures.test_quicklook import grey_scene

HOTTEST = tuple(round(255 * c) for c in colormaps["plasma"](1.0)[:3])
#: Pixels above and beside the map.
HEAD, LEFT = 76, 34


def line(
    folder: Path, name: str, transform: Affine, hot: tuple[int, int], shape: tuple[int, int] = (60, 40)
) -> LineToDraw:
    values = np.random.default_rng(len(name)).random(shape).astype(np.float32)
    values[hot] = 50
    scores = write_map(folder / f"{name}.tif", values, transform=transform).path
    return LineToDraw(name, scores, as_source(grey_scene(folder / f"{name}_scene.tif", *shape, transform)))


def hot_places(picture: Path) -> np.ndarray:
    """Middles of the hottest dots, in pixels of the map."""
    with Image.open(picture) as image:
        rgb = np.asarray(image.convert("RGB")).astype(int)[HEAD:-150]
    row, col = np.nonzero((np.abs(rgb - HOTTEST) <= 1).all(axis=2))
    return np.column_stack([col - LEFT, row])


def test_each_line_lies_where_its_grid_says(tmp_path: Path) -> None:
    grids = [
        Affine(2, 0, 5e5, 0, -2, 4.5e6),
        Affine.translation(5e5 + 100, 4.5e6 - 20) * Affine.rotation(30) * Affine.scale(2, -2),
    ]
    hot = [(10, 7), (40, 30)]
    lines = [line(tmp_path, f"line{i}", grid, at) for i, (grid, at) in enumerate(zip(grids, hot, strict=True))]
    done = overview(lines, tmp_path / "all.png", title="mission")
    assert done.left_out == {}
    corners = np.array([grid * corner for grid in grids for corner in ((0, 0), (40, 0), (40, 60), (0, 60))])
    with Image.open(done.path) as image:
        width = image.width - 2 * LEFT
    left, top = corners[:, 0].min(), corners[:, 1].max()
    scale = width / np.ptp(corners[:, 0])
    found = hot_places(done.path)
    for grid, (row, col) in zip(grids, hot, strict=True):
        x, y = grid * (col + 0.5, row + 0.5)
        expected = (x - left) * scale, (top - y) * scale
        assert np.abs(found - expected).max(axis=1).min() < 1.5 * 2 * scale
    assert len(found) < 2 * 12 * (2 * scale) ** 2


def test_a_lone_hot_pixel_of_a_long_line_is_seen(tmp_path: Path) -> None:
    turned = Affine.translation(5e5, 4.5e6) * Affine.rotation(17) * Affine.scale(2, -2)
    done = overview([line(tmp_path, "long", turned, (7001, 33), (9000, 40))], tmp_path / "all.png", title="mission")
    assert len(hot_places(done.path)) >= 1


def test_lines_without_a_place_are_left_out_and_said(tmp_path: Path) -> None:
    lost = LineToDraw("lost", write_map(tmp_path / "lost.tif", np.ones((5, 5), np.float32), crs=None).path)
    placed = line(tmp_path, "placed", Affine(2, 0, 5e5, 0, -2, 4.5e6), (3, 3))
    done = overview([lost, placed], tmp_path / "all.png", title="mission", crs=CRS.from_epsg(3035))
    assert done.left_out == {"lost": "it has no coordinate reference system"}
    with pytest.raises(OutputExistsError):
        overview([placed], tmp_path / "all.png", title="mission")
    with pytest.raises(CubeError, match="none of the 1 flight lines has a coordinate reference system"):
        overview([lost], tmp_path / "none.png", title="mission")


def test_a_map_without_its_scene_is_drawn_without_colours(tmp_path: Path) -> None:
    scored = line(tmp_path, "line", Affine(1e-4, 0, 13, 0, -1e-4, 52), (3, 3))
    done = overview([LineToDraw("line", scored.scores)], tmp_path / "all.png", title="mission")
    assert len(hot_places(done.path)) >= 4
