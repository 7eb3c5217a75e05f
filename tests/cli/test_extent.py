"""`hadgeo detect --extent`: a part of a scene on the scene's own grid, and what is no part of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import hadgeo
from hadgeo.cli import cli
from hadgeo.cube import source_of
from hadgeo.formats.cropped import crop


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    hadgeo.simulate(path, rows=40, cols=50, bands=12, rotation=20, targets=3)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def detect(scene: Path, box: tuple[float, ...], out: Path) -> Result:
    return run("detect", scene, "-d", "rx", "--progress", "none", "--extent", *box, "-o", out)


def test_a_part_is_what_the_whole_scene_has_there(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        transform, crs = dataset.transform, dataset.crs
    corners = [transform @ corner for corner in ((20, 10), (30, 10), (30, 25), (20, 25))]
    box = (
        min(x for x, _ in corners),
        min(y for _, y in corners),
        max(x for x, _ in corners),
        max(y for _, y in corners),
    )
    assert detect(scene, box, tmp_path / "part.tif").exit_code == 0
    with rasterio.open(tmp_path / "part.tif") as part:
        assert part.crs == crs
        left, top = (round(value) for value in ~transform @ (part.transform.c, part.transform.f))
        assert part.transform.almost_equals(transform @ Affine.translation(left, top))
        assert (left, top) <= (20, 10)
        assert left + part.width >= 30
        assert top + part.height >= 25
        shape = part.shape
    cube = hadgeo.open_cube(scene).isel(y=slice(top, top + shape[0]), x=slice(left, left + shape[1]))
    twin = hadgeo.detect(cube, "rx", out=tmp_path / "twin.tif")
    assert twin.shape == shape
    assert (tmp_path / "twin.tif").read_bytes() == (tmp_path / "part.tif").read_bytes()


@pytest.fixture(scope="module", params=[0.0, 90.0, 180.0, -90.0])
def turned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> xr.DataArray:
    """A cube whose rows and columns run along the axes of its coordinate system, if not in their direction."""
    path = tmp_path_factory.mktemp("turned") / "scene.tif"
    hadgeo.simulate(path, rows=20, cols=30, bands=8, rotation=request.param, targets=1)
    return hadgeo.open_cube(path)


@given(st.integers(0, 29), st.integers(0, 19), st.integers(1, 30), st.integers(1, 20))
def test_an_extent_of_whole_pixels_is_these_pixels(
    turned: xr.DataArray, left: int, top: int, width: int, height: int
) -> None:
    transform = source_of(turned).metadata.transform
    right, bottom = min(left + width, 30), min(top + height, 20)
    ends = [transform @ corner for corner in ((left, top), (right, bottom))]
    xs, ys = sorted(x for x, _ in ends), sorted(y for _, y in ends)
    part = crop(source_of(turned), (xs[0], ys[0], xs[1], ys[1]))
    assert part.shape == (8, bottom - top, right - left)
    assert part.metadata.transform.almost_equals(transform @ Affine.translation(left, top), 1e-6)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 1, 1), ("0, 0, 1, 1 lies outside the scene",)),
        ((2, 2, 1, 3), ("2, 2, 1, 3 is empty", "xmin, ymin, xmax, ymax")),
        (("nan", 0, 1, 1), ("is empty",)),
        ((1, 2, 3), ("--extent", "4 arguments")),
    ],
)
def test_a_bad_extent_is_one_line(box: tuple[float, ...], words: tuple[str, ...], scene: Path, tmp_path: Path) -> None:
    result = run("detect", scene, "-d", "rx", "-q", "-o", tmp_path / "x.tif", "--extent", *box)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning", "ignore::hadgeo.errors.CubeWarning")
@pytest.mark.parametrize("box", [(5, 10, 25, 18), (5, -18, 25, -10)])
def test_without_a_place_rows_are_counted_down_or_have_a_minus_as_in_a_gis(
    box: tuple[float, ...], tmp_path: Path
) -> None:
    values = xr.DataArray(np.random.default_rng(0).normal(size=(4, 20, 30)).astype("f4"), dims=("band", "y", "x"))
    path = tmp_path / "plain.tif"
    with rasterio.open(path, "w", driver="GTiff", width=30, height=20, count=4, dtype="float32") as dataset:
        dataset.write(values.values)
    assert detect(path, box, tmp_path / "part.tif").exit_code == 0
    # The map lies where a GIS draws that part of the scene, and goes with the scene.
    with rasterio.open(tmp_path / "part.tif") as part:
        assert (part.bounds, part.crs) == ((5, -18, 25, -10), None)
    words = ("--scene", path, "--top", "1", "--polygons", tmp_path / "x.geojson", "--evidence", tmp_path / "x.nc")
    told = run("threshold", tmp_path / "part.tif", *words)
    assert told.exit_code == 0, told.output
    with xr.open_dataset(tmp_path / "x.nc") as why, rasterio.open(tmp_path / "part.tif") as part:
        row, col = np.unravel_index(part.read(1).argmax(), part.shape)
        np.testing.assert_allclose(why.spectrum.values[0], values.values[:, row + 10, col + 5], rtol=1e-5)
    source = crop(source_of(hadgeo.open_cube(path)), box)
    assert source.shape[1:] == (8, 20)
    np.testing.assert_array_equal(source.read(slice(0, 8), slice(0, 20)), values.values[:, 10:18, 5:25])
    told = detect(path, (0, -5, 30, 5), tmp_path / "no.tif")
    assert told.exit_code == 2
    assert "on both sides of 0" in told.output
