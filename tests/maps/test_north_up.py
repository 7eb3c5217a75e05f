"""Maps of rotated scenes on a north-up grid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo import cog_validate

import hadgeo
from hadgeo.errors import ParameterError
from hadgeo.grid import Grid
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import Window

SHAPE = (700, 400)


def rotated(angle: float) -> Affine:
    turn = math.radians(angle)
    cos, sin = 2 * math.cos(turn), 2 * math.sin(turn)
    return Affine(cos, sin, 5e5, sin, -cos, 4.5e6)


@pytest.mark.parametrize("crs", ["EPSG:32633", 'LOCAL_CS["a garden",UNIT["metre",1]]', None])
@pytest.mark.parametrize("angle", [0, 12, 30, 45, 133])
def test_no_hot_pixel_is_lost_and_each_stays_where_it_is(
    angle: float, crs: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several strips, whose seams must not show.
    monkeypatch.setattr("hadgeo.maps.raw_tiff.STRIP_BYTES", 2**18)
    rng = np.random.default_rng(1)
    scores = np.zeros(SHAPE, dtype=np.float32)
    hot = rng.choice(scores.size, 200, replace=False)
    scores.flat[hot] = np.arange(1, 201)
    transform = rotated(angle)
    path = tmp_path / "map.tif"
    system = None if crs is None else CRS.from_user_input(crs)
    writer = ScoreWriter(path, grid=Grid(SHAPE, system, transform), description="", tags={}, north_up=True)
    with writer:
        writer.write(Window(0, 0, *SHAPE), scores)
        writer.finish()
    assert cog_validate(path, strict=True)[0]
    with rasterio.open(path) as dataset:
        found, grid = dataset.read(1), dataset.transform
    assert (grid.b, grid.d) == (0, 0)
    assert (grid.a, grid.e) == pytest.approx((2, -2))
    rows, cols = np.nonzero(found > 0)
    assert set(found[rows, cols].astype(int)) == set(range(1, 201))
    # Within a pixel's diagonal of the place where the sensor saw it.
    origin = hot[found[rows, cols].astype(int) - 1]
    truth = np.array([transform * (col + 0.5, row + 0.5) for row, col in zip(*divmod(origin, SHAPE[1]), strict=True)])
    place = np.array([grid * (col + 0.5, row + 0.5) for row, col in zip(rows, cols, strict=True)])
    assert np.hypot(*(truth - place).T).max() <= 2 * math.sqrt(2) + 1e-6
    assert np.isfinite(found).sum() == pytest.approx(scores.size, rel=0.01)


def test_detect_warps_the_score_on_request(tmp_path: Path) -> None:
    scene = tmp_path / "line.img"
    hadgeo.simulate(scene, rows=90, cols=70, bands=20, rotation=25, wedges=0.2, targets=6, seed=3)
    plain = hadgeo.detect(scene, "rx", out=tmp_path / "plain.tif")
    warped = hadgeo.detect(scene, "rx", out=tmp_path / "warped.tif", north_up=True)
    with rasterio.open(plain.path) as before, rasterio.open(warped.path) as after:
        assert before.transform.b != 0
        assert after.transform.b == 0
        assert after.crs == before.crs
        assert after.tags()["HADGEO_WARPED"] == "north-up, max"
        assert np.nanmax(after.read(1)) == np.nanmax(before.read(1))
    assert warped.valid == plain.valid
    assert plain.path.read_bytes() == (tmp_path / "warped_sensor.tif").read_bytes()
    written = ["line_truth.tif", "plain.tif", "warped.tif", "warped_sensor.tif"]
    assert sorted(path.name for path in tmp_path.glob("*.tif*")) == written


def test_a_scene_without_georeference_is_not_warped(tmp_path: Path) -> None:
    import xarray as xr

    from tests.support import background

    cube = xr.DataArray(background((5, 20, 20)), dims=("band", "y", "x"))
    with pytest.raises(ParameterError, match="omit --north-up"):
        hadgeo.detect(cube, "rx", out=tmp_path / "x.tif", north_up=True)
    assert not list(tmp_path.iterdir())
