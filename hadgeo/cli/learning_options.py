"""How commands are told what a detector learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.run.matching.rejected import Rejected


class SurfaceNames(click.ParamType[str]):
    """Names of surfaces with commas between them, each with or without a threshold."""

    name = "surfaces"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text, which stays as it is."""
        from hadgeo.formats.surfaces import parse_surfaces

        text = str(value)
        try:
            parse_surfaces(text)
        except ParameterError as error:
            self.fail(str(error), param, ctx)
        return text


_REGIONS = (
    click.option(
        "--background",
        metavar="FILE",
        help="Learn only from pixels inside these polygons, or where this raster is nonzero; all pixels are scored.",
    ),
    click.option(
        "--exclude",
        metavar="FILE",
        help="Do not learn from pixels inside these polygons, or where this raster is nonzero; they are scored. Of "
        "polygons with verdicts, accepted ones count alone.",
    ),
    click.option(
        "--suppress",
        type=SurfaceNames(),
        metavar="NAME[=THRESHOLD],...",
        help="Do not learn from these surfaces: vegetation (NDVI above 0.4), water (NDWI above 0), shadow (brightness "
        "below 0.3 of the scene's median). Another threshold follows the name, as in vegetation=0.5.",
    ),
)
_FROM = click.option(
    "--suppress-from",
    type=click.Choice(["learning", "map"]),
    default="learning",
    show_default=True,
    help="Leave suppressed surfaces out of learning alone, or give them no score either.",
)
_LIKE = (
    click.option(
        "--suppress-like",
        metavar="FILE",
        help="Polygons of an earlier run with verdicts: pixels whose spectrum is like that of a rejected anomaly (and "
        "not more like an accepted one) are neither learned from nor scored, with --model too.",
    ),
    click.option(
        "--suppress-angle",
        type=float,
        default=0.03,
        show_default=True,
        metavar="RAD",
        help="The largest spectral angle to a rejected anomaly in --suppress-like at which a pixel is like it.",
    ),
)
_MASK = click.option(
    "--suppressed-mask",
    metavar="FILE",
    help="Write which pixels are suppressed to this GeoTIFF: 1 vegetation, 2 water, 3 shadow, 4 like a rejected "
    "anomaly, 0 none, 255 nodata.",
)

#: The options of `regions`, as a command receives them, and all of them.
REGIONS = ("background", "exclude", "suppress")
NAMES = (*REGIONS, "suppress_from", "suppressed_mask")
LIKE = ("suppress_like", "suppress_angle")


def regions(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that only fits the options that say what is learned from."""
    return _with(_REGIONS, command)


def learning(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that makes maps too."""
    return _with((*_REGIONS, _FROM), command)


def unwanted(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that makes maps of a mission the options that say what they shall be without."""
    return _with(_LIKE, command)


def unwanted_of(options: Mapping[str, Any]) -> Rejected | None:
    """The spectra that maps shall be without; None where there are none.

    Raises:
        HadgeoError: As for `hadgeo.run.matching.rejected.read_rejected`.
    """
    if options["suppress_like"] is None:
        return None
    from hadgeo.run.matching.rejected import read_rejected

    return read_rejected(options["suppress_like"], options["suppress_angle"])


suppressed_mask = _MASK


def _with(options: tuple[Any, ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a command's options say of learning, as `hadgeo.detect`, `train` and `compare` take it."""
    return {name: options[name] for name in NAMES if name in options}


def files(options: Mapping[str, Any]) -> list[Path]:
    """All files of the regions that a command's options name."""
    from hadgeo.formats.overlay import files_of

    named = [options.get(name) for name in ("background", "exclude", "suppress_like")]
    return [file for name in named if name is not None for file in files_of(Path(name))]
