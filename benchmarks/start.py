"""What a command costs before and besides its work: seconds of the processor on a small line; prints a Markdown table.

Of commands that say what they are doing, also those until the first line of it.

    python benchmarks/start.py --rounds 5 --against ../hadgeo-before

--against names another checkout, whose commands take turns with those of this one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

import hadgeo

COMMANDS = {
    "info": "info line.tif --no-trial",
    "threshold": "threshold scores.tif --pfa 1e-3",
    "evaluate": "evaluate scores.tif line_truth.tif",
    "quicklook": "quicklook line.tif scores.tif -o look.png --overwrite",
    "detect -d rx": "detect line.tif -d rx -o again.tif --overwrite --progress json",
    "detect -d bs3lnet -p steps=1": "detect line.tif -d bs3lnet -p steps=1 -o again.tif --overwrite --progress json",
}


def seconds(checkout: Path, words: list[str], folder: Path) -> tuple[float, float]:
    """Of the processor, for a command of a checkout: all, and until it has written something."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "hadgeo", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        assert running.stdout is not None
        told = running.stdout.read(1)
        used = psutil.Process(running.pid).cpu_times()
        told += running.stdout.read()
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {told.decode(errors='replace')}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, used.user + used.system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    checkouts = {"here": Path(__file__).parents[1]} | ({"against": options.against} if options.against else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hadgeo.simulate(folder / "line.tif", rows=100, cols=100, bands=60)
        hadgeo.detect(folder / "line.tif", "rx", out=folder / "scores.tif")
        headers = [f"{where}{told}" for where in checkouts for told in ("", ", first line")]
        print(f"| command | {' | '.join(headers)} |\n|{'---|' * (1 + len(headers))}")
        for label, words in COMMANDS.items():
            taken: dict[str, list[tuple[float, float]]] = {where: [] for where in checkouts}
            for _ in range(options.rounds):
                for where, checkout in checkouts.items():
                    taken[where].append(seconds(checkout.resolve(), words.split(), folder))
            columns = [part for values in taken.values() for part in zip(*values, strict=True)]
            print(f"| {label} | {' | '.join(f'{statistics.median(column):.2f} s' for column in columns)} |", flush=True)


if __name__ == "__main__":
    main()
