"""Where the swath lies in the grid, and where targets are put into it. Nothing here holds a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.errors import ParameterError
from hadgeo.simulation.noise import fractal
from hadgeo.simulation.spectra import TARGETS

# Heights and widths in pixels, and abundances. Both run in turn, and as 12 and 5 have no common divisor every pair
# comes up; scenes of one size have the same pairs, so that they are about equally hard.
_SIZES = ((1, 1), (2, 2), (1, 1), (3, 3), (1, 2), (2, 2), (1, 1), (2, 3), (1, 1), (4, 6), (2, 1), (3, 2))
_ABUNDANCES = (1.0, 0.5, 0.15, 0.7, 0.3)
# Pixels between a target and the next, or nodata; the scene's border may be nearer.
_GAP = 4
_TRIES = 8


@dataclass(frozen=True)
class Target:
    """Something implanted.

    Attributes:
        row: First row.
        col: First column.
        size: Height and width in pixels.
        abundance: Share of every one of its pixels that it fills.
        material: Name of the material.
    """

    row: int
    col: int
    size: tuple[int, int]
    abundance: float
    material: str


class Swath:
    """The valid pixels: a slanted, slightly wavy band, as an orthorectified line lies in its grid.

    Args:
        rows: Rows of the scene.
        cols: Columns of the scene.
        wedges: Fraction of the scene that is nodata.
        seed: The scene's seed.
    """

    def __init__(self, rows: int, cols: int, wedges: float, seed: int) -> None:
        self.rows = rows
        self.cols = cols
        self.width = max(1, round((1 - wedges) * cols))
        self._key = seed * 16 + 11

    def left(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """First valid column of each row; `width` columns from there are valid."""
        travel = self.cols - self.width
        y = rows.astype(np.float64)
        wave = fractal(self._key, y, np.zeros_like(y), wavelength=150, octaves=5)[0].astype(np.float64)
        # The roll moves the swath by about a hundredth of its width, fading out at both ends of the line.
        place = (y + 0.5) / self.rows
        shift = place * travel + np.minimum(1, 8 * place * (1 - place)) * wave * min(0.012 * self.cols, 0.2 * travel)
        first: npt.NDArray[np.int64] = np.clip(np.rint(shift), 0, travel).astype(np.int64)
        return first

    def holds(self, row: int, col: int, height: int, width: int) -> bool:
        """Whether a rectangle lies within the scene and, with the gap around it, clear of nodata."""
        if row < 0 or row + height > self.rows or col < 0 or col + width > self.cols:
            return False
        near = np.arange(max(0, row - _GAP), min(self.rows, row + height + _GAP))
        left = self.left(near)
        first, last = max(0, col - _GAP), min(self.cols, col + width + _GAP)
        return bool((left <= first).all() and (left + self.width >= last).all())


def flight_key(flight: int) -> tuple[int, ...]:
    """What tells the chance of one flight from that of another over the same place."""
    return (flight,) if flight else ()


def place_targets(
    swath: Swath,
    count: int,
    seed: int,
    flight: int = 0,
    *,
    size: tuple[int, int] | None = None,
    abundance: float | None = None,
) -> tuple[Target, ...]:
    """Spread targets over the swath, one to a cell of a grid, and no two nearer than the gap.

    Args:
        swath: The valid pixels.
        count: How many.
        seed: The scene's seed.
        flight: Which of the flights over this place.
        size: Height and width of every target in pixels; a mixture if None.
        abundance: Share of its pixels that every target fills; a mixture if None.

    Returns:
        The targets, by row.

    Raises:
        ParameterError: The swath is too small for so many.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, *flight_key(flight))))
    kinds = _Kinds(_SIZES if size is None else (size,), _ABUNDANCES if abundance is None else (abundance,))
    smallest = kinds.largest + _GAP
    side = float(max(smallest, np.sqrt(swath.rows * swath.width / max(count, 1) / 1.3)))
    while True:
        targets = _fill(swath, count, kinds, side, rng)
        if len(targets) == count:
            return tuple(sorted(targets, key=lambda t: (t.row, t.col)))
        if side <= smallest:
            raise ParameterError(f"targets={count}: must be 0 to {len(targets)} in a scene of this size")
        side = max(smallest, 0.8 * side)


@dataclass(frozen=True)
class _Kinds:
    """Sizes and abundances, which run in turn."""

    sizes: tuple[tuple[int, int], ...]
    abundances: tuple[float, ...]

    @property
    def largest(self) -> int:
        """Longest side."""
        return max(max(size) for size in self.sizes)


def _fill(swath: Swath, count: int, kinds: _Kinds, side: float, rng: np.random.Generator) -> list[Target]:
    """Put one target into a cell until all are placed or no cell is left."""
    down, across = max(1, int(swath.rows // side)), max(1, int(swath.cols // side))
    cell_height, cell_width = swath.rows / down, swath.cols / across
    order = rng.permutation(count).tolist()
    materials = rng.permutation(np.arange(count) % len(TARGETS)).tolist()
    targets: list[Target] = []
    for cell in _scattered(down, across, rng):
        if len(targets) == count:
            break
        i, j = divmod(int(cell), across)
        number = len(targets)
        height, width = kinds.sizes[order[number] % len(kinds.sizes)]
        for _ in range(_TRIES):
            row = round(i * cell_height + rng.random() * max(0.0, cell_height - height - _GAP))
            col = round(j * cell_width + rng.random() * max(0.0, cell_width - width - _GAP))
            if swath.holds(row, col, height, width):
                abundance = kinds.abundances[order[number] % len(kinds.abundances)]
                targets.append(Target(row, col, (height, width), abundance, TARGETS[materials[number]].name))
                break
    return targets


def _scattered(down: int, across: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The grid's cells, such that every stretch of the list is spread over the whole line."""
    rows = np.argsort((np.arange(down) * 0.6180339887498949 + rng.random()) % 1.0)
    columns = np.stack([rng.permutation(across) for _ in range(down)])
    return (rows[None, :] * across + columns[rows].T).ravel().astype(np.int64)
