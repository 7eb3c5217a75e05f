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
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    for side in (48, 100):
        hadgeo.simulate(folder / f"{side}.img", rows=side, cols=side, bands=400, targets=4, seed=1)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is counted in other ways")
@pytest.mark.parametrize(
    ("options", "side"),
    [
        ("local_rx", 100),
        ("ring_predictor", 100),
        ("block_rx", 100),
        # Many small matrices at a time on each core.
        ("local_rx -p covariance=local -p outer_window=25", 48),
        ("block_rx -p block=4 -p margin=64", 48),
    ],
)
def test_a_run_takes_no_more_memory_than_it_says(options: str, side: int, lines: Path, tmp_path: Path) -> None:
    scene, out = lines / f"{side}.img", tmp_path / "map.tif"
    done = subprocess.run(
        [sys.executable, "-m", "hadgeo", "detect", str(scene), "-d", *options.split(), "-o", str(out)],
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
