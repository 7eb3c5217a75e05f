"""The command line: one file a command, loaded when it is used, so that ``hadgeo --help`` answers at once."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib import import_module
from types import FrameType
from typing import Any

import click

from hadgeo._version import __version__
from hadgeo.errors import HadgeoError

DEBUG_KEY = "hadgeo.debug"

_COMMANDS = {
    "detect": "Score how little each pixel of a scene belongs there.",
    "detectors": "List the detectors, or the parameters of one.",
    "info": "Show what is known of a cube, and what `detect` would need.",
    "simulate": "Make a believable flight line with implanted targets.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their name, and whose errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"hadgeo.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; say in one line what went wrong."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("hadgeo: stopped; nothing was written", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            raise
        except Exception as error:
            if ctx.meta.get(DEBUG_KEY):
                raise
            ctx.exit(_report(error))


def _report(error: Exception) -> int:
    """Print an error as one line and return the exit status."""
    text = " ".join(str(error).split())
    if isinstance(error, HadgeoError):
        click.echo(f"hadgeo: error: {text}", err=True)
        return error.exit_code
    if isinstance(error, MemoryError):
        click.echo("hadgeo: error: not enough memory; use a smaller --memory or --window", err=True)
        return 1
    click.echo(
        f"hadgeo: unexpected {type(error).__name__}: {text}; run again with --debug and report the traceback", err=True
    )
    return 1


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        click.echo(f"hadgeo: warning: {' '.join(str(message).split())}", err=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hadgeo")
def cli() -> None:
    """Find what does not belong in a georeferenced hyperspectral scene."""


def main() -> None:
    """Entry point of the `hadgeo` command."""
    # Threads that wait for each other by spinning make a busy machine many times slower; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A terminated run must clean up as an interrupted one does.
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(cli())
