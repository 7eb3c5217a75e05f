"""What a map drawn in the scene's own grid must tell of the ground: its scale, and where north is. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hadgeo.grid import Grid


@dataclass(frozen=True)
class Ground:
    """The middle of a scene on the ground.

    Attributes:
        right: Length of a pixel along a row.
        down: Length of a pixel along a column.
        unit: Of both: ``m``; ``map units`` where the grid has no known place on Earth; ``px`` without any.
        north: Direction of true north in a picture that is drawn to scale, as a unit vector (right, down), or None.
    """

    right: float = 1.0
    down: float = 1.0
    unit: str = "px"
    north: tuple[float, float] | None = None

    @property
    def aspect(self) -> float:
        """How much longer a pixel is down than to the right."""
        return self.down / self.right


def ground_of(grid: Grid) -> Ground:
    """Measure the pixel in the middle of a grid on the WGS 84 ellipsoid."""
    if not grid.georeferenced:
        return Ground()
    size = grid.pixel_size()
    if size is None:
        return Ground(*grid.cell, "map units")
    return Ground(*size, "m", _north(grid, *size))


def _north(grid: Grid, right: float, down: float) -> tuple[float, float] | None:
    """Where in a picture of a grid, whose pixels are so long, the next pixel to the north lies."""
    middle = np.array([grid.shape[1] / 2]), np.array([grid.shape[0] / 2])
    longitude, latitude = grid.to_longitude_latitude(*grid.to_map(*middle))
    step = min(right, down) / 111_320
    col, row = grid.to_pixels(*grid.from_longitude_latitude(longitude, latitude + step))
    across, along = float((col - middle[0])[0]) * right, float((row - middle[1])[0]) * down
    length = math.hypot(across, along)
    return (across / length, along / length) if length > 0 else None


def round_length(longest: float) -> float:
    """The longest length of 1, 2 or 5 times a power of ten that is no longer than asked."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def length_text(length: float, unit: str) -> str:
    """A length as people write it, metres from 1,000 on in kilometres."""
    if unit == "m" and length >= 1000:
        return f"{length / 1000:g} km"
    return f"{length:g} {unit}"
