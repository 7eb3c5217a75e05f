"""How much memory a run may take: no more than the machine has, nor than its container grants."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from hadgeo.compute.memory import default_memory, machine_memory


def test_a_machine_has_no_more_than_its_hardware() -> None:
    assert 2**24 < machine_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(("total", "expected"), [(2_000_000_000, 500_000_000), (4_000_000_000, 10**9), (10**15, 10**9)])
def test_a_quarter_of_the_machine_is_the_default_and_never_more_than_helps(
    total: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hadgeo.compute.memory._control_groups", list)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=total))
    assert machine_memory() == total
    assert default_memory() == expected


def test_the_share_of_a_container_counts_where_it_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * 10**9))
    monkeypatch.setattr("hadgeo.compute.memory._control_groups", lambda: [2**63 - 4096, 3 * 10**9])
    assert machine_memory() == 3 * 10**9
