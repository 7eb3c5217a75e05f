"""Parameters of Processing algorithms, made from the backend's schema."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .schema import DETECTORS, argument, default_detector
from .wording import for_dialogs, title_of

DETECTOR = "DETECTOR"

#: How long detectors take, by how many times as long as RX: it takes seconds for a million pixels of 120 bands.
_COSTS = ((4, "fast, seconds"), (20, "half a minute"), (float("inf"), "minutes"))

#: What the boxes of QGIS can hold.
_LARGEST = 2**31 - 1

_INTEGER = QgsProcessingParameterNumber.Type.Integer
_DOUBLE = QgsProcessingParameterNumber.Type.Double


def with_help(parameter, text: str, advanced: bool = False):
    """Give a parameter its help, and its place among the advanced ones."""
    parameter.setHelp(text)
    if advanced:
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return parameter


def of_argument(command: str, name: str, title: str = "", advanced: bool = False, **changes):
    """Make a parameter from an argument of a command.

    Args:
        command: The command.
        name: The argument; the parameter has its name in capitals.
        title: What the dialog shows; that of `wording.title_of` by default.
        advanced: Whether it is one of the advanced.
        **changes: Replace parts of the schema, such as `default`.
    """
    facts = {**argument(command, name), **changes}
    parameter = _parameter(name.upper(), title or title_of(name), facts)
    return with_help(parameter, facts["help"], advanced)


def _parameter(name: str, title: str, facts: dict):
    """Make one parameter of a simple type."""
    # No words at all are an empty text.
    default, kind = facts.get("default") if facts.get("default") != [] else None, facts.get("type")
    optional = default is None and not facts.get("required", False)
    if facts.get("choices"):
        return choice(name, title, facts["choices"], default, optional)
    if kind in ("flag", "boolean"):
        return QgsProcessingParameterBoolean(name, title, bool(default))
    if kind not in ("integer", "float", "number"):
        return QgsProcessingParameterString(name, title, default, optional=optional)
    parameter = QgsProcessingParameterNumber(
        name, title, _INTEGER if kind == "integer" else _DOUBLE, defaultValue=default, optional=optional
    )
    if facts.get("minimum") is not None:
        parameter.setMinimum(facts["minimum"])
    if kind == "integer" or facts.get("maximum") is not None:
        parameter.setMaximum(min(facts.get("maximum") or _LARGEST, _LARGEST))
    return parameter


def choice(name: str, title: str, options: list, default=None, optional: bool = False, several: bool = False):
    """Make an enumeration whose values are words, on the command line of qgis_process too."""
    return QgsProcessingParameterEnum(
        name, title, options, allowMultiple=several, defaultValue=default, optional=optional, usesStaticStrings=True
    )


def detector_choice() -> QgsProcessingParameterEnum:
    """Which detector."""
    lines = "; ".join(f"{name}: {facts['title']}, {cost(name)}" for name, facts in DETECTORS.items())
    text = (
        "How anomalies are found, and how long that takes for a million pixels of 120 bands without a GPU. "
        f"{lines}. Only the parameters of the chosen detector apply."
    )
    made = with_help(choice(DETECTOR, "Detector", list(DETECTORS), default_detector()), text)
    # Only where there is a window, this is imported: a list of names for people, with what each costs.
    made.setMetadata({"widget_wrapper": {"class": f"{__package__}.detector_widget.DetectorWidget"}})
    return made


def label(detector: str) -> str:
    """A detector's name for people, and what it costs."""
    return f"{short_title(detector)}: {cost(detector)}"


def short_title(detector: str) -> str:
    """A detector's name for people, without what it stands for."""
    return DETECTORS[detector]["title"].split(" (")[0]


def cost(detector: str) -> str:
    """How long a detector takes, in words, as far as somebody has measured it."""
    relative = DETECTORS[detector].get("relative_cost")
    if relative is None:
        return "duration unknown"
    return next(words for most, words in _COSTS if relative <= most)


def detector_parameter_name(detector: str, key: str) -> str:
    """What a detector's parameter is called in QGIS."""
    return f"{detector}_{key}".upper()


def detector_default(detector: str, key: str):
    """The value of a detector's parameter that a dialog begins with."""
    return _simple(DETECTORS[detector]["parameters"][key])["default"]


def detector_parameters() -> list:
    """Parameters of all detectors, the basic ones of all first."""
    made = []
    for detector, facts in DETECTORS.items():
        for key, field in facts["parameters"].items():
            name, title = detector_parameter_name(detector, key), f"{short_title(detector)}: {field['title']}"
            parameter = with_help(
                _parameter(name, title, _simple(field)), for_dialogs(field["description"]), not field["basic"]
            )
            made.append((not field["basic"], parameter))
    return [parameter for _, parameter in sorted(made, key=lambda pair: pair[0])]


def _simple(field: dict) -> dict:
    """A field of a JSON schema in the words of a command's argument."""
    kinds = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    kind = kinds[0]
    default = field.get("default")
    if isinstance(default, list):
        default = ",".join(str(value) for value in default)
    return {
        "type": kind.get("type"),
        "choices": kind.get("enum"),
        "default": default,
        "minimum": kind.get("minimum", kind.get("exclusiveMinimum")),
        "maximum": kind.get("maximum", kind.get("exclusiveMaximum")),
    }
