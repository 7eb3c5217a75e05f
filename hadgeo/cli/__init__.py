"""The command line: one module per command, loaded when it is used, so that ``hadgeo --help`` answers at once."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any

import click

from hadgeo import __version__
from hadgeo.cli.streams import give_up_stdout, prepare_streams
from hadgeo.compute.address_space import LIBRARY_ADDRESSES, address_space
from hadgeo.errors import CubeWarning, DeviceError, ExtensionWarning, HadgeoError
from hadgeo.interrupt import INTERRUPTED, Interrupt

DEBUG_KEY = "hadgeo.debug"

#: Longest line that is printed; what libraries repeat of a file can be as long as the file.
_MOST_CHARACTERS = 2000

#: What a standard output is like that cannot be written.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)

#: How torch, Python and the system say that there is too little memory, without an error of that kind.
_OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "can't start new thread", "failed to map segment")

#: Bytes of a name that are no text, as Python has them.
_NO_UTF_8 = re.compile(r"[\udc80-\udcff]")

_COMMANDS = {
    "batch": "Score all flight lines of a mission and summarise the results.",
    "compare": "Run several detectors on a scene and rank them against ground truth.",
    "detect": "Score how anomalous each pixel of a scene is.",
    "detectors": "List the detectors, or the parameters of one.",
    "evaluate": "Evaluate score maps against ground truth.",
    "info": "Show the metadata of a cube; with --estimate, what `detect` would need for it.",
    "match": "Score how much each pixel of a scene is like a known spectrum.",
    "model": "Inspect a model file.",
    "quicklook": "Draw a scene and its anomalies as a picture.",
    "report": "Write a page to review anomalies in a browser.",
    "simulate": "Simulate a realistic flight line with implanted targets.",
    "threshold": "Threshold a score map at a calibrated false-alarm rate.",
    "train": "Fit a detector to one or several scenes and save it as a model file.",
    "versions": "Show versions and devices, for bug reports.",
}


class OneLineError(click.ClickException):
    """A mistake in the command line itself, said in one line as every other error is."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print it."""
        click.echo(f"hadgeo: error: {self.message}", file=file, err=True)


class LazyGroup(click.Group):
    """A group whose commands live in modules of their name, and whose errors are one line."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"hadgeo.cli.{cmd_name}").command
        # Docstrings with a backslash are raw, and click's mark of a paragraph that stays as it is, is the character.
        command.help = (command.help or "").replace("\\b\n", "\b\n")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options that stand before a command; see `click.Command.make_context`."""
        with _usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; say in one line what went wrong."""
        try:
            with warnings.catch_warnings(), _usage_in_one_line(), _silent_about_names():
                for category in (CubeWarning, ExtensionWarning):
                    warnings.simplefilter("always", category)
                warnings.showwarning = _show_warning
                check_libraries_fit()
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            click.echo(f"hadgeo: stopped; {_notes(error) or 'no unfinished files were left behind'}", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            raise
        except Exception as error:
            if ctx.meta.get(DEBUG_KEY):
                raise
            text, status = explain(error)
            click.echo(f"hadgeo: {text}", err=True)
            ctx.exit(status)


def check_libraries_fit() -> None:
    """Refuse where libraries could not be loaded: some of them end the process over that.

    Raises:
        DeviceError: The process may map too little.
    """
    space = address_space()
    if space is not None and space < LIBRARY_ADDRESSES:
        raise DeviceError(
            f"a process may map {space / 1e6:.0f} MB here (ulimit), but hadgeo's libraries alone take about "
            f"{LIBRARY_ADDRESSES / 1e6:.0f} MB; raise the limit"
        )


@contextmanager
def _silent_about_names() -> Iterator[None]:
    """Print no traceback where rasterio cannot read what GDAL says of a file whose bytes are no text."""
    before, before_printed = sys.unraisablehook, sys.excepthook

    def tell(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, UnicodeDecodeError):
            before(unraisable)

    def tell_printed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, UnicodeDecodeError):
            before_printed(kind, error, trace)

    # Cython prints such an exception first, and then calls it unraisable.
    sys.unraisablehook, sys.excepthook = tell, tell_printed
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = before, before_printed


@contextmanager
def _usage_in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hadgeo"
        raise OneLineError(
            f"{_shortened(one_line(error.format_message())).rstrip('.')}; see `{command} --help`"
        ) from None


def one_line(text: object) -> str:
    """One line that shows a file's name as it is, with whatever cannot be printed as an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def printable(text: object) -> str:
    """Text as it is, line by line, with whatever a terminal could take for a command as an escape."""
    return "\n".join(one_line(line) for line in str(text).split("\n"))


def message(text: object) -> str:
    """Text for people alone: printable, and no line of it of endless length."""
    return "\n".join(_shortened(line) for line in printable(text).split("\n"))


def say(text: object = "", *, err: bool = False) -> None:
    """Print text that may hold names from files, of which none controls the terminal."""
    click.echo(message(text) if err else printable(text), err=err)


def _shortened(text: str) -> str:
    """A line as it is, or without its middle, which is what a file holds or a library repeats of it."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} … {text[-half:]}"


def _notes(error: BaseException) -> str:
    """What was added to an error on its way up: what is kept, and how to go on."""
    return "; ".join(one_line(note) for note in getattr(error, "__notes__", ()))


def explain(error: Exception) -> tuple[str, int]:
    """What went wrong, as one line, and the exit status that belongs to it."""
    text = "; ".join(filter(None, (_shortened(one_line(error)), _notes(error))))
    if isinstance(error, HadgeoError):
        return f"error: {text}", error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {_shortened(one_line(error.format_message())).rstrip('.')}", error.exit_code
    if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
        # Whoever writes a file says so himself.
        give_up_stdout()
        return f"error: standard output cannot be written ({error.strerror}); redirect it elsewhere", 1
    if isinstance(error, UnicodeEncodeError) and _NO_UTF_8.search(error.object):
        name = _shortened(one_line(error.object))
        return f"error: {name}: the name is not UTF-8, which a library needs; rename the file", HadgeoError.exit_code
    if isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY):
        return "error: not enough memory; use a smaller --memory or --window", 1
    return f"unexpected {type(error).__name__}: {text}; run again with --debug and report the traceback", 1


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        click.echo(f"hadgeo: warning: {_shortened(one_line(message))}", err=True)


@click.group(
    "hadgeo", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="hadgeo")
def cli() -> None:
    """Find what does not belong in a georeferenced hyperspectral scene."""


def main() -> None:
    """Entry point of the `hadgeo` command."""
    prepare_streams()
    # Threads that wait for each other by spinning make a busy machine many times slower; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A terminated run must clean up as an interrupted one does.
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        cli(prog_name="hadgeo")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # All is cleaned up and said. Python would still wait for threads deep in the arithmetic of a window.
            os._exit(INTERRUPTED)
        raise
