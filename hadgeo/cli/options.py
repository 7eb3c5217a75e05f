"""Options that several commands share; what they share of a decision, a scene or a target is in modules of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from hadgeo.cli import DEBUG_KEY
from hadgeo.detectors.registry import DEFAULT_DETECTOR
from hadgeo.errors import CubeWarning, ExtensionWarning, ParameterError


def _remember_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG_KEY] = value


def _silence(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    if value:
        # The group undoes this when the command ends.
        for category in (CubeWarning, ExtensionWarning):
            warnings.simplefilter("ignore", category)
    return value


debug = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_remember_debug,
    help="Show the full traceback of an error.",
)
quiet = click.option("--quiet", "-q", is_flag=True, callback=_silence, help="Print errors only.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing output.")
seed = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Random seed, which makes a run repeatable; 0 by default."
)
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    help="In what networks multiply when they score; by default auto, bfloat16 where the hardware multiplies in it. "
    "Detectors without a network compute as they always do.",
)
progress = click.option(
    "--progress",
    type=click.Choice(["bar", "json", "none"]),
    default="bar",
    show_default=True,
    help="Progress as bars on stderr, as JSON lines on stdout, or not at all.",
)
bands = click.option(
    "--bands",
    metavar="RANGES",
    help="'400-1300,1500-1750' in nm or '1-60,65' as band numbers, of which the good bands are used; 'all', or a '!' "
    "at the end, takes bad ones too. By default the bands marked good in the header, outside water-vapour absorption, "
    "and neither constant nor empty.",
)
detector = click.option(
    "--detector", "-d", default=DEFAULT_DETECTOR, show_default=True, help="Detector name; see `hadgeo detectors`."
)
device = click.option(
    "--device", default="auto", show_default=True, help="Compute device: auto, cpu, cuda, cuda:1 or mps."
)
mask = click.option(
    "--mask",
    metavar="FILE",
    help="Neither learn from nor score pixels where this raster is 0, nodata or absent, or outside these polygons; "
    "either is resampled to the grid of the scene.",
)
extent = click.option(
    "--extent",
    type=float,
    nargs=4,
    metavar="XMIN YMIN XMAX YMAX",
    help="Process only this part of the scene, given in its own coordinates.",
)
window = click.option(
    "--window", type=click.IntRange(1), help="Side of square windows in pixels; by default chosen to fit --memory."
)
resume = click.option(
    "--resume", is_flag=True, help="Continue an interrupted run with the same settings, keeping what it had finished."
)
north_up = click.option(
    "--north-up",
    is_flag=True,
    help="Warp the map of a rotated scene to a north-up grid; each pixel takes the highest score that it touches. "
    "Rates are those of the map on the scene's own grid, which is written beside it as <output>_sensor.tif.",
)
repeats = click.option(
    "--from",
    "repeats",
    metavar="FILE",
    help="Repeat a run from its .json manifest; options given here override those of the run. Outputs outside of the "
    "manifest's folder, and --overwrite, are not taken from it.",
)
bootstrap = click.option(
    "--bootstrap",
    type=click.IntRange(0, 1_000_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="Number of resamples for the 95 % intervals; 0 omits the intervals.",
)
plot = click.option("--plot", metavar="FILE", help="Plot the ROC curves to a .png, .svg or .pdf file.")


class ByteSize(click.ParamType[int]):
    """A number of bytes such as 2GB or 512MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Turn text into bytes."""
        from dask.utils import parse_bytes

        try:
            # dask takes a lone unit for one of it.
            size = int(parse_bytes(value)) if any(c.isdigit() for c in value) else None
        except (ValueError, OverflowError):
            size = None
        if size is None:
            self.fail(f"{value!r} is not a size; write it as 2GB or 512MiB", param, ctx)
        if size < 2**20:
            self.fail(f"{value!r} is too small; give at least 1MiB", param, ctx)
        return size


memory = click.option(
    "--memory",
    type=ByteSize(),
    help="Memory budget of the whole process; the default is the point beyond which more memory no longer helps (shown "
    "by `hadgeo info --estimate`).",
)


def _parse_parameters(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    parsed = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE, such as steps=300", param=param)
        parsed[key.strip().replace("-", "_")] = value.strip()
    # What `preset` is short for; commands know parameters alone.
    preset = ctx.params.pop("preset", None)
    return parsed if preset is None else {"preset": preset, **parsed}


class _Parameters(click.Option):
    """Parameters of a detector, which a preset gives as well."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Note that they were given, after click has noted what it knows; see `click.Parameter`."""
        value, rest = super().handle_parse_result(ctx, opts, args)
        if value and "preset" in value:
            ctx.set_parameter_source("parameters", ParameterSource.COMMANDLINE)
        return value, rest


parameters = click.option(
    "--parameter",
    "-p",
    "parameters",
    cls=_Parameters,
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_parameters,
    help="Parameter of the detector; repeatable. `hadgeo detectors NAME` lists them.",
)


preset = click.option(
    "--preset",
    metavar="NAME",
    is_eager=True,  # so that `_parse_parameters` finds it
    help="Several parameters of the detector under one name, as -p preset=NAME: fast, standard or thorough for fusion, "
    "the default detector; paper for bs3lnet and scoread.",
)


def told(name: str) -> str:
    """How the command line calls an option, of which commands know the name of a variable."""
    return {"parameters": "--parameter or --preset"}.get(name, f"--{name.replace('_', '-')}")


def with_seed(detector: str, values: dict[str, str], seed: int | None, precision: str | None = None) -> dict[str, str]:
    """A detector's parameters with ``--seed`` and ``--precision`` among them, where the detector has such.

    Raises:
        ParameterError: It looks for a known spectrum, which is another command's.
    """
    from hadgeo.detectors.registry import MATCHERS, detector_class

    if detector in MATCHERS:
        raise ParameterError(f"{detector} needs a target spectrum; use `hadgeo match --spectrum FILE`")
    found = detector_class(detector)
    roles = {found.seed_parameter: seed, found.precision_parameter: precision}
    return {role: str(value) for role, value in roles.items() if role is not None and value is not None} | values
