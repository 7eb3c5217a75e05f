"""Arithmetic on all cores: the same results in order, failures that arrive, and torch's settings as they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hadgeo.compute.cores import map_cores


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_of_one_core_each(cores: int) -> None:
    assert map_cores(lambda i: (i * i, torch.get_num_threads()), range(20)) == [(i * i, 1) for i in range(20)]
    assert torch.get_num_threads() == cores


def test_a_failure_arrives(cores: int) -> None:
    with pytest.raises(ZeroDivisionError):
        map_cores(lambda i: 1 / i, range(3, -1, -1))


def test_a_product_is_the_same_on_any_number_of_cores(cores: int) -> None:
    x = torch.randn(64, 30, generator=torch.Generator().manual_seed(0))
    rows = map_cores(lambda i: x[i : i + 16] @ x.T, range(0, 64, 16))
    torch.testing.assert_close(torch.cat(rows), x @ x.T)
