"""Quadratic forms with a covariance of its own for each pixel: that of the ring of neighbours around it.

A covariance for each pixel seems to take the product of all its neighbours and a decomposition. Three things save most
of that. Sums of outer products slide along a row: only the neighbours that come and go are touched. The four pixels of
a 2 x 2 tile share nearly all their neighbours, so that one decomposition serves all four: with M the scatter of the
union of their rings, E the few spectra of the union that are not in a pixel's own ring, X the spectra of interest, and
G = [E X]ᵀ M⁻¹ [E X], Woodbury's identity (W. W. Hager, "Updating the inverse of a matrix", SIAM Review 31(2), 1989,
eq. 2) gives

    Y = (M - E Eᵀ)⁻¹ X = M⁻¹ (X + E (I - G_EE)⁻¹ G_EX).

And float32 is enough for Y. With A the scatter of the ring itself, Xᵀ A⁻¹ X is

    Xᵀ Y + Yᵀ X - Yᵀ A Y + Rᵀ A⁻¹ R,    R = X - A Y,

where products of Y with the neighbours give A Y in float64, without A. The last term is the square of Y's error, so
float32 is enough for it too. Where it is large all the same, a pixel is done again, alone and in float64.

Nothing needs a mean, because every spectrum carries a 1 as its last value: for the scatter A of n such spectra, with
mean m and centred scatter S, the inverse of a block matrix gives (x, 1)ᵀ A⁻¹ (y, 1) = (x - m)ᵀ S⁻¹ (y - m) + 1 / n.

Spectra are whitened with a covariance of the scene beforehand, so that little here is ill-conditioned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hadgeo.compute.boxes import box_sum
from hadgeo.compute.cholesky import Cholesky, block_columns, blocks, diagonals
from hadgeo.compute.cores import map_cores
from hadgeo.detectors.ring_tile import Tile
from hadgeo.detectors.tiles import SIDE

#: Rows of tiles that slide side by side, elsewhere and on a CPU. There they are fewer with many bands, but at least 8,
#: so that their matrices have about so many values.
_TILE_ROWS, _VALUES = (128, 32), 2**20

#: Values that wide processors take at a time.
_LANES = 8

#: How large the square of the error of float32 may be, relative: some hundredths of that may remain in the end.
_LARGEST_ERROR = 1e-5

#: Squared pivots of M, relative to its diagonal, and of I - G that may be rounding of float32, of which no error tells.
_SMALLEST_PIVOT, _SMALLEST_SHARE = 1e-5, 1e-3

#: Sums that slide begin anew where a value on the diagonal falls to this share of what it has been.
_FALLEN = 0.1

#: Squared pivots below this, in variances of the scene for each neighbour, are rounding in float64.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class _Shared:
    """L of M = L Lᵀ for some tiles: one for those pixels of a tile that miss as many neighbours.

    Attributes:
        factor: Of each item.
        halves: L⁻¹ of `Tile.spectra`: of all that some pixel leaves out, and then of all X (item, place, band).
        out: How many of them some pixel leaves out.
        serves: Which item is that of each pixel (tile, 4).
        sound: Whether it is more than rounding (tile, 4).
    """

    factor: Cholesky
    halves: Tensor
    out: int
    serves: Tensor
    sound: Tensor

    @property
    def left_out(self) -> Tensor:
        """L⁻¹ of what some pixel leaves out (item, place, band)."""
        return self.halves[:, : self.out]

    def of_pixels(self, items: Tensor) -> Tensor:
        """What each pixel has of what each item has for all four, (item, 4, ...) to (tile, 4, ...)."""
        if len(items) == len(self.serves):
            return items
        return items[self.serves, torch.arange(4, device=items.device)]

    def of_items(self, pixels: Tensor) -> Tensor:
        """The other way round, (tile, 4, place, value) to (item, 4 places, value), with 0 for other pixels."""
        if len(self.halves) > len(pixels):
            items = pixels.new_zeros(len(self.halves), *pixels.shape[1:])
            items[self.serves, torch.arange(4, device=pixels.device)] = pixels
            pixels = items
        return pixels.flatten(1, 2)

    def own(self, products: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        """Of products of anything with `left_out`, those with what each pixel leaves out itself.

        Args:
            products: (item, row, place).
            rows: Which rows are those of each pixel (4, row).
            others: Which places (4, place).

        Returns:
            (4 tiles, row, place).
        """
        index = rows[:, :, None] * self.out + others[:, None]
        chosen = products.flatten(1).index_select(1, index.flatten())
        return self.of_pixels(chosen.view(-1, *index.shape)).flatten(0, 1)


def forms_bytes(bands: int, inner: int, outer: int, side: int) -> int:
    """Bytes that `Rings.forms` takes on a core: of each tile matrices and spectra of its pixels, and its surroundings.

    Args:
        bands: Bands.
        inner: Side of the inner window in pixels.
        outer: Side of the outer window in pixels.
        side: Side of the block in pixels.
    """
    values, spectra = bands + _LANES, 4 * (inner + outer + side**2)
    # Decompositions of the four pixels of a tile and a copy, in float32, and one by one in float64.
    matrices = 4 * values**2 * (2 * 4 + 2) + 3 * 8 * values**2
    # What is divided by them, and products of that.
    divided = 4 * 4 * (4 * values * spectra + 3 * spectra**2)
    return _tile_rows(values, "cpu") * (matrices + divided + 3 * 8 * values * (outer + 1) ** 2)


def _tile_rows(values: int, device: str) -> int:
    return min(_TILE_ROWS[1], max(8, _VALUES // values**2)) if device == "cpu" else _TILE_ROWS[0]


class Rings:
    """The neighbourhood of each pixel of a window.

    Args:
        spectra: Spectra float64 (y, x, band), anything where invalid, whitened with what counts as the covariance of
            the scene: it is the identity.
        valid: Bool (y, x).
        inner: Side of the inner window in pixels, odd.
        outer: Side of the outer window in pixels, odd and larger; both windows are cut at the border.
        ridge: How much of that covariance is a ridge, (band, band); None for nothing. Every ring's covariance has it.
    """

    def __init__(self, spectra: Tensor, valid: Tensor, *, inner: int, outer: int, ridge: Tensor | None = None) -> None:
        self._shape = spectra.shape[:2]
        self._inner, self._outer, self._bands = inner, outer, spectra.shape[2]
        self._complete = outer**2 - inner**2
        reach, bands = outer // 2, self._bands
        # A spare row and column, so that tiles of 2 x 2 fit, and spare bands, so that whole vectors of a processor do.
        height, width = (length + length % 2 + outer - 1 for length in self._shape)
        padded = spectra.new_zeros(height, width, -(-(bands + 1) // _LANES) * _LANES)
        own = padded[reach : reach + self._shape[0], reach : reach + self._shape[1]]
        own[..., :bands] = spectra
        own[..., bands] = 1
        own[~valid] = 0
        self._padded, self._single = padded, padded.flatten(0, 1).float()
        counts = box_sum(padded[..., bands], outer) - box_sum(padded[..., bands], inner)
        self._count = counts[reach : height - reach, reach : width - reach].round_()
        # What every scatter has besides, and what it has for each missing neighbour.
        self._always, self._each = (spectra.new_zeros(padded.shape[2], padded.shape[2]) for _ in range(2))
        self._each.diagonal()[:bands] = 1
        self._ridged = ridge is not None
        if ridge is not None:
            self._always[:bands, :bands] = ridge * (self._complete - 1)
            self._each[:bands, :bands] -= ridge
        self._always.diagonal()[bands + 1 :] = 1

    def forms(self, side: int, use: Callable[[Tensor], Tensor]) -> Tensor:
        """What a function makes of (x - m)ᵀ C⁻¹ (y - m) of all pairs of pixels in a block around each pixel.

        m and C are mean and covariance of the ring around the pixel; with N neighbours in a complete ring, the scatter
        is divided by N - 1. Where no neighbour is valid, m is 0.

        Args:
            side: Side of the block in pixels, odd and at most that of the inner window.
            use: Takes such matrices (..., side², side²), 0 in rows and columns of invalid pixels; gives scores (...).

        Returns:
            (y, x), anything at invalid pixels.
        """
        device = self._padded.device
        tile_rows = self._count.shape[0] // 2
        step = _tile_rows(self._padded.shape[2], device.type)
        cores = torch.get_num_threads() if device.type == "cpu" else 1
        # As many rows for each core, or the last one would work alone.
        step = -(-tile_rows // (cores * -(-tile_rows // (cores * step))))
        scores = torch.empty_like(self._count)
        tile = Tile.of(self._inner, self._outer, side, self._padded.shape[1], device)

        @torch.no_grad()
        def some(row: int) -> None:
            last = min(row + step, tile_rows)
            self._slide(range(row, last), tile, use, scores[2 * row : 2 * last])

        map_cores(some, range(0, tile_rows, step), device)
        return scores[: self._shape[0], : self._shape[1]]

    def _slide(self, rows: range, tile: Tile, use: Callable[[Tensor], Tensor], scores: Tensor) -> None:
        """Score some rows of tiles, column by column.

        Args:
            rows: Rows of tiles.
            tile: Who plays which part.
            use: As for `forms`.
            scores: Where the scores go.
        """
        firsts = 2 * self._padded.shape[1] * torch.arange(rows.start, rows.stop, device=scores.device)
        count = self._count[2 * rows.start : 2 * rows.stop]
        scatter: list[Tensor] = []
        largest = self._single[:0]
        for col in range(0, scores.shape[1], 2):
            first = firsts + col
            # Rounding adds up along a row, and shall be the same in every window: they begin at multiples of this.
            if col % SIDE == 0:
                scatter = self._scatter(first, tile)
                largest = diagonals(scatter)
            else:
                _move(scatter, self._gather(first, tile.moved))
                largest = self._renewed(scatter, largest, first, tile)
            # The four pixels of each tile, in the order of `Tile`.
            n = count[:, col : col + 2].reshape(-1, 4)
            missing = self._complete - n
            around = self._around(rows, col)
            block = around[:, tile.block]
            shared = self._shared(scatter, self._gather(first, tile.spectra), missing, tile)
            single, factor = _solved(shared, tile)
            solved = single.to(block)
            applied = self._applied(solved, around, missing, tile)
            cross = block @ solved.mT
            rest = _squared(shared, (block - applied).float(), factor, tile)
            forms = cross + cross.mT - applied @ solved.mT + rest
            self._centre(forms, block, n)
            error, size = (part.diagonal(dim1=-2, dim2=-1) for part in (rest, forms))
            sound = (error <= _LARGEST_ERROR * size).all(dim=-1) & shared.sound
            sound &= (_squares(factor.diagonal(dim1=-2, dim2=-1)).amin(dim=-1) > _SMALLEST_SHARE).view(-1, 4)
            if not bool(sound.all()):
                for which, again in enumerate(~sound.T):
                    ring = around[again][:, tile.ring[which]]
                    forms[again, which] = self._alone(block[again, which], ring, n[again, which])
            scores[:, col : col + 2] = use(forms * (self._complete - 1)).reshape(-1, 2)

    def _gather(self, first: Tensor, offsets: Tensor) -> Tensor:
        """Spectra in float32 at offsets from some pixels of the padded window, (pixel, offset, band)."""
        index = first[:, None] + offsets
        return self._single.index_select(0, index.flatten()).view(*index.shape, -1)

    def _around(self, rows: range, col: int) -> Tensor:
        """The surroundings of some tiles in float64, (tile, place, band)."""
        length, bands = self._outer + 1, self._padded.shape[2]
        strip = self._padded[2 * rows.start : 2 * rows.stop + length - 2, col : col + length].contiguous()
        return strip.as_strided((len(rows), length**2, bands), (2 * length * bands, bands, 1))

    def _scatter(self, first: Tensor, tile: Tile) -> list[Tensor]:
        """The scatter of the union of rings of tiles, float32, in `block_columns`."""
        own = self._gather(first, tile.union)
        columns = block_columns(self._always.float().expand(len(first), -1, -1))
        _add(columns, own, own)
        return columns

    def _renewed(self, scatter: list[Tensor], largest: Tensor, first: Tensor, tile: Tile) -> Tensor:
        """Let sums begin anew that a spectrum far from all others has left, for its rounding has stayed.

        Args:
            scatter: To be changed.
            largest: The largest that each diagonal value of each tile has been (tile, band).
            first: The first pixel of the surroundings of each tile.
            tile: Who plays which part.

        Returns:
            `largest`, up to now.
        """
        now = diagonals(scatter)
        old = (now < _FALLEN * largest).any(dim=1).nonzero()[:, 0]
        largest = torch.maximum(largest, now)
        if len(old):
            new = self._scatter(first[old], tile)
            for column, part in zip(scatter, new, strict=True):
                column[old] = part
            largest[old] = diagonals(new)
        return largest

    def _centre(self, forms: Tensor, block: Tensor, count: Tensor) -> None:
        """Take 1 / n from forms (..., pixel, pixel) of valid pixels X (..., pixel, band) with n neighbours (...)."""
        valid = block[..., self._bands]
        forms -= valid[..., :, None] * valid[..., None, :] / count.clamp(min=1)[..., None, None]

    def _shared(self, scatter: list[Tensor], spectra: Tensor, missing: Tensor, tile: Tile) -> _Shared:
        """Decompose scatter matrices, in `block_columns`, for pixels that miss so many neighbours (tile, 4).

        Args:
            scatter: Of each tile.
            spectra: Of each tile, to be divided by L (tile, place, band).
            missing: How many neighbours its pixels miss.
            tile: Who plays which part.
        """
        serves = torch.arange(len(missing), device=missing.device)[:, None].expand(-1, 4)
        if bool(missing.any()):
            first_alike = (missing[:, :, None] == missing[:, None, :]).int().argmax(dim=2)
            leads = first_alike == torch.arange(4, device=missing.device)
            serves = (leads.flatten().cumsum(0) - 1).view_as(leads).gather(1, first_alike)
            tiles, which = leads.nonzero(as_tuple=True)
            times, each = missing[tiles, which].float()[:, None, None], block_columns(self._each.float())
            scatter = [
                column.index_select(0, tiles).addcmul_(times, more) for column, more in zip(scatter, each, strict=True)
            ]
            spectra = spectra.index_select(0, tiles)
        factor = Cholesky.of(scatter)
        sound = (_squares(factor.pivots) > _SMALLEST_PIVOT * diagonals(scatter)).all(dim=-1)
        return _Shared(factor, factor.half(spectra), tile.involved, serves, sound[serves])

    def _applied(self, solved: Tensor, around: Tensor, missing: Tensor, tile: Tile) -> Tensor:
        """A Y, as Y (tile, 4, pixel, band)."""
        near = torch.bmm(solved.flatten(1, 2), around.mT).view(*solved.shape[:3], -1) * tile.in_ring[:, None]
        applied = torch.bmm(near.flatten(1, 2), around).view_as(solved)
        if self._ridged:
            applied += solved @ self._always + missing[..., None, None] * (solved @ self._each)
        elif bool(missing.any()):
            applied += missing[..., None, None] * solved * self._each.diagonal()
        return applied

    def _alone(self, block: Tensor, ring: Tensor, count: Tensor) -> Tensor:
        """Forms of single pixels in float64, where the scene's covariance helps out rings that do not determine one.

        Args:
            block: X (item, pixel, band).
            ring: (item, place, band).
            count: Valid neighbours (item).

        Returns:
            (item, pixel, pixel).
        """
        missing = self._complete - count
        scatter = ring.mT @ ring + self._always + missing[:, None, None] * self._each
        scatter[:, self._bands, self._bands] += count == 0
        factor, _ = torch.linalg.cholesky_ex(scatter)
        poor = ~(_squares(factor.diagonal(dim1=-2, dim2=-1)).amin(dim=-1) > _ROUNDING * self._complete)
        factor[poor], _ = torch.linalg.cholesky_ex(scatter[poor] + self._each)
        half = torch.linalg.solve_triangular(factor, block.mT, upper=False)
        forms: Tensor = half.mT @ half
        self._centre(forms, block, count)
        return forms


def _add(columns: list[Tensor], left: Tensor, right: Tensor) -> None:
    """Add leftᵀ right, each (tile, place, band), to symmetric matrices in `block_columns`."""
    for column, block in zip(columns, blocks(left.shape[2]), strict=True):
        column.baddbmm_(left[..., block.start :].mT, right[..., block])


def _move(scatter: list[Tensor], moved: Tensor) -> None:
    """Update scatter matrices, in `block_columns`.

    Args:
        scatter: To be changed.
        moved: Spectra that have come, and then as many that have gone, (tile, place, band).
    """
    signed = moved.clone()
    signed[:, moved.shape[1] // 2 :].neg_()
    _add(scatter, signed, moved)


def _solved(shared: _Shared, tile: Tile) -> tuple[Tensor, Tensor]:
    """Y (tile, 4, pixel, band), and the decomposition of I - G_EE (4 tiles, place, place)."""
    products = torch.bmm(shared.halves, shared.left_out.mT)
    share = shared.own(products, tile.others, tile.others).neg_()
    share.diagonal(dim1=-2, dim2=-1).add_(1)
    factor, _ = torch.linalg.cholesky_ex(share)
    blocks_of = torch.arange(shared.out, products.shape[1], device=products.device).view(4, -1)
    own = torch.cholesky_solve(shared.own(products, blocks_of, tile.others).mT, factor).mT
    weights = own.new_zeros(len(own) // 4, 4, own.shape[1], shared.out)
    weights.scatter_(3, tile.others[None, :, None].expand(*weights.shape[:3], -1), own.view(*weights.shape[:3], -1))
    halves = torch.baddbmm(shared.halves[:, shared.out :], shared.of_items(weights), shared.left_out)
    solved = shared.factor.other_half(halves)
    return shared.of_pixels(solved.view(len(solved), 4, -1, solved.shape[2])), factor


def _squared(shared: _Shared, rest: Tensor, factor: Tensor, tile: Tile) -> Tensor:
    """Rᵀ A⁻¹ R (tile, 4, pixel, pixel), of R (tile, 4, pixel, band) and what `_solved` gives."""
    halves = shared.factor.half(shared.of_items(rest))
    rows = torch.arange(halves.shape[1], device=halves.device).view(4, -1)
    across = shared.own(torch.bmm(halves, shared.left_out.mT), rows, tile.others)
    left = torch.linalg.solve_triangular(factor, across.mT, upper=False)
    own = shared.of_pixels(halves.view(len(halves), 4, -1, halves.shape[2]))
    squared: Tensor = own @ own.mT + (left.mT @ left).view(*own.shape[:3], -1)
    return squared


def _squares(pivots: Tensor) -> Tensor:
    """Squares of pivots (..., band); 0 where a decomposition has failed, which leaves what is not positive."""
    return pivots.clamp(min=0).square()
