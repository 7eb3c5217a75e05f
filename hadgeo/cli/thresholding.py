"""What ``hadgeo threshold`` and ``hadgeo detect`` share: options that say which pixels stand out, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from hadgeo.products.decision import Decision, Grouping
    from hadgeo.products.threshold import Rule

#: One pixel of a thousand: few enough to look at in a scene of a million, and counted rather than extrapolated there.
DEFAULT_PFA = 1e-3

_RULES = (
    click.option("--pfa", type=float, metavar="RATE", help="False-alarm rate, the share of the background flagged."),
    click.option("--percentile", type=float, metavar="Q", help="Percentile of the scores, such as 99.9."),
    click.option("--value", type=float, metavar="SCORE", help="A score of the detector's own scale."),
    click.option("--top", type=int, metavar="N", help="The N highest pixels."),
)
_OUTPUTS = (
    click.option("--polygons", metavar="FILE", help="Write what stands out as polygons: .gpkg, .geojson or .parquet."),
    click.option("--p-values", metavar="FILE", help="Write each pixel's p-value as a GeoTIFF."),
    click.option(
        "--connectivity",
        type=click.Choice(["4", "8"]),
        default="8",
        show_default=True,
        help="Whether pixels of one anomaly share a side, or may touch at a corner.",
    ),
    click.option("--min-pixels", type=int, default=1, show_default=True, help="Leave smaller anomalies out."),
    click.option(
        "--merge-distance",
        type=float,
        default=0.0,
        show_default=True,
        metavar="METRES",
        help="Join polygons that are at most so far apart.",
    ),
)


def decision(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a decision."""
    for option in reversed(_RULES + _OUTPUTS):
        command = option(command)
    return command


def rule_of(options: dict[str, Any], *, default: float | None = None) -> Rule | None:
    """Take the rule out of a command's options.

    Args:
        options: Of `decision`.
        default: The false-alarm rate where no rule is given.

    Returns:
        The rule, or None where none is given and there is no default.

    Raises:
        ParameterError: Several are given, or one is out of bounds.
    """
    from hadgeo.products.threshold import Rule

    given = {name: options[name] for name in ("pfa", "percentile", "value", "top") if options[name] is not None}
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        raise ParameterError(f"{names}: give one of --pfa, --percentile, --value and --top")
    if not given:
        return None if default is None else Rule(pfa=default)
    return Rule(**given)


def grouping_of(options: dict[str, Any]) -> Grouping:
    """Take what makes anomalies out of a command's options.

    Raises:
        ParameterError: One is out of bounds.
    """
    from hadgeo.products.decision import Grouping

    return Grouping(int(options["connectivity"]), options["min_pixels"], options["merge_distance"])


def lines(decision: Decision) -> list[str]:
    """What a decision says to people."""
    groups = "not counted: too many pixels" if decision.groups is None else f"{decision.groups:,}"
    told = {
        "threshold": f"{decision.threshold:.6g} ({decision.rule})",
        "pixels": f"{decision.pixels:,} of {decision.valid:,} reach it; "
        f"{decision.expected_false_alarms:.3g} false alarms are expected",
        "tail": _tail(decision),
        "groups": groups,
        "polygons": decision.polygons,
        "p-values": decision.p_values,
    }
    return [f"{name:>10}  {text}" for name, text in told.items() if text is not None]


def _tail(decision: Decision) -> str:
    tail = decision.tail
    if tail is None:
        return "none: too few of the largest scores differ; rates are counted"
    return (
        f"{tail.quality} fit: generalised Pareto of shape {tail.shape:.3f} and scale {tail.scale:.4g} to the "
        f"{tail.excesses:,} scores above {tail.start:.6g}, Kolmogorov-Smirnov distance {tail.distance:.4f}"
    )
