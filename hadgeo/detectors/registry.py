"""Names of detectors, and the modules behind them, loaded when first asked for."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from hadgeo.errors import DetectorNotFoundError, ParameterError

if TYPE_CHECKING:
    from hadgeo.detectors.base import Detector

#: Where other packages announce detectors of theirs: ``name = "package.module:Class"``.
ENTRY_POINT_GROUP = "hadgeo.detectors"

DEFAULT_DETECTOR = "bs3lnet"

_BUILT_IN = {
    "bs3lnet": "hadgeo.detectors.bs3lnet:BS3LNet",
    "rx": "hadgeo.detectors.rx:RX",
}


@cache
def _known() -> dict[str, str]:
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**found, **_BUILT_IN}


def list_detectors() -> list[str]:
    """Names of all detectors, hadgeo's own and other packages', in alphabetical order. Loads none of them."""
    return sorted(_known())


def detector_class(name: str) -> type[Detector[Any]]:
    """Load the class behind a name.

    Args:
        name: A detector's name.

    Raises:
        DetectorNotFoundError: There is no such detector; the message names the nearest.
    """
    target = _known().get(name)
    if target is None:
        near = difflib.get_close_matches(name.lower(), list_detectors(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DetectorNotFoundError(f"no detector {name!r}; {hint}known are {', '.join(list_detectors())}")
    module, _, attribute = target.partition(":")
    loaded: type[Detector[Any]] = getattr(import_module(module), attribute)
    return loaded


def make_detector(name: str, parameters: dict[str, Any] | None = None) -> Detector[Any]:
    """Make an unfitted detector.

    Args:
        name: A detector's name.
        parameters: Hyper-parameters by name, as values or as text; defaults for the others.

    Raises:
        DetectorNotFoundError: There is no such detector.
        ParameterError: A parameter is unknown or out of bounds; the message says which and what is allowed.
    """
    from pydantic import ValidationError

    cls = detector_class(name)
    given = parameters or {}
    for key in given:
        if key not in cls.Params.model_fields:
            near = difflib.get_close_matches(key, cls.Params.model_fields, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(
                f"detector {name} has no parameter {key!r}; {hint}`hadgeo detectors {name}` lists all of them"
            )
    try:
        return cls(cls.Params.model_validate(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise ParameterError(f"detector {name}: {key} = {first['input']!r}: {first['msg']}") from None
