"""What the engine costs beside reading and computing alone, and whether its memory depends on the scene.

Makes raw lines with `hadgeo simulate` (they are removed at the end), runs `hadgeo detect` on each as a user would,
in a process of its own, and in the same run times the two things that nothing can avoid: reading every window that the
run reads, with nothing done to it; and computing on every window, out of memory. Prints a Markdown table.

    python benchmarks/engine.py --sizes 1GB 4GB --detectors rx bs3lnet
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import torch

import hadgeo
from hadgeo.compute.executors import READERS, map_ahead
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector
from hadgeo.formats.source import Source
from hadgeo.run.estimate import estimate
from hadgeo.run.scoring import WindowScorer
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene, band_index
from hadgeo.windows import Window

CPU = torch.device("cpu")


class InMemory(Source):
    """A source whose every read is answered from memory with the same pixels, so that only computing takes time."""

    def __init__(self, source: Source) -> None:
        self.path, self.shape, self.dtype = source.path, source.shape, source.dtype
        self.block, self.metadata = source.block, source.metadata
        self._source = source
        self._kept: dict[tuple[int, int], np.ndarray] = {}

    def read(self, rows: slice, cols: slice, bands: object = slice(None)) -> np.ndarray:
        """Give the first window of this shape that was ever asked for."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if shape not in self._kept:
            self._kept[shape] = self._source.read(rows, cols, bands)
        # A fit may overwrite its crops, which are as small as they are few; the strips of a pass are left as they are.
        return self._kept[shape] if shape[1] == self.shape[2] else self._kept[shape].copy()


def pieces_of_fit(source: Source, bands: tuple[int, ...]) -> list[Window]:
    """The windows that a fit reads: every detector streams its statistics over the whole scene once."""
    with ThreadPoolExecutor(1) as pool:
        sample = Sample(Scene(source, bands), executor=pool, device=CPU)
        return [window for _, window in sample.places()]


def reading_alone(source: Source, bands: tuple[int, ...], windows: list[Window]) -> float:
    """Seconds to read windows as the engine does, and do nothing."""
    index = band_index(bands, source.shape[0])
    start = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        for _ in map_ahead(pool, lambda w: source.read(w.outer_rows, w.outer_cols, index).shape, windows, READERS + 1):
            pass
    return time.perf_counter() - start


def computing_alone(
    source: Source, bands: tuple[int, ...], detector: Detector, plan: Sequence[Window]
) -> tuple[float, float]:
    """Seconds to fit and to score with every window in memory already."""
    memory = InMemory(source)
    scorer = WindowScorer(memory, bands, detector, CPU)
    for window in plan:
        memory.read(window.outer_rows, window.outer_cols, band_index(bands, source.shape[0]))
    with ThreadPoolExecutor(READERS) as pool:
        sample = Sample(Scene(memory, bands), executor=pool, device=CPU)
        for _, window in sample.places():
            memory.read(window.rows, window.cols, band_index(bands, source.shape[0]))
        start = time.perf_counter()
        detector.fit(sample, device=CPU)
        fit = time.perf_counter() - start
    start = time.perf_counter()
    for window in plan:
        scorer(window)
    return fit, time.perf_counter() - start


def detect_as_a_user(scene: Path, name: str, out: Path) -> tuple[float, float]:
    """Seconds of all stages together, and peak resident memory in MB, of one `hadgeo detect`."""
    command = ["/usr/bin/time", "-v", sys.executable, "-m", "hadgeo", "detect", str(scene), "-d", name]
    done = subprocess.run(
        [*command, "-o", str(out), "--overwrite", "--progress", "json"], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    peak = next(line for line in done.stderr.splitlines() if "Maximum resident set size" in line)
    return sum(result["seconds"].values()), int(peak.split()[-1]) / 1000


def measure(scene: Path, name: str, rounds: int) -> str:
    """One row of the table."""
    source = source_of(open_cube(scene))
    bands = usable_bands(source, None).indices
    detector = make_detector(name)
    plan = estimate(source, detector, usable_bands(source, None), device=CPU, trial=False).plan
    windows = [*pieces_of_fit(source, bands), *plan]
    whole, read, compute, ratio, peak = [], [], [], [], []
    for _ in range(rounds):
        read.append(reading_alone(source, bands, windows))
        compute.append(sum(computing_alone(source, bands, detector, plan)))
        seconds, memory = detect_as_a_user(scene, name, scene.with_name("scores.tif"))
        whole.append(seconds)
        peak.append(memory)
        ratio.append(seconds / max(read[-1], compute[-1]))
    gigabytes = scene.stat().st_size / 1e9
    figures = (statistics.median(column) for column in (whole, read, compute, ratio, peak))
    interleave = source.metadata.interleave
    return f"| {name} | {gigabytes:.1f} GB | {interleave} | " + " | ".join(
        f"{value:{form}}" for value, form in zip(figures, (".1f", ".1f", ".1f", ".2f", ".0f"), strict=True)
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None, help="a folder with room for the largest line")
    parser.add_argument("--sizes", nargs="+", default=["1GB", "4GB"])
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cols", type=int, default=700)
    parser.add_argument("--bands", type=int, default=224)
    parser.add_argument("--interleaves", nargs="+", default=["bip"], choices=["bip", "bil", "bsq"])
    options = parser.parse_args()
    from dask.utils import parse_bytes

    print("| detector | line | interleave | end to end s | reading alone s | computing alone s | ratio | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        for size, interleave in product(options.sizes, options.interleaves):
            rows = round(parse_bytes(size) / (options.cols * options.bands * 2))
            line = Path(folder) / "line.img"
            shape = {"rows": rows, "cols": options.cols, "bands": options.bands}
            made = hadgeo.simulate(line, **shape, interleave=interleave, overwrite=True)
            for name in options.detectors:
                print(measure(made.path, name, options.rounds) + " |", flush=True)
            made.path.unlink()


if __name__ == "__main__":
    main()
