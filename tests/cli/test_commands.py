"""What the commands print and write when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.detectors.registry import detector_class, list_detectors

QUICK = ["-d", "bs3lnet", "-p", "steps=3", "-p", "crop=16"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    hadgeo.simulate(path, rows=40, cols=50, bands=30, rotation=10, wedges=0.15, targets=3)
    return path


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_detect_writes_beside_the_scene(scene: Path) -> None:
    result = run("detect", scene, *QUICK)
    out = scene.with_name("scene_anomaly.tif")
    with rasterio.open(out) as scores, rasterio.open(scene) as source:
        assert scores.tags()["HADGEO_DETECTOR"] == "bs3lnet"
        assert scores.transform == source.transform
    last = result.stdout.splitlines()[-1]
    assert last.startswith(str(out))
    for stage in ("survey", "fit", "score", "write"):
        assert f"{stage} " in last
    assert "device: cpu" in result.stderr
    assert "bands: " in result.stderr
    out.unlink()


def test_seed_and_parameters_are_recorded(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.tif"
    run("detect", scene, *QUICK, "--seed", "7", "-p", "inner-window=3", "-o", out)
    with rasterio.open(out) as scores:
        parameters = json.loads(scores.tags()["HADGEO_PARAMETERS"])
    assert (parameters["seed"], parameters["inner_window"], parameters["steps"]) == (7, 3, 3)


def test_a_seed_is_no_mistake_where_nothing_is_random(scene: Path, tmp_path: Path) -> None:
    run("detect", scene, "-d", "rx", "--seed", "7", "-o", tmp_path / "x.tif")


def test_quiet_prints_nothing(scene: Path, tmp_path: Path) -> None:
    result = run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--quiet")
    assert result.output == ""


def test_progress_as_json_lines(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.tif"
    lines = [
        json.loads(line) for line in run("detect", scene, *QUICK, "-o", out, "--progress", "json").stdout.splitlines()
    ]
    kinds = [line["type"] for line in lines]
    assert set(kinds) == {"log", "progress", "result"}
    assert kinds[-1] == "result"
    assert lines[-1]["map"] == str(out)
    finished = {line["stage"] for line in lines if line["type"] == "progress" and line["percent"] == 100}
    assert {"statistics", "fit", "score"} <= finished


def test_a_window_larger_than_the_scene_works(scene: Path, tmp_path: Path) -> None:
    run("detect", scene, "-d", "rx", "--window", "5000", "-o", tmp_path / "x.tif")


def test_info_for_people(scene: Path) -> None:
    output = run("info", scene, *QUICK).output
    for text in (
        "EPSG:32633",
        "30 bands x 40 rows x 50 columns",
        "int16",
        "400 to 2500 nm",
        "bs3lnet on cpu",
        "window",
    ):
        assert text in output


def test_info_for_programs(scene: Path) -> None:
    facts = json.loads(run("info", scene, "--json", "-d", "rx").stdout)
    with rasterio.open(scene) as dataset:
        assert facts["transform"] == list(dataset.transform)[:6]
    assert (facts["bands"], facts["rows"], facts["columns"]) == (30, 40, 50)
    np.testing.assert_allclose(facts["wavelength_nm"], np.linspace(400, 2500, 30), atol=1e-3)
    assert len(facts["fwhm_nm"]) == 30
    assert facts["nodata"] == -9999
    assert facts["detect"]["memory_bytes"] > 0
    assert facts["detect"]["seconds"] > 0


def test_info_shows_what_it_knows_where_detect_would_refuse(scene: Path) -> None:
    truth = scene.with_name("scene_truth.tif")
    result = CliRunner().invoke(cli, ["info", str(truth)])
    assert result.exit_code == 2
    assert "1 bands x 40 rows x 50 columns" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("hadgeo: error: ")


def test_scenes_whose_maps_would_share_a_name_are_refused(scene: Path) -> None:
    result = CliRunner().invoke(cli, ["detect", str(scene), str(scene.with_suffix(".img"))])
    assert result.exit_code == 2
    assert "would have the same name" in result.stderr


def test_info_estimates_a_run_on_request_alone(scene: Path) -> None:
    assert "detect" not in json.loads(run("info", scene, "--json").stdout)
    assert "detect" not in json.loads(run("info", scene, "--json", "-d", "rx", "--no-trial").stdout)
    assert json.loads(run("info", scene, "--json", "--estimate").stdout)["detect"]["detector"] == "fusion"


def test_detectors_are_listed() -> None:
    output = run("detectors").output
    for name in list_detectors():
        assert name in output
        described = run("detectors", name).output
        for parameter in detector_class(name).Params.model_fields:
            assert f"  {parameter} = " in described


def test_detectors_schema_is_json() -> None:
    schema = json.loads(run("detectors", "--json").stdout)
    assert schema["bs3lnet"]["properties"]["steps"]["default"] == 100


def test_simulate_by_size(tmp_path: Path) -> None:
    out = tmp_path / "line.img"
    run("simulate", out, "--size", "1MiB", "--cols", "64", "--bands", "20", "--interleave", "bil", "--quiet")
    assert out.stat().st_size == pytest.approx(2**20, rel=0.01)
    assert (tmp_path / "line.hdr").exists()
    assert (tmp_path / "line_truth.tif").exists()
