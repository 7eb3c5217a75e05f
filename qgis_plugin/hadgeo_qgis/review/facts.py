"""What a layer says of an anomaly, in a line."""

from __future__ import annotations

from .anomaly_layer import text_of

#: What is told of an anomaly: a field, how it is called, and how its numbers are written.
_FACTS = (
    ("p_value", "p", "{:.2g}"),
    ("expected_false_alarms", "expected false alarms", "{:.2g}"),
    ("max_score", "highest score", "{:.5g}"),
    ("pixels", "px", "{:.0f}"),
    ("area_m2", "m²", "{:.0f}"),
    ("bands", "stands out at", "{}"),
    ("parts", "parts", "{}"),
)

#: Those whose number stands first.
_COUNTED = ("expected_false_alarms", "pixels", "area_m2")


def told(feature) -> str:
    """What is known of an anomaly, as far as its layer has it."""
    return "; ".join(filter(None, (_fact(feature, *fact) for fact in _FACTS)))


def _fact(feature, name: str, title: str, pattern: str) -> str:
    text = text_of(feature[name]) if feature.fields().indexOf(name) >= 0 else ""
    if not text:
        return ""
    written = pattern.format(feature[name])
    return f"{written} {title}" if name in _COUNTED else f"{title} {written}"
