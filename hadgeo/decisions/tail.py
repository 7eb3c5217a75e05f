"""The tail of a scene's background: generalised Pareto distributions over its largest scores.

Anomalies lie in that tail too, so the fit has to bear some scores that are none of the background's. It minimises the
density power divergence, which weighs each score by a power of its own density; the maximum of the likelihood, where
each counts alike, follows a handful of targets far out.

Where the tail begins matters more than how it is fitted, and no rule finds the right place for every detector. So it is
fitted from several starts, each with half the scores of the one before, and what they say of rates beyond the outermost
start is averaged.

Far out, a scene with many targets has few scores of its background, and no fit bears that. What gives targets away is
that their pixels lie side by side: a tail of local maxima, in which an object counts about once, hardly knows them.
Where many more scores than it expects lie far out, these are left out, and the tail is fitted to the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import dropwhile

import numpy as np
import numpy.typing as npt
from scipy import optimize

Floats = npt.NDArray[np.floating]

#: Weight of robustness in the divergence: 0 is maximum likelihood, more bears more targets, and is less sure of the
#: tail where there are none.
_ALPHA = 0.3

#: Fewer excesses say nothing of a tail, and fewer than these nothing beside a fit to more of them.
MIN_EXCESSES, _MIN_FURTHER = 50, 100

#: How many starts are tried.
_STARTS = 7

#: Where a tail of local maxima expects so many scores, those in excess of it are looked for. Farther in, few targets do
#: not show; farther out, chance is too large a part.
_EXPECTED = 10

#: So many standard deviations more than expected are no chance. Neighbours correlate, so they are taken generously.
_SURE = 4.0

#: Leaving targets out makes those visible that are less bright. Scenes need one or two rounds.
_ROUNDS = 5

#: Where more than this share of the scores in the tail had to be left out, it would not be the background's.
_MOST = 0.05

#: Evenly spread order statistics stand for more excesses than this: the fit is no better for more.
_MAX_FITTED = 10_000

#: Below, the end of the tail would be nearer than scores that are in it; beyond 1 there is no mean excess.
_SHAPES = (-0.5, 1.0)

#: An end to the tail would call brighter pixels impossible: where less than this of one pixel is left, the tail goes on
#: as an exponential, as steep as it was on the whole.
_LEFT = 0.1

#: The Kolmogorov-Smirnov distance that one sample in twenty exceeds is this over the root of its size.
_KS_CHANCE = 1.36


@dataclass(frozen=True)
class Tail:
    """Share of the background above a score x > `start`: ``fraction * (1 + shape (x - start) / scale)**(-1 / shape)``.

    Beyond the start of the last of `further`, the share falls as the geometric mean of what all of them say.

    Attributes:
        start: Where the tail begins.
        fraction: Share of all scores that lie above `start`.
        shape: 0 for an exponential tail, more for a heavier one, less for a lighter one.
        scale: In the units of the scores.
        excesses: How many scores lie above `start`.
        distance: Kolmogorov-Smirnov distance between them and the model: the largest difference of the two shares.
        further: Fits that begin further out, in the order of their starts.
    """

    start: float
    fraction: float
    shape: float
    scale: float
    excesses: int
    distance: float
    further: tuple[Tail, ...] = ()

    def survival(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Share of the background at or above each score, in (0, `fraction`]."""
        return np.exp(self._log_survival(np.asarray(scores, dtype=np.float64)))

    def score_at(self, share: float) -> float:
        """The score that this share of the background, below `fraction`, reaches."""
        joint = self._joint
        decline = math.log(share) - float(self._log_alone(np.array(joint)))
        if not self.further or decline >= 0:
            return self._score_alone(math.log(share))
        # The mean of all lies between the least and the most.
        alone = [fit._score_alone(float(fit._log_alone(np.array(joint))) + decline) for fit in (self, *self.further)]

        def left(score: float) -> float:
            return float(self._log_survival(np.array(score))) - math.log(share)

        low, high = min(alone), max(alone)
        if not left(low) > 0 > left(high):
            return low
        return float(optimize.brentq(left, low, high, xtol=1e-12 * self.scale))

    @property
    def quality(self) -> str:
        """The fit in a word, by `distance` beyond what chance alone makes: good, fair or poor."""
        beyond = self.distance - _KS_CHANCE / math.sqrt(self.excesses)
        return "good" if beyond <= 0.01 else "fair" if beyond <= 0.05 else "poor"

    @property
    def _joint(self) -> float:
        """From where on all fits count."""
        return self.further[-1].start if self.further else math.inf

    def _log_survival(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        alone = self._log_alone(scores)
        if not self.further:
            return alone
        joint = np.array(self._joint)
        fits = (self, *self.further)
        declines = sum(fit._log_alone(np.maximum(scores, joint)) - fit._log_alone(joint) for fit in fits) / len(fits)
        return np.where(scores > joint, self._log_alone(joint) + declines, alone)

    def _log_alone(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What this fit by itself says."""
        beyond = np.maximum(scores - self.start, 0)
        shares = _log_pareto(np.minimum(beyond, self._bend), self.shape, self.scale)
        past = np.maximum(beyond - self._bend, 0) * (-self._last / self._bend) if self.shape < 0 else 0.0
        result: npt.NDArray[np.float64] = math.log(self.fraction) + shares - past
        return result

    def _score_alone(self, log_share: float) -> float:
        decline = log_share - math.log(self.fraction)
        if self.shape < 0 and decline < self._last:
            return self.start + self._bend * decline / self._last
        return self.start + _score_of_log_pareto(decline, self.shape, self.scale)

    @property
    def _last(self) -> float:
        """Logarithm of the share of the excesses at which a tail with an end turns into an exponential."""
        return math.log(_LEFT / self.excesses)

    @property
    def _bend(self) -> float:
        """The excess at which it does."""
        return _score_of_log_pareto(self._last, self.shape, self.scale) if self.shape < 0 else math.inf


def tail_size(count: int) -> int:
    """How many of the largest scores make the longest tail: 4 N^(2/3), at most a tenth.

    The starts lie on both sides of N^(2/3), one of the rules of thumb in C. Scarrott and A. MacDonald, "A review of
    extreme value threshold estimation and uncertainty quantification", REVSTAT 10(1), 2012, less its slow divisor
    log log N.
    """
    return int(min(4 * count ** (2 / 3), count / 10))


def fit_tail(largest: Floats, count: int, peaks: Floats | None = None) -> Tail | None:
    """Fit the tail of a scene by peaks over threshold.

    P. J. Northrop et al., "Cross-validatory extreme value threshold selection and uncertainty with application to ocean
    storm severity", Journal of the Royal Statistical Society C 66(1), 2017, average over starts too, by weights that
    the data give; here those that fit count alike. A start whose fit is poor does not count, nor one whose fit is no
    better than fair before the first good one.

    With local maxima, it is the tail of what remains when targets are left out. That neighbouring exceedances are of
    one event, and that the largest of each event have the same tail as all together, is why extremes are declustered
    (M. R. Leadbetter, "On a basis for 'peaks over threshold' modeling", Statistics & Probability Letters 12(4), 1991);
    that the largest are trimmed until the others agree with a tail is in S. Bhattacharya, M. Kallitsis and S. Stoev,
    "Data-adaptive trimming of the Hill estimator and detection of outliers in the extremes of heavy-tailed data",
    Electronic Journal of Statistics 13(1), 2019. Where nothing has to be left out, the local maxima change nothing.

    Args:
        largest: The largest scores in rising order. The first of them is the lowest start.
        count: Number of scores in the scene.
        peaks: Those of the largest that are local maxima of the map, in rising order; None where scores have no
            neighbours.

    Returns:
        The tail, a poor one if none fits better, or None where too few different scores lie above the first.
    """
    tail = _fit_from_starts(largest, largest, count)
    if tail is None or tail.quality == "poor" or peaks is None:
        return tail
    return _without_targets(tail, largest, peaks, count)


def _without_targets(tail: Tail, largest: Floats, peaks: Floats, count: int) -> Tail:
    """Fit again without what is too much for a good tail of local maxima, if anything is."""
    targets = 0
    for _ in range(_ROUNDS):
        rest = largest[: len(largest) - targets]
        background = _fit_from_starts(rest, peaks[peaks <= rest[-1]], count)
        if background is None or background.quality != "good" or background.fraction * count <= _EXPECTED:
            break
        reached = len(largest) - int(np.searchsorted(largest, background.score_at(_EXPECTED / count)))
        if reached - targets <= _EXPECTED + _SURE * math.sqrt(_EXPECTED):
            break
        targets = reached - _EXPECTED
        if targets > _MOST * len(largest):
            break
        rest = largest[: len(largest) - targets]
        trimmed = _fit_from_starts(rest, rest, count)
        if trimmed is None or trimmed.quality not in {"good", tail.quality}:
            break
        tail = trimmed
    return tail


def _fit_from_starts(largest: Floats, fitted: Floats, count: int) -> Tail | None:
    """Fit from the first of the largest scores and from others further out, to those of `fitted` that lie above."""
    fits: list[Tail] = []
    for halvings in range(_STARTS):
        kept = len(largest) >> halvings
        if halvings and kept <= _MIN_FURTHER:
            break
        tail = _fit(largest[len(largest) - kept :], fitted, count)
        if tail is not None and (not fits or tail.start > fits[-1].start):
            fits.append(tail)
    chosen = [tail for tail in fits if tail.quality != "poor"]
    if not chosen:
        return fits[-1] if fits else None
    # Far out, a fit from far in that is only fair is off by any factor.
    first, *further = list(dropwhile(lambda tail: tail.quality != "good", chosen)) or chosen
    return replace(first, further=tuple(further))


def _fit(largest: Floats, fitted: Floats, count: int) -> Tail | None:
    start = float(largest[0]) if len(largest) else math.nan
    excesses = np.asarray(fitted, dtype=np.float64) - start
    excesses = excesses[excesses > 0]
    if len(np.unique(excesses)) < MIN_EXCESSES:
        return None
    chosen = np.linspace(0, len(excesses) - 1, min(len(excesses), _MAX_FITTED)).round().astype(int)
    unit = float(np.median(excesses))
    shape, scale = _minimum_divergence(excesses[chosen] / unit)
    # Not above: it takes half a second to load, in runs that calibrate nothing too.
    from scipy import stats

    distance = stats.kstest(excesses, stats.genpareto(shape, scale=scale * unit).cdf).statistic
    share = float((largest > start).sum()) / count
    return Tail(start, share, shape, scale * unit, len(excesses), float(distance))


def _minimum_divergence(excesses: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto density f that minimise ∫ f^(1+a) - (1 + 1/a) mean(f(x)^a).

    A. Basu et al., "Robust and efficient estimation by minimising a density power divergence", Biometrika 85(3), 1998;
    S. F. Juárez and W. R. Schucany, "Robust and efficient estimation for the generalized Pareto distribution",
    Extremes 7, 2004, for this density, whose integral is scale^-a / (1 + a + a shape).
    """

    def divergence(parameters: npt.NDArray[np.float64]) -> float:
        shape, scale = float(parameters[0]), math.exp(parameters[1])
        integral = scale**-_ALPHA / (1 + _ALPHA * (1 + shape))
        # The density is the survival to the power of 1 + shape, over the scale.
        powers = np.exp(_ALPHA * ((1 + shape) * _log_pareto(excesses, shape, scale) - parameters[1]))
        return float(integral - (1 + 1 / _ALPHA) * powers.mean())

    # The divergence is flat where the start is far from the data: begin at the median's own exponential tail.
    start = np.array([0.1, math.log(1 / math.log(2))])
    found = optimize.minimize(divergence, start, method="Nelder-Mead", bounds=[_SHAPES, (-20, 20)])
    return float(found.x[0]), math.exp(found.x[1])


def _log_pareto(excesses: npt.NDArray[np.float64], shape: float, scale: float) -> npt.NDArray[np.float64]:
    """Logarithm of the survival of a generalised Pareto distribution."""
    if abs(shape) < 1e-9:
        return -excesses / scale
    with np.errstate(divide="ignore"):
        return -np.log1p(np.maximum(shape * excesses / scale, -1)) / shape


def _score_of_log_pareto(log_share: float, shape: float, scale: float) -> float:
    """The excess that this share, by its logarithm, reaches."""
    return -scale * log_share if abs(shape) < 1e-9 else scale * math.expm1(-shape * log_share) / shape
