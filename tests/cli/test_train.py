"""Fit once, detect on many lines: the commands, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli

QUICK = ["-d", "bs3lnet", "-p", "steps=3", "-p", "crop=16"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three lines of one mission."""
    folder = tmp_path_factory.mktemp("mission")
    paths = [folder / f"line{number}.img" for number in (1, 2, 3)]
    for seed, path in enumerate(paths):
        hadgeo.simulate(path, rows=40, cols=40, bands=24, targets=4, seed=seed)
    return paths


@pytest.fixture(scope="module")
def model(lines: list[Path]) -> Path:
    path = lines[0].with_name("mission.hadgeo")
    run("train", lines[0], lines[1], "-d", "rx", "-o", path)
    return path


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def test_several_lines_with_one_model(lines: list[Path], model: Path) -> None:
    result = run("detect", *lines[1:], "--model", model)
    for line in lines[1:]:
        out = line.with_name(f"{line.stem}_anomaly.tif")
        assert str(out) in result.stdout
        with rasterio.open(out) as scores:
            assert scores.tags()["HADGEO_DETECTOR"] == "rx"
        out.unlink()


def test_train_says_what_it_wrote(lines: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "m.hadgeo"
    result = run("train", lines[0], "-o", out, *QUICK, "--seed", "5", "--progress", "json")
    last = json.loads(result.stdout.splitlines()[-1])
    assert last["type"] == "result"
    assert last["model"] == str(out)
    facts = json.loads(run("model", "info", out, "--json").stdout)
    assert facts["hash"] == last["hash"]
    assert facts["parameters"]["seed"] == 5
    assert len(facts["loss"]) == 3
    assert facts["scenes"] == ["line1.img"]


def test_model_info_for_people(model: Path) -> None:
    output = run("model", "info", model).output
    for text in ("rx, RX", "line1.img, line2.img", "verified", "of 24"):
        assert text in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "{model}", "-d", "bs3lnet"], "a model of rx, not of bs3lnet"),
        (["--model", "{model}", "-p", "shrinkage=0.5"], "fixed in a model"),
        (["--model", "{model}", "--bands", "1-5"], "fixed in a model"),
        (["--model", "{model}", "--seed", "1"], "fixed in a model"),
        (["--model", "none.hadgeo"], "no such model file"),
        (["--model", "{line}"], "not a hadgeo model"),
        (["--resample-bands"], "needs a --model with wavelengths"),
        (["{line}", "-o", "x.tif"], "names one map, but there are 2 scenes"),
    ],
)
def test_contradictions_are_one_clear_line(lines: list[Path], model: Path, words: list[str], message: str) -> None:
    before = sorted(path.name for path in model.parent.iterdir())
    given = [word.format(model=model, line=lines[1]) for word in words]
    result = run("detect", lines[2], *given, status=2)
    assert message in result.stderr
    assert result.stderr.startswith("hadgeo: error: ")
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in model.parent.iterdir()) == before


def test_a_truncated_model_is_refused(lines: list[Path], model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.hadgeo"
    broken.write_bytes(model.read_bytes()[:-100])
    result = run("detect", lines[2], "--model", broken, "-o", tmp_path / "x.tif", status=2)
    assert str(broken) in result.stderr
    assert not (tmp_path / "x.tif").exists()
