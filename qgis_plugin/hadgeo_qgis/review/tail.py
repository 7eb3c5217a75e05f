"""The tail of a map's background, evaluated as the backend does that fitted it; neither Qt nor QGIS."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The backend's own: where less than this of one pixel is left, a tail with an end goes on as an exponential.
_LEFT = 0.1


@dataclass(frozen=True)
class _Fit:
    """One generalised Pareto distribution over the scores beyond a start."""

    start: float
    fraction: float
    shape: float
    scale: float
    excesses: int

    def log_survival(self, score: float) -> float:
        beyond = max(score - self.start, 0.0)
        bend = self._bend
        shares = self._log_pareto(min(beyond, bend))
        past = max(beyond - bend, 0.0) * (-self._last / bend) if self.shape < 0 else 0.0
        return math.log(self.fraction) + shares - past

    def _log_pareto(self, excess: float) -> float:
        if abs(self.shape) < 1e-9:
            return -excess / self.scale
        return -math.log1p(max(self.shape * excess / self.scale, -1 + 1e-300)) / self.shape

    def score_at(self, log_share: float) -> float:
        decline = log_share - math.log(self.fraction)
        if self.shape < 0 and decline < self._last:
            return self.start + self._bend * decline / self._last
        return self.start + self._score(decline)

    def _score(self, decline: float) -> float:
        if abs(self.shape) < 1e-9:
            return -self.scale * decline
        return self.scale * math.expm1(-self.shape * decline) / self.shape

    @property
    def _last(self) -> float:
        return math.log(_LEFT / self.excesses)

    @property
    def _bend(self) -> float:
        return self._score(self._last) if self.shape < 0 else math.inf


class Tail:
    """The tail of a map's background, as a manifest holds it.

    Args:
        facts: Of the manifest.
    """

    def __init__(self, facts: dict) -> None:
        fits = [facts, *facts.get("further", ())]
        names = ("start", "fraction", "shape", "scale", "excesses")
        self._fits = [_Fit(*(fit[name] for name in names)) for fit in fits]
        self.start, self.fraction = self._fits[0].start, self._fits[0].fraction
        self.excesses = int(facts["excesses"])
        self.trusted = facts.get("quality") != "poor"
        self._joint = self._fits[-1].start if len(self._fits) > 1 else math.inf

    def log_survival(self, score: float) -> float:
        """Logarithm of the share of the background at or above a score."""
        if score <= self._joint:
            return self._fits[0].log_survival(score)
        declines = [fit.log_survival(score) - fit.log_survival(self._joint) for fit in self._fits]
        return self._fits[0].log_survival(self._joint) + sum(declines) / len(declines)

    def score_at(self, share: float) -> float:
        """The score that a share of the background reaches."""
        first = self._fits[0]
        decline = math.log(share) - first.log_survival(self._joint)
        if len(self._fits) == 1 or decline >= 0:
            return first.score_at(math.log(share))
        alone = [fit.score_at(fit.log_survival(self._joint) + decline) for fit in self._fits]
        low, high = min(alone), max(alone)
        # The mean of all lies between the least and the most.
        for _ in range(200):
            middle = (low + high) / 2
            if not low < middle < high:
                break
            if self.log_survival(middle) > math.log(share):
                low = middle
            else:
                high = middle
        return (low + high) / 2
