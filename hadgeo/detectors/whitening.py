"""Distances in the metric of a covariance, on which most detectors end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hadgeo.compute.cores import one_core
from hadgeo.compute.products import linear
from hadgeo.detectors.tiles import each_tile

#: Half of the distance between 1 and the next float32.
_UNIT = 2.0**-24

#: Amplified roundings at which distances are still computed in float32.
_AMPLIFIED = 2.5e-5

#: Parts in which a triangular whitening is multiplied: more would leave out more zeros, in products that are slower.
_PARTS = 3

#: Bands up to which it is multiplied as one.
_FEW = 128


@one_core()
def whitening(covariance: Tensor) -> Tensor:
    """A matrix W with WᵀW = C⁻¹, or C⁺ where C is singular to working precision.

    Args:
        covariance: Symmetric, positive semi-definite, float64 (band, band).

    Returns:
        Float64 (rank, band).
    """
    # Bands of very different scale (radiance beside reflectance) would look singular: judge the correlation instead.
    scale = covariance.diagonal().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    correlation = covariance / torch.outer(scale, scale)
    factor, info = torch.linalg.cholesky_ex(correlation)
    epsilon = torch.finfo(torch.float64).eps * covariance.shape[0]
    if int(info) == 0 and float(factor.diagonal().min()) ** 2 > epsilon:
        identity = torch.eye(covariance.shape[0], dtype=torch.float64, device=covariance.device)
        inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False) / scale
        return inverse.contiguous()
    values, vectors = eigenvectors(covariance)
    keep = values > epsilon * values.max()
    scaled: Tensor = vectors[:, keep] / values[keep].sqrt()
    return scaled.T.contiguous()


@one_core()
def eigenvectors(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors as columns, with any number of threads to the same bits.

    Args:
        covariance: Symmetric, float64 (band, band).
    """
    values, vectors = torch.linalg.eigh(covariance)
    return values, vectors


def as_precise(whitening: Tensor) -> Tensor:
    """A whitening in float32 where distances computed in it differ by less than 1e-4 of themselves, else as it is.

    A row of W D, where D holds the bands' standard deviations, says by how much roundings of standardised spectra are
    amplified; the mean square of these rows is the mean variance inflation factor of the bands, V, at most the
    condition number of their correlation. With roundings of size u that are independent of each other, the relative
    error of a distance has a standard deviation of about 2 u sqrt(V / bands) for a pixel of the background. Measured on
    nine real scenes and four simulated lines, with and without a ridge (V from 76 to 1e5), it is about .1 u sqrt(V),
    and .5 to 2 u sqrt(V) for the worst of all their pixels. So `_AMPLIFIED` allows 5e-5 where twice that is promised.

    Args:
        whitening: As `whitening` makes it, float64 (rank, band).

    Returns:
        (rank, band), float32 or float64. Whatever is no inverse factor, such as that of a singular covariance, stays
        float64.
    """
    rank, bands = whitening.shape
    # On the CPU, so that devices decide alike.
    W = whitening.detach().cpu()
    if rank != bands or not torch.equal(W, W.tril()):
        return whitening
    with one_core():
        # Rows of the factor L with C = L Lᵀ, whose lengths are the standard deviations.
        identity = torch.eye(bands, dtype=W.dtype)
        deviations = torch.linalg.solve_triangular(W, identity, upper=False).square().sum(dim=1).sqrt()
        inflation = float((W * deviations).square().sum() / bands)
    enough = _UNIT * math.sqrt(inflation) <= _AMPLIFIED
    return whitening.float() if enough else whitening


def mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of each pixel.

    Args:
        block: (band, y, x) that begins at the border of a tile; see `hadgeo.detectors.tiles`.
        mean: (band), float64; None where the block is centred already.
        whitening: (rank, band), of the precision in which to compute; see `whitening` and `as_precise`.

    Returns:
        (y, x), of the type of the whitening; NaN where a band is NaN.
    """
    parts = [(whitening[rows, :bands].contiguous(), rows, bands) for rows, bands in _parts(whitening)]
    offset: Tensor | None = None
    if mean is not None and whitening.dtype == torch.float32:
        # What the mean loses in float32 is amplified as any rounding is, and the same for all pixels.
        rest, mean = mean - mean.float(), mean.float()
        offset = -(whitening.double() @ rest).float()

    def distance(spectra: Tensor) -> Tensor:
        centred = (spectra if mean is None else spectra - mean).to(whitening)
        squares = (
            linear(centred[:, :bands], matrix, None if offset is None else offset[rows]).square_().sum(dim=1)
            for matrix, rows, bands in parts
        )
        return sum(squares, centred.new_zeros(len(centred)))

    return each_tile(block, distance, dtype=whitening.dtype)


def _parts(whitening: Tensor) -> list[tuple[slice, int]]:
    """Rows of a whitening that are multiplied together, and the bands up to which they are not 0.

    The inverse of a triangular factor is triangular, and a third of the arithmetic is multiplications by 0.
    """
    rank, bands = whitening.shape
    few = bands <= _FEW or rank != bands or whitening.device.type != "cpu"
    if few or not torch.equal(whitening, whitening.tril()):
        return [(slice(0, rank), bands)]
    # Whole vectors of the processor.
    step = 8 * math.ceil(rank / (8 * _PARTS))
    return [(slice(row, row + step), min(row + step, rank)) for row in range(0, rank, step)]
