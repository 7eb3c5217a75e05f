"""The ring between two windows around each pixel: what is expected of the pixel, and how pixels differ from it.

A ring's mean is a better guess of the background than the mean of the scene, and the inner window keeps a target of
some size out of its own background. Both windows are cut at the border of the scene, and invalid pixels do not count;
where a ring has no valid pixel, the mean of the scene takes the place of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hadgeo.compute.executors import READERS
from hadgeo.compute.lanes import to_device
from hadgeo.detectors.base import Params
from hadgeo.detectors.rings import LEARNED_SIDE, ring_means, square_bytes, squares
from hadgeo.detectors.tiles import times
from hadgeo.errors import FitError
from hadgeo.sampling import Sample, Statistics, valid_pixels
from hadgeo.windows import Window


class DualWindowParams(Params):
    """Hyper-parameters of a detector that compares each pixel to the ring between two windows."""

    inner_window: int = Field(
        default=5,
        title="Inner window",
        description="Side in pixels of the window around each pixel that is not taken for background; odd, and no "
        "smaller than the targets.",
        ge=1,
        le=99,
    )
    outer_window: int = Field(
        default=15,
        title="Outer window",
        description="Side in pixels of the window whose pixels, without those of the inner window, are the background "
        "of the pixel in its middle; odd, and larger than inner_window.",
        ge=3,
        le=101,
    )

    @model_validator(mode="after")
    def _windows(self) -> Self:
        for name in ("inner_window", "outer_window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, so that it has a centre")
        if self.outer_window <= self.inner_window:
            raise ValueError(
                f"outer_window ({self.outer_window}) must be larger than inner_window ({self.inner_window})"
            )
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Sides of the inner and the outer window in pixels."""
        return self.inner_window, self.outer_window

    @property
    def neighbours(self) -> int:
        """Pixels of a ring that nothing is missing from."""
        return self.outer_window**2 - self.inner_window**2


def whitened(block: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    """W (x - m) of each pixel.

    Args:
        block: (band, y, x).
        mean: Float64 (band).
        whitening: Float64 (rank, band).

    Returns:
        Float64 (rank, y, x), NaN where a band is NaN.
    """
    centred = (block.to(mean) - mean[:, None, None]).flatten(1)
    spectra = times(whitening, centred)
    return spectra.view(-1, *block.shape[1:])


def ring_differences(spectra: Tensor, sides: tuple[int, int]) -> Tensor:
    """Each pixel less the mean of its ring.

    Args:
        spectra: (band, y, x), centred on the mean of the scene, NaN where invalid.
        sides: Sides of the inner and the outer window in pixels.

    Returns:
        (band, y, x), NaN where invalid.
    """
    return spectra - ring_means(spectra, sides, spectra.new_zeros(len(spectra)))[0]


def expected_by_ring(block: Tensor, sides: tuple[int, int], mean: Tensor) -> Tensor:
    """The mean of the ring around each pixel, in the units of the input.

    Args:
        block: (band, y, x), NaN where invalid.
        sides: Sides of the inner and the outer window in pixels.
        mean: Mean spectrum of the scene (band).

    Returns:
        (band, y, x), NaN where invalid.
    """
    return torch.where(valid_pixels(block), ring_means(block, sides, mean)[0].to(block), torch.nan)


def check_differences(covariance: Tensor, name: str) -> None:
    """Refuse a scene in which no pixel differs from its ring.

    Args:
        covariance: That of the differences (band, band).
        name: The detector, for the message.

    Raises:
        FitError: There is nothing to detect.
    """
    if not covariance.diagonal().max() > 0:
        raise FitError(
            f"{name}: no pixel differs from its surroundings, so there is nothing to detect; check the input "
            "and --bands"
        )


def difference_bytes(params: DualWindowParams, bands: int, pixels: int | None = None) -> int:
    """Bytes that `ring_differences` takes for one square, with what it is given and sums over windows."""
    return square_bytes(bands, params.outer_window // 2, 9, pixels)


def difference_statistics_bytes(params: DualWindowParams, bands: int, pixels: int) -> int:
    """Bytes that `difference_statistics` takes beside what is read: each thread has its square and moments."""
    return READERS * (difference_bytes(params, bands, pixels) + 5 * 8 * bands**2)


def difference_statistics(
    sample: Sample,
    params: DualWindowParams,
    mean: Tensor,
    *,
    pixels: int | None = None,
    keep: Callable[[Tensor], Tensor] | None = None,
) -> Statistics:
    """Mean and covariance of how pixels differ from their rings, in one streamed pass.

    Args:
        sample: The pixels to learn from.
        params: The windows.
        mean: Mean spectrum of the scenes, float64 (band).
        pixels: Look at about this many pixels, in squares spread evenly, instead of all of them.
        keep: Which of some differences (pixel, band) count, as bool (pixel); by default all of them.

    Returns:
        Moments of the differences of all valid pixels.
    """
    reach = params.outer_window // 2

    def moments(block: Tensor, window: Window) -> Statistics | None:
        total: Statistics | None = None
        block = to_device(block, mean.device)
        for part in squares(window, reach, mean.device):
            spectra = block[:, part.outer_rows, part.outer_cols].to(mean) - mean[:, None, None]
            differences = ring_differences(spectra, params.sides)[(slice(None), *part.inner)]
            found = differences[:, valid_pixels(differences)].T
            if keep is not None and len(found):
                found = found[keep(found)]
            if len(found):
                more = Statistics.of(found)
                total = more if total is None else total.merge(more)
        return total

    total = sample.merged(moments, halo=reach, pixels=pixels, square=LEARNED_SIDE)
    assert total is not None, "a scene without valid pixels is refused before"
    return total
