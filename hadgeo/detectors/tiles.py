"""Canonical tiles: arithmetic in pieces of one shape that have fixed places in the scene, wherever windows begin.

Libraries add up in an order that depends on the shape of what they are given, and on where in it a value stands. So
that a score has the same bits in any window, in any precision and with any number of threads, a window is cut into
squares that are counted from the scene's first pixel (`Detector.grid`), each is computed by one thread, and what lies
outside of the window is filled with zeros up to the shape. Nothing is ever added across pixels of different tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from hadgeo.compute.cores import map_cores

#: Side of a tile in pixels: a multiple of the blocks in which libraries work, and no more than most halos.
SIDE = 16

#: Pixels of a tile.
PIXELS = SIDE**2

#: Tiles, or pieces of as many pixels, that are computed together, elsewhere and on a CPU, where they then stay in its
#: cache.
TOGETHER = (64, 2)

#: Columns of a product that are computed together, elsewhere and on a CPU. They have no place of their own in a scene,
#: so their number is a multiple of 24, 32 and 64, the widths of kernels of which the last would be another one.
_COLUMNS = (2**14 * 3, 2**8 * 3)


def each_tile(
    block: Tensor,
    function: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype = torch.float64,
    together: tuple[int, int] = TOGETHER,
) -> Tensor:
    """Call a function of spectra for all pixels of a window, tile by tile.

    Args:
        block: (band, y, x) that begins at the border of a tile.
        function: From spectra (pixel, band), always as many and as contiguous, NaN or not, to one value for each.
        dtype: Of the values.
        together: Tiles to compute together, elsewhere and on a CPU.

    Returns:
        (y, x).
    """
    # One array for all: small ones kept between large ones that come and go would tear the heap apart.
    values = torch.empty((*block.shape[1:], 1), dtype=dtype, device=block.device)
    _into(values, block, function, together)
    return values[..., 0]


def each_tile_spectra(
    block: Tensor, function: Callable[[Tensor], Tensor], *, bands: int, together: tuple[int, int] = TOGETHER
) -> Tensor:
    """The same for a function that gives a float32 spectrum (pixel, band) for each.

    Args:
        block: As for `each_tile`.
        function: As for `each_tile`, but it gives (pixel, band).
        bands: Bands of what it gives.
        together: As for `each_tile`.

    Returns:
        (y, x, band).
    """
    values = torch.empty((*block.shape[1:], bands), dtype=torch.float32, device=block.device)
    _into(values, block, function, together)
    return values


def _into(values: Tensor, block: Tensor, function: Callable[[Tensor], Tensor], together: tuple[int, int]) -> None:
    """Put what a function makes of each tile of a block (band, y, x) into (y, x, value)."""
    rows, cols, each = values.shape
    count = together[block.device.type == "cpu"]

    @torch.no_grad()
    def one(place: tuple[int, int]) -> None:
        row, col = place
        part = block[:, row : row + SIDE, col : col + count * SIDE]
        found = function(spectra_of_tiles(part, count)).view(count, SIDE, SIDE, each)
        _, height, width = part.shape
        values[row : row + height, col : col + width] = found.transpose(0, 1).flatten(1, 2)[:height, :width]

    places = [(row, col) for row in range(0, rows, SIDE) for col in range(0, cols, count * SIDE)]
    map_cores(one, places, block.device)


def spectra_of_tiles(part: Tensor, count: int) -> Tensor:
    """Spectra of tiles side by side, tile after tile, each row by row.

    Args:
        part: (band, y, x) with no more than `SIDE` rows and `count` * `SIDE` columns.
        count: Tiles.

    Returns:
        (count * `PIXELS`, band), contiguous; zeros for what `part` lacks.
    """
    bands, height, width = part.shape
    if part.stride(0) != 1 and height == SIDE and width == count * SIDE:
        # Pixels of a band are neighbours in memory: torch turns a dense matrix several times as fast as any other.
        dense: Tensor = part.reshape(bands, SIDE, count, SIDE).permute(0, 2, 1, 3).reshape(bands, -1)
        return dense.T.contiguous()
    full, rest = divmod(width, SIDE)
    complete = height == SIDE and full == count
    make = partial(torch.empty if complete else torch.zeros, dtype=part.dtype, device=part.device)
    spectra = make((count, SIDE, SIDE, bands))
    if full:
        spectra[:full, :height] = part[:, :, : full * SIDE].reshape(bands, height, full, SIDE).permute(2, 1, 3, 0)
    if rest:
        spectra[full, :height, :rest] = part[:, :, full * SIDE :].permute(1, 2, 0)
    return spectra.view(-1, bands)


def times(matrix: Tensor, columns: Tensor) -> Tensor:
    """A product with many columns, of which each has the same bits wherever it stands.

    Args:
        matrix: (m, k).
        columns: (k, n).

    Returns:
        (m, n).
    """
    count, step = columns.shape[1], _COLUMNS[columns.device.type == "cpu"]
    padded = math.ceil(count / step) * step
    if padded > count:
        columns = torch.nn.functional.pad(columns, (0, padded - count))
    product = columns.new_empty((len(matrix), padded))
    for first in range(0, padded, step):
        part = slice(first, first + step)
        torch.mm(matrix, columns[:, part], out=product[:, part])
    return product[:, :count]
