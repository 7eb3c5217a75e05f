"""Devices by name: what is there, what is not, and what a name must look like."""

from __future__ import annotations

import pytest
import torch

from hadgeo.compute.device import (
    describe_device,
    double_device,
    fast_dtype,
    free_memory,
    is_out_of_memory,
    resolve_device,
)
from hadgeo.errors import DeviceError

CPU = torch.device("cpu")


def test_auto_is_the_fastest_device_that_is_there() -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    expected = next(name for name, found in there.items() if found)
    assert resolve_device().type == resolve_device("auto").type == expected


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu", "--device gpu: no such device; write auto, cpu, cuda, cuda:1 or mps"),
        ("", "no such device"),
        ("cuda:x", "no such device"),
        ("cuda:99", r"--device cuda:99: this machine has \d+ usable CUDA devices; try --device auto"),
        ("meta", "--device meta: not supported"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_write(name: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        resolve_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_mps_is_refused_where_there_is_none() -> None:
    with pytest.raises(DeviceError, match="--device mps: not available on this machine"):
        resolve_device("mps")


def test_the_log_names_the_device_and_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert describe_device(CPU) == "cpu (3 threads)"
    finally:
        torch.set_num_threads(before)
    assert describe_device(torch.device("mps")) == "mps"


def test_float64_is_computed_where_it_exists() -> None:
    assert double_device(CPU) == CPU
    assert double_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert double_device(torch.device("mps")) == CPU


def test_the_fast_type_is_one_that_the_device_multiplies_in() -> None:
    dtype = fast_dtype(CPU)
    assert dtype in (torch.bfloat16, torch.float32)
    x = torch.eye(3, dtype=dtype)
    assert torch.equal(x @ x, x)
    assert fast_dtype(torch.device("mps")) == torch.float32


def test_only_a_full_memory_is_taken_for_one() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("out of memory"))
    assert not is_out_of_memory(MemoryError())


def test_giving_memory_back_loses_nothing_that_is_in_use() -> None:
    kept = torch.arange(1000.0)
    free_memory(CPU)
    assert torch.equal(kept, torch.arange(1000.0))
