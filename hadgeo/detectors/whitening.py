"""Distances in the metric of a covariance, on which most detectors end."""

from __future__ import annotations

import torch
from torch import Tensor

from hadgeo.compute.cores import map_cores

#: Spectra whitened at a time, elsewhere and on a CPU, where their copies then stay in its cache.
_CHUNK_PIXELS = (2**16, 2**10)


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
        return inverse
    values, vectors = torch.linalg.eigh(covariance)
    keep = values > epsilon * values.max()
    scaled: Tensor = vectors[:, keep] / values[keep].sqrt()
    return scaled.T.contiguous()


def mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of each pixel.

    Args:
        block: (band, y, x).
        mean: (band), of the precision in which to compute; None where the block is centred already.
        whitening: (rank, band); see `whitening`.

    Returns:
        (y, x); NaN where a band is NaN.
    """
    _, rows, cols = block.shape
    step = max(1, _CHUNK_PIXELS[block.device.type == "cpu"] // cols)
    # One array for all: small ones kept between large ones that come and go would tear the heap apart.
    distance = torch.empty((rows, cols), dtype=whitening.dtype, device=block.device)

    @torch.no_grad()
    def one(row: int) -> None:
        part = slice(row, row + step)
        distance[part] = _mahalanobis(block[:, part], mean, whitening).reshape(-1, cols)

    map_cores(one, range(0, rows, step), block.device)
    return distance


def _mahalanobis(block: Tensor, mean: Tensor | None, whitening: Tensor) -> Tensor:
    if block.stride(0) == 1:
        # BIP: spectra are contiguous; transposing the small matrix instead of the cube saves a pass over memory.
        spectra = block.permute(1, 2, 0).flatten(0, 1)
        centred = spectra if mean is None else spectra - mean
        distance: Tensor = (centred @ whitening.T).square_().sum(dim=1)
        return distance
    spectra = block.flatten(1)
    centred = spectra if mean is None else spectra - mean[:, None]
    return (whitening @ centred).square_().sum(dim=0)
