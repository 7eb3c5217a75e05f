"""`hadgeo threshold`, and `hadgeo detect` with a rule: what they print and write when all is well."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from rio_cogeo.cogeo import cog_validate

import hadgeo
from hadgeo.cli import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated scene on a rotated grid, with targets."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    hadgeo.simulate(path, rows=160, cols=120, bands=20, rotation=10, wedges=0.15, targets=6)
    return path


@pytest.fixture(scope="module")
def scores(scene: Path) -> Path:
    return hadgeo.detect(scene, "rx", out=scene.with_name("scores.tif")).path


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_default_is_a_rate_of_one_in_a_thousand(scores: Path) -> None:
    facts = json.loads(run("threshold", scores, "--json", "--progress", "none").stdout)
    assert facts["rule"] == {"pfa": 1e-3}
    with rasterio.open(scores) as dataset:
        values = dataset.read(1)
    assert facts["valid_pixels"] == np.isfinite(values).sum()
    assert facts["pixels"] == (values >= facts["threshold"]).sum()
    assert facts["expected_false_alarms"] == pytest.approx(1e-3 * facts["valid_pixels"], rel=0.1)
    assert facts["grown_to"] < facts["threshold"]
    assert facts["tail"]["quality"] in ("good", "fair", "poor")
    assert 0 < facts["groups"] <= facts["pixels"]


def test_people_are_told_in_words(scores: Path) -> None:
    output = run("threshold", scores, "--pfa", "1e-6", "--progress", "none").stdout
    for word in ("threshold  ", "(pfa 1e-06)", "false alarms are expected", "Kolmogorov-Smirnov distance", "groups  "):
        assert word in output


def test_quiet_prints_nothing(scores: Path) -> None:
    assert run("threshold", scores, "--quiet").output == ""


def test_programs_are_told_in_json_lines(scores: Path) -> None:
    lines = [json.loads(line) for line in run("threshold", scores, "--progress", "json").stdout.splitlines()]
    assert {line["type"] for line in lines} == {"progress", "result"}
    assert lines[-1]["scores"] == str(scores)
    assert {"range", "calibrate", "count", "groups"} == {line["stage"] for line in lines[:-1]}


@pytest.mark.parametrize(
    ("rule", "pixels"), [(["--top", "25"], 25), (["--percentile", "99"], None), (["--value", "1e9"], 0)]
)
def test_each_rule_flags_what_it_says(rule: list[str], pixels: int | None, scores: Path) -> None:
    facts = json.loads(run("threshold", scores, *rule, "--json", "--quiet").stdout)
    assert facts["pixels"] == (pixels if pixels is not None else pytest.approx(facts["valid_pixels"] / 100, abs=1))


def test_p_values_are_a_map_on_the_same_grid(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.tif"
    facts = json.loads(run("threshold", scores, "--pfa", "1e-2", "--p-values", out, "--json", "--quiet").stdout)
    with rasterio.open(scores) as source, rasterio.open(out) as made:
        values, p_values = source.read(1), made.read(1)
        assert made.crs == source.crs
        assert made.transform == source.transform
        assert made.dtypes == ("float32",)
    assert cog_validate(out)[0]
    np.testing.assert_array_equal(np.isnan(p_values), np.isnan(values))
    valid = np.isfinite(values)
    assert (p_values[valid] > 0).all()
    assert (p_values[valid] <= 1).all()
    order = np.argsort(values[valid])
    assert (np.diff(p_values[valid][order]) <= 0).all()
    assert (p_values <= 1e-2).sum() == pytest.approx(facts["pixels"], abs=1)


def test_targets_of_a_simulated_scene_are_found_as_polygons(scene: Path, tmp_path: Path) -> None:
    out, polygons = tmp_path / "map.tif", tmp_path / "anomalies.gpkg"
    words = ["detect", scene, "-d", "rx", "-o", out, "--pfa", "1e-2", "--polygons", polygons, "--merge-distance", "5"]
    lines = [json.loads(line) for line in run(*words, "--progress", "json").stdout.splitlines()]
    decision = lines[-1]["decision"]
    assert decision["polygons"] == str(polygons)
    meta, _, geometries, columns = pyogrio.raw.read(polygons)
    layer = dict(zip(meta["fields"], columns, strict=True))
    assert len(geometries) == decision["groups"] > 0
    assert layer["pixels"].sum() == decision["pixels"]
    with rasterio.open(scene.with_name("scene_truth.tif")) as truth:
        assert meta["crs"] == truth.crs.to_string()
        rows, cols = np.nonzero(truth.read(1) == 1)
        x, y = truth.transform @ (cols + 0.5, rows + 0.5)
    assert shapely.contains_xy(shapely.union_all(shapely.from_wkb(geometries)), x, y).mean() > 0.3


def test_detect_prints_the_decision_below_its_own_line(scene: Path, tmp_path: Path) -> None:
    output = run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "9", "--progress", "none").stdout
    assert output.splitlines()[0].startswith(str(tmp_path / "x.tif"))
    assert "9 of " in output
    assert "(top 9)" in output


def test_any_option_of_a_decision_asks_for_one(scene: Path, tmp_path: Path) -> None:
    output = run(
        "detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--min-pixels", "2", "--progress", "none"
    ).stdout
    assert "(pfa 0.001)" in output
    assert "threshold" not in run("detect", scene, "-d", "rx", "-o", tmp_path / "y.tif", "--progress", "none").stdout


def test_several_scenes_are_each_decided(scene: Path, tmp_path: Path) -> None:
    copies = [tmp_path / f"{name}.tif" for name in ("a", "b")]
    for copy in copies:
        copy.write_bytes(scene.read_bytes())
    output = run("detect", *copies, "-d", "rx", "--top", "5", "--progress", "none").stdout
    assert output.count("pixels  5 of ") == 2


def test_too_many_pixels_are_counted_and_not_grouped(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hadgeo.decisions.decision.MAX_PIXELS", 10)
    output = run("threshold", scores, "--top", "11", "--progress", "none").stdout
    assert "groups  not counted: too many pixels" in output


def test_the_same_run_gives_the_same_bytes(scores: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words = ["--polygons", tmp_path / name / "x.gpkg", "--p-values", tmp_path / name / "x.tif"]
        run("threshold", scores, "--quiet", *words)
    for name in ("x.gpkg", "x.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", ["x.gpkg", "x.geojson", "x.parquet", "x.tif"])
def test_a_disk_that_takes_all_but_the_last_byte_leaves_what_was_there(name: str, scores: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    option = "--p-values" if name == "x.tif" else "--polygons"
    words = [sys.executable, "-m", "hadgeo", "threshold", str(scores), option, str(out), "--overwrite", "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run("threshold", scores, option, out, "--quiet")
    limit = out.stat().st_size - 1
    out.write_bytes(b"the result of yesterday")
    before = {path.name for path in tmp_path.iterdir()}

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(words, env=env, preexec_fn=small_files_only, capture_output=True, text=True)
    assert done.returncode == 2
    # libtiff prints complaints of its own, which nobody can turn off.
    told = [line for line in done.stderr.splitlines() if not line.startswith("_tiff")]
    assert len(told) == 1
    assert "cannot be written" in told[0]
    assert {path.name for path in tmp_path.iterdir()} == before
    assert out.read_bytes() == b"the result of yesterday"
