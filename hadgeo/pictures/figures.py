"""Figures that need no display: matplotlib's Agg canvas, without its global state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from hadgeo.errors import MissingExtraError
from hadgeo.files import written_beside

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


def save_figure(figure: Figure, out: Path, kind: str, *, option: str = "-o", dpi: float | None = None) -> None:
    """Write a figure in one piece.

    Args:
        figure: What to write.
        out: Where to; what stands there is replaced.
        kind: ``png``, ``jpeg``, ``svg`` or ``pdf``.
        option: What names it, or its folder, on the command line.
        dpi: Dots an inch; the figure's own by default.

    Raises:
        OutputError: The disk is full, or fails.
    """
    with written_beside(out, option) as part, warnings.catch_warnings():
        # Names in a script that the letters lack are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(part, format=kind, dpi=dpi or "figure")
