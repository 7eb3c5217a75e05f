"""How commands open a scene: once, with what the user says of a file that does not say it itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hadgeo.formats.reading import QUALITY, Reading

if TYPE_CHECKING:
    from hadgeo.detectors.base import Detector
    from hadgeo.formats.source import Source
    from hadgeo.maps.reader import ScoreMap
    from hadgeo.progress import Progress


class Fill(click.ParamType["float | str"]):
    """``find``, ``none`` or a fill value."""

    name = "fill"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Turn text into a number, or keep the word."""
        if value in ("find", "none"):
            return str(value)
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not find, none or a number such as -9999", param, ctx)


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them, out of a list."""

    name = "names"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Take the text apart."""
        names = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)
        for name in names:
            if name not in self._allowed:
                self.fail(f"{name!r} is not one of {', '.join(self._allowed)}", param, ctx)
        return names


_OPTIONS = (
    click.option(
        "--variable",
        metavar="NAME",
        help="Name of the array to read as the cube, in a file or folder with several arrays.",
    ),
    click.option(
        "--band-axis",
        type=click.IntRange(0, 2),
        help="Band axis of that array, counted from 0, if the file does not tell which one it is.",
    ),
    click.option(
        "--place",
        type=click.Choice(["header", "gdal"]),
        default="header",
        show_default=True,
        help="Interpret the map info of an ENVI header as ENVI defines it, or as GDAL-based programs do.",
    ),
    click.option(
        "--fill",
        type=Fill(),
        default="find",
        show_default=True,
        metavar="find|none|VALUE",
        help="Fill value (nodata) of a file that declares none: find it, assume there is none, or this stored value.",
    ),
    click.option(
        "--quality",
        type=Names(QUALITY),
        default=(),
        metavar="NAME,...",
        help=f"Exclude pixels flagged by the quality layers of the product: {', '.join(QUALITY)}.",
    ),
)

#: The options of `reading`, as a command receives them.
NAMES = ("variable", "band_axis", "place", "fill", "quality")


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how a scene is read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def reading_of(given: Mapping[str, Any]) -> Reading:
    """What a command's options say of its scenes."""
    return Reading(**{**{name: given[name] for name in NAMES}, "quality": tuple(given["quality"])})


def open_scene(name: str, given: Mapping[str, Any], report: Progress | None = None) -> Source:
    """Open a scene as a command's options say, and warn of what is missing or odd.

    Args:
        name: The file, or a name that GDAL opens.
        given: The values of the options of `reading`, and of ``--mask`` where the command has it.
        report: Is told how much a mask leaves.

    Raises:
        CubeError: It cannot be used as a cube.
        MaskError: The mask cannot be used, or leaves nothing.
    """
    from hadgeo.compute.memory import granted
    from hadgeo.cube import as_source

    with granted(given.get("memory")):
        source = as_source(name, reading=reading_of(given))
    if given.get("mask") is None:
        return source
    from hadgeo.formats.masked import masked

    left = masked(source, given["mask"])
    if report is not None:
        report.message(str(left))
    return left


def scene_of(scores: ScoreMap, source: Source) -> Source:
    """The scene of a map, or the part of it that the map is of; see `hadgeo.maps.belonging.scene_of_map`.

    Args:
        scores: The map, or one that was turned from it.
        source: The scene that was given.

    Raises:
        CubeError: They do not belong together.
    """
    from hadgeo.cli import manifests
    from hadgeo.maps.belonging import scene_of_map
    from hadgeo.maps.reader import on_scene_grid

    return scene_of_map(on_scene_grid(scores), source, sizes=manifests.input_sizes(scores.path))


def check_model(scores: ScoreMap, used: Detector[Any], told: str) -> None:
    """Refuse a model that did not score a map; see `hadgeo.maps.belonging.check_detector`.

    Args:
        scores: The map.
        used: The detector that the model holds.
        told: The file that holds it.

    Raises:
        ModelError: Detector or parameters differ.
    """
    from hadgeo.detectors.matchers import background_of
    from hadgeo.detectors.registry import MATCHERS
    from hadgeo.maps.belonging import check_detector
    from hadgeo.run.model_file import model_hash

    # The background of a match may come from a model of another detector.
    if scores.detector not in MATCHERS or background_of(used) is None:
        check_detector(scores, used.name, used.params.model_dump(mode="json"), model_hash(used), told)
