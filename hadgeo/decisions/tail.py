"""The tail of a scene's background: a generalised Pareto distribution over the largest scores.

Anomalies lie in that tail too, so the fit has to bear some scores that are none of the background's. It minimises the
density power divergence, which weighs each score by a power of its own density; the maximum of the likelihood, where
each counts alike, follows a handful of targets far out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Floats = npt.NDArray[np.floating]

#: Weight of robustness in the divergence: 0 is maximum likelihood, more bears more targets, and is less sure of the
#: tail where there are none.
_ALPHA = 0.3

#: Fewer excesses say nothing of a tail, and fewer than these nothing against a poor fit to more of them.
MIN_EXCESSES, _MIN_RETRIED = 50, 500

#: Evenly spread order statistics stand for more excesses than this: the fit is no better for more.
_MAX_FITTED = 20_000

#: An end to the tail would call the brightest pixels impossible, and beyond 1 there is no mean excess.
_SHAPES = (0.0, 1.0)

#: The Kolmogorov-Smirnov distance that one sample in twenty exceeds is this over the root of its size.
_KS_CHANCE = 1.36


@dataclass(frozen=True)
class Tail:
    """Share of the background above a score x > `start`: ``fraction * (1 + shape (x - start) / scale)**(-1 / shape)``.

    Attributes:
        start: Where the tail begins.
        fraction: Share of all scores that lie above `start`.
        shape: 0 for an exponential tail, more for a heavier one, at most 1.
        scale: In the units of the scores.
        excesses: How many scores lie above `start`.
        distance: Kolmogorov-Smirnov distance between them and the model: the largest difference of the two shares.
    """

    start: float
    fraction: float
    shape: float
    scale: float
    excesses: int
    distance: float

    def survival(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Share of the background at or above each score, in (0, `fraction`]."""
        beyond = np.maximum(np.asarray(scores, dtype=np.float64) - self.start, 0)
        shares: npt.NDArray[np.float64] = self.fraction * stats.genpareto.sf(beyond, self.shape, scale=self.scale)
        return shares

    def score_at(self, share: float) -> float:
        """The score that this share of the background, below `fraction`, reaches."""
        return self.start + float(stats.genpareto.isf(share / self.fraction, self.shape, scale=self.scale))

    @property
    def quality(self) -> str:
        """The fit in a word, by `distance` beyond what chance alone makes: good, fair or poor."""
        beyond = self.distance - _KS_CHANCE / math.sqrt(self.excesses)
        return "good" if beyond <= 0.01 else "fair" if beyond <= 0.05 else "poor"


def tail_size(count: int) -> int:
    """How many of the largest scores make the tail: N^(2/3).

    One of the rules of thumb in C. Scarrott and A. MacDonald, "A review of extreme value threshold estimation and
    uncertainty quantification", REVSTAT 10(1), 2012, less its slow divisor log log N.
    """
    return int(count ** (2 / 3))


def fit_tail(largest: Floats, count: int) -> Tail | None:
    """Fit the tail of a scene by peaks over threshold.

    Where the fit is poor, because the tail of the scene begins further out, the upper quarter is tried.

    Args:
        largest: The largest scores in rising order. The first of them is where the tail begins.
        count: Number of scores in the scene.

    Returns:
        The tail, or None where too few different scores lie above the first.
    """
    tail = _fit(largest, count)
    while tail is not None and tail.quality == "poor" and tail.excesses >= 4 * _MIN_RETRIED:
        shorter = _fit(largest[-tail.excesses // 4 :], count)
        if shorter is None:
            break
        tail = shorter
    return tail


def _fit(largest: Floats, count: int) -> Tail | None:
    start = float(largest[0]) if len(largest) else math.nan
    excesses = np.asarray(largest, dtype=np.float64) - start
    excesses = excesses[excesses > 0]
    if len(np.unique(excesses)) < MIN_EXCESSES:
        return None
    chosen = np.linspace(0, len(excesses) - 1, min(len(excesses), _MAX_FITTED)).round().astype(int)
    unit = float(np.median(excesses))
    shape, scale = _minimum_divergence(excesses[chosen] / unit)
    distance = stats.kstest(excesses, stats.genpareto(shape, scale=scale * unit).cdf).statistic
    return Tail(start, len(excesses) / count, shape, scale * unit, len(excesses), float(distance))


def _minimum_divergence(excesses: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto density f that minimise ∫ f^(1+a) - (1 + 1/a) mean(f(x)^a).

    A. Basu et al., "Robust and efficient estimation by minimising a density power divergence", Biometrika 85(3), 1998;
    S. F. Juárez and W. R. Schucany, "Robust and efficient estimation for the generalized Pareto distribution",
    Extremes 7, 2004, for this density, whose integral is scale^-a / (1 + a + a shape).
    """

    def divergence(parameters: npt.NDArray[np.float64]) -> float:
        shape, scale = float(parameters[0]), math.exp(parameters[1])
        integral = scale**-_ALPHA / (1 + _ALPHA * (1 + shape))
        powers = np.exp(_ALPHA * stats.genpareto.logpdf(excesses, shape, scale=scale))
        return float(integral - (1 + 1 / _ALPHA) * powers.mean())

    # The divergence is flat where the start is far from the data: begin at the median's own exponential tail.
    start = np.array([0.1, math.log(1 / math.log(2))])
    found = optimize.minimize(divergence, start, method="Nelder-Mead", bounds=[_SHAPES, (-20, 20)])
    return float(found.x[0]), math.exp(found.x[1])
