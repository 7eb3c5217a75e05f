"""`--background`, `--exclude` and `--suppress` in every command that fits: what is said, written down and repeated."""

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

import hadgeo
from hadgeo.cli import cli
from tests.evaluation.test_truth import polygons

ROWS, COLS = 60, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("background")
    hadgeo.simulate(folder / "scene.tif", rows=ROWS, cols=COLS, bands=40, rotation=15, targets=4, seed=1)
    with rasterio.open(folder / "scene.tif") as scene:
        write(folder / "left.tif", left(), scene.crs, scene.transform)
        write(folder / "right.tif", ~left(), scene.crs, scene.transform)
        write(folder / "far.tif", left(), scene.crs, rasterio.Affine(1, 0, 9e5, 0, -1, 1e6))
        corners = [scene.transform @ corner for corner in ((0, 0), (30, 0), (30, ROWS), (0, ROWS))]
        polygons(folder / "left.gpkg", [shapely.Polygon(corners)], scene.crs.to_wkt())
        # Of which the same land is another part.
        hadgeo.simulate(folder / "second.tif", rows=40, cols=40, bands=40, targets=2, seed=2)
        with rasterio.open(folder / "second.tif", "r+") as second:
            second.transform = scene.transform @ rasterio.Affine.translation(0, 2000)
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


def read(path: Path) -> npt.NDArray[Any]:
    with rasterio.open(path) as dataset:
        found: npt.NDArray[Any] = dataset.read(1)
    return found


def hash_of(path: Path) -> str:
    with rasterio.open(path) as dataset:
        return str(dataset.tags()["HADGEO_MODEL_HASH"])


@pytest.mark.parametrize("region", ["left.tif", "left.gpkg"])
def test_detect_says_what_is_left_for_learning_and_scores_everything(folder: Path, tmp_path: Path, region: str) -> None:
    scene, out = folder / "scene.tif", tmp_path / "map.tif"
    result = run("detect", scene, "-d", "rx", "--background", folder / region, "-o", out)
    told = f"1,800 of 3,000 pixels of {scene} are left for learning: inside {region}"
    assert [line for line in result.stderr.splitlines() if told in line]
    assert np.isfinite(read(out)).all()
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert manifest["options"]["background"] == str(folder / region)
    assert str(folder / region) in json.dumps(manifest["inputs"])
    assert manifest["facts"]["learned_pixels"] == 1800


def test_a_region_and_the_exclusion_of_the_rest_are_the_same(folder: Path, tmp_path: Path) -> None:
    scene = folder / "scene.tif"
    run("detect", scene, "-d", "rx", "--background", folder / "left.gpkg", "-o", tmp_path / "in.tif", "-q")
    result = run("detect", scene, "-d", "rx", "--exclude", folder / "right.tif", "-o", tmp_path / "out.tif")
    assert "1,800 of 3,000 pixels" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "in.tif"), read(tmp_path / "out.tif"))
    run("detect", scene, "-d", "rx", "--mask", folder / "left.tif", "-o", tmp_path / "masked.tif", "-q")
    assert hash_of(tmp_path / "masked.tif") == hash_of(tmp_path / "in.tif")
    np.testing.assert_array_equal(read(tmp_path / "masked.tif")[:, :30], read(tmp_path / "in.tif")[:, :30])


def test_surfaces_are_suppressed_and_shown(folder: Path, tmp_path: Path) -> None:
    scene, out, classes = folder / "scene.tif", tmp_path / "map.tif", tmp_path / "classes.tif"
    words = ["detect", scene, "-d", "rx", "-o", out, "--suppress", "vegetation=0.5,water", "--suppress-from", "map"]
    result = run(*words, "--suppressed-mask", classes)
    found = read(classes)
    vegetation, water = (int((found == value).sum()) for value in (1, 2))
    assert vegetation > 0
    left = ROWS * COLS - vegetation - water
    told = f"{left:,} of 3,000 pixels of {scene} are left for learning: without {vegetation:,} of vegetation "
    assert told + f"(NDVI > 0.5), {water:,} of water (NDWI > 0), which get no score either" in result.stderr
    np.testing.assert_array_equal(np.isfinite(read(out)), found == 0)
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert str(classes) in json.dumps(manifest["outputs"])
    # It is repeated, and not taken for finished once the mask is gone.
    again = ["-o", tmp_path / "again.tif", "--suppressed-mask", tmp_path / "classes again.tif"]
    assert "every output is identical, byte for byte" in run("detect", "--from", tmp_path / "map.json", *again).stderr
    assert "already finished by" in run(*words, "--suppressed-mask", classes, "--resume").stderr


def test_a_run_is_repeated_with_its_regions(folder: Path, tmp_path: Path) -> None:
    regions = ["--background", folder / "left.gpkg", "--suppress", "shadow=0.6"]
    run("detect", folder / "scene.tif", "-d", "rx", *regions, "-o", tmp_path / "map.tif")
    result = run("detect", "--from", tmp_path / "map.json", "-o", tmp_path / "again.tif")
    assert "every output is identical, byte for byte" in result.stderr


def test_a_finished_map_is_not_taken_for_that_of_another_region(folder: Path, tmp_path: Path) -> None:
    words = ["detect", folder / "scene.tif", "-d", "rx", "-o", tmp_path / "map.tif", "--resume", "--background"]
    run(*words, folder / "left.tif")
    assert "already finished by" in run(*words, folder / "left.tif").stderr
    assert invoke(*words, folder / "right.tif").exit_code == 2


def test_train_learns_from_a_region(folder: Path, tmp_path: Path) -> None:
    scene, region = folder / "scene.tif", folder / "left.gpkg"
    result = run("train", scene, "-d", "rx", "--background", region, "-o", tmp_path / "left.hadgeo")
    assert "1,800 of 3,000 pixels" in result.stderr
    assert str(region) in json.dumps(json.loads((tmp_path / "left.json").read_text())["inputs"])
    run("detect", scene, "--model", tmp_path / "left.hadgeo", "-o", tmp_path / "model.tif")
    run("detect", scene, "-d", "rx", "--background", region, "-o", tmp_path / "alone.tif")
    np.testing.assert_array_equal(read(tmp_path / "model.tif"), read(tmp_path / "alone.tif"))
    result = invoke("detect", scene, "--model", tmp_path / "left.hadgeo", "--background", region, "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "--background: a model is not fitted again" in result.stderr


def test_batch_fits_on_the_first_line_in_the_background(folder: Path, tmp_path: Path) -> None:
    maps, region = tmp_path / "maps", folder / "left.gpkg"
    words = ["batch", folder / "second.tif", folder / "scene.tif", "-d", "rx", "-o", maps]
    result = run(*words, "--background", region)
    assert f"not learned from {folder / 'second.tif'}: {region}: does not overlap" in result.stderr
    assert "1,800 of 3,000 pixels" in result.stderr
    assert np.isfinite(read(maps / "scene_anomaly.tif")).all()
    assert hash_of(maps / "scene_anomaly.tif") == hash_of(maps / "second_anomaly.tif")
    run("detect", folder / "scene.tif", "-d", "rx", "--background", region, "-o", tmp_path / "alone.tif")
    assert hash_of(maps / "scene_anomaly.tif") == hash_of(tmp_path / "alone.tif")
    # The same again does nothing; another region is another model.
    assert "2 kept from an earlier run" in run(*words, "--background", region).stdout
    result = invoke(*words, "--background", folder / "right.tif")
    assert result.exit_code == 2
    assert "learned_from" in result.stderr
    assert "use --overwrite" in result.stderr
    run(*words, "--background", folder / "right.tif", "--overwrite")
    run("detect", folder / "scene.tif", "-d", "rx", "--exclude", folder / "left.tif", "-o", tmp_path / "right.tif")
    assert hash_of(maps / "scene_anomaly.tif") == hash_of(tmp_path / "right.tif")


def test_batch_on_each_line_for_itself(folder: Path, tmp_path: Path) -> None:
    words = ["batch", folder / "second.tif", folder / "scene.tif", "-d", "rx", "--fit-on", "each"]
    result = invoke(*words, "-o", tmp_path / "in", "--background", folder / "left.gpkg")
    assert result.exit_code == 1
    assert "1 flight lines done" in result.stdout
    assert f"left.gpkg: does not overlap {folder / 'second.tif'}" in result.stderr
    # Where nothing is excluded, all of a line is learned from.
    result = run(*words, "-o", tmp_path / "out", "--exclude", folder / "right.tif")
    assert "nothing is excluded" in result.stderr
    assert hash_of(tmp_path / "out" / "scene_anomaly.tif") == hash_of(tmp_path / "in" / "scene_anomaly.tif")


def test_batch_suppresses_in_every_map(folder: Path, tmp_path: Path) -> None:
    words = ["batch", folder / "scene.tif", folder / "second.tif", "-d", "rx", "-o", tmp_path / "maps"]
    words += ["--suppress", "vegetation", "--suppress-from", "map"]
    run(*words)
    for name in ("scene", "second"):
        classes = tmp_path / f"{name}.tif"
        alone = ["detect", folder / f"{name}.tif", "-d", "rx", "-o", tmp_path / "x.tif", "--overwrite"]
        run(*alone, "--suppress", "vegetation", "--suppressed-mask", classes)
        expected = read(classes) == 0
        np.testing.assert_array_equal(np.isfinite(read(tmp_path / "maps" / f"{name}_anomaly.tif")), expected)
    assert "2 kept from an earlier run" in run(*words).stdout
    assert "use --overwrite" in invoke(*words[:-2]).stderr


def test_batch_says_that_no_line_lies_in_the_background(folder: Path, tmp_path: Path) -> None:
    words = ["batch", folder / "scene.tif", "-d", "rx", "-o", tmp_path / "maps", "--background", folder / "far.tif"]
    result = invoke(*words, "-q")
    assert result.exit_code == 2
    assert "far.tif: does not overlap" in result.stderr


def test_compare_fits_all_on_the_background(folder: Path, tmp_path: Path) -> None:
    words = ["compare", folder / "scene.tif", "--truth", folder / "scene_truth.tif", "-d", "rx", "--bootstrap", "0"]
    result = run(*words, "--background", folder / "left.gpkg", "-o", tmp_path)
    assert "1,800 of 3,000 pixels" in result.stderr
    (made,) = tmp_path.glob("*.tif")
    assert np.isfinite(read(made)).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--background", "gone.gpkg"], "gone.gpkg: no such background region"),
        (["--background", "far.tif"], "does not overlap"),
        (["--exclude", "far.tif"], "give the excluded region of this scene"),
        (["--background", "scene.tif"], "40 bands, but a background region has one"),
        (["--background", "left.tif", "--exclude", "left.tif"], "contains all 1,800 pixels"),
        (["--background", "left.tif", "--mask", "right.tif"], "the mask leaves no pixel of the background region"),
        (["--suppress", "snow"], "'snow' is not a surface that can be suppressed"),
        (["--suppress", "water=3"], "the threshold must be a number from -1 to 1"),
    ],
)
@pytest.mark.parametrize("command", ["detect", "train", "compare"])
def test_a_region_of_no_use_is_one_line(
    folder: Path, tmp_path: Path, command: str, given: list[str], words: str
) -> None:
    extra = {"train": ["-o", tmp_path / "x.hadgeo"], "compare": ["--truth", folder / "scene_truth.tif", "-d", "rx"]}
    output = extra.get(command, ["-o", tmp_path / "x.tif"])
    named = [str(folder / word) if word.endswith((".tif", ".gpkg")) else word for word in given]
    result = invoke(command, folder / "scene.tif", *output, *named, "-q")
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.strip().splitlines() if words in line]) == 1
    assert not list(tmp_path.iterdir())


def test_one_mask_of_surfaces_is_for_one_scene(folder: Path, tmp_path: Path) -> None:
    words = ["detect", folder / "scene.tif", folder / "second.tif", "-d", "rx", "--suppress", "water"]
    result = invoke(*words, "--suppressed-mask", tmp_path / "x.tif")
    assert result.exit_code == 2
    assert "names one file, but there are 2 scenes" in result.stderr
    words = ["detect", folder / "scene.tif", "-d", "rx", "--suppress", "water", "-o", tmp_path / "map.tif"]
    result = invoke(*words, "--suppressed-mask", tmp_path / "map.json")
    assert result.exit_code == 2
    assert "--suppressed-mask" in result.stderr
    assert not list(tmp_path.iterdir())
