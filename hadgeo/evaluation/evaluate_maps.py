"""A score map against a truth: every metric with its formula, and how sure it is.

Map and truth are held whole: about 20 bytes a pixel, so a gigabyte holds some 50 million pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import TruthError
from hadgeo.evaluation.truth import TARGET, UNKNOWN, open_truth
from hadgeo.maps.reader import ScoreMap, check_varied, open_scores
from hadgeo.metrics import METRICS, ObjectCurve, basics, interval, object_curve, rank, resample, roc_points

#: Below so many objects, an interval says little about other targets.
_FEW_OBJECTS = 10

#: Points along each edge of a map, whose outline gives its area on the ellipsoid.
_EDGE_POINTS = 33


@dataclass(frozen=True)
class Evaluation:
    """How well a map reveals the targets of a truth.

    Attributes:
        scores: The map.
        truth: The truth.
        targets: Target pixels with a score.
        background: Background pixels with a score.
        left_out: Pixels without a score, or unknown to the truth.
        values: The metrics of `hadgeo.metrics.METRICS`, by their key.
        intervals: 95 % intervals of the same, or nothing without bootstrap.
        objects: Detected objects and false alarms over thresholds.
        area_km2: Area of all pixels evaluated; None where the map's CRS does not tell.
        roc: Corners of the ROC curve: P_F and P_D, ascending.
    """

    scores: Path
    truth: Path
    targets: int
    background: int
    left_out: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    objects: ObjectCurve = field(repr=False)
    area_km2: float | None
    roc: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] = field(repr=False)

    def __repr__(self) -> str:
        """The figures that matter most; `values` has all."""
        return (
            f"Evaluation(scores={str(self.scores)!r}, truth={str(self.truth)!r}, targets={self.targets}, "
            f"background={self.background}, auc_d_f={self.values['auc_d_f']:.4f}, ap={self.values['ap']:.4f})"
        )

    def false_alarms_per_km2(self) -> list[float] | None:
        """For each threshold of `objects`; None without an area."""
        if self.area_km2 is None:
            return None
        return [count / self.area_km2 for count in self.objects.false_alarms]

    def notes(self) -> list[str]:
        """What a reader of the figures should know, one line each."""
        said = []
        if self.intervals and self.objects.objects < _FEW_OBJECTS:
            said.append(f"the intervals rest on only {self.objects.objects} objects")
        if self.background < 10_000:
            said.append(f"with {self.background:,} background pixels, P_F <= 1e-4 allows not a single false alarm")
        return said

    def to_dict(self) -> dict[str, Any]:
        """All but the ROC curve as plain values that JSON can hold."""
        per_km2 = self.false_alarms_per_km2()
        curve = self.objects
        return {
            "scores": str(self.scores),
            "truth": str(self.truth),
            "target_pixels": self.targets,
            "background_pixels": self.background,
            "left_out_pixels": self.left_out,
            "area_km2": self.area_km2,
            "metrics": {
                metric.key: {
                    "name": metric.name,
                    "formula": metric.formula,
                    "value": _finite(self.values[metric.key]),
                    "interval_95": [_finite(end) for end in self.intervals[metric.key]] if self.intervals else None,
                }
                for metric in METRICS
            },
            "objects": {
                "count": curve.objects,
                "curve": [
                    {
                        "pixel_p_f": rate,
                        "threshold": curve.thresholds[i],
                        "detected_share": curve.detected[i],
                        "false_alarms": curve.false_alarms[i],
                        "false_alarms_per_km2": per_km2[i] if per_km2 else None,
                    }
                    for i, rate in enumerate(curve.rates)
                ],
            },
            "notes": self.notes(),
        }


def evaluate(
    scores: str | os.PathLike[str], truth: str | os.PathLike[str], *, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Measure how well a score map separates the targets of a truth from the background.

    Args:
        scores: The map: a raster of one band, or a MATLAB file with one 2-D array.
        truth: The ground truth; see `hadgeo.evaluation.truth.open_truth`. Pixels without a score, and those unknown to
            the truth, belong to neither class.
        resamples: Bootstrap resamples, of the truth's objects and of blocks of background; 0 omits the intervals.
        seed: Makes them repeatable.

    Returns:
        Every metric of `hadgeo.metrics.METRICS`, with its interval.

    Raises:
        CubeNotFoundError: One of the files does not exist.
        CubeError: It is not a score map.
        TruthError: The truth is of no use, does not fit the map, or holds only one class there.
        ReadError: One of the files is damaged.
        MissingExtraError: A file's format needs an optional dependency.

    Examples:
        >>> result = evaluate("line_anomaly.tif", "vehicles.gpkg")
        >>> print(result.values["auc_d_f"], result.intervals["auc_d_f"])
    """
    opened = open_scores(scores)
    classes = open_truth(truth, opened)
    values = _scores_where(opened, classes)
    targets = classes == TARGET
    del classes
    check_varied(opened, len(np.unique(values[np.isfinite(values)])))
    try:
        ranked = rank(values, targets)
    except TruthError as error:
        raise TruthError(f"{truth} on {scores}: {error}") from None
    figures = basics(ranked)
    drawn = resample(values, targets, resamples=resamples, seed=seed) if resamples else None
    evaluated = len(ranked.targets) + len(ranked.background)
    return Evaluation(
        scores=opened.path,
        truth=Path(truth),
        targets=len(ranked.targets),
        background=len(ranked.background),
        left_out=values.size - evaluated,
        values={metric.key: float(metric.value(figures)) for metric in METRICS},
        intervals={} if drawn is None else {metric.key: interval(metric.value(drawn)) for metric in METRICS},
        objects=object_curve(values, targets),
        area_km2=pixels_km2(opened, evaluated),
        roc=roc_points(ranked),
    )


def labels(evaluations: Sequence[Evaluation]) -> list[str]:
    """Short names that tell evaluations apart: the map's, and the truth's where there are several."""
    maps = list(dict.fromkeys(e.scores for e in evaluations))
    truths = list(dict.fromkeys(e.truth for e in evaluations))
    short = {path: _short(path, group) for group in (maps, truths) for path in group}
    return [short[e.scores] + (f" / {short[e.truth]}" if len(truths) > 1 else "") for e in evaluations]


def _short(path: Path, others: Sequence[Path]) -> str:
    for name in (path.stem, path.name):
        if sum(name in (other.stem, other.name) for other in others) == 1:
            return name
    return str(path)


def _scores_where(scores: ScoreMap, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Read a whole map, NaN where nothing is known."""
    values = np.empty(scores.shape, dtype=np.float32)
    for rows, strip in scores.strips():
        values[rows] = strip
    values[classes == UNKNOWN] = np.nan
    return values


def pixels_km2(scores: ScoreMap, pixels: int) -> float | None:
    """Area of pixels of a map, in square kilometres.

    On a projected grid it is that of the grid; in degrees it is the share of the map's outline on the ellipsoid.

    Args:
        scores: The map.
        pixels: How many.

    Returns:
        The area, or None where the map has no georeference, or its CRS is neither projected nor geographic.
    """
    grid = scores.grid
    system = grid.proj
    if system is None or not grid.georeferenced:
        return None
    if grid.unit is not None:
        return pixels * grid.cell_area * grid.unit**2 / 1e6
    geod = system.get_geod()
    if not system.is_geographic or geod is None:
        return None
    along = np.linspace(0, 1, _EDGE_POINTS)
    zeros, ones = np.zeros_like(along), np.ones_like(along)
    cols = grid.shape[1] * np.concatenate([along, ones, along[::-1], zeros])
    rows = grid.shape[0] * np.concatenate([zeros, along, ones, along[::-1]])
    area, _ = geod.polygon_area_perimeter(*grid.to_map(cols, rows))
    return float(abs(area)) * pixels / grid.pixels / 1e6


def _finite(value: float) -> float | None:
    """What JSON can hold."""
    return value if math.isfinite(value) else None
