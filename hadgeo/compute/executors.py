"""Where work runs: any `concurrent.futures.Executor`, fed no faster than its results are taken away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

#: Threads that read a scene; one of them scores at any time.
READERS = 3

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    executor: Executor,
    function: Callable[[T], R],
    items: Iterable[T],
    ahead: int,
    wait: Callable[[Future[R]], R] = Future.result,
) -> Generator[R]:
    """Map over items with a bounded number in flight, and give results in the items' order.

    Peak memory is that of `ahead` results and never grows with the number of items. Whatever has not started is
    cancelled when the caller stops early or a call fails.

    Args:
        executor: Runs the calls.
        function: Called once an item.
        items: Taken one by one as room appears.
        ahead: Calls that may be under way or waiting to be taken, at least 1.
        wait: Takes the result of a call.

    Yields:
        `function(item)` for each item, in order.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= ahead:
                yield wait(pending.popleft())
        while pending:
            yield wait(pending.popleft())
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def reading_threads(executor: Executor | None) -> Iterator[Executor]:
    """The caller's executor, or threads of our own that end with the block."""
    if executor is not None:
        yield executor
        return
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="hadgeo-read")
    try:
        yield pool
    except BaseException:
        # Who stops a run shall not wait for windows that nobody wants any more.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
