"""``hadgeo detectors``: which detectors there are, what each is good for and costs, and their parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import options, say
from hadgeo.cli.reporting import print_json

if TYPE_CHECKING:
    from hadgeo.detectors.base import Detector

#: Columns that are filled, where nobody asks a terminal how many it has.
_WIDTH = 96


@click.command("detectors")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON schema of the parameters.")
@options.debug
def command(name: str | None, as_json: bool) -> None:
    """List the detectors, or the parameters of the detector NAME (set with `hadgeo detect -p KEY=VALUE`)."""
    from hadgeo.detectors.registry import (
        DEFAULT_DETECTOR,
        allowed_values,
        detector_class,
        parameter_fields,
        usable_detectors,
    )

    classes = {name: detector_class(name)} if name else usable_detectors()
    if as_json:
        print_json({n: {**c.Params.model_json_schema(), "detector": _facts(c)} for n, c in classes.items()})
    elif name is None:
        for n, c in classes.items():
            say(f"{n}  {c.title}{', the default' * (n == DEFAULT_DETECTOR)}")
            _show_facts(c)
            say()
    else:
        say(f"{classes[name].title}\n")
        _show_facts(classes[name])
        say()
        for key, field in parameter_fields(classes[name]).items():
            say(f"  {key} = {json.dumps(field.get('default'))}  ({allowed_values(field)})")
            say(click.wrap_text(field["description"], _WIDTH, "      ", "      ") + "\n")


def _facts(cls: type[Detector[Any]]) -> dict[str, Any]:
    """What helps to choose, for programs."""
    return {
        "title": cls.title,
        "best_at": cls.best_at,
        "relative_cost": cls.relative_cost,
        "explained_by": cls.explained_by,
        "presets": {name: dict(values) for name, values in cls.presets.items()},
        "fitted_by": cls.fitted_by,
    }


def _show_facts(cls: type[Detector[Any]]) -> None:
    """The same for people, one fact a paragraph."""
    for heading, fact in _told(cls):
        say(click.wrap_text(fact, _WIDTH, f"  {heading + ':':13} ", " " * 16))


def _told(cls: type[Detector[Any]]) -> Iterator[tuple[str, str]]:
    yield "best at", cls.best_at or "not said"
    yield "cost", "not measured" if cls.relative_cost is None else _times(cls.relative_cost)
    yield "explanation", cls.explained_by or "none"
    if cls.presets:
        yield "presets", ", ".join(cls.presets)
    if cls.fitted_by:
        yield "needs", f'pip install "hadgeo[{cls.fitted_by}]", to be fitted'


def _times(relative: float) -> str:
    """A cost in units of that of RX, in words."""
    return "that of rx" if relative == 1 else f"{relative:g} times that of rx, per pixel"
