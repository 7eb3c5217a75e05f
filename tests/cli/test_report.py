"""The page of a review on the command line: with a detection, a threshold, a match, and from finished files."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import hadgeo
from hadgeo.cli import cli
from hadgeo.formats.glt import open_glt
from tests.maps.raw_line import make_raw_line

pytestmark = pytest.mark.filterwarnings("ignore:.*(rows and columns are used as coordinates|no coordinate reference)")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.img"
    hadgeo.simulate(path, rows=60, cols=50, bands=20, targets=3)
    return path


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def line_of(page: Path) -> dict[str, Any]:
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text("utf-8"), flags=re.DOTALL)
    (line,) = json.loads(data)["lines"]
    return dict(line)


def test_a_detection_writes_its_page_without_polygons(scene: Path, tmp_path: Path) -> None:
    done = run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "12", "--report", tmp_path / "x.html")
    assert f"report  {tmp_path / 'x.html'}" in done.stdout
    line = line_of(tmp_path / "x.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.html", "x.json", "x.tif"]
    assert line["run"] == json.loads((tmp_path / "x.json").read_text())
    assert line["detector"] == line["evidence"]["detector"] == "rx"
    assert line["histogram"]["rule"] == "top 12"
    assert line["histogram"]["facts"]["pixels above it"] == "12"
    expected = ["hadgeo", "detect", "--output", tmp_path / "x.tif", "--detector", "rx", "--top", "12"]
    assert line["repeat"] == " ".join(map(str, [*expected, "--report", tmp_path / "x.html", scene]))


def test_the_command_in_the_page_makes_the_same_again(scene: Path, tmp_path: Path) -> None:
    words = ("detect", scene, "-d", "rx", "-p", "shrinkage=0.1", "-o", tmp_path / "x x.tif", "--pfa", "1e-2", "-q")
    run(*words, "--report", tmp_path / "x.html", "--polygons", tmp_path / "x.gpkg")
    before = (tmp_path / "x x.tif").read_bytes(), (tmp_path / "x.gpkg").read_bytes()
    again = shlex.split(line_of(tmp_path / "x.html")["repeat"])
    run(*again[1:], "--overwrite", "-q")
    assert ((tmp_path / "x x.tif").read_bytes(), (tmp_path / "x.gpkg").read_bytes()) == before


def test_a_repeated_run_is_not_told_to_differ_by_its_page(scene: Path, tmp_path: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "5", "--report", tmp_path / "x.html", "-q")
    done = run("detect", "--from", tmp_path / "x.json", "--overwrite")
    assert "identical, byte for byte" in done.stderr


def test_resume_writes_a_page_that_is_missing(scene: Path, tmp_path: Path) -> None:
    words = ("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "5", "--report", tmp_path / "x.html")
    run(*words)
    assert "already finished" in run(*words, "--resume").stderr
    (tmp_path / "x.html").unlink()
    run(*words, "--resume", "--overwrite")
    assert (tmp_path / "x.html").exists()


def test_a_threshold_and_finished_files_write_it_too(scene: Path, tmp_path: Path) -> None:
    run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "-q")
    words = ("threshold", tmp_path / "x.tif", "--top", "12", "--scene", scene, "--polygons", tmp_path / "y.gpkg")
    run(*words, "--report", tmp_path / "x.html", "-q")
    done = run("report", scene, tmp_path / "x.tif", tmp_path / "y.gpkg", "--limit", "2", "--title", "a <b>")
    assert "x_report.html" in done.stdout
    assert "2 of them with pictures" in done.stdout
    one, other = line_of(tmp_path / "x.html"), line_of(tmp_path / "x_report.html")
    assert one["features"] == other["features"]
    # The manifest beside the polygons tells the threshold.
    assert one["histogram"]["threshold"] == other["histogram"]["threshold"]
    assert other["run"]["command"] == "threshold"
    assert "<h1>a &lt;b&gt;</h1>" in (tmp_path / "x_report.html").read_text("utf-8")


def test_a_match_writes_it_too(scene: Path, tmp_path: Path) -> None:
    words = ("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "12", "--evidence", tmp_path / "x.nc")
    run(*words, "-q")
    run("match", scene, "--like", f"{tmp_path / 'x.nc'}#1", "--top", "5", "--report", tmp_path / "m.html", "-q")
    assert line_of(tmp_path / "m.html")["run"]["command"] == "match"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("threshold", "{here}/x.tif", "--report", "{here}/r.html"), "add --scene"),
        (("threshold", "{here}/x.tif", "--scene", "{scene}", "--report", ""), "name is empty"),
        (("threshold", "{here}/x.tif", "--scene", "{scene}", "--report", "{here}/none/r.html"), "does not exist"),
        (("threshold", "{here}/x.tif", "--scene", "{scene}", "--report", "{here}/x.tif"), "one of the inputs"),
        (("detect", "{scene}", "{here}/x.tif", "--report", "{here}/r.html"), "only possible for a single map"),
        (("report", "{scene}", "{here}/x.tif", "{here}/none.gpkg"), "no such file"),
        (("report", "{scene}", "{here}/x.tif", "{scene}"), "not a vector file"),
        (("report", "{scene}", "{here}/none.tif", "{here}/x.gpkg"), "no such score map"),
        (("report", "{scene}", "{here}/x.tif", "{here}/x.gpkg", "-o", "{here}/x.gpkg"), "one of the inputs"),
        (("report", "{here}/x.gpkg", "{here}/x.tif", "{here}/x.gpkg"), "x.gpkg"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(
    words: tuple[str, ...], message: str, scene: Path, tmp_path: Path
) -> None:
    run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "9", "--polygons", tmp_path / "x.gpkg", "-q")
    before = sorted(path.name for path in tmp_path.iterdir())
    filled = [word.format(here=tmp_path, scene=scene) for word in words]
    result = run(*filled, "--progress", "none", status=2)
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_line_in_the_sensors_geometry_is_shown_on_the_map(tmp_path: Path) -> None:
    line = make_raw_line(tmp_path)
    words = ["-o", tmp_path / "x.tif", "--top", "15", "--polygons", tmp_path / "x.gpkg"]
    words += ["--report", tmp_path / "x.html"]
    run("detect", line.scene, "-d", "rx", "--glt", line.glt, *words, "-q")
    run("report", line.scene, tmp_path / "x.tif", tmp_path / "x.gpkg", "--glt", line.glt, "-q")
    one, other = line_of(tmp_path / "x.html"), line_of(tmp_path / "x_report.html")
    assert one["shape"] == list(line.grid.shape) != list(hadgeo.open_cube(line.scene).shape[1:])
    # Chips are of measured pixels, and so on another grid than the outlines.
    assert one["chips"]["outlined"] is False
    for name in ("features", "outlines", "chips", "scores", "pictures", "shape"):
        assert one[name] == other[name], name
    (tile,) = one["pictures"][0]["tiles"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(tile["src"].partition(",")[2]))).convert("RGBA"))
    rows, _ = open_glt(line.glt).read(slice(0, line.grid.shape[0]))
    np.testing.assert_array_equal(shown[..., 3] > 0, rows >= 0)
    refused = run("report", line.scene, tmp_path / "x.tif", tmp_path / "x.gpkg", "-o", tmp_path / "y.html", status=2)
    assert "give the score map of this scene" in refused.stderr


def test_a_map_in_which_nothing_was_found_has_a_page(scene: Path, tmp_path: Path) -> None:
    words = ("--value", "1e30", "--merge-distance", "5", "--report", tmp_path / "x.html", "-q")
    run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", *words)
    assert line_of(tmp_path / "x.html")["features"] == []


def test_a_map_that_was_turned_is_shown_on_the_scenes_own_grid(tmp_path: Path) -> None:
    scene = tmp_path / "turned.tif"
    hadgeo.simulate(scene, rows=60, cols=50, bands=20, targets=3, rotation=20)
    words = ["--top", "9", "--polygons", tmp_path / "x.gpkg", "--report", tmp_path / "x.html", "-q"]
    run("detect", scene, "-d", "rx", "--north-up", "-o", tmp_path / "x.tif", *words)
    run("report", scene, tmp_path / "x.tif", tmp_path / "x.gpkg", "-q")
    one, other = line_of(tmp_path / "x.html"), line_of(tmp_path / "x_report.html")
    assert one["shape"] == other["shape"] == [60, 50]
    assert one["features"] == other["features"]
    assert one["outlines"] == other["outlines"]
