"""Distances in the metric of a covariance, on which most detectors end."""

from __future__ import annotations

import torch
from torch import Tensor

from hadgeo.compute.cores import one_core
from hadgeo.detectors.tiles import each_tile


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


def mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of each pixel.

    Args:
        block: (band, y, x) that begins at the border of a tile; see `hadgeo.detectors.tiles`.
        mean: (band), of the precision in which to compute; None where the block is centred already.
        whitening: (rank, band); see `whitening`.

    Returns:
        (y, x); NaN where a band is NaN.
    """

    def distance(spectra: Tensor) -> Tensor:
        centred = spectra if mean is None else spectra - mean
        found: Tensor = (centred.to(whitening) @ whitening.T).square_().sum(dim=1)
        return found

    return each_tile(block, distance, dtype=whitening.dtype)
