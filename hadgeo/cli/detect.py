"""``hadgeo detect``: from a scene to the map of its anomaly scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import (
    cluster_options,
    decision_options,
    geometry_options,
    learning_options,
    manifests,
    options,
    scene_options,
)
from hadgeo.cli.reporting import JsonLines, reporter, say_begun, tell
from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.bands import BandSelection
    from hadgeo.decisions.decision import Decision
    from hadgeo.detectors.base import Detector
    from hadgeo.formats.source import Source
    from hadgeo.progress import Progress
    from hadgeo.run.engine import Detection
    from hadgeo.run.manifest import Manifest
    from hadgeo.run.model_file import Model


@click.command("detect")
@click.argument("scenes", nargs=-1, metavar="SCENE...")
@click.option("--output", "-o", metavar="FILE", help="The score map; by default SCENE_anomaly.tif next to the scene.")
@click.option("--model", metavar="FILE", help="Apply a model from `hadgeo train` instead of fitting a detector.")
@click.option("--resample-bands", is_flag=True, help="Interpolate a scene to the wavelengths of --model.")
@options.detector
@options.parameters
@options.preset
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
@options.seed
@options.precision
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
    """Score how anomalous each pixel of a SCENE is, and write the scores as a georeferenced GeoTIFF.

    SCENE is any cube that GDAL can read (GeoTIFF, ENVI, ...) or a MATLAB file. Higher scores are more anomalous; the
    scale depends on the detector. A manifest of the run is written next to the map, as .json.

    \b
    Examples:
      hadgeo detect scene.tif
      hadgeo detect line.img -d rx -o scores.tif
      hadgeo detect line.img --preset fast
      hadgeo detect line.img -d bs3lnet -p steps=400 -p inner_window=3 --bands 400-1300,1500-1750
      hadgeo detect line2.img line3.img --model mission.hadgeo
      hadgeo detect scene.tif --pfa 1e-4 --polygons anomalies.gpkg --report review.html
      hadgeo detect ang20170228t170016_rdn_v2p5_img --glt ang20170228t170016_ort_glt -o scores.tif
      hadgeo detect --from scene_anomaly.json -o again.tif
    """  # noqa: D301
    del context.params["repeats"]
    earlier = None if repeats is None else manifests.restore(context, repeats)
    _detect(context, earlier, **context.params)


def _detect(
    context: click.Context,
    earlier: Manifest | None,
    *,
    model: str | None,
    resample_bands: bool,
    detector: str,
    parameters: dict[str, str],
    bands: str | None,
    seed: int | None,
    precision: str | None,
    **_: Any,
) -> None:
    check_scenes(context)
    if model is None and resample_bands:
        raise ParameterError("--resample-bands needs a --model with wavelengths; add one or omit it")

    @cache
    def choice() -> Choice:
        if model is not None:
            return Choice(_load(model, context, detector), {}, bands)
        return Choice(detector, options.with_seed(detector, parameters, seed, precision), bands)

    score_scenes(context, earlier, lambda _source, _report: choice(), needed=[] if model is None else [Path(model)])


@dataclass(frozen=True)
class Choice:
    """What scores a scene, as `hadgeo.detect` takes it.

    Attributes:
        detector: A detector's name, an unfitted detector or a model.
        parameters: Hyper-parameters by name, where it is a name.
        bands: The bands used; None for those of a model, or the good ones.
    """

    detector: str | Detector[Any] | Model
    parameters: dict[str, str] | None = None
    bands: str | BandSelection | None = None


def check_scenes(context: click.Context) -> None:
    """Refuse scenes that are not there or get into each other's way, before anything is read."""
    scenes, output = context.params["scenes"], context.params["output"]
    if not scenes:
        raise ParameterError("no SCENE given; name one, or a run to repeat with --from")
    if output is not None and len(scenes) > 1:
        raise ParameterError(f"-o {output} names one map, but there are {len(scenes)} scenes; omit it")
    surfaces = context.params["suppressed_mask"]
    if surfaces is not None and len(scenes) > 1:
        raise ParameterError(
            f"--suppressed-mask {surfaces} names one file, but there are {len(scenes)} scenes; omit it"
        )
    _check_distinct(scenes)
    geometry_options.check(context.params, len(scenes))


def score_scenes(
    context: click.Context,
    earlier: Manifest | None,
    choose: Callable[[Source, Progress], Choice],
    *,
    needed: Sequence[Path],
    kind: str = "anomaly",
) -> None:
    """Score one scene after the other, decide on each map, and write down what was done.

    Args:
        context: The command's, of `detect` or one with the same options.
        earlier: The run that is repeated.
        choose: What scores a scene; called once it is clear that it must be scored.
        needed: Files beside the scenes that each run reads.
        kind: What a map without a name of its own is called, behind its scene's name.
    """
    from hadgeo.files import check_no_input, check_output
    from hadgeo.formats.cropped import crop

    given = context.params
    named = [*map(Path, given["scenes"]), *needed]
    unwanted = learning_options.unwanted_of(given)
    request = _request(context, given["scenes"], overwrite=given["overwrite"])
    with (
        reporter(given["progress"], quiet=given["quiet"]) as report,
        cluster_options.connected(given["cluster"]) as workers,
    ):
        for name in given["scenes"]:
            whole = scene_options.open_scene(name, given, report)
            bands, rows, cols = whole.shape
            say_begun(report, f"{name}: {rows:,} x {cols:,} pixels, {bands} bands")
            # Torch is loaded from here on, which takes as long as all before: somebody may be waiting.
            from hadgeo.run.engine import detect, output_path
            from hadgeo.run.manifest import manifest_path
            from hadgeo.run.model_file import Model
            from hadgeo.run.score_job import was_completed

            target = output_path(whole, given["output"], kind)
            check_no_input(target, named)
            manifests.check(context, target)
            if given["resume"] and _is_finished(context, name, target):
                report.message(f"{target}: already finished by an earlier run; skipped")
                continue
            source = whole if given["extent"] is None else crop(whole, given["extent"])
            glt = geometry_options.table_of(source, given)
            learned_from = learning_options.files(given)
            inputs = list(dict.fromkeys([*whole.files, *learned_from, *needed, *([] if glt is None else glt.files)]))
            beside = [] if given["suppressed_mask"] is None else [Path(given["suppressed_mask"])]
            for path in beside:
                check_no_input(path, [manifest_path(target), *named], option="--suppressed-mask")
            if glt is not None and given["north_up"]:
                _check_unexplained(request)
            wanted = _checked(request, [*inputs, *beside], target, resume=given["resume"])
            if wanted is not None:
                wanted.announce(report)
            # Before anything is said of how the scene will be scored.
            check_output(target, overwrite=given["overwrite"] or (given["resume"] and was_completed(target)))
            chosen = choose(source, report)
            detect(
                source,
                chosen.detector,
                out=target,
                parameters=chosen.parameters,
                bands=chosen.bands,
                **learning_options.given(given),
                suppress_like=unwanted,
                device=given["device"],
                memory=given["memory"],
                window=given["window"],
                resample_bands=given["resample_bands"],
                overwrite=given["overwrite"],
                resume=given["resume"],
                north_up=given["north_up"],
                glt=glt,
                cluster=workers,
                progress=report,
                then=partial(
                    _write_products,
                    context=context,
                    scene=name,
                    inputs=inputs,
                    source=source,
                    model=chosen.detector if isinstance(chosen.detector, Model) else None,
                    request=wanted,
                    earlier=earlier,
                    report=report,
                ),
            )


def _write_products(
    done: Detection,
    *,
    context: click.Context,
    scene: str,
    inputs: list[Path],
    source: Source,
    model: Model | None,
    request: decision_options.Request | None,
    earlier: Manifest | None,
    report: Progress,
) -> None:
    """Decide on a finished map, write down what was done, and say so."""
    from hadgeo.decisions.decision import explained_by

    given = context.params
    explain = explained_by(
        source,
        model or done.detector,
        bands=done.bands.indices,
        resample_bands=given["resample_bands"],
        glt=done.glt,
        device=given["device"],
        progress=report,
    )
    decision = None
    if request is not None:
        _note(done.path, request)
        # A lookup table leads from a scene to the map, and from there nothing leads back once that is turned.
        turned = given["north_up"] and done.glt is not None
        decision = request.decide(done.path, report, None if turned else explain, done.sensor_map)
    made = manifests.write(
        context,
        done.path,
        inputs=inputs,
        outputs=[*_maps(done), *(decision.outputs.wanted.values() if decision else ())],
        facts=_facts(done, decision),
        seconds=done.seconds,
        pixels=done.valid,
        **_names(scene, done.path, given),
    )
    if request is not None and decision is not None:
        request.write_report(decision, source, explain, made, report, glt=done.glt, measured=done.sensor_map)
    if earlier is not None:
        manifests.compare(earlier, made, report)
    if isinstance(report, JsonLines):
        report.emit("result", **_result(done, decision))
    elif not given["quiet"]:
        tell(
            "\n".join(
                [_last_line(done), *(decision_options.describe(decision, request) if decision and request else [])]
            )
        )


def _maps(done: Detection) -> list[Path]:
    return [path for path in (done.path, done.sensor_map, done.surface_mask) if path is not None]


def _request(context: click.Context, names: tuple[str, ...], *, overwrite: bool) -> decision_options.Request | None:
    """The decision that was asked for; None where only a map is wanted."""
    given = {name: context.params[name] for name in decision_options.NAMES}
    if all(context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT for name in given):
        return None
    request = decision_options.request(given, overwrite=overwrite)
    if request.wanted and len(names) > 1:
        told = " and ".join(f"--{name.replace('_', '-')}" for name in request.wanted)
        raise ParameterError(
            f"{told}: only possible for a single map, but there are {len(names)} scenes; "
            "run `hadgeo threshold` on each map instead"
        )
    return request


def _check_unexplained(request: decision_options.Request | None) -> None:
    """Refuse spectra of an orthorectified map that is turned as well."""
    if request is not None and request.compares:
        raise ParameterError(
            "evidence and spectra cannot be had of an orthorectified map that is turned as well; omit "
            f"{' and '.join(request.compares)}, or omit --north-up"
        )


def _checked(
    request: decision_options.Request | None, inputs: list[Path], target: Path, *, resume: bool
) -> decision_options.Request | None:
    """A request, once it is clear that what it asks for can be written beside a map."""
    from hadgeo.maps.reader import sensor_path
    from hadgeo.run.manifest import manifest_path
    from hadgeo.run.score_job import was_completed

    if request is None:
        return None
    if not request.wanted:
        request.check([])
        return request
    if resume and was_completed(target) and _noted(target) >= _products(request):
        # What stands there is from the run that is gone on with.
        request = replace(request, overwrite=True)
    request.check([*inputs, target, sensor_path(target), manifest_path(target)])
    return request


def _products(request: decision_options.Request) -> set[str]:
    """The files and folders that a request names, in full."""
    return {str(path.absolute()) for path in request.wanted.values()}


def _note(target: Path, request: decision_options.Request) -> None:
    """Note what a run is about to write beside its map, where it can be gone on with."""
    from hadgeo.files import write_whole
    from hadgeo.maps.part_folder import PRODUCTS, part_path

    write_whole(part_path(target) / PRODUCTS, json.dumps(sorted(_products(request))).encode())


def _noted(target: Path) -> set[str]:
    """What an interrupted run was about to write beside its map."""
    from hadgeo.maps.part_folder import PRODUCTS, part_path

    try:
        return set(json.loads((part_path(target) / PRODUCTS).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def _names(scene: str, target: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name what one run reads and writes, as they turned out."""
    return {"scenes": [manifests.in_full(scene)], "output": target, **geometry_options.names(scene, given)}


def _is_finished(context: click.Context, scene: str, target: Path) -> bool:
    """Whether there is nothing left to resume, and all is there that this run would write."""
    from hadgeo.maps.journal import Journal
    from hadgeo.maps.part_folder import part_path

    page = context.params["report"]
    return (
        Journal.read(part_path(target)) is None
        # The page tells times, so no manifest holds its hash.
        and (page is None or Path(page).is_file())
        and manifests.is_finished(context, target, **_names(scene, target, context.params))
    )


def _load(model: str, context: click.Context, detector: str) -> Any:
    """Load a model, and refuse options that would contradict it."""
    from hadgeo.run.model_file import load_model

    loaded = load_model(model)
    for option in ("parameters", "bands", "seed", "precision"):
        if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
            raise ParameterError(
                f"{model}: {options.told(option)} is fixed in a model; omit it, or train another model"
            )
    asked = context.get_parameter_source("detector") is click.core.ParameterSource.COMMANDLINE
    if asked and detector != loaded.detector.name:
        raise ParameterError(f"{model}: this is a model of {loaded.detector.name}, not of {detector}; omit -d")
    return loaded


def _check_distinct(scenes: tuple[str, ...]) -> None:
    """Refuse scenes whose maps would have the same name."""
    seen: dict[Path, str] = {}
    for scene in scenes:
        out = Path(scene).with_name(Path(scene).stem) if Path(scene).name else Path(scene)
        if out in seen:
            raise ParameterError(
                f"the maps of {seen[out]} and {scene} would have the same name; run them separately, with -o"
            )
        seen[out] = scene


def _facts(done: Detection, decision: Decision | None) -> dict[str, Any]:
    """What a run found out, for its manifest."""
    from hadgeo.run.model_file import model_hash

    return {
        **_result(done, decision),
        "parameters": done.detector.params.model_dump(mode="json"),
        "model_hash": model_hash(done.detector),
        "shape": list(done.shape),
        "bands_left_out": dict(done.bands.dropped),
    }


def _result(done: Detection, decision: Decision | None) -> dict[str, Any]:
    result = {
        "map": str(done.path),
        **({} if done.sensor_map is None else {"sensor_map": str(done.sensor_map)}),
        "detector": done.detector.name,
        "device": str(done.device),
        **({"precision": done.detector.precision} if done.detector.precision else {}),
        "bands": done.bands.numbers(),
        "valid_pixels": done.valid,
        **({} if done.learned_pixels is None else {"learned_pixels": done.learned_pixels}),
        **({"suppressed_pixels": dict(done.suppressed)} if done.suppressed else {}),
        "windows": done.windows,
        "windows_kept": done.windows_kept,
        "pixels_per_second": round(done.pixels_per_second),
        "valid_pixels_per_second": round(done.valid_per_second),
        "seconds": {name: round(value, 3) for name, value in done.seconds.items()},
    }
    return result if decision is None else {**result, "decision": decision.facts()}


def _last_line(done: Detection) -> str:
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in done.seconds.items())
    windows = "1 window" if done.windows == 1 else f"{done.windows} windows"
    rate = f"{done.pixels_per_second:,.0f} px/s, {done.valid_per_second:,.0f} of them valid"
    told = f"{done.path}: {done.valid:,} pixels scored by {done.detector.name} in {windows} ({stages}; {rate})"
    if done.sensor_map is None:
        return told
    how = "turned north-up" if done.glt is None else "orthorectified"
    return f"{told}; {how}, {done.sensor_map} is on the scene's own grid"
