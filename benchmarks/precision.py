"""What bfloat16 costs: a detector with a network is fitted once to a scene and a seed, and scores in both precisions.

Prints a Markdown table: mean AUC and AP over the scenes of a kind, of the median over the seeds of each.

    python benchmarks/precision.py --detectors bs3lnet scoread fusion --seeds 0 1 2

HADGEO_DATA, or --data, names the folder of the real scenes; --lines 0 leaves out the simulated ones.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from accuracy import SCENES
from compositions import LINES, made_lines
from scoring import metrics

from hadgeo.cube import as_source
from hadgeo.detectors.registry import make_detector
from hadgeo.formats.matlab import read_truth
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene

PRECISIONS, KEYS = ("bfloat16", "float32"), ("auc", "ap")


def measured(scene: Path, truth: np.ndarray, name: str, seed: int) -> dict[str, dict[str, float]]:
    """Figures of merit in each precision, of one fit."""
    source = as_source(scene)
    bands = usable_bands(source, None).indices
    rows, cols = source.shape[1:]
    cube = torch.from_numpy(source.read(slice(0, rows), slice(0, cols), np.asarray(bands)))
    device = torch.device("cpu")
    with ThreadPoolExecutor(2) as readers:
        fitted = make_detector(name, {"seed": seed}).fit(
            Sample(Scene(source, bands), executor=readers, device=device), device=device
        )
    found = {}
    for precision in PRECISIONS:
        detector = make_detector(name, {"seed": seed, "precision": precision}).load_state(fitted.state(), device)
        scores = detector.score(cube).double()
        scores[~cube.sum(dim=0).isfinite()] = torch.nan
        found[precision] = metrics(scores.numpy(), truth)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--detectors", nargs="+", default=["bs3lnet", "scoread", "fusion"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--scenes", nargs="*", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--lines", type=int, default=len(LINES), help="How many of the simulated lines.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| detector | scenes | AUC bfloat16 | AUC float32 | difference | AP bfloat16 | AP float32 | difference |")
    print("|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"real": {name: tuple(options.data / file for file in SCENES[name]) for name in options.scenes}}
        kinds["simulated"] = made_lines(Path(folder), options.lines)
        for detector in options.detectors:
            for kind, scenes in kinds.items():
                if scenes:
                    print(_row(detector, kind, list(scenes.values()), options.seeds), flush=True)


def _row(detector: str, kind: str, scenes: list[tuple[Path, Path]], seeds: list[int]) -> str:
    """Means over scenes, of medians over seeds."""
    medians: dict[str, list[float]] = {f"{p} {key}": [] for key in KEYS for p in PRECISIONS}
    for scene, truth_path in scenes:
        truth = read_truth(truth_path)
        runs = [measured(scene, truth, detector, seed) for seed in seeds]
        for key in KEYS:
            for p in PRECISIONS:
                medians[f"{p} {key}"].append(float(np.median([run[p][key] for run in runs])))
    cells = [f"`{detector}`", f"{len(scenes)} {kind}"]
    for key in KEYS:
        fast, exact = (float(np.mean(medians[f"{p} {key}"])) for p in PRECISIONS)
        cells += [f"{fast:.4f}", f"{exact:.4f}", f"{fast - exact:+.4f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
