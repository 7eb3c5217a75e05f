"""Local RX with a covariance of each ring: pixels a second, against Spectral Python on the same scene in the same run.

Usage: python benchmarks/local_rx.py [--rows 100] [--bands 150] [--inner 5] [--outer 15] [--rounds 5] [--sample 400]

Rounds alternate between the sides, so that a busy machine slows both. hadgeo scores the whole scene in each round;
Spectral Python, which takes a minute or more for it, a part of it, with its own number of BLAS threads and with one
(which suits it better). Seconds of the processor are those that all threads took together: they hardly depend on what
else the machine does. The last row says how far scores differ away from the borders, where windows are cut here and
shifted there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import spectral
import torch
from spectral.algorithms.detectors import RX
from spectral.algorithms.spatial import map_outer_window_stats
from threadpoolctl import threadpool_limits

from hadgeo.detectors.registry import make_detector
from hadgeo.testing import background, fitted


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 100), ("bands", 150), ("inner", 5), ("outer", 15), ("rounds", 5), ("sample", 400)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    spectral.settings.show_progress = False
    scene = background((args.bands, args.rows, args.rows))
    cube = np.ascontiguousarray(scene.transpose(1, 2, 0)).astype(float)
    parameters = {"covariance": "local", "inner_window": args.inner, "outer_window": args.outer}
    detector = fitted(make_detector("local_rx", parameters), scene)
    block = torch.from_numpy(scene)
    part = [slice((args.rows - size) // 2, (args.rows + size) // 2) for size in (10, args.sample // 20 * 2)]
    rx = RX()

    def one(background: object, pixel: np.ndarray) -> object:
        rx.set_background(background)
        return rx(pixel)

    def theirs() -> np.ndarray:
        rows, cols = ((cut.start, cut.stop) for cut in part)
        scores: np.ndarray = map_outer_window_stats(one, cube, args.inner, args.outer, rslice=rows, cslice=cols)
        return scores

    pixels_of_theirs = 10 * (part[1].stop - part[1].start)
    sides: dict[str, tuple[Callable[[], object], int, int | None]] = {
        "hadgeo": (lambda: detector.score(block), args.rows**2, None),
        "spectral": (theirs, pixels_of_theirs, None),
        "spectral, one BLAS thread": (theirs, pixels_of_theirs, 1),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    detector.score(block)
    for _ in range(args.rounds):
        for name, (work, pixels, threads) in sides.items():
            with nullcontext() if threads is None else threadpool_limits(threads, user_api="blas"):
                clock, processor = timed(work)
            rates[name].append((pixels / clock, 1e6 * processor / pixels))
    ours = rates["hadgeo"]
    print(
        f"{args.rows} x {args.rows} x {args.bands}, windows {args.inner}/{args.outer}, {torch.get_num_threads()} cores"
    )
    print("| | pixels a second | microseconds of processor a pixel | hadgeo is so many times as fast, each round |")
    print("|---|---|---|---|")
    for name, found in rates.items():
        pace = statistics.median(rate for rate, _ in found)
        processor = statistics.median(cost for _, cost in found)
        times = sorted(mine[0] / other[0] for mine, other in zip(ours, found, strict=True))
        shown = f"{times[0]:.0f} to {times[-1]:.0f}, median {statistics.median(times):.0f}"
        print(f"| {name} | {pace:.0f} | {processor:.0f} | {shown} |")
    difference = np.abs(detector.score(block).numpy()[tuple(part)] / theirs() - 1).max()
    print(f"largest relative difference: {difference:.1e}")


if __name__ == "__main__":
    main()
