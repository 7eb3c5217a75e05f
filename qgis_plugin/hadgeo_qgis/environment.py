"""Makes the backend's own Python environment. Neither Qt nor QGIS is imported here, so plain Python can test it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from .backend import BackendError, Child, Listener

#: The oldest Python that hadgeo runs on, and the newest that is looked for by name.
OLDEST, NEWEST = (3, 11), (3, 14)

#: What is installed; the extras read MATLAB 7.3, write polygons and draw reports.
PACKAGE = "hadgeo[hdf5,report,vector]"

#: Overrides `PACKAGE`: another version, a wheel or a folder.
VARIABLE = "HADGEO_PACKAGE"

#: The build of torch that each choice asks for; the package index decides about "any".
TORCH = {"any": None, "cpu": "torch==2.13.0+cpu", "cuda": "torch==2.13.0"}


def default_package() -> str:
    """What is installed unless the user says otherwise."""
    return os.environ.get(VARIABLE, "").strip() or PACKAGE


def find_python(asked: str = "") -> str:
    """Find a Python that is new enough to make the environment with.

    Args:
        asked: The user's own choice; searched for where it is empty.

    Raises:
        BackendError: There is none.
    """
    wanted = ".".join(map(str, OLDEST))
    for candidate in [asked] if asked else _candidates():
        version = _version(candidate)
        if version >= OLDEST:
            return candidate
        if asked:
            found = f"is Python {'.'.join(map(str, version))}" if version else "is not an executable Python"
            raise BackendError(f"{asked} {found}: choose version {wanted} or newer")
    raise BackendError(
        f"no Python {wanted} or newer was found: install one from your system's packages or from python.org, "
        "and choose it under 'Python to start from'"
    )


def _candidates() -> list[str]:
    """Interpreters of this machine, newest names first. Inside QGIS `sys.executable` is QGIS itself, so it is none."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] + ["python3", "python"]
    found = [shutil.which(name) for name in names]
    # Where QGIS brings a Python of its own, as on Windows and macOS.
    base = Path(sys.base_exec_prefix)
    found += [str(base / name) for name in ("python3.exe", "python.exe", "bin/python3") if (base / name).is_file()]
    return list(dict.fromkeys(path for path in found if path))


def _version(python: str) -> tuple[int, ...]:
    """An interpreter's version; empty where it is none."""
    program = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    said = []
    try:
        with tempfile.TemporaryDirectory() as folder, Child([python, "-I", "-c", program], folder) as child:
            said = [line for name, line in child.lines(lambda: False) if name == "out"]
    except BackendError:
        return ()
    words = said[0].split() if len(said) == 1 else []
    return tuple(int(word) for word in words) if all(word.isdigit() for word in words) else ()


def set_up(
    folder: Path,
    interpreter: Path,
    listener: Listener,
    *,
    python: str = "",
    package: str = "",
    torch: str = "any",
    index: str = "",
) -> None:
    """Make the environment, or renew what is in it.

    Args:
        folder: Where it stands. A new one is removed again where anything fails or the user cancels.
        interpreter: The environment's interpreter, within `folder`.
        listener: Hears of progress and may cancel.
        python: The interpreter to start from; searched for where it is empty.
        package: A requirement that pip understands: a name with or without version, a wheel, a folder.
        torch: "any", "cpu" or "cuda".
        index: Address of a further package index, such as one that holds the wanted build of torch.

    Raises:
        BackendError: There is no Python to start from, or pip failed; one line.
        BackendStopped: The user cancelled.
    """
    existed = interpreter.is_file()
    base = find_python(python)
    listener.log(f"Python to start from: {base}")
    wanted = [requirement for requirement in (TORCH[torch], package or default_package()) if requirement]
    pip = [str(interpreter), "-I", "-m", "pip", "install", "--upgrade", "--no-input", "--disable-pip-version-check"]
    options = ["--extra-index-url", index] if index else []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        listener.progress("environment", 0, 0)
        _call([base, "-I", "-m", "venv", str(folder)], listener)
        listener.progress("install", 0, 0)
        _call([*pip, *options, *wanted], _PipProgress(listener))
    except BaseException:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


class _PipProgress(Listener):
    """Counts the packages that pip collects, of which there are some forty."""

    expected = 40

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._collected = 0

    def console(self, text: str) -> None:
        """Move by a step a package."""
        self._listener.console(text)
        if text.startswith("Collecting"):
            self._collected = min(self._collected + 1, self.expected)
        self._listener.progress("install", 100 * self._collected / (self.expected + 10), 0)

    def cancelled(self) -> bool:
        """Whether the user pressed Cancel."""
        return self._listener.cancelled()


def _call(command: list[str], listener: Listener) -> None:
    """Run a program to its end.

    Raises:
        BackendError: It failed; the message is the last error that it printed.
    """
    said = []
    with tempfile.TemporaryDirectory(prefix="hadgeo-") as folder, Child(command, folder) as child:
        for _, line in child.lines(listener.cancelled):
            listener.console(line)
            said.append(line)
        status = child.wait()
    if status != 0:
        errors = [line for line in said if line.startswith(("ERROR:", "Error:"))] or [x for x in said if x.strip()]
        reason = errors[-1].partition(":")[2].strip() or errors[-1] if errors else f"status {status}"
        raise BackendError(f"the backend was not set up: {reason}")
