"""What each pixel has by itself, its neighbours aside: computed for a few rows at a time, on all cores of a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hadgeo.compute.cores import map_cores
from hadgeo.sampling import spectra_of

#: Spectra taken at a time, elsewhere and on a CPU, where what is computed of them then stays in its cache.
_CHUNK_PIXELS = (2**16, 2**10)


def pixelwise(block: Tensor, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float64) -> Tensor:
    """Call a function of spectra for all pixels of a window.

    Args:
        block: (band, y, x).
        function: From spectra (pixel, band), NaN or not, to one value for each.
        dtype: Of the values.

    Returns:
        (y, x).
    """
    _, rows, cols = block.shape
    step = max(1, _CHUNK_PIXELS[block.device.type == "cpu"] // cols)
    values = torch.empty((rows, cols), dtype=dtype, device=block.device)

    @torch.no_grad()
    def one(row: int) -> None:
        part = slice(row, row + step)
        values[part] = function(spectra_of(block[:, part])).reshape(-1, cols)

    map_cores(one, range(0, rows, step), block.device)
    return values
