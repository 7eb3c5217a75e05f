"""How much memory this process may take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

import psutil

from hadgeo.compute.address_space import address_space

#: What Python, torch, geospatial libraries, pieces of a file and gaps in the heap take beside windows, in bytes.
LIBRARY_BYTES = 700 * 10**6

#: Bytes beyond which windows that need no halo and cut no blocks are no faster, on another device and on a CPU. A GPU
#: takes about as long to begin all operations of a small window as to compute those of a large one; but a scene of two
#: or three windows is hardly read beside the arithmetic.
_ENOUGH = (3 * 10**9, 10**9)

#: Files of a control group that say in bytes what its processes may hold together, and what they hold: v2, then v1.
_LIMITS, _USAGES = ("memory.max", "memory.high", "memory.limit_in_bytes"), ("memory.current", "memory.usage_in_bytes")

#: What its ``memory.stat`` calls pages of files, which the kernel drops where memory is short. In v1, only totals hold
#: those of groups below.
_DROPPED = (("active_file", "inactive_file"), ("total_active_file", "total_inactive_file"))

#: Addresses for the stack of a thread that is still to be started, and for a heap of its own, which only so many get
#: where addresses are short.
_STACK_BYTES, _HEAP_BYTES, _HEAPS = 8 * 2**20, 64 * 2**20, 8

_PROCESS = Path("/proc/self")

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
    """Bytes that this process may come to hold: this machine's memory, or what its limits leave of that.

    Limits are those of all control groups that it is in, as containers, batch systems and systemd set them, less what
    other processes of a group hold, and that of its address space (``ulimit -v``).
    """
    limits = [int(psutil.virtual_memory().total), *_control_groups()]
    if (space := address_space()) is not None:
        memory = psutil.Process().memory_info()
        # What is mapped and not held, such as parts of libraries, is as good as gone, and threads are still to come:
        # those that read, and for each core one of torch's and one of our own.
        threads = 4 + 2 * (os.cpu_count() or 1)
        spare = threads * _STACK_BYTES + min(threads, _HEAPS) * _HEAP_BYTES
        limits.append(space - memory.vms + memory.rss - spare)
    return max(0, min(limits))


def default_memory(*, on_cpu: bool = True) -> int:
    """The budget beyond which more memory no longer helps any detector, or a quarter of the machine.

    Args:
        on_cpu: Whether windows are scored on this machine's CPU.
    """
    return min(machine_memory() // 4, _ENOUGH[on_cpu])


def _control_groups(process: Path = _PROCESS) -> list[int]:
    """What each control group of a process leaves to it, on Linux; nothing for a group without a limit.

    Args:
        process: Where the system describes the process.
    """
    own = 0
    with suppress(psutil.Error):
        memory = psutil.Process().memory_info()
        own = memory.rss - getattr(memory, "shared", 0)
    left = []
    for folder in _group_folders(process):
        limits = [limit for name in _LIMITS if (limit := _number(folder / name)) is not None]
        if limits:
            left.append(min(limits) - max(0, _held(folder) - own))
    return left


def _group_folders(process: Path) -> Iterator[Path]:
    """Folders of the control groups that limit a process, and of all groups above them; v2, v1 or both."""
    mounts = list(_mounts(process))
    for line in _lines(process / "cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for root, folder, kind in mounts:
            if kind != ("cgroup" if "memory" in controllers.split(",") else None if controllers else "cgroup2"):
                continue
            # A container may see its own group as the root of all, under a path that the host knows.
            below = PurePosixPath(path)
            group = folder / below.relative_to(root) if below.is_relative_to(root) else folder
            if ".." in group.parts or not group.is_dir():
                group = folder
            yield from (one for one in (group, *group.parents) if one.is_relative_to(folder))


def _mounts(process: Path) -> Iterator[tuple[str, Path, str]]:
    """Where groups that can limit memory are mounted: which of them, its folder, and ``cgroup`` or ``cgroup2``."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), (*after.split(" ", 2), "", "", "")[:3]
        if len(fields) > 4 and (kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(","))):
            root, folder = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), f) for f in fields[3:5])
            yield root, Path(folder), kind


def _held(group: Path) -> int:
    """Bytes that processes of a group hold and the kernel cannot take back."""
    used = next((used for name in _USAGES if (used := _number(group / name)) is not None), 0)
    entries = dict(words for line in _lines(group / "memory.stat") if len(words := line.split(" ")) == 2)
    names = _DROPPED["total_active_file" in entries]
    dropped = sum(int(entries[name]) for name in names if entries.get(name, "").isdecimal())
    return max(0, used - dropped)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none: an unlimited group of v2 says "max"."""
    # What cannot be read limits nothing that we could know.
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def _lines(file: Path) -> list[str]:
    with suppress(OSError, ValueError):
        return file.read_text().splitlines()
    return []
