"""Products of float32 matrices, as fast as a processor is."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a transposed matrix, x Wᵀ + b, without gradients.

    Torch multiplies float32 with the BLAS that it was built with. Intel's takes the wide vectors of Intel's processors
    alone; on an AMD EPYC, oneDNN is 2.3 times as fast, with the same sums to rounding.

    Args:
        x: (n, k).
        weight: (m, k), of the same type.
        bias: (m).

    Returns:
        (n, m).
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and _has_onednn():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return F.linear(x, weight, bias)


@cache
def _has_onednn() -> bool:
    """Whether torch offers oneDNN's product for dense matrices; it is not part of what torch promises to keep."""
    available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")
