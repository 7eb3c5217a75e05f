"""A simulated flight line in a sensor's geometry, warped by a smooth roll, with GLT and IGM as AVIRIS has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

import hadgeo
from hadgeo.grid import Grid
from tests.formats.envi_files import write_envi

BANDS, ROWS, COLS = 12, 130, 60

#: Rows and columns of the map, of which the line covers a part.
MAP_ROWS, MAP_COLS = 150, 90

#: First row and column on the map of squares of 3 x 3 pixels that belong nowhere.
TARGETS = ((30, 50), (82, 40), (110, 45))


@dataclass(frozen=True)
class RawLine:
    """A line and what is known of it.

    Attributes:
        scene: The line in the sensor's geometry, without a place.
        glt: Its lookup table.
        igm: Its coordinates.
        grid: The map.
        table: (sample and line, y, x) on the map, as in the lookup table.
    """

    scene: Path
    glt: Path
    igm: Path
    grid: Grid
    table: npt.NDArray[Any]

    def on_map(self, sensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A map (y, x) in the sensor's geometry, looked up by hand."""
        sample, line = np.abs(self.table) - 1
        return np.where(line >= 0, sensor[np.maximum(line, 0), np.maximum(sample, 0)], np.nan)


def make_raw_line(folder: Path, *, seed: int = 1, name: str = "f1", rows: int = ROWS) -> RawLine:
    """Simulate a scene on a map, and fly over it: every eighth row is overlooked, and the aircraft rolls."""
    hadgeo.simulate(folder / f"{name}_map.tif", rows=MAP_ROWS, cols=MAP_COLS, bands=BANDS, targets=0, seed=seed)
    with rasterio.open(folder / f"{name}_map.tif") as made:
        cube, grid = made.read(), Grid(made.shape, made.crs, made.transform)
    for row, col in TARGETS:
        cube[:, row : row + 3, col : col + 3] = 9000 * (np.arange(len(cube)) % 2)[:, None, None] + 500
    line, sample = np.indices((rows, COLS))
    down = line * 8 // 7
    right = sample + np.round(14 + 9 * np.sin(line / 17)).astype(int)
    table = np.zeros((2, *grid.shape), dtype=np.int32)
    table[:, down, right] = sample + 1, line + 1
    for gap in sorted(set(range(int(down.max()))) - set(np.unique(down))):
        table[:, gap] = -np.abs(table[:, gap - 1])
    # A hole that no neighbour fills.
    table[:, 60:63, 40:44] = 0
    place = f"{{UTM, 1, 1, {grid.affine.c}, {grid.affine.f}, {grid.affine.a}, {-grid.affine.e}, 33, North, WGS-84}}"
    bare = {"map_info": None, "wavelength": None}
    wavelengths = "{" + ", ".join(str(400 + 30 * band) for band in range(BANDS)) + "}"
    seen = cube[:, down, right]
    told = {"map_info": None, "wavelength": wavelengths, "data_ignore_value": -9999}
    scene = write_envi(folder / f"{name}_rdn_img", seen, interleave="bil", **told)
    glt = write_envi(folder / f"{name}_ort_glt", table, interleave="bil", **bare | {"map_info": place})
    x, y = grid.to_map(right + 0.5, down + 0.5)
    igm = write_envi(folder / f"{name}_ort_igm", np.stack([x, y, np.full_like(x, 120)]), interleave="bil", **bare)
    return RawLine(scene, glt, igm, grid, table)
