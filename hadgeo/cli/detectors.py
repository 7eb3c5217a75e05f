"""``hadgeo detectors``: which detectors there are, and their parameters."""

from __future__ import annotations

import json

import click

from hadgeo.cli import options
from hadgeo.cli.reporting import print_json


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
        print_json({n: c.Params.model_json_schema() for n, c in classes.items()})
    elif name is None:
        widest = max(map(len, classes))
        for n, c in classes.items():
            click.echo(f"{n:{widest}} {c.title}{', the default' * (n == DEFAULT_DETECTOR)}")
    else:
        click.echo(f"{classes[name].title}\n")
        for key, field in parameter_fields(classes[name]).items():
            click.echo(f"  {key} = {json.dumps(field.get('default'))}  ({allowed_values(field)})")
            click.echo(click.wrap_text(field["description"], 96, "      ", "      ") + "\n")
