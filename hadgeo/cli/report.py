"""``hadgeo report``: a page to review the anomalies of a finished map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import geometry_options, manifests, options, scene_options
from hadgeo.cli.decision_options import MOST_CHARTED
from hadgeo.cli.reporting import JsonLines, reporter, tell
from hadgeo.errors import CubeError, OutputError

if TYPE_CHECKING:
    from hadgeo.run.manifest import Manifest


@click.command("report")
@click.argument("scene")
@click.argument("scores")
@click.argument("polygons")
@click.option("--output", "-o", metavar="FILE", help="The page; by default SCORES_report.html next to the map.")
@click.option("--model", metavar="FILE", help="A model from `hadgeo train` that gives the expected background.")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_CHARTED),
    default=500,
    show_default=True,
    metavar="N",
    help="Show pictures and spectra of the N rarest anomalies; the others are listed.",
)
@click.option("--title", help="Title; the name of the scene by default.")
@scene_options.reading
@options.mask
@geometry_options.geometry
@options.device
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(
    scene: str,
    scores: str,
    polygons: str,
    output: str | None,
    model: str | None,
    limit: int,
    title: str | None,
    device: str,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    r"""Write a page to review the POLYGONS of anomalies in a SCENE and its map of SCORES.

    The page is one file that opens in any browser without a network: a map, a ranked list, and for each anomaly its
    surroundings, its spectrum against the expected background, and a verdict, which can be saved as GeoJSON or CSV.

    \b
    Examples:
      hadgeo report line.img line_anomaly.tif anomalies.gpkg -o review.html
      hadgeo report line.img line_anomaly.tif anomalies.gpkg --model mission.hadgeo --limit 100
    """
    from hadgeo.decisions.decision import explained_by
    from hadgeo.decisions.report import check_report, line_of_files, write_report
    from hadgeo.maps.reader import open_scores, sensor_path
    from hadgeo.run.model_file import load_model

    if output == "":
        raise OutputError("the output's name is empty; give the name of a file with -o")
    target = Path(scores).with_name(f"{Path(scores).stem}_report.html") if output is None else Path(output)
    geometry_options.check(given, 1)
    with reporter(progress, quiet=quiet) as report:
        opened = scene_options.open_scene(scene, given, report)
        loaded = None if model is None else load_model(model)
        inputs = [Path(name) for name in (scene, scores, polygons, model, given["mask"]) if name is not None]
        check_report(target, [*inputs, *opened.files], overwrite=overwrite, option="-o")
        map_of = open_scores(scores)
        glt = geometry_options.table_of(opened, given) if map_of.orthorectified else None
        beside = sensor_path(Path(scores))
        measured = open_scores(beside) if glt is not None and beside.is_file() else None
        if glt is None or measured is not None:
            opened = scene_options.scene_of(measured or map_of, opened)
        if loaded is not None:
            scene_options.check_model(map_of, loaded.detector, str(model))
        made = _run_of(Path(polygons), Path(scores))
        line = line_of_files(
            opened,
            scores,
            polygons,
            explained_by(opened, loaded, glt=glt, device=device, progress=report),
            glt=glt,
            measured=None if measured is None else measured.path,
            run=None if made is None else made.model_dump(mode="json"),
            repeat="" if made is None else manifests.as_command(made),
            progress=report,
        )
        charted = write_report([line], target, title=title, limit=limit, option="-o", progress=report)
        facts = {"page": str(target), "anomalies": len(line.layer), "charted": charted}
        if isinstance(report, JsonLines):
            report.emit("result", **facts)
        elif not quiet:
            tell(f"{target}: {facts['anomalies']:,} anomalies, {facts['charted']:,} of them with pictures and spectra")


def _run_of(*files: Path) -> Manifest | None:
    """What the manifest beside one of some files tells of the run that wrote it."""
    from hadgeo.run.manifest import manifest_path, read_manifest

    for path in files:
        try:
            manifest = read_manifest(manifest_path(path))
        except CubeError:
            continue
        if any(Path(record.path).name == path.name for record in manifest.outputs):
            return manifest
    return None
