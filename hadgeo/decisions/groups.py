"""Connected groups of the pixels that stand out in a score map.

The map is read strip by strip and only the pixels above the threshold are kept. They are few, so they are grouped
all at once, and no group ends at the border of a strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hadgeo.decisions.calibration import followed
from hadgeo.errors import ParameterError
from hadgeo.evidence.anomaly import Anomaly
from hadgeo.maps.reader import ScoreMap
from hadgeo.progress import SILENT, Progress, Stage

Integers = npt.NDArray[np.int64]

#: More pixels than this are no anomalies, and would take more than about 1.5 GB.
MAX_PIXELS = 5_000_000


@dataclass(frozen=True)
class Pixels:
    """Pixels that stand out, row by row.

    Attributes:
        rows: Row of each.
        cols: Column of each.
        scores: Score of each.
        shifts: (pixel, 2): from its centre to the top of the parabolas through its score and its neighbours', down and
            to the right, in pixels; of use where a pixel is a local maximum.
        width: Columns of the map.
    """

    rows: Integers
    cols: Integers
    scores: npt.NDArray[np.float32]
    shifts: npt.NDArray[np.float32]
    width: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: npt.NDArray[Any]) -> Pixels:
        """Some of them, by their numbers or by a mask."""
        return Pixels(self.rows[chosen], self.cols[chosen], self.scores[chosen], self.shifts[chosen], self.width)


@dataclass(frozen=True)
class Group(Anomaly):
    """One anomaly's pixels, whose number is its rank, from 1.

    Attributes:
        scores: Score of each pixel.
    """

    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Groups:
    """All anomalies of a map, the strongest first.

    Attributes:
        pixels: Their pixels, group by group.
        strengths: What the groups are ordered by.
        starts: Where each group begins in `pixels`.
        sizes: Number of pixels of each.
        max_scores: Largest score of each.
        mean_scores: Mean score of each.
        peaks: (group, 2): row and column of the peak; whole numbers are the centres of pixels.
    """

    pixels: Pixels
    strengths: npt.NDArray[np.float64]
    starts: Integers
    sizes: Integers
    max_scores: npt.NDArray[np.float32]
    mean_scores: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Group]:
        for number, (start, size) in enumerate(zip(self.starts, self.sizes, strict=True), start=1):
            own = slice(start, start + size)
            yield Group(number, self.pixels.rows[own], self.pixels.cols[own], self.pixels.scores[own])


def pixels_above(scores: ScoreMap, threshold: float, *, progress: Progress = SILENT) -> Pixels:
    """Collect the pixels that reach a threshold.

    Raises:
        ParameterError: They are more than `MAX_PIXELS`.
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.
    """
    pixels = pixels_above_if_few(scores, threshold, progress=progress)
    if pixels is None:
        raise ParameterError(
            f"{scores.path}: more than {MAX_PIXELS:,} pixels reach {threshold:g}, too many to group; "
            "ask for fewer, with a lower pfa or a higher percentile"
        )
    return pixels


def pixels_above_if_few(scores: ScoreMap, threshold: float, *, progress: Progress = SILENT) -> Pixels | None:
    """Collect the pixels that reach a threshold, unless they are more than `MAX_PIXELS`; see `pixels_above`."""
    found: list[tuple[Integers, Integers, npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    count = 0
    for rows, values in followed(scores, progress, Stage.GROUPS, margin=1):
        first = min(1, rows.start)
        row, col = np.nonzero(values[first : first + rows.stop - rows.start] >= threshold)
        count += len(row)
        if count > MAX_PIXELS:
            return None
        shifts = _shifts(values, row + first, col)
        found.append((row + rows.start, col, values[row + first, col], shifts))
    row, col, score, shifts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Pixels(row, col, score, shifts, scores.shape[1])


def label(pixels: Pixels, connectivity: int) -> Integers:
    """Number the connected groups of pixels.

    Args:
        pixels: The pixels.
        connectivity: 4, neighbours share a side, or 8, they may touch at a corner.

    Returns:
        The group of each pixel, from 0.

    Raises:
        ParameterError: `connectivity` is neither.
    """
    if connectivity not in (4, 8):
        raise ParameterError(f"connectivity must be 4 or 8, not {connectivity}")
    # One column more than there are keeps the ends of rows apart from the beginnings of the next.
    width = pixels.width + 1
    keys = pixels.rows * width + pixels.cols
    steps = (1, width) if connectivity == 4 else (1, width, width - 1, width + 1)
    edges = []
    for step in steps:
        nearest = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        here = np.flatnonzero(keys[nearest] == keys + step)
        edges.append(np.stack([here, nearest[here]]))
    return joined(len(keys), np.concatenate(edges, axis=1))


def joined(count: int, pairs: Integers) -> Integers:
    """Number the sets of things that are joined by pairs, directly or through others.

    Args:
        count: How many things there are.
        pairs: (2, pair) indices of things.

    Returns:
        The set of each thing, from 0.
    """
    if not count:
        return np.empty(0, dtype=np.int64)
    graph = coo_array((np.ones(pairs.shape[1], dtype=bool), tuple(pairs)), shape=(count, count))
    sets: Integers = connected_components(graph, directed=False)[1].astype(np.int64)
    return sets


def gather(
    pixels: Pixels, labels: Integers, *, strengths: npt.NDArray[np.float64] | None = None, min_pixels: int = 1
) -> Groups:
    """Put the pixels of each group together, and the groups in order.

    Args:
        pixels: The pixels.
        labels: The group of each.
        strengths: (group,) what to order the groups by; their largest score by default.
        min_pixels: Smaller groups are left out.

    Returns:
        The groups by strength, falling; where two have the same, by their place from the top of the map.

    Raises:
        ParameterError: `min_pixels` is below 1.
    """
    if min_pixels < 1:
        raise ParameterError(f"min_pixels must be at least 1, not {min_pixels}")
    number = int(labels.max(initial=-1)) + 1
    best = np.full(number, -np.inf, dtype=np.float32)
    np.maximum.at(best, labels, pixels.scores)
    first = np.full(number, len(pixels))
    np.minimum.at(first, labels, np.arange(len(pixels)))
    kept = np.flatnonzero(np.bincount(labels, minlength=number) >= min_pixels)
    strong = best.astype(np.float64) if strengths is None else strengths
    ranked = kept[np.lexsort((first[kept], -strong[kept]))]
    rank = np.full(number, len(ranked))
    rank[ranked] = np.arange(len(ranked))
    order = np.argsort(rank[labels], kind="stable")
    order = order[rank[labels[order]] < len(ranked)]
    own = pixels[order]
    groups = rank[labels[order]]
    sizes = np.bincount(groups, minlength=len(ranked))
    means = np.bincount(groups, weights=own.scores, minlength=len(ranked)) / sizes
    # The first of a group's pixels by falling score.
    _, peak = np.unique(groups[(by_score := np.lexsort((-own.scores, groups)))], return_index=True)
    at = by_score[peak]
    centres = np.stack([own.rows[at], own.cols[at]], axis=1).astype(np.float64)
    return Groups(own, strong[ranked], np.cumsum(sizes) - sizes, sizes, best[ranked], means, centres + own.shifts[at])


def _shifts(values: npt.NDArray[np.float32], row: Integers, col: Integers) -> npt.NDArray[np.float32]:
    centre = values[row, col].astype(np.float64)
    offsets = []
    for down, right in ((1, 0), (0, 1)):
        before, after = (_at(values, row + sign * down, col + sign * right) for sign in (-1, 1))
        curvature = before - 2 * centre + after
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = np.where(curvature < 0, (before - after) / (2 * curvature), 0)
        offsets.append(np.clip(shift, -0.5, 0.5))
    return np.stack(offsets, axis=1).astype(np.float32)


def _at(values: npt.NDArray[np.float32], row: Integers, col: Integers) -> npt.NDArray[np.float64]:
    """Values at places that may lie outside, where they are NaN."""
    inside = (row >= 0) & (row < values.shape[0]) & (col >= 0) & (col < values.shape[1])
    found = np.full(len(row), np.nan)
    found[inside] = values[row[inside], col[inside]]
    return found
