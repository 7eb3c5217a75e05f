"""How commands are told what leads from a flight line in the sensor's geometry to a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.formats.glt import Glt
    from hadgeo.formats.source import Source

_OPTIONS = (
    click.option(
        "--glt",
        metavar="FILE",
        help="The lookup table (GLT) of a scene in the sensor's geometry: scores are computed there, and the map is "
        "orthorectified. {stem} in it stands for the scene's name without suffix, {flight} for what precedes its first "
        "_; it then lies beside the scene.",
    ),
    click.option(
        "--igm",
        metavar="FILE",
        help="Coordinates of its pixels (IGM), of which a lookup table is made; named as for --glt.",
    ),
    click.option(
        "--sensor-geometry",
        is_flag=True,
        help="Leave the map in the sensor's geometry, though the product brings a lookup table along, as EMIT does.",
    ),
)

NAMES = ("glt", "igm", "sensor_geometry")


def geometry(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of geometry."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check(given: Mapping[str, Any], scenes: int) -> None:
    """Refuse options that contradict each other.

    Args:
        given: The values of the options.
        scenes: How many scenes there are.

    Raises:
        ParameterError: Several are given, an extent is, or one file is named for several scenes.
    """
    from hadgeo.formats.glt import PLACEHOLDERS

    named = [f"--{name.replace('_', '-')}" for name in NAMES if given[name]]
    if len(named) > 1:
        raise ParameterError(f"{' and '.join(named)}: give one of them")
    if given.get("extent") is not None and (given["glt"] or given["igm"]):
        raise ParameterError(f"{named[0]} is of a whole flight line, and --extent cuts it; leave one of them out")
    pattern = given["glt"] or given["igm"]
    if pattern and scenes > 1 and not any(placeholder in pattern for placeholder in PLACEHOLDERS):
        raise ParameterError(
            f"{named[0]} {pattern}: of one flight line, and there are {scenes}; put {{stem}} or {{flight}} in its name"
        )


def names(scene: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The files of a scene's geometry that were named, as they are called for this scene."""
    from hadgeo.formats.glt import beside

    return {name: beside(given[name], scene) for name in ("glt", "igm") if given[name]}


def table_of(source: Source, given: Mapping[str, Any]) -> Glt | None:
    """The lookup table of a scene, or None where its map stays on its own grid.

    Args:
        source: The scene.
        given: The values of the options.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no raster.
        GeometryError: It is no geometry.
    """
    from hadgeo.formats.igm import open_geometry_of

    return None if given["sensor_geometry"] else open_geometry_of(source, **names(source.path, given))
