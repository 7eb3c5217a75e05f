"""``hadgeo quicklook``: one picture of a scene and its anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hadgeo.cli import options, scene_options
from hadgeo.cli.reporting import JsonLines, reporter, tell


class Percentiles(click.ParamType[tuple[float, float]]):
    """Two percentiles such as 2,98."""

    name = "percentiles"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Turn text into two numbers."""
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not of the form LOW,HIGH, such as 2,98", param, ctx)
        return low, high


@click.command("quicklook")
@click.argument("scene")
@click.argument("scores", required=False)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="The picture, .png or .jpg; by default SCENE_quicklook.png next to the scene.",
)
@click.option(
    "--rgb",
    metavar="R,G,B",
    help="Wavelengths in nm or band numbers: 860,640,550 for vegetation, 2200,1650,860 for minerals. By default true "
    "colour, or bands from the upper, middle and lower part of the cube if it does not cover the visible range.",
)
@click.option("--polygons", metavar="FILE", help="Draw the polygons of a vector file as outlines.")
@click.option(
    "--stretch",
    type=Percentiles(),
    metavar="LOW,HIGH",
    default="2,98",
    show_default=True,
    help="Percentiles of each band that map to black and white.",
)
@click.option(
    "--size", type=int, default=2000, show_default=True, help="Largest width and height of the map, in pixels."
)
@click.option("--title", help="Title; the name of the scene by default.")
@scene_options.reading
@options.mask
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(
    scene: str,
    scores: str | None,
    output: str | None,
    rgb: str | None,
    polygons: str | None,
    stretch: tuple[float, float],
    size: int,
    title: str | None,
    overwrite: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    r"""Draw SCENE as a composite of three of its bands, overlaid with the anomaly SCORES.

    Each dot of the picture shows the highest score of the pixels it covers, so a single anomalous pixel stays visible.
    Long scenes are cut into panels side by side.

    \b
    Examples:
      hadgeo quicklook line.img line_anomaly.tif -o line.png
      hadgeo quicklook line.img --rgb 860,640,550 --size 4000
      hadgeo quicklook line.img line_anomaly.tif --polygons line_anomaly.gpkg
    """
    from hadgeo.pictures.quicklook import quicklook

    if output is None:
        output = str(Path(scene).with_name(f"{Path(scene).stem}_quicklook.png")) if Path(scene).name else ""
    with reporter(progress, quiet=quiet) as report:
        done = quicklook(
            scene_options.open_scene(scene, given, report),
            scores,
            out=output,
            polygons=polygons,
            rgb=rgb,
            stretch=stretch,
            size=size,
            title=title,
            overwrite=overwrite,
            progress=report,
        )
        if isinstance(report, JsonLines):
            report.emit("result", picture=str(done.path), colours=done.colours, step=done.step, panels=done.panels)
        elif not quiet:
            tell(f"{done.path}: {done.colours}")
