"""Which device computes, in what precision, and what "out of memory" looks like there."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress
from typing import Any

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
    """The type in which networks multiply: bfloat16 where the hardware does, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _cpu_multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    """Whether oneDNN has instructions for it; where AVX-512 lacks them it would emulate it, slower than float32."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    # Older releases of torch do not tell, and are taken at oneDNN's word.
    told = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(ask() for ask in told if ask is not None) or not any(told)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory ran out."""
    return isinstance(error, torch.OutOfMemoryError)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a device, with what torch keeps of it for its next tensors; None where nobody says."""
    module: Any = getattr(torch, device.type, None)
    if device.type == "cpu" or not hasattr(module, "mem_get_info"):
        return None
    free, _ = module.mem_get_info(device)
    if hasattr(module, "memory_reserved"):
        free += module.memory_reserved(device) - module.memory_allocated(device)
    return int(free)


def free_memory(device: torch.device) -> None:
    """Give back what allocators keep of memory that is not used any more, on a device and on this machine."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    # The heap of glibc keeps pages between blocks that live; other C libraries have no such call.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
