"""How a CUDA device computes while hadgeo uses it: to the same bits each time, and in the precision that was asked for.

By default cuDNN rounds float32 to the ten bits of TF32 before it multiplies, and adds up in an order that may differ
between two runs, and cuBLAS may add up in bfloat16 what was multiplied in it. None of that may decide a score. Torch
keeps these switches for a whole process, so they are put back as they were once nobody needs them any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Switch:
    """Something of torch's that holds for the whole process, and how it shall stand."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    exact: Any


class _Users:
    """How many need the switches as they are, and how they stood before."""

    count = 0
    before: list[tuple[_Switch, Any]]


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Let a CUDA device compute without TF32, with sums in float32, and to the same bits each time.

    Args:
        device: Where is computed; on any other device nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    with _LOCK:
        if not _Users.count:
            _Users.before = list(_readable())
            for switch, _ in _Users.before:
                switch.write(switch.exact)
        _Users.count += 1
    try:
        yield
    finally:
        with _LOCK:
            _Users.count -= 1
            if not _Users.count:
                for switch, stood in _Users.before:
                    switch.write(stood)


def _readable() -> Iterator[tuple[_Switch, Any]]:
    """The switches and how they stand, without those that torch refuses to read since somebody has mixed them."""
    for switch in _switches():
        with suppress(RuntimeError):
            yield switch, switch.read()


def _switches() -> list[_Switch]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = [
        _attribute(cudnn, "deterministic", exact=True),
        _attribute(cudnn, "benchmark", exact=False),
        _attribute(matmul, "allow_bf16_reduced_precision_reduction", exact=False),
        _attribute(cudnn, "allow_tf32", exact=False),
        _Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    ]
    # Torch 2.9 and later have others beside the last two, and refuse to multiply where they contradict each other. They
    # come after those, which change them as they are written.
    others = [getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None), matmul]
    if all(hasattr(where, "fp32_precision") for where in others):
        found += [_attribute(where, "fp32_precision", exact="ieee") for where in others]
    return found


def _attribute(where: Any, name: str, *, exact: Any) -> _Switch:
    return _Switch(partial(getattr, where, name), partial(setattr, where, name), exact)
