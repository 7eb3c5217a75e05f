"""Object by object: what an analyst meets. Is a target found at all, and how many places are looked at in vain?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hadgeo.metrics.roc import Scores, rank, threshold_at

#: Pixels that share an edge or a corner are one object.
_CONNECTED = np.ones((3, 3), dtype=bool)

#: False-alarm rates of pixels at which objects are counted, as far as the background has that many pixels.
RATES = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)

#: Those of them that are counted however small the background is.
ALWAYS = (1e-4, 1e-3)


@dataclass(frozen=True)
class ObjectCurve:
    """Detected objects and false alarms as a function of the threshold.

    Attributes:
        rates: (K,) false-alarm rates of pixels, ascending, that the thresholds are chosen by.
        thresholds: (K,) scores, descending; a pixel is detected from its threshold upwards.
        detected: (K,) share of the truth's objects of which at least one pixel is detected.
        false_alarms: (K,) number of connected groups of detected pixels that touch no object of the truth.
        objects: Number of the truth's objects.
    """

    rates: tuple[float, ...]
    thresholds: tuple[float, ...]
    detected: tuple[float, ...]
    false_alarms: tuple[int, ...]
    objects: int


def truth_objects(truth: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the objects of a truth.

    Args:
        truth: (y, x), True on targets.

    Returns:
        (y, x), 0 outside objects and their number from 1 inside; and how many there are. Pixels that share an edge or
        a corner belong to one object.
    """
    labels = np.empty(truth.shape, dtype=np.int32)
    count = int(ndimage.label(truth, _CONNECTED, output=labels))
    return labels, count


def object_curve(scores: Scores, truth: npt.NDArray[np.bool_]) -> ObjectCurve:
    """Count objects over thresholds.

    Args:
        scores: (y, x), NaN where a pixel has no score or no truth.
        truth: (y, x), True on targets. An object without any score is left out.

    Raises:
        TruthError: One of the classes has no pixel.
    """
    ranked = rank(scores, truth)
    peaks = object_peaks(scores, truth)
    rates = [rate for rate in RATES if rate in ALWAYS or rate * len(ranked.background) >= 1]
    thresholds = [threshold_at(ranked, rate) for rate in rates]
    return ObjectCurve(
        tuple(rates),
        tuple(thresholds),
        tuple(float((peaks >= threshold).mean()) for threshold in thresholds),
        tuple(false_alarms(scores, truth, threshold) for threshold in thresholds),
        len(peaks),
    )


def object_peaks(scores: Scores, truth: npt.NDArray[np.bool_]) -> Scores:
    """The highest score of each object of a truth, those without any left out."""
    labels, count = truth_objects(truth)
    scored = truth & np.isfinite(scores)
    peaks = np.full(count, -np.inf, dtype=scores.dtype)
    np.maximum.at(peaks, labels[scored] - 1, scores[scored])
    return peaks[np.isfinite(peaks)]


def false_alarms(scores: Scores, truth: npt.NDArray[np.bool_], threshold: float) -> int:
    """Count connected groups of pixels at or above a threshold that neither overlap nor touch an object.

    Args:
        scores: (y, x), NaN where a pixel does not count.
        truth: (y, x), True on targets.
        threshold: A score.
    """
    # Together with the truth, whatever touches an object becomes one group with it.
    labels, count = truth_objects((scores >= threshold) | truth)
    return count - len(np.unique(labels[truth]))
