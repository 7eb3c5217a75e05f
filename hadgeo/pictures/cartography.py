"""What a map drawn in the scene's own grid must tell of the ground: its scale, and where north is. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import rasterio.warp
from affine import Affine
from rasterio.crs import CRS

from hadgeo.rasterio_errors import RASTERIO_ERRORS


@dataclass(frozen=True)
class Ground:
    """The middle of a scene on the ground.

    Attributes:
        right: Length of a pixel along a row.
        down: Length of a pixel along a column.
        unit: Of both: ``m``; ``map units`` where the coordinate reference system is not known; ``px`` without any.
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


def ground_of(shape: tuple[int, int], transform: Affine | None, crs: CRS | None) -> Ground:
    """Measure the pixel in the middle of a scene on the WGS 84 ellipsoid.

    Args:
        shape: Rows and columns.
        transform: Full affine from pixel corners to the coordinate reference system, or None.
        crs: Coordinate reference system, projected or geographic, or None.
    """
    if transform is None:
        return Ground()
    # Not known, or of no place on the Earth.
    plain = Ground(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e), "map units")
    if crs is None:
        return plain
    try:
        measured = _measure(shape, transform, crs)
    except RASTERIO_ERRORS:
        return plain
    return measured if math.isfinite(measured.right) and math.isfinite(measured.down) else plain


def _measure(shape: tuple[int, int], transform: Affine, crs: CRS) -> Ground:
    from pyproj import Geod

    row, col = shape[0] / 2, shape[1] / 2
    x, y = zip(*(transform * place for place in ((col, row), (col + 1, row), (col, row + 1))), strict=True)
    longitude, latitude = rasterio.warp.transform(crs, "EPSG:4326", x, y)
    _, _, (right, down) = Geod(ellps="WGS84").inv([longitude[0]] * 2, [latitude[0]] * 2, longitude[1:], latitude[1:])
    # One pixel to the north, and where in the grid that is.
    step = min(right, down) / 111_320
    (north_x,), (north_y,) = rasterio.warp.transform("EPSG:4326", crs, longitude[:1], [latitude[0] + step])
    north_col, north_row = ~transform * (north_x, north_y)
    across, along = (north_col - col) * right, (north_row - row) * down
    length = math.hypot(across, along)
    return Ground(right, down, "m", (across / length, along / length) if length > 0 else None)


def round_length(longest: float) -> float:
    """The longest length of 1, 2 or 5 times a power of ten that is no longer than asked."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def length_text(length: float, unit: str) -> str:
    """A length as people write it, metres from 1,000 on in kilometres."""
    if unit == "m" and length >= 1000:
        return f"{length / 1000:g} km"
    return f"{length:g} {unit}"
