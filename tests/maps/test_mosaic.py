"""Mosaics: every pixel where it belongs, seen through GDAL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.grid import Grid
from hadgeo.maps.mosaic import make_mosaic
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import Window

UTM = CRS.from_epsg(32633)
ROTATED = Affine(1.9, 0.6, 5e5, 0.6, -1.9, 5.2e6)
NORTH_UP = Affine(2, 0, 5e5, 0, -2, 5.2e6)


def shifted(grid: Affine, cols: float, rows: float) -> Affine:
    x, y = grid.a * cols + grid.b * rows, grid.d * cols + grid.e * rows
    return Affine(grid.a, grid.b, grid.c + x, grid.d, grid.e, grid.f + y)


def write(
    path: Path, value: Any, transform: Affine | None, crs: CRS | None = UTM, shape: tuple[int, int] = (20, 15)
) -> Path:
    scores = np.broadcast_to(np.asarray(value, dtype=np.float32), shape).copy()
    with ScoreWriter(path, grid=Grid(shape, crs, transform), description="", tags={}) as writer:
        writer.write(Window(0, 0, *shape), scores)
        writer.finish()
    return path


@pytest.mark.parametrize("grid", [NORTH_UP, ROTATED], ids=["north-up", "rotated"])
def test_pixels_stand_where_they_belong_and_gaps_let_those_below_through(grid: Affine, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    below, above = rng.normal(size=(2, 20, 15)).astype(np.float32)
    above[3:9, 2:12] = np.nan
    first = write(tmp_path / "a.tif", below, shifted(grid, 7, 4))
    second = write(tmp_path / "b.tif", above, shifted(grid, 2, 10))
    mosaic = make_mosaic([first, second], tmp_path / "mosaic.vrt")
    expected = np.full((26, 20), np.nan, dtype=np.float32)
    expected[0:20, 5:20] = below
    expected[6:26, 0:15] = np.where(np.isnan(above), expected[6:26, 0:15], above)
    with rasterio.open(mosaic.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), expected)
        assert dataset.crs == UTM
        assert np.isnan(dataset.nodata)
        assert dataset.transform.almost_equals(shifted(grid, 2, 4), 1e-6)
    assert (mosaic.shape, mosaic.left_out) == ((26, 20), {})
    assert mosaic.shift < 1e-6


def test_what_would_have_to_be_resampled_is_left_out_with_a_reason(tmp_path: Path) -> None:
    maps = [
        write(tmp_path / "rotated.tif", 1, ROTATED),
        write(tmp_path / "a.tif", 2, NORTH_UP),
        write(tmp_path / "zone.tif", 3, NORTH_UP, CRS.from_epsg(32634)),
        write(tmp_path / "coarse.tif", 4, Affine(4, 0, 5e5, 0, -4, 5.2e6)),
        write(tmp_path / "nowhere.tif", 5, None, None),
        write(tmp_path / "b.tif", 6, shifted(NORTH_UP, 15.4, 0)),
    ]
    mosaic = make_mosaic(maps, tmp_path / "mosaic.vrt")
    assert [path.name for path in mosaic.maps] == ["a.tif", "b.tif"]
    reasons = {path.name: reason for path, reason in mosaic.left_out.items()}
    assert "pixel size or rotation" in reasons["rotated.tif"]
    assert "coordinate reference system" in reasons["zone.tif"]
    assert "pixel size or rotation" in reasons["coarse.tif"]
    assert "not georeferenced" in reasons["nowhere.tif"]
    assert mosaic.shift == pytest.approx(0.4)
    with rasterio.open(mosaic.path) as dataset:
        assert np.unique(dataset.read(1)).tolist() == [2, 6]


def test_a_mosaic_and_its_maps_may_move_together(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    make_mosaic([write(tmp_path / "here" / "a.tif", 1, NORTH_UP)], tmp_path / "here" / "mosaic.vrt")
    (tmp_path / "here").rename(tmp_path / "there")
    with rasterio.open(tmp_path / "there" / "mosaic.vrt") as dataset:
        assert (dataset.read(1) == 1).all()


def test_degrees_stay_in_the_order_of_the_maps(tmp_path: Path) -> None:
    grid = Affine(1e-5, 0, 13.0, 0, -1e-5, 52.5)
    made = make_mosaic([write(tmp_path / "a.tif", 1, grid, CRS.from_epsg(4326))], tmp_path / "mosaic.vrt").path
    with rasterio.open(made) as mosaic, rasterio.open(tmp_path / "a.tif") as scores:
        assert mosaic.bounds == scores.bounds
        assert mosaic.lnglat() == pytest.approx(scores.lnglat())


def test_a_mosaic_of_ours_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    one, out = write(tmp_path / "a.tif", 1, NORTH_UP), tmp_path / "mosaic.vrt"
    make_mosaic([one], out)
    make_mosaic([one, write(tmp_path / "b.tif", 2, shifted(NORTH_UP, 0, 20))], out)
    with rasterio.open(out) as dataset:
        assert dataset.shape == (40, 15)
    out.write_text("<VRTDataset/>")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make_mosaic([one], out)
    with pytest.raises(OutputError, match=r"ending in \.vrt"):
        make_mosaic([one], tmp_path / "mosaic.tif")


def test_maps_without_a_place_make_no_mosaic(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="none of the 1 maps is georeferenced"):
        make_mosaic([write(tmp_path / "a.tif", 1, None, None)], tmp_path / "mosaic.vrt")
    assert not (tmp_path / "mosaic.vrt").exists()
