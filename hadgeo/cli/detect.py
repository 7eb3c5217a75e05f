"""``hadgeo detect``: from a scene to the map of its anomaly scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hadgeo.cli import options
from hadgeo.cli.reporting import JsonLines, reporter

if TYPE_CHECKING:
    from hadgeo.engine import Detection


@click.command("detect")
@click.argument("scene")
@click.option("--output", "-o", metavar="FILE", help="The map; SCENE_anomaly.tif beside the scene by default.")
@options.detector
@options.parameters
@options.bands
@options.device
@options.memory
@click.option(
    "--window", type=click.IntRange(1), help="Side of square windows in pixels, instead of --memory's choice."
)
@options.seed
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(
    scene: str,
    output: str | None,
    detector: str,
    parameters: dict[str, str],
    bands: str | None,
    device: str,
    memory: int,
    window: int | None,
    seed: int | None,
    overwrite: bool,
    quiet: bool,
    progress: str,
) -> None:
    r"""Score how little each pixel of SCENE belongs there, and write the scores as a georeferenced GeoTIFF.

    SCENE is any cube that GDAL reads (GeoTIFF, ENVI, ...) or a MATLAB file. Higher scores are more anomalous; the scale
    is the detector's own.

    \b
    Examples:
      hadgeo detect scene.tif
      hadgeo detect line.img -d rx -o scores.tif
      hadgeo detect line.img -p steps=400 -p inner_window=3 --bands 400-1300,1500-1750
    """
    from hadgeo.detectors.registry import detector_class
    from hadgeo.engine import detect

    if seed is not None and "seed" in detector_class(detector).Params.model_fields:
        parameters = {"seed": str(seed), **parameters}
    with reporter(progress, quiet=quiet) as report:
        done = detect(
            scene,
            detector,
            out=output,
            parameters=parameters,
            bands=bands,
            device=device,
            memory=memory,
            window=window,
            overwrite=overwrite,
            progress=report,
        )
        if isinstance(report, JsonLines):
            report.emit(
                "result",
                map=str(done.path),
                detector=done.detector.name,
                device=str(done.device),
                bands=done.bands.numbers(),
                valid_pixels=done.valid,
                windows=done.windows,
                seconds={name: round(value, 3) for name, value in done.seconds.items()},
            )
    if not quiet and progress != "json":
        click.echo(_last_line(done))


def _last_line(done: Detection) -> str:
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in done.seconds.items())
    windows = "1 window" if done.windows == 1 else f"{done.windows} windows"
    return f"{done.path}: {done.valid:,} pixels scored by {done.detector.name} in {windows} ({stages})"
