"""How many false alarms a threshold raises against how many were asked for; prints a Markdown table.

Simulated scenes of three seeds, each without and with targets, are scored by each detector, and thresholds for a rate
are calibrated in five ways. The observed rate is the share of background pixels, by the truth of the simulation, that
reach the threshold; the table shows it over the rate that was asked for, and 1 is perfect.

- whole: on the scene without targets, counted on the same pixels.
- targets: on the scene with targets, counted on its background.
- half: on the upper half of the scene without targets, counted on the lower half, which is other land; and the other
  way round.
- 1/16: on every fourth pixel of every fourth row, counted on the others, for four of the sixteen ways to choose them:
  the lowest rate lies where a tail must be extrapolated. Likewise with targets in it.

A rate of 1e-5 is a handful of pixels of one scene, and those lie side by side, so one figure of one scene is largely
luck. A row adds up the false alarms of all its scenes and ways, and says between what the ratio at the lowest rate lies
in each of them.

Then real scenes, where the background is what their truth leaves:

- whole: calibrated on the scene with its targets, counted on the background.
- 1/4: calibrated on the background's every second pixel of every second row, and counted on its others; together for
  the four ways of choosing them, as the scenes are small.

    python benchmarks/false_alarms.py --folder /somewhere/with/5GB --data ../shared/data
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

#: First rows and columns of the choices of every fourth pixel of every fourth row.
CHOICES = ((0, 0), (2, 1), (1, 3), (3, 2))


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


def ways(
    clean: np.ndarray, mixed: np.ndarray, background: np.ndarray
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """For each row of the table, the scores to calibrate on and those to count.

    Args:
        clean: The map of a scene without targets.
        mixed: That of the same scene with targets.
        background: Where the latter has none.
    """
    half = len(clean) // 2
    upper, lower = clean[:half], clean[half:]
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        "whole": [(clean, clean)],
        "targets": [(mixed, mixed[background])],
        "half": [(upper, lower), (lower, upper)],
        "1/16": [],
        "1/16 with targets": [],
    }
    for row, col in CHOICES:
        others = np.ones(clean.shape, dtype=bool)
        others[row::4, col::4] = False
        found["1/16"].append((clean[row::4, col::4], clean[others]))
        found["1/16 with targets"].append((mixed[row::4, col::4], mixed[background & others]))
    return found


def simulated_scenes(detectors: list[str], scenes: dict[int, tuple[Path, Path]], folder: Path, temporary: Path) -> None:
    """Print a table of false alarms on simulated backgrounds.

    Args:
        detectors: With their parameters, as in `scored`.
        scenes: By seed, the scene without targets and the one with them.
        folder: For maps.
        temporary: For parts of maps.
    """
    print("| detector | calibrated on | " + " | ".join(f"{rate:g}" for rate in RATES) + f" | each at {RATES[-1]:g} |")
    print("|---|---|" + "---|" * (len(RATES) + 1))
    for detector in detectors:
        counted: dict[str, list[tuple[np.ndarray, int]]] = {}
        for seed, (without, having) in scenes.items():
            clean, mixed = (
                read(scored(scene, detector, folder, f"{seed}_{number}"))
                for number, scene in enumerate((without, having))
            )
            background = read(having.with_name(f"{having.stem}_truth.tif")) == 0
            for row, pairs in ways(clean, mixed, background).items():
                for part, rest in pairs:
                    counted.setdefault(row, []).append(_alarms(calibrated(part, temporary), rest))
        for row, found in counted.items():
            alarms, pixels = np.sum([a for a, _ in found], axis=0), sum(n for _, n in found)
            together = " | ".join(f"{count / pixels / rate:.2f}" for count, rate in zip(alarms, RATES, strict=True))
            each = sorted(a[-1] / n / RATES[-1] for a, n in found)
            print(f"| {detector} | {row} | {together} | {each[0]:.2f} to {each[-1]:.2f} |", flush=True)


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
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="Of the simulated scenes.")
    parser.add_argument("--side", type=int, default=2048, help="Rows and columns of the scenes.")
    parser.add_argument("--bands", type=int, default=40)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        scenes: dict[int, tuple[Path, Path]] = {}
        for seed in options.seeds:
            scenes[seed] = (folder / f"s{seed}t{TARGETS[0]}.img", folder / f"s{seed}t{TARGETS[1]}.img")
            for scene, targets in zip(scenes[seed], TARGETS, strict=True):
                if not scene.exists():
                    size = ("--rows", options.side, "--cols", options.side, "--bands", options.bands)
                    hadgeo("simulate", scene, *size, "--targets", targets, "--seed", seed)
        simulated_scenes(options.detectors, scenes, folder, Path(temporary))
        if options.data.is_dir():
            real_scenes(options.detectors, options.data, folder, Path(temporary))


if __name__ == "__main__":
    main()
