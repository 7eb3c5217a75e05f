"""``hadgeo compare``: several detectors on one scene with a truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import learning_options, one_line, options, say, scene_options
from hadgeo.cli.reporting import JsonLines, reporter
from hadgeo.cli.tables import show_table, with_interval

if TYPE_CHECKING:
    from rich.table import Table

    from hadgeo.evaluation.comparison import Entry

#: Metrics of the leaderboard; JSON has all.
_SHOWN = ("auc_d_f", "ap", "pd_at_1e-3")


def _parse_detectors(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, dict[str, str]]]:
    """Take ``rx,bs3lnet:steps=200,seed=1`` apart; what holds an = belongs to the detector before it."""
    if not values:
        from hadgeo.detectors.registry import fittable_detectors

        return [(name, {}) for name in fittable_detectors()]
    parsed: list[tuple[str, dict[str, str]]] = []
    for text in ",".join(values).split(","):
        name, colon, setting = text.partition(":")
        if not colon and "=" in text:
            name, setting = "", text
        elif name.strip():
            parsed.append((name.strip(), {}))
            if not colon:
                continue
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not (parsed and key and equals):
            raise click.BadParameter(f"{text!r} is not of the form NAME or NAME:KEY=VALUE", param=param)
        parsed[-1][1][key.replace("-", "_")] = value
    return parsed


@click.command("compare")
@click.argument("scene")
@click.option("--truth", required=True, metavar="FILE", help="A raster, a MATLAB file or polygons.")
@click.option(
    "--detector",
    "-d",
    "detectors",
    multiple=True,
    metavar="NAME[:KEY=VALUE],...",
    callback=_parse_detectors,
    show_default="all of `hadgeo detectors`",
    help="Detectors with their parameters, separated by commas; repeatable.",
)
@click.option("--output", "-o", metavar="DIR", help="Keep the maps in this folder, made if it is missing.")
@options.bootstrap
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.plot
@options.bands
@scene_options.reading
@options.mask
@learning_options.learning
@options.device
@options.memory
@options.seed
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(
    scene: str,
    truth: str,
    detectors: list[tuple[str, dict[str, str]]],
    output: str | None,
    bootstrap: int,
    as_json: bool,
    plot: str | None,
    bands: str | None,
    device: str,
    memory: int | None,
    seed: int | None,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    r"""Run several detectors on SCENE, and rank them by how well they reveal the targets of --truth.

    \b
    Examples:
      hadgeo compare scene.tif --truth scene_truth.tif
      hadgeo compare scene.tif --truth vehicles.gpkg -d rx,bs3lnet:steps=200 -o maps --plot roc.png
    """
    from hadgeo.evaluation.comparison import Contender, compare
    from hadgeo.evaluation.roc_plot import check_plot, plot_roc

    picture = None if plot is None else check_plot(plot, overwrite=overwrite, inputs=(scene, truth))
    contenders = [Contender(name, options.with_seed(name, values, seed)) for name, values in detectors]
    with reporter(progress, quiet=quiet) as report:
        board = compare(
            scene_options.open_scene(scene, given, report),
            truth,
            contenders,
            folder=output,
            bands=bands,
            **learning_options.given(given),
            device=device,
            memory=memory,
            resamples=bootstrap,
            seed=seed or 0,
            overwrite=overwrite,
            progress=report,
        )
        if picture is not None:
            plot_roc({entry.contender.label: entry.evaluation for entry in board}, picture)
        if isinstance(report, JsonLines):
            report.emit("result", **_result(board))
            return
    if as_json:
        click.echo(json.dumps(_result(board), indent=2, allow_nan=False))
        return
    show_table(_table(board))
    for note in board[0].evaluation.notes():
        say(note)


def _result(board: Sequence[Entry]) -> dict[str, Any]:
    return {"leaderboard": [entry.to_dict() for entry in board]}


def _table(board: Sequence[Entry]) -> Table:
    from rich.table import Table

    from hadgeo.metrics import METRICS

    table = Table()
    table.add_column("detector", overflow="fold")
    shown = [metric for metric in METRICS if metric.key in _SHOWN]
    for heading in (*(metric.name for metric in shown), "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in board:
        one = entry.evaluation
        cells = [with_interval(one, metric.key, metric.digits) for metric in shown]
        table.add_row(one_line(entry.contender.label), *cells, f"{sum(entry.seconds.values()):.2f}")
    return table
