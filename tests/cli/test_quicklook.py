"""``hadgeo quicklook`` as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hadgeo.cli import cli
from tests.cli.test_bad_input import write_tiff
from tests.support import background

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "scene.tif", background((8, 60, 40)))
    write_tiff(tmp_path / "scores.tif", background((1, 60, 40)), tags={"HADGEO_DETECTOR": "rx"})
    return tmp_path


def test_a_picture_from_the_shell(here: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "hadgeo",
        "quicklook",
        "scene.tif",
        "scores.tif",
        "-o",
        "x.png",
        "--progress",
        "none",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # The scene sees 400 to 470 nm.
    assert done.stdout == "x.png: false colour, 460/440/410 nm\n"
    with Image.open("x.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture).std() > 20


def test_it_goes_beside_the_scene_by_default_and_tells_programs(here: Path) -> None:
    result = CliRunner().invoke(cli, ["quicklook", "scene.tif", "--rgb", "8,4,1", "--progress", "json"])
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told[-1] == {
        "type": "result",
        "picture": "scene_quicklook.png",
        "colours": "false colour, 470/430/400 nm",
        "step": 1,
        "panels": 1,
    }
    assert {"type": "progress", "stage": "composite", "done": 60, "total": 60, "percent": 100.0} in told
    assert Path("scene_quicklook.png").exists()
