"""How much memory this process may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import psutil

#: What Python, torch, geospatial libraries, pieces of a file and gaps in the heap take beside windows, in bytes.
LIBRARY_BYTES = 700 * 10**6

#: Larger windows are no faster where they need no halo and cut no blocks.
_ENOUGH = 10**9

_GRANTED: ContextVar[int | None] = ContextVar("granted", default=None)


@contextmanager
def granted(memory: int | None) -> Iterator[None]:
    """While files are opened, the budget that a user has named for the whole process, in bytes; None for none."""
    token = _GRANTED.set(memory)
    try:
        yield
    finally:
        _GRANTED.reset(token)


def most_held() -> int:
    """Most bytes that a file may take which can only be held whole: what a budget leaves, or half a machine."""
    memory = _GRANTED.get()
    return machine_memory() // 2 if memory is None else max(memory - LIBRARY_BYTES, memory // 4)


def machine_memory() -> int:
    """Bytes of this machine's memory, or of the share of it that a container or a batch system grants."""
    return min([int(psutil.virtual_memory().total), *_control_groups()])


def default_memory() -> int:
    """The budget beyond which more memory no longer helps any detector, or a quarter of the machine."""
    return min(machine_memory() // 4, _ENOUGH)


def _control_groups() -> list[int]:
    """Limits of the control groups above this process, on Linux: cgroup v2, and where a container shows v1."""
    root = Path("/sys/fs/cgroup")
    files = [root / "memory" / "memory.limit_in_bytes"]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                group = root / line.removeprefix("0::").lstrip("/")
                files += [folder / "memory.max" for folder in (group, *group.parents) if folder.is_relative_to(root)]
    limits = []
    for file in files:
        # An unlimited group says "max", and one that cannot be read limits nothing that we could know.
        with suppress(OSError, ValueError):
            limits.append(int(file.read_text()))
    return limits
