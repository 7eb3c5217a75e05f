"""Peak memory of `hadgeo detect` on lines of any size and organisation, and seconds a gigabyte.

Makes lines with `hadgeo simulate`, one at a time (each is removed before the next one is made), runs `hadgeo detect` on
each with its defaults in a process of its own under ``/usr/bin/time -v``, with the disk's cache emptied, and prints a
Markdown table. Sizes for which the disk has no room are left out, and said.

    python benchmarks/memory.py --sizes 2GB 8GB 16GB --interleaves bip bil bsq --detectors rx bs3lnet scoread
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import product
from pathlib import Path

from dask.utils import parse_bytes

import hadgeo

COLS, BANDS = 700, 224

_ANNOUNCED = re.compile(r"expected: at most (\S+ GB)")


def forget() -> None:
    """Empty the cache of the disk, where we may: a small line would stay in it."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


def run(scene: Path, detector: str, options: list[str]) -> tuple[dict[str, float], float, str]:
    """Seconds of each stage, peak resident megabytes, and the memory it announced, of one `hadgeo detect`."""
    command = ["/usr/bin/time", "-v", sys.executable, "-m", "hadgeo", "detect", str(scene), "-d", detector]
    out = scene.with_name("scores.tif")
    done = subprocess.run(
        [*command, "-o", str(out), "--overwrite", "--progress", "json", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    announced = next(found[1] for line in lines if (found := _ANNOUNCED.search(line.get("message", ""))))
    peak = next(line for line in done.stderr.splitlines() if "Maximum resident set size" in line)
    return lines[-1]["seconds"], int(peak.split()[-1]) * 1024 / 1e6, announced


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="with room for the largest line")
    parser.add_argument("--sizes", nargs="+", default=["2GB", "8GB", "16GB"])
    parser.add_argument("--interleaves", nargs="+", default=["bip", "bil", "bsq"], help="or tif")
    parser.add_argument("--detectors", nargs="+", default=["rx", "bs3lnet", "scoread"])
    parser.add_argument("--option", action="append", default=[], help="handed on to `hadgeo detect`; repeatable")
    options = parser.parse_args()
    print("| line | interleave | detector | peak MB | announced | fit s | score s | write s | s/GB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size, interleave in product(options.sizes, options.interleaves):
        size_bytes = parse_bytes(size)
        if shutil.disk_usage(options.dir).free < 1.2 * size_bytes:
            print(f"| {size} | {interleave} | no room on the disk | | | | | | |")
            continue
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            rows = round(size_bytes / (COLS * BANDS * 2))
            line = Path(folder) / ("line.tif" if interleave == "tif" else "line.img")
            layout = "bip" if interleave == "tif" else interleave
            hadgeo.simulate(line, rows=rows, cols=COLS, bands=BANDS, interleave=layout, seed=1)
            for detector in options.detectors:
                forget()
                seconds, peak, announced = run(line, detector, options.option)
                stages = " | ".join(f"{seconds[stage]:.1f}" for stage in ("fit", "score", "write"))
                rate = sum(seconds.values()) / (size_bytes / 1e9)
                told = f"{peak:.0f} | {announced} | {stages} | {rate:.1f}"
                print(f"| {size} | {interleave} | {detector} | {told} |", flush=True)


if __name__ == "__main__":
    main()
