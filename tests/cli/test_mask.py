"""`--mask` in every command that has it: what is left out is neither learned from, scored, counted nor drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from PIL import Image

import hadgeo
from hadgeo.cli import cli
from tests.evaluation.test_truth import polygons

ROWS, COLS = 60, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mask")
    hadgeo.simulate(folder / "scene.tif", rows=ROWS, cols=COLS, bands=16, rotation=15, targets=4, seed=1)
    with rasterio.open(folder / "scene.tif") as scene:
        write(folder / "left.tif", left(), scene.crs, scene.transform)
        write(folder / "other.tif", ~left(), scene.crs, scene.transform)
        write(folder / "far.tif", left(), scene.crs, rasterio.Affine(1, 0, 9e5, 0, -1, 1e6))
        corners = [scene.transform @ corner for corner in ((0, 0), (30, 0), (30, ROWS), (0, ROWS))]
        polygons(folder / "left.gpkg", [shapely.Polygon(corners)], scene.crs.to_wkt())
    return folder


def left() -> npt.NDArray[np.bool_]:
    """The left 30 columns."""
    return np.broadcast_to(np.arange(COLS) < 30, (ROWS, COLS))


def write(path: Path, values: npt.NDArray[np.bool_], crs: Any, transform: Any) -> None:
    profile = {"count": 1, "height": ROWS, "width": COLS, "dtype": "uint8", "crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
        dataset.write(values.astype("u1"), 1)


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def run(*words: str | Path) -> Result:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result


def scored(path: Path) -> npt.NDArray[np.bool_]:
    with rasterio.open(path) as dataset:
        return np.isfinite(dataset.read(1))


@pytest.mark.parametrize("mask", ["left.tif", "left.gpkg"])
def test_detect_says_what_is_left_and_scores_no_more(folder: Path, tmp_path: Path, mask: str) -> None:
    out = tmp_path / "map.tif"
    result = run("detect", folder / "scene.tif", "-d", "rx", "--mask", folder / mask, "-o", out, "--pfa", "1e-2")
    assert f"{folder / mask} leaves 1,800 of 3,000 pixels of {folder / 'scene.tif'}" in result.stderr
    np.testing.assert_array_equal(scored(out), left())
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert manifest["options"]["mask"] == str(folder / mask)
    assert str(folder / mask) in json.dumps(manifest["inputs"])


def test_a_raster_and_polygons_of_the_same_land_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for mask in ("left.tif", "left.gpkg"):
        run("detect", folder / "scene.tif", "-d", "rx", "--mask", folder / mask, "-o", tmp_path / f"{mask}.tif", "-q")
    assert (tmp_path / "left.tif.tif").read_bytes() == (tmp_path / "left.gpkg.tif").read_bytes()


def test_a_run_is_repeated_with_its_mask(folder: Path, tmp_path: Path) -> None:
    run("detect", folder / "scene.tif", "-d", "rx", "--mask", folder / "left.tif", "-o", tmp_path / "map.tif")
    result = run("detect", "--from", tmp_path / "map.json", "-o", tmp_path / "again.tif")
    assert "every output is identical, byte for byte" in result.stderr
    np.testing.assert_array_equal(scored(tmp_path / "again.tif"), left())


def test_a_finished_map_is_not_taken_for_that_of_another_mask(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    words = ["detect", folder / "scene.tif", "-d", "rx", "-o", out, "--resume", "--mask"]
    run(*words, folder / "left.tif")
    assert "already finished by" in run(*words, folder / "left.tif").stderr
    result = invoke(*words, folder / "other.tif")
    assert result.exit_code == 2
    run(*words, folder / "other.tif", "--overwrite")
    np.testing.assert_array_equal(scored(out), ~left())


def test_a_mask_is_cropped_with_its_scene(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as scene:
        (x, y), (right, bottom) = scene.transform @ (20, 20), scene.transform @ (45, 40)
    extent = [str(v) for v in (min(x, right), min(y, bottom), max(x, right), max(y, bottom))]
    out = tmp_path / "map.tif"
    run("detect", folder / "scene.tif", "-d", "rx", "--mask", folder / "left.tif", "--extent", *extent, "-o", out)
    with rasterio.open(out) as part, rasterio.open(folder / "scene.tif") as scene:
        col, row = (round(v) for v in ~scene.transform @ (part.transform.c, part.transform.f))
        height, width = part.shape
    np.testing.assert_array_equal(scored(out), left()[row : row + height, col : col + width])


def test_train_learns_from_what_is_left(folder: Path, tmp_path: Path) -> None:
    scene, mask = folder / "scene.tif", folder / "left.tif"
    result = run("train", scene, "-d", "rx", "--mask", mask, "-o", tmp_path / "left.hadgeo")
    assert "leaves 1,800 of 3,000 pixels" in result.stderr
    run("detect", scene, "--model", tmp_path / "left.hadgeo", "--mask", mask, "-o", tmp_path / "model.tif")
    run("detect", scene, "-d", "rx", "--mask", mask, "-o", tmp_path / "alone.tif")
    with rasterio.open(tmp_path / "model.tif") as model, rasterio.open(tmp_path / "alone.tif") as alone:
        np.testing.assert_array_equal(model.read(1), alone.read(1))
    assert str(mask) in json.dumps(json.loads((tmp_path / "left.json").read_text())["inputs"])


def test_batch_fails_lines_of_which_nothing_is_left_and_makes_maps_of_another_mask_anew(
    folder: Path, tmp_path: Path
) -> None:
    hadgeo.simulate(tmp_path / "far.tif", rows=30, cols=30, bands=16, targets=1)
    with rasterio.open(tmp_path / "far.tif", "r+") as far:
        far.transform = rasterio.Affine(1, 0, 9e5, 0, -1, 1e6)
    maps = tmp_path / "maps"
    words = ["batch", tmp_path / "far.tif", folder / "scene.tif", "-d", "rx", "-o", maps, "--mask"]
    result = invoke(*words, folder / "left.tif")
    assert result.exit_code == 1
    assert "1 flight lines done" in result.stdout
    assert f"left.tif: does not overlap {tmp_path / 'far.tif'}" in result.stderr
    np.testing.assert_array_equal(scored(maps / "scene_anomaly.tif"), left())
    assert "1 kept from an earlier run" in invoke(*words, folder / "left.tif").stdout
    assert "use --overwrite" in invoke(*words, folder / "other.tif").stderr
    invoke(*words, folder / "other.tif", "--overwrite")
    np.testing.assert_array_equal(scored(maps / "scene_anomaly.tif"), ~left())


def test_compare_ranks_by_what_is_left(folder: Path, tmp_path: Path) -> None:
    scene, truth = folder / "scene.tif", folder / "scene_truth.tif"
    words = ["compare", scene, "--truth", truth, "-d", "rx", "--bootstrap", "0", "--json"]
    run(*words, "--mask", folder / "left.tif", "-o", tmp_path)
    (out,) = tmp_path.glob("*.tif")
    np.testing.assert_array_equal(scored(out), left())


def test_quicklook_draws_what_is_left(folder: Path, tmp_path: Path) -> None:
    words = ["quicklook", folder / "scene.tif", "-q", "-o"]
    run(*words, tmp_path / "whole.png")
    run(*words, tmp_path / "left.png", "--mask", folder / "left.tif")
    whole, part = (
        np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int) for name in ("whole.png", "left.png")
    )
    assert whole.shape == part.shape
    assert (np.abs(whole - part).sum(axis=2) > 0).mean() > 0.1


@pytest.mark.parametrize(
    ("mask", "words"),
    [("gone.tif", "no such mask"), ("far.tif", "does not overlap"), ("scene.tif", "16 bands, but a mask has one")],
)
@pytest.mark.parametrize("command", ["detect", "train", "quicklook", "compare"])
def test_a_mask_of_no_use_is_one_line(folder: Path, tmp_path: Path, command: str, mask: str, words: str) -> None:
    extra = {"train": ["-o", tmp_path / "x.hadgeo"], "compare": ["--truth", folder / "scene_truth.tif"]}
    output = extra.get(command, ["-o", tmp_path / ("x.png" if command == "quicklook" else "x.tif")])
    result = invoke(command, folder / "scene.tif", *output, "--mask", folder / mask, "-q")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_mask_is_not_written_over(folder: Path) -> None:
    before = (folder / "left.tif").read_bytes()
    words = ["detect", folder / "scene.tif", "-d", "rx", "--mask", folder / "left.tif", "--overwrite"]
    result = invoke(*words, "-o", folder / "left.tif")
    assert result.exit_code == 2
    assert "left.tif" in result.stderr
    assert (folder / "left.tif").read_bytes() == before


def test_threshold_wants_the_scene_of_a_mask(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    run("detect", folder / "scene.tif", "-d", "rx", "--mask", folder / "left.tif", "-o", out)
    assert "add --scene" in invoke("threshold", out, "--mask", folder / "left.tif").stderr
    words = ["threshold", out, "--top", "5", "--evidence", tmp_path / "e.nc", "--scene", folder / "scene.tif"]
    run(*words, "--mask", folder / "left.tif")
    assert (tmp_path / "e.nc").exists()
