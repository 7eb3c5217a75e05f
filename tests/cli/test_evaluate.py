"""``hadgeo evaluate`` and ``hadgeo compare`` as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.metrics import METRICS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated line, its truth, and its RX map."""
    path = tmp_path_factory.mktemp("line")
    hadgeo.simulate(path / "line.tif", rows=48, cols=48, bands=24, targets=5, seed=2)
    hadgeo.detect(path / "line.tif", "rx", out=path / "rx.tif")
    hadgeo.detect(path / "line.tif", "rx", out=path / "shrunk.tif", parameters={"shrinkage": 0.5})
    return path


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for item in folder.iterdir():
        (tmp_path / item.name).write_bytes(item.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    return result


def process(*words: str) -> str:
    """Run as a program of its own, whose output is no terminal."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hadgeo", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_the_published_map_of_hydice_is_printed_with_its_figures(data_dir: Path) -> None:
    names = ("scoread/HYDICE_ScoreAD_result.mat", "truth/HYDICE_norm_ScoreAD.mat")
    text = process("evaluate", *(str(data_dir / name) for name in names))
    rows = {cells[1].strip(): cells[3] for line in text.splitlines() if len(cells := line.split("│")) > 3}
    for name, value in (("AUC(D,F)", ".99960"), ("AUC(D,tau)", ".5572"), ("AUC(F,tau)", ".0791"), ("AP", ".8955")):
        assert f"0{value} (" in rows[name]
    assert "8 / 9" in rows["objects at pixel P_F 1e-3"]


def test_each_metric_stands_beside_its_formula(here: Path) -> None:
    lines = run("evaluate", "rx.tif", "line_truth.tif", "--bootstrap", "50").stdout.splitlines()
    for metric in METRICS:
        assert any(metric.name in line and metric.formula in line for line in lines), metric.name
    assert any("/ km2" in line for line in lines)
    assert lines[-1].startswith("rx: ")


def test_truths_and_maps_stand_side_by_side(here: Path) -> None:
    (here / "again.tif").write_bytes((here / "line_truth.tif").read_bytes())
    words = ("evaluate", "rx.tif", "line_truth.tif", "again.tif", "--map", "shrunk.tif", "--bootstrap", "0")
    heading = run(*words).stdout.splitlines()[1]
    columns = ["rx / line_truth", "shrunk / line_truth", "rx / again", "shrunk / again"]
    assert [heading.index(name) for name in columns] == sorted(heading.index(name) for name in columns)
    done = json.loads(run(*words, "--json").stdout)["evaluations"]
    assert [(one["scores"], one["truth"]) for one in done] == [
        (scores, truth) for truth in ("line_truth.tif", "again.tif") for scores in ("rx.tif", "shrunk.tif")
    ]
    assert done[0]["metrics"] == done[2]["metrics"] != done[1]["metrics"]
    assert done[0]["metrics"]["ap"]["interval_95"] is None


def test_the_seed_makes_the_intervals_repeatable(here: Path) -> None:
    def intervals(*more: str) -> list[list[float]]:
        text = run("evaluate", "rx.tif", "line_truth.tif", "--bootstrap", "100", "--json", *more).stdout
        return [metric["interval_95"] for metric in json.loads(text)["evaluations"][0]["metrics"].values()]

    assert intervals() == intervals("--seed", "0") != intervals("--seed", "1")


@pytest.mark.parametrize(("name", "start"), [("roc.png", b"\x89PNG"), ("roc.svg", b"<?xml"), ("ROC.PDF", b"%PDF")])
def test_the_curves_are_drawn(name: str, start: bytes, here: Path) -> None:
    run("evaluate", "rx.tif", "line_truth.tif", "--map", "shrunk.tif", "--plot", name, "--bootstrap", "0")
    assert (here / name).read_bytes().startswith(start)
    assert not list(here.glob("*.part"))


def test_a_plot_is_replaced_on_request_alone(here: Path) -> None:
    (here / "roc.png").write_bytes(b"the plot of yesterday")
    result = CliRunner().invoke(cli, ["evaluate", "rx.tif", "line_truth.tif", "--plot", "roc.png"])
    assert (result.exit_code, (here / "roc.png").read_bytes()) == (2, b"the plot of yesterday")
    run("evaluate", "rx.tif", "line_truth.tif", "--plot", "roc.png", "--overwrite", "--bootstrap", "0")
    assert (here / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_the_leaderboard(here: Path) -> None:
    words = ("compare", "line.tif", "--truth", "line_truth.tif", "-d", "rx,rx:shrinkage=0.9", "-d", "rx:shrinkage=0.5")
    (here / "maps").mkdir()
    text = process(*words, "--bootstrap", "20", "-q", "-o", "maps", "--plot", "roc.png")
    rows = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    areas = [row[1].split()[0] for row in rows]
    assert len(rows) == 3
    assert areas == sorted(areas, reverse=True)
    assert all("(" in row[1] and float(row[4]) > 0 for row in rows)
    assert (here / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((here / "maps").iterdir())) == 3
    done = json.loads(run(*words, "--bootstrap", "0", "--json", "-q").stdout)["leaderboard"]
    assert [f"{one['metrics']['auc_d_f']['value']:.5f}" for one in done] == areas


def test_the_seed_goes_to_the_detectors_too(here: Path) -> None:
    detectors = ("-d", "rx,bs3lnet:steps=1,crop=16")
    words = ("compare", "line.tif", "--truth", "line_truth.tif", *detectors, "--bootstrap", "0", "--seed", "3")
    done = json.loads(run(*words, "--json", "-q").stdout)["leaderboard"]
    parameters = {one["detector"]: one["parameters"] for one in done}
    assert parameters == {"rx": {}, "bs3lnet": {"seed": "3", "steps": "1", "crop": "16"}}


def test_a_program_follows_a_comparison(here: Path) -> None:
    words = ("compare", "line.tif", "--truth", "line_truth.tif", "-d", "rx", "--bootstrap", "0", "--progress", "json")
    told = [json.loads(line) for line in run(*words).stdout.splitlines()]
    assert {"log", "progress", "result"} == {line["type"] for line in told}
    assert told[-1]["leaderboard"][0]["detector"] == "rx"
    assert np.isfinite(told[-1]["leaderboard"][0]["metrics"]["auc_d_f"]["value"])
