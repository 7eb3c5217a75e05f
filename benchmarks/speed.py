"""How fast hadgeo is, in one run on one machine: against an older commit, against others, and against the machine.

Prints Markdown tables, each as it is ready: what the machine can do (products of matrices, reading); an older commit in
a git worktree of its own, in turns with this one; Spectral Python, scikit-learn's isolation forest and Orfeo ToolBox,
where they are installed; where a run of each detector spends its time; seconds a gigabyte and peak memory by size.
Figures with a spread are medians (smallest to largest). Lines are simulated, and removed at the end.

    OMP_WAIT_POLICY=passive python benchmarks/speed.py --against v0.1.0
    OMP_WAIT_POLICY=passive python benchmarks/speed.py --against HEAD~20 --size 0.05 --sizes 0.02 0.05 --rounds 1

Sizes are gigabytes. On two quiet cores the first takes somewhat more than an hour; `--sizes 0.25 0.5 1 2`
halves that.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from engine import pieces_of_fit, reading_alone
from gpu import matrix_rate, operations
from memory import BANDS, COLS, forget
from memory import run as run_for_memory
from others import OTHERS

import hadgeo
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors import blind_spot_network, bs3lnet, contrast, rx, score_network
from hadgeo.detectors.registry import make_detector
from hadgeo.formats.source import Source
from hadgeo.maps.writer import ScoreWriter
from hadgeo.progress import Silent, Stage
from hadgeo.run.estimate import estimate
from hadgeo.run.scoring import WindowScorer
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene, band_index

HERE = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")

#: Ours against theirs, and the side of the square scene in pixels: Orfeo ToolBox needs tens of milliseconds for each.
COUNTERPARTS = {
    "spectral.rx": ("rx", 400),
    "sklearn.isolation_forest": ("isolation_forest", 400),
    "otb.local_rx": ("local_rx:covariance=local:inner_window=5:outer_window=21", 32),
}

#: What is told of a run from inside, in seconds of the clock; what several cores do at once counts as one of them.
STEPS = ("network", "local median", "distances")

SECTIONS = ("machine", "against", "others", "stages", "sizes")


def spread(values: list[float], form: str = ".2f") -> str:
    """The median, and between what values lie."""
    told = f"{statistics.median(values):{form}}"
    return told if len(values) == 1 else f"{told} ({min(values):{form}} to {max(values):{form}})"


def table(title: str, *columns: str) -> None:
    """Begin one."""
    print(f"\n**{title}**\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def row(*cells: object) -> None:
    """Add to it."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


@contextmanager
def line_of(folder: Path, gigabytes: float, *, square: int = 0) -> Iterator[Path]:
    """A simulated line that is removed afterwards; a square of so many pixels where that is given."""
    rows, cols = (square, square) if square else (max(64, round(gigabytes * 1e9 / (COLS * BANDS * 2))), COLS)
    path = folder / "line.img"
    made = hadgeo.simulate(path, rows=rows, cols=cols, bands=BANDS, targets=4, seed=1, overwrite=True)
    try:
        yield made.path
    finally:
        path.unlink()


def machine(folder: Path, size: float, rounds: int) -> dict[str, float]:
    """Print what the machine can do; operations a second by type, on all cores that torch uses."""
    cores = torch.get_num_threads()
    table(f"The machine: {cores} cores in use, torch {torch.__version__}", "limit", "one core", f"{cores} cores")
    best = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        rates: dict[int, list[float]] = {}
        for count in (1, cores):
            torch.set_num_threads(count)
            rates[count] = [matrix_rate(CPU, dtype, 2048) / 1e9 for _ in range(max(rounds, 3))]
        torch.set_num_threads(cores)
        name = str(dtype).removeprefix("torch.")
        best[name] = statistics.median(rates[cores]) * 1e9
        row(f"products in {name}, GFLOP/s", spread(rates[1], ".0f"), spread(rates[cores], ".0f"))
    with line_of(folder, size) as line:
        source = source_of(open_cube(line))
        selection = usable_bands(source, None)
        windows = pieces_of_fit(source, selection.indices)
        gigabytes = line.stat().st_size / 1e9
        for told, before in (("cached", lambda: None), ("from disk", forget)):
            taken = []
            for _ in range(max(rounds, 3)):
                before()
                taken.append(gigabytes / reading_alone(source, selection.indices, windows))
            row(f"reading and decoding, GB/s, {told}", "", spread(taken))
    return best


@contextmanager
def checkout_of(revision: str, folder: Path) -> Iterator[Path]:
    """A worktree of an older commit, which is removed afterwards."""
    path = folder / "older"
    subprocess.run(["git", "-C", HERE, "worktree", "add", "--quiet", "--detach", path, revision], check=True)
    try:
        yield path
    finally:
        subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", path], check=True)


def detect_with(checkout: Path, line: Path, name: str) -> dict[str, float]:
    """Seconds of the clock and of the processor that `hadgeo detect` of a checkout takes, its start included.

    Raises:
        subprocess.CalledProcessError: It failed, such as for a detector that was not there yet.
    """
    command = [sys.executable, "-m", "hadgeo", "detect", str(line), "-d", name, "-o", str(line.with_name("scores.tif"))]
    start, before = time.perf_counter(), os.times()
    subprocess.run(
        [*command, "--overwrite", "--quiet"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"clock": time.perf_counter() - start, "processor": used}


def against(folder: Path, revision: str, size: float, detectors: list[str], rounds: int) -> None:
    """Print how an older commit does, in turns with this one."""
    table(
        f"Commit {revision} against this one, a line of {size:g} GB",
        "detector", "before, s", "now, s", "before / now", "the same, of the processor",
    )  # fmt: skip
    with checkout_of(revision, folder) as older, line_of(folder, size) as line:
        for name in detectors:
            old, new = [], []
            try:
                for _ in range(rounds):
                    old.append(detect_with(older, line, name))
                    new.append(detect_with(HERE, line, name))
            except subprocess.CalledProcessError as error:
                row(name, error.stderr.decode(errors="replace").strip().splitlines()[-1], "", "", "")
                continue
            clocks, processors = (
                [a[key] / b[key] for a, b in zip(old, new, strict=True)] for key in ("clock", "processor")
            )
            seconds = (spread([one["clock"] for one in side], ".1f") for side in (old, new))
            row(name, *seconds, spread(clocks), spread(processors))


def cost(detector: str, small: Path, large: Path) -> float:
    """Seconds of the processor of a detector of anybody's, without its start; see `benchmarks/costs.py`."""
    script = Path(__file__).with_name("costs.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, detector, small, large], check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout.splitlines()[-1])["processor"])


def others(folder: Path, rounds: int) -> None:
    """Print how those of others do, in turns with ours."""
    table(
        "Others, seconds of the processor from file to map",
        "other", "hadgeo", "pixels", "other, s", "hadgeo, s", "other / hadgeo",
    )  # fmt: skip
    small = folder / "small.img"
    hadgeo.simulate(small, rows=24, cols=24, bands=BANDS, targets=2, overwrite=True)
    for name, (ours, side) in COUNTERPARTS.items():
        if name not in OTHERS:
            row(name, ours, "", "not installed", "", "")
            continue
        with line_of(folder, 0, square=side) as line:
            theirs, own = [], []
            for _ in range(rounds):
                theirs.append(cost(name, small, line))
                own.append(cost(ours, small, line))
        ratios = [a / b for a, b in zip(theirs, own, strict=True)]
        row(name, f"`{ours}`", f"{side} x {side}", spread(theirs), spread(own), spread(ratios, ".1f"))


class Stages(Silent):
    """Where a run spends its time, stage by stage, told from inside.

    Attributes:
        seconds: By stage of the run, and what was done in it.
    """

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._stage, self._lock = "", threading.Lock()
        # A core's own thread takes itself for the only one.
        self._cores = torch.get_num_threads()

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - as the contract has it
        """Go on with another."""
        self._stage = name

    def timed(self, what: str, function: Callable[..., Any], *, own: bool = False) -> Callable[..., Any]:
        """A function that is counted, by its thread's own seconds or by those of the clock."""
        clock = time.thread_time if own else time.perf_counter

        def call(*args: Any, **given: Any) -> Any:
            start, stage = clock(), self._stage
            try:
                return function(*args, **given)
            finally:
                taken = clock() - start
                if not own and threading.current_thread().name.startswith("hadgeo-core"):
                    taken /= self._cores
                with self._lock:
                    self.seconds[stage, what] += taken

        return call

    @contextmanager
    def watching(self, source: type[Source], detector: type[hadgeo.Detector]) -> Iterator[None]:
        """Count what a run does while it is inside."""
        places: list[tuple[Any, str, str, bool]] = [
            (source, "read", "reading", True),
            (detector, "score_inner", "computing", False),
            (blind_spot_network.TiledNetwork, "subtract_from", "network", False),
            (score_network.TimedNetwork, "__call__", "network", False),
            (contrast, "local_contrast", "local median", False),
            (bs3lnet, "mahalanobis", "distances", False),
            (rx, "mahalanobis", "distances", False),
            (ScoreWriter, "write", "writing", False),
            (ScoreWriter, "complete", "writing", False),
        ]
        with ExitStack() as stack:
            for where, name, what, own in places:
                stack.enter_context(mock.patch.object(where, name, self.timed(what, getattr(where, name), own=own)))
            yield


def computing_alone(line: Path, name: str) -> tuple[float, float]:
    """Seconds to score a window from memory, for each pixel of its own, and operations of products for each."""
    source = source_of(open_cube(line))
    selection = usable_bands(source, None)
    detector = make_detector(name).shortened(4)
    with ThreadPoolExecutor(1) as pool:
        detector.fit(Sample(Scene(source, selection.indices), executor=pool, device=CPU), device=CPU)
    window = estimate(source, detector, selection, device=CPU, fitted=True, trial=False).plan[0]
    kept = source.read(window.outer_rows, window.outer_cols, band_index(selection.indices, source.shape[0]))
    with mock.patch.object(type(source), "read", return_value=kept):
        cores = torch.get_num_threads()
        torch.set_num_threads(1)
        # Operations are counted in one thread.
        counted = operations(detector, source, window, CPU)
        torch.set_num_threads(cores)
        scorer = WindowScorer(source, selection.indices, detector, CPU)
        scorer(window)
        start = time.perf_counter()
        scorer(window)
        return (time.perf_counter() - start) / window.pixels, counted


def stages(folder: Path, size: float, detectors: list[str], rates: dict[str, float]) -> None:
    """Print where a run of each detector spends its time."""
    table(
        f"Stages of a run on a line of {size:g} GB, seconds; in brackets the share of the whole",
        "detector", "whole", "fit", "score", "write", "reading (all threads)", "computing scores",
        *(f"of that {step}" for step in STEPS), "whole / (reading + computing)", "share of the matrix rate",
    )  # fmt: skip
    with line_of(folder, size) as line, line_of(folder / "short", min(size, 0.1)) as short:
        for name in detectors:
            source = source_of(open_cube(line))
            watch = Stages()
            with watch.watching(type(source), type(make_detector(name))):
                done = hadgeo.detect(source, name, out=line.with_name("scores.tif"), overwrite=True, progress=watch)
            whole, scored = sum(done.seconds.values()), watch.seconds

            def share(seconds: float, whole: float = whole) -> str:
                return f"{seconds:.1f} ({seconds / whole:.0%})"

            inside = {step: scored[Stage.SCORE, step] for step in ("computing", *STEPS)}
            reading = sum(taken for (_, what), taken in scored.items() if what == "reading")
            # Reading shares the cores with what is computed.
            parts = reading / torch.get_num_threads() + done.seconds["fit"] + inside["computing"]
            fit_reading = sum(t for (stage, what), t in scored.items() if what == "reading" and stage != Stage.SCORE)
            parts -= fit_reading / torch.get_num_threads()
            precision = done.detector.precision.split(", ")[0] or "float64"
            _, counted = computing_alone(short, name)
            rate = counted * done.valid / inside["computing"] / rates[precision] if precision in rates else float("nan")
            row(
                f"{name}, {done.detector.precision or 'float64'}",
                f"{whole:.1f}",
                *(share(done.seconds[stage]) for stage in ("fit", "score", "write")),
                share(reading),
                *(share(inside[step]) for step in ("computing", *STEPS)),
                f"{whole / parts:.2f}",
                f"{rate:.0%}",
            )


def sizes(folder: Path, gigabytes: list[float], detectors: list[str]) -> None:
    """Print seconds a gigabyte and peak memory by size, and how far those of 1 GB and more lie apart."""
    table("By size", "detector", "GB", "fit, s", "score, s", "write, s", "s/GB", "peak MB", "announced")
    peaks: dict[str, list[float]] = defaultdict(list)
    rates: dict[str, list[float]] = defaultdict(list)
    for size in gigabytes:
        if shutil.disk_usage(folder).free < 1.2e9 * size:
            row("", f"{size:g}", "no room on the disk", "", "", "", "", "")
            continue
        with line_of(folder, size) as line:
            for name in detectors:
                forget()
                seconds, peak, announced = run_for_memory(line, name, [])
                rate = sum(seconds.values()) / size
                if size >= 1:
                    peaks[name].append(peak)
                    rates[name].append(rate)
                told = (f"{seconds[stage]:.1f}" for stage in ("fit", "score", "write"))
                row(name, f"{size:g}", *told, f"{rate:.2f}", f"{peak:.0f}", announced)
    for name in detectors:
        if len(peaks[name]) > 1:
            apart = (f"{max(values) / min(values) - 1:.0%}" for values in (peaks[name], rates[name]))
            print("\n{}: from 1 GB on, peaks lie within {} and s/GB within {}.".format(name, *apart), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REV", help="a commit to compare with")
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "scoread", "fusion"])
    parser.add_argument("--size", type=float, default=2.0, help="gigabytes of the line whose stages are told")
    parser.add_argument("--against-size", type=float, help="of the line for the older commit; a quarter of it")
    parser.add_argument("--sizes", nargs="+", type=float, default=[0.25, 0.5, 1, 2, 8], help="for the last table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--dir", type=Path, help="a folder with room for the largest line")
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        (folder / "short").mkdir()
        rates = machine(folder, min(options.size, 1.0), options.rounds) if "machine" in options.sections else {}
        if options.against and "against" in options.sections:
            size = options.against_size or options.size / 4
            against(folder, options.against, size, options.detectors, options.rounds)
        if "others" in options.sections:
            others(folder, options.rounds)
        if "stages" in options.sections:
            stages(folder, options.size, options.detectors, rates)
        if "sizes" in options.sections:
            sizes(folder, options.sizes, options.detectors)
    print(f"\nAll of this took {(time.perf_counter() - begun) / 60:.0f} minutes.")


if __name__ == "__main__":
    main()
