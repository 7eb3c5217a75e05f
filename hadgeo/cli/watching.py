"""How ``hadgeo batch`` shows its flight lines: a live table for people, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hadgeo.cli import message, one_line
from hadgeo.cli.reporting import JsonLines, host, short, tell
from hadgeo.progress import Progress, unit_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from hadgeo.mission.flight_lines import FlightLine
    from hadgeo.mission.outcomes import Outcome, Watch

#: Lines on the screen that the table needs beside its rows.
_FRAME = 7

#: Width that the other columns take at most, with their frames.
_OTHER_COLUMNS = 78

_STYLE = {"done": "green", "kept": "green", "failed": "red"}


@dataclass
class _State:
    """What the table shows of a line."""

    name: str
    state: str = "waiting"
    note: str = ""
    stage: str = ""
    total: int = 0
    count: int = 0
    since: float = 0.0

    def advance(self, n: int) -> None:
        self.count += n

    @property
    def rate(self) -> float:
        """Units a second of the current stage."""
        return self.count / max(time.monotonic() - self.since, 1e-3)

    def cells(self) -> list[str]:
        """State, share, rate and time left."""
        if self.state != "running" or not self.total:
            return [self.state, "", "", self.note]
        share = f"{100 * self.count / self.total:.0f} %"
        if not self.count:
            return [self.stage, share, "", ""]
        rate = f"{short(self.rate)} {unit_of(self.stage)}/s"
        return [self.stage, share, rate, _clock((self.total - self.count) / self.rate)]


class _LineProgress:
    """Follows one line in the table.

    Args:
        state: What the table shows of it.
        tell: Prints a message above the table.
    """

    def __init__(self, state: _State, tell: Callable[[str], None]) -> None:
        self._state, self._tell = state, tell

    def stage(self, name: str, total: int) -> None:
        """Begin to count anew."""
        state = self._state
        state.state, state.stage, state.total, state.count, state.since = "running", name, total, 0, time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Count."""
        self._state.advance(n)

    def message(self, text: str) -> None:
        """Say how much is left for learning; other messages about single flight lines do not fit in a table."""
        from hadgeo.run.learning import LEFT

        if LEFT in text:
            self._tell(text)

    def cancelled(self) -> bool:
        """Never: on a terminal Ctrl-C interrupts."""
        return False


class _Told(_LineProgress):
    """Follows what concerns all lines, and prints its messages."""

    def message(self, text: str) -> None:
        """Print it above the table."""
        self._tell(text)


class LiveTable:
    """A table of the lines on stderr, drawn anew while they run."""

    def __init__(self, lines: Sequence[FlightLine], console: Console) -> None:
        self._states = [_State(Path(line.scene).name) for line in lines]
        self._console = console
        self._model: _State | None = None
        self._anomalies: _State | None = None
        self._current = 0
        self._started: float | None = None
        self._done = 0

    def fitting(self) -> Progress:
        """Show the fit above the lines."""
        self._model = _State("model", "running")
        return _LineProgress(self._model, self.message)

    def begun(self, number: int, line: FlightLine) -> Progress:  # noqa: ARG002 - the protocol's signature
        """Show a line as running."""
        if self._model is not None:
            self._model.state = "done"
        self._current = number
        self._states[number].state = "running"
        if self._started is None:
            self._started = time.monotonic()
        return _LineProgress(self._states[number], self.message)

    def ended(self, number: int, outcome: Outcome) -> None:
        """Show what became of a line."""
        state = self._states[number]
        state.state, state.note = outcome.state, outcome.error
        if outcome.state == "done":
            self._done += 1
            state.note = f"{outcome.facts['seconds']:.1f} s, {short(outcome.facts['pixels_per_second'])} px/s"
        if outcome.state == "failed":
            # In full: the table has room for its beginning alone.
            self.message(f"{state.name}: failed: {outcome.error}")
        elif not self._console.is_terminal:
            self.message(f"{state.name}: {state.state} {state.note}".rstrip())

    def deciding(self) -> Progress:
        """Show the search for anomalies below the lines."""
        self._anomalies = _State("anomalies", "running")
        return _Told(self._anomalies, self.message)

    def message(self, text: str) -> None:
        """Print a message above the table."""
        self._console.print(message(text), **_PLAIN)

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(caption=self._caption(), caption_justify="left")
        table.add_column("line", overflow="ellipsis", no_wrap=True, min_width=16, max_width=32)
        table.add_column("state", no_wrap=True, min_width=10)
        table.add_column("done", no_wrap=True, justify="right", min_width=5)
        table.add_column("rate", no_wrap=True, justify="right", min_width=12)
        room = max(20, self._console.width - _OTHER_COLUMNS)
        table.add_column("time left, or result", overflow="ellipsis", no_wrap=True, max_width=room)
        if self._model is not None:
            _add(table, self._model)
        for state in self._shown():
            _add(table, state)
        if self._anomalies is not None:
            _add(table, self._anomalies)
        return table

    def _shown(self) -> Sequence[_State]:
        """As many lines around the current one as the screen has room for."""
        room = max(3, self._console.height - _FRAME)
        first = max(0, min(self._current - room // 2, len(self._states) - room))
        return self._states[first : first + room]

    def _caption(self) -> str:
        states = [state.state for state in self._states]
        over = sum(states.count(state) for state in _STYLE)
        text = f"{over} of {len(states)} flight lines, {states.count('failed')} failed"
        if self._started is not None and self._done and over < len(states):
            each = (time.monotonic() - self._started) / self._done
            text += f", about {_clock((len(states) - over) * each)} left"
        return text


#: Names of files are no markup.
_PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def _add(table: Table, state: _State) -> None:
    from rich.text import Text

    first, *rest = state.cells()
    table.add_row(
        Text(one_line(state.name)),
        Text(first, style=_STYLE.get(state.state, "")),
        *(Text(one_line(cell)) for cell in rest),
    )


class JsonWatch:
    """One JSON object per line of text on stdout; progress objects name their flight line."""

    def fitting(self) -> Progress:
        """Follow the fit."""
        return _Named("model")

    def begun(self, number: int, line: FlightLine) -> Progress:
        """Report that a flight line has begun."""
        _Named(line.scene).emit("begun", number=number)
        return _Named(line.scene)

    def ended(self, number: int, outcome: Outcome) -> None:
        """Say what became of a line."""
        _Named(outcome.line.scene).emit(
            "ended",
            number=number,
            state=outcome.state,
            map=str(outcome.line.map),
            error=outcome.error,
            **outcome.facts,
        )

    def deciding(self) -> Progress:
        """Follow the search for anomalies."""
        return _Named("anomalies")

    def message(self, text: str) -> None:
        """Write a log line."""
        JsonLines().message(text)


class HostWatch:
    """The flight lines of a batch, for the program that runs the command within itself: one run after the other.

    Args:
        lines: Where it listens.
        total: How many flight lines there are.
    """

    def __init__(self, lines: JsonLines, total: int) -> None:
        self._lines = lines
        self._total = total

    def fitting(self) -> Progress:
        """Follow the fit."""
        return self._lines

    def begun(self, number: int, line: FlightLine) -> Progress:
        """Report that a flight line has begun."""
        self._lines.message(f"flight line {number + 1} of {self._total}: {line.scene}")
        return self._lines

    def ended(self, number: int, outcome: Outcome) -> None:
        """Say what became of a line."""
        told = f": {outcome.error}" if outcome.error else ""
        self._lines.message(f"flight line {number + 1} of {self._total}: {outcome.state}{told}")

    def deciding(self) -> Progress:
        """Follow the search for anomalies."""
        return self._lines

    def message(self, text: str) -> None:
        """Write a log line."""
        self._lines.message(text)


class _Named(JsonLines):
    """JSON lines that name a flight line."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def emit(self, kind: str, **fields: Any) -> None:
        """Write one line."""
        tell(json.dumps({"type": kind, "line": self._name, **fields}))


@contextmanager
def watching(style: str, lines: Sequence[FlightLine], *, quiet: bool) -> Iterator[Watch]:
    """Open the display that was asked for.

    Args:
        style: "bar", "json" or "none".
        lines: The lines of the batch.
        quiet: Show nothing, whatever the style.
    """
    from hadgeo.mission.outcomes import Unwatched

    here = host()
    if here is not None:
        yield HostWatch(here, len(lines))
        return
    if style == "json":
        yield JsonWatch()
        return
    if quiet or style == "none":
        yield Unwatched()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    table = LiveTable(lines, console)
    if not console.is_terminal:
        yield table
        return
    with Live(table, console=console, refresh_per_second=4):
        yield table


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
