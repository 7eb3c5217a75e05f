"""What ``hadgeo match`` and ``hadgeo batch`` share: which spectrum is looked for, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hadgeo.detectors.registry import DEFAULT_MATCHER, MATCHERS

if TYPE_CHECKING:
    from hadgeo.run.matching.search import Search

_OPTIONS = (
    click.option(
        "--spectrum",
        metavar="FILE[#NAME]",
        help="The spectrum to find: text with wavelengths and values in columns, or an ENVI spectral library. #NAME or "
        "#3 behind it chooses one of several.",
    ),
    click.option(
        "--like",
        metavar="FILE[#ID]",
        help="Find more like an anomaly of an earlier run: its --polygons or --evidence, and its number. Without a "
        "number, polygons with verdicts stand for all accepted ones: a pixel has the score of the one it is most like.",
    ),
    click.option(
        "--method",
        type=click.Choice(list(MATCHERS)),
        default=DEFAULT_MATCHER,
        show_default=True,
        help="Adaptive cosine estimator, constrained energy minimisation, matched filter, or spectral angle mapper.",
    ),
    click.option(
        "--target-scale",
        type=float,
        metavar="FACTOR",
        help="What the values of the spectrum are multiplied by to be in the units of the scene; by default judged by "
        "magnitude: reflectance 0 to 1, percent, or times 10,000.",
    ),
)

#: The options of `target`, as a command receives them.
NAMES = ("spectrum", "like", "method", "target_scale")


def target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what is looked for."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def search_of(given: Mapping[str, Any], parameters: Mapping[str, str], model: str | None) -> Search:
    """What a command's options ask for.

    Args:
        given: The values of the options of `target`.
        parameters: Hyper-parameters of the method.
        model: A model file that holds the background, or None.

    Raises:
        ParameterError: Nothing is to be found, or an option is out of bounds.
        TargetError: The spectrum cannot be read.
        ModelError: The model cannot be used.
    """
    from hadgeo.run.matching.search import Search, target_of
    from hadgeo.run.model_file import load_model

    found = target_of(given["spectrum"], given["like"])
    loaded = None if model is None else load_model(model)
    return Search(found, given["method"], dict(parameters), given["target_scale"], loaded)
