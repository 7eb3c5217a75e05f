"""``hadgeo threshold``: which pixels of a score map are flagged, at which false-alarm rate, and where they are."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import decision_options, manifests, options, scene_options
from hadgeo.cli.reporting import JsonLines, reporter, tell
from hadgeo.errors import CubeError, ParameterError

if TYPE_CHECKING:
    from hadgeo.decisions.decision import Explain
    from hadgeo.formats.source import Source
    from hadgeo.progress import Progress


@click.command("threshold")
@click.argument("scores", metavar="SCORES")
@decision_options.decision
@click.option("--scene", metavar="SCENE", help="The scene the map was made from, for bands, evidence and spectra.")
@click.option(
    "--model", metavar="FILE", help="A model from `hadgeo train` that gives the expected background in --scene."
)
@scene_options.reading
@options.mask
@options.device
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.overwrite
@options.quiet
@options.progress
@options.debug
@click.pass_context
def command(
    context: click.Context,
    /,
    scores: str,
    scene: str | None,
    model: str | None,
    device: str,
    as_json: bool,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    """Threshold a map of SCORES, and write the anomalies as polygons with false-alarm rates.

    Rates are calibrated over the whole map: counted, and beyond the last few pixels extrapolated by a generalised
    Pareto tail that is fitted so that targets do not distort it. The default rule is --pfa 1e-3.

    \b
    Examples:
      hadgeo threshold scene_anomaly.tif --pfa 1e-5
      hadgeo threshold scene_anomaly.tif --pfa 1e-4 --polygons anomalies.gpkg --merge-distance 5
      hadgeo threshold scene_anomaly.tif --top 100 --polygons anomalies.geojson --p-values p.tif
      hadgeo threshold scene_anomaly.tif --top 20 --scene scene.tif --evidence spectra.nc --spectra spectra/
    """  # noqa: D301
    from hadgeo.maps.orthorectify import sensor_path
    from hadgeo.maps.reader import open_scores
    from hadgeo.run.manifest import manifest_path

    if model is not None and scene is None:
        raise ParameterError("--model gives the expected background of a scene; add --scene, or omit --model")
    if given["mask"] is not None and scene is None:
        raise ParameterError("--mask excludes parts of a scene; add --scene, or omit --mask")
    request = decision_options.request(given, overwrite=overwrite)
    written = list(request.outputs.wanted.values())
    opened = None if scene is None else scene_options.open_scene(scene, given)
    inputs = [Path(name) for name in (scores, scene, model, given["mask"]) if name is not None]
    for name, path in list(request.outputs.wanted.items())[:1]:
        manifests.check(path, f"--{name.replace('_', '-')}")
        request.check([*inputs, *(opened.files if opened else ()), manifest_path(path)])
    start = time.perf_counter()
    with reporter(progress, quiet=quiet) as report:
        if open_scores(scores).orthorectified:
            beside = sensor_path(Path(scores)).name
            report.message(
                f"{scores} repeats measured pixels, and rates count each repetition; {beside} has each pixel once"
            )
        explain = None if opened is None else _explain(scores, opened, model, device, report)
        decision = request.decide(scores, report, explain)
        for path in written[:1]:
            manifests.write(
                context,
                path,
                inputs=inputs,
                outputs=written,
                facts=decision.facts(),
                seconds={"threshold": time.perf_counter() - start},
                pixels=decision.valid,
            )
        if isinstance(report, JsonLines):
            report.emit("result", **decision.facts())
            return
    # Where no file is written, what is printed is all there is.
    say = tell if written else click.echo
    if as_json:
        say(json.dumps(decision.facts(), indent=2))
    elif not quiet:
        say("\n".join(decision_options.describe(decision)))


def _explain(scores: str, scene: Source, model: str | None, device: str, progress: Progress) -> Explain:
    """Compare anomalies with the background of a scene, once it is clear that the map is of that scene."""
    from hadgeo.evidence.gather import gather_evidence
    from hadgeo.maps.reader import open_scores
    from hadgeo.run.model_file import load_model

    rows, cols = scene.shape[1:]
    if open_scores(scores).shape != (rows, cols):
        raise CubeError(f"{scene.path}: {rows} x {cols} pixels, not the grid of {scores}; give the scene of this map")
    loaded = None if model is None else load_model(model)
    return partial(gather_evidence, scene, loaded, device=device, progress=progress)
