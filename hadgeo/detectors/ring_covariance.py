"""Quadratic forms with a covariance of its own for each pixel: that of the ring of neighbours around it.

A covariance for each pixel seems to take the product of all its neighbours and a decomposition. Two things save most
of that. Sums of outer products slide along a row: only the neighbours that come and go are touched. And the four
pixels of a 2 x 2 tile share nearly all their neighbours, so that one decomposition serves all four: with M the scatter
of the union of their rings, E the few spectra of the union that are not in a pixel's own ring, X the spectra of
interest, and G = [E X]ᵀ M⁻¹ [E X], Woodbury's identity (W. W. Hager, "Updating the inverse of a matrix", SIAM Review
31(2), 1989, eq. 2) gives

    Xᵀ (M - E Eᵀ)⁻¹ X = G_XX + G_XE (I - G_EE)⁻¹ G_EX.

Means cost nothing extra: every spectrum carries a 1 as its last value. For the scatter M of n such spectra, with mean m
and centred scatter S, the inverse of a block matrix gives (x, 1)ᵀ M⁻¹ (y, 1) = 1/n + (x - m)ᵀ S⁻¹ (y - m).

Spectra are whitened with a covariance of the scene beforehand, so that nothing here is ill-conditioned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from hadgeo.compute.boxes import box_sum
from hadgeo.compute.cores import map_cores

#: Rows of tiles that slide side by side, elsewhere and on a CPU, where their matrices then stay in its cache.
_TILE_ROWS = (128, 16)

#: Squared pivots of a decomposition below this, in variances of the scene for each neighbour, are rounding.
_SMALLEST_PIVOT = 1e-10

#: The same for I - G, whose eigenvalues lie between 0 and 1.
_SMALLEST_SHARE = 1e-7

#: Rows and columns, relative to the first pixel of the union of a tile's outer windows.
_Places = list[tuple[int, int]]


def _rectangle(rows: range, cols: range) -> _Places:
    return [(row, col) for row in rows for col in cols]


@dataclass(frozen=True)
class _Tile:
    """Who plays which part for a tile of 2 x 2 pixels.

    Attributes:
        union: The union of the four rings.
        come: What is new in it since the tile stood two columns before.
        gone: What has left it since then.
        involved: All that occurs in `others` or `block`.
        others: For each pixel, what of the union is not in its own ring, as indices of `involved` (4, pixel).
        block: For each pixel, the block of pixels around it that is of interest, likewise.
    """

    union: _Places
    come: _Places
    gone: _Places
    involved: _Places
    others: list[list[int]]
    block: list[list[int]]


@cache
def _tile(inner: int, outer: int, side: int) -> _Tile:
    reach, first, last = outer // 2, outer // 2 + 1 - inner // 2, outer // 2 + inner // 2
    whole = range(outer + 1)
    hidden = range(first, last + 1)
    union = set(_rectangle(whole, whole)) - set(_rectangle(hidden, hidden))
    others, blocks = [], []
    for row, col in _rectangle(range(2), range(2)):
        window = _rectangle(range(row, row + outer), range(col, col + outer))
        centre = [range(i + reach - inner // 2, i + reach + inner // 2 + 1) for i in (row, col)]
        others.append(sorted(union - (set(window) - set(_rectangle(*centre)))))
        blocks.append(_rectangle(*(range(i + reach - side // 2, i + reach + side // 2 + 1) for i in (row, col))))
    involved = sorted({place for places in (*others, *blocks) for place in places})
    index = {place: i for i, place in enumerate(involved)}
    few = range(max(first, last - 1), last + 1)
    return _Tile(
        union=sorted(union),
        come=_rectangle(whole, range(outer - 1, outer + 1))
        + _rectangle(hidden, range(first - 2, first) if few else few),
        gone=_rectangle(whole, range(-2, 0)) + _rectangle(hidden, few),
        involved=involved,
        others=[[index[place] for place in places] for places in others],
        block=[[index[place] for place in places] for places in blocks],
    )


class Rings:
    """The neighbourhood of each pixel of a window.

    Args:
        spectra: Whitened spectra, float64 (y, x, band), anything where invalid.
        valid: Bool (y, x).
        inner: Side of the inner window in pixels, odd.
        outer: Side of the outer window in pixels, odd and larger; both windows are cut at the border.
        ridge: What is added to the scatter of every ring, (band, band); None for nothing.
    """

    def __init__(self, spectra: Tensor, valid: Tensor, *, inner: int, outer: int, ridge: Tensor | None = None) -> None:
        self._shape = spectra.shape[:2]
        self._inner, self._outer = inner, outer
        reach = outer // 2
        # A spare row and column, so that tiles of 2 x 2 fit.
        height, self._width = (length + length % 2 + outer - 1 for length in self._shape)
        padded = spectra.new_zeros(height, self._width, spectra.shape[2] + 1)
        own = padded[reach : reach + self._shape[0], reach : reach + self._shape[1]]
        own[..., :-1] = spectra
        own[..., -1] = 1
        own[~valid] = 0
        self._flat = padded.flatten(0, 1)
        counts = box_sum(padded[..., -1], outer) - box_sum(padded[..., -1], inner)
        self._count = counts[reach : height - reach, reach : self._width - reach].round_()
        self._ridge = None if ridge is None else torch.nn.functional.pad(ridge, (0, 1, 0, 1))

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
        device = self._flat.device
        tile_rows = self._count.shape[0] // 2
        step = _TILE_ROWS[device.type == "cpu"]
        cores = torch.get_num_threads() if device.type == "cpu" else 1
        # As many rows for each core, or the last one would work alone.
        step = -(-tile_rows // (cores * -(-tile_rows // (cores * step))))
        scores = torch.empty_like(self._count)

        @torch.no_grad()
        def some(row: int) -> None:
            last = min(row + step, tile_rows)
            self._slide(range(row, last), _tile(self._inner, self._outer, side), use, scores[2 * row : 2 * last])

        map_cores(some, range(0, tile_rows, step), device)
        return scores[: self._shape[0], : self._shape[1]]

    def _gather(self, first: Tensor, places: _Places) -> Tensor:
        """Spectra at places relative to some pixels of the padded window, (pixel, place, band)."""
        offsets = torch.tensor([row * self._width + col for row, col in places], device=first.device)
        index = first[:, None] + offsets
        spectra: Tensor = self._flat[index.flatten()].view(*index.shape, -1)
        return spectra

    def _slide(self, rows: range, tile: _Tile, use: Callable[[Tensor], Tensor], scores: Tensor) -> None:
        """Score some rows of tiles, column by column.

        Args:
            rows: Rows of tiles.
            tile: Who plays which part.
            use: As for `forms`.
            scores: Where the scores go.
        """
        first = 2 * self._width * torch.arange(rows.start, rows.stop, device=scores.device)
        count = self._count[2 * rows.start : 2 * rows.stop]
        complete = self._outer**2 - self._inner**2
        own = self._gather(first, tile.union)
        scatter = torch.bmm(own.mT, own)
        if self._ridge is not None:
            scatter += self._ridge
        for col in range(0, scores.shape[1], 2):
            if col:
                first = first + 2
                come, gone = self._gather(first, tile.come), self._gather(first, tile.gone)
                _add(scatter, come, 1)
                _add(scatter, gone, -1)
            involved = self._gather(first, tile.involved)
            # The four pixels of each tile, in the order of `_Tile`.
            n = count[:, col : col + 2].reshape(-1, 4)
            whole = n >= complete
            shares = whole.any(dim=1)
            forms = n.new_zeros(*n.shape, len(tile.block[0]), len(tile.block[0]))
            if bool(shares.all()):
                forms, sound = _shared(scatter, involved, tile)
                whole &= sound
            elif bool(shares.any()):
                forms[shares], sound = _shared(scatter[shares], involved[shares], tile)
                whole[shares] &= sound
            for which, again in enumerate(~whole.T):
                if bool(again.any()):
                    weight = (complete - n[again, which]).clamp(min=1)
                    forms[again, which] = self._alone(
                        scatter[again], involved[again], tile.others[which], tile.block[which], weight, n[again, which]
                    )
            ones = torch.stack([involved[:, places, -1] for places in tile.block], dim=1)
            forms -= ones[..., None] * ones[..., None, :] / n.clamp(min=1)[..., None, None]
            scores[:, col : col + 2] = use(forms * (complete - 1)).reshape(-1, 2)

    def _alone(
        self, scatter: Tensor, involved: Tensor, others: list[int], block: list[int], weight: Tensor, count: Tensor
    ) -> Tensor:
        """Forms of pixels that cannot share a decomposition, because the scene's covariance helps out theirs."""
        leave = involved[:, others]
        own = torch.baddbmm(scatter, leave.mT, leave, alpha=-1)
        diagonal = own.diagonal(dim1=-2, dim2=-1)
        diagonal[:, :-1] += weight[:, None]
        diagonal[:, -1] += count == 0
        half = torch.linalg.solve_triangular(torch.linalg.cholesky_ex(own)[0], involved[:, block].mT, upper=False)
        forms: Tensor = half.mT @ half
        return forms


def _add(scatter: Tensor, spectra: Tensor, sign: int) -> None:
    """Add products of spectra (tile, pixel, band) to the part of scatter matrices that a decomposition reads.

    That is the lower triangle of (tile, band, band): of its four quarters, one is left out.
    """
    middle = spectra.shape[2] // 2
    left, right = spectra[..., :middle], spectra[..., middle:]
    scatter[:, :middle, :middle].baddbmm_(left.mT, left, alpha=sign)
    scatter[:, middle:, :middle].baddbmm_(right.mT, left, alpha=sign)
    scatter[:, middle:, middle:].baddbmm_(right.mT, right, alpha=sign)


def _shared(scatter: Tensor, involved: Tensor, tile: _Tile) -> tuple[Tensor, Tensor]:
    """Forms of all pixels of some tiles, from one decomposition for each tile.

    Args:
        scatter: (tile, band + 1, band + 1).
        involved: (tile, place, band + 1).
        tile: Who plays which part.

    Returns:
        Forms with uncentred spectra (tile, 4, pixel, pixel); and whether their neighbours determine them, (tile, 4).
    """
    factor, _ = torch.linalg.cholesky_ex(scatter)
    half = torch.linalg.solve_triangular(factor, involved.mT, upper=False)
    gram = torch.bmm(half.mT, half)
    others, block = (torch.tensor(places, device=gram.device) for places in (tile.others, tile.block))
    share = -_pairs(gram, others, others)
    share.diagonal(dim1=-2, dim2=-1).add_(1)
    small, _ = torch.linalg.cholesky_ex(share)
    rest = torch.linalg.solve_triangular(small, _pairs(gram, others, block), upper=False)
    forms = _pairs(gram, block, block) + rest.mT @ rest
    smallest = factor.diagonal(dim1=-2, dim2=-1).amin(dim=-1).square() / len(tile.union)
    sound = (smallest[:, None] > _SMALLEST_PIVOT) & (
        small.diagonal(dim1=-2, dim2=-1).amin(dim=-1).square() > _SMALLEST_SHARE
    )
    return forms, sound


def _pairs(gram: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Parts of square matrices (tile, place, place): (tile, 4, row, column) for indices (4, row) and (4, column)."""
    index = rows[:, :, None] * gram.shape[1] + cols[:, None, :]
    parts: Tensor = gram.flatten(1)[:, index.flatten()].view(-1, *index.shape)
    return parts
