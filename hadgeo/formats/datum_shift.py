"""Which way led from one datum to another, and how far off it may be: metres that nobody sees in the coordinates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pyproj
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from hadgeo.grid import Grid

#: Degrees around the middle of a grid in which a transformation has to be valid.
_AROUND = 0.01


@dataclass(frozen=True)
class DatumShift:
    """A transformation between two datums.

    Attributes:
        name: What EPSG calls it.
        accuracy: How far off it may be, in metres; None where that is not known.
        better: A more accurate one that needs a file of PROJ's, and that file; empty where there is none.
    """

    name: str
    accuracy: float | None
    better: str = ""

    def __str__(self) -> str:
        good = "of unknown accuracy" if self.accuracy is None else f"accurate to {self.accuracy:g} m"
        return f"moved to the other datum by '{self.name}', {good}{self.better}"


def datum_shift(crs: str, grid: Grid) -> DatumShift | None:
    """How coordinates of another system come onto a grid.

    Args:
        crs: The other system, as WKT or an authority's code.
        grid: The grid; its middle is what counts.

    Returns:
        None where both have the same datum, or no way is known.
    """
    own = grid.proj
    if own is None or not grid.georeferenced:
        return None
    try:
        other = pyproj.CRS.from_user_input(crs)
        if other.geodetic_crs is None or own.geodetic_crs is None or other.datum == own.datum:
            return None
        here = grid.to_map(grid.shape[1] / 2, grid.shape[0] / 2)
        there = pyproj.Transformer.from_crs(own, other, always_xy=True).transform(*here)
        way = pyproj.Transformer.from_crs(other, own, always_xy=True)
        if not np.isfinite([*there, *way.transform(*there)]).all():
            return None
        used = way.get_last_used_operation()
    except ProjError:
        return None
    accuracy = used.accuracy if used.accuracy >= 0 else None
    name = _between_datums(used.description)
    if accuracy == 0 or not name:
        return None
    return DatumShift(name, accuracy, _better(other, own, grid, accuracy))


def _between_datums(description: str) -> str:
    """The steps of an operation that lead from datum to datum, without those of projections."""
    return " + ".join(step for step in description.split(" + ") if " to " in step)


def _better(other: pyproj.CRS, own: pyproj.CRS, grid: Grid, accuracy: float | None) -> str:
    """What would be more accurate, if a file of PROJ's were there."""
    (longitude,), (latitude,) = grid.to_longitude_latitude(
        *(np.atleast_1d(axis) for axis in grid.to_map(grid.shape[1] / 2, grid.shape[0] / 2))
    )
    if not np.isfinite([longitude, latitude]).all():
        return ""
    around = AreaOfInterest(longitude - _AROUND, latitude - _AROUND, longitude + _AROUND, latitude + _AROUND)
    with warnings.catch_warnings():
        # That a file is not there is what is asked.
        warnings.simplefilter("ignore", UserWarning)
        # The stubs name a class that pyproj itself does not document.
        group = TransformerGroup(other, own, always_xy=True, area_of_interest=around)  # type: ignore[arg-type]
        missing = group.unavailable_operations
    known = [operation for operation in missing if operation.accuracy >= 0]
    best = min(known, key=lambda operation: operation.accuracy, default=None)
    if best is None or (accuracy is not None and best.accuracy >= accuracy):
        return ""
    files = " and ".join(file.short_name for file in best.grids if not file.available)
    return (
        f"; '{_between_datums(best.name)}' would be accurate to {best.accuracy:g} m, but PROJ lacks {files} "
        "(`pyproj sync` fetches it)"
    )
