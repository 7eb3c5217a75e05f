"""Round coordinates along the frame of a map that is drawn in the grid of its scene. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyproj
from affine import Affine

from hadgeo.grid import Grid

#: Names of directions in a coordinate system, and how people abbreviate them.
_COMPASS = {"east": ("E", "W"), "west": ("W", "E"), "north": ("N", "S"), "south": ("S", "N")}


@dataclass(frozen=True)
class Tick:
    """A round coordinate on an edge.

    Attributes:
        at: Where, in pixels of the scene along that edge.
        label: The coordinate, for people.
    """

    at: float
    label: str


@dataclass(frozen=True)
class Graticule:
    """Which coordinates run along the edges of a grid.

    Attributes:
        grid: The grid; without a place, rows and columns are counted, from 0.
    """

    grid: Grid

    @property
    def about(self) -> str:
        """What the coordinates are, for people."""
        grid = self.grid
        if not grid.georeferenced:
            return "no georeference: rows and columns, counted from 0"
        if grid.crs is None:
            return "no coordinate reference system: coordinates in map units"
        system = grid.proj
        assert system is not None  # there is one
        code = grid.crs.to_epsg()
        if code is not None:
            # Files of many programs have names of their own for systems in the register.
            system = pyproj.CRS.from_epsg(code)
        name = f"{system.name.replace('_', ' ')}{'' if code is None else f' (EPSG:{code})'}"
        return name if grid.crs.is_geographic else f"{name}, {_unit_name(grid)}"

    @property
    def turned(self) -> bool:
        """Whether lines of equal coordinates are not parallel to the edges."""
        return self.grid.georeferenced and not self.grid.rectilinear

    def below(self, cols: tuple[float, float], row: float, spacing: float) -> list[Tick]:
        """Ticks along a row.

        Args:
            cols: From which column to which.
            row: The row.
            spacing: Columns that two ticks are apart at least.
        """
        t = self._affine
        step, start = (t.a, t.b * row + t.c) if self._x_is_across else (t.d, t.e * row + t.f)
        return self._ticks(step, start, cols, spacing, 0 if self._x_is_across else 1)

    def beside(self, rows: tuple[float, float], col: float, spacing: float) -> list[Tick]:
        """Ticks along a column, likewise."""
        t = self._affine
        step, start = (t.e, t.d * col + t.f) if self._x_is_across else (t.b, t.a * col + t.c)
        return self._ticks(step, start, rows, spacing, 1 if self._x_is_across else 0)

    def oblique(
        self, below: Sequence[Tick], beside: Sequence[Tick], row: float, col: float
    ) -> Iterator[tuple[float, float, tuple[float, float]]]:
        """The lines of equal coordinates through ticks.

        Args:
            below: Ticks along a row.
            beside: Ticks along a column.
            row: The row.
            col: The column.

        Yields:
            A column and a row on each line, and its direction in columns and rows.
        """
        t = self._affine
        along_y, along_x = (-t.b, t.a), (t.e, -t.d)
        of_x, of_y = (along_y, along_x) if self._x_is_across else (along_x, along_y)
        yield from ((tick.at, row, of_x) for tick in below)
        yield from ((col, tick.at, of_y) for tick in beside)

    def _ticks(self, step: float, start: float, ends: tuple[float, float], spacing: float, axis: int) -> list[Tick]:
        if not step:
            return []
        interval = round_up(abs(step) * spacing)
        low, high = sorted(start + step * end for end in ends)
        numbers = range(math.ceil(low / interval - 1e-9), math.floor(high / interval + 1e-9) + 1)
        digits = max(0, -math.floor(math.log10(interval) + 1e-9))
        return [Tick((n * interval - start) / step, self._text(n * interval, digits, axis)) for n in numbers]

    @property
    def _affine(self) -> Affine:
        """The grid's transform; rows and columns themselves where it has none."""
        return self.grid.affine if self.grid.georeferenced else Affine.identity()

    @property
    def _x_is_across(self) -> bool:
        """Whether x changes along a row more than y does."""
        return abs(self._affine.a) >= abs(self._affine.d)

    @cached_property
    def _text(self) -> Callable[[float, int, int], str]:
        """Writes a coordinate of the first or the second axis with so many digits."""
        grid = self.grid
        if not grid.georeferenced:
            return lambda value, digits, axis: f"{('column', 'row')[axis]} {value:,.{digits}f}"
        if grid.crs is None:
            return lambda value, digits, axis: f"{'xy'[axis]} {value:,.{digits}f}"
        # GDAL's coordinates are x before y whatever the system says; a system of the south may count to the west.
        letters = _letters(grid)
        if grid.crs.is_geographic:
            return lambda value, digits, axis: f"{abs(value):.{digits}f}° {letters[axis][value < 0]}"
        return lambda value, digits, axis: f"{value:,.{digits}f} {letters[axis][0]}"


def round_up(least: float) -> float:
    """The shortest length of 1, 2 or 5 times a power of ten that is no shorter than asked."""
    power = 10.0 ** math.floor(math.log10(least))
    return min(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _letters(grid: Grid) -> list[tuple[str, str]]:
    system = grid.proj
    assert system is not None  # a coordinate system is there
    directions = {axis.direction for axis in system.axis_info}
    across = "west" if "west" in directions else "east"
    up = "south" if "south" in directions else "north"
    return [_COMPASS[across], _COMPASS[up]]


def _unit_name(grid: Grid) -> str:
    unit = grid.unit
    if unit is None:
        return "map units"
    assert grid.crs is not None  # a unit is of a system
    return "metres" if unit == 1 else f"units of {unit:.6g} m"
