"""What a file says of its values beside the numbers: what was measured, in which unit, and when."""

from __future__ import annotations

import re
from datetime import datetime

#: Attributes of a file that say when it was begun to be recorded.
START = ("time_coverage_start", "acquisition_start_time", "start_time", "acquisition_date")

#: Units that say there is none.
_NO_UNIT = {"", "1", "-", "none", "unitless", "dimensionless", "n/a", "dn", "unknown"}

#: Codes of letters and of their height in titles that IDL has written.
_IDL_CODE = re.compile(r"![A-Z0-9]", re.IGNORECASE)

#: Steradians in a unit.
_PER_STERADIAN = re.compile(r"(?<![a-z])sr(?![a-z])|steradian", re.IGNORECASE)

#: What a name of values may hold that says what they are.
_KINDS = ("reflectance", "radiance", "emissivity")


def quantity(name: str | None, unit: str | None) -> str | None:
    """What values are, with their unit, for people.

    Args:
        name: What a file calls them, such as ``surface reflectance``.
        unit: What it says of their unit.

    Returns:
        Such as ``reflectance`` or ``radiance (W/m2/sr/um)``; None where the file does not say.
    """
    unit = " ".join((unit or "").split())
    kind = next((kind for kind in _KINDS if kind in (name or "").lower()), None)
    if unit.lower() in _KINDS:
        return unit.lower()
    if unit.lower() in _NO_UNIT:
        return kind
    if kind is None and _PER_STERADIAN.search(unit):
        kind = "radiance"
    return f"{kind or 'value'} ({unit})"


def quantity_of_title(titles: str) -> str | None:
    """The same from ``z plot titles`` of ENVI, such as ``{Wavelength, Reflectance}``: what is along, and what is up."""
    up = titles.strip().strip("{}").partition(",")[2]
    title = " ".join(_IDL_CODE.sub("", up).split())
    return title or None


def acquired(text: str | None) -> str | None:
    """When a scene was taken: an ISO 8601 date, with the time where that is known; None where the text is neither.

    Examples:
        >>> acquired("2014-07-11T19:23:59Z")
        '2014-07-11 19:23 UTC'
    """
    words = (text or "").strip().strip("{}\"' ")
    try:
        when = datetime.fromisoformat(words)
    except ValueError:
        return None
    if not 1970 <= when.year <= 2100:
        return None
    if len(words) <= len("2014-07-11"):
        return f"{when:%Y-%m-%d}"
    zone = when.tzname() or ""
    return f"{when:%Y-%m-%d %H:%M} {zone}".strip()
