"""How a CUDA device computes while it is used, and that the caller's choice comes back; torch keeps it without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hadgeo.compute.arithmetic import _switches, exact_arithmetic

CUDA = torch.device("cuda", 0)


def standing() -> list[object]:
    return [switch.read() for switch in _switches()]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = [(switch, switch.read()) for switch in _switches()]
    yield
    for switch, stood in before:
        switch.write(stood)


def test_a_scene_is_computed_without_tf32_and_the_same_each_time() -> None:
    torch.backends.cudnn.benchmark = True
    before = standing()
    with exact_arithmetic(CUDA):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    assert standing() == before
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("convolutions", [True, False])
def test_whatever_the_caller_has_chosen_comes_back(precision: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = convolutions
    before = standing()
    with exact_arithmetic(CUDA):
        # Torch fails where its older and its newer switches contradict each other.
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert standing() == before
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32 == convolutions


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older switches alone")
def test_newer_switches_come_back_too() -> None:
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # which makes the older one unreadable
    with exact_arithmetic(CUDA):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_it_holds_until_the_last_one_is_done() -> None:
    before = standing()
    first, second = exact_arithmetic(CUDA), exact_arithmetic(CUDA)
    first.__enter__()
    exact = standing()
    assert exact != before
    second.__enter__()
    first.__exit__(None, None, None)
    assert standing() == exact
    second.__exit__(None, None, None)
    assert standing() == before


def test_it_ends_with_an_error_too() -> None:
    before = standing()
    with pytest.raises(ZeroDivisionError), exact_arithmetic(CUDA):
        raise ZeroDivisionError
    assert standing() == before


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_other_devices_are_left_alone(kind: str) -> None:
    before = standing()
    with exact_arithmetic(torch.device(kind)):
        assert standing() == before
