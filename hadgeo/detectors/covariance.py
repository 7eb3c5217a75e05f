"""The background as mean and covariance: regularised, and robust to the anomalies that it is estimated with."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Params
from hadgeo.detectors.whitening import mahalanobis, whitening
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Statistics

#: How often the farthest pixels are dropped: once they are gone, others may be seen to be far.
TRIMS = 2

#: Pixels of the crops on which the distance of the farthest share is measured.
TRIM_PIXELS, TRIM_CROP = 2**16, 64

#: By how much of itself a distance of the same pixel may differ when it is computed with others.
_ROUNDING = 1e-9


class CovarianceParams(Params):
    """Hyper-parameters of a detector that models the background by mean and covariance."""

    ridge: float = Field(
        default=0.0,
        title="Ridge",
        description="What is added to each eigenvalue of the covariance, in units of their mean: C + r tr(C)/B I. "
        "Such as 0.01 keeps directions that hold hardly anything but noise from outweighing all others.",
        ge=0,
        le=1000,
    )
    robust: Literal["none", "trim"] = Field(
        default="none",
        title="Robust",
        description="'trim' estimates mean and covariance again without the pixels that are farthest from the first "
        "estimate, twice, so that anomalies do not hide in a background that they have shaped.",
    )
    trim: float = Field(
        default=0.01,
        title="Trimmed share",
        description="Share of the pixels that is dropped where robust is 'trim'.",
        gt=0,
        le=0.5,
    )


def regularised(covariance: Tensor, ridge: float) -> Tensor:
    """A covariance with a ridge, C + r tr(C)/B I.

    Args:
        covariance: (band, band).
        ridge: r, at least 0, in units of the mean eigenvalue.
    """
    if not ridge:
        return covariance
    covariance = covariance.clone()
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    return covariance


def trim_limit(distances: Tensor, share: float) -> Tensor:
    """The distance beyond which a share of the pixels lies.

    It lies half-way between two of them, and above equal ones, so that rounding does not decide what is dropped.

    Args:
        distances: Finite, (pixel), at least one.
        share: What is to be dropped, above 0.
    """
    ordered = distances.sort().values
    kept = min(max(1, int((1 - share) * len(ordered))), len(ordered) - 1)
    limit: Tensor = ordered[max(kept - 1, 0) : kept + 1].mean()
    return limit * (1 + _ROUNDING)


def trim_bytes(params: CovarianceParams, bands: int, pixels: int) -> int:
    """Bytes that `background_statistics` takes beside what is streamed: crops, and a copy of them.

    Args:
        params: Whether there is anything to trim.
        bands: Bands used.
        pixels: Pixels of the scene.
    """
    return 0 if params.robust == "none" else 2 * 4 * bands * min(pixels, TRIM_PIXELS)


def background_statistics(
    sample: Sample, params: CovarianceParams, *, device: torch.device, pixels: int | None = None
) -> Statistics:
    """Mean and covariance of a scene, with the farthest pixels trimmed if that was asked for.

    Args:
        sample: The pixels to learn from.
        params: Ridge, and whether and how much to trim.
        device: Where distances are computed.
        pixels: As for `Sample.statistics`.

    Returns:
        Moments, without the ridge.

    Raises:
        FitError: The pixels do not determine a background.
    """
    total = sample.statistics(covariance=True, pixels=pixels)
    if params.robust == "none":
        return total
    device = double_device(device)
    crops = sample.crops(size=TRIM_CROP, pixels=TRIM_PIXELS, seed=0)
    for _ in range(TRIMS):
        if not total.covariance.diagonal().max() > 0:
            raise FitError("all valid pixels are equal, so there is nothing to detect; check the input and --bands")
        mean, W = total.mean.to(device), whitening(regularised(total.covariance, params.ridge)).to(device)
        distance = torch.cat([mahalanobis(crop.to(device), mean, W).flatten() for crop in crops])
        farthest = trim_limit(distance[distance.isfinite()], params.trim)

        def near(spectra: Tensor, mean: Tensor = mean, W: Tensor = W, farthest: Tensor = farthest) -> Tensor:
            return ((spectra - mean) @ W.T).square_().sum(dim=1) <= farthest

        total = sample.statistics(covariance=True, pixels=pixels, keep=near)
    return total
