"""Every option that a message names is one that there is, of the command that prints the message."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hadgeo
from hadgeo.cli import cli
from tests.cli.advice import _OPTION, options_of, unknown_options

PACKAGE = Path(hadgeo.__file__).parent
COMMANDS = cli.list_commands(None)  # type: ignore[arg-type]


def messages(module: Path) -> Iterator[str]:
    """What the errors of a module say, without what is filled in."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                parts = [part.value for part in ast.walk(argument) if isinstance(part, ast.Constant)]
                yield "…".join(part for part in parts if isinstance(part, str))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_options_of_its_own(command: str) -> None:
    for message in messages(PACKAGE / "cli" / f"{command}.py"):
        # What is shared by two commands lives in the module of one.
        shared = options_of("match") if command == "detect" else set()
        assert not unknown_options(message, command) - shared, message


def test_every_option_that_is_named_anywhere_is_one_of_some_command() -> None:
    known = set().union(*map(options_of, COMMANDS))
    modules = sorted(PACKAGE.rglob("*.py"))
    named = {option for module in modules for text in messages(module) for option in _OPTION.findall(text)}
    assert len(named) > 20
    assert named <= known, named - known


def test_an_option_of_another_command_is_noticed() -> None:
    assert unknown_options("interpolate with --resample-bands", "train") == {"--resample-bands"}
    assert not unknown_options("interpolate with --resample-bands", "threshold")
    assert unknown_options("make one with `hadgeo train SCENE --pfa 1`", "detect") == {"--pfa"}
