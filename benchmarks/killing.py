"""Kill `hadgeo detect` at random moments, go on with `--resume`, and compare with an uninterrupted run.

Each round starts a run, kills it (SIGKILL) after a random share of the time that a whole run takes, and again after
that until a run comes to its end. Says for each round in which stages it was killed, whether the map has the same
bytes, and whether any window that was noted as finished was computed again.

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
from hadgeo.journal import Journal
from hadgeo.unfinished import part_path


def start(scene: Path, out: Path, options: list[str]) -> subprocess.Popen[str]:
    """Start a detection that tells its progress."""
    command = [sys.executable, "-m", "hadgeo", "detect", str(scene), "-o", str(out), "--progress", "json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stage_reached(told: str, out: Path) -> str:
    """Where a killed run was."""
    if out.exists():
        return "renamed"
    if (part_path(out) / "cog.tif").exists():
        return "copy"
    stages = [json.loads(line)["stage"] for line in told.splitlines() if '"stage"' in line and line.endswith("}")]
    return stages[-1] if stages else "start"


def one_round(scene: Path, out: Path, options: list[str], longest: float) -> tuple[list[str], int]:
    """Kill until a run ends; give the stages in which it was killed, and the windows that were computed twice."""
    stages: list[str] = []
    twice = 0
    while True:
        before = Journal.read(part_path(out))
        process = start(scene, out, [*options, "--resume"])
        # Every third run may end, so that a round does not go on for ever.
        patience = random.uniform(0.1, 1) * longest if len(stages) % 3 < 2 else None
        try:
            told, errors = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
            stages.append(stage_reached(told, out))
            if stages[-1] == "renamed" and not part_path(out).exists():
                return stages, twice
            continue
        if process.returncode:
            raise RuntimeError(errors)
        if before is not None:
            kept = json.loads(told.splitlines()[-1])["windows_kept"]
            twice += len(before) - kept
        return stages, twice


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
        began = time.perf_counter()
        whole = Path(folder) / "whole.tif"
        start(scene, whole, words).communicate()
        longest = time.perf_counter() - began
        print(f"a whole run takes {longest:.1f} s")
        for number in range(options.rounds):
            out = Path(folder) / f"map{number}.tif"
            stages, twice = one_round(scene, out, words, longest)
            same = out.read_bytes() == whole.read_bytes()
            left = [path.name for path in Path(folder).glob(f"map{number}.tif.part*")]
            print(f"{number + 1:>3}: killed in {', '.join(stages) or 'no stage'}; same bytes: {same}; ", end="")
            print(f"windows computed twice: {twice}; left behind: {left or 'nothing'}", flush=True)
            out.unlink()


if __name__ == "__main__":
    main()
