"""Random numbers that belong to a place: hashed lattices and the smooth fields between their nodes.

A value depends on a key and on coordinates alone, never on what was drawn before. A scene can therefore be made in
pieces of any height, in any order, and the pieces fit together.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

# Standard deviation of value noise between hashed nodes in [-1, 1] under the quintic fade: sqrt((2 * 181/462)^2 / 3).
_ONE_OCTAVE = 2 * 181 / 462 / math.sqrt(3)
_MASK = (1 << 64) - 1


def hashed(key: int, *coordinates: npt.NDArray[np.int64]) -> Hashes:
    """Hash integer coordinates, which broadcast, to 64 bits each (SplitMix64's finaliser, Steele et al. 2014)."""
    shape = np.broadcast_shapes(*(c.shape for c in coordinates))
    state: Hashes = np.full(shape or (1,), (key * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK, dtype=np.uint64)
    for coordinate in coordinates:
        state ^= coordinate.astype(np.uint64)
        state += np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state.reshape(shape)


def unit(hashes: Hashes) -> Floats:
    """Turn hashes into numbers in [0, 1)."""
    return (hashes >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def rotated(y: Coordinates, x: Coordinates, degrees: float) -> tuple[Coordinates, Coordinates]:
    """Turn coordinates, so that a lattice laid over them is not aligned with the image."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return c * y + s * x, c * x - s * y


def _octave(key: int, y: Coordinates, x: Coordinates, channels: int) -> Floats:
    """Value noise on the unit lattice: hashed nodes in [-1, 1], quintic in between (Perlin 2002's fade)."""
    top, left = np.floor(y), np.floor(x)
    fy, fx = (y - top).astype(np.float32), (x - left).astype(np.float32)
    for f in (fy, fx):
        f *= f * f * (f * (f * 6 - 15) + 10)
    first_row, first_col = int(top.min()), int(left.min())
    height, width = int(top.max()) - first_row + 2, int(left.max()) - first_col + 2
    nodes = hashed(
        key,
        np.arange(channels)[:, None, None],
        np.arange(first_row, first_row + height)[None, :, None],
        np.arange(first_col, first_col + width)[None, None, :],
    )
    table = unit(nodes).reshape(channels, -1) * 2 - 1
    at = (top - first_row).astype(np.intp) * width + (left - first_col).astype(np.intp)
    upper = table.take(at, axis=1)
    upper += fx * (table.take(at + 1, axis=1) - upper)
    at += width
    lower = table.take(at, axis=1)
    lower += fx * (table.take(at + 1, axis=1) - lower)
    lower -= upper
    lower *= fy
    upper += lower
    return upper


def fractal(
    key: int, y: Coordinates, x: Coordinates, *, wavelength: float, octaves: int, channels: int = 1, gain: float = 0.5
) -> Floats:
    """Smooth fields of several octaves with zero mean and about unit variance.

    Args:
        key: Names the fields; other keys give independent ones.
        y: Rows in pixels, any shape.
        x: Columns in pixels, the same shape.
        wavelength: Distance between the nodes of the coarsest octave, in pixels; each further octave halves it.
        octaves: How many octaves.
        channels: How many independent fields.
        gain: Amplitude of an octave relative to the coarser one.

    Returns:
        Array (channels, *y.shape).
    """
    total: Floats = np.zeros((channels, *y.shape), dtype=np.float32)
    for octave in range(octaves):
        turned_y, turned_x = rotated(y, x, 31.0 + 47.0 * octave)
        scale = 2.0**octave / wavelength
        total += np.float32(gain**octave) * _octave(key * 64 + octave, turned_y * scale, turned_x * scale, channels)
    total *= np.float32(1 / (_ONE_OCTAVE * math.sqrt(sum(gain ** (2 * o) for o in range(octaves)))))
    return total
