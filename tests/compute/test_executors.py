"""Work ahead of its reader: results in order, never more under way than asked for, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from hadgeo.compute.executors import map_ahead


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("ahead", [1, 2, 7, 100])
def test_results_come_in_the_order_of_the_items(pool: Executor, ahead: int) -> None:
    # Every other call takes longer than the one after it.
    pauses = [threading.Event() for _ in range(20)]

    def call(number: int) -> int:
        if number % 2 == 0 and ahead > 1 and number < 19:
            pauses[number + 1].wait(0.01)
        pauses[number].set()
        return number * number

    assert list(map_ahead(pool, call, range(20), ahead)) == [number * number for number in range(20)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_items_are_taken_than_may_be_under_way(pool: Executor, ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for given, _ in enumerate(map_ahead(pool, str, items(), ahead)):
        assert taken <= given + ahead
    assert taken == 50


def test_no_items_give_no_results(pool: Executor) -> None:
    assert list(map_ahead(pool, str, [], 3)) == []


def test_a_failure_arrives_in_its_place_and_cancels_what_has_not_started() -> None:
    held, started = threading.Event(), list[int]()

    def call(number: int) -> int:
        started.append(number)
        if number == 2:
            raise ZeroDivisionError
        if number == 3:
            held.wait(10)
        return number

    with ThreadPoolExecutor(1) as one:
        results = map_ahead(one, call, range(100), 50)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
        held.set()
    # The only thread may have taken up the next call before the failure was seen.
    assert started in ([0, 1, 2], [0, 1, 2, 3])


def test_a_caller_who_stops_leaves_nothing_to_do() -> None:
    held, begun = threading.Event(), threading.Event()
    done: list[int] = []

    def call(number: int) -> None:
        if number == 1:
            begun.set()
            held.wait(10)
        done.append(number)

    with ThreadPoolExecutor(1) as one:
        results = map_ahead(one, call, range(100), 50)
        next(results)
        assert begun.wait(10)
        results.close()
        held.set()
    assert done == [0, 1]


def test_whoever_waits_may_look_at_a_result_first(pool: Executor) -> None:
    assert list(map_ahead(pool, str, range(3), 2, wait=lambda future: future.result() + "!")) == ["0!", "1!", "2!"]
