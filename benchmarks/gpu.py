"""How many pixels a second a GPU scores, from a file in memory and from the disk, and how much of the card that uses.

Makes a raw line with `hadgeo simulate` (it is removed at the end), fits each detector on the device and scores the line
as a run does: with reader threads, windows planned for the device, nothing written. The card's own limit is what it
does in products of large matrices, in the type in which the detector multiplies. Prints a Markdown table. It needs a
CUDA device, and says so where there is none; with `--device cpu` it shows that it works, and nothing about a GPU.

    python benchmarks/gpu.py --size 4
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import hadgeo
from hadgeo.bands import BandSelection
from hadgeo.compute.arithmetic import exact_arithmetic
from hadgeo.compute.device import describe_device, resolve_device
from hadgeo.compute.executors import READERS, map_ahead
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import DeviceError
from hadgeo.formats.source import Source
from hadgeo.run.estimate import estimate
from hadgeo.run.scoring import WindowScorer
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import Window

BANDS, COLS = 200, 1000

COLUMNS = ("detector", "in", "fit, s", "Mpx/s, cached", "Mpx/s, from disk", "kflop a pixel", "card, TFLOP/s", "share")

#: Side of the matrices whose product tells what a card can do, and how often it is taken.
SIDE, TIMES = 8192, 10


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations a second in products of large square matrices."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    with exact_arithmetic(device):
        a @ b
        wait_for(device)
        start = time.perf_counter()
        for _ in range(TIMES):
            a @ b
        wait_for(device)
    return TIMES * 2 * side**3 / (time.perf_counter() - start)


def operations(detector: Detector[Any], source: Source, window: Window, device: torch.device) -> float:
    """Operations of products and convolutions for each pixel of a window."""
    block = torch.from_numpy(source.read(window.outer_rows, window.outer_cols)).to(device)
    product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # not every torch has it
    known = {} if product is None else {product: _of_linear}
    with FlopCounterMode(display=False, custom_mapping=known) as counted, torch.no_grad():
        detector.score(block)
    return counted.get_total_flops() / window.pixels


def _of_linear(x: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Operations of oneDNN's product, which torch does not count, from the shapes of what it is given."""
    return 2 * x.numel() * weight[0]


def forget(path: Path) -> None:
    """Let the kernel drop what it keeps of a file, so that the next read goes to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(scorer: WindowScorer, plan: tuple[Window, ...], device: torch.device) -> float:
    """Seconds in which all windows are scored."""
    start = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        for _ in map_ahead(pool, scorer, plan, READERS + 1):
            pass
    wait_for(device)
    return time.perf_counter() - start


def measured(name: str, path: Path, device: torch.device, repeats: int, side: int) -> str:
    """A row of the table."""
    source = source_of(open_cube(path))
    # All of them, so that numbers of pixels compare.
    selection = BandSelection(tuple(range(BANDS)), BANDS)
    detector = make_detector(name)
    with ThreadPoolExecutor(READERS) as pool, exact_arithmetic(device):
        start = time.perf_counter()
        detector.fit(Sample(Scene(source, selection.indices), executor=pool, device=device), device=device)
        wait_for(device)
        fit = time.perf_counter() - start
    plan = estimate(source, detector, selection, device=device, fitted=True, trial=False).plan
    scorer = WindowScorer(source, selection.indices, detector, device)
    pixels = sum(window.pixels for window in plan)
    scorer(plan[0])
    cached = [pixels / seconds(scorer, plan, device) for _ in range(repeats)]
    from_disk = []
    for _ in range(repeats if hasattr(os, "posix_fadvise") else 0):
        forget(path)
        from_disk.append(pixels / seconds(scorer, plan, device))
    each = operations(detector, source, plan[0], device)
    dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}.get(detector.precision, torch.float64)
    rate, share = matrix_rate(device, dtype, side), each * statistics.median(cached)
    cells = [name, str(dtype).removeprefix("torch."), f"{fit:.1f}", _rate(cached), _rate(from_disk)]
    cells += [f"{each / 1e3:.0f}", f"{rate / 1e12:.2f}", f"{share / rate:.1%}"]
    return f"| {' | '.join(cells)} |"


def _rate(found: list[float]) -> str:
    if not found:
        return "not measured"
    low, middle, high = (value / 1e6 for value in (min(found), statistics.median(found), max(found)))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "scoread", "fusion"])
    parser.add_argument("--size", type=float, default=4, help="gigabytes of the line")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="rows of the matrices of the card's own limit")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dir", type=Path, help="where the line is made")
    parser.add_argument("--line", type=Path, help=f"a line of {BANDS} bands to use instead")
    given = parser.parse_args()
    try:
        device = resolve_device(given.device)
    except DeviceError as error:
        print(f"benchmarks/gpu.py needs a CUDA device, so nothing was measured: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        path = given.line or Path(folder) / "line.img"
        if given.line is None:
            rows = max(64, int(given.size * 1e9) // (2 * BANDS * COLS))
            hadgeo.simulate(path, rows=rows, cols=COLS, bands=BANDS, targets=20, interleave="bil")
        _, rows, cols = source_of(open_cube(path)).shape
        size = f"{rows} x {cols} pixels, {BANDS} bands of 16 bits"
        print(f"{describe_device(device)}, torch {torch.__version__}; {size}\n")
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for name in given.detectors:
            print(measured(name, path, device, given.repeats, given.side), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
