"""What a run did, as a JSON file beside its outputs: enough to repeat it, and to see whether the result is the same.

Times and memory differ from run to run; inputs, options and the hashes of the outputs are what a repetition is held to.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from hadgeo import __version__
from hadgeo.errors import CubeError, CubeNotFoundError, OutputExistsError
from hadgeo.files import check_name, sha256_of, write_whole
from hadgeo.formats.gdal import exists

FORMAT: Final = 1

#: The fact that says of which scene each of several maps is, by the hash of the map.
SCENES_OF_MAPS: Final = "scenes_of_maps"

#: Whose versions can change a result.
_LIBRARIES = ("torch", "numpy", "scipy", "rasterio")


class FileRecord(BaseModel):
    """A file as it was when a run used or made it.

    Attributes:
        path: Absolute path.
        bytes: Its size.
        modified: Time of its last modification, UTC.
        sha256: Hash of its content, for outputs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    bytes: int
    modified: datetime
    sha256: str | None = None


class Manifest(BaseModel):
    """A run.

    Attributes:
        format: Version of this description.
        command: The command of the command line.
        options: Its options by name, complete: defaults included.
        inputs: Every file that was read; what lies in an archive or an object store stands in the options alone.
        outputs: Every file that was written.
        facts: What was found out on the way: bands, device, number of valid pixels, ...
        seconds: Wall time of each stage.
        pixels_per_second: Valid pixels over the time of all stages.
        peak_memory_bytes: Most resident memory of the process, or None where the system does not tell.
        versions: Of hadgeo, Python, GDAL and the libraries whose versions can change a result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    command: str
    options: dict[str, Any]
    inputs: tuple[FileRecord, ...]
    outputs: tuple[FileRecord, ...]
    facts: dict[str, Any]
    seconds: dict[str, float]
    pixels_per_second: float
    peak_memory_bytes: int | None
    versions: dict[str, str]

    def changed_inputs(self) -> list[str]:
        """Inputs that are gone, or whose size or time of modification is another than then."""
        return [record.path for record in self.inputs if not _unchanged(record)]

    def changed_outputs(self) -> list[str]:
        """Outputs that are gone, or are not as the run left them."""
        return [record.path for record in self.outputs if not _unchanged(record)]

    def differing_outputs(self, made: Manifest) -> list[str]:
        """Outputs of a repetition that are not the same bytes as the ones recorded here, in the order of both.

        Args:
            made: The manifest of the repetition.
        """
        pairs = zip_longest(self.outputs, made.outputs)
        return [
            (after or before).path
            for before, after in pairs
            if not (before and after and before.sha256 == after.sha256)
        ]


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output stands: ``x.json`` beside ``x.tif``."""
    return output.with_name(output.name + ".json") if output.suffix == ".json" else output.with_suffix(".json")


def check_manifest(beside: Path, command: str, *, overwrite: bool, option: str = "-o") -> None:
    """Refuse early a manifest that would take another file's place, or has a name that no file can have.

    What a run of another command wrote down is never replaced, unless its first output is what this run replaces; of
    another run of the same command it is with `overwrite`.

    Args:
        beside: The run's first output, beside which the manifest shall stand.
        command: The command of the command line.
        overwrite: Whether outputs may be replaced.
        option: What names the output on the command line.

    Raises:
        OutputExistsError: Something else stands there.
        OutputError: No file can have that name.
    """
    path = manifest_path(beside)
    check_name(path, option)
    if not os.path.lexists(path):
        return
    try:
        there = read_manifest(path)
    except CubeError:
        raise OutputExistsError(
            f"{path} exists and is not a hadgeo manifest, which would be written there; move it, or use {option}"
        ) from None
    same_output = bool(there.outputs) and Path(there.outputs[0].path).name == beside.name
    if same_output or (overwrite and there.command == command):
        return
    hint = "use --overwrite, or give" if there.command == command else "give"
    raise OutputExistsError(
        f"{path} is the manifest of another run, of `hadgeo {there.command}`, and would be replaced; {hint} another "
        f"name with {option}"
    )


def make_manifest(
    command: str,
    *,
    options: Mapping[str, Any],
    inputs: Iterable[Path],
    outputs: Iterable[Path],
    facts: Mapping[str, Any],
    seconds: Mapping[str, float],
    valid: int,
) -> Manifest:
    """Describe a run that has just ended.

    Args:
        command: The command of the command line.
        options: Its options by name, as JSON can hold them.
        inputs: What it read; names that are no files of this computer are left out.
        outputs: Files that it wrote, which are hashed.
        facts: What it found out.
        seconds: Wall time of each stage.
        valid: Pixels that have a score.
    """
    total = sum(seconds.values())
    return Manifest(
        command=command,
        options=dict(options),
        inputs=tuple(_describe(path) for path in inputs if exists(path)),
        outputs=tuple(_describe(path, hashed=True) for path in outputs),
        facts=dict(facts),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        pixels_per_second=round(valid / total, 1) if total else 0.0,
        peak_memory_bytes=_peak_memory(),
        versions=_versions(),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, complete or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    # What is not UTF-8 in a name becomes JSON's own escape for it.
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no manifest, or a newer hadgeo's.
    """
    file = Path(path)
    if not file.is_file():
        raise CubeNotFoundError(f"{file}: no such manifest; `hadgeo detect` writes one next to each map")
    try:
        raw = json.loads(file.read_text("utf-8"))
        newer = isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT
        if newer and "versions" in raw:
            raise CubeError(f"{file}: written by a newer hadgeo than {__version__}; update hadgeo")
        return Manifest.model_validate(raw)
    except CubeError:
        raise
    except (OSError, ValueError, RecursionError):
        raise CubeError(f"{file}: not a hadgeo manifest; give the .json next to a map") from None


def _unchanged(record: FileRecord) -> bool:
    path = Path(record.path)
    try:
        return path.exists() and _describe(path) == record.model_copy(update={"sha256": None})
    except (OSError, ValueError):
        # No file can have such a name, or none may look at it.
        return False


def _describe(path: Path, *, hashed: bool = False) -> FileRecord:
    status = path.stat()
    return FileRecord(
        path=str(path.absolute()),
        bytes=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        sha256=sha256_of(path) if hashed else None,
    )


def _peak_memory() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    # What the system counts for a process begins with what the one that started it held; Linux has its own, too.
    with suppress(OSError, ValueError, IndexError):
        return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes everywhere but on macOS.
    return peak if sys.platform == "darwin" else peak * 1024


def _versions() -> dict[str, str]:
    import rasterio

    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "hadgeo": __version__,
        "python": platform.python_version(),
        "gdal": rasterio.__gdal_version__,
        **libraries,
    }
