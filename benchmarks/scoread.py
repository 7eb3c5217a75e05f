"""What ScoreAD's statistic costs: the default against 100 independent draws through the same network, in one run.

The detector is fitted once; then both score the same scene in turn, round by round, and the ratio is the median over
the rounds. GFLOP/s are counted by PyTorch and stand beside what a matrix product reaches on the same threads in the
same round.

    python benchmarks/scoread.py --rounds 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.utils.flop_counter import FlopCounterMode

from hadgeo.compute.device import describe_device, resolve_device
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.scoread import ScoreAD, ScoreADParams
from hadgeo.formats.matlab import read_truth
from hadgeo.sampling import Sample, Scene

SCENE = "truth/HYDICE_norm_ScoreAD.mat"
MATRIX = 2048


def paper(fitted: ScoreAD) -> ScoreAD:
    """The same fitted network with the paper's statistic, 100 independent draws."""
    seed = fitted.params.seed
    other = ScoreAD(ScoreADParams(noise="independent", evaluations=100, normalisation="none", seed=seed))
    state = fitted.state()
    noise = torch.randn(100, len(fitted.low_), generator=torch.Generator().manual_seed(seed))
    return other.load_state({**state, "noise": noise}, fitted.low_.device)


def timed(call: object) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    result = call()  # type: ignore[operator]
    if result.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def matrix_rate(device: torch.device) -> float:
    """GFLOP/s of a float32 matrix product."""
    a = torch.rand(MATRIX, MATRIX, device=device)
    seconds = min(timed(lambda: a @ a)[0] for _ in range(5))
    return 2 * MATRIX**3 / seconds / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"no scenes in {options.data}; set HADGEO_DATA or --data")
    device = resolve_device(options.device)
    source = source_of(open_cube(options.data / SCENE))
    bands, rows, cols = source.shape
    truth = read_truth(options.data / SCENE).ravel()
    with ThreadPoolExecutor(2) as pool:
        sample = Sample(Scene(source, range(bands)), executor=pool, device=device)
        default = ScoreAD().fit(sample, device=device)
    scene = torch.from_numpy(source.read(slice(0, rows), slice(0, cols), slice(0, bands))).to(device)
    sides = {"default": default, "100 independent draws": paper(default)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        default.network_(torch.rand(1, bands, device=device), torch.tensor([0.05], device=device))
    flops = counter.get_total_flops()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    rates, auc = [], {}
    for _ in range(options.rounds):
        rates.append(matrix_rate(device))
        for name, detector in sides.items():
            took, scores = timed(lambda detector=detector: detector.score(scene))
            seconds[name].append(took)
            auc[name] = roc_auc_score(truth, np.asarray(scores.cpu()).ravel())
    print(f"{SCENE}, {rows} x {cols} x {bands}, {describe_device(device)}, {options.rounds} rounds, medians")
    print(
        "| statistic | network evaluations a pixel | px/s | GFLOP/s | of a matrix product | AUC |\n"
        "|---|---|---|---|---|---|"
    )
    for name, detector in sides.items():
        took = statistics.median(seconds[name])
        evaluations = len(detector.noise_) * len(detector.params.t)
        rate = rows * cols * evaluations * flops / took / 1e9
        share = rate / statistics.median(rates)
        print(f"| {name} | {evaluations} | {rows * cols / took:,.0f} | {rate:.0f} | {share:.0%} | {auc[name]:.4f} |")
    ratios = [slow / fast for fast, slow in zip(*seconds.values(), strict=True)]
    spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
    print(f"\nThe default is {statistics.median(ratios):.0f} times as fast ({spread} over the rounds);")
    print(f"one evaluation is {flops / 1e6:.2f} MFLOP.")


if __name__ == "__main__":
    main()
