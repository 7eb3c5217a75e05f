"""How many false alarms a threshold raises against how many were asked for; prints a Markdown table.

Two simulated scenes of one seed, without and with targets, are scored by each detector, and thresholds for a rate are
calibrated in four ways. The observed rate is the share of background pixels, by the truth of the simulation, that
reach the threshold; the table shows it over the rate that was asked for, and 1 is perfect.

- whole: on the scene without targets, counted on the same pixels.
- targets: on the scene with targets, counted on its background.
- half: on the upper half of the scene without targets, counted on the lower half, which is other land.
- 1/16: on every fourth pixel of every fourth row, counted on the others: the lowest rate lies where a tail must be
  extrapolated. Likewise with targets in it.

Then real scenes, where the background is what their truth leaves:

- whole: calibrated on the scene with its targets, counted on the background.
- 1/4: calibrated on the background's every second pixel of every second row, and counted on its others; together for
  the four ways of choosing them, as the scenes are small.

    python benchmarks/false_alarms.py --folder /somewhere/with/1GB --data ../shared/data
    python benchmarks/false_alarms.py --detectors fusion fusion:preset=fast "fusion:parts=block_rx@3~32"
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from accuracy import SCENES
from rasterio.errors import NotGeoreferencedWarning

from hadgeo.decisions.calibration import Calibration, Rule, calibrate
from hadgeo.formats.matlab import read_truth
from hadgeo.maps.reader import open_scores

RATES = (1e-3, 1e-4, 1e-5)
TARGETS = (0, 200)


def hadgeo(*words: object) -> None:
    """Run a command as a user does."""
    subprocess.run([sys.executable, "-m", "hadgeo", *map(str, words), "--quiet"], check=True)


def scored(scene: Path, detector: str, folder: Path, name: str) -> Path:
    """The map of a scene by a detector, whose parameters follow after colons, as in fusion:preset=fast; made once."""
    path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', detector)}_{name}.tif"
    if not path.exists():
        named, *parameters = detector.split(":")
        hadgeo("detect", scene, "-d", named, "-o", path, *(word for p in parameters for word in ("-p", p)))
    return path


def read(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # chips from MATLAB files have no place
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


def real_scene(scores: np.ndarray, truth: np.ndarray, folder: Path) -> dict[str, tuple[np.ndarray, int]]:
    """For each way to calibrate, false alarms at each rate and background pixels that could have been one."""
    background = np.where(truth > 0, np.nan, scores).astype(np.float32)
    whole = _alarms(calibrated(scores, folder), background)
    parts = []
    for row, col in np.ndindex(2, 2):
        counted = background.copy()
        counted[row::2, col::2] = np.nan
        parts.append(_alarms(calibrated(background[row::2, col::2], folder), counted))
    return {"whole": whole, "1/4": (sum(alarms for alarms, _ in parts), sum(pixels for _, pixels in parts))}


def _alarms(calibration: Calibration, scores: np.ndarray) -> tuple[np.ndarray, int]:
    alarms = [int((scores >= calibration.threshold(Rule(pfa=rate))).sum()) for rate in RATES]
    return np.array(alarms), int(np.isfinite(scores).sum())


def real_scenes(detectors: list[str], data: Path, folder: Path, temporary: Path) -> None:
    """Print a table of false alarms on real backgrounds."""
    print("\n| detector | scene | calibrated on | pixels counted | " + " | ".join(f"{rate:g}" for rate in RATES) + " |")
    print("|---|---|---|---|" + "---|" * len(RATES))
    for detector in detectors:
        total: dict[str, tuple[np.ndarray, int]] = {}
        for name, (scene, truth) in SCENES.items():
            path = scored(data / scene, detector, folder, name.split()[0])
            for way, (alarms, pixels) in real_scene(read(path), read_truth(data / truth), temporary).items():
                before = total.get(way, (np.zeros(len(RATES)), 0))
                total[way] = before[0] + alarms, before[1] + pixels
                told(f"{detector} | {name} | {way}", alarms, pixels)
        for way, (alarms, pixels) in total.items():
            told(f"{detector} | all together | {way}", alarms, pixels)


def told(row: str, alarms: np.ndarray, pixels: int) -> None:
    """Print the observed over the requested rates, and the false alarms that were counted."""
    cells = " | ".join(
        f"{count / pixels / rate:.2f} ({count:.0f} px)" for count, rate in zip(alarms, RATES, strict=True)
    )
    print(f"| {row} | {pixels:,} | {cells} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Keeps scenes and maps here, and uses those that are here.")
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "scoread", "fusion"])
    parser.add_argument("--side", type=int, default=2048, help="Rows and columns of the scenes.")
    parser.add_argument("--bands", type=int, default=40)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
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
                maps[targets] = read(scored(folder / f"t{targets}.img", detector, folder, str(targets)))
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
                fit = "none | " if tail is None else f"{tail.quality}, KS {tail.distance:.4f} | {tail.shape:.2f}"
                print(f"| {detector} | {name} | {cells} | {fit} |", flush=True)
        if options.data.is_dir():
            real_scenes(options.detectors, options.data, folder, Path(temporary))


if __name__ == "__main__":
    main()
