"""Signals that ask a run to stop, brought to it at a moment at which that can do no harm."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Exit status of a run that was interrupted, as shells have it: 128 and the number of SIGINT.
INTERRUPTED = 130

#: What is done to its end before a run stops.
_UNINTERRUPTED: set[CodeType] = set()


class Interrupt:
    """Turns signals into `KeyboardInterrupt`.

    An impatient second signal does not cut the cleaning up short. A module is loaded to its end before the run stops,
    because libraries run machine code meanwhile, and some of it ends the process over any exception. So is each
    `uninterrupted` function.
    """

    #: Seconds after which a run that has not ended is interrupted again.
    grace = 3.0

    #: Seconds until a signal that came too early is sent again.
    pause = 0.02

    def __init__(self) -> None:
        self._last = -self.grace

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the run; see `signal.signal`."""
        if _must_end_first(frame):
            again = threading.Timer(self.pause, signal_main_thread, [number])
            again.daemon = True
            again.start()
            return
        now = time.monotonic()
        if now - self._last >= self.grace:
            self._last = now
            raise KeyboardInterrupt


def uninterrupted(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Have a run stop before or after a short function, or each step of a generator, and never within it."""
    _UNINTERRUPTED.add(function.__code__)
    return function


def signal_main_thread(number: int) -> None:
    """Send a signal to the main thread, which wakes it even while it waits for a lock, where the system can do that."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def _must_end_first(frame: FrameType | None) -> bool:
    """Whether a frame is part of loading a module, or of what is `uninterrupted`."""
    while frame is not None:
        if frame.f_code in _UNINTERRUPTED or frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False
