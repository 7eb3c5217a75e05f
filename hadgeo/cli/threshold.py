"""``hadgeo threshold``: which pixels of a score map are flagged, at which false-alarm rate, and where they are."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import decision_options, manifests, options, say, scene_options
from hadgeo.cli.reporting import JsonLines, reporter, tell
from hadgeo.errors import CubeError, ParameterError

if TYPE_CHECKING:
    from hadgeo.decisions.decision import Explain
    from hadgeo.decisions.precision import Precision
    from hadgeo.decisions.review import Review
    from hadgeo.formats.source import Source
    from hadgeo.progress import Progress


@click.command("threshold")
@click.argument("scores", metavar="SCORES")
@decision_options.decision
@click.option(
    "--verdicts",
    metavar="FILE",
    help="The polygons of this map with verdicts of a person, for --precision. Give the layer, which has the scores.",
)
@click.option(
    "--precision",
    type=float,
    metavar="SHARE",
    help="The lowest threshold at which this share of the anomalies decided upon in --verdicts was accepted. Anomalies "
    "count by max_score, the largest score of their pixels, not by their p-value; unsure ones are left out.",
)
@click.option("--scene", metavar="SCENE", help="The scene the map was made from, for bands, evidence and spectra.")
@click.option(
    "--model", metavar="FILE", help="The model from `hadgeo train` that made the map; it gives the expected background."
)
@click.option("--resample-bands", is_flag=True, help="Interpolate --scene to the wavelengths of --model.")
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
    verdicts: str | None,
    precision: float | None,
    scene: str | None,
    model: str | None,
    resample_bands: bool,
    device: str,
    as_json: bool,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    """Threshold a map of SCORES, and write the anomalies as polygons with false-alarm rates.

    Rates are calibrated over the whole map: counted, and beyond the last few pixels extrapolated by a generalised
    Pareto tail that is fitted so that targets do not distort it. The default rule is --pfa 1e-3. With --verdicts and
    --precision, the threshold is the lowest at which enough of what a person has reviewed are real finds.

    \b
    Examples:
      hadgeo threshold scene_anomaly.tif --pfa 1e-5
      hadgeo threshold scene_anomaly.tif --pfa 1e-4 --polygons anomalies.gpkg --merge-distance 5
      hadgeo threshold scene_anomaly.tif --top 100 --polygons anomalies.geojson --p-values p.tif
      hadgeo threshold scene_anomaly.tif --verdicts anomalies.gpkg --precision 0.8 --polygons fewer.gpkg
      hadgeo threshold scene_anomaly.tif --top 20 --scene scene.tif --evidence spectra.nc --spectra spectra/
      hadgeo threshold scene_anomaly.tif --pfa 1e-4 --scene scene.tif --report review.html
    """  # noqa: D301
    from hadgeo.run.manifest import manifest_path

    if scene is None:
        _refuse_without_scene(model=model, mask=given["mask"], report=given["report"])
    if resample_bands and model is None:
        raise ParameterError("--resample-bands needs a --model with wavelengths; add one or omit it")
    wish = None if precision is None and verdicts is None else _wish(scores, verdicts, precision, given)
    if wish is not None:
        given["value"] = wish.threshold
    request = decision_options.request(given, overwrite=overwrite)
    opened = None if scene is None else _scene(scores, scene, given)
    inputs = [Path(name) for name in (scores, scene, model, given["mask"], verdicts) if name is not None]
    for name, path in list(request.wanted.items())[:1]:
        manifests.check(context, path, f"--{name.replace('_', '-')}")
        request.check([*inputs, *(opened.files if opened else ()), manifest_path(path)])
    start = time.perf_counter()
    with reporter(progress, quiet=quiet) as report:
        explain = None if opened is None else _explain(scores, opened, model, device, report, resample=resample_bands)
        request.announce(report, explained=explain is not None)
        decision = request.decide(scores, report, explain)
        facts = request.facts(decision) | ({} if wish is None else {"review": wish.facts()})
        for path in list(request.wanted.values())[:1]:
            made = manifests.write(
                context,
                path,
                inputs=inputs,
                outputs=request.outputs.wanted.values(),
                facts=facts,
                seconds={"threshold": time.perf_counter() - start},
                pixels=decision.valid,
            )
            if opened is not None and explain is not None:
                request.write_report(decision, opened, explain, made, report)
        if isinstance(report, JsonLines):
            report.emit("result", **facts)
            return
    # Where no file is written, what is printed is all there is.
    tell_all = tell if request.wanted else say
    if as_json:
        tell_all(json.dumps(facts, indent=2))
    elif not quiet:
        tell_all("\n".join([*decision_options.describe(decision, request), *([] if wish is None else [str(wish)])]))


@dataclass(frozen=True)
class _Wish:
    """The threshold that a review leads to.

    Attributes:
        review: The review.
        threshold: The threshold.
        reached: The precision of what was decided upon and reaches it.
    """

    review: Review
    threshold: float
    reached: Precision

    def __str__(self) -> str:
        unseen = len(self.review.unseen)
        return f"{'precision':>10}  {self.reached} of the reviewed anomalies that reach it; {unseen} are not looked at"

    def facts(self) -> dict[str, Any]:
        return {**self.reached.facts(), "unsure": len(self.review.unsure), "not_looked_at": len(self.review.unseen)}


def _wish(scores: str, verdicts: str | None, precision: float | None, given: Mapping[str, Any]) -> _Wish:
    """The threshold at which a review has the precision that is wanted.

    Raises:
        ParameterError: Another rule is given, or one of both options lacks the other.
        ReviewError: The review cannot be used, is of another map, or no threshold reaches that precision.
    """
    from hadgeo.decisions.review import Review
    from hadgeo.maps.reader import open_scores

    if verdicts is None or precision is None:
        have, lack = ("--precision", "--verdicts") if verdicts is None else ("--verdicts", "--precision")
        raise ParameterError(f"{have} needs {lack}; add it, such as --verdicts anomalies.gpkg --precision 0.8")
    rules = [f"--{name}" for name in decision_options.RULES if given[name] is not None]
    if rules:
        raise ParameterError(f"--precision and {rules[0]}: both say where the threshold is; omit one of them")
    open_scores(scores)
    review = Review.read(verdicts).of_map(scores)
    return _Wish(review, *review.threshold(precision))


def _refuse_without_scene(**given: str | None) -> None:
    """Refuse options that need the scene, where none is given."""
    needs = {
        "model": "gives the expected background of a scene",
        "mask": "excludes parts of a scene",
        "report": "shows the scene",
    }
    for name, told in needs.items():
        if given[name] is not None:
            raise ParameterError(f"--{name} {told}; add --scene, or omit --{name}")


def _scene(scores: str, scene: str, given: Mapping[str, Any]) -> Source:
    """The scene of a map, or the part of it that the map is of."""
    from hadgeo.maps.reader import open_scores, sensor_path

    opened = open_scores(scores)
    if opened.orthorectified:
        beside = sensor_path(opened.path)
        raise CubeError(f"{scores}: orthorectified, and spectra are those of measured pixels; give {beside} instead")
    return scene_options.scene_of(opened, scene_options.open_scene(scene, given))


def _explain(
    scores: str, scene: Source, model: str | None, device: str, progress: Progress, *, resample: bool
) -> Explain:
    """Compare anomalies with the background of a scene, once it is clear that map and model belong together."""
    from hadgeo.decisions.decision import explained_by
    from hadgeo.maps.reader import open_scores
    from hadgeo.run.model_file import load_model

    loaded = None if model is None else load_model(model)
    if loaded is None:
        progress.message(
            "the expected background is the median of the surroundings; --model gives that of the detector"
        )
    else:
        scene_options.check_model(open_scores(scores), loaded.detector, str(model))
    return explained_by(scene, loaded, resample_bands=resample, device=device, progress=progress)
