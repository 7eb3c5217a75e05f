"""Which device computes, in what precision, and what "out of memory" looks like there."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import torch

from hadgeo.errors import DeviceError


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a user's word into a device that is really there.

    Args:
        name: ``auto`` (CUDA, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        DeviceError: The name is malformed, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"--device {name}: no such device; write auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise DeviceError(f"--device {name}: this machine has {count} usable CUDA devices; try --device auto")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("--device mps: not available on this machine; try --device auto")
    elif device.type != "cpu":
        raise DeviceError(f"--device {name}: not supported; write auto, cpu, cuda, cuda:1 or mps")
    return device


def describe_device(device: torch.device) -> str:
    """The device in words, for the log."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)


def double_device(device: torch.device) -> torch.device:
    """Where float64 can be computed: the device itself, or the CPU for MPS, which has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type for training arithmetic: bfloat16 where the hardware multiplies in it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory ran out."""
    return isinstance(error, torch.OutOfMemoryError)


def free_memory(device: torch.device) -> None:
    """Give back what allocators keep of memory that is not used any more, on a device and on this machine."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    # The heap of glibc keeps pages between blocks that live; other C libraries have no such call.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
