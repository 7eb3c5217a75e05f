"""``hadgeo simulate``: a realistic flight line with implanted targets, for trying things out."""

from __future__ import annotations

from typing import Any

import click

from hadgeo.cli import options
from hadgeo.cli.reporting import JsonLines, reporter, tell


class _PixelSize(click.ParamType[tuple[int, int]]):
    """Rows and columns such as 5x8."""

    name = "rows x cols"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Turn text into two numbers."""
        rows, _, cols = str(value).lower().partition("x")
        if not (rows.isdecimal() and cols.isdecimal()):
            self.fail(f"{value!r} is not a size; write height x width in pixels, such as 5x8", param, ctx)
        return int(rows), int(cols)


@click.command("simulate")
@click.argument("out")
@click.option("--rows", type=int, help="Rows, along track; 512 by default.")
@click.option("--cols", type=int, default=400, show_default=True, help="Columns, across track.")
@click.option("--bands", type=int, default=120, show_default=True, help="Bands from 400 to 2500 nm.")
@click.option("--size", type=options.ByteSize(), help="Size of the file, such as 2GB, instead of --rows.")
@click.option("--format", type=click.Choice(["envi", "gtiff"]), help="By default gtiff for .tif, otherwise envi.")
@click.option(
    "--interleave",
    type=click.Choice(["bip", "bil", "bsq"]),
    default="bip",
    show_default=True,
    help="Order of the samples in the file: band interleaved by pixel, by line, or band sequential.",
)
@click.option(
    "--dtype",
    type=click.Choice(["int16", "float32"]),
    default="int16",
    show_default=True,
    help="Reflectance times 10,000, or reflectance.",
)
@click.option(
    "--compress",
    type=click.Choice(["none", "deflate", "lzw", "zstd"]),
    default="none",
    show_default=True,
    help="Compression of the tiles of a GeoTIFF; ENVI is uncompressed.",
)
@click.option(
    "--rotation",
    type=float,
    default=0.0,
    show_default=True,
    help="Rotation of the flight line in degrees, counter-clockwise.",
)
@click.option("--wedges", type=float, default=0.0, show_default=True, help="Fraction of the pixels that is nodata.")
@click.option("--targets", type=int, default=24, show_default=True, help="How many targets to implant.")
@click.option(
    "--target-size",
    type=_PixelSize(),
    help="Height x width of every target in pixels, such as 5x8; a mixture from 1x1 to 4x6 by default.",
)
@click.option(
    "--abundance",
    type=float,
    help="Share of its pixels that every target fills, above 0 and at most 1; a mixture from 0.15 to 1 by default.",
)
@click.option(
    "--snr",
    type=float,
    default=150.0,
    show_default=True,
    help="Signal-to-noise ratio of the best band at a reflectance of 0.3.",
)
@click.option("--crs", default="EPSG:32633", show_default=True, help="A projected coordinate system.")
@click.option("--pixel-size", type=float, default=2.0, show_default=True, help="In the units of --crs.")
@click.option(
    "--origin",
    type=float,
    nargs=2,
    metavar="X Y",
    default=(500_000.0, 5_200_000.0),
    show_default=True,
    help="Upper left corner in the coordinates of --crs, for flight lines side by side.",
)
@options.seed
@click.option(
    "--flight",
    type=int,
    default=0,
    show_default=True,
    help="Number of the flight: same ground, different noise and targets.",
)
@options.overwrite
@options.quiet
@options.progress
@options.debug
def command(
    out: str, rows: int | None, size: int | None, seed: int | None, quiet: bool, progress: str, **scene: Any
) -> None:
    """Write a simulated flight line of any size to OUT, using little memory.

    The truth is written next to it, as the stem of OUT plus _truth.tif: 1 is a target, 0 is background, 255 is nodata.
    """
    from hadgeo.errors import ParameterError
    from hadgeo.simulation import simulate

    if rows is not None and size is not None:
        raise ParameterError("rows and size: give only one of them")
    if size is not None:
        rows = max(1, round(size / max(1, scene["cols"] * scene["bands"] * (2 if scene["dtype"] == "int16" else 4))))
    with reporter(progress, quiet=quiet) as report:
        made = simulate(out, rows=512 if rows is None else rows, seed=seed or 0, progress=report, **scene)
        if isinstance(report, JsonLines):
            report.emit(
                "result",
                scene=str(made.path),
                truth=str(made.truth),
                targets=len(made.targets),
                target_pixels=made.target_pixels,
            )
        elif not quiet:
            shape = " x ".join(str(length) for length in made.shape)
            tell(f"{made.path}: {shape}; {len(made.targets)} targets, {made.target_pixels} px, in {made.truth}")
