"""Which score has which false-alarm rate in a map, as the backend's calibration has it, and how many objects reach it.

The backend fits the tail of the background's scores and writes it into the manifest beside what it made; with that
and the map's largest scores, every rate is known at once. Neither Qt nor QGIS is imported here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from osgeo import gdal

from .tail import Tail

#: Largest scores that are kept.
KEPT = 2**20

#: The rates that can be chosen.
LOWEST_RATE, HIGHEST_RATE = 1e-6, 1e-2

#: Objects grow through neighbouring pixels whose p-value is at most this: the backend's default.
GROW_PFA = 1e-2

#: The backend's own: a share counted from fewer pixels is left to the tail, which is not known better than to a factor,
#: and no p-value is smaller.
_COUNTED, _DOUBT = 3, 1.25
_SMALLEST = float(np.finfo(np.float32).tiny)

#: Pixels of a strip.
_STRIP = 2**23


class RatesError(Exception):
    """A map has no rates; the message is one line for the user."""


class Cancelled(Exception):
    """The user does not want to know any more."""


@dataclass(frozen=True)
class Rates:
    """What scores of a map mean.

    Attributes:
        count: Pixels that have a score.
        largest: The largest scores in rising order, float32; all of them in a map of up to `KEPT` pixels.
        tail: The background's tail, or None where the map is too small or too plain for one.
        peaks: The largest score of each object in rising order, whatever the threshold; None where they were not
            counted.
    """

    count: int
    largest: np.ndarray = field(repr=False)
    tail: Tail | None = field(repr=False)
    peaks: np.ndarray | None = field(default=None, repr=False)

    def pixels(self, score: float) -> int:
        """How many pixels reach a score above the lowest one kept."""
        return len(self.largest) - int(np.searchsorted(self.largest, np.float32(score), side="left"))

    def objects(self, score: float) -> int | None:
        """How many objects there are at a threshold, grown as the backend does; None where that is not known."""
        if self.peaks is None:
            return None
        return len(self.peaks) - int(np.searchsorted(self.peaks, np.float32(score), side="left"))

    def lowest_rate(self) -> float:
        """The lowest rate that the map can tell."""
        return LOWEST_RATE if self._trusted is not None else max(LOWEST_RATE, 1 / self.count)

    def highest_rate(self) -> float:
        """The highest rate that the kept scores can tell."""
        whole = len(self.largest) == self.count
        return HIGHEST_RATE if whole else min(HIGHEST_RATE, (len(self.largest) - 1) / self.count)

    def p_value(self, score: float) -> float:
        """The share of background pixels that reach a score above the lowest one kept."""
        share = self.pixels(score) / self.count
        tail = self._trusted
        if tail is None:
            return max(share, 1 / self.count)
        if score > tail.start:
            modelled = math.exp(tail.log_survival(score))
            beyond = score > self._last_counted
            share = self._continuation(tail) * modelled if beyond else min(share, _DOUBT * modelled)
        return max(share, _SMALLEST)

    def expected_false_alarms(self, score: float) -> float:
        """How many background pixels of such a map reach a score."""
        return self.count * self.p_value(score)

    def threshold(self, rate: float) -> float:
        """The lowest score that is flagged at a false-alarm rate; see the backend's `Calibration.threshold`."""
        rank = math.floor(self.count * rate * (1 + 1e-12))
        tail = self._trusted
        if tail is None:
            return self._rarer_than(max(1, rank))
        counted = self._rarer_than(rank) if rank else math.inf
        if rate >= tail.fraction:
            return counted
        if counted > self._last_counted:
            counted = math.inf
        modelled = _at_or_above(tail.score_at(rate / _DOUBT))
        if modelled > self._last_counted:
            continued = tail.score_at(min(tail.fraction, rate / self._continuation(tail)))
            modelled = max(_next(self._last_counted), _at_or_above(continued))
        return min(counted, modelled)

    def _rarer_than(self, rank: int) -> float:
        score = float(self.largest[-rank])
        if self.pixels(score) <= rank:
            return score
        above = int(np.searchsorted(self.largest, np.float32(score), side="right"))
        return float(self.largest[above]) if above < len(self.largest) else _next(score)

    @property
    def _trusted(self) -> Tail | None:
        return self.tail if self.tail is not None and self.tail.trusted else None

    @property
    def _last_counted(self) -> float:
        return float(self.largest[-min(_COUNTED, len(self.largest))])

    def _continuation(self, tail: Tail) -> float:
        counted = self.pixels(self._last_counted) / self.count
        modelled = math.exp(tail.log_survival(self._last_counted))
        # Of scores far beyond all others, a tail with an end leaves no share that a number can hold.
        return _DOUBT if counted >= _DOUBT * modelled else counted / modelled


def _next(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _at_or_above(score: float) -> float:
    near = float(np.float32(score))
    return near if near >= score else _next(near)


def tail_in_manifest(manifest: Path, scores: Path):
    """The tail of a map in a manifest of hadgeo's, as facts for `Tail`.

    Args:
        manifest: The file, which need not exist.
        scores: The map.

    Returns:
        The facts, or None where the manifest says nothing of that map.
    """
    try:
        facts = json.loads(manifest.read_text(encoding="utf-8"))["facts"]
        facts = facts.get("decision", facts)
        named = Path(facts["scores"]).name == scores.name
        return facts["tail"] if named and isinstance(facts["tail"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_rates(path: str, tail_facts, cancelled=lambda: False) -> Rates:
    """Read a map for its rates, strip by strip.

    Args:
        path: The map.
        tail_facts: Called with the largest scores in rising order; gives the facts of the map's tail, or None.
        cancelled: Whether to give up.

    Raises:
        RatesError: It is no score map.
        Cancelled: As asked.
    """
    band = _band(path)
    count, largest = 0, np.empty(0, dtype=np.float32)
    for _, strip in _strips(band, path, cancelled):
        valid = strip[np.isfinite(strip)]
        count += valid.size
        largest = np.sort(np.concatenate([largest, valid]))[-KEPT:]
    if not count:
        raise RatesError("no pixel of the map has a score")
    facts = tail_facts(largest)
    rates = Rates(count, largest, Tail(facts) if facts else None)
    return Rates(count, largest, rates.tail, _peaks(band, path, rates, cancelled))


def belongs(facts: dict, largest: np.ndarray) -> bool:
    """Whether a tail is that of a map with such largest scores: as many of them lie above its start."""
    start = np.float32(facts["start"])
    above = len(largest) - int(np.searchsorted(largest, start, side="right"))
    return above == facts["excesses"] or (above == len(largest) < facts["excesses"])


def _band(path: str):
    try:
        dataset = gdal.Open(path)
    except RuntimeError:
        dataset = None
    if dataset is None or dataset.RasterCount != 1:
        raise RatesError(f"{path} is not a map of scores")
    # The band does not keep it.
    band = dataset.GetRasterBand(1)
    band.dataset = dataset
    return band


def _strips(band, path: str, cancelled):
    """Rows and their scores, float32, NaN where there is none."""
    rows = max(1, _STRIP // band.XSize)
    for first in range(0, band.YSize, rows):
        if cancelled():
            raise Cancelled
        try:
            stored = band.ReadAsArray(0, first, band.XSize, min(rows, band.YSize - first))
        except RuntimeError:
            stored = None
        if stored is None:
            raise RatesError(f"{path} is damaged")
        scores = stored.astype(np.float32)
        nodata = band.GetNoDataValue()
        if nodata is not None:
            scores[stored == nodata] = np.nan
        yield first, scores


def _peaks(band, path: str, rates: Rates, cancelled) -> np.ndarray | None:
    """The largest score of each group of pixels whose p-value is at most `GROW_PFA`, in rising order."""
    if GROW_PFA * rates.count < 1 or rates.highest_rate() < GROW_PFA:
        return None
    lower, keys, scores = rates.threshold(GROW_PFA), [], []
    for first, strip in _strips(band, path, cancelled):
        row, col = np.nonzero(strip >= np.float32(lower))
        # One column more than there are keeps the ends of rows apart from the beginnings of the next.
        keys.append((row + first).astype(np.int64) * (band.XSize + 1) + col)
        scores.append(strip[row, col])
    labels = connected(np.concatenate(keys), band.XSize + 1)
    best = np.full(labels.max(initial=-1) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, labels, np.concatenate(scores))
    return np.sort(best[np.isfinite(best)])


def connected(keys: np.ndarray, width: int) -> np.ndarray:
    """Label pixels that touch each other, also at a corner.

    Args:
        keys: Row times width plus column of each pixel, rising.
        width: One more than the columns of the map.

    Returns:
        For each pixel the index of the first pixel of its group.
    """
    labels = np.arange(len(keys))
    edges = []
    for step in (1, width, width - 1, width + 1) if len(keys) else ():
        nearest = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        here = np.flatnonzero(keys[nearest] == keys + step)
        edges.append(np.stack([here, nearest[here]]))
    first, second = np.concatenate(edges, axis=1) if edges else np.empty((2, 0), dtype=int)
    while True:
        # Each root goes to the lowest root that it touches, and then every pixel to the root of its root.
        low = np.minimum(labels[first], labels[second])
        after = labels.copy()
        np.minimum.at(after, labels[first], low)
        np.minimum.at(after, labels[second], low)
        while not np.array_equal(after, after[after]):
            after = after[after]
        after = after[labels]
        if np.array_equal(after, labels):
            return labels
        labels = after
