"""Canonical tiles: arithmetic in pieces of one shape that have fixed places in the scene, wherever windows begin.

Libraries add up in an order that depends on the shape of what they are given, and on where in it a value stands. So
that a score has the same bits in any window, in any precision and with any number of threads, a window is cut into
squares that are counted from the scene's first pixel (`Detector.grid`), each is computed by one thread, and what lies
outside of the window is filled with zeros up to the shape. Nothing is ever added across pixels of different tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from hadgeo.compute.cores import map_cores
from hadgeo.windows import Window, tile

#: Side of a tile in pixels: a multiple of the blocks in which libraries work, and no more than most halos.
SIDE = 16

#: Pixels of a tile.
PIXELS = SIDE**2

#: Tiles, or pieces of as many pixels, that are computed together, elsewhere and on a CPU, where they then stay in its
#: cache. Elsewhere each operation costs what it takes to begin it, and a GPU is through with few tiles before that. A
#: core begins its operations while no other does, so with two tiles or less, cores wait for each other.
TOGETHER = (256, 6)

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
    rows, cols, _ = values.shape
    count = together[block.device.type == "cpu"]

    @torch.no_grad()
    def one(part: Window) -> None:
        here = block[:, part.rows, part.cols]
        found = function(spectra_of_tiles(here, count)).view(count, SIDE, SIDE, -1)
        values[part.rows, part.cols] = joined(found, part)

    map_cores(one, pieces(rows, cols, count), block.device)


def pieces(rows: int, cols: int, count: int) -> Iterator[Window]:
    """Cut a window into pieces of no more than so many tiles: as many tiles of a row as there are, then more rows."""
    across = min(count, -(cols // -SIDE))
    return tile((rows, cols), (count // across * SIDE, across * SIDE))


def placed(tiles: Tensor, piece: Window) -> Tensor:
    """A view of the tiles of a piece in which they stand where they belong.

    Args:
        tiles: (tile, y, x, value), row by row of tiles; more of them may follow.
        piece: Their place.

    Returns:
        (tile's row, y, tile's column, x, value).
    """
    down, across = -(piece.height // -SIDE), -(piece.width // -SIDE)
    return tiles[: down * across].view(down, across, *tiles.shape[1:]).transpose(1, 2)


def joined(tiles: Tensor, piece: Window) -> Tensor:
    """The pixels of a piece, (y, x, value), of its tiles; see `placed`."""
    return placed(tiles, piece).flatten(2, 3).flatten(0, 1)[: piece.height, : piece.width]


def filled_up(tiles: Tensor, count: int) -> Tensor:
    """A copy of tiles (tile's row, tile's column, ...) as (tile, ...), with zeros for others up to a number."""
    there = tiles.shape[0] * tiles.shape[1]
    make = torch.empty if there == count else torch.zeros
    found = make((count, *tiles.shape[2:]), dtype=tiles.dtype, device=tiles.device)
    found[:there].view(tiles.shape).copy_(tiles)
    return found


def spectra_of_tiles(part: Tensor, count: int) -> Tensor:
    """Spectra of tiles, tile after tile, row by row of them, and each row by row.

    Args:
        part: (band, y, x) of no more than `count` tiles, of which the last ones may be cut.
        count: Tiles.

    Returns:
        (count * `PIXELS`, band), contiguous; zeros for what `part` lacks.
    """
    bands, height, width = part.shape
    if part.stride(0) != 1 and height == SIDE and width == count * SIDE:
        # Pixels of a band are neighbours in memory: torch turns a dense matrix several times as fast as any other.
        dense: Tensor = part.reshape(bands, SIDE, count, SIDE).permute(0, 2, 1, 3).reshape(bands, -1)
        return dense.T.contiguous()
    if height % SIDE or width % SIDE:
        part = F.pad(part, (0, -width % SIDE, 0, -height % SIDE))
    down, across = part.shape[1] // SIDE, part.shape[2] // SIDE
    tiles = part.reshape(bands, down, SIDE, across, SIDE).permute(1, 3, 2, 4, 0)
    return filled_up(tiles, count).view(-1, bands)


def times(matrix: Tensor, columns: Tensor) -> Tensor:
    """A product with many columns, of which each has the same bits wherever it stands.

    Args:
        matrix: (m, k).
        columns: (k, n).

    Returns:
        (m, n).
    """
    count, step = columns.shape[1], _COLUMNS[columns.device.type == "cpu"]
    product = columns.new_empty((len(matrix), math.ceil(count / step) * step))
    for first in range(0, count, step):
        part = columns[:, first : first + step]
        if part.shape[1] < step:
            part = F.pad(part, (0, step - part.shape[1]))
        elif part.stride(1) != 1:
            # Transposed, it would be another product.
            part = part.contiguous()
        torch.mm(matrix, part, out=product[:, first : first + step])
    return product[:, :count]
