"""How sure a metric is, by bootstrap.

Neighbouring pixels are alike, so drawing pixels would make intervals far too narrow. What is drawn, with replacement,
are the objects of the truth, each with all of its pixels, and square blocks of the background (a block bootstrap:
Künsch, Annals of Statistics 17(3), 1989, doi 10.1214/aos/1176347265, in two dimensions and without overlap). All
resamples are computed together: a resample is a vector of weights, and each metric is made of sums over objects and
blocks that are counted once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from hadgeo.metrics.objects import truth_objects
from hadgeo.metrics.roc import Basics, Float, Scores, rank, scale
from hadgeo.windows import tile

#: About as many blocks of background are drawn from ...
_BLOCKS = 400

#: ... but none is smaller than this, in pixels a side.
_SMALLEST_SIDE = 8

#: Distinct scores of targets that are told apart; more are put into bins of equal counts.
_BINS = 2048

#: Resamples computed at a time.
_BATCH = 500


@dataclass(frozen=True)
class _Counts:
    """What is counted once, for O objects, B blocks and K bins of target scores, in ascending order.

    Attributes:
        found: (O, K) target pixels of an object in a bin.
        reached: (B, K) background pixels of a block at or above a bin's lowest score.
        passed: (B, K) those above its highest.
        sizes: (B,) background pixels of a block.
        target_sums: (O,) sums of the scaled scores of objects.
        background_sums: (B,) those of blocks.
    """

    found: csr_array
    reached: Float
    passed: Float
    sizes: Float
    target_sums: Float
    background_sums: Float


def resample(scores: Scores, truth: npt.NDArray[np.bool_], *, resamples: int = 1000, seed: int = 0) -> Basics:
    """Draw objects and blocks of background, with replacement, and compute what all metrics follow from.

    The scale of the scores is that of the whole map in every resample. With more than 2,048 distinct scores of target
    pixels, thresholds are put into 2,048 bins of equal counts, which moves P_D and AP by about a bin's share.

    Args:
        scores: (y, x), NaN where a pixel has no score or no truth.
        truth: (y, x), True on targets.
        resamples: How many, R.
        seed: Makes the draws repeatable.

    Returns:
        Arrays (R,).

    Raises:
        TruthError: One of the classes has no pixel.
    """
    counts = _count(scores, truth)
    rng = np.random.default_rng(seed)
    batches = [_weighted(counts, rng, min(_BATCH, resamples - start)) for start in range(0, resamples, _BATCH)]
    return Basics(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def interval(values: Float, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a metric's resamples.

    Args:
        values: (R,) of `resample`, through a `Metric.value`.
        level: Its coverage, in (0, 1).
    """
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weighted(counts: _Counts, rng: np.random.Generator, resamples: int) -> Basics:
    objects, blocks = counts.found.shape[0], len(counts.sizes)
    drawn = rng.multinomial(objects, np.full(objects, 1 / objects), size=resamples).astype(np.float64)
    tiles = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(np.float64)
    found = drawn @ counts.found
    reached, passed = tiles @ counts.reached, tiles @ counts.passed
    targets, background = found.sum(axis=1), tiles @ counts.sizes
    hits = found[:, ::-1].cumsum(axis=1)[:, ::-1]
    # Where a resample has neither hits nor alarms at a threshold, nothing is found there either.
    precision = hits / np.maximum(hits + reached, 1)

    def detected(rate: float) -> Float:
        allowed = reached <= rate * background[:, None]
        best: Float = np.where(allowed, hits, 0).max(axis=1) / targets
        return best

    return Basics(
        d_f=1 - (found * (reached + passed)).sum(axis=1) / 2 / (targets * background),
        d_tau=drawn @ counts.target_sums / targets,
        f_tau=tiles @ counts.background_sums / background,
        ap=(found * precision).sum(axis=1) / targets,
        pd_3=detected(1e-3),
        pd_4=detected(1e-4),
    )


def _count(scores: Scores, truth: npt.NDArray[np.bool_]) -> _Counts:
    ranked = rank(scores, truth)
    low, span = scale(ranked)
    lower, upper = _bins(ranked.targets)
    scored = truth & np.isfinite(scores)
    values = scores[scored]
    # Objects without any score are not drawn.
    names, owner = np.unique(truth_objects(truth)[0][scored], return_inverse=True)
    place = np.searchsorted(lower, values, "right") - 1
    blocks = list(_blocks(scores, truth))
    return _Counts(
        found=csr_array((np.ones(len(values)), (owner, place)), shape=(len(names), len(lower))),
        reached=np.array([len(block) - np.searchsorted(block, lower, "left") for block in blocks], dtype=np.float64),
        passed=np.array([len(block) - np.searchsorted(block, upper, "right") for block in blocks], dtype=np.float64),
        sizes=np.array([len(block) for block in blocks], dtype=np.float64),
        target_sums=np.bincount(owner, weights=(values.astype(np.float64) - low) / span).astype(np.float64),
        background_sums=np.array([(block.sum(dtype=np.float64) - len(block) * low) / span for block in blocks]),
    )


def _bins(targets: Scores) -> tuple[Scores, Scores]:
    """Lowest and highest score of each bin of target scores; each distinct score is one, unless there are too many."""
    distinct = np.unique(targets)
    if len(distinct) <= _BINS:
        return distinct, distinct
    lower = np.unique(targets[np.linspace(0, len(targets), _BINS, endpoint=False).astype(int)])
    return lower, targets[np.append(np.searchsorted(targets, lower[1:], "left"), len(targets)) - 1]


def _blocks(scores: Scores, truth: npt.NDArray[np.bool_]) -> Iterator[Scores]:
    """The background's scores of each block that has any, sorted."""
    side = max(_SMALLEST_SIDE, math.ceil(math.sqrt(scores.size / _BLOCKS)))
    for window in tile(scores.shape, (side, side)):
        part = scores[window.rows, window.cols]
        background = part[np.isfinite(part) & ~truth[window.rows, window.cols]]
        if background.size:
            background.sort()
            yield background
