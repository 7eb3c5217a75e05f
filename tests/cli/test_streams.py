"""Standard streams that are full or closed: the map is finished, and what cannot be told is said once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hadgeo

ROOT = Path(__file__).parents[2]

FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=30, cols=20, bands=10, targets=1)
    return path


def run(words: str, redirected: str) -> subprocess.CompletedProcess[str]:
    """Run `hadgeo` under a shell that redirects its streams."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = f'"{sys.executable}" -m hadgeo {words} {redirected}'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, check=False)


LOST = [
    (">/dev/full", "hadgeo: warning: standard output cannot be written (No space left on device); "),
    (">&-", ""),
    ("2>/dev/full", ""),
    ("2>&-", ""),
    (">/dev/full 2>&1", ""),
    ("<&- >&- 2>&-", ""),
    ("--progress json >/dev/full", "hadgeo: warning: standard output cannot be written (No space left on device); "),
]


@pytest.mark.parametrize(("redirected", "told"), LOST)
def test_a_map_is_finished_although_nothing_can_be_told(redirected: str, told: str, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    done = run(f"detect {line} -d rx -o {out} --polygons {tmp_path / 'a.geojson'}", redirected)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"map.tif", "map.json", "a.geojson"}
    assert "Traceback" not in done.stderr
    assert done.stderr.count("hadgeo: warning: standard output") == bool(told)
    assert told in done.stderr
    again = tmp_path / "again.tif"
    assert run(f"detect {line} -d rx -q -o {again}", "").returncode == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_reader_that_goes_away_does_not_end_a_run(line: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hadgeo", "detect", str(line), "-o", str(tmp_path / "map.tif"), "-d", "rx"]
    process = subprocess.Popen(
        [*command, "--progress", "json", "--window", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stderr:
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0, told
    assert told.count("standard output cannot be written (Broken pipe)") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"map.tif", "map.json"}


@pytest.mark.parametrize("words", ["info {line}", "info {line} --json", "detectors", "versions"])
def test_what_was_asked_for_and_cannot_be_printed_is_one_error(words: str, line: Path) -> None:
    done = run(words.format(line=line), ">/dev/full")
    assert done.returncode == 1
    lines = [text for text in done.stderr.splitlines() if not text.startswith("hadgeo: warning: ")]
    assert lines == [
        "hadgeo: error: standard output cannot be written (No space left on device); redirect it elsewhere"
    ]
