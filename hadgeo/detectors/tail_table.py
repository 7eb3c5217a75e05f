"""How rare a score is in its scene: from scores of any detector to evidence that can be added to another's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Share of the scores that a table's knots reach down to; rarer ones follow the power law.
_TOP = 0.01

#: From here to `_TOP` the exponent of the power law is measured: few targets are as common as that.
_SHOULDER = 0.1

#: Evidence between two knots, in nats.
_STEP = 1 / 16

#: The steepest power law: scores of which a hundredth are all alike have no tail to measure.
_STEEPEST = 100.0


@dataclass
class TailTable:
    """The evidence -log p of a score s, p the share of its scene's pixels that score at least as high.

    Up to the highest hundredth it is read off a table of quantiles. Beyond, where a sample says little and targets may
    have their part in it, p falls with a power of the score, p = 0.01 (s / s0)^-a, the exponent a measured between the
    highest tenth and the highest hundredth (the estimator of B. M. Hill, "A simple general approach to inference about
    the tail of a distribution", Annals of Statistics 3(5), 1975, from two quantiles instead of all scores above one, as
    J. Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3(1), 1975, measures
    tails). So a detector whose background has a light tail speaks louder for the same excess.

    Attributes:
        knots: Scores, ascending, float64 (n).
        low: What is subtracted from a score first, so that it is at least 0; a scalar.
        exponent: a, a scalar.
    """

    knots: Tensor
    low: Tensor
    exponent: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> TailTable:
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
        steepness = math.log(_SHOULDER / _TOP) / (top / shoulder).log()
        exponent = torch.where(top > shoulder, steepness, _STEEPEST).clamp(max=_STEEPEST)
        return cls(knots, low, torch.where(shoulder > 0, exponent, 1.0))

    def evidence(self, scores: Tensor) -> Tensor:
        """-log p of scores, in nats.

        Args:
            scores: In any shape; NaN where there is none.

        Returns:
            As large, float64, at least 0; NaN where `scores` is.
        """
        s = scores.to(self.knots) - self.low
        last = len(self.knots) - 1
        upper = torch.searchsorted(self.knots, s.nan_to_num(0.0).contiguous(), right=True).clamp(1, last)
        below, above = self.knots[upper - 1], self.knots[upper]
        share = ((s - below) / (above - below)).clamp(0.0, 1.0)
        # Two knots are alike where a table has more of them than there were scores.
        share = torch.where(above > below, share, (s >= above).to(share))
        width = -math.log(_TOP) / last
        inside = (upper - 1 + share) * width
        top = self.knots[-1].clamp(min=torch.finfo(torch.float64).tiny)
        beyond = last * width + self.exponent * (s.log() - top.log())
        return torch.where(s > top, beyond, torch.where(s.isnan(), torch.nan, inside))

    def state(self) -> dict[str, Tensor]:
        """Its tensors, by name."""
        return {"knots": self.knots, "low": self.low, "exponent": self.exponent}


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
