"""Run mutants of sound inputs of every kind through the real commands, and count what comes of them.

Each mutant costs at most 10 s of a processor and 1 GB beyond what the libraries take, and ends in success or in a
HadgeoError (one line, exit status 1 or 2). What must not be is an unexpected exception, a control character on the
terminal, or more time or memory. Mutants run in forked processes, a few in each, since a fork costs more than most
commands. The mutant of a seed and a number is the same on each run.

    python benchmarks/fuzz.py 20000 --save out/mutants
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# One thread, or a fork would wait for the others for ever; read when the libraries are loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing.inputs import Kind, place_of  # noqa: E402
from tests.fuzzing.trial import OUTCOMES, Trial, prepare, try_mutants  # noqa: E402

#: Mutants of one kind that share a process.
SHARED = 10


def explain(kind: str, number: int, trial: Trial) -> str:
    """A mutant that must not be, in a few lines."""
    lines = trial.told.strip().splitlines()
    last = " | ".join(line[:300] for line in [line for line in lines if "unexpected" in line][:2] or lines[-3:])
    cost = f"{trial.seconds:.1f} s, {trial.memory / 1e6:.0f} MB"
    return f"#{number} {kind}: {trial.outcome}, {cost}: {' '.join(trial.command)}\n    {last!r}"


def main() -> int:
    """Run and print; 1 if anything came of a mutant that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mutants", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="Number of the first mutant.")
    parser.add_argument("--kind", help="Only kinds whose name contains this.")
    parser.add_argument("--save", type=Path, help="Keep mutants that must not be in this folder, with their command.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        kinds = [kind for kind in prepare(home) if (options.kind or "") in kind.name]
        place, unsound = place_of(home / "sound"), 0
        gc.freeze()
        for kind in kinds:
            # No kind is worth anything that is not sound.
            for number, trial in enumerate(try_mutants(kind, [-1 - n for n in range(len(kind.commands))], place)):
                if trial.outcome != "success":
                    unsound += 1
                    print(f"not sound: {explain(kind.name, number, trial)}", flush=True)
        counts: dict[str, Counter[str]] = {kind.name: Counter() for kind in kinds}
        slowest, largest, tried, began = 0.0, 0, 0, time.monotonic()
        for first in range(options.first, options.first + options.mutants, SHARED):
            kind = kinds[first // SHARED % len(kinds)]
            numbers = range(first, min(first + SHARED, options.first + options.mutants))
            seeds = [options.seed * 10**9 + number for number in numbers]
            for number, trial in zip(numbers, try_mutants(kind, seeds, place), strict=True):
                counts[kind.name][trial.outcome] += 1
                tried, slowest, largest = tried + 1, max(slowest, trial.seconds), max(largest, trial.memory)
                if trial.outcome in ("success", "HadgeoError"):
                    continue
                print(explain(kind.name, number, trial), flush=True)
                if options.save is not None:
                    keep(kind, options.seed * 10**9 + number, place, options.save / str(number))
        seconds = time.monotonic() - began
    print(f"{'kind':>20}  " + "  ".join(f"{outcome:>15}" for outcome in OUTCOMES))
    for name, counted in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:>20}  " + "  ".join(f"{counted[outcome]:>15}" for outcome in OUTCOMES))
    print(f"{tried} mutants in {seconds:.0f} s; at most {slowest:.1f} s and {largest / 1e6:.0f} MB each")
    total = sum(counts.values(), Counter())
    return int(unsound > 0 or total["success"] + total["HadgeoError"] < tried)


def keep(kind: Kind, seed: int, place: Path, folder: Path) -> None:
    """Make a mutant anew, in a folder where it stays."""
    spare = place.with_name("spare")
    for _ in try_mutants(kind, [seed], spare):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(spare, folder)


if __name__ == "__main__":
    sys.exit(main())
