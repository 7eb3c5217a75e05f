"""How long runs say how far they are, and learn that they should stop.

The library draws nothing: the command line brings rich bars, the worker JSON lines, a script brings nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol, runtime_checkable


class Stage(StrEnum):
    """The stages of hadgeo's own commands: what each is called, and what it counts.

    Attributes:
        unit: What `Progress.advance` counts, for people.
    """

    START = "start"
    SELECT = "select"
    STATISTICS = "statistics"
    CROPS = "crops"
    FIT = "fit", "steps"
    SCORE = "score"
    ORTHORECTIFY = "orthorectify"
    RANGE = "range"
    CALIBRATE = "calibrate"
    COUNT = "count"
    GROUPS = "groups"
    P_VALUES = "p-values"
    EVIDENCE = "evidence", "anomalies"
    SPECTRA = "spectra", "pictures"
    COMPOSITE = "composite", "rows"
    SCORES = "scores", "rows"
    SIMULATE = "simulate"

    unit: str

    def __new__(cls, name: str, unit: str = "px") -> Stage:  # noqa: D102
        member = str.__new__(cls, name)
        member._value_, member.unit = name, unit
        return member


_UNITS: dict[str, str] = {stage: stage.unit for stage in Stage}


def unit_of(stage: str) -> str:
    """What a stage counts; pixels for one that a detector has named itself."""
    return _UNITS.get(stage, "px")


@runtime_checkable
class Progress(Protocol):
    """What a caller hands in to follow a run. Called from one thread at a time."""

    def stage(self, name: str, total: int) -> None:
        """A new stage begins.

        Args:
            name: What is done, for people: one of `Stage`, or of a detector's own.
            total: How many units `advance` will count in it; see `unit_of`.
        """

    def advance(self, n: int = 1) -> None:
        """`n` more units of the current stage are done."""

    def message(self, text: str) -> None:
        """Something worth logging."""

    def cancelled(self) -> bool:
        """Whether the user wants the run to stop; asked at least once a window and once a training step."""


class Silent:
    """Progress for nobody."""

    def stage(self, name: str, total: int) -> None:
        """Ignore it."""

    def advance(self, n: int = 1) -> None:
        """Ignore it."""

    def message(self, text: str) -> None:
        """Ignore it."""

    def cancelled(self) -> bool:
        """Never."""
        return False


SILENT = Silent()


class Stoppable:
    """Another progress, which an event stops too.

    Args:
        progress: What follows the run.
        stop: Once it is set, the run is cancelled.
    """

    def __init__(self, progress: Progress, stop: threading.Event) -> None:
        self._progress, self._stop = progress, stop
        self.stage, self.advance, self.message = progress.stage, progress.advance, progress.message

    def cancelled(self) -> bool:
        """Whether either wants the run to stop."""
        return self._stop.is_set() or self._progress.cancelled()


class Clock:
    """Wall time of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
