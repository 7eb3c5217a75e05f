"""``hadgeo detectors``: which detectors there are, and what can be set on each."""

from __future__ import annotations

import json
from typing import Any

import click

from hadgeo.cli import options


@click.command("detectors")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the parameters' JSON schema.")
@options.debug
def command(name: str | None, as_json: bool) -> None:
    """List the detectors, or everything that can be set on the detector NAME (with `hadgeo detect -p KEY=VALUE`)."""
    from hadgeo.detectors.registry import detector_class, list_detectors

    names = [name] if name else list_detectors()
    classes = {n: detector_class(n) for n in names}
    if as_json:
        click.echo(json.dumps({n: c.Params.model_json_schema() for n, c in classes.items()}, indent=2))
    elif name is None:
        for n, c in classes.items():
            click.echo(f"{n:12} {c.title}")
    else:
        click.echo(f"{classes[name].title}\n")
        for key, field in classes[name].Params.model_json_schema()["properties"].items():
            click.echo(f"  {key} = {json.dumps(field.get('default'))}  ({_bounds(field)})")
            click.echo(click.wrap_text(field["description"], 96, "      ", "      ") + "\n")


def _bounds(field: dict[str, Any]) -> str:
    """The allowed values of one parameter in words."""
    if "enum" in field:
        return " or ".join(field["enum"])
    choices = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    kind = {"integer": "whole number", "number": "number", "boolean": "true or false"}.get(choices[0]["type"], "text")
    limits = [
        f"{word} {choices[0][key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in choices[0]
    ]
    return ", ".join([kind, *limits])
