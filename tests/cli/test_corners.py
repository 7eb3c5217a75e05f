"""Options that a newcomer tries."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import hadgeo
from hadgeo.cli import cli


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    hadgeo.simulate("line.img", rows=40, cols=40, bands=20, targets=3)
    return "line.img"


def test_a_folder_for_maps_is_made_and_notes_can_be_left_out(scene: str) -> None:
    words = ["compare", scene, "--truth", "line_truth.tif", "-d", "rx", "--bootstrap", "0", "-o", "maps", "-q"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    words = ["evaluate", "maps/line_rx.tif", "line_truth.tif", "--bootstrap", "0"]
    aloud, quiet = (CliRunner().invoke(cli, [*words, *more]).stdout for more in ([], ["-q"]))
    assert "allows not a single false alarm" in aloud
    assert "allows not a single false alarm" not in quiet
    assert "AUC(D,F)" in quiet


def test_a_preset_beside_a_model_is_called_by_its_name(scene: str) -> None:
    hadgeo.train(scene, "rx", out="m.hadgeo")
    told = CliRunner().invoke(cli, ["detect", scene, "--model", "m.hadgeo", "--preset", "fast"]).stderr
    assert "--parameter or --preset is fixed in a model" in told


def test_a_batch_resumes_whether_it_is_asked_to_or_not(scene: str) -> None:
    for _ in range(2):
        result = CliRunner().invoke(cli, ["batch", scene, "-o", "maps", "-d", "rx", "--resume", "-q"])
        assert result.exit_code == 0, result.output


def test_a_threshold_says_what_background_it_takes(scene: str) -> None:
    hadgeo.detect(scene, "rx")
    words = ["threshold", "line_anomaly.tif", "--scene", scene, "--evidence", "x.nc", "--progress", "none"]
    assert "the expected background is the median of the surroundings" in CliRunner().invoke(cli, words).stderr
