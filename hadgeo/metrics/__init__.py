"""How well a score map separates known targets from the background: the 3-D ROC family, objects, and confidence.

Arithmetic alone: arrays in, numbers out. Reading maps and truths is `hadgeo.evaluation.evaluate_maps`'s.
"""

from hadgeo.metrics.bootstrap import interval, resample
from hadgeo.metrics.objects import ObjectCurve, object_curve, truth_objects
from hadgeo.metrics.roc import METRICS, Basics, Metric, Ranked, basics, rank, roc_points, threshold_at

__all__ = [
    "METRICS",
    "Basics",
    "Metric",
    "ObjectCurve",
    "Ranked",
    "basics",
    "interval",
    "object_curve",
    "rank",
    "resample",
    "roc_points",
    "threshold_at",
    "truth_objects",
]
