"""Which detectors the chosen backend has: hadgeo's own, and those of other packages that are installed beside it.

Starting the backend takes seconds, so its answer is remembered until something is installed there. Neither Qt nor QGIS
is imported here, so plain Python can test it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .backend import PROTOCOL, BackendError, BackendStopped, Child

#: Seconds that a backend has to answer.
PATIENCE = 120

#: What the backend runs. `pip install` changes one of the folders of the path, in which packages lie.
_PROGRAM = (
    "import json, sys, importlib; schema = importlib.import_module('hadgeo.schema').describe(); "
    "print(json.dumps({'schema': schema, 'path': sys.path}), flush=True)"
)


def remembered(file: Path, python: str) -> dict | None:
    """What a backend said when it was asked last.

    Args:
        file: Where the answer is kept.
        python: The backend's interpreter.

    Returns:
        Its detectors, as in the schema; None where it was not asked yet, or something was installed since.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        fresh = kept["python"] == python and kept["stamps"] == _stamps(kept["stamps"])
        return kept["detectors"] if fresh and isinstance(kept["detectors"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        # Whatever stands there is no answer of ours.
        return None


def ask(file: Path, python: str, cancelled=lambda: False) -> dict | None:
    """Ask a backend for its detectors, and remember the answer.

    Args:
        file: Where to keep it.
        python: The backend's interpreter.
        cancelled: Whether to give up.

    Returns:
        Its detectors; None where there is no answer, or one of another protocol: a run will say what is wrong.
    """
    told = _answer(python, cancelled)
    if told is None or told["schema"].get("protocol") != PROTOCOL:
        return None
    detectors = told["schema"]["detectors"]
    kept = {"python": python, "stamps": _stamps(told["path"]), "detectors": detectors}
    # Without it, the backend is asked again next time.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(file)
    return detectors


def _answer(python: str, cancelled) -> dict | None:
    end = time.monotonic() + PATIENCE
    words = [python, "-I", "-X", "utf8", "-c", _PROGRAM]
    try:
        with tempfile.TemporaryDirectory(prefix="hadgeo-") as folder, Child(words, folder) as child:
            lines = child.lines(lambda: cancelled() or time.monotonic() > end)
            said = [line for name, line in lines if name == "out"]
            status = child.wait()
        told = json.loads(said[-1]) if status == 0 and said else None
    except (BackendError, BackendStopped, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _stamps(folders) -> dict:
    """When something was last added to each folder, or taken from it; those that are there."""
    paths = [Path(folder) for folder in folders if folder]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.is_dir()}
