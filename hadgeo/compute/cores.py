"""Arithmetic on all cores of a CPU: each takes pieces of its own, and none waits for another.

Torch splits every operation among its threads, which then meet. On pieces that fit the cache of one core that brings
nothing: the network of ScoreAD was no faster on two cores than on one, and pieces side by side are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_CPU = torch.device("cpu")


def map_cores(function: Callable[[T], R], items: Iterable[T], device: torch.device = _CPU) -> list[R]:
    """Call a function for each item, on as many cores at once as torch may use; one after the other on other devices.

    Args:
        function: Called from several threads, each of which computes on one core. Torch's modes, such as
            `torch.no_grad`, are a thread's own, so it sets what it needs.
        items: As many pieces of work as is convenient.
        device: Where the function computes.

    Returns:
        Its results, in the order of the items.
    """
    cores = torch.get_num_threads()
    if device.type != "cpu" or cores == 1:
        return [function(item) for item in items]
    return list(_threads(cores).map(function, items))


@contextmanager
def one_core() -> Iterator[None]:
    """Let torch compute on a single core, for this thread: for sums that shall not depend on how many there are."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads that live as long as the process, and leave torch no other thread to use."""
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        # A thread that torch meets for the first time is given the number of threads that holds for all.
        torch.get_num_threads()
        torch.set_num_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="hadgeo-core", initializer=begin)
    for _ in range(count):
        pool.submit(int)
    begun.wait()
    # It holds for the calling thread, and for threads that do not exist yet.
    torch.set_num_threads(count)
    return pool
