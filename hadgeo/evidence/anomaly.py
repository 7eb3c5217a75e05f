"""A group of flagged pixels, whatever is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Anomaly:
    """A group of flagged pixels.

    Attributes:
        id: Its number, unique in its scene.
        rows: Rows of its pixels, at least one.
        cols: Columns of its pixels, in the same order.
    """

    id: int
    rows: npt.NDArray[np.intp]
    cols: npt.NDArray[np.intp]
