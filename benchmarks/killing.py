"""Kill `hadgeo detect` at random moments, go on with `--resume`, and compare with an uninterrupted run.

Each round starts a run and kills it (SIGKILL) at a random moment of a random stage: in the fit, while windows are
scored, or while the map is made of them, up to its rename. It does so twice, and then lets the third run end. Says in
which stages runs were killed, whether the map has the same bytes, and whether any window that was noted as finished was
computed again.

    python benchmarks/killing.py --rounds 20
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hadgeo
from hadgeo.maps.part_folder import JOURNAL, part_path


def start(scene: Path, out: Path, options: list[str]) -> subprocess.Popen[str]:
    """Start a detection that tells its progress."""
    command = [sys.executable, "-m", "hadgeo", "detect", str(scene), "-o", str(out), "--progress", "json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str], out: Path) -> str:
    """Kill a run at a random moment, unless it ends before; say where it was."""
    stage, share = random.choice(["statistics", "score", "write"]), random.random()
    for line in process.stdout:
        told = json.loads(line)
        if stage == "write" and told.get("stage") == "score" and told["percent"] == 100:
            time.sleep(share * 1.5)
            break
        if told.get("stage") == stage and told["percent"] >= 100 * share:
            break
    process.kill()
    process.communicate()
    if process.returncode == 0:
        return "nothing: it had ended"
    if out.exists():
        return "cleaning up"
    files = {path.name for path in part_path(out).iterdir()} if part_path(out).exists() else set()
    return "COG copy" if "cog.tif" in files else "overviews" if "overview1.tif" in files else stage


def noted(out: Path) -> list[str]:
    """The windows in a run's journal, in the order in which they were finished."""
    journal = part_path(out) / JOURNAL
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [line for line in lines if '"crc32"' in line]


def one_round(scene: Path, out: Path, options: list[str]) -> tuple[list[str], int]:
    """Kill twice, then let a run end; give where it was killed, and how many windows were computed twice."""
    killed, twice = [], 0
    for last in (False, False, True):
        if out.exists() and not part_path(out).exists():
            break
        before = noted(out)
        process = start(scene, out, [*options, "--resume"])
        if not last:
            killed.append(kill(process, out))
            continue
        told, _ = process.communicate()
        twice = len(before) - json.loads(told.splitlines()[-1]).get("windows_kept", len(before))
    return killed, twice


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default="rx")
    options = parser.parse_args()
    random.seed(options.seed)
    words = ["-d", options.detector, "--window", "25"]
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "line.img"
        hadgeo.simulate(scene, rows=4000, cols=400, bands=40, rotation=10, wedges=0.2, seed=1)
        whole = Path(folder) / "whole.tif"
        start(scene, whole, words).communicate()
        for number in range(options.rounds):
            out = Path(folder) / f"map{number}.tif"
            stages, twice = one_round(scene, out, words)
            same = out.read_bytes() == whole.read_bytes()
            left = [path.name for path in Path(folder).glob(f"map{number}.tif.part*")]
            print(f"{number + 1:>3}: killed in {', '.join(stages)}; same bytes: {same}; ", end="")
            print(f"windows computed twice: {twice}; left behind: {left or 'nothing'}", flush=True)
            out.unlink()


if __name__ == "__main__":
    main()
