"""Spectra drawn at random from all over a scene, for methods whose fit holds all that it learns from in memory."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from threadpoolctl import threadpool_limits
from torch import Tensor

from hadgeo.detectors.base import Params
from hadgeo.detectors.whitening import eigenvectors
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Statistics, spectra_of
from hadgeo.windows import Window

#: Pixels looked at for each that is wanted: spectra then come from places all over the scene, and nodata costs none.
_LOOK = 16


class DrawnParams(Params):
    """Hyper-parameters of a detector that is fitted on spectra drawn at random."""

    sample: int = Field(
        default=2**15,
        title="Sampled pixels",
        description="Learn from about this many pixels, drawn from all over the scene.",
        ge=2,
        le=2**22,
    )
    seed: int = Field(
        default=0, title="Seed", description="Chooses the pixels, and all else that is drawn at random.", ge=0, lt=2**32
    )


class ComponentParams(Params):
    """Hyper-parameters of a detector that looks at the leading principal components."""

    components: int = Field(
        default=10,
        title="Principal components",
        description="Number of leading principal components that are looked at.",
        ge=1,
    )


def drawn_bytes(params: DrawnParams, bands: int, pixels: int) -> int:
    """Bytes of the spectra drawn in the scene's type, and of three float64 copies of them.

    Args:
        params: How many are drawn.
        bands: Bands used.
        pixels: Pixels of the scene.
    """
    return (8 + 3 * 8) * bands * min(pixels, params.sample)


def leading_components(spectra: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The leading principal components of spectra.

    Args:
        spectra: (pixel, band), float64.
        count: How many, at most; no more than there are bands.

    Returns:
        Mean spectrum (band), and components of unit length as rows, the one with the largest variance first.
    """
    with threadpool_limits(1, user_api="blas"):
        statistics = Statistics.of(spectra)
    _, vectors = eigenvectors(statistics.covariance)
    return statistics.mean, vectors.flip(1)[:, :count].T.contiguous()


def drawn_spectra(sample: Sample, *, pixels: int, seed: int) -> Tensor:
    """Valid spectra drawn at random, in proportion from each piece of the scenes that is looked at.

    Args:
        sample: The pixels to draw from.
        pixels: About how many to draw; all of them where there are no more.
        seed: Chooses among the pixels of each piece.

    Returns:
        (pixel, band), at least two, on the CPU, of the scene's type.

    Raises:
        FitError: Fewer than two pixels are valid, all of them are equal, or values are beyond float32.
    """
    drawn = _draw(sample, pixels, seed, _LOOK * pixels)
    if len(drawn) < min(pixels, 2):
        # Lines can be nearly empty.
        drawn = _draw(sample, pixels, seed, None)
    extreme = len(drawn) > 0 and float(drawn.abs().max()) > torch.finfo(torch.float32).max
    if len(drawn) < 2 or extreme or torch.equal(drawn.amin(dim=0), drawn.amax(dim=0)):
        # It knows the scene's name, and whether all of it is like that.
        sample.statistics(covariance=False)
        raise FitError(f"{len(drawn)} pixels drawn at random are equal; draw more of them with sample")
    return drawn


def _draw(sample: Sample, pixels: int, seed: int, look: int | None) -> Tensor:
    share = pixels / sum(window.pixels for _, window in sample.places(look))

    def some(block: Tensor, window: Window) -> Tensor:
        spectra = spectra_of(block)
        valid = np.flatnonzero(spectra.sum(dim=1).isfinite().numpy())
        wanted = int(np.ceil(share * window.pixels))
        if len(valid) > wanted:
            rng = np.random.default_rng((seed, window.row, window.col))
            valid = np.sort(rng.choice(valid, wanted, replace=False))
        return spectra[torch.from_numpy(valid)]

    return torch.cat(list(sample.stream(some, pixels=look)))
