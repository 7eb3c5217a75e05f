"""What a command costs before and besides its work: seconds of the processor on a small line; prints a Markdown table.

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

import hadgeo

COMMANDS = {
    "info": "info line.tif --no-trial",
    "threshold": "threshold scores.tif --pfa 1e-3",
    "evaluate": "evaluate scores.tif line_truth.tif",
    "quicklook": "quicklook line.tif scores.tif -o look.png --overwrite",
    "detect -d rx": "detect line.tif -d rx -o again.tif --overwrite",
    "detect -d bs3lnet -p steps=1": "detect line.tif -d bs3lnet -p steps=1 -o again.tif --overwrite",
}


def seconds(checkout: Path, words: list[str], folder: Path) -> float:
    """Of the processor, for a command of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "hadgeo", *words], cwd=folder, env=environment, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
        print(f"| command | {' | '.join(checkouts)} |\n|{'---|' * (1 + len(checkouts))}")
        for label, words in COMMANDS.items():
            taken: dict[str, list[float]] = {where: [] for where in checkouts}
            for _ in range(options.rounds):
                for where, checkout in checkouts.items():
                    taken[where].append(seconds(checkout.resolve(), words.split(), folder))
            print(f"| {label} | {' | '.join(f'{statistics.median(values):.2f} s' for values in taken.values())} |")


if __name__ == "__main__":
    main()
