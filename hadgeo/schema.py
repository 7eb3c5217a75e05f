"""What every command and detector can be given, as one JSON document: what dialogs of other programs are made from.

``python -m hadgeo.schema > schema.json`` writes it. Nothing in it is written twice: commands describe themselves
through click, detectors through their pydantic models.
"""

from __future__ import annotations

import json
from inspect import cleandoc
from typing import Any

import click

from hadgeo import __version__
from hadgeo.cli import cli
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import BUILT_IN, DEFAULT_DETECTOR, detector_class, parameter_fields, usable_detectors
from hadgeo.progress import Stage
from hadgeo.worker import PROTOCOL, argument_name

#: Options that are for people at a terminal; a worker's job has no use for them.
_TERMINAL = {"debug", "json", "progress", "quiet"}


def describe(*, extensions: bool = True) -> dict[str, Any]:
    """Describe all commands and detectors.

    Args:
        extensions: Whether to describe detectors of other packages too. One that cannot be used is left out, with an
            `ExtensionWarning` that says why.

    Returns:
        ``protocol``, ``version``, ``default_detector``; ``stages`` of progress by name, each with the unit that it
        counts; ``commands`` by name, each with ``help`` and ``arguments`` by the name that they have in a worker's
        job; ``detectors`` by name, each with ``title``, ``relative_cost`` (None where nobody has measured it) and
        ``parameters``.
    """
    detectors = usable_detectors() if extensions else {name: detector_class(name) for name in sorted(BUILT_IN)}
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "default_detector": DEFAULT_DETECTOR,
        "stages": {str(stage): stage.unit for stage in Stage},
        "commands": {name: _command(command) for name, command in _commands(cli, "")},
        "detectors": {name: _detector(cls) for name, cls in detectors.items()},
    }


def _commands(group: click.Group, prefix: str) -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += _commands(command, f"{prefix}{name} ")
        elif command is not None:
            found.append((prefix + name, command))
    return found


def _command(command: click.Command) -> dict[str, Any]:
    paragraphs = (p for p in cleandoc(command.help or "").split("\n\n") if not p.startswith("\b"))
    arguments = {argument_name(param): _argument(param) for param in command.params}
    return {
        "help": "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        "arguments": {name: facts for name, facts in arguments.items() if name not in _TERMINAL},
    }


def _argument(param: click.Parameter) -> dict[str, Any]:
    """One argument, without what does not apply to it."""
    facts = param.to_info_dict()
    kind = facts["type"]
    described = {
        "type": "flag" if facts.get("is_flag") else kind["name"].removesuffix(" range"),
        "help": facts.get("help"),
        "default": None if facts.get("is_flag") else facts["default"],
        "choices": kind.get("choices"),
        "minimum": kind.get("min"),
        "maximum": kind.get("max"),
        "required": facts["required"] or None,
        "several": facts["multiple"] or facts["nargs"] == -1 or None,
        "places": facts["nargs"] if facts["nargs"] > 1 else None,
    }
    return {key: value for key, value in described.items() if value is not None}


def _detector(cls: type[Detector[Any]]) -> dict[str, Any]:
    parameters = {
        key: {**field, "basic": key in (*cls.Params.basic, "preset")} for key, field in parameter_fields(cls).items()
    }
    return {"title": cls.title, "relative_cost": cls.relative_cost, "parameters": parameters}


if __name__ == "__main__":
    print(json.dumps(describe(), indent=2, ensure_ascii=False))
