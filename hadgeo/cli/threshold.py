"""``hadgeo threshold``: which pixels of a score map stand out, how sure that is, and where they are."""

from __future__ import annotations

import json
from typing import Any

import click

from hadgeo.cli import options, thresholding
from hadgeo.cli.reporting import JsonLines, reporter


@click.command("threshold")
@click.argument("scores", metavar="SCORES")
@thresholding.decision
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(scores: str, as_json: bool, overwrite: bool, quiet: bool, progress: str, **given: Any) -> None:
    """Find what stands out in a map of SCORES, and write it as polygons with false-alarm rates.

    The rates are those of the whole map: counted, and beyond the last few pixels extrapolated by a generalised Pareto
    tail that is fitted so that targets do not spoil it. Without a rule, --pfa 1e-3 is taken.

    \b
    Examples:
      hadgeo threshold scene_anomaly.tif --pfa 1e-5
      hadgeo threshold scene_anomaly.tif --pfa 1e-4 --polygons anomalies.gpkg --merge-distance 5
      hadgeo threshold scene_anomaly.tif --top 100 --polygons anomalies.geojson --p-values p.tif
    """  # noqa: D301
    request = thresholding.request(given, overwrite=overwrite)
    with reporter(progress, quiet=quiet) as report:
        decision = request.decide(scores, report)
        if isinstance(report, JsonLines):
            report.emit("result", **decision.facts())
            return
    if as_json:
        click.echo(json.dumps(decision.facts(), indent=2))
    elif not quiet:
        click.echo("\n".join(thresholding.lines(decision)))
