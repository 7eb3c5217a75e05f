"""``hadgeo batch``: the flight lines of a mission, and one summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import (
    cluster_options,
    decision_options,
    geometry_options,
    learning_options,
    match_options,
    options,
    say,
    scene_options,
)
from hadgeo.cli.reporting import JsonLines, host, tell
from hadgeo.cli.watching import JsonWatch, watching
from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.mission.flight_lines import FlightLine
    from hadgeo.mission.outcomes import Batch, MissionLayer
    from hadgeo.run.matching.search import Search


#: Options that are something else by the time a batch begins.
_RESOLVED = (
    *scene_options.NAMES,
    *match_options.NAMES,
    *learning_options.LIKE,
    *decision_options.MISSION_NAMES,
    "glt",
    "igm",
)


@click.command("batch")
@click.argument("scenes", nargs=-1, metavar="[LINE]...")
@click.option(
    "--table", metavar="FILE", help="Flight lines as CSV: scene, and any of output, detector, bands, glt, igm, p.NAME."
)
@click.option(
    "--outputs-outside", is_flag=True, help="Let the --table put maps outside of DIR, which it may not do otherwise."
)
@click.option("--manifest", metavar="FILE", hidden=True, help="Former name of --table.")
@click.option("--output", "-o", required=True, metavar="DIR", help="Folder for the maps and the summary.")
@click.option("--model", metavar="FILE", help="Apply a model from `hadgeo train` instead of fitting a detector.")
@click.option(
    "--fit-on",
    type=click.Choice(["first", "each", "sample-of-all"]),
    default="first",
    show_default=True,
    help="Fit one model on the first flight line or on samples of all of them, or fit each flight line on itself.",
)
@click.option("--resample-bands", is_flag=True, help="Interpolate flight lines to the wavelengths of the model.")
@click.option("--mosaic", metavar="FILE", help="Write a virtual raster (.vrt) of all maps, without resampling.")
@decision_options.mission_decision
@options.detector
@match_options.target
@options.parameters
@options.preset
@options.bands
@scene_options.reading
@options.mask
@learning_options.learning
@learning_options.unwanted
@geometry_options.geometry
@options.device
@options.memory
@cluster_options.cluster
@options.seed
@options.precision
@click.option("--resume", is_flag=True, hidden=True, expose_value=False, help="What a batch does in any case.")
@click.option("--overwrite", is_flag=True, help="Replace maps and a model that were made with other settings.")
@options.quiet
@options.progress
@options.debug
@click.pass_context
def command(
    context: click.Context,
    /,
    scenes: tuple[str, ...],
    table: str | None,
    outputs_outside: bool,
    manifest: str | None,
    output: str,
    model: str | None,
    detector: str,
    parameters: dict[str, str],
    cluster: str | None,
    seed: int | None,
    precision: str | None,
    quiet: bool,
    progress: str,
    **settings: Any,
) -> None:
    """Detect anomalies on flight lines with one model, and summarise them.

    A LINE that fails does not stop the others. Running the same command again does only what is missing, and continues
    where it was interrupted. A flight line with its own detector, bands or parameters in --table is fitted on itself.
    With --spectrum or --like, what is like a known spectrum is looked for instead of anomalies, as `hadgeo match` does.

    With --polygons, the anomalies of all flight lines are written as one layer, each object once: where flight lines
    overlap, the most significant is kept, and fields say in which flight lines it was seen.

    DIR receives one map per flight line, model.hadgeo, summary.csv, and with hadgeo[report] summary.html with
    thumbnails, and overview.png.

    \b
    Examples:
      hadgeo batch lines/*.img -o maps
      hadgeo batch lines/*.img -o maps --fit-on sample-of-all --mosaic maps/mosaic.vrt
      hadgeo batch lines/*.img -o maps --pfa 1e-4 --polygons mission.gpkg --report mission.html
      hadgeo batch --table lines.csv -o maps --model mission.hadgeo
      hadgeo batch lines/*_img -o maps --glt {flight}_ort_glt
      hadgeo batch lines/*.img -o maps --cluster tcp://scheduler:8786
      hadgeo batch lines/*.img -o maps --like anomalies.gpkg#3 --method mf
    """  # noqa: D301
    from hadgeo.mission.batch import run_batch

    _check_model(context, model)
    anomalies = decision_options.mission_request(context)
    search = _search(context, parameters, model)
    if search is not None:
        detector, model, kind = search.method, None, "match"
    else:
        parameters = options.with_seed(detector, parameters, seed, precision)
        kind = "anomaly"
    if manifest is not None:
        click.echo("--manifest is now called --table; the old name will be removed", err=True)
        table = table or manifest
    if outputs_outside and table is None:
        raise ParameterError("--outputs-outside is of the outputs in a --table; add one, or omit it")
    lines = _with_geometry(
        _lines(scenes, table, Path(output), detector, parameters, kind, outside=outputs_outside), settings
    )
    with watching(progress, lines, quiet=quiet) as watch, cluster_options.connected(cluster) as workers:
        batch = run_batch(
            lines,
            output,
            detector=detector,
            parameters=parameters,
            model=model,
            cluster=workers,
            search=search,
            anomalies=anomalies,
            watch=watch,
            reading=scene_options.reading_of(settings),
            suppress_like=learning_options.unwanted_of(settings),
            **{name: value for name, value in settings.items() if name not in _RESOLVED},
        )
    here = host()
    if here is not None:
        # Which of them failed is part of the result.
        here.emit("result", **_result(batch))
        return
    if isinstance(watch, JsonWatch):
        JsonLines().emit("result", **_result(batch))
    elif not quiet:
        tell(_last_line(batch))
    else:
        for outcome in batch.outcomes:
            if outcome.state == "failed":
                say(f"{Path(outcome.line.scene).name}: failed: {outcome.error}", err=True)
    context.exit(1 if batch.failed else 0)


def _check_model(context: click.Context, model: str | None) -> None:
    """Refuse options that would contradict a model."""
    if model is None:
        return
    for option in ("fit_on", "detector", "parameters", "bands", "seed", "precision"):
        if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
            raise ParameterError(
                f"{model}: {options.told(option)} is fixed in a model; omit it, train another model, or give "
                "flight lines their own settings in a --table"
            )


def _search(context: click.Context, parameters: dict[str, str], model: str | None) -> Search | None:
    """The spectrum that is looked for; None where anomalies are."""
    given = context.params
    asked = {
        name
        for name in (*match_options.NAMES, "detector", "seed", "precision")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if not asked & {"spectrum", "like"}:
        for name in ("method", "target_scale"):
            if name in asked:
                option = f"--{name.replace('_', '-')}"
                raise ParameterError(f"{option} is of a spectrum to be found; add --spectrum or --like, or omit it")
        return None
    for name in ("detector", "seed", "precision"):
        if name in asked:
            raise ParameterError(f"--{name} is of a search for anomalies; omit it, and choose a --method")
    return match_options.search_of(given, parameters, model)


def _lines(
    scenes: Sequence[str],
    table: str | None,
    folder: Path,
    detector: str,
    parameters: dict[str, str],
    kind: str,
    *,
    outside: bool,
) -> list[FlightLine]:
    from hadgeo.mission.flight_lines import flight_lines, read_flight_lines

    if table is None:
        return flight_lines(scenes, folder, kind=kind)
    if scenes:
        raise ParameterError(
            f"{scenes[0]} and --table {table}: name the flight lines either as arguments or in the table, not both"
        )
    return read_flight_lines(table, folder, detector=detector, parameters=parameters, kind=kind, outside=outside)


def _with_geometry(lines: list[FlightLine], given: dict[str, Any]) -> list[FlightLine]:
    """Lines with the files of geometry that the options name, unless they have some of their own."""
    geometry_options.check(given, len(lines))

    def named(line: FlightLine) -> FlightLine:
        names = geometry_options.names(line.scene, given)
        return line if line.glt or line.igm else replace(line, glt=names.get("glt"), igm=names.get("igm"))

    return [named(line) for line in lines]


def _counts(batch: Batch) -> dict[str, int]:
    states = [outcome.state for outcome in batch.outcomes]
    return {state: states.count(state) for state in ("done", "kept", "failed")}


def _result(batch: Batch) -> dict[str, Any]:
    return {
        "folder": str(batch.folder),
        **_counts(batch),
        "mosaic": None if batch.mosaic is None else str(batch.mosaic.path),
        "overview": None if batch.overview is None else str(batch.overview),
        "report": None if batch.report is None else str(batch.report),
        "polygons": None if batch.layer is None else {**vars(batch.layer), "path": str(batch.layer.path)},
        "lines": [
            {"scene": one.line.scene, "state": one.state, "map": str(one.line.map), "error": one.error, **one.facts}
            for one in batch.outcomes
        ],
    }


def _last_line(batch: Batch) -> str:
    counts = _counts(batch)
    text = f"{batch.folder}: {counts['done']} flight lines done, {counts['kept']} kept from an earlier run"
    text += f", {counts['failed']} failed"
    if batch.mosaic is not None:
        text += f"; {batch.mosaic.path} contains {len(batch.mosaic.maps)} maps"
        if batch.mosaic.shift > 0.01:
            text += f", shifted by up to {batch.mosaic.shift:.2f} pixels onto the common grid"
    if batch.layer is not None:
        text += f"\n{_layer_line(batch.layer)}"
    if batch.report is not None:
        text += f"\n{batch.report}: a page to review them"
    return text


def _layer_line(layer: MissionLayer) -> str:
    kept = " (kept from an earlier run)" if layer.kept else ""
    text = f"{layer.path}: {layer.objects:,} anomalies in {layer.crs}{kept}"
    if layer.duplicates:
        text += f"; {layer.duplicates:,} more were seen better in another flight line"
    if layer.left_out:
        text += f"; without {', '.join(layer.left_out)}"
    return text
