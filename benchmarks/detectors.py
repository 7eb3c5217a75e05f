"""Every detector on nine real scenes and three simulated flight lines, and what each costs; prints one Markdown table.

Figures of merit are means over scenes of medians over seeds. What a detector costs is measured on one simulated line,
each time in a process of its own, in rounds in which all take turns: seconds of the processor of a whole run without
the start of Python, which hardly depend on what else the machine does, and the largest memory. Spectral Python and
Orfeo ToolBox, where they are installed, score the same bands of the same scenes.

    OMP_WAIT_POLICY=passive python benchmarks/detectors.py --records records.jsonl

With --records, each run is noted in that file as it ends; what is noted there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from accuracy import SCENES
from costs import score
from others import OTHERS
from rasterio.errors import NotGeoreferencedWarning
from scoring import metrics

import hadgeo
from hadgeo.detectors.registry import detector_class, list_detectors
from hadgeo.errors import CubeWarning
from hadgeo.formats.matlab import read_truth

#: Beside every detector with its defaults; ``name:key=value:key=value``.
VARIANTS = (
    "rx:ridge=0.01:cfar_window=15",
    "local_rx:covariance=local:outer_window=21",
    "fusion:preset=fast",
    "fusion:preset=thorough",
)

LINES = {f"line {seed}": seed for seed in (1, 2, 3)}

#: Those of others that need minutes for a scene; what they cost is measured on a small line.
SLOW = ("spectral.local_rx", "otb.local_rx")

#: Columns that say how well a detector finds targets, and how they are headed.
MERIT = {"auc": "AUC", "ap": "AP", "pd_1e-3": "P_D at 1e-3"}


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        detector: With its parameters, as given.
        scene: Its name; "cost" where the run measures what a detector costs.
        seed: Random seed, or the number of the round.
        pixels: Pixels of the scene.
        merit: What `metrics` says of the map, or nothing.
        cost: What `benchmarks/costs.py` says of the run, or nothing.
    """

    detector: str
    scene: str
    seed: int
    pixels: int
    merit: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What no two runs have in common."""
        return self.detector, self.scene, self.seed


class Book:
    """Runs that were made, in a file where one is given.

    Args:
        path: JSON lines, one a run; made if it is not there.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        noted = path.read_text().splitlines() if path is not None and path.exists() else []
        self.records = [Record(**json.loads(text)) for text in noted]

    def note(self, key: tuple[str, str, int], run: Callable[[], Record]) -> None:
        """Make a run, unless it is here."""
        if any(record.key == key for record in self.records):
            return
        record = run()
        print(*key, record.merit or record.cost, file=sys.stderr, flush=True)
        self.records.append(record)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(record)) + "\n")

    def of(self, detector: str, scene: str) -> list[Record]:
        """Runs of a detector on a scene."""
        return [record for record in self.records if (record.detector, record.scene) == (detector, scene)]

    def merit(self, detector: str, scenes: list[str], key: str) -> float | None:
        """Mean over scenes of the median over seeds; None where a scene is missing."""
        runs = [[record.merit[key] for record in self.of(detector, scene)] for scene in scenes]
        return statistics.fmean(map(statistics.median, runs)) if all(runs) else None

    def cost(self, detector: str) -> tuple[float, float] | None:
        """Microseconds of the processor for a pixel, and megabytes at the peak; medians over rounds."""
        runs = self.of(detector, "cost")
        if not runs:
            return None
        used = statistics.median(record.cost["processor"] for record in runs)
        return 1e6 * used / runs[0].pixels, statistics.median(record.cost["megabytes"] for record in runs)


def draws(detector: str) -> bool:
    """Whether a detector draws at random."""
    name = detector.split(":")[0]
    return name not in OTHERS and bool(detector_class(name).seed_parameter)


def truth_of(path: Path, name: str) -> np.ndarray:
    """True on targets."""
    if name not in LINES:
        return read_truth(path)
    with rasterio.open(path) as dataset:
        return dataset.read(1) == 1


def merit_of(detector: str, scene: tuple[Path, Path], name: str, seed: int) -> Record:
    """Score a scene, and compare the map with its truth."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for category in (NotGeoreferencedWarning, CubeWarning):
            warnings.simplefilter("ignore", category)  # chips from MATLAB files have no place
        score(detector, scene[0], out := Path(folder) / "scores.tif", seed)
        with rasterio.open(out) as dataset:
            scores = dataset.read(1)
    return Record(detector, name, seed, scores.size, merit=metrics(scores, truth_of(scene[1], name)))


def cost_of(detector: str, small: Path, large: Path, number: int) -> Record:
    """Score a scene in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("costs.py")), detector, small, large]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    with rasterio.open(large) as dataset:
        pixels = dataset.width * dataset.height
    return Record(detector, "cost", number, pixels, cost=json.loads(done.stdout.splitlines()[-1]))


def measure_costs(book: Book, detectors: list[str], rounds: int, home: Path) -> None:
    """All detectors in turn, several times."""
    lines = {}
    for name, rows, cols, targets in (("start", 32, 32, 1), ("part", 100, 100, 24), ("whole", 600, 400, 24)):
        made = hadgeo.simulate(home / f"{name}.img", rows=rows, cols=cols, bands=120, seed=1, targets=targets)
        lines[name] = Path(made.path)
    for number in range(rounds):
        for detector in detectors:
            large = lines["part" if detector in SLOW else "whole"]
            book.note((detector, "cost", number), partial(cost_of, detector, lines["start"], large, number))


def measure_merit(book: Book, detectors: list[str], seeds: list[int], data: Path, home: Path) -> None:
    """All scenes by each detector; a first seed for all of them, then a second one for those that draw, and so on."""
    scenes = {name: (data / path, data / truth) for name, (path, truth) in SCENES.items()}
    for name, seed in LINES.items():
        made = hadgeo.simulate(home / f"line_{seed}.img", rows=200, cols=200, seed=seed)
        scenes[name] = Path(made.path), Path(made.truth)
    for seed in seeds:
        for detector in detectors:
            for name, paths in scenes.items():
                if seed == seeds[0] or draws(detector):
                    book.note((detector, name, seed), partial(merit_of, detector, paths, name, seed))


def figures(value: float) -> str:
    """Two figures of a number, or all of a whole one."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def table(book: Book, detectors: list[str]) -> None:
    """Print what is known."""
    headings = [f"{where}: {name}" for where in ("real", "simulated") for name in MERIT.values()]
    print("| detector | " + " | ".join(headings) + " | seeds | pixels a second | relative to rx | MB |")
    print("|---|" + "---|" * (len(headings) + 4))
    of_rx = book.cost("rx")
    for detector in detectors:
        cells = []
        for scenes in (list(SCENES), list(LINES)):
            found = [book.merit(detector, scenes, key) for key in MERIT]
            cells += ["" if value is None else f"{value:.3f}".removeprefix("0") for value in found]
        seeds = min(len(book.of(detector, scene)) for scene in (*SCENES, *LINES))
        cells.append(str(seeds) if draws(detector) else "")
        spent = book.cost(detector)
        if spent is None or of_rx is None:
            cells += [""] * 3
        else:
            cells += [f"{1e6 / spent[0]:,.0f}", figures(spent[0] / of_rx[0]), f"{spent[1]:.0f}"]
        name, *parameters = detector.split(":")
        named = f"`{name}`" + (f", `{','.join(parameters)}`" if parameters else "")
        print(f"| {named} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HADGEO_DATA", "../shared/data")))
    parser.add_argument("--detectors", nargs="+", help="name:key=value:...; by default all, variants, and others'")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="for detectors that draw at random")
    parser.add_argument("--rounds", type=int, default=3, help="of measuring costs; 0 measures none")
    parser.add_argument("--no-merit", action="store_true", help="measure costs alone")
    parser.add_argument("--records", type=Path, help="a file of runs, which are not made again")
    options = parser.parse_args()
    book = Book(options.records)
    detectors = options.detectors or [*list_detectors(), *VARIANTS, *OTHERS]
    with tempfile.TemporaryDirectory() as folder:
        measure_costs(book, list(dict.fromkeys(["rx", *detectors])), options.rounds, Path(folder))
        if not options.no_merit:
            measure_merit(book, detectors, options.seeds, options.data, Path(folder))
    table(book, detectors)


if __name__ == "__main__":
    main()
