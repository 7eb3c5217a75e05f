"""Signals that ask a run to stop, brought to it at a moment at which that can do no harm."""

from __future__ import annotations

import inspect
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
    `uninterrupted` function. Neither is waited for longer than `patience`, and what the function that made this is
    part of does not count.
    """

    #: Seconds after which a run that has not ended is interrupted again.
    grace = 3.0

    #: Seconds until a signal that came too early is sent again.
    pause = 0.02

    #: Seconds after which a run is interrupted wherever it is.
    patience = 10.0

    def __init__(self) -> None:
        here = inspect.currentframe()
        self._outermost = here.f_back.f_code if here and here.f_back else None
        self._last = -self.grace
        self._first_early: float | None = None
        self._comes_again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the run; see `signal.signal`."""
        now = time.monotonic()
        if self._is_early(frame):
            self._first_early = self._first_early or now
            if now - self._first_early < self.patience:
                self._send_again(number)
                return
        self._first_early = None
        if now - self._last >= self.grace:
            self._last = now
            raise KeyboardInterrupt

    def _is_early(self, frame: FrameType | None) -> bool:
        """Whether a frame is part of loading a module, or of what is `uninterrupted`."""
        while frame is not None and frame.f_code is not self._outermost:
            if frame.f_code in _UNINTERRUPTED or frame.f_code.co_filename.startswith("<frozen importlib."):
                return True
            frame = frame.f_back
        return False

    def _send_again(self, number: int) -> None:
        def send() -> None:
            self._comes_again = False
            signal_main_thread(number)

        if not self._comes_again:
            self._comes_again = True
            timer = threading.Timer(self.pause, send)
            timer.daemon = True
            timer.start()


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
