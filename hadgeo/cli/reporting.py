"""How the command line shows progress: rich bars for people, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import message, say
from hadgeo.cli.streams import give_up_stdout
from hadgeo.progress import Progress, Silent, unit_of

if TYPE_CHECKING:
    import rich.progress

#: Where a program that runs commands within itself puts the `JsonLines` that they shall write to; see `hadgeo.worker`.
HOST_KEY = "hadgeo.host"


class Bars:
    """Rich progress bars on stderr, one a stage, with rate and time left; messages above them."""

    def __init__(self, progress: rich.progress.Progress) -> None:
        self._progress = progress
        self._task: rich.progress.TaskID | None = None
        self._unit = "px"

    def stage(self, name: str, total: int) -> None:
        """Begin a new bar; the last one is full."""
        self._unit = unit_of(name)
        # Not before: a display that never shows a bar still prints an empty line when it is closed.
        self._progress.start()
        self._task = self._progress.add_task(name, total=total, rate="")

    def advance(self, n: int = 1) -> None:
        """Move the bar and renew its rate."""
        if self._task is None:
            return
        self._progress.advance(self._task, n)
        speed = self._progress.tasks[self._task].speed
        if speed:
            self._progress.update(self._task, rate=f"{short(speed)} {self._unit}/s")

    def message(self, text: str) -> None:
        """Print a message above the bars."""
        self._progress.console.print(message(text), markup=False, highlight=False, soft_wrap=True)

    @property
    def watched(self) -> bool:
        """Whether somebody is looking."""
        return self._progress.console.is_terminal

    def cancelled(self) -> bool:
        """Never: on a terminal Ctrl-C interrupts."""
        return False


class JsonLines:
    """One JSON object per line of text on stdout: log, progress, and whatever `emit` is given."""

    #: Seconds between two lines of progress, so that a fast run does not drown its reader.
    interval = 0.2

    def __init__(self) -> None:
        self._stage = ""
        self._total = 0
        self._done = 0
        self._last = 0.0

    def emit(self, kind: str, **fields: Any) -> None:
        """Write one line."""
        tell(json.dumps({"type": kind, **fields}))

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._total, self._done = name, total, 0
        self._write()

    def advance(self, n: int = 1) -> None:
        """Count, and now and then say so."""
        self._done += n
        if self._done >= self._total or time.monotonic() - self._last >= self.interval:
            self._write()

    def _write(self) -> None:
        self._last = time.monotonic()
        self.emit("progress", **self._facts())

    def _facts(self) -> dict[str, Any]:
        percent = round(100 * self._done / self._total, 2) if self._total else 100.0
        return {"stage": self._stage, "done": self._done, "total": self._total, "percent": percent}

    def message(self, text: str) -> None:
        """Write a log line."""
        self.emit("log", message=text)

    def cancelled(self) -> bool:
        """Never: a signal interrupts."""
        return False


@contextmanager
def reporter(style: str, *, quiet: bool) -> Iterator[Progress]:
    """Open the progress display that was asked for.

    Args:
        style: "bar", "json" or "none".
        quiet: Show nothing, whatever the style.
    """
    here = host()
    if here is not None or style == "json":
        yield here or JsonLines()
        return
    if quiet:
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=console, disable=style == "none")
    try:
        yield Bars(progress)
    finally:
        if progress.live.is_started:
            progress.stop()


def say_begun(report: Progress, text: str) -> None:
    """Say what a command has begun with, to who waits: somebody at a terminal, or a program.

    What may still be refused stays one line in a log.
    """
    if isinstance(report, JsonLines) or (isinstance(report, Bars) and report.watched):
        report.message(text)


def tell(text: str) -> None:
    """Print what a run that makes files has to say.

    A standard output that is full or closed does not undo what is made: it is said once, and nothing more goes there.
    """
    try:
        say(text)
    except OSError as error:
        give_up_stdout()
        lost = f"standard output cannot be written ({error.strerror}); the run continues without it"
        click.echo(f"hadgeo: warning: {lost}", err=True)


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON object, or hand it as a result to the program that runs the command."""
    here = host()
    if here is not None:
        here.emit("result", **facts)
    else:
        click.echo(json.dumps(facts, indent=2, allow_nan=False))


def host() -> JsonLines | None:
    """Where the program that runs this command within itself wants to hear of it; None at a terminal."""
    context = click.get_current_context(silent=True)
    return context.meta.get(HOST_KEY) if context else None


def short(value: float) -> str:
    """A number with a letter for its thousands."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f}{suffix}"
    return f"{value:.1f}"
