"""``hadgeo train``: fit once, for all flight lines of a mission."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from hadgeo.cli import learning_options, manifests, options, scene_options
from hadgeo.cli.reporting import JsonLines, reporter, tell


@click.command("train")
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option("--output", "-o", metavar="FILE", required=True, help="The model file, such as mission.hadgeo.")
@options.detector
@options.parameters
@options.preset
@options.bands
@scene_options.reading
@options.mask
@learning_options.regions
@options.device
@options.seed
@options.precision
@options.overwrite
@options.quiet
@options.progress
@options.debug
@click.pass_context
def command(
    context: click.Context,
    /,
    scenes: tuple[str, ...],
    output: str,
    detector: str,
    parameters: dict[str, str],
    bands: str | None,
    device: str,
    seed: int | None,
    precision: str | None,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    """Fit a detector to one or several SCENEs of a sensor, and save it as a model file for `hadgeo detect --model`.

    The first scene determines which bands are used; the others must have them too.

    \b
    Examples:
      hadgeo train line1.img -o mission.hadgeo
      hadgeo train line1.img line5.img -d rx -o mission.hadgeo
      hadgeo detect line2.img line3.img --model mission.hadgeo
    """  # noqa: D301
    from hadgeo.run.training import train

    manifests.check(context, Path(output))
    start = time.perf_counter()
    with reporter(progress, quiet=quiet) as report:
        opened = [scene_options.open_scene(name, given, report) for name in scenes]
        model = train(
            opened,
            detector,
            out=output,
            parameters=options.with_seed(detector, parameters, seed, precision),
            bands=bands,
            **learning_options.given(given),
            device=device,
            overwrite=overwrite,
            progress=report,
        )
        manifests.write(
            context,
            Path(output),
            inputs=[
                *map(Path, scenes),
                *([] if given["mask"] is None else [Path(given["mask"])]),
                *learning_options.files(given),
            ],
            outputs=[Path(output)],
            facts={"model_hash": model.hash, "parameters": model.detector.params.model_dump(mode="json")},
            seconds={"train": time.perf_counter() - start},
            pixels=0,
            scenes=[manifests.in_full(name) for name in scenes],
        )
        if isinstance(report, JsonLines):
            report.emit("result", model=output, detector=detector, bands=len(model.spectrum.indices), hash=model.hash)
        elif not quiet:
            tell(f"{output}: {detector} on {len(model.spectrum.indices)} bands of {', '.join(model.scenes)}")
