"""Raw ENVI cubes read in full, strip by strip: hadgeo against rasterio, each handing over decoded float32.

Usage: python benchmarks/reading.py --dir FOLDER [--megabytes 400] [--rounds 5]

Both sides read the same file in strips of full width, turn int16 into float32 and the fill value into NaN; hadgeo does
so in the file's own layout (what a detector is given next), rasterio in BSQ, the only one that it knows. "Cold" means
that the kernel was asked to drop the file's pages first; a disk's own cache, or that of a virtual machine's host,
stays out of reach. Rounds alternate between the sides, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from hadgeo.formats import open_source

FILL = -9999
TOO_SLOW = 20.0  # seconds for one pass, after which one pass must do
BANDS, COLS = 224, 900

HEADER = """ENVI
samples = {cols}
lines = {rows}
bands = {bands}
header offset = 0
file type = ENVI Standard
data type = 2
interleave = {interleave}
byte order = 0
data ignore value = {fill}
map info = {{UTM, 1, 1, 500000, 4500000, 4, 4, 33, North, WGS-84, units=Meters}}
"""

#: Axes that turn (band, y, x) into each layout.
LAYOUTS = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def make(folder: Path, megabytes: int) -> tuple[dict[str, Path], int]:
    """Write the same cube in the three layouts, unless it is there, one strip in seven without data."""
    rows = megabytes * 10**6 // (BANDS * COLS * 2)
    paths = {interleave: folder / f"cube_{rows}.{interleave}" for interleave in LAYOUTS}
    cube = None
    for interleave, path in paths.items():
        if path.exists() and path.stat().st_size == rows * BANDS * COLS * 2:
            continue
        if cube is None:
            cube = np.random.default_rng(0).integers(0, 10000, (BANDS, rows, COLS), dtype=np.int16)
            cube[:, :, : COLS // 7] = FILL
        np.ascontiguousarray(cube.transpose(LAYOUTS[interleave])).tofile(path)
        header = HEADER.format(cols=COLS, rows=rows, bands=BANDS, interleave=interleave, fill=FILL)
        path.with_name(path.name + ".hdr").write_text(header)
    return paths, rows


def strips(rows: int, height: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows, height):
        yield start, min(start + height, rows)


def with_hadgeo(path: Path, rows: int, height: int) -> None:
    source = open_source(path)
    for start, stop in strips(rows, height):
        source.read(slice(start, stop), slice(0, COLS))


def with_rasterio(path: Path, rows: int, height: int) -> None:
    with rasterio.open(path) as dataset:
        for start, stop in strips(rows, height):
            stored = dataset.read(window=Window(0, start, COLS, stop - start))
            decoded = stored.astype(np.float32)
            np.putmask(decoded, stored == dataset.nodata, np.nan)


def with_rasterio_cached(path: Path, rows: int, height: int) -> None:
    with rasterio.Env(GDAL_CACHEMAX=2**30):
        with_rasterio(path, rows, height)


SIDES: dict[str, Callable[[Path, int, int], None]] = {
    "hadgeo": with_hadgeo,
    "rasterio": with_rasterio,
    "rasterio, GDAL_CACHEMAX 1 GB": with_rasterio_cached,
}


def drop(path: Path) -> None:
    """Ask the kernel to forget a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def measure(path: Path, rows: int, height: int, rounds: int, cold: bool) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        # A rotating order: whoever comes first pays for what the machine did before.
        names = list(SIDES)
        for side in names[number % len(names) :] + names[: number % len(names)]:
            if seconds[side] and seconds[side][0] > TOO_SLOW:
                seconds[side].append(seconds[side][0])
                continue
            if cold:
                drop(path)
            begin = time.perf_counter()
            SIDES[side](path, rows, height)
            seconds[side].append(time.perf_counter() - begin)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder for the cubes; they are left there")
    parser.add_argument("--megabytes", type=int, default=400, help="size of a cube (default: 400)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default: 5)")
    parser.add_argument("--height", type=int, default=64, help="rows of a strip (default: 64)")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    paths, rows = make(options.dir, options.megabytes)
    print(f"{BANDS} bands x {rows} rows x {COLS} columns, int16, strips of {options.height} rows; "
          f"median of {options.rounds} rounds, MB/s of stored samples\n")  # fmt: skip
    print("| layout | cache | " + " | ".join(SIDES) + " | hadgeo / faster rasterio |")
    print("|---|---|" + "---|" * (len(SIDES) + 1))
    for interleave, path in paths.items():
        megabytes = path.stat().st_size / 1e6
        for cold in (False, True):
            if not cold:
                with_hadgeo(path, rows, options.height)
            seconds = measure(path, rows, options.height, options.rounds, cold)
            rates = {side: megabytes / statistics.median(times) for side, times in seconds.items()}
            ratios = [
                min(other) / own
                for own, *other in zip(*seconds.values(), strict=True)
            ]  # fmt: skip
            print(
                f"| {interleave.upper()} | {'cold' if cold else 'warm'} | "
                + " | ".join(f"{rate:.0f}" for rate in rates.values())
                + f" | {statistics.median(ratios):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
