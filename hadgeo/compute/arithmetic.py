"""How a CUDA device computes while hadgeo uses it: to the same bits each time, and in the precision that was asked for.

By default cuDNN rounds float32 to the ten bits of TF32 before it multiplies, and adds up in an order that may differ
between two runs, and cuBLAS may add up in bfloat16 what was multiplied in it. None of that may decide a score. Torch
keeps these switches for a whole process, so they are put back as they were once nobody needs them any more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LOCK = threading.Lock()
_users = 0
_before: list[tuple[Any, str, Any]] = []


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Let a CUDA device compute without TF32, with sums in float32, and to the same bits each time.

    Args:
        device: Where is computed; on any other device nothing changes.
    """
    global _users
    if device.type != "cuda":
        yield
        return
    with _LOCK:
        if not _users:
            _before[:] = [(where, name, getattr(where, name)) for where, name, _ in _switches()]
            for where, name, value in _switches():
                setattr(where, name, value)
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if not _users:
                for where, name, value in _before:
                    setattr(where, name, value)


def _switches() -> list[tuple[Any, str, Any]]:
    """Where each switch is, what it is called, and how it shall stand."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    fixed: list[tuple[Any, str, Any]] = [
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
        (matmul, "allow_bf16_reduced_precision_reduction", False),
    ]
    convolutions = getattr(cudnn, "conv", None)
    if hasattr(convolutions, "fp32_precision"):
        # Torch 2.9 and later, which refuse a mixture of both names.
        return [*fixed, (convolutions, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    return [*fixed, (cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]
