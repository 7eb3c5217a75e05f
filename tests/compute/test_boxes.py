"""Sums over windows against scipy, and the same to the bit however a scene is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from hadgeo.compute.boxes import box_mean


@pytest.mark.parametrize("side", [1, 3, 5, 13])
def test_mean_of_valid_neighbours(side: int) -> None:
    block = np.random.default_rng(0).normal(size=(2, 17, 23))
    block[:, 4:7, 3:9] = np.nan
    valid = np.isfinite(block[0])
    count = uniform_filter(valid.astype(float), side, mode="constant")
    mean = np.stack([uniform_filter(np.where(valid, band, 0), side, mode="constant") for band in block]) / count.clip(
        1e-9
    )
    found = box_mean(torch.from_numpy(block), side).numpy()
    np.testing.assert_allclose(found, np.where(valid, mean, np.nan), atol=1e-12)


def test_the_same_bits_in_windows() -> None:
    block = torch.randn(3, 40, 30, generator=torch.Generator().manual_seed(0))
    whole = box_mean(block, 5)
    assert torch.equal(box_mean(block[:, 8:22, 3:20], 5)[:, 2:-2, 2:-2], whole[:, 10:20, 5:18])
