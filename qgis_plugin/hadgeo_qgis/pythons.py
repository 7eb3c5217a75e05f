"""Finds a Python to make the backend's environment with, or fetches one. Neither Qt nor QGIS is imported here."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from .backend import BackendError, Child

#: The oldest Python that hadgeo runs on, and the newest that torch has builds for.
OLDEST, NEWEST = (3, 11), (3, 14)

#: The oldest Python that runs the pip that the plugin carries, which is enough to fetch a newer Python.
OLDEST_FOR_PIP = (3, 9)

#: What is fetched where there is none.
FETCHED = "3.12"


class NoPython(BackendError):
    """No Python of this machine is new enough."""


def find_python(asked: str = "", oldest: tuple = OLDEST, newest: tuple = NEWEST) -> str:
    """Find a Python that is new enough to make the environment with.

    Args:
        asked: The user's own choice; searched for where it is empty.
        oldest: The oldest version that will do.
        newest: The newest that is searched for.

    Raises:
        NoPython: Nothing was found.
        BackendError: The user's own choice will not do.
    """
    wanted = ".".join(map(str, oldest))
    for candidate in [asked] if asked else _candidates():
        version = version_of(candidate)
        if version >= oldest and (asked or version <= newest):
            return candidate
        if asked:
            found = f"is Python {'.'.join(map(str, version))}" if version else "is not an executable Python"
            raise BackendError(f"{asked} {found}: choose version {wanted} or newer")
    raise NoPython(
        f"Python: no Python {wanted} or newer was found: {how_to_get()}, or choose one under 'Python to start from'"
    )


def how_to_get(platform: str = sys.platform, release: Path = Path("/etc/os-release")) -> str:
    """How a person gets a Python on this system.

    Args:
        platform: As `sys.platform` names it.
        release: The file in which a Linux distribution names itself.
    """
    if platform == "win32":
        return "install Python 3.12 (64-bit) from the Microsoft Store or python.org"
    if platform == "darwin":
        return "install Python 3.12 from python.org, or with Homebrew (brew install python@3.12)"
    known = {
        "debian": "sudo apt install",
        "fedora": "sudo dnf install",
        "suse": "sudo zypper install",
        "arch": "sudo pacman -S",
    }
    try:
        named = re.findall(r"^ID(?:_LIKE)?=(.*)$", release.read_text(encoding="utf-8"), flags=re.MULTILINE)
    except OSError:
        named = []
    words = " ".join(named).replace("rhel", "fedora")
    command = next((command for name, command in known.items() if name in words), "")
    package = {"fedora": "python3.12", "suse": "python312", "arch": "python"}
    name = next((package[name] for name in package if name in words), "python3.11")
    return (
        f"install one ({command} {name})" if command else "install one from your system's packages or from python.org"
    )


def _candidates() -> list[str]:
    """Interpreters of this machine, newest names first. Inside QGIS `sys.executable` is QGIS itself, so it is none."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST_FOR_PIP[1] - 1, -1)] + ["python3", "python"]
    found = [path for name in names for path in _on_path(name)]
    # Where QGIS brings a Python of its own, as on Windows and macOS.
    base = Path(sys.base_exec_prefix)
    found += [str(base / name) for name in ("python3.exe", "python.exe", "bin/python3") if (base / name).is_file()]
    # A program that is not started from a terminal knows little of the path.
    places = ["/opt/homebrew/bin", "/usr/local/bin", "/Library/Frameworks/Python.framework/Versions"]
    found += [str(path) for place in places if Path(place).is_dir() for path in _newest_first(Path(place))]
    for variable, below in (("LOCALAPPDATA", "Programs/Python"), ("ProgramFiles", ".")):
        if os.name == "nt" and variable in os.environ:
            found += sorted(map(str, (Path(os.environ[variable]) / below).glob("Python3*/python.exe")), reverse=True)
    return list(dict.fromkeys(found))


def _on_path(name: str) -> list[str]:
    """Every program of a name on the path: the first may be a wrapper that leads nowhere."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [shutil.which(name, path=folder) for folder in folders if folder]
    return [path for path in found if path]


def _newest_first(place: Path) -> list[Path]:
    found = [*place.glob("python3.[0-9]*"), *place.glob("3.[0-9]*/bin/python3")]
    named = [path for path in found if re.search(r"3\.\d+(/bin/python3)?$", path.as_posix())]
    return sorted(named, key=lambda path: int(re.findall(r"3\.(\d+)", path.as_posix())[-1]), reverse=True)


def version_of(python: str) -> tuple[int, ...]:
    """An interpreter's version; empty where it is none, or one that cannot make an environment for torch."""
    program = "import sys, venv; sys.maxsize > 2**32 and print(*sys.version_info[:2])"
    said = []
    try:
        with tempfile.TemporaryDirectory() as folder, Child([python, "-I", "-c", program], folder) as child:
            said = [line for name, line in child.lines(lambda: False) if name == "out"]
    except BackendError:
        return ()
    words = said[0].split() if len(said) == 1 else []
    return tuple(int(word) for word in words) if all(word.isdigit() for word in words) else ()
