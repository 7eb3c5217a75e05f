"""The memory that a run says it takes at most is what it does take at most, with as many bands as sensors have."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hadgeo


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "line.img"
    hadgeo.simulate(path, rows=100, cols=100, bands=400, targets=4, seed=1)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is counted in other ways")
@pytest.mark.parametrize(
    "options",
    [
        ("local_rx",),
        ("ring_predictor",),
        ("block_rx",),
    ],
    ids=" ".join,
)
def test_a_run_takes_no_more_memory_than_it_says(options: tuple[str, ...], line: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hadgeo", "detect", str(line), "-d", *options, "-o", str(tmp_path / "map.tif")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    (said,) = re.findall(r"expected: at most (\S+) GB", done.stdout + done.stderr)
    taken = json.loads((tmp_path / "map.json").read_text("utf-8"))["peak_memory_bytes"]
    # What is said has one decimal.
    assert taken <= (float(said) + 0.05) * 1e9
