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

#: hadgeo's own.
BUILT_IN = {
    "bs3lnet": "hadgeo.detectors.bs3lnet:BS3LNet",
    "rx": "hadgeo.detectors.rx:RX",
    "scoread": "hadgeo.detectors.scoread:ScoreAD",
}

#: JSON schema's limits in words.
_LIMITS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)


@cache
def _known() -> dict[str, str]:
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**found, **BUILT_IN}


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
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ValueError):
            # A rule between parameters, in words of the detector's own.
            values = ", ".join(f"{key}={value}" for key, value in given.items())
            raise ParameterError(f"detector {name}: {cause}; given: {values}") from None
        key = str(first["loc"][0])
        allowed = allowed_values(cls.Params.model_json_schema()["properties"][key])
        raise ParameterError(f"detector {name}: {key} must be {allowed}, not {first['input']!r}") from None


def allowed_values(field: dict[str, Any]) -> str:
    """What a parameter may be, in words.

    Args:
        field: Its part of the JSON schema of `Params`.

    Returns:
        Such as "a whole number, at least 1 and at most 15".
    """
    kinds = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    schema = kinds[0]
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{allowed_values(schema['items'])}, or several with commas between them"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    limits = " and ".join(f"{word} {schema[key]}" for key, word in _LIMITS if key in schema)
    return ", ".join(part for part in (kind.get(schema.get("type", ""), "text"), limits) if part)
