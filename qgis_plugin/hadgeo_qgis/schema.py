"""What the backend can be given, as `python -m hadgeo.schema` wrote it when the plugin was built."""

from __future__ import annotations

import json
from pathlib import Path

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))

DETECTORS = SCHEMA["detectors"]


def argument(command: str, name: str) -> dict:
    """What is known of an argument of a command: type, help, default, choices, minimum, maximum."""
    return SCHEMA["commands"][command]["arguments"][name]
