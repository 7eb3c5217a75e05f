"""How well and how dearly each detector finds the targets of real scenes; prints a Markdown table for each.

Each run is `hadgeo detect` in a process of its own, as a user starts it, so its time and its peak memory are those that
a user sees. The truth is read after the map was written, and by this script alone. Medians over seeds.

    python benchmarks/accuracy.py --detectors rx fusion fusion:preset=fast bs3lnet:statistic=mse --seeds 0 1 2

HADGEO_DATA, or --data, names the folder of the nine scenes. Scenes of your own: --scene SCENE TRUTH, repeatable.
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
from scoring import metrics

from hadgeo.formats.matlab import read_truth
from hadgeo.metrics import object_curve

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


#: What is measured of a run, and how it is printed.
COLUMNS = {
    "auc": ("AUC", ".4f"),
    "ap": ("AP", ".3f"),
    "pd_1e-3": ("P_D at 1e-3", ".3f"),
    "pd_1e-2": ("P_D at 1e-2", ".3f"),
    "objects": ("objects at 1e-3", ".2f"),
    "false_alarms": ("false groups at 1e-3", ".0f"),
    "false_alarms_km2": ("per km²", ".0f"),
    "seconds": ("s", ".1f"),
    "memory": ("MB", ".0f"),
}


def run(scene: Path, truth: np.ndarray, detector: str, seed: int) -> dict[str, float]:
    """Detect once, and measure each of `COLUMNS`; false alarms per km² are NaN where a map has no place."""
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
                pixel = abs(dataset.transform.determinant) if dataset.crs else float("nan")
    curve = object_curve(scores, truth)
    at = curve.rates.index(1e-3)
    return {
        **metrics(scores, truth),
        "objects": curve.detected[at],
        "false_alarms": curve.false_alarms[at],
        "false_alarms_km2": curve.false_alarms[at] / (np.isfinite(scores).sum() * pixel / 1e6),
        "seconds": seconds,
        "memory": usage.ru_maxrss / 1000,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "fusion"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--scene", nargs=2, type=Path, action="append", default=[], metavar=("SCENE", "TRUTH"))
    options = parser.parse_args()
    scenes = {scene.stem: (scene, truth) for scene, truth in options.scene}
    if not scenes:
        if not options.data.is_dir():
            raise SystemExit(f"no scenes in {options.data}; set HADGEO_DATA or --data, or name your own with --scene")
        scenes = {name: tuple(options.data / part for part in SCENES[name]) for name in options.scenes}
    for detector in options.detectors:
        _table(detector, scenes, [0] if detector.startswith("rx") else options.seeds)


def _table(detector: str, scenes: dict[str, tuple[Path, Path]], seeds: list[int]) -> None:
    print(f"\n**{detector}**, medians over {len(seeds)} seeds\n" if len(seeds) > 1 else f"\n**{detector}**\n")
    print("| scene | " + " | ".join(head for head, _ in COLUMNS.values()) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    rows = []
    for name, (scene, truth_path) in scenes.items():
        truth = read_truth(truth_path)
        runs = [run(scene, truth, detector, seed) for seed in seeds]
        rows.append({key: statistics.median(one[key] for one in runs) for key in COLUMNS})
        print(f"| {name} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | {_cells({key: statistics.fmean(row[key] for row in rows) for key in COLUMNS})} |")
    print(f"| worst AUC | {min(row['auc'] for row in rows):.4f} |" + " |" * (len(COLUMNS) - 1))


def _cells(values: dict[str, float]) -> str:
    return " | ".join("" if np.isnan(values[key]) else f"{values[key]:{form}}" for key, (_, form) in COLUMNS.items())


if __name__ == "__main__":
    main()
