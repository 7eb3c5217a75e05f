"""Objects of a score map: flagged pixels with the weaker ones that they are connected to, and how rare each whole is.

A target that is larger than a pixel has pixels of many scores, and those that are rare enough to be flagged are
fragments of it. So a group is grown by hysteresis, as edges are in J. Canny, "A computational approach to edge
detection", IEEE PAMI 8(6), 1986: pixels above a lower threshold belong to it where a chain of them leads to a flagged
one. All groups above the lower threshold, nearly all of which are background, say what a group of background looks
like: an object is as significant as few of them reach its strength.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

from hadgeo.decisions import groups as grouping
from hadgeo.decisions.calibration import Calibration, Rule, calibrate_values
from hadgeo.decisions.groups import Groups, Integers, Pixels, gather, label, pixels_above, pixels_above_if_few
from hadgeo.decisions.tail import Tail
from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.maps.reader import ScoreMap
from hadgeo.progress import SILENT, Progress

Floats = npt.NDArray[np.float64]

#: Joins groups to fewer, larger ones: pixels and the group of each to the new group of each.
Merge: TypeAlias = Callable[[Pixels, Integers], Integers]

#: Objects grow through pixels of at most this p-value. Of the rates from 1e-4 to 1e-1, the one with the best mean
#: precision and outlines (intersection over union) when each of fifteen scenes was left out (docs/benchmarks.md).
GROW_PFA = 0.01

#: Correlation that the pixels of a background group are taken to have. The scenes in docs/benchmarks.md are ranked
#: equally well by 0 and by this; more ranks the simulated ones worse.
_CORRELATION = 0.1

#: Quantiles of the strengths of a few groups that their tail is drawn through.
_QUANTILES = (0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Objects:
    """What stands out in a map, the most significant first.

    Attributes:
        groups: The pixels of each, and its strength.
        p_values: The share of background groups that reach each one's strength; without growth, of background pixels
            that reach its largest score.
        expected_false_alarms: How many background groups of such a scene do; without growth, background pixels.
        grown_to: The lowest score of a pixel that objects could grow into; None without growth.
    """

    groups: Groups
    p_values: Floats
    expected_false_alarms: Floats
    grown_to: float | None


def find_objects(
    scores: ScoreMap,
    threshold: float,
    calibration: Calibration,
    *,
    connectivity: int = 8,
    min_pixels: int = 1,
    grow_pfa: float = GROW_PFA,
    merge: Merge | None = None,
    background: Calibration | None = None,
    progress: Progress = SILENT,
) -> Objects:
    """Find the connected groups around the pixels that reach a threshold.

    Args:
        scores: The map.
        threshold: From which score on, itself included, pixels stand out.
        calibration: The map's, for p-values.
        connectivity: 4, neighbours share a side, or 8, they may touch at a corner.
        min_pixels: Smaller objects are left out, after growing and merging.
        grow_pfa: Objects grow through pixels whose p-value is at most this; 0 for no growth. Where they are more than
            `hadgeo.decisions.groups.MAX_PIXELS`, a lower rate is taken, and a warning says so.
        merge: Joins the objects that count as one.
        background: What the strength of a group means, where that is not asked of the groups of this map alone: of
            `calibrate_groups`, for `background_strengths` of several maps.
        progress: Follows the reading and may cancel it.

    Returns:
        The objects by strength, falling; without growth, by their largest score.

    Raises:
        ParameterError: An option is out of bounds, or too many pixels stand out.
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.
    """
    check_grow_pfa(grow_pfa)
    if not grow_pfa:
        pixels = pixels_above(scores, threshold, progress=progress)
        labels = label(pixels, connectivity)
        groups = gather(pixels, merge(pixels, labels) if merge else labels, min_pixels=min_pixels)
        p_values = calibration.p_values(groups.max_scores)
        return Objects(groups, p_values, calibration.count * p_values, None)
    pixels, lower = _grown(scores, threshold, calibration, grow_pfa, progress)
    labels = label(pixels, connectivity)
    if not len(pixels):
        none = np.empty(0)
        return Objects(gather(pixels, labels, min_pixels=min_pixels), none, none, lower)
    evidence = pixel_evidence(pixels, lower, calibration)
    background = background or calibrate_groups(group_strengths(evidence, labels))
    kept = seeded(labels, pixels.scores >= np.float32(threshold))
    pixels, evidence = pixels[kept], evidence[kept]
    labels = np.unique(labels[kept], return_inverse=True)[1]
    if merge:
        labels = merge(pixels, labels)
    groups = gather(pixels, labels, strengths=group_strengths(evidence, labels), min_pixels=min_pixels)
    p_values = background.p_values(groups.strengths)
    return Objects(groups, p_values, background.count * p_values, lower)


def background_strengths(
    scores: ScoreMap,
    threshold: float,
    calibration: Calibration,
    *,
    connectivity: int = 8,
    grow_pfa: float = GROW_PFA,
    progress: Progress = SILENT,
) -> Floats:
    """The strengths of all groups above the lower threshold, nearly all of which are background.

    Args:
        scores: As for `find_objects`, and so are the others; `grow_pfa` is not 0.
        threshold: Likewise.
        calibration: Likewise.
        connectivity: Likewise.
        grow_pfa: Likewise.
        progress: Likewise.

    Returns:
        (group,) as by `group_strengths`.
    """
    pixels, lower = _grown(scores, threshold, calibration, grow_pfa, progress)
    return group_strengths(pixel_evidence(pixels, lower, calibration), label(pixels, connectivity))


def check_grow_pfa(grow_pfa: float) -> None:
    """Refuse a rate to grow by that is none.

    Raises:
        ParameterError: It is out of bounds.
    """
    if not 0 <= grow_pfa < 1:
        raise ParameterError(f"grow_pfa must be at least 0 (no growth) and below 1, such as 0.01, not {grow_pfa:g}")


def seeded(labels: Integers, flagged: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which pixels belong to a group that has a flagged pixel."""
    has = np.zeros(int(labels.max(initial=-1)) + 1, dtype=bool)
    has[labels[flagged]] = True
    return has[labels]


def pixel_evidence(pixels: Pixels, lower: float, calibration: Calibration) -> Floats:
    """How much rarer each pixel is than the lower threshold: ln(p of the threshold / p of the pixel), at least 0.

    On background, where p-values above the threshold are uniform, it has an exponential distribution of mean 1.
    """
    p_values = calibration.p_values(pixels.scores)
    return np.maximum(np.log(float(calibration.p_values(lower)) / p_values), 0)


def group_strengths(evidence: Floats, labels: Integers) -> Floats:
    """How unlikely each group is by its best pixel, or as a whole among groups of its size, whichever is less likely.

    With e_i the evidence of its n pixels, the greater of max e_i and of -ln Q(n / c, sum of e_i / c), where Q(k, x) is
    the survival of a gamma distribution of shape k, and c = 1 + 0.1 (n - 1). The latter is how improbable it is that n
    background pixels have so much evidence together: R. A. Fisher, "Statistical methods for research workers", 1925,
    section 21.1, for independent pixels (c = 1), and M. B. Brown, "A method for combining non-independent, one-sided
    tests of significance", Biometrics 31(4), 1975, for such as correlate. A lone pixel has the same of both.

    That two tests are made, and whatever else is true of neighbours, is left to the calibration by other groups:
    J.-B. Poline et al., "Combining spatial extent and peak intensity to test for activations in functional imaging",
    NeuroImage 5(2), 1997, do likewise.

    Args:
        evidence: (pixel,) of `pixel_evidence`.
        labels: The group of each, from 0 without a gap.

    Returns:
        (group,) at least 0.
    """
    count = int(labels.max(initial=-1)) + 1
    peaks = np.zeros(count)
    np.maximum.at(peaks, labels, evidence)
    sizes = np.bincount(labels, minlength=count)
    sums = np.bincount(labels, weights=evidence, minlength=count)
    spread = 1 + _CORRELATION * (sizes - 1)
    return np.maximum(peaks, -_log_gamma_survival(sizes / spread, sums / spread))


def calibrate_groups(strengths: Floats) -> Calibration:
    """What a strength means among the groups of a map, at least one: as `calibrate` does for pixels.

    Where the groups are too few to fit a tail, it is an exponential one that begins at their median, as flat as one
    through their upper quartile or their ninth decile: the tenth that is strongest may be targets.
    """
    # Not above: see `hadgeo.decisions.tail`.
    from scipy import stats

    median, *upper = (float(strength) for strength in np.quantile(strengths, _QUANTILES))
    above = np.sort(strengths[strengths > median] - median)
    tail = None
    if len(above):
        slopes = [
            (strength - median) / math.log(0.5 / (1 - q)) for strength, q in zip(upper, _QUANTILES[1:], strict=True)
        ]
        # At least as flat as that of single independent pixels.
        scale = max(1.0, *slopes)
        distance = float(stats.kstest(above, stats.expon(scale=scale).cdf).statistic)
        tail = Tail(median, len(above) / len(strengths), 0.0, scale, len(above), distance)
    return calibrate_values(strengths.astype(np.float32), tail)


def _grown(
    scores: ScoreMap, threshold: float, calibration: Calibration, grow_pfa: float, progress: Progress
) -> tuple[Pixels, float]:
    """The pixels that objects may consist of, and the lowest score that is one."""
    rate, most = grow_pfa, grouping.MAX_PIXELS
    # A calibration may be of more maps than this one.
    count = min(calibration.count, scores.grid.pixels)
    while True:
        # Less than a pixel cannot be counted, and there may be no tail.
        lower = calibration.threshold(Rule(pfa=rate)) if rate * calibration.count >= 1 else threshold
        pixels = None
        if lower >= threshold:
            lower, pixels = threshold, pixels_above(scores, threshold, progress=progress)
        elif rate * count <= most:
            # An orthorectified map may show more pixels than were calibrated.
            pixels = pixels_above_if_few(scores, lower, progress=progress)
        if pixels is not None:
            break
        rate = min(rate / 2, most / count)
    if rate < grow_pfa:
        warnings.warn(
            f"{scores.path}: more than {most:,} pixels have a p-value of at most {grow_pfa:g}, too many to hold; "
            f"objects grow through those of at most {rate:.2g}",
            CubeWarning,
            stacklevel=2,
        )
    return pixels, lower


def _log_gamma_survival(shapes: Floats, values: Floats) -> Floats:
    """Logarithm of the survival of gamma distributions, where it is too small for a float too."""
    survival = special.gammaincc(shapes, values)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The first term of its continued fraction (NIST Digital Library of Mathematical Functions, 8.9.2).
        far = shapes * np.log(values) - values - special.gammaln(shapes) - np.log(values + 1 - shapes)
        result: Floats = np.where(survival > 1e-280, np.log(survival), far)
    return result
