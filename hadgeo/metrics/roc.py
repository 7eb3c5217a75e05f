"""Pixel by pixel: the 3-D ROC family, average precision, and detection at a false-alarm rate.

The 3-D ROC family is that of C.-I Chang, "An Effective Evaluation Tool for Hyperspectral Target Detection: 3D Receiver
Operating Characteristic Curve Analysis", IEEE TGRS 59(6), 2021, doi 10.1109/TGRS.2020.3021671: besides the usual curve
of P_D against P_F, those of P_D and of P_F against the threshold tau, on scores scaled to [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hadgeo.errors import TruthError

Float = npt.NDArray[np.float64]
Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ranked:
    """The scores of both classes, each in ascending order; all that a metric of pixels depends on.

    Attributes:
        targets: (T,) scores of target pixels, T at least 1.
        background: (N,) scores of background pixels, N at least 1.
    """

    targets: Scores
    background: Scores


class Basics(NamedTuple):
    """What all metrics follow from; each a number, or one for each bootstrap resample.

    Attributes:
        d_f: AUC(D,F).
        d_tau: AUC(D,tau).
        f_tau: AUC(F,tau).
        ap: Average precision.
        pd_3: P_D at P_F = 1e-3.
        pd_4: P_D at P_F = 1e-4.
    """

    d_f: Float
    d_tau: Float
    f_tau: Float
    ap: Float
    pd_3: Float
    pd_4: Float


@dataclass(frozen=True)
class Metric:
    """A figure of merit, and how it is made.

    Attributes:
        key: Its name in JSON.
        name: Its name in print.
        formula: How it follows from the scores.
        value: The same from `Basics`.
        digits: Decimals in print.
    """

    key: str
    name: str
    formula: str
    value: Callable[[Basics], Float]
    digits: int = 4


def _snpr(basic: Basics) -> Float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(basic.d_tau, basic.f_tau)


#: Every figure that is reported, in the order of print. All but AP and P_D are Chang's (2021). "AUC_ODP" has two
#: formulas in circulation: that with AUC(D,F) is called overall detection here (OD), the other its probability (ODP).
METRICS = (
    Metric("auc_d_f", "AUC(D,F)", "integral of P_D over P_F", lambda b: b.d_f, 5),
    Metric("auc_d_tau", "AUC(D,tau)", "integral of P_D over tau = mean scaled score of targets", lambda b: b.d_tau),
    Metric("auc_f_tau", "AUC(F,tau)", "integral of P_F over tau = mean scaled score of background", lambda b: b.f_tau),
    Metric("auc_td", "AUC_TD", "AUC(D,F) + AUC(D,tau)", lambda b: b.d_f + b.d_tau),
    Metric("auc_bs", "AUC_BS", "AUC(D,F) - AUC(F,tau)", lambda b: b.d_f - b.f_tau),
    Metric("auc_tdbs", "AUC_TDBS", "AUC(D,tau) - AUC(F,tau)", lambda b: b.d_tau - b.f_tau),
    Metric("auc_snpr", "AUC_SNPR", "AUC(D,tau) / AUC(F,tau)", _snpr),
    Metric("auc_od", "AUC_OD", "AUC(D,F) + AUC(D,tau) - AUC(F,tau)", lambda b: b.d_f + b.d_tau - b.f_tau),
    Metric("auc_odp", "AUC_ODP", "AUC(D,tau) + 1 - AUC(F,tau)", lambda b: b.d_tau + 1 - b.f_tau),
    Metric("ap", "AP", "sum of precision x gain in P_D, over thresholds", lambda b: b.ap),
    Metric("pd_at_1e-3", "P_D at P_F 1e-3", "largest P_D where P_F <= 1e-3", lambda b: b.pd_3),
    Metric("pd_at_1e-4", "P_D at P_F 1e-4", "largest P_D where P_F <= 1e-4", lambda b: b.pd_4),
)


def rank(scores: Scores, truth: npt.NDArray[np.bool_]) -> Ranked:
    """Sort the scores of both classes.

    Args:
        scores: Scores of any shape, higher meaning more anomalous; pixels that are not finite belong to no class.
        truth: True on targets, of the same shape.

    Raises:
        TruthError: One of the classes has no pixel.
    """
    finite = np.isfinite(scores)
    targets, background = scores[finite & truth], scores[finite & ~truth]
    if not targets.size:
        raise TruthError("no target pixel has a score; is this the truth of this map?")
    if not background.size:
        raise TruthError("every pixel with a score is a target; false alarms need a background")
    targets.sort()
    background.sort()
    return Ranked(targets, background)


def basics(ranked: Ranked) -> Basics:
    """Compute what all of `METRICS` follow from.

    Args:
        ranked: The scores of both classes.

    Returns:
        AUC(D,F), AP and P_D in [0, 1]; AUC(D,tau) and AUC(F,tau) in [0, 1] too, of scores scaled by their smallest and
        largest value to [0, 1] (0 throughout where all are equal). Ties count one half in AUC(D,F) and as detected
        together everywhere else.
    """
    low, span = scale(ranked)
    d_tau, f_tau = ((part.mean(dtype=np.float64) - low) / span for part in (ranked.targets, ranked.background))
    pd_3, pd_4 = ((ranked.targets >= threshold_at(ranked, rate)).mean() for rate in (1e-3, 1e-4))
    values = (_area(ranked), d_tau, f_tau, _average_precision(ranked), pd_3, pd_4)
    return Basics._make(np.asarray(value, dtype=np.float64) for value in values)


def scale(ranked: Ranked) -> tuple[float, float]:
    """The smallest score, and by how much the largest exceeds it (1 where all are equal)."""
    low = float(min(ranked.targets[0], ranked.background[0]))
    high = float(max(ranked.targets[-1], ranked.background[-1]))
    return low, (high - low) or 1.0


def threshold_at(ranked: Ranked, rate: float) -> float:
    """The lowest threshold that keeps to a false-alarm rate; a pixel is detected from its threshold upwards.

    Args:
        ranked: The scores of both classes.
        rate: Share of the background that may be detected, in [0, 1). Below 1/N, this is no pixel at all.

    Returns:
        The smallest number above the highest background score that must not be detected.
    """
    count = len(ranked.background)
    allowed = int(rate * count)
    if (allowed + 1) / count <= rate:
        # A product such as 0.29 · 100 falls short of its whole number.
        allowed += 1
    refused = ranked.background[count - 1 - allowed]
    return float(np.nextafter(refused, np.inf, dtype=refused.dtype))


def roc_points(ranked: Ranked) -> tuple[Float, Float]:
    """The corners of the ROC curve.

    Args:
        ranked: The scores of both classes.

    Returns:
        P_F and P_D, both ascending from 0 to 1. Between two corners the curve is a straight line. There are at most
        two corners for each distinct score of a target, whatever the number of background pixels.
    """
    scores, first = np.unique(ranked.targets, return_index=True)
    bounds = np.append(first, len(ranked.targets))
    count = len(ranked.background)
    # Each score of a target: before it is reached, and with all that equals it.
    rates = np.stack([np.searchsorted(ranked.background, scores, side) for side in ("left", "right")], axis=1)
    hits = np.stack([bounds[:-1], bounds[1:]], axis=1)
    p_f = 1 - np.concatenate([[0], rates.ravel(), [count]]) / count
    p_d = 1 - np.concatenate([[0], hits.ravel(), [bounds[-1]]]) / bounds[-1]
    return p_f[::-1], p_d[::-1]


def _area(ranked: Ranked) -> float:
    """The chance that a target scores above a background pixel (Mann and Whitney), which is the area under the ROC."""
    below = np.searchsorted(ranked.background, ranked.targets, "left").mean()
    within = np.searchsorted(ranked.background, ranked.targets, "right").mean()
    return float((below + within) / 2 / len(ranked.background))


def _average_precision(ranked: Ranked) -> float:
    scores, first = np.unique(ranked.targets, return_index=True)
    count = len(ranked.targets)
    hits = count - first
    alarms = len(ranked.background) - np.searchsorted(ranked.background, scores, "left")
    found = np.diff(first, append=count)
    return float((found * (hits / (hits + alarms))).sum() / count)
