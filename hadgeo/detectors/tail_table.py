"""How rare a score is in its scene: from scores of any detector to evidence that can be added to another's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

#: Share of the scores that a table's knots reach down to; rarer ones follow a law.
_TOP = 0.01

#: From here to `_TOP` the slope of that law is measured: few targets are as common as that.
_SHOULDER = 0.1

#: Evidence between two knots, in nats.
_STEP = 1 / 16

#: The steepest slope: scores of which a hundredth are all alike have no tail to measure.
_STEEPEST = 100.0


@dataclass
class TailTable(ABC):
    """The evidence -log p of a score s, p the share of its scene's pixels that score at least as high.

    Up to the highest hundredth it is read off a table of quantiles. Beyond, where a sample says little and targets may
    have their part in it, p falls by a law of which a subclass says the form. How steeply is measured between the
    highest tenth and the highest hundredth, as J. Pickands, "Statistical inference using extreme order statistics",
    Annals of Statistics 3(1), 1975, measures tails by quantiles. So a detector whose background has a light tail speaks
    louder for the same excess.

    Attributes:
        knots: Scores, ascending, float64 (n).
        low: What is subtracted from a score first, so that it is at least 0; a scalar.
        slope: How steeply p falls beyond the last knot, a scalar.
    """

    knots: Tensor
    low: Tensor
    slope: Tensor

    #: What the slope is called in a model, which tells one law from another.
    slope_name: ClassVar[str]

    @classmethod
    def of(cls, scores: Tensor) -> Self:
        """The table of a scene.

        Args:
            scores: Finite scores of pixels spread over the scene, at least one, in any shape.
        """
        ordered = scores.flatten().double().sort().values
        low = ordered[0].clamp(max=0.0)
        ordered = ordered - low
        evidence = torch.arange(0, -math.log(_TOP) + _STEP / 2, _STEP, dtype=torch.float64, device=ordered.device)
        shoulder, top = _quantiles(ordered, torch.tensor([_SHOULDER, _TOP], dtype=torch.float64, device=ordered.device))
        knots = torch.cat([_quantiles(ordered, (-evidence).exp())[:-1], top[None]])
        return cls(knots, low, cls._slope(shoulder, top))

    @classmethod
    def _slope(cls, shoulder: Tensor, top: Tensor) -> Tensor:
        """The slope, of the scores that the highest tenth and the highest hundredth exceed."""
        slope = math.log(_SHOULDER / _TOP) / cls._excess(top, shoulder)
        return torch.where(top > shoulder, slope, _STEEPEST).clamp(max=_STEEPEST)

    @staticmethod
    @abstractmethod
    def _excess(s: Tensor, top: Tensor) -> Tensor:
        """By how much scores exceed another, as the law measures it."""

    def evidence(self, scores: Tensor) -> Tensor:
        """-log p of scores, in nats.

        Args:
            scores: In any shape; NaN where there is none.

        Returns:
            As large, float64, at least 0; NaN where `scores` is.
        """
        s = scores.to(self.knots) - self.low
        last = len(self.knots) - 1
        upper = torch.searchsorted(self.knots, s.nan_to_num(0.0).contiguous()).clamp(1, last)
        below, above = self.knots[upper - 1], self.knots[upper]
        # Where many scores are the least of all, they are alike, and nothing speaks for any of them.
        share = torch.where(above > below, ((s - below) / (above - below)).clamp(0.0, 1.0), 0.0)
        width = -math.log(_TOP) / last
        inside = (upper - 1 + share) * width
        top = self.knots[-1]
        beyond = last * width + self.slope * self._excess(s, top)
        return torch.where(s > top, beyond, torch.where(s.isnan(), torch.nan, inside))

    def state(self) -> dict[str, Tensor]:
        """Its tensors, by name."""
        return {"knots": self.knots, "low": self.low, self.slope_name: self.slope}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> TailTable:
        """The table of `state`."""
        kind = next(kind for kind in (PowerTable, ExponentialTable) if kind.slope_name in state)
        return kind(state["knots"], state["low"], state[kind.slope_name])


class PowerTable(TailTable):
    """Of a detector's scores: p = 0.01 (s / s0)^-a beyond the highest hundredth.

    The estimator is that of B. M. Hill, "A simple general approach to inference about the tail of a distribution",
    Annals of Statistics 3(5), 1975, from two quantiles instead of all scores above one.
    """

    slope_name = "exponent"

    @classmethod
    def _slope(cls, shoulder: Tensor, top: Tensor) -> Tensor:
        # No power leads from 0 anywhere.
        return torch.where(shoulder > 0, super()._slope(shoulder, top), 1.0)

    @staticmethod
    def _excess(s: Tensor, top: Tensor) -> Tensor:
        # A detector may score 0 in 99 of 100 pixels.
        return s.log() - top.clamp(min=torch.finfo(torch.float64).tiny).log()


class ExponentialTable(TailTable):
    """Of scores that are logarithms of shares themselves, as evidence is: p = 0.01 exp(-a (s - s0)) beyond it."""

    slope_name = "rate"

    @staticmethod
    def _excess(s: Tensor, top: Tensor) -> Tensor:
        return s - top


def _quantiles(ordered: Tensor, tails: Tensor) -> Tensor:
    """Scores that shares of all exceed, by linear interpolation.

    Args:
        ordered: Scores, ascending.
        tails: Shares in (0, 1].
    """
    place = (1 - tails) * (len(ordered) - 1)
    floor = place.floor().long()
    ceiling = (floor + 1).clamp(max=len(ordered) - 1)
    low, high = ordered[floor], ordered[ceiling]
    return low + (high - low) * (place - floor)
