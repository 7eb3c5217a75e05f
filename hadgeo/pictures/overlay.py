"""Scores laid over a picture: pooled so that no hot pixel is lost, and coloured by how few cells score higher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from hadgeo.errors import Cancelled
from hadgeo.maps.reader import ScoreMap
from hadgeo.progress import SILENT, Progress

#: Percentiles between which the ramp is even; those that the picture has too few cells for are left out.
_PERCENTILES = (95.0, 99.0, 99.9, 99.99, 99.999)

#: Up to this height of the ramp it fades out.
_OPAQUE_FROM = 0.5

#: Pixels of the picture that a hot cell fills at least in each direction.
_DOT = 3


def pooled_scores(scores: ScoreMap, step: int, *, progress: Progress = SILENT) -> npt.NDArray[np.float32]:
    """The highest score of each `step` x `step` pixels, of every pixel of the map, strip by strip.

    Args:
        scores: The map.
        step: Pixels on a side; cells at the lower and right border may hold fewer.
        progress: Counts rows, and may cancel.

    Returns:
        (y, x), NaN where none of the pixels has a score.

    Raises:
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.
    """
    rows, cols = scores.shape
    pooled = np.full((-(-rows // step), -(-cols // step)), np.nan, dtype=np.float32)
    for strip, values in scores.strips():
        if progress.cancelled():
            raise Cancelled("stopped on request")
        across = np.fmax.reduceat(values, np.arange(0, cols, step), axis=1)
        first, last = strip.start // step, (strip.stop - 1) // step
        starts = np.maximum(np.arange(first, last + 1) * step - strip.start, 0)
        cells = pooled[first : last + 1]
        np.fmax(cells, np.fmax.reduceat(across, starts, axis=0), out=cells)
        progress.advance(strip.stop - strip.start)
    return pooled


@dataclass(frozen=True)
class Ramp:
    """From scores to heights on a colour ramp, 0 to 1.

    Attributes:
        scores: Ascending; below the first, nothing is drawn.
        heights: Of each, from 0 to 1.
        labels: What each is.
    """

    scores: tuple[float, ...]
    heights: tuple[float, ...]
    labels: tuple[str, ...]

    def __call__(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Heights of scores, 0 where there is none."""
        height = np.interp(np.nan_to_num(scores, nan=-np.inf), self.scores, self.heights)
        return height.astype(np.float32)


def ramp_of(pooled: npt.NDArray[np.float32], cell: tuple[float, float]) -> Ramp | None:
    """A ramp that rises evenly from percentile to percentile of the cells, each about ten times as rare as the last.

    Args:
        pooled: Scores of the cells, NaN where there is none.
        cell: Width and height of a cell in pixels; see `grown`.

    Returns:
        None where no cell scores higher than the others.
    """
    finite = pooled[np.isfinite(pooled)]
    if not finite.size or finite.min() == finite.max():
        return None
    # Dots of nine cells would cover half of the picture if one cell in twenty had one.
    percentiles = _PERCENTILES[1:] if min(cell) < _DOT else _PERCENTILES
    wanted = [p for p in percentiles if finite.size * (1 - p / 100) >= 2]
    marks = {float(score): f"{p:g} %" for p, score in zip(wanted, np.percentile(finite, wanted), strict=True)}
    # Equal percentiles fall on one mark, the highest of them.
    marks[float(finite.max())] = "max"
    if len(marks) < 2:
        marks[float(finite.min())] = "min"
    scores = sorted(marks)
    heights = np.linspace(0, 1, len(scores))
    return Ramp(tuple(scores), tuple(heights.tolist()), tuple(marks[score] for score in scores))


def grown(heights: npt.NDArray[np.float32], cell: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Let each hot cell fill a dot that eyes can find, where cells are smaller than that.

    Args:
        heights: (y, x).
        cell: Width and height of a cell in pixels.
    """
    width, height = (1 if side >= _DOT else _DOT for side in cell)
    out: npt.NDArray[np.float32] = maximum_filter(heights, size=(height, width), mode="nearest")
    return out


def laid_over(
    colours: npt.NDArray[np.float32], heights: npt.NDArray[np.float32], ramp_colours: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Blend the ramp into a picture.

    Args:
        colours: (y, x, 3), 0 to 1, NaN where there is nothing.
        heights: (y, x), 0 to 1.
        ramp_colours: (n, 3), from the ramp's lower to its upper end.

    Returns:
        (y, x, 4), transparent where there is nothing.
    """
    alpha: npt.NDArray[np.float32] = np.minimum(heights / _OPAQUE_FROM, 1)[..., None]
    index = np.rint(heights * (len(ramp_colours) - 1)).astype(np.intp)
    visible = np.isfinite(colours.sum(axis=2))
    under = np.where(visible[..., None], colours, np.float32(1))
    blended = np.empty((*heights.shape, 4), dtype=np.float32)
    blended[..., :3] = under * (1 - alpha) + ramp_colours[index] * alpha
    blended[..., 3] = np.where(visible, 1, alpha[..., 0])
    picture: npt.NDArray[np.uint8] = np.rint(blended * 255).astype(np.uint8)
    return picture
