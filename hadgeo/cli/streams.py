"""Standard streams that are full or closed: what is said there is lost, and what a run makes is not."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast


class _Unbreakable:
    """A stream whose failures to write are of no consequence."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that can be."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Make sure that streams which are full or closed do no harm, before anything is said or opened."""
    # The next file would get a closed stream's number, and a library's complaints in its middle.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        # Some libraries take its `write` while they load.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as this process
    else:
        sys.stderr = cast(TextIO, _Unbreakable(sys.stderr))


def give_up_stdout() -> None:
    """Send standard output nowhere, with what it holds back: Python would fail over that once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # Where it is no file of the system's, there is nothing to send elsewhere.
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
