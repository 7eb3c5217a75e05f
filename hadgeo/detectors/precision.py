"""In what precision a detector scores."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from hadgeo.compute.device import fast_dtype
from hadgeo.detectors.base import Params


class PrecisionParams(Params):
    """Hyper-parameters of a detector with a network."""

    precision: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        title="Precision",
        description="In what the network multiplies when it scores: 'bfloat16', 'float32', or 'auto', bfloat16 where "
        "the hardware multiplies in it. Sums, residuals and statistics are float32 in any case.",
    )


def network_dtype(params: PrecisionParams, device: torch.device) -> torch.dtype:
    """In what a network multiplies on a device."""
    if params.precision == "auto":
        return fast_dtype(device)
    return torch.bfloat16 if params.precision == "bfloat16" else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """What users call a type, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")
