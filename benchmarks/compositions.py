"""Which composition of a fusion serves scenes that nobody has looked at? Leave one scene out; prints Markdown tables.

Each part is fitted to each scene once; compositions are sums of the evidence of their parts, so many of them can be
compared. The best one is chosen on all scenes but one, and judged on that one. What is best: the mean AUC plus the mean
AP of real scenes, plus the same of simulated lines, plus the same of lines in which each target is the only one of its
kind. Labels serve this choice alone, never a fit.

    python benchmarks/compositions.py --seeds 0 1 2

HADGEO_DATA, or --data, names the folder of the real scenes; --lines 0 leaves out the simulated ones.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import SCENES
from scoring import metrics

import hadgeo
from hadgeo.compute.views import View
from hadgeo.cube import as_source
from hadgeo.detectors.base import Detector
from hadgeo.detectors.composition import COMPOSITIONS, Part, Term, parse
from hadgeo.detectors.fusion import _LONE
from hadgeo.detectors.recurrence import Recurrence
from hadgeo.detectors.tail_table import ExponentialTable, PowerTable, TailTable
from hadgeo.formats.matlab import read_truth
from hadgeo.metrics import object_curve
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene, valid_pixels

CPU = torch.device("cpu")

#: Candidates, beside the presets: parts alone, and sums with other weights and parts.
_K, _R = "kmeans~32(cfar_window=15)", "ring_predictor~32"
_L = "local_rx~32(ridge=0.01, cfar_window=15)"
_NETWORK, _GAUSSIAN = "bs3lnet~32 | block_rx@3~32", "block_rx~32 | rx@3(cfar_window=15)"
_BEFORE, _AGAIN = f"{_NETWORK} + {_GAUSSIAN} + 0.5*{_K} + 0.5*{_R}", "recurrence~32"
CANDIDATES = {
    "rx": "rx",
    "rx~32": "rx~32",
    "rx + recurrence": f"rx + {_AGAIN}",
    "bs3lnet": "bs3lnet",
    "bs3lnet~32": "bs3lnet~32",
    "bs3lnet~32 + recurrence": f"bs3lnet~32 + {_AGAIN}",
    "scoread~32": "scoread~32",
    "local_rx~32": _L,
    "standard without recurrence": _BEFORE,
    "standard, recurrence": f"{_BEFORE} + {_AGAIN}",
    "standard, 3 recurrence": f"{_BEFORE} + 3*{_AGAIN}",
    "standard, 4 recurrence": f"{_BEFORE} + 4*{_AGAIN}",
    "network + gaussian + kmeans + 2 recurrence": f"{_NETWORK} + {_GAUSSIAN} + {_K} + 2*{_AGAIN}",
    "network + gaussian + ring / 2 + 2 recurrence": f"{_NETWORK} + {_GAUSSIAN} + 0.5*{_R} + 2*{_AGAIN}",
    "network + gaussian + 2 recurrence": f"{_NETWORK} + {_GAUSSIAN} + 2*{_AGAIN}",
    "bs3lnet~32 + gaussian + kmeans / 2 + 2 recurrence": f"bs3lnet~32 + {_GAUSSIAN} + 0.5*{_K} + 2*{_AGAIN}",
    "bs3lnet~32 + block_rx~32 + kmeans~32 + 2 recurrence": f"bs3lnet~32 + block_rx~32 + {_K} + 2*{_AGAIN}",
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
    # Three targets, each of another material.
    **{f"lone targets, {seed}": {"seed": seed, "targets": 3} for seed in range(30, 42)},
}


def made_lines(folder: Path, count: int) -> dict[str, tuple[Path, Path]]:
    """The first simulated lines, made in a folder: each one's file and its truth, by name."""
    made = {}
    for name, given in list(LINES.items())[:count]:
        line = hadgeo.simulate(folder / f"{name}.tif", **{"rows": 200, "cols": 200, **given})
        made[name] = (line.path, line.truth)
    return made


class Evidence:
    """The evidence of parts in each pixel of a scene.

    Args:
        scene: The scene.
        parts: The parts that score by themselves.
        seed: Of those that draw at random.
        executor: Reads the scene.
    """

    def __init__(self, scene: Path, parts: set[Part], seed: int, executor: Executor) -> None:
        source = as_source(scene)
        bands = usable_bands(source, None).indices
        rows, cols = source.shape[1:]
        self._cube = torch.from_numpy(source.read(slice(0, rows), slice(0, cols), np.asarray(bands)))
        self._sample = Sample(Scene(source, bands), executor=executor, device=CPU)
        self._of = {}
        for part in parts:
            detector = part.make(seed).fit(self._sample.seen(part.view), device=CPU)
            self._of[part] = self._counted(detector, part.view, PowerTable)

    def _counted(self, detector: Detector[Any], view: View, kind: type[TailTable]) -> torch.Tensor:
        scores = detector.score(view.of(self._cube)).double()
        scores[~valid_pixels(self._cube)] = torch.nan
        return _evidence(scores, kind)

    def fused(self, composition: str) -> np.ndarray:
        """The score of a fusion, (y, x), NaN where invalid, as `hadgeo.detectors.fusion` adds it up."""
        *others, last = parse(composition)
        again = last.parts[0].make()
        if not isinstance(again, Recurrence):
            return self._sum([*others, last]).numpy()
        total, view = self._sum(others), last.parts[0].view
        again.fit_to(self._sample.seen(view), [view.of(self._cube)], [total])
        recurs = self._counted(again, view, ExponentialTable)
        lone, whole = (_evidence(s, ExponentialTable) for s in (total, total + last.weight * recurs))
        return torch.maximum(lone - _LONE, whole).numpy()

    def _sum(self, terms: list[Term]) -> torch.Tensor:
        return sum(term.weight * torch.stack([self._of[part] for part in term.parts]).amax(dim=0) for term in terms)


def _evidence(scores: torch.Tensor, kind: type[TailTable]) -> torch.Tensor:
    return kind.of(scores[scores.isfinite()]).evidence(scores)


def families(scenes: list[str]) -> dict[str, list[str]]:
    """Real scenes, simulated lines, and those in which each target is the only one of its kind, as far as there are."""
    lone = [s for s in scenes if s.startswith("lone")]
    lines = [s for s in scenes if s in LINES and s not in lone]
    named = {"real": [s for s in scenes if s not in LINES], "lines": lines, "lone": lone}
    return {name: family for name, family in named.items() if family}


def quality(results: dict[str, dict[str, float]], scenes: list[str]) -> float:
    """What a composition is chosen by; see the module."""
    return sum(np.mean([results[s]["auc"] + results[s]["ap"] for s in family]) for family in families(scenes).values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--scenes", nargs="*", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--lines", type=int, default=len(LINES), help="How many of the simulated lines.")
    parser.add_argument("--without", nargs="*", default=[], help="Leave out compositions in which such a word stands.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    candidates = {name: text for name, text in CANDIDATES.items() if not any(word in text for word in options.without)}
    parts = {part for text in candidates.values() for term in parse(text) for part in term.parts}
    parts = {part for part in parts if part.detector != Recurrence.name}
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in candidates}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as readers:
        scenes = {name: tuple(options.data / file for file in SCENES[name]) for name in options.scenes}
        scenes |= made_lines(Path(folder), options.lines)
        for name, (scene, truth_path) in scenes.items():
            truth = read_truth(truth_path)
            of_seeds = [Evidence(scene, parts, seed, readers) for seed in options.seeds]
            for candidate, text in candidates.items():
                each = [_figures(evidence.fused(text), truth) for evidence in of_seeds]
                results[candidate][name] = {key: float(np.median([m[key] for m in each])) for key in each[0]}
    _print(results, list(scenes))


def _figures(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of pixels, and the share of objects that are found at a false-alarm rate of 1e-3."""
    curve = object_curve(scores, truth)
    return {**metrics(scores, truth), "objects": float(curve.detected[curve.rates.index(1e-3)])}


def _print(results: dict[str, dict[str, dict[str, float]]], scenes: list[str]) -> None:
    keys = ("auc", "ap", "pd_1e-3", "pd_1e-2", "objects")
    named = families(list(scenes))
    print("| composition | " + " | ".join(f"{key}, {kind}" for kind in named for key in keys) + " | worst auc, real |")
    print("|---|" + "---|" * (len(keys) * len(named) + 1))
    for name, of_scene in results.items():
        means = [np.mean([of_scene[s][key] for s in family]) for family in named.values() for key in keys]
        worst = min((of_scene[s]["auc"] for s in named.get("real", [])), default=float("nan"))
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
