"""What lies where: the abundance of every background material at every pixel, a pure function of place and seed.

The land is a plain of rectangular fields between roads and hedges, with woods, a winding river and a few villages.
All lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.simulation.noise import Coordinates, Floats, Hashes, fractal, hashed, rotated, unit
from hadgeo.simulation.spectra import BACKGROUND

_NAMES = [material.name for material in BACKGROUND]
GREEN, FOREST, DRY, IRON, CLAY, WATER, ASPHALT, CONCRETE, ROOF = range(len(_NAMES))

# How common a material is where nothing in particular asks for it.
_BASE = np.array([0.0, -2.2, 0.0, -0.8, -0.8, -6.5, -5.0, -5.0, -6.0], dtype=np.float32)
# What is grown on a field, one of eight.
_CROPS = np.array([GREEN, GREEN, DRY, IRON, CLAY, GREEN, DRY, IRON])
_FIELD_HEIGHT, _FIELD_WIDTH, _FIELD_ANGLE = 96.0, 150.0, 17.0
_PLOT_HEIGHT, _PLOT_WIDTH, _PLOT_ANGLE = 15.0, 19.0, -24.0
# Pieces of this many columns bound the memory of the lattices and stay in the cache.
_PIECE = 256


@dataclass(frozen=True)
class Land:
    """The ground below a strip.

    Attributes:
        abundance: Fractions that sum to one, (materials, rows, cols).
        brightness: Factor on the reflectance, (rows, cols).
        variation: Slope, liquid water and pigment away from the material's mean, (3, rows, cols).
    """

    abundance: Floats
    brightness: Floats
    variation: Floats


def land(seed: int, start: int, stop: int, cols: int) -> Land:
    """Make the ground of rows `start` to `stop`."""
    pieces = [_piece(seed, start, stop, left, min(left + _PIECE, cols)) for left in range(0, cols, _PIECE)]
    return Land(
        np.concatenate([piece.abundance for piece in pieces], axis=-1),
        np.concatenate([piece.brightness for piece in pieces], axis=-1),
        np.concatenate([piece.variation for piece in pieces], axis=-1),
    )


def _piece(seed: int, start: int, stop: int, left: int, right: int) -> Land:
    y, x = np.meshgrid(np.arange(start, stop, dtype=float), np.arange(left, right, dtype=float), indexing="ij")
    key = seed * 16
    bend_y, bend_x = fractal(key, y, x, wavelength=260, octaves=4, channels=2)
    wood, river, town, moist, light = fractal(
        key + 1, y + 26 * bend_y, x + 26 * bend_x, wavelength=230, octaves=6, channels=5, gain=0.55
    )
    texture = fractal(key + 2, y, x, wavelength=14, octaves=3, channels=6, gain=0.75)
    fields = _fields(key + 3, y + 5 * bend_y, x + 5 * bend_x)
    logits = np.broadcast_to(_BASE[:, None, None], (len(_BASE), *y.shape)).copy()
    for material in range(len(_BASE)):
        logits[material] += 0.55 * texture[material % 5] * (1 if material < 5 else -1)
    logits[GREEN] += 0.7 * moist
    logits[DRY] -= 0.7 * moist
    _grow(logits, fields, texture[5])
    wooded = np.clip(9 * (wood - 0.75), 0, 7)
    logits[FOREST] += wooded
    _settle(logits, key + 4, y, x, np.clip(5 * (town - 1.15), 0, 1) * (wooded < 1))
    _drive(logits, fields.road)
    logits[WATER] += 16 * np.clip(1.5 - np.abs(river) / 0.07, 0, 1)
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    # Crowns and their shadows make woods rough; open water is smooth.
    rough = 0.045 + 0.16 * logits[FOREST] - 0.03 * logits[WATER]
    shade = 0.07 * light + fields.tone + rough * texture[5]
    variation = np.stack(
        [
            0.03 * moist + 0.02 * texture[0] + 0.05 * fields.tone,
            0.25 * moist + 0.15 * texture[1] + 1.2 * fields.tone,
            0.25 * light + 0.15 * texture[2] - 0.9 * fields.tone,
        ]
    )
    return Land(logits, np.exp(shade), variation)


@dataclass(frozen=True)
class _Fields:
    identity: Hashes
    tone: Floats
    edge: Floats
    road: Floats


def _bricks(
    key: int, y: Coordinates, x: Coordinates, height: float, width: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats, Floats]:
    """Lay bricks, every course shifted by its own offset: course, brick, and the place inside the brick."""
    course = np.floor(y / height).astype(np.int64)
    shifted = x + width * unit(hashed(key, course))
    brick = np.floor(shifted / width).astype(np.int64)
    return course, brick, (y - course * height).astype(np.float32), (shifted - brick * width).astype(np.float32)


def _halved(offset: Floats, length: float, at: Floats, split: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Cut a brick's side in two where `split`: which half, and the distance to the nearest end of that half."""
    cut = np.where(split, (0.3 + 0.4 * at) * np.float32(length), np.float32(length))
    second = offset >= cut
    near = np.where(second, offset - cut, offset)
    far = np.where(second, np.float32(length) - offset, cut - offset)
    return second.astype(np.float32), np.minimum(near, far)


def _fields(key: int, y: Coordinates, x: Coordinates) -> _Fields:
    """Rectangular fields of several sizes; some of the long lines between them are roads."""
    v, u = rotated(y, x, _FIELD_ANGLE)
    course, brick, inside_v, inside_u = _bricks(key, v, u, _FIELD_HEIGHT, _FIELD_WIDTH)
    block = hashed(key + 1, course, brick)
    half_v, edge_v = _halved(inside_v, _FIELD_HEIGHT, unit(block << np.uint64(7)), (block & np.uint64(1)) > 0)
    half_u, edge_u = _halved(inside_u, _FIELD_WIDTH, unit(block << np.uint64(29)), (block & np.uint64(6)) > 0)
    identity = hashed(key + 2, block.view(np.int64), (2 * half_v + half_u).astype(np.int64))
    above, below = (unit(hashed(key + 3, line)) < 0.3 for line in (course, course + 1))
    road = np.where(above, inside_v, np.float32(99))
    road = np.minimum(road, np.where(below, np.float32(_FIELD_HEIGHT) - inside_v, np.float32(99)))
    tone = 0.22 * (unit(identity << np.uint64(13)) - np.float32(0.5))
    return _Fields(identity, tone, np.minimum(edge_v, edge_u), road)


def _grow(logits: Floats, fields: _Fields, texture: Floats) -> None:
    """Crops on the fields, grass or a hedge along their edges."""
    crops = _CROPS[(fields.identity & np.uint64(7)).astype(np.intp)]
    for material in np.unique(_CROPS):
        logits[material] += 3.4 * (crops == material)
    edge = np.clip(1.6 - fields.edge, 0, 1)
    hedge = (fields.identity & np.uint64(24)) == 0
    logits[FOREST] += np.where(hedge, (5.5 + 2 * texture) * edge, 0)
    logits[DRY] += np.where(hedge, 0, 2.5 * edge)


def _settle(logits: Floats, key: int, y: Coordinates, x: Coordinates, town: Floats) -> None:
    """Houses on plots, with a street along every other row of plots."""
    if not town.any():
        return
    v, u = rotated(y, x, _PLOT_ANGLE)
    course, brick, inside_v, inside_u = _bricks(key, v, u, _PLOT_HEIGHT, _PLOT_WIDTH)
    plot = hashed(key + 1, course, brick)
    half_v, half_u = 2.4 + 1.8 * unit(plot << np.uint64(9)), 3.0 + 3.2 * unit(plot << np.uint64(27))
    wall = np.maximum(np.abs(inside_v - _PLOT_HEIGHT / 2) - half_v, np.abs(inside_u - _PLOT_WIDTH / 2) - half_u)
    house = np.clip(0.5 - wall, 0, 1) * town
    kind = plot & np.uint64(7)
    logits[ROOF] += np.where(kind < 5, 13 * house, 0)
    logits[CONCRETE] += np.where((kind == 5) | (kind == 6), 12 * house, 0)
    street = np.clip(2.0 - np.where(course % 2 == 0, inside_v, np.float32(99)), 0, 1) * town
    logits[ASPHALT] += 11 * street


def _drive(logits: Floats, road: Floats) -> None:
    """Asphalt along the roads, with a pale verge."""
    logits[ASPHALT] += 11 * np.clip(2.3 - road, 0, 1)
    logits[CONCRETE] += 5 * np.clip(1 - np.abs(road - 3), 0, 1)
