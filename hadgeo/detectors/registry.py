"""Names of detectors, and the modules behind them, loaded when first asked for."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hadgeo.errors import DetectorNotFoundError, ExtensionWarning, ParameterError
from hadgeo.extensions import Registry

if TYPE_CHECKING:
    from hadgeo.detectors.base import Detector

#: Where other packages announce detectors of theirs: ``name = "package.module:Class"``.
ENTRY_POINT_GROUP = "hadgeo.detectors"

DEFAULT_DETECTOR = "fusion"

#: hadgeo's own.
BUILT_IN = {
    "block_rx": "hadgeo.detectors.block_rx:BlockRX",
    "bs3lnet": "hadgeo.detectors.bs3lnet:BS3LNet",
    "cluster_rx": "hadgeo.detectors.cluster_rx:ClusterRX",
    "crd": "hadgeo.detectors.crd:CRD",
    "fusion": "hadgeo.detectors.fusion:Fusion",
    "glrt2s": "hadgeo.detectors.glrt2s:GLRT2S",
    "isolation_forest": "hadgeo.detectors.isolation_forest:IsolationForest",
    "kmeans": "hadgeo.detectors.kmeans:KMeans",
    "local_rx": "hadgeo.detectors.local_rx:LocalRX",
    "ring_predictor": "hadgeo.detectors.ring_predictor:RingPredictor",
    "rx": "hadgeo.detectors.rx:RX",
    "rxd_utd": "hadgeo.detectors.utd:RXDUTD",
    "scoread": "hadgeo.detectors.scoread:ScoreAD",
    "subspace_rx": "hadgeo.detectors.subspace_rx:SubspaceRX",
    "utd": "hadgeo.detectors.utd:UTD",
}

#: Those that look for a known spectrum; `hadgeo.match` hands them one. Models know them by name as all others.
MATCHERS = {
    "ace": "hadgeo.detectors.matchers:ACE",
    "cem": "hadgeo.detectors.matchers:CEM",
    "mf": "hadgeo.detectors.matchers:MatchedFilter",
    "sam": "hadgeo.detectors.matchers:SAM",
}

DEFAULT_MATCHER = "ace"

#: Those that look at what others find: parts of a fusion, which know nothing by themselves.
PARTS = {"recurrence": "hadgeo.detectors.recurrence:Recurrence"}

#: JSON schema's limits in words.
_LIMITS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)


def _flaw(name: str, loaded: object) -> str:
    return next(_flaws(name, loaded), "")


def _flaws(name: str, loaded: object) -> Iterator[str]:
    """What keeps an object from being a detector of some name, the worst first."""
    from hadgeo.detectors.base import Detector, Params

    if not (isinstance(loaded, type) and issubclass(loaded, Detector)):
        yield "it is not a class derived from hadgeo.detectors.base.Detector"
        return
    if loaded.__abstractmethods__:
        yield f"the class lacks {', '.join(sorted(loaded.__abstractmethods__))}"
    for attribute in ("name", "title", "Params"):
        if not hasattr(loaded, attribute):
            yield f"the class lacks {attribute}"
    if loaded.name != name:
        # A model file knows its detector by the class's name.
        yield f"the class calls itself {loaded.name!r}; register it under that name"
    if not issubclass(loaded.Params, Params):
        yield "its Params are not derived from hadgeo.detectors.base.Params"
    # Pydantic says itself what is wrong with a parameter, or with a default that is missing.
    loaded()
    fields = loaded.Params.model_json_schema().get("properties", {})
    for role in ("seed_parameter", "steps_parameter", "precision_parameter"):
        key = getattr(loaded, role)
        if key is not None and key not in fields:
            yield f"its {role} {key!r} is not one of its parameters"


_REGISTRY: Registry[type[Detector[Any]]] = Registry(ENTRY_POINT_GROUP, BUILT_IN | MATCHERS | PARTS, _flaw)


def list_detectors() -> list[str]:
    """Names of all detectors, hadgeo's own and other packages', in alphabetical order. Loads none of them.

    Those that look for a known spectrum are left out: they are methods of `hadgeo.match`. So are those that are nothing
    but parts of a fusion.
    """
    return sorted(set(_REGISTRY.names()) - {*MATCHERS, *PARTS})


def usable_detectors() -> dict[str, type[Detector[Any]]]:
    """The classes of all detectors by name, in alphabetical order.

    One of another package that cannot be used is left out, with an `ExtensionWarning` that says why.
    """
    return {name: cls for name, cls in sorted(_REGISTRY.usable()) if name not in {*MATCHERS, *PARTS}}


def fittable_detectors() -> list[str]:
    """Names of the usable detectors that can be fitted here, in alphabetical order.

    Those that lack an optional package are left out, with an `ExtensionWarning` that says how to install it.
    """
    usable = usable_detectors()
    lacking: dict[str, list[str]] = {}
    for name, cls in usable.items():
        if cls.fitted_by and not _is_installed(cls.fitted_by):
            lacking.setdefault(cls.fitted_by, []).append(name)
    for package, names in lacking.items():
        warnings.warn(
            f"{', '.join(names)}: left out, because to fit them needs {package}; install it with "
            f'pip install "hadgeo[{package}]"',
            ExtensionWarning,
            stacklevel=2,
        )
    return [name for name in usable if not any(name in names for names in lacking.values())]


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


def detector_class(name: str) -> type[Detector[Any]]:
    """Load the class behind a name.

    Args:
        name: A detector's name.

    Raises:
        DetectorNotFoundError: There is no such detector; the message names the nearest.
        ExtensionError: It is another package's, and cannot be used.
    """
    if name not in _REGISTRY.names():
        near = difflib.get_close_matches(name.lower(), list_detectors(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DetectorNotFoundError(f"no detector {name!r}; {hint}available: {', '.join(list_detectors())}")
    return _REGISTRY.load(name)


def parameter_fields(cls: type[Detector[Any]]) -> dict[str, dict[str, Any]]:
    """What is known of each parameter of a detector, by name, as the properties of a JSON schema.

    A class of choices (`enum.Enum`) stands in place of the reference that pydantic makes of it.
    """
    schema = cls.Params.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolved(field: dict[str, Any]) -> dict[str, Any]:
        reference = field.get("$ref", "").rpartition("/")[2]
        whole = {**definitions.get(reference, {}), **field}
        if "anyOf" in whole:
            whole["anyOf"] = [resolved(option) for option in whole["anyOf"]]
        return {key: value for key, value in whole.items() if key != "$ref"}

    fields = {key: {"description": "", **resolved(field)} for key, field in schema.get("properties", {}).items()}
    return {**_preset_field(cls), **fields}


def _preset_field(cls: type[Detector[Any]]) -> dict[str, dict[str, Any]]:
    """The parameter that stands for several, of a detector that has presets."""
    if not cls.presets:
        return {}
    told = "; ".join(
        f"{name}: {', '.join(f'{key}={value}' for key, value in values.items())}"
        for name, values in cls.presets.items()
    )
    field = {"enum": list(cls.presets), "type": "string"}
    return {
        "preset": {
            "anyOf": [field, {"type": "null"}],
            "default": None,
            "title": "Preset",
            "description": f"Several parameters at once; those that are given as well come first. {told}.",
        }
    }


def make_detector(name: str, parameters: dict[str, Any] | None = None) -> Detector[Any]:
    """Make an unfitted detector.

    Args:
        name: A detector's name.
        parameters: Hyper-parameters by name, as values or as text; defaults for the others.

    Returns:
        The detector, for `hadgeo.detect` and `hadgeo.train`.

    Raises:
        DetectorNotFoundError: There is no such detector.
        ExtensionError: It is another package's, and cannot be used.
        ParameterError: A parameter is unknown or out of bounds; the message says which and what is allowed.

    Examples:
        >>> make_detector("rx", {"shrinkage": 0.5})
        RX(shrinkage=0.5)
    """
    from pydantic import ValidationError

    cls = detector_class(name)
    given = _without_preset(cls, dict(parameters or {}))
    for key in given:
        if key not in cls.Params.model_fields:
            near = difflib.get_close_matches(key, cls.Params.model_fields, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(
                f"detector {name} has no parameter {key!r}; {hint}`hadgeo detectors {name}` lists its parameters"
            )
    for key, field in parameter_fields(cls).items():
        # On a command line an empty value stands for none, where there may be none.
        if given.get(key) in ("", "none") and _may_be_none(field):
            given[key] = None
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
        allowed = allowed_values(parameter_fields(cls)[key])
        raise ParameterError(f"detector {name}: {key} must be {allowed}, not {first['input']!r}") from None


def _without_preset(cls: type[Detector[Any]], given: dict[str, Any]) -> dict[str, Any]:
    """Parameters, with those that a preset stands for in its place."""
    if not cls.presets or (preset := given.pop("preset", None)) in (None, "", "none"):
        return given
    if preset not in cls.presets:
        raise ParameterError(f"detector {cls.name}: preset must be {' or '.join(cls.presets)}, not {preset!r}")
    return {**cls.presets[preset], **given}


def _may_be_none(field: dict[str, Any]) -> bool:
    return any(option.get("type") == "null" for option in field.get("anyOf", ()))


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
        return f"{allowed_values(schema['items'])}, or several, separated by commas"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    limits = " and ".join(f"{word} {schema[key]}" for key, word in _LIMITS if key in schema)
    return ", ".join(part for part in (kind.get(schema.get("type", ""), "text"), limits) if part)
