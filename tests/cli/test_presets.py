"""The default detector, its compositions by name, and the papers' settings: each is one word away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rasterio
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.detectors.composition import COMPOSITIONS
from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector

#: As few training steps as there can be: what is asked here is which settings arrive.
QUICK = ("-p", "steps=2")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    hadgeo.simulate("line.img", rows=30, cols=30, bands=12, targets=2)
    return Path("line.img")


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [*map(str, words), "--progress", "none"])
    assert result.exit_code == status, result.output
    return result


def settings(path: str | Path) -> tuple[str, dict[str, Any]]:
    with rasterio.open(path) as dataset:
        tags = dataset.tags()
    return tags["HADGEO_DETECTOR"], json.loads(tags["HADGEO_PARAMETERS"])


@pytest.mark.slow
def test_detect_alone_is_the_standard_fusion(scene: Path) -> None:
    run("detect", scene)
    name, parameters = settings("line_anomaly.tif")
    assert name == "fusion"
    assert parameters["parts"] == COMPOSITIONS["standard"]


def test_the_default_is_the_standard_fusion() -> None:
    assert DEFAULT_DETECTOR == "fusion"
    assert make_detector(DEFAULT_DETECTOR).params == make_detector("fusion", {"preset": "standard"}).params


@pytest.mark.parametrize("words", [("--preset", "fast"), ("-p", "preset=fast"), ("-d", "fusion", "--preset=fast")])
def test_a_preset_is_one_word(scene: Path, words: tuple[str, ...]) -> None:
    run("detect", scene, *words)
    run("detect", scene, "-p", f"parts={COMPOSITIONS['fast']}", "-o", "parts.tif")
    assert settings("line_anomaly.tif") == settings("parts.tif")
    assert Path("line_anomaly.tif").read_bytes() == Path("parts.tif").read_bytes()


@pytest.mark.parametrize("asked", [("--preset", "paper"), ("-p", "preset=paper")], ids=["--preset", "-p"])
@pytest.mark.parametrize(
    ("detector", "paper"),
    [
        ("bs3lnet", {"statistic": "mse"}),
        ("scoread", {"noise": "independent", "normalisation": "none", "scaling": "cube"}),
    ],
    ids=["bs3lnet", "scoread"],
)
def test_the_papers_settings_are_one_word_away(
    scene: Path, detector: str, paper: dict[str, Any], asked: tuple[str, ...]
) -> None:
    quick = QUICK if detector == "bs3lnet" else (*QUICK, "-p", "evaluations=2")
    run("detect", scene, "-d", detector, *asked, *quick)
    name, parameters = settings("line_anomaly.tif")
    assert name == detector
    assert {key: parameters[key] for key in paper} == paper
    assert parameters["steps"] == 2, "what is given as well comes first"
    ours = make_detector(detector).params.model_dump(mode="json")
    assert {key: ours[key] for key in paper} != paper


@pytest.mark.parametrize(
    "words",
    [
        ("--preset", "fast"),
        ("--preset", "fast", "--seed", "3"),
        ("-p", "preset=fast"),
        ("-d", "bs3lnet", "--preset", "paper", *QUICK),
        ("-d", "scoread", *QUICK, "-p", "evaluations=2", "--preset", "paper"),
    ],
    ids=" ".join,
)
def test_a_repetition_with_a_preset_gives_the_same_bytes(scene: Path, words: tuple[str, ...]) -> None:
    run("detect", scene, *words, "-o", "x.tif")
    before, told = Path("x.tif").read_bytes(), json.loads(Path("x.json").read_text())
    asked = {"preset": "fast"} if "bs3lnet" not in words and "scoread" not in words else {"preset": "paper"}
    assert told["options"]["parameters"].items() >= asked.items()
    assert "every output is identical, byte for byte" in run("detect", "--from", "x.json", "--overwrite").stderr
    assert Path("x.tif").read_bytes() == before


def test_a_preset_given_with_a_manifest_replaces_what_was(scene: Path) -> None:
    run("detect", scene, "-p", "parts=rx", "-o", "x.tif")
    assert "y.tif differs" in run("detect", "--from", "x.json", "--preset", "fast", "-o", "y.tif").stderr
    assert settings("y.tif")[1]["parts"] == COMPOSITIONS["fast"]


def test_train_info_and_batch_take_presets_too(scene: Path) -> None:
    run("train", scene, "--preset", "fast", "-o", "m.hadgeo")
    run("batch", scene, "--preset", "fast", "-o", "maps")
    run("detect", scene, "--model", "m.hadgeo")
    assert settings("line_anomaly.tif") == settings("maps/line_anomaly.tif")
    assert settings("line_anomaly.tif")[1]["parts"] == COMPOSITIONS["fast"]
    told = CliRunner().invoke(cli, ["info", str(scene), "--preset", "fast", "--json"]).stdout
    assert json.loads(told)["detect"]["detector"] == "fusion"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "swift"), "preset must be fast or standard or thorough, not 'swift'"),
        (("-d", "bs3lnet", "--preset", "fast"), "preset must be paper, not 'fast'"),
        (("-d", "rx", "--preset", "fast"), "detector rx has no parameter 'preset'"),
    ],
)
def test_a_preset_that_is_none_is_refused(scene: Path, words: tuple[str, ...], message: str) -> None:
    result = run("detect", scene, *words, status=2)
    assert message in result.stderr
    assert not Path("line_anomaly.tif").exists()


def test_the_list_of_detectors_says_which_is_the_default() -> None:
    lines = CliRunner().invoke(cli, ["detectors"]).output.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(", the default")] == ["fusion"]


def test_the_help_names_the_default_and_its_presets() -> None:
    for command in ("detect", "train", "batch", "info"):
        told = " ".join(CliRunner().invoke(cli, [command, "--help"], terminal_width=200).output.split())
        assert "[default: fusion]" in told
        assert "--preset NAME" in told
        assert "fast, standard or thorough" in told
