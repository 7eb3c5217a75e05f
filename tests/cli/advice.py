"""Whether a message names only options that there are."""

from __future__ import annotations

import re

from hadgeo.cli import cli

_OPTION = re.compile(r"(?<![\w./-])(--?[a-z][a-z-]*)(?![\w.=/])")
_QUOTED = re.compile(r"`([^`]*)`")

#: What the user has typed is shown so.
_TYPED = re.compile(r"'[^']*'")

#: In words of other programs, or of the message itself.
_NO_OPTIONS = {"--help", "--debug"}


def options_of(name: str) -> set[str]:
    """The options of a command, by all their names; those of any where there is none of that name."""
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    if command is None:
        return _NO_OPTIONS
    return {option for parameter in command.params for option in parameter.opts} | _NO_OPTIONS


def unknown_options(message: str, command: str) -> set[str]:
    """Options that a message names although the command lacks them; in backticks, the command named there."""
    message = _TYPED.sub("", message)
    missing = set(_OPTION.findall(_QUOTED.sub("", message))) - options_of(command)
    for quoted in _QUOTED.findall(message):
        program, _, rest = quoted.partition(" ")
        if program == "hadgeo" and rest:
            missing |= set(_OPTION.findall(quoted)) - options_of(rest.split()[0])
    return missing
