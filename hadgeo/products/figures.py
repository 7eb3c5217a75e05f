"""Figures that need no display: matplotlib's Agg canvas, without its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hadgeo.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Dots an inch: sizes of letters and lines are chosen for it.
DPI = 100


def new_figure(width: int, height: int) -> Figure:
    """An empty figure.

    Args:
        width: In pixels.
        height: In pixels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError('pictures need matplotlib; install it with pip install "hadgeo[report]"') from error
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
