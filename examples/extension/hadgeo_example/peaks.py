"""The highest scores of a map as a table: where a crew on the ground looks first."""

import csv
import os
from pathlib import Path

import numpy as np

from hadgeo.errors import OutputExistsError
from hadgeo.grid import Grid
from hadgeo.maps.reader import open_scores


def write_peaks(scores: str | os.PathLike[str], out: str | os.PathLike[str], *, count: int = 100) -> Path:
    """Write the pixels with the highest scores of a map, highest first.

    Args:
        scores: A map, as `hadgeo detect` writes it.
        out: The table: score, row, column, and the x and y of the pixel's centre in the map's CRS.
        count: How many pixels.

    Raises:
        CubeError: The map cannot be used.
        OutputExistsError: The table exists.
    """
    target, found = Path(out), open_scores(scores)
    if target.exists():
        raise OutputExistsError(f"{target} exists; name another table, or remove it")
    best: list[tuple[float, int, int]] = []
    # A map may be larger than memory: each strip adds its own highest, and the highest of all are kept.
    for rows, values in found.strips():
        flat = np.nan_to_num(values, nan=-np.inf).ravel()
        for index in np.argpartition(flat, -min(count, flat.size))[-count:]:
            row, col = divmod(int(index), values.shape[1])
            if np.isfinite(flat[index]):
                best.append((float(flat[index]), rows.start + row, col))
        best = sorted(best, reverse=True)[:count]
    grid = Grid(found.shape, found.crs, found.transform)
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["score", "row", "column", "x", "y"])
        for score, row, col in best:
            table.writerow([score, row, col, *grid.to_map(col + 0.5, row + 0.5)])
    return target
