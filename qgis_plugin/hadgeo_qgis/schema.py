"""What the backend can be given, as `python -m hadgeo.schema` wrote it when the plugin was built.

Commands are of that time. Detectors are those of the chosen backend once it has told them, with whatever other packages
add to them.
"""

from __future__ import annotations

import json
from pathlib import Path

from .wording import for_dialogs

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))

#: What is known of each detector, by name; `use_detectors` changes it in place.
DETECTORS = dict(SCHEMA["detectors"])


def use_detectors(found: dict | None) -> bool:
    """Put a backend's detectors in place of those that were known, or hadgeo's own for None; whether that is news."""
    found = found or SCHEMA["detectors"]
    if found == DETECTORS:
        return False
    DETECTORS.clear()
    DETECTORS.update(found)
    return True


def default_detector() -> str:
    """The detector that is chosen to begin with."""
    default = SCHEMA["default_detector"]
    return default if default in DETECTORS else next(iter(DETECTORS))


def argument(command: str, name: str) -> dict:
    """What is known of an argument of a command: type, help, default, choices, minimum, maximum."""
    facts = SCHEMA["commands"][command]["arguments"][name]
    return {**facts, "help": for_dialogs(facts.get("help", ""))}
