"""The progress of several detectors on one scene: a part of the bar for each, and how long all of them take."""

from __future__ import annotations

import time

from ..parameters import label
from ..schema import DETECTORS
from .base import Feedback

#: Seconds of one core that RX takes for a value of a scene; see docs/benchmarks.md.
_SECONDS_OF_RX = 2.1e-8

#: Seconds that any run takes besides: libraries are loaded, files are written.
_SECONDS_OF_A_START = 2.0

#: How many times as long as RX a detector takes that nobody has measured.
_UNMEASURED = 10.0


class SeveralDetectors(Feedback):
    """Divides the bar among detectors by what each costs, and says which one is at work and how much is left.

    Args:
        feedback: Processing's own.
        stages: Where each stage begins and ends, in percent of one detector.
        titles: As for `Feedback`.
        detectors: Their names, in the order in which they run.
        values: Pixels times bands of the scene; 0 where QGIS cannot tell.
    """

    #: How the backend says which detector is at work.
    _MARK = "detector: "

    def __init__(self, feedback, stages: dict, titles: dict, detectors: list, values: int) -> None:
        super().__init__(feedback, stages, titles)
        self._detectors = detectors
        self._expected = [expected_seconds(name, values) for name in detectors]
        self._now, self._first = -1, 0.0
        if values:
            whole = sum(self._expected)
            feedback.pushInfo(f"{len(detectors)} detectors: {duration(whole)} or so on one core, less on more or a GPU")

    def log(self, message: str, warning: bool = False) -> None:
        """Go on to the next detector where the backend does."""
        if message.startswith(self._MARK) and self._now + 1 < len(self._detectors):
            self._begin(self._now + 1)
            return
        super().log(message, warning)

    def _begin(self, number: int) -> None:
        self._now, left = number, ""
        if number == 0:
            self._first = time.monotonic()
        else:
            # At the pace so far.
            taken = time.monotonic() - self._first
            remaining = sum(self._expected[number:]) / sum(self._expected[:number]) * taken
            left = f"; about {duration(remaining)} left"
        begin, _ = self.part()
        self._feedback.setProgress(max(self._feedback.progress(), begin))
        name = self._detectors[number]
        self._stage = ""
        self._feedback.pushInfo(f"detector {number + 1} of {len(self._detectors)}, {label(name)}{left}")

    def part(self) -> tuple[float, float]:
        """Where the bar of the detector at work begins and ends, in percent of the whole."""
        if self._now < 0:
            return 0.0, 1.0
        whole, before = sum(self._expected), sum(self._expected[: self._now])
        return tuple(1 + 98 * seconds / whole for seconds in (before, before + self._expected[self._now]))

    def _show(self, whole: float) -> None:
        begin, end = self.part()
        super()._show(begin + (end - begin) * whole / 100)

    def _text(self, stage: str) -> str:
        return stage if self._now < 0 else f"{self._detectors[self._now]}: {stage}"


def expected_seconds(detector: str, values: int) -> float:
    """About how long a detector takes on one core.

    Args:
        detector: Its name.
        values: Pixels times bands of the scene.
    """
    relative = DETECTORS[detector].get("relative_cost") or _UNMEASURED
    return _SECONDS_OF_A_START + _SECONDS_OF_RX * relative * values


def duration(seconds: float) -> str:
    """A time in words, no more exact than it is known."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
