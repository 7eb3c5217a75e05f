"""What `hadgeo batch` prints, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "110", "LINES": "12"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("lines")
    paths = [folder / f"line{i}.img" for i in range(3)]
    for i, path in enumerate(paths):
        hadgeo.simulate(path, rows=60, cols=30, bands=16, rotation=12, targets=2, seed=i)
    return paths


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["batch", "-d", "rx", *map(str, words)], catch_exceptions=False)


def test_a_batch_says_what_it_made_of_the_anomalies(lines: list[Path], tmp_path: Path) -> None:
    words = (*lines, "-o", tmp_path / "maps", "--pfa", "0.01", "--polygons", tmp_path / "all.gpkg")
    result = run(*words)
    assert result.exit_code == 0
    assert re.fullmatch(
        rf"{tmp_path}/all\.gpkg: \d+ anomalies in EPSG:32633(; \d+ more were seen better in another flight line)?",
        result.stdout.splitlines()[1],
    )
    page = (tmp_path / "maps" / "summary.html").read_text()
    assert 'href="../all.gpkg"' in page
    assert 'src="overview.png"' in page
    told = [json.loads(line) for line in run(*words, "--progress", "json").stdout.splitlines()]
    made = told[-1]["polygons"]
    assert (made["path"], made["kept"], made["left_out"]) == (str(tmp_path / "all.gpkg"), True, {})
    assert told[-1]["overview"] == str(tmp_path / "maps" / "overview.png")
    rivals = run(*words[:-3], "0.02", "--polygons", tmp_path / "all.gpkg")
    assert (rivals.exit_code, "--overwrite" in rivals.stderr) == (2, True)


def test_a_batch_says_what_became_of_each_line_and_fails_if_one_did(lines: list[Path], tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    result = run(*lines[:2], tmp_path / "gone.img", "-o", maps, "--mosaic", maps / "mosaic.vrt")
    assert result.exit_code == 1
    assert result.stdout == (
        f"{maps}: 2 flight lines done, 0 kept from an earlier run, 1 failed; {maps}/mosaic.vrt contains 2 maps\n"
    )
    told = result.stderr.splitlines()
    assert told[0] == "the model is fitted on 1 of 3 flight lines"
    assert re.fullmatch(r"line0\.img: done [\d.]+ s, \S+ px/s", told[1])
    assert told[3] == f"gone.img: failed: {tmp_path}/gone.img: no such file; check the path"
    with rasterio.open(maps / "mosaic.vrt") as mosaic:
        assert mosaic.shape == (60, 30)
    again = run(*lines, "-o", maps, "--mosaic", maps / "mosaic.vrt", "--quiet")
    assert (again.exit_code, again.output) == (0, "")
    quiet = run(lines[0], tmp_path / "gone.img", "-o", tmp_path / "quiet", "--quiet")
    assert (quiet.exit_code, quiet.output) == (1, f"{told[3]}\n")


def test_json_lines_name_the_line(lines: list[Path], tmp_path: Path) -> None:
    result = run(*lines[:2], "-o", tmp_path / "maps", "--progress", "json", "--fit-on", "each")
    assert result.exit_code == 0
    told = [json.loads(line) for line in result.stdout.splitlines()]
    begun = [one["line"] for one in told if one["type"] == "begun"]
    assert begun == [str(path) for path in lines[:2]]
    scored = [one for one in told if one["type"] == "progress" and one["stage"] == "score" and one["percent"] == 100]
    assert [one["line"] for one in scored] == begun
    assert [(one["state"], one["rows"]) for one in told if one["type"] == "ended"] == [("done", 60)] * 2
    assert told[-1]["type"] == "result"
    assert (told[-1]["done"], told[-1]["failed"], len(told[-1]["lines"])) == (2, 0, 2)


def test_the_old_name_of_a_table_goes_on_with_a_word_about_the_new_one(lines: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "lines.csv"
    table.write_text(f"scene,output\n{lines[0]},first.tif\n{lines[1]},second.tif\n")
    old = run("--manifest", table, "-o", tmp_path / "old", "--quiet")
    assert (old.exit_code, old.stdout) == (0, "")
    assert old.stderr == "--manifest is now called --table; the old name will be removed\n"
    new = run("--table", table, "-o", tmp_path / "new", "--quiet")
    assert (new.exit_code, new.output) == (0, "")
    for name in ("first.tif", "second.tif"):
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "new" / name).read_bytes()


def test_the_old_name_of_a_table_is_not_shown() -> None:
    shown = run("--help").stdout
    assert "--table" in shown
    assert "--manifest" not in shown


def test_a_terminal_gets_a_live_table(lines: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hadgeo", "batch", "-d", "rx", *map(str, lines), str(tmp_path / "gone.img")]
    screen, terminal = pty.openpty()
    env = {**ENV, "TERM": "xterm"}
    with subprocess.Popen([*command, "-o", str(tmp_path / "maps")], env=env, stderr=terminal, stdout=terminal) as begun:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(screen, 65536)
            except OSError:
                # The other end of a terminal that was closed.
                break
    os.close(screen)
    assert begun.returncode == 1
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    last = text[text.rindex("time left, or result") :]
    assert "4 of 4 flight lines, 1 failed" in last
    assert re.search(r"line2\.img +│ done .* s, \S+ px/s", last)
    assert re.search(r"gone\.img +│ failed", last)


def test_ctrl_c_says_how_to_go_on(lines: list[Path], tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    command = [sys.executable, "-m", "hadgeo", "batch", *map(str, lines), "-o", str(maps), "--quiet"]
    slow = ["-d", "bs3lnet", "-p", "steps=100000"]
    with subprocess.Popen([*command, *slow], env=ENV, stderr=subprocess.PIPE, text=True) as begun:
        while not (maps / "batch.part").exists():
            assert begun.poll() is None
            time.sleep(0.05)
        time.sleep(1)
        start = time.monotonic()
        begun.send_signal(signal.SIGINT)
        _, errors = begun.communicate(timeout=30)
    assert begun.returncode == 130
    assert time.monotonic() - start < 20
    assert errors.startswith("hadgeo: stopped")
    assert not maps.exists()
