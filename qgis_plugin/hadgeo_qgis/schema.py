"""What the backend can be given, as `python -m hadgeo.schema` wrote it when the plugin was built.

Commands are of that time. Detectors are those of the chosen backend once it has told them, with whatever other packages
add to them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))

#: What is known of each detector, by name; `use_detectors` changes it in place.
DETECTORS = dict(SCHEMA["detectors"])


#: What the backend's help says to people at a terminal, and what it says here.
_WORDS = {"`hadgeo train`": "'Train a detector'", "`hadgeo detect`": "'Detect anomalies'"}


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
    return {**facts, "help": _for_dialogs(facts.get("help", ""))}


def _for_dialogs(text: str) -> str:
    """A help text without the manners of the command line: parameters have names here, and no dashes."""
    for words, ours in _WORDS.items():
        text = text.replace(words, ours)
    return re.sub(r"--([a-z][a-z-]*)", lambda option: f"'{option[1].replace('-', ' ').capitalize()}'", text)
