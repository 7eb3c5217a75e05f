"""What the backend can be given, as `python -m hadgeo.schema` wrote it when the plugin was built."""

from __future__ import annotations

import json
import re
from pathlib import Path

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))

DETECTORS = SCHEMA["detectors"]


#: What the backend's help says to people at a terminal, and what it says here.
_WORDS = {"`hadgeo train`": "'Train a detector'", "`hadgeo detect`": "'Detect anomalies'"}


def argument(command: str, name: str) -> dict:
    """What is known of an argument of a command: type, help, default, choices, minimum, maximum."""
    facts = SCHEMA["commands"][command]["arguments"][name]
    return {**facts, "help": _for_dialogs(facts.get("help", ""))}


def _for_dialogs(text: str) -> str:
    """A help text without the manners of the command line: parameters have names here, and no dashes."""
    for words, ours in _WORDS.items():
        text = text.replace(words, ours)
    return re.sub(r"--([a-z][a-z-]*)", lambda option: f"'{option[1].replace('-', ' ').capitalize()}'", text)
