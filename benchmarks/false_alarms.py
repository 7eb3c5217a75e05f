"""How many false alarms a threshold raises against how many were asked for; prints a Markdown table.

Two simulated scenes of one seed, without and with targets, are scored by each detector, and thresholds for a rate are
calibrated in four ways. The observed rate is the share of background pixels, by the truth of the simulation, that
reach the threshold; the table shows it over the rate that was asked for, and 1 is perfect.

- whole: on the scene without targets, counted on the same pixels.
- targets: on the scene with targets, counted on its background.
- half: on the upper half of the scene without targets, counted on the lower half, which is other land.
- 1/16: on every fourth pixel of every fourth row, counted on the others: the lowest rate lies where a tail must be
  extrapolated. Likewise with targets in it.

    python benchmarks/false_alarms.py --folder /somewhere/with/1GB
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio

from hadgeo.decisions.calibration import Calibration, Rule, calibrate
from hadgeo.maps.reader import open_scores

RATES = (1e-3, 1e-4, 1e-5)
TARGETS = (0, 200)


def hadgeo(*words: object) -> None:
    """Run a command as a user does."""
    subprocess.run([sys.executable, "-m", "hadgeo", *map(str, words), "--quiet"], check=True)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def calibrated(scores: np.ndarray, folder: Path) -> Calibration:
    """Calibrate on a part of a map, as a map of its own."""
    path = folder / "part.tif"
    shape = {"height": scores.shape[0], "width": scores.shape[1], "count": 1, "dtype": "float32"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 5e5, 0, -2, 4.5e6)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as dataset:
        dataset.write(scores, 1)
    return calibrate(open_scores(path))


def ratios(calibration: Calibration, background: np.ndarray) -> list[float]:
    """The observed over the requested rates."""
    return [float((background >= calibration.threshold(Rule(pfa=rate))).mean() / rate) for rate in RATES]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Keeps scenes and maps here, and uses those that are here.")
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "scoread"])
    parser.add_argument("--side", type=int, default=2048, help="Rows and columns of the scenes.")
    parser.add_argument("--bands", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for targets in TARGETS:
            scene = folder / f"t{targets}.img"
            if not scene.exists():
                size = ("--rows", options.side, "--cols", options.side, "--bands", options.bands)
                hadgeo("simulate", scene, *size, "--targets", targets)
        truth = read(folder / f"t{TARGETS[1]}_truth.tif")
        print("| detector | calibrated on | " + " | ".join(f"{rate:g}" for rate in RATES) + " | tail | shape |")
        print("|---|---|" + "---|" * (len(RATES) + 2))
        for detector in options.detectors:
            maps = {}
            for targets in TARGETS:
                path = folder / f"{detector}_{targets}.tif"
                if not path.exists():
                    hadgeo("detect", folder / f"t{targets}.img", "-d", detector, "-o", path)
                maps[targets] = read(path)
            clean, mixed = maps.values()
            half = len(clean) // 2
            every = np.zeros(clean.shape, dtype=bool)
            every[::4, ::4] = True
            background = truth == 0
            rows = {
                "whole": (clean, clean),
                "targets": (mixed, mixed[background]),
                "half": (clean[:half], clean[half:]),
                "1/16": (clean[::4, ::4], clean[~every]),
                "1/16 with targets": (mixed[::4, ::4], mixed[background & ~every]),
            }
            for name, (part, counted) in rows.items():
                calibration = calibrated(part, Path(temporary))
                cells = " | ".join(f"{ratio:.2f}" for ratio in ratios(calibration, counted))
                tail = calibration.tail
                told = "none | " if tail is None else f"{tail.quality}, KS {tail.distance:.4f} | {tail.shape:.2f}"
                print(f"| {detector} | {name} | {cells} | {told} |", flush=True)


if __name__ == "__main__":
    main()
