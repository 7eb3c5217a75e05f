"""What one more small line costs in a batch with a saved model; prints a Markdown table.

The difference between batches of many lines and of few, by the number of lines between them, in seconds of the clock
and of the processor: everything that is done for a line is in it, its thumbnail and its place in the overview included.

    OMP_WAIT_POLICY=passive python benchmarks/lines.py --rounds 5 --against ../hadgeo-before

--against names another checkout, whose batches take turns with those of this one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hadgeo

FEW, MANY = 2, 12


def batch(checkout: Path, folder: Path, model: Path, lines: int, threads: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a batch of a checkout takes, its start included."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    scenes = [str(folder / f"line{number}.img") for number in range(lines)]
    command = [sys.executable, "-m", "hadgeo", "batch", *scenes, "--model", str(model), "--quiet"]
    with tempfile.TemporaryDirectory(dir=folder) as maps:
        start, before = time.perf_counter(), os.times()
        subprocess.run([*command, "-o", maps], env=environment, check=True, capture_output=True)
        clock, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return clock, used


def spread(values: list[float]) -> str:
    """The median, and between what values lie."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    checkouts = {"here": Path(__file__).parents[1]} | ({"against": options.against} if options.against else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(MANY):
            hadgeo.simulate(folder / f"line{number}.img", rows=200, cols=300, bands=100, seed=number)
        print("| detector | threads | checkout | clock, s | processor, s |\n|---|---|---|---|---|", flush=True)
        for detector in options.detectors:
            model = folder / f"{detector}.hadgeo"
            hadgeo.train([folder / "line0.img"], detector, out=model)
            for threads in options.threads:
                taken: dict[str, list[tuple[float, float]]] = {where: [] for where in checkouts}
                for _ in range(options.rounds):
                    for where, checkout in checkouts.items():
                        few, many = (batch(checkout.resolve(), folder, model, n, threads) for n in (FEW, MANY))
                        taken[where].append(((many[0] - few[0]) / (MANY - FEW), (many[1] - few[1]) / (MANY - FEW)))
                for where, values in taken.items():
                    clocks, processors = (list(column) for column in zip(*values, strict=True))
                    print(f"| {detector} | {threads} | {where} | {spread(clocks)} | {spread(processors)} |", flush=True)


if __name__ == "__main__":
    main()
