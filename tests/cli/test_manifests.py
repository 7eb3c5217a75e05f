"""Every run writes a manifest, and `detect --from` repeats one to the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.cli.manifests import in_full

QUICK = ("-d", "bs3lnet", "-p", "steps=3", "-p", "crop=16")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    hadgeo.simulate("line.img", rows=40, cols=40, bands=20, targets=3)
    return Path("line.img")


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [*map(str, words), "--progress", "none"])
    assert result.exit_code == status, result.output
    return result


def manifest(path: str) -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text()))


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_detection_is_written_down(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "--top", "7", "--polygons", "x.gpkg")
    told = manifest("line_anomaly.json")
    assert [Path(item["path"]).name for item in told["inputs"]] == ["line.img", "line.hdr"]
    assert [item["sha256"] for item in told["outputs"]] == [sha256("line_anomaly.tif"), sha256("x.gpkg")]
    assert told["options"]["detector"] == "rx"
    assert told["facts"]["decision"]["rule"] == {"top": 7}
    assert told["facts"]["parameters"]
    assert {"fit", "score", "write"} <= told["seconds"].keys()
    assert told["pixels_per_second"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ("-d", "rx", "--top", "7", "--polygons", "x.gpkg", "--evidence", "x.nc", "--spectra", "spectra"),
        (*QUICK, "--seed", "5", "--bands", "1-12", "--window", "9", "--p-values", "p.tif"),
        ("-d", "scoread", "-p", "steps=3", "-p", "t=0.02,0.1", "--pfa", "1e-2", "--polygons", "x.geojson"),
    ],
    ids=["rx", "bs3lnet", "scoread"],
)
def test_a_repetition_gives_the_same_bytes(scene: Path, words: tuple[str, ...]) -> None:
    run("detect", scene, *words, "-o", "x.tif")
    hashes = [item["sha256"] for item in manifest("x.json")["outputs"]]
    result = run("detect", "--from", "x.json", "--overwrite")
    assert "every output is identical, byte for byte" in result.stderr
    assert [item["sha256"] for item in manifest("x.json")["outputs"]] == hashes
    assert hashes[0] == sha256("x.tif")


def test_what_is_given_replaces_what_was(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    result = run("detect", "--from", "x.json", "-o", "y.tif", "--bands", "1-9")
    assert "y.tif differs from the original run" in result.stderr
    assert manifest("y.json")["options"]["detector"] == "rx"
    assert manifest("y.json")["facts"]["bands"] == "1-9"


def test_a_model_is_written_down_with_what_it_was_fitted_on(scene: Path) -> None:
    run("train", scene, "-d", "rx", "-o", "m.hadgeo")
    assert manifest("m.json")["outputs"][0]["sha256"] == sha256("m.hadgeo")
    run("detect", scene, "--model", "m.hadgeo", "-o", "x.tif")
    assert [Path(item["path"]).name for item in manifest("x.json")["inputs"]] == ["line.img", "line.hdr", "m.hadgeo"]
    assert "identical, byte for byte" in run("detect", "--from", "x.json", "--overwrite").stderr


def test_a_decision_is_written_down_where_it_writes_anything(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    Path("x.json").unlink()
    run("threshold", "x.tif", "--top", "5")
    assert not Path("x.json").exists()
    run("threshold", "x.tif", "--top", "5", "--p-values", "p.tif")
    assert manifest("p.json")["command"] == "threshold"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("detect", "--from", "none.json"), "no such manifest"),
        (("detect", "--from", "line.hdr"), "not a hadgeo manifest"),
        (("detect", "--from", "m.json"), "`hadgeo train`"),
        (("detect", "--from", "x.json"), "x.tif exists; use --overwrite"),
        (("detect",), "no SCENE"),
        (("detect", "line.img", "-o", "other.tif"), "other.json exists and is not a hadgeo manifest"),
        (("threshold", "x.tif", "--p-values", "other.tif"), "other.json exists and is not a hadgeo manifest"),
        (("train", "line.img", "-o", "other.hadgeo"), "other.json exists and is not a hadgeo manifest"),
    ],
)
def test_what_cannot_be_repeated_or_written_is_refused(scene: Path, words: tuple[str, ...], message: str) -> None:
    run("train", scene, "-d", "rx", "-o", "m.hadgeo")
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    Path("other.json").write_text('{"type": "FeatureCollection"}')
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = run(*words, status=2)
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_changed_input_is_no_repetition(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    os.utime(scene, (1, 1))
    assert "has changed since" in run("detect", "--from", "x.json", "-o", "y.tif", status=2).stderr


def test_a_run_over_several_scenes_is_resumed_where_it_stopped(scene: Path) -> None:
    hadgeo.simulate("next.img", rows=40, cols=40, bands=20, targets=3, seed=1)
    run("detect", scene, "next.img", "-d", "rx")
    before = Path("line_anomaly.tif").stat().st_mtime_ns
    Path("next_anomaly.tif").unlink()
    run("detect", scene, "next.img", "-d", "rx", "--resume")
    assert Path("line_anomaly.tif").stat().st_mtime_ns == before
    assert Path("next_anomaly.tif").exists()
    again = run("detect", scene, "next.img", "-d", "rx", "-p", "shrinkage=0.1", "--resume", status=2)
    assert "line_anomaly.tif exists" in again.stderr


def test_only_a_run_that_is_whole_and_unchanged_needs_no_resuming(scene: Path) -> None:
    words = ("detect", scene, "-d", "rx", "--top", "7", "--polygons", "x.gpkg")
    run(*words)
    before = Path("x.gpkg").stat().st_mtime_ns
    run(*words, "--resume")
    assert Path("x.gpkg").stat().st_mtime_ns == before
    os.utime(scene, ns=(0, 0))
    assert "line_anomaly.tif exists" in run(*words[:4], "--resume", status=2).stderr
    Path("x.gpkg").unlink()
    assert "line_anomaly.tif exists" in run(*words, "--resume", status=2).stderr


def test_a_scene_that_is_no_file_is_repeated_from_any_folder(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile("line.zip", "w") as archive:
        archive.write("line.img")
        archive.write("line.hdr")
    name = f"/vsizip/{Path('line.zip').absolute()}/line.img"
    run("train", name, "-d", "rx", "-o", "m.hadgeo")
    run("detect", name, "--model", "m.hadgeo", "-o", "x.tif", "--top", "3", "--polygons", "x.gpkg")
    told = manifest("x.json")
    assert told["options"]["scenes"] == manifest("m.json")["options"]["scenes"] == [name]
    assert [Path(item["path"]).name for item in told["inputs"]] == ["m.hadgeo"]
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    result = run("detect", "--from", "../x.json", "--overwrite")
    assert "every output is identical, byte for byte" in result.stderr


def test_a_threshold_leaves_the_manifest_of_the_detection_alone(scene: Path) -> None:
    run("detect", scene, "-d", "rx")
    refused = run("threshold", "line_anomaly.tif", "--polygons", "line_anomaly.gpkg", "--overwrite", status=2)
    assert "line_anomaly.json is the manifest of another run, of `hadgeo detect`" in refused.stderr
    assert not Path("line_anomaly.gpkg").exists()
    assert "already finished" in run("detect", scene, "-d", "rx", "--resume").stderr
    run("threshold", "line_anomaly.tif", "--polygons", "found.gpkg")
    run("threshold", "line_anomaly.tif", "--p-values", "found.tif", status=2)
    run("threshold", "line_anomaly.tif", "--p-values", "found.tif", "--overwrite")


def test_names_of_gdal_stay_as_they_are(scene: Path) -> None:
    assert in_full("s3://mission/line.tif") == "s3://mission/line.tif"
    assert in_full(scene) == str(scene.absolute())


def hostile(**options: Any) -> None:
    """A manifest in a folder of its own that says more than a run has written down."""
    told = manifest("x.json")
    Path("got").mkdir()
    Path("got/x.json").write_text(json.dumps({**told, "options": {**told["options"], **options}}))


@pytest.mark.parametrize(
    ("options", "words", "option"),
    [
        ({}, [], "-o"),
        ({"output": "../precious.tif"}, [], "-o"),
        ({"output": None}, [], "-o"),
        ({"polygons": "precious.tif"}, ["-o", "y.tif"], "--polygons"),
        ({"p_values": "got/../precious.tif"}, ["-o", "y.tif"], "--p-values"),
        ({"spectra": "/somewhere/else"}, ["-o", "y.tif"], "--spectra"),
        ({"report": "precious.tif"}, ["-o", "y.tif"], "--report"),
    ],
)
def test_a_manifest_never_says_that_anything_outside_of_its_folder_is_written(
    options: dict[str, Any], words: list[str], option: str, scene: Path
) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    Path("precious.tif").write_bytes(b"years of work")
    hostile(overwrite=True, resume=True, **options)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = run("detect", "--from", "got/x.json", *words, status=2)
    assert "outside of its own folder" in result.stderr
    assert result.stderr.strip().endswith(f"say where to write with {option}")
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_manifest_never_says_that_anything_is_replaced(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    Path("got").mkdir()
    hostile_options = {"overwrite": True, "output": str(Path("got/precious.tif").absolute())}
    told = manifest("x.json")
    Path("got/x.json").write_text(json.dumps({**told, "options": {**told["options"], **hostile_options}}))
    Path("got/precious.tif").write_bytes(b"years of work")
    assert "precious.tif exists; use --overwrite" in run("detect", "--from", "got/x.json", status=2).stderr
    assert Path("got/precious.tif").read_bytes() == b"years of work"


def test_what_the_user_names_is_written_anywhere(scene: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", "x.tif")
    hostile()
    assert "identical, byte for byte" in run("detect", "--from", "got/x.json", "-o", "y.tif").stderr
