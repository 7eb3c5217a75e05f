"""How precise a map is, by what a person says of its anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: How sure an interval is.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Precision:
    """How many anomalies are real finds.

    Attributes:
        accepted: Real finds.
        decided: Those that were accepted or rejected.
    """

    accepted: int
    decided: int

    @property
    def value(self) -> float:
        """The share of real finds; NaN where nothing was decided."""
        return self.accepted / self.decided if self.decided else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 %, as if the anomalies were drawn at random; 0 to 1 where nothing was decided.

        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. American Statistical
        Association 22, 1927, doi 10.1080/01621459.1927.10502953, without correction for continuity.
        """
        if not self.decided:
            return 0.0, 1.0
        from scipy.stats import binomtest

        low, high = binomtest(self.accepted, self.decided).proportion_ci(_CONFIDENCE, method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3g} ({self.accepted} of {self.decided}; 95 %: {low:.3g} to {high:.3g})"

    def facts(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "precision": self.value if self.decided else None,
            "interval": list(self.interval),
            "accepted": self.accepted,
            "decided": self.decided,
        }


def steps_of(accepted: Sequence[float], rejected: Sequence[float]) -> list[tuple[float, Precision]]:
    """The precision of all that reach each of some scores.

    Args:
        accepted: Scores of real finds.
        rejected: Scores of those that do not matter.

    Returns:
        Each score with that precision, falling.
    """
    steps = []
    for score in sorted({*accepted, *rejected}, reverse=True):
        found, wrong = (sum(one >= score for one in scores) for scores in (accepted, rejected))
        steps.append((score, Precision(found, found + wrong)))
    return steps
