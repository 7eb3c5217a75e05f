"""What a second worker of a dask cluster brings: two processes of one thread each against one.

Makes a line with `hadgeo simulate` (it is removed at the end), fits a detector on it once, and scores the line on a
scheduler with one worker and with two, in turns. Both have started and loaded their libraries before the clock runs.
Each round also scores in one thread of this process, which shows what the way to a worker and back costs.

    python benchmarks/cluster.py --rounds 5 --detector bs3lnet
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import dask.config
import torch
from distributed import Client, LocalCluster

import hadgeo
from hadgeo.run.cluster import ENVIRONMENT, Cluster, worker_environment

#: Small enough that each worker gets many.
WINDOW = 128


def start(stack: ExitStack, workers: int) -> Cluster:
    """A scheduler with workers of one thread each, ready to compute."""
    with dask.config.set({ENVIRONMENT: worker_environment(1)}):
        cluster = stack.enter_context(
            LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0")
        )
    return Cluster(stack.enter_context(Client(cluster, set_as_default=False)), f"{workers} workers")


def score(line: Path, model: hadgeo.Model, cluster: Cluster | None) -> float:
    """Seconds to score a line."""
    done = hadgeo.detect(
        line, model, out=line.with_name("scores.tif"), window=WINDOW, device="cpu", overwrite=True, cluster=cluster
    )
    return done.seconds["score"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--detector", default="bs3lnet")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--bands", type=int, default=120)
    parser.add_argument("--dir", type=Path, help="where the line is made")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.dir)))
        line = folder / "line.img"
        hadgeo.simulate(line, rows=asked.rows, cols=512, bands=asked.bands, targets=4)
        parameters = {} if asked.detector == "rx" else {"steps": 5}
        model = hadgeo.train([line], asked.detector, out=folder / "model.hadgeo", parameters=parameters, device="cpu")
        one, two = start(stack, 1), start(stack, 2)
        for cluster in (one, two):
            score(line, model, cluster)
        rows = []
        for _ in range(asked.rounds):
            rows.append((score(line, model, None), score(line, model, one), score(line, model, two)))
            print("  ".join(f"{seconds:.2f} s" for seconds in rows[-1]), f"ratio {rows[-1][1] / rows[-1][2]:.2f}")
    here, alone, both = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(row[1] / row[2] for row in rows)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{asked.detector}, {asked.rows} x 512 pixels, {asked.rounds} rounds, medians, load averages {load}\n")
    print("| threads here (s) | one worker (s) | two workers (s) | one / two |")
    print("|---:|---:|---:|---:|")
    print(f"| {here:.2f} | {alone:.2f} | {both:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
