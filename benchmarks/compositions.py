"""Which composition of a fusion serves scenes that nobody has looked at? Leave one scene out; prints Markdown tables.

Each part is fitted to each scene once; compositions are sums of the evidence of their parts, so many of them can be
compared. The best one is chosen on all scenes but one, and judged on that one. What is best: the mean AUC plus the mean
AP of real scenes, plus the same of simulated lines. Labels serve this choice alone, never a fit.

    python benchmarks/compositions.py --seeds 0 1 2

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
from scoring import metrics

import hadgeo
from hadgeo.cube import as_source
from hadgeo.detectors.composition import COMPOSITIONS, Part, parse
from hadgeo.detectors.tail_table import TailTable
from hadgeo.formats.matlab import read_truth
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene

#: Candidates, beside the presets: parts alone, and sums with other weights and parts.
_K, _R = "kmeans~32(cfar_window=15)", "ring_predictor~32"
_L = "local_rx~32(ridge=0.01, cfar_window=15)"
_NETWORK, _GAUSSIAN = "bs3lnet~32 | block_rx@3~32", "block_rx~32 | rx@3(cfar_window=15)"
CANDIDATES = {
    "rx": "rx",
    "rx~32": "rx~32",
    "bs3lnet": "bs3lnet",
    "bs3lnet~32": "bs3lnet~32",
    "scoread~32": "scoread~32",
    "local_rx~32": _L,
    "`standard` before": "1.5*bs3lnet + kmeans(cfar_window=15) + 1.5*block_rx | rx@3",
    "bs3lnet~32 + kmeans~32 + 1.5 (block_rx~32, rx@3)": f"bs3lnet~32 + {_K} + 1.5*block_rx~32 | rx@3",
    "bs3lnet + block_rx~32 + local_rx~32 + kmeans~32": f"bs3lnet + block_rx~32 + {_L} + {_K}",
    "network + gaussian + kmeans": f"{_NETWORK} + {_GAUSSIAN} + {_K}",
    "1.5 network + gaussian + kmeans + ring / 2": f"1.5*{_NETWORK} + {_GAUSSIAN} + {_K} + 0.5*{_R}",
    "network + gaussian + ring / 2": f"{_NETWORK} + {_GAUSSIAN} + 0.5*{_R}",
    "standard + rx / 2": f"{_NETWORK} + {_GAUSSIAN} + 0.5*{_K} + 0.5*{_R} + 0.5*rx",
    **COMPOSITIONS,
}

#: Options of the simulated lines.
LINES = {
    "mixture": {"seed": 1},
    "sub-pixel": {"seed": 4, "target_size": (1, 1), "abundance": 0.2},
    "large": {"seed": 5, "target_size": (5, 8), "abundance": 1.0, "targets": 16},
    "noisy": {"seed": 6, "snr": 40},
    "half filled": {"seed": 7, "target_size": (2, 3), "abundance": 0.4, "targets": 30},
    "single pixels": {"seed": 8, "target_size": (1, 1), "abundance": 1.0, "targets": 30},
    "mixture, 2": {"seed": 2},
    "mixture, 3": {"seed": 3},
    "mixture, 0": {"seed": 0},
    "mixture, 9": {"seed": 9},
    "mixture, 10": {"seed": 10},
    "many bands": {"seed": 4, "snr": 300, "bands": 200},
    "pairs of pixels": {"seed": 11, "target_size": (1, 2), "abundance": 0.3, "targets": 40},
    "fairly noisy": {"seed": 12, "snr": 80, "bands": 150},
    "make demo": {"seed": 7, "rows": 256, "cols": 256, "rotation": 12, "wedges": 0.1},
}


def made_lines(folder: Path, count: int) -> dict[str, tuple[Path, Path]]:
    """The first simulated lines, made in a folder: each one's file and its truth, by name."""
    made = {}
    for name, given in list(LINES.items())[:count]:
        line = hadgeo.simulate(folder / f"{name}.tif", **{"rows": 200, "cols": 200, **given})
        made[name] = (line.path, line.truth)
    return made


def evidence_of(scene: Path, parts: set[Part], seed: int) -> dict[Part, np.ndarray]:
    """The evidence of each part in each pixel of a scene, (y, x), NaN where invalid."""
    source = as_source(scene)
    bands = usable_bands(source, None).indices
    rows, cols = source.shape[1:]
    cube = torch.from_numpy(source.read(slice(0, rows), slice(0, cols), np.asarray(bands)))
    device, found = torch.device("cpu"), {}
    with ThreadPoolExecutor(2) as readers:
        sample = Sample(Scene(source, bands), executor=readers, device=device)
        for part in parts:
            scores = part.make(seed).fit(sample.seen(part.view), device=device).score(part.view.of(cube)).double()
            scores[~cube.sum(dim=0).isfinite()] = torch.nan
            found[part] = TailTable.of(scores[scores.isfinite()]).evidence(scores).numpy()
    return found


def fused(composition: str, evidence: dict[Part, np.ndarray]) -> np.ndarray:
    """The score of a fusion, as `hadgeo.detectors.fusion` adds it up."""
    return sum(term.weight * np.maximum.reduce([evidence[part] for part in term.parts]) for term in parse(composition))


def quality(results: dict[str, dict[str, float]], scenes: list[str]) -> float:
    """What a composition is chosen by; see the module."""
    families = [[s for s in scenes if s in SCENES], [s for s in scenes if s not in SCENES]]
    return sum(np.mean([results[s]["auc"] + results[s]["ap"] for s in family]) for family in families if family)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--scenes", nargs="*", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--lines", type=int, default=len(LINES), help="How many of the simulated lines.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = {part for text in CANDIDATES.values() for term in parse(text) for part in term.parts}
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in CANDIDATES}
    with tempfile.TemporaryDirectory() as folder:
        scenes = {name: tuple(options.data / file for file in SCENES[name]) for name in options.scenes}
        scenes |= made_lines(Path(folder), options.lines)
        for name, (scene, truth_path) in scenes.items():
            truth = read_truth(truth_path)
            of_seeds = [evidence_of(scene, parts, seed) for seed in options.seeds]
            for candidate, text in CANDIDATES.items():
                each = [metrics(fused(text, evidence), truth) for evidence in of_seeds]
                results[candidate][name] = {key: float(np.median([m[key] for m in each])) for key in each[0]}
    _print(results, list(scenes))


def _print(results: dict[str, dict[str, dict[str, float]]], scenes: list[str]) -> None:
    keys = ("auc", "ap", "pd_1e-3", "pd_1e-2")
    real, lines = [s for s in scenes if s in SCENES], [s for s in scenes if s not in SCENES]
    heads = [f"{key} {kind}" for kind, family in (("real", real), ("lines", lines)) if family for key in keys]
    print("| composition | " + " | ".join(heads) + " | worst AUC, real |")
    print("|---|" + "---|" * (len(heads) + 1))
    for name, of_scene in results.items():
        means = [np.mean([of_scene[s][key] for s in family]) for family in (real, lines) if family for key in keys]
        worst = min((of_scene[s]["auc"] for s in real), default=float("nan"))
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + f" | {worst:.3f} |")
    print("\n| left out | chosen on the others | AUC there | AP there | AUC of rx | AP of rx |")
    print("|---|---|---|---|---|---|")
    for out in scenes:
        others = [s for s in scenes if s != out]
        chosen = max(results, key=lambda name: quality(results[name], others))
        there, rx = results[chosen][out], results["rx"][out]
        print(f"| {out} | {chosen} | {there['auc']:.3f} | {there['ap']:.3f} | {rx['auc']:.3f} | {rx['ap']:.3f} |")


if __name__ == "__main__":
    main()
