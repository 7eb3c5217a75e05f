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

Sums of outer products slide without a mean because every spectrum carries a 1 as its last value: for the scatter A of
such spectra, with mean m and centred scatter S, the inverse of a block matrix gives
(x - m, 0)ᵀ A⁻¹ (y - m, 0) = (x - m)ᵀ S⁻¹ (y - m).

Spectra are whitened with a covariance of the scene beforehand, so that little here is ill-conditioned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hadgeo.compute.boxes import box_sum
from hadgeo.compute.cores import map_cores
from hadgeo.detectors.ring_tile import Tile

#: Rows of tiles that slide side by side, elsewhere and on a CPU, where their matrices then stay in its cache.
_TILE_ROWS = (128, 8)

#: Values that wide processors take at a time.
_LANES = 8

#: How large the square of the error of float32 may be, relative: some hundredths of that may remain in the end.
_LARGEST_ERROR = 1e-5

#: Squared pivots of M, relative to its diagonal, and of I - G that may be rounding of float32, of which no error tells.
_SMALLEST_PIVOT, _SMALLEST_SHARE = 1e-5, 1e-3

#: Sums that slide begin anew where fewer pixels than this share are right in float32.
_SOUND = 0.9

#: Squared pivots below this, in variances of the scene for each neighbour, are rounding in float64.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class _Shared:
    """L of M = L Lᵀ for some tiles: one for those pixels of a tile that miss as many neighbours.

    Attributes:
        factor: (item, band, band).
        tiles: Which tile each belongs to (item).
        serves: Which item is that of each pixel (tile, 4).
        sound: Whether it is more than rounding (tile, 4).
    """

    factor: Tensor
    tiles: Tensor | slice
    serves: Tensor
    sound: Tensor

    def half(self, spectra: Tensor) -> Tensor:
        """L⁻¹ times spectra of each tile (tile, place, band), for each item."""
        half: Tensor = torch.linalg.solve_triangular(self.factor.mT, spectra[self.tiles], upper=True, left=False)
        return half

    def halves(self, spectra: Tensor) -> Tensor:
        """L⁻¹ times spectra of each pixel (tile, 4, place, band)."""
        return self.own(self.half(spectra.flatten(1, 2)).view(-1, *spectra.shape[1:]))

    def own(self, items: Tensor) -> Tensor:
        """What each pixel has of something that each item has for all four, (item, 4, ...) to (tile, 4, ...)."""
        return items[self.serves, torch.arange(4, device=items.device)]


def forms_bytes(bands: int, outer: int) -> int:
    """Bytes that `Rings.forms` takes on a core: of each tile some matrices of its pixels, and its surroundings.

    Args:
        bands: Bands.
        outer: Side of the outer window in pixels.
    """
    tiles, values = _TILE_ROWS[True], bands + _LANES
    # Decompositions of the four pixels of a tile and a copy, in float32, and one by one in float64.
    matrices = 4 * values**2 * (2 * 4 + 2) + 3 * 8 * values**2
    return tiles * (matrices + 3 * 8 * values * (outer + 1) ** 2)


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
        step = _TILE_ROWS[device.type == "cpu"]
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
        scatter, rounded = self._scatter(firsts, tile), False
        for col in range(0, scores.shape[1], 2):
            first = firsts + col
            if rounded:
                scatter = self._scatter(first, tile)
            elif col:
                _move(scatter, self._gather(first, tile.moved))
            # The four pixels of each tile, in the order of `Tile`.
            n = count[:, col : col + 2].reshape(-1, 4)
            missing = self._complete - n
            around = self._around(rows, col)
            block = self._centred(around, n, tile)
            shared = self._shared(scatter, missing)
            single, away, factor = _solved(shared, self._gather(first, tile.involved), block.float(), tile)
            solved = single.to(block)
            applied = self._applied(solved, around, missing, tile)
            cross = block @ solved.mT
            rest = _squared(shared.halves((block - applied).float()), away, factor)
            forms = cross + cross.mT - applied @ solved.mT + rest
            error, size = (part.diagonal(dim1=-2, dim2=-1) for part in (rest, forms))
            sound = (error <= _LARGEST_ERROR * size).all(dim=-1) & shared.sound
            sound &= (_pivots(factor).amin(dim=-1) > _SMALLEST_SHARE).view(-1, 4)
            # Rounding adds up along a row, and a spectrum far from all others leaves some behind.
            rounded = bool(sound.double().mean() < _SOUND)
            for which, again in enumerate(~sound.T):
                if bool(again.any()):
                    ring = around[again][:, tile.ring[which]]
                    forms[again, which] = self._alone(block[again, which], ring, missing[again, which])
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

    def _scatter(self, first: Tensor, tile: Tile) -> Tensor:
        """The scatter of the union of rings of tiles, float32 (tile, band, band)."""
        own = self._gather(first, tile.union)
        return torch.bmm(own.mT, own) + self._always.float()

    def _centred(self, around: Tensor, count: Tensor, tile: Tile) -> Tensor:
        """X: the block around each pixel less the mean of its ring (tile, 4, pixel, band), 0 at invalid pixels."""
        block = around[:, tile.block]
        sums = torch.bmm(tile.in_ring.expand(len(around), -1, -1), around)
        block -= block[..., self._bands, None] * (sums / count.clamp(min=1)[..., None])[:, :, None]
        block[..., self._bands] = 0
        return block

    def _shared(self, scatter: Tensor, missing: Tensor) -> _Shared:
        """Decompose scatter matrices (tile, band, band), for pixels that miss so many neighbours (tile, 4)."""
        tiles: Tensor | slice = slice(None)
        serves = torch.arange(len(missing), device=missing.device)[:, None].expand(-1, 4)
        if bool(missing.any()):
            first_alike = (missing[:, :, None] == missing[:, None, :]).int().argmax(dim=2)
            leads = first_alike == torch.arange(4, device=missing.device)
            serves = (leads.flatten().cumsum(0) - 1).view_as(leads).gather(1, first_alike)
            tiles, which = leads.nonzero(as_tuple=True)
            scatter = scatter[tiles].addcmul_(missing[tiles, which].float()[:, None, None], self._each.float())
        factor, _ = torch.linalg.cholesky_ex(scatter)
        sound = (_pivots(factor) > _SMALLEST_PIVOT * scatter.diagonal(dim1=-2, dim2=-1)).all(dim=-1)
        return _Shared(factor, tiles, serves, sound[serves])

    def _applied(self, solved: Tensor, around: Tensor, missing: Tensor, tile: Tile) -> Tensor:
        """A Y, as Y (tile, 4, pixel, band)."""
        near = torch.bmm(solved.flatten(1, 2), around.mT).view(*solved.shape[:3], -1) * tile.in_ring[:, None]
        applied = torch.bmm(near.flatten(1, 2), around).view_as(solved)
        if self._ridged or bool(missing.any()):
            applied += solved @ self._always + missing[..., None, None] * (solved @ self._each)
        return applied

    def _alone(self, block: Tensor, ring: Tensor, missing: Tensor) -> Tensor:
        """Forms of single pixels in float64, where the scene's covariance helps out rings that do not determine one.

        Args:
            block: X (item, pixel, band).
            ring: (item, place, band).
            missing: (item).

        Returns:
            (item, pixel, pixel).
        """
        scatter = ring.mT @ ring + self._always + missing[:, None, None] * self._each
        scatter[:, self._bands, self._bands] += missing == self._complete
        factor, _ = torch.linalg.cholesky_ex(scatter)
        poor = ~(_pivots(factor).amin(dim=-1) > _ROUNDING * self._complete)
        factor[poor], _ = torch.linalg.cholesky_ex(scatter[poor] + self._each)
        half = torch.linalg.solve_triangular(factor, block.mT, upper=False)
        forms: Tensor = half.mT @ half
        return forms


def _move(scatter: Tensor, moved: Tensor) -> None:
    """Update the part of scatter matrices (tile, band, band) that a decomposition reads.

    That is the lower triangle: of its four quarters, one is left out.

    Args:
        scatter: To be changed.
        moved: Spectra that have come, and then as many that have gone, (tile, place, band).
    """
    signed = moved.clone()
    signed[:, moved.shape[1] // 2 :].neg_()
    middle = moved.shape[2] // 2
    left, right = slice(middle), slice(middle, None)
    for rows, cols in ((left, left), (right, left), (right, right)):
        scatter[:, rows, cols].baddbmm_(signed[..., rows].mT, moved[..., cols])


def _solved(shared: _Shared, involved: Tensor, block: Tensor, tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
    """Y, and with it L⁻¹ E and the decomposition of I - G.

    Args:
        shared: L of M.
        involved: Spectra that some pixels leave out (tile, place, band).
        block: X (tile, 4, pixel, band).
        tile: Who plays which part.

    Returns:
        As X, (4 tiles, place, band) and (4 tiles, place, place).
    """
    half = shared.half(torch.cat([involved, block.flatten(1, 2)], dim=1))
    away = half.flatten(0, 1)[(shared.serves[..., None] * half.shape[1] + tile.others).flatten(0, 1)]
    right = half[:, involved.shape[1] :].reshape(-1, *block.shape[1:])
    own = shared.own(right).flatten(0, 1)
    share = -torch.bmm(away, away.mT)
    share.diagonal(dim1=-2, dim2=-1).add_(1)
    factor, _ = torch.linalg.cholesky_ex(share)
    weights = torch.cholesky_solve(torch.bmm(away, own.mT), factor)
    right[shared.serves, torch.arange(4, device=half.device)] = torch.baddbmm(own, weights.mT, away).view_as(block)
    solved = torch.linalg.solve_triangular(shared.factor.mT, right.flatten(1, 2).mT, upper=True).mT.view_as(right)
    return shared.own(solved), away, factor


def _squared(halves: Tensor, away: Tensor, factor: Tensor) -> Tensor:
    """Rᵀ A⁻¹ R (tile, 4, pixel, pixel), of L⁻¹ R (tile, 4, pixel, band) and what `_solved` gives."""
    own = halves.flatten(0, 1)
    left = torch.linalg.solve_triangular(factor, torch.bmm(away, own.mT), upper=False)
    squared: Tensor = own @ own.mT + left.mT @ left
    return squared.view(*halves.shape[:3], -1)


def _pivots(factor: Tensor) -> Tensor:
    """Squared pivots (..., band); 0 where a decomposition has failed, which leaves what is not positive."""
    return factor.diagonal(dim1=-2, dim2=-1).clamp(min=0).square()
