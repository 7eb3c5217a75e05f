"""Local contrast of a score: how far a pixel stands out from what is usual around it.

Land, surf and calm water have residuals of very different size, and one threshold for all of them flags the roughest.
Dividing by the median of a reference window is the order-statistic detector of constant false-alarm rate: H. Rohling,
"Radar CFAR thresholding in clutter and multiple target situations", IEEE Trans. Aerospace and Electronic Systems 19(4),
1983, doi 10.1109/TAES.1983.309350, with the median as order statistic.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Part of the scene's median that is added to each local one, so that perfectly calm places do not divide by nothing.
FLOOR_WEIGHT = 0.5

#: Values that a pass over some rows may copy; a reference window is gathered for each pixel.
_GATHERED_VALUES = 2**24


def local_contrast(score: Tensor, *, window: int, floor: Tensor) -> Tensor:
    """Divide scores by the median of their surroundings.

    Args:
        score: (y, x), at least 0, NaN where invalid.
        window: Side of the square reference window in pixels, odd. It is cut at the border, and NaN does not count.
        floor: Median score of the scene, a scalar.

    Returns:
        score / (local median + `FLOOR_WEIGHT` * floor), (y, x).
    """
    rows, cols = score.shape
    reach = window // 2
    padded = F.pad(score, (reach, reach, reach, reach), value=torch.nan)
    step = max(1, _GATHERED_VALUES // (cols * window**2))
    medians = []
    for row in range(0, rows, step):
        strip = padded[row : min(row + step, rows) + 2 * reach]
        around = strip.unfold(0, window, 1).unfold(1, window, 1).flatten(2)
        medians.append(around.nanmedian(dim=-1).values)
    contrast: Tensor = score / (torch.cat(medians) + FLOOR_WEIGHT * floor)
    return contrast
