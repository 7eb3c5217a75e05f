"""Fit once, detect on a whole mission: one model on five other lines, against fitting each of them.

The lines are simulated: flights over one place, with the same materials under other noise and other targets; or, with
`--other-places`, over other land as well. Times are of `hadgeo` processes, start-up included: one that detects on all
five lines with the model, and one that fits and detects on all five.

    python benchmarks/mission.py --dir /somewhere/with/space --detectors bs3lnet scoread rx
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from sklearn.metrics import roc_auc_score

LINES = 6


def hadgeo(*words: str | Path) -> float:
    """Run a command and return its seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hadgeo", *map(str, words), "--quiet"], check=True)
    return time.perf_counter() - start


def auc(line: Path) -> float:
    """ROC AUC of a line's map."""
    with (
        rasterio.open(line.with_name(f"{line.stem}_anomaly.tif")) as scores,
        rasterio.open(line.with_name(f"{line.stem}_truth.tif")) as truth,
    ):
        score, target = scores.read(1), truth.read(1)
    seen = np.isfinite(score) & (target != 255)
    return float(roc_auc_score(target[seen] == 1, score[seen]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder for about 80 MB of lines at the default size")
    parser.add_argument("--detectors", nargs="+", default=["bs3lnet", "scoread", "rx"])
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--cols", type=int, default=250)
    parser.add_argument("--bands", type=int, default=60)
    parser.add_argument("--other-places", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        which = "--seed" if options.other_places else "--flight"
        lines = [Path(folder) / f"line{i}.img" for i in range(LINES)]
        for number, line in enumerate(lines):
            size = ("--rows", options.rows, "--cols", options.cols, "--bands", options.bands)
            hadgeo("simulate", line, *map(str, size), "--targets", "60", which, str(number))
        first, others = lines[0], lines[1:]
        print("| detector | " + " | ".join(f"line {i}" for i in range(1, LINES)) + " | five lines s |")
        print("|---|" + "---|" * LINES)
        for detector in options.detectors:
            model = Path(folder) / f"{detector}.hadgeo"
            trained = hadgeo("train", first, "-d", detector, "-o", model)
            applied = hadgeo("detect", *others, "--model", model, "--overwrite")
            once = [auc(line) for line in others]
            fitted = hadgeo("detect", *others, "-d", detector, "--overwrite")
            each = [auc(line) for line in others]
            row = " | ".join(f"{a:.4f}" for a in once)
            print(f"| {detector}, model of line 0 | {row} | {applied:.1f} (and {trained:.1f} to train once) |")
            print(f"| {detector}, fitted on each | " + " | ".join(f"{a:.4f}" for a in each) + f" | {fitted:.1f} |")
            worst = max(abs(a - b) for a, b in zip(once, each, strict=True))
            print(f"| {detector}, largest difference | {worst:.4f} |" + " |" * LINES, flush=True)


if __name__ == "__main__":
    main()
