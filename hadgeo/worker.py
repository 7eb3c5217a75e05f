"""The end of hadgeo that other programs talk to: one job in, JSON lines out, one process a job.

``python -m hadgeo.worker`` reads a job from its standard input, runs the command of that name, and tells on its
standard output how far it is and what came out. When its input ends, it stops. A job's arguments are the options of the
command line, which so remain the one place where a parameter is described. The protocol is in docs/worker-protocol.md.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click
from pydantic import BaseModel, ConfigDict, ValidationError

from hadgeo import __version__
from hadgeo.cli import check_libraries_fit, cli, explain, one_line
from hadgeo.cli.reporting import HOST_KEY, JsonLines
from hadgeo.errors import Cancelled, CubeWarning, ExtensionWarning, HadgeoError
from hadgeo.files import witnessed
from hadgeo.interrupt import INTERRUPTED, Interrupt, signal_main_thread
from hadgeo.progress import Stage

#: Longest job that is read: the options of a command, with room for thousands of names.
MOST_CHARACTERS = 2**20

#: Raised by one whenever an older client or worker could misunderstand a line.
PROTOCOL = 1

#: Seconds without a line after which a stage that is deep in its work gives a sign of life: so one a second at least.
HEARTBEAT = 0.7

#: Seconds after the end of the input: until a run that does not ask is interrupted, and until the process ends anyway.
PATIENCE, GRACE = 0.3, 3.0

Scalar = bool | int | float | str


class JobError(HadgeoError, ValueError):
    """A job that this worker cannot understand."""


class Job(BaseModel):
    """What a client asks for.

    Attributes:
        protocol: Version of the protocol that the client speaks.
        command: A command of `hadgeo`, such as "detect" or "model info".
        arguments: Values by the long name of an option, or the name of an argument, with _ for -.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    protocol: int
    command: str
    arguments: dict[str, Scalar | list[Scalar] | dict[str, Scalar | None] | None] = {}

    @classmethod
    def parse(cls, text: str) -> Job:
        """Read a job from JSON.

        Raises:
            JobError: It is malformed, or speaks another version of the protocol.
        """
        try:
            job = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"][:2]) or "it"
            raise JobError(f"not a valid job: {where}: {first['msg']}; see docs/worker-protocol.md") from None
        if job.protocol != PROTOCOL:
            raise JobError(
                f"the job speaks version {job.protocol} of the protocol, but hadgeo {__version__} speaks {PROTOCOL}; "
                f"update {'hadgeo' if job.protocol > PROTOCOL else 'the program that sent it'}"
            )
        return job


class JobProgress(JsonLines):
    """JSON lines on a stream of their own, with a sign of life while nothing moves.

    Args:
        stream: Where to write.
        stop: Set when the run shall end.
    """

    def __init__(self, stream: TextIO, stop: threading.Event) -> None:
        super().__init__()
        self._stream = stream
        self._stop = stop
        self._lock = threading.Lock()
        self._unfinished: set[str] = set()
        self._began = time.monotonic()
        threading.Thread(target=self._beat, daemon=True, name="hadgeo-heartbeat").start()

    def emit(self, kind: str, **fields: Any) -> None:
        """Write one line; a reader that is gone wants the run to stop."""
        if kind == "result":
            self._unfinished.clear()
        line = json.dumps({"type": kind, **fields})
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stop.set()

    def witness(self, path: Path, unfinished: bool) -> None:
        """Tell of a file or folder that the job has made and that is not whole yet, or is at last.

        A result says of all of them that they are, and stays the last line.
        """
        name = str(path.absolute())
        if unfinished:
            self._unfinished.add(name)
            self._write()
        elif name in self._unfinished:
            self._unfinished.remove(name)
            self._write()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage, and its clock."""
        self._began = time.monotonic()
        super().stage(name, total)

    def cancelled(self) -> bool:
        """Whether the input has ended."""
        return self._stop.is_set()

    def _facts(self) -> dict[str, Any]:
        facts = {**super()._facts(), "seconds": round(time.monotonic() - self._began, 1)}
        return facts | ({"unfinished": sorted(self._unfinished)} if self._unfinished else {})

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT / 4):
            if self._stage and time.monotonic() - self._last >= HEARTBEAT:
                self._write()


def command_line(command: click.Command, arguments: dict[str, Any]) -> list[str]:
    """Turn a job's arguments into the words that a user would type.

    Args:
        command: The command.
        arguments: Values by name: None and False leave an option out, a list repeats it or fills its places, and a
            mapping becomes KEY=VALUE.

    Raises:
        JobError: The command has no argument of a name.
    """
    known = {argument_name(param): param for param in command.params}
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise JobError(f"{command.name} has no argument {unknown[0]!r}; it has {', '.join(sorted(known))}")
    options: list[str] = []
    positional: list[str] = []
    for name, param in known.items():
        texts = list(_texts(arguments.get(name)))
        if isinstance(param, click.Argument):
            positional += texts
        elif isinstance(param, click.Option) and param.is_flag:
            options += [_flag(param)] if arguments.get(name) else []
        elif param.nargs != 1:
            options += [_flag(param), *texts] if texts else []
        else:
            options += [f"{_flag(param)}={text}" for text in texts]
    return [*options, "--", *positional]


def _flag(option: click.Parameter) -> str:
    return max(option.opts, key=len)


def argument_name(param: click.Parameter) -> str:
    """What an option or argument is called in a job."""
    return _flag(param).lstrip("-").replace("-", "_")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{key}={_text(inner)}" for key, inner in value.items() if inner is not None)
    elif isinstance(value, list):
        yield from map(_text, value)
    elif value is not None:
        yield _text(value)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def find_command(name: str) -> tuple[click.Command, str]:
    """Find a command, or a command of a group such as "model info".

    Returns:
        The command, and the words that stand for it on the command line.

    Raises:
        JobError: There is none of that name.
    """
    command: click.Command | None = cli
    for word in name.split():
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
    if command is None or isinstance(command, click.Group):
        raise JobError(
            f"no command {name!r}; hadgeo {__version__} has {', '.join(cli.list_commands(click.Context(cli)))}"
        )
    return command, f"hadgeo {name}"


def run(job: Job, lines: JobProgress) -> None:
    """Run a job's command in this process; what it reports goes to `lines`.

    Raises:
        HadgeoError: The command refused its input or failed.
        click.UsageError: An argument has the wrong type.
        Cancelled: The input ended.
    """
    command, words = find_command(job.command)
    lines.stage(Stage.START, 1)
    check_libraries_fit()
    given = command_line(command, job.arguments)
    with witnessed(lines.witness), warnings.catch_warnings():
        for category in (CubeWarning, ExtensionWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = lambda message, category, *_: _warn(lines, message, category)
        with command.make_context(words, given) as context:
            context.meta[HOST_KEY] = lines
            command.invoke(context)


def _warn(lines: JobProgress, message: Warning | str, category: type[Warning]) -> None:
    if issubclass(category, UserWarning):
        lines.emit("log", level="warning", message=one_line(message))


def serve(read: Any, lines: JobProgress) -> int:
    """Run one job and say how it ended.

    Args:
        read: Gives the job's text.
        lines: Where to answer.

    Returns:
        The exit status: 0, 1 for a failure, 2 for bad input, 130 when stopped.
    """
    lines.emit("hello", protocol=PROTOCOL, version=__version__)
    try:
        run(Job.parse(read()), lines)
    except (KeyboardInterrupt, Cancelled, click.Abort):
        lines.emit("error", message="stopped", code=INTERRUPTED)
        return INTERRUPTED
    except click.exceptions.Exit as end:
        return end.exit_code
    except Exception as error:
        text, status = explain(error)
        if not isinstance(error, HadgeoError | click.ClickException):
            traceback.print_exc()
        lines.emit("error", message=text.removeprefix("error: "), code=status)
        return status
    return 0


def read_job(file: TextIO | Path) -> str:
    """The text of a job: the whole of a file, or the first line of a stream.

    Raises:
        JobError: It cannot be read, or is longer than any job.
    """
    try:
        if isinstance(file, Path):
            with file.open(encoding="utf-8", errors="replace") as opened:
                text = opened.read(MOST_CHARACTERS + 1)
        else:
            text = file.readline(MOST_CHARACTERS + 1)
    except OSError as error:
        raise JobError(f"{file}: the job cannot be read ({error.strerror or error})") from None
    if len(text) > MOST_CHARACTERS:
        raise JobError(f"the job has more than {MOST_CHARACTERS} characters; give fewer scenes at a time")
    return text


def _private_streams() -> tuple[TextIO, TextIO]:
    """Take standard input and output away from everything else, so that a stray print cannot break the protocol."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return open(source, encoding="utf-8", errors="replace"), open(sink, "w", encoding="utf-8")  # noqa: PTH123


def _stop_at_end(source: TextIO, stop: threading.Event) -> None:
    """Wait for the end of the input; then ask the run to stop, interrupt it, and at last end it."""
    while source.read(4096):
        pass
    stop.set()
    time.sleep(PATIENCE)
    signal_main_thread(signal.SIGINT)
    time.sleep(GRACE)
    os._exit(INTERRUPTED)


def main(words: list[str] | None = None) -> None:
    """Entry point of ``python -m hadgeo.worker [--job FILE]``."""
    words = sys.argv[1:] if words is None else words
    if words and (len(words) != 2 or words[0] != "--job"):
        sys.exit("usage: python -m hadgeo.worker [--job FILE], with a job on standard input or in FILE")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    source, sink = _private_streams()
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    stop = threading.Event()
    lines = JobProgress(sink, stop)

    def read() -> str:
        if words:
            return read_job(Path(words[1]))
        text = read_job(source)
        if text:
            threading.Thread(target=_stop_at_end, args=(source, stop), daemon=True, name="hadgeo-stop").start()
        return text

    status = serve(read, lines)
    sys.stderr.flush()
    # Python would still wait for threads deep in the arithmetic of a window that nobody wants any more.
    os._exit(status)


if __name__ == "__main__":
    main()
