"""What the benchmarks say of a score map: figures of merit of pixels, against a truth."""

from __future__ import annotations

import numpy as np

from hadgeo.metrics import basics, rank, threshold_at


def metrics(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Figures of merit of one map.

    Args:
        scores: Scores of any shape, higher meaning more anomalous; pixels that are not finite do not count.
        truth: True on targets, of the same shape.

    Returns:
        ``auc`` (the area under P_D against P_F), ``ap`` (average precision), ``pd_1e-3`` and ``pd_1e-2`` (P_D at these
        P_F), each in [0, 1].
    """
    ranked = rank(scores, truth)
    found = basics(ranked)
    at_one_percent = (ranked.targets >= threshold_at(ranked, 1e-2)).mean()
    return {
        "auc": float(found.d_f),
        "ap": float(found.ap),
        "pd_1e-3": float(found.pd_3),
        "pd_1e-2": float(at_one_percent),
    }
