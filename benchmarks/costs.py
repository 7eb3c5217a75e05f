"""What one detection costs without the start of Python, as JSON; a process of its own for `benchmarks/detectors.py`.

    python benchmarks/costs.py DETECTOR SMALL LARGE

The small scene is scored first, with few training steps, so that all modules are loaded.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from others import OTHERS, score_of_other

import hadgeo


def score(detector: str, scene: Path, out: Path, seed: int = 0) -> None:
    """Write a map of a detector, of hadgeo or of others, given as ``name:key=value:key=value``."""
    name, *parameters = detector.split(":")
    if name in OTHERS:
        score_of_other(name, scene, out)
        return
    given = dict(parameter.split("=", 1) for parameter in parameters)
    hadgeo.detect(scene, made(name, given, seed), out=out, overwrite=True)


def made(name: str, given: dict[str, str], seed: int) -> hadgeo.Detector:
    """A detector with a seed, if it has one."""
    detector = hadgeo.make_detector(name, given)
    role = detector.seed_parameter
    return hadgeo.make_detector(name, {**given, role: seed}) if role else detector


def processor() -> float:
    """Seconds of the processor so far, those of children that have ended included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main() -> None:
    """Measure once."""
    detector, small, large = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    name, *parameters = detector.split(":")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.tif"
        if name in OTHERS:
            score_of_other(name, small, out)
        else:
            given = dict(parameter.split("=", 1) for parameter in parameters)
            hadgeo.detect(small, hadgeo.make_detector(name, given).shortened(4), out=out)
        clock, before = time.perf_counter(), processor()
        score(detector, large, out)
        clock, used = time.perf_counter() - clock, processor() - before
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": clock, "processor": used, "megabytes": max(peaks) / 1000}))


if __name__ == "__main__":
    main()
