"""``hadgeo match``: from a known spectrum to the map of what is like it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import (
    cluster_options,
    decision_options,
    geometry_options,
    learning_options,
    manifests,
    match_options,
    options,
    scene_options,
)
from hadgeo.cli.detect import Choice, check_scenes, score_scenes
from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.formats.source import Source
    from hadgeo.progress import Progress


@click.command("match")
@click.argument("scenes", nargs=-1, metavar="SCENE...")
@match_options.target
@click.option("--output", "-o", metavar="FILE", help="The score map; by default SCENE_match.tif next to the scene.")
@click.option("--model", metavar="FILE", help="Take the background from an rx model of `hadgeo train`, not the scene.")
@click.option("--resample-bands", is_flag=True, help="Interpolate a scene to the wavelengths of --model.")
@options.parameters
@options.bands
@scene_options.reading
@options.mask
@learning_options.learning
@learning_options.unwanted
@learning_options.suppressed_mask
@geometry_options.geometry
@options.extent
@options.device
@options.memory
@options.window
@cluster_options.cluster
@decision_options.decision
@options.overwrite
@options.resume
@options.north_up
@options.repeats
@options.quiet
@options.progress
@options.debug
@click.pass_context
def command(context: click.Context, /, repeats: str | None, **_: Any) -> None:
    """Score how much each pixel of a SCENE is like a known spectrum, and write the scores as a georeferenced GeoTIFF.

    The spectrum is brought to the bands of the scene by wavelength and width. Higher scores are more alike: 1 is the
    target itself for every method. Thresholds, polygons and evidence are those of `hadgeo detect`.

    \b
    Examples:
      hadgeo match line.img --spectrum kaolinite.txt
      hadgeo match line1.img line2.img --spectrum minerals.sli#kaolinite --method mf
      hadgeo match line.img --like anomalies.gpkg#3 --pfa 1e-4 --polygons more.gpkg
      hadgeo match line2.img --like anomalies_review.gpkg --pfa 1e-4
      hadgeo match line2.img --like spectra.nc#3 --model mission.hadgeo
    """  # noqa: D301
    del context.params["repeats"]
    earlier = None if repeats is None else manifests.restore(context, repeats)
    given = context.params
    check_scenes(context)
    if given["resample_bands"] and given["model"] is None:
        raise ParameterError("--resample-bands needs a --model with wavelengths; add one or omit it")
    if given["model"] is not None and given["bands"] is not None:
        raise ParameterError(f"{given['model']}: --bands is fixed in a model; omit it, or train another model")
    search = match_options.search_of(given, given["parameters"], given["model"])

    def choose(source: Source, report: Progress) -> Choice:
        detector, selection = search.detector_for(
            source, bands=given["bands"], resample_bands=given["resample_bands"], progress=report
        )
        return Choice(detector, None, selection)

    model = [] if given["model"] is None else [Path(given["model"])]
    score_scenes(context, earlier, choose, needed=[*model, *search.target.files], kind="match")
