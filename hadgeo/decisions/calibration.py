"""Calibrate a score map: which score has which false-alarm rate, over the whole scene and in constant memory.

The rate of a score is the share of the scene's pixels that reach it, as counted, or at most a quarter more than a
generalised Pareto tail of the background says (`hadgeo.decisions.tail`, where targets are left out of it). Targets can
only raise the count, so it bounds the background's rate from above; and beyond the last few pixels, where counting
ends, the tail goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.decisions.tail import Tail, fit_tail, tail_size
from hadgeo.errors import Cancelled, CubeError, ParameterError
from hadgeo.maps.reader import ScoreMap
from hadgeo.progress import SILENT, Progress, Stage

Scores = npt.NDArray[np.float32]

#: Bins of the histogram, and largest scores that are kept as they are.
_BINS = _KEPT = 2**20

#: Scores that are looked up at a time.
_PIECE = 2**20

#: A share counted from fewer pixels than this is left to the tail.
_COUNTED = 3

#: What a tail says of a share is not known any better than to this factor, so only a count beyond it speaks of targets.
_DOUBT = 1.25

#: No p-value is smaller, so that none is 0 in a float32 band.
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Rule:
    """Which pixels are flagged; exactly one criterion is given.

    Attributes:
        pfa: False-alarm rate: the fraction of background pixels that are flagged, in (0, 1).
        percentile: Percentile of the scores, in [0, 100).
        value: A score.
        top: Number of pixels, at least 1; more if several share the lowest score.

    Raises:
        ParameterError: None or several are given, or one is out of bounds.

    Examples:
        >>> str(Rule(pfa=1e-4))
        'pfa 0.0001'
    """

    pfa: float | None = None
    percentile: float | None = None
    value: float | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        if len(given) != 1:
            names = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
            raise ParameterError(f"give one of pfa, percentile, value and top, not {names}")
        if self.pfa is not None and not 0 < self.pfa < 1:
            raise ParameterError(f"pfa must be above 0 and below 1, such as 1e-3, not {self.pfa:g}")
        if self.percentile is not None and not 0 <= self.percentile < 100:
            raise ParameterError(f"percentile must be at least 0 and below 100, such as 99.9, not {self.percentile:g}")
        if self.value is not None and not abs(self.value) <= float(np.finfo(np.float32).max):
            raise ParameterError(f"value must be a score that a float32 map can hold, not {self.value:g}")
        if self.top is not None and self.top < 1:
            raise ParameterError(f"top must be at least 1 pixel, not {self.top}")

    def __str__(self) -> str:
        return next(f"{f.name} {getattr(self, f.name):g}" for f in fields(self) if getattr(self, f.name) is not None)


class _Histogram:
    """Counts of float32 scores, in bins that are equally wide in the order of the floats' bit patterns.

    Between two neighbouring floats nothing is lost; over all of them, a bin is 0.05 % of the score wide.
    """

    def __init__(self, lowest: float, highest: float) -> None:
        first, last = (int(_ordered(np.array([score], dtype=np.float32))[0]) for score in (lowest, highest))
        self._first, self._last = first, last
        self._shift = max(0, (last - first).bit_length() - (_BINS.bit_length() - 1))
        self._counts = np.zeros(((last - first) >> self._shift) + 1, dtype=np.int64)

    def bins(self, scores: Scores) -> npt.NDArray[np.int64]:
        """The bin of each score; -1 below the first, and one past the last beyond it."""
        keys = _ordered(scores).astype(np.int64)
        found = (keys - self._first) >> self._shift
        found[keys < self._first] = -1
        found[keys > self._last] = len(self._counts)
        return found

    def add(self, scores: Scores) -> None:
        """Count scores that lie between the lowest and the highest."""
        self._counts += np.bincount(self.bins(scores), minlength=len(self._counts))

    @property
    def filled(self) -> int:
        """How many bins hold a score."""
        return int(np.count_nonzero(self._counts))

    @cached_property
    def at_least(self) -> npt.NDArray[np.int64]:
        """How many scores lie in or above each bin, and 0 after the last."""
        return np.append(np.cumsum(self._counts[::-1])[::-1], 0)

    def lower_edge(self, number: int) -> float:
        """The smallest score of a bin."""
        return _score(self._first + (number << self._shift))


@dataclass(frozen=True)
class Calibration:
    """What a score means in its scene; from `calibrate`.

    Attributes:
        count: Number of pixels that have a score.
        lowest: The smallest score.
        largest: The largest scores in rising order, float32, all of them in a small scene.
        tail: The background's tail, or None where the scores are too few, or too few of them differ. If its fit is
            poor, rates are counted only.
    """

    count: int
    lowest: float
    largest: Scores = field(repr=False)
    tail: Tail | None
    _histogram: _Histogram = field(repr=False)

    @property
    def highest(self) -> float:
        """The largest score."""
        return float(self.largest[-1])

    @property
    def varied(self) -> int:
        """How many different scores there are, to within a bin."""
        return self._histogram.filled

    def p_values(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The fraction of background pixels that reach a score, in (0, 1], falling as scores rise.

        Args:
            scores: Scores of any shape, NaN where there is none.

        Returns:
            p-values of the same shape, NaN where there is no score.
        """
        values = np.asarray(scores, dtype=np.float32)
        p = np.full(values.size, np.nan)
        for piece, own in zip(_pieces(values.ravel()), _pieces(p), strict=True):
            valid = ~np.isnan(piece)
            own[valid] = self._shares(piece[valid])
        return p.reshape(values.shape)

    def reached(self, scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """How many pixels of the map reach each of some scores, (score,); of ordinary scores, to within 0.05 %."""
        return self._counts(np.asarray(scores, dtype=np.float32))

    def expected_false_alarms(self, score: float) -> float:
        """How many background pixels of such a scene reach a score."""
        return self.count * float(self.p_values(score))

    def threshold(self, rule: Rule) -> float:
        """The lowest score at which pixels are flagged.

        Returns:
            A float32 value. Where no score of the map is rare enough, one above them all.

        Raises:
            ParameterError: The rule asks for more pixels than there are, or for a rate below one pixel of the scene
                although no tail fits the map.
        """
        if rule.value is not None:
            return rule.value
        if rule.top is not None:
            if rule.top > self.count:
                raise ParameterError(f"top {rule.top}: only {self.count} pixels have a score; ask for fewer")
            return self._score_of_rank(rule.top)
        if rule.percentile is not None:
            return self._score_of_rank(max(1, self._rank(1 - rule.percentile / 100)))
        assert rule.pfa is not None  # by the rule's own check
        return self._score_of_rate(rule.pfa)

    def _shares(self, scores: Scores) -> npt.NDArray[np.float64]:
        shares: npt.NDArray[np.float64] = self._counts(scores) / self.count
        tail = self._trusted
        if tail is None:
            return np.maximum(shares, 1 / self.count)
        rare = scores > tail.start
        modelled = tail.survival(scores[rare])
        within = np.minimum(shares[rare], _DOUBT * modelled)
        shares[rare] = np.where(scores[rare] > self._last_counted, self._continuation(tail) * modelled, within)
        return np.maximum(shares, _SMALLEST)

    def _counts(self, scores: Scores) -> npt.NDArray[np.int64]:
        """How many scores of the map lie at or above each of these; below the kept ones, to within a bin."""
        kept = len(self.largest) - np.searchsorted(self.largest, scores, side="left")
        bins = self._histogram.bins(scores)
        # Of the scores that equal the smallest kept one, some may not have been kept.
        return np.where(scores > self.largest[0], kept, np.where(bins < 0, self.count, self._histogram.at_least[bins]))

    @property
    def _last_counted(self) -> float:
        """The largest score that is reached by enough pixels to count them."""
        return float(self.largest[-min(_COUNTED, len(self.largest))])

    @property
    def _trusted(self) -> Tail | None:
        return None if self.tail is None or self.tail.quality == "poor" else self.tail

    def _continuation(self, tail: Tail) -> float:
        """By what the tail is multiplied where counting ends, so that it goes on from there."""
        counted = int(self._counts(np.array([self._last_counted], dtype=np.float32))[0]) / self.count
        modelled = float(tail.survival(self._last_counted))
        # Of scores far beyond all others, a tail with an end leaves no share that a number can hold.
        return _DOUBT if counted >= _DOUBT * modelled else counted / modelled

    def _score_of_rank(self, rank: int) -> float:
        if rank <= len(self.largest):
            return float(self.largest[-rank])
        # The highest bin that, with those above it, holds so many.
        return self._histogram.lower_edge(int(np.searchsorted(-self._histogram.at_least, -rank, side="right")) - 1)

    def _rank(self, share: float) -> int:
        """How many whole pixels a share of the scene is, forgiving a share that is no binary fraction."""
        return math.floor(self.count * share * (1 + 1e-12))

    def _score_of_rate(self, rate: float) -> float:
        rank = self._rank(rate)
        tail = self._trusted
        if tail is None:
            if not rank:
                raise ParameterError(
                    f"pfa {rate:g}: {self.count} pixels cannot show a rate below {1 / self.count:.2g}, and no tail "
                    "fits their largest scores; ask for a higher rate, or use top or value"
                )
            return self._rarer_than(rank)
        counted = self._rarer_than(rank) if rank else math.inf
        if rate >= tail.fraction:
            return counted
        if counted > self._last_counted:
            counted = math.inf
        modelled = _at_or_above(tail.score_at(rate / _DOUBT))
        if modelled > self._last_counted:
            continued = tail.score_at(min(tail.fraction, rate / self._continuation(tail)))
            modelled = max(_next_float(self._last_counted), _at_or_above(continued))
        return min(counted, modelled)

    def _rarer_than(self, rank: int) -> float:
        """The smallest score that at most so many pixels reach: a frequent one may be reached by too many."""
        score = self._score_of_rank(rank)
        reached = self._counts(np.array([score], dtype=np.float32))[0]
        return score if reached <= rank else self._next_above(score)

    def _next_above(self, score: float) -> float:
        """The smallest score of the map above one that it holds, to within a bin; above the highest, the next float."""
        if score < self.largest[0]:
            number = int(self._histogram.bins(np.array([score], dtype=np.float32))[0])
            return self._histogram.lower_edge(number + 1)
        index = int(np.searchsorted(self.largest, np.float32(score), side="right"))
        return float(self.largest[index]) if index < len(self.largest) else _next_float(score)


def calibrate(scores: ScoreMap | Sequence[ScoreMap], *, progress: Progress = SILENT) -> Calibration:
    """Calibrate a map, reading it twice: once for the range of its scores, once to count them.

    Args:
        scores: The map, or several whose scores are on one scale and are counted together.
        progress: Follows the reading and may cancel it.

    Returns:
        What a score of this map means: its p-value, and the threshold of a rule.

    Raises:
        CubeError: No pixel has a score.
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.

    Examples:
        >>> calibration = calibrate(open_scores("line_anomaly.tif"))
        >>> threshold = calibration.threshold(Rule(pfa=1e-4))
        >>> print(threshold, calibration.expected_false_alarms(threshold))
    """
    maps = [scores] if isinstance(scores, ScoreMap) else list(scores)
    lowest, highest, count = math.inf, -math.inf, 0
    for strip, _ in _strips(maps, progress, Stage.RANGE):
        valid = strip[np.isfinite(strip)]
        if len(valid):
            lowest, highest = min(lowest, float(valid.min())), max(highest, float(valid.max()))
            count += len(valid)
    if not count:
        raise CubeError(f"{maps[0].path}: no pixel has a score; is it the right map?")
    histogram = _Histogram(lowest, highest)
    largest = peaks = np.empty(0, dtype=np.float32)
    in_tail = min(tail_size(count) + 1, _KEPT)
    for strip, own in _strips(maps, progress, Stage.CALIBRATE, margin=1):
        values = strip[own]
        for piece in _pieces(values[np.isfinite(values)]):
            histogram.add(piece)
            largest = _keep(largest, piece)
        bar = float(largest[-in_tail]) if len(largest) >= in_tail else -math.inf
        peaks = np.sort(np.concatenate([peaks[peaks > bar], _local_maxima(strip, own, bar)]))
    return Calibration(count, lowest, largest, _tail(largest, count, peaks), histogram)


def _strips(
    maps: Sequence[ScoreMap], progress: Progress, stage: str, *, margin: int = 0
) -> Iterator[tuple[Scores, slice]]:
    """The scores of maps strip by strip, with rows around each strip, and which rows are its own."""
    for scores in maps:
        for rows, strip in followed(scores, progress, stage, margin=margin):
            first = min(margin, rows.start)
            yield strip, slice(first, first + rows.stop - rows.start)


def _local_maxima(strip: Scores, own: slice, bar: float) -> Scores:
    """Scores above a bar, in some rows of a strip, that none of their eight neighbours exceeds."""
    padded = np.pad(np.where(np.isfinite(strip), strip, -np.inf), 1, constant_values=-np.inf)
    row, col = np.nonzero(padded[1:-1, 1:-1][own] > bar)
    row += own.start
    around = [padded[row + down, col + right] for down in range(3) for right in range(3)]
    centre = padded[row + 1, col + 1]
    highest: Scores = centre[centre == np.maximum.reduce(around)]
    return highest


def calibrate_values(values: Scores, tail: Tail | None = None) -> Calibration:
    """Calibrate values that are in memory, at least one and none of them NaN.

    Args:
        values: They, (value,).
        tail: Their tail, where they are too few to fit one.
    """
    histogram = _Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    largest = np.sort(values)[-_KEPT:]
    return Calibration(len(values), float(values.min()), largest, _tail(largest, len(values)) or tail, histogram)


def _tail(largest: Scores, count: int, peaks: Scores | None = None) -> Tail | None:
    return fit_tail(largest[-min(tail_size(count) + 1, len(largest)) :], count, peaks)


def _keep(largest: Scores, more: Scores) -> Scores:
    """The largest of two lots of scores, in rising order."""
    if len(largest) == _KEPT:
        more = more[more > largest[0]]
    return np.sort(np.concatenate([largest, more]))[-_KEPT:] if len(more) else largest


def followed(
    scores: ScoreMap, progress: Progress, stage: str, *, margin: int = 0
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Read a map strip by strip, reporting to `progress`.

    Raises:
        Cancelled: `progress` asked for it.
    """
    rows, cols = scores.shape
    progress.stage(stage, rows * cols)
    for strip, values in scores.strips(margin=margin):
        if progress.cancelled():
            raise Cancelled("stopped on request")
        yield strip, values
        progress.advance((strip.stop - strip.start) * cols)


def _pieces(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Parts of a long row, as views: what is computed from one at a time stays small."""
    return (values[start : start + _PIECE] for start in range(0, len(values), _PIECE))


def _ordered(scores: Scores) -> npt.NDArray[np.uint32]:
    """Whole numbers that are ordered as the floats are: their bits, those of negative ones turned around."""
    # Adding 0 makes -0 equal to 0 in its bits too.
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _score(key: int) -> float:
    """The float of a number of `_ordered`."""
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])


def _at_or_above(score: float) -> float:
    """The smallest float32 that is not below a score."""
    near = float(np.float32(score))
    return near if near >= score else _next_float(near)


def _next_float(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
