"""How well and how dearly each detector finds the targets of nine real scenes; prints Markdown tables.

Each run is `hadgeo detect` in a process of its own, as a user starts it, so its time and its peak memory are those that
a user sees. The truth is read after the map was written, and by this script alone. Medians over seeds.

    python benchmarks/accuracy.py --detectors rx bs3lnet bs3lnet:statistic=mse --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from sklearn.metrics import roc_auc_score

from hadgeo.formats.matlab import read_truth

SCENES = {
    "abu-airport-1": ("truth/abu-airport-1.mat",) * 2,
    "abu-airport-2": ("truth/abu-airport-2.mat",) * 2,
    "abu-beach-1": ("truth/abu-beach-1.mat",) * 2,
    "abu-beach-2": ("truth/abu-beach-2.mat",) * 2,
    "abu-urban-1": ("truth/abu-urban-1.mat",) * 2,
    "abu-urban-3": ("truth/abu-urban-3.mat",) * 2,
    "HYDICE": ("truth/HYDICE_norm_ScoreAD.mat",) * 2,
    "HYDICE-II": ("truth/HYDICE-II_BS3LNet.mat",) * 2,
    "San Diego (gtGCL)": ("geo/sandiego_aviris1_utm11_nad27.tif", "geo/sandiego_aviris1_gtGCL.tif"),
}


def run(scene: Path, truth: np.ndarray, detector: str, seed: int) -> tuple[float, float, float]:
    """Detect once; return AUC(D,F), seconds and peak resident memory in MB."""
    name, *parameters = detector.split(":")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.tif"
        command = [sys.executable, "-W", "ignore", "-m", "hadgeo", "detect", str(scene), "-d", name, "-o", str(out)]
        command += ["--seed", str(seed), "--quiet", *(word for p in parameters for word in ("-p", p))]
        start = time.perf_counter()
        pid = os.posix_spawn(sys.executable, command, os.environ)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"{' '.join(command)} ended with status {status}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # chips from MATLAB files have no place
            with rasterio.open(out) as dataset:
                scores = dataset.read(1)
    finite = np.isfinite(scores)
    return roc_auc_score(truth[finite], scores[finite]), seconds, usage.ru_maxrss / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "bs3lnet:statistic=mse"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"no scenes in {options.data}; set HADGEO_DATA or --data")
    print("| scene | " + " | ".join(f"{d} AUC | s | MB" for d in options.detectors) + " |")
    print("|---|" + "---|---|---|" * len(options.detectors))
    medians: dict[str, list[float]] = {d: [] for d in options.detectors}
    for scene in options.scenes:
        path, truth_path = (options.data / part for part in SCENES[scene])
        truth = read_truth(truth_path)
        cells = []
        for detector in options.detectors:
            seeds = [0] if detector.startswith("rx") else options.seeds
            runs = [run(path, truth, detector, seed) for seed in seeds]
            auc, seconds, memory = (statistics.median(column) for column in zip(*runs, strict=True))
            spread = f" ({min(r[0] for r in runs):.4f} to {max(r[0] for r in runs):.4f})" if len(runs) > 1 else ""
            medians[detector].append(auc)
            cells.append(f"{auc:.4f}{spread} | {seconds:.1f} | {memory:.0f}")
        print(f"| {scene} | " + " | ".join(cells) + " |", flush=True)
    means = (f"**{statistics.fmean(medians[d]):.4f}** | | " for d in options.detectors)
    print("| mean of the medians | " + " | ".join(means) + "|")


if __name__ == "__main__":
    main()
