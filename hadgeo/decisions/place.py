"""Where a score map lies: from pixels to its coordinate system, to longitude and latitude, and to metres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from pyproj.exceptions import ProjError

from hadgeo.maps.reader import ScoreMap

#: x and y of points, (point, 2).
Points = npt.NDArray[np.float64]


class Place:
    """The coordinate system and the grid of a map.

    Args:
        scores: The map. Without a georeference its coordinates are columns and rows.

    Attributes:
        crs: Its coordinate reference system, or None.
        transform: From pixel corners to the coordinate system.
        metre: Units of the coordinate system in a metre, or None where it has no such unit.
    """

    def __init__(self, scores: ScoreMap) -> None:
        self.crs = None if scores.crs is None else pyproj.CRS.from_wkt(scores.crs.to_wkt())
        self.transform = scores.transform if scores.transform is not None else Affine.identity()
        self.metre: float | None = None
        if self.crs is not None and self.crs.is_projected:
            self.metre = 1 / self.crs.axis_info[0].unit_conversion_factor
        rows, cols = scores.shape
        self._middle = np.array([[cols / 2, rows / 2]])
        self._to_wgs84 = self._transformer(pyproj.CRS("EPSG:4326"))

    def coordinates(self, corners: Points) -> Points:
        """From columns and rows, counted from the corner of the first pixel, to the coordinate system."""
        a, b, c, d, e, f = self.transform[:6]
        found: Points = corners @ np.array([[a, d], [b, e]]) + np.array([c, f])
        return found

    def wgs84(self, points: Points) -> Points:
        """From the coordinate system to longitude and latitude; NaN where that is not known."""
        if self._to_wgs84 is None:
            return np.full_like(points, np.nan)
        found = np.stack(self._to_wgs84.transform(points[:, 0], points[:, 1]), axis=1)
        return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)

    @property
    def on_earth(self) -> bool:
        """Whether longitudes and latitudes are known."""
        return self._to_wgs84 is not None

    def metres(self) -> Callable[[Points], Points]:
        """From the coordinate system to a plane that is true to length around the middle of the map.

        Without a coordinate system its own units are kept.
        """
        if self.metre is not None:
            scale = 1 / self.metre
            return lambda points: points * scale
        if self._to_wgs84 is None:
            return lambda points: points
        longitude, latitude = self.wgs84(self.coordinates(self._middle))[0]
        plane = self._transformer(pyproj.CRS(f"+proj=aeqd +lon_0={longitude} +lat_0={latitude} +datum=WGS84"))
        assert plane is not None  # since there is one to longitude and latitude
        return lambda points: np.stack(plane.transform(points[:, 0], points[:, 1]), axis=1)

    def _transformer(self, target: pyproj.CRS) -> pyproj.Transformer | None:
        if self.crs is None:
            return None
        try:
            return pyproj.Transformer.from_crs(self.crs, target, always_xy=True)
        except ProjError:
            # A local coordinate system, such as a site's own, lies nowhere on Earth.
            return None
