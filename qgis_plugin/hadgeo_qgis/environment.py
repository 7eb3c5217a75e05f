"""Makes the backend's own Python environment. Neither Qt nor QGIS is imported here, so plain Python can test it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import failures, packages
from .backend import BackendError, Child, Listener
from .packages import default_package
from .pythons import FETCHED, OLDEST_FOR_PIP, NoPython, find_python, how_to_get, version_of

__all__ = ["default_package", "find_python", "set_up"]

#: How pip is called: what is compiled on a user's machine fails there, and what was downloaded is needed once.
_INSTALL = (
    "install",
    "--no-input",
    "--disable-pip-version-check",
    "--only-binary",
    ":all:",
    "--no-cache-dir",
    "--retries",
    "2",
)


def set_up(
    folder: Path,
    interpreter: Path,
    listener: Listener,
    *,
    python: str = "",
    package: str = "",
    torch: str = "",
    index: str = "",
    wheels: str = "",
    connection: dict[str, str] | None = None,
) -> None:
    """Make the environment, or renew what is in it.

    Args:
        folder: Where it stands. A new one is removed again where anything fails or the user cancels.
        interpreter: The environment's interpreter, within `folder`.
        listener: Hears of progress and may cancel.
        python: The interpreter to start from; searched for where it is empty, and fetched where there is none.
        package: hadgeo as a name with or without version, a wheel, or a folder; the carried wheel where it is empty.
        torch: "auto", "cpu" or "cuda"; where it is empty, torch is installed only if the package asks for it.
        index: Address of a further package index, such as one that holds the wanted build of torch.
        wheels: A folder of wheels from which alone everything is installed, without a network.
        connection: Environment variables that say how the network is reached.

    Raises:
        BackendError: There is no Python to start from, or something failed; one line that names the cause.
        BackendStopped: The user cancelled.
    """
    build = ""
    if torch:
        build, why = packages.build_of_torch(torch)
        listener.log(f"Build of torch: {build}, {why}")
    sources = _sources(index, wheels)
    package = _existing(package or default_package())
    fresh = not _runs(interpreter)
    existed = interpreter.is_file()
    workshop = Workshop(folder, interpreter, listener, sources, connection or {}, offline=bool(wheels))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if build and fresh:
            listener.log(f"This takes {packages.costs(build, offline=bool(wheels))}, in {folder}")
            workshop.check_space(packages.COSTS[build][1])
        with workshop:
            listener.progress("environment", 0, 0)
            if fresh or (python and version_of(python) != version_of(str(interpreter))):
                workshop.make_environment(workshop.python(python))
            listener.progress("install", 0, 0)
            workshop.install(package, build)
    except OSError as error:
        _remove_new(folder, existed)
        raise BackendError(f"the backend was not set up: {failures.reason([str(error)], 1, str(folder))}") from None
    except BaseException:
        _remove_new(folder, existed)
        raise


def _remove_new(folder: Path, existed: bool) -> None:
    if not existed:
        shutil.rmtree(folder, ignore_errors=True)


def _runs(interpreter: Path) -> bool:
    """Whether there is an environment whose Python is still on this machine."""
    return interpreter.is_file() and bool(version_of(str(interpreter)))


def _sources(index: str, wheels: str) -> list[str]:
    if not wheels:
        return ["--extra-index-url", index] if index else []
    place = Path(wheels).expanduser()
    if not any(place.glob("*.whl")):
        raise BackendError(
            f"the backend was not set up: {wheels} holds no wheels: choose the folder that `make offline-bundle` "
            "has filled"
        )
    return ["--no-index", "--find-links", str(place.resolve())]


def _existing(package: str) -> str:
    place = Path(package).expanduser()
    is_path = "://" not in package and (package.endswith(".whl") or "/" in package or os.sep in package)
    if is_path and not place.exists():
        raise BackendError(f"the backend was not set up: {package} does not exist")
    return str(place.resolve()) if is_path else package


@dataclass
class Workshop:
    """Programs that make an environment: venv, pip and uv. Use it as a context manager.

    Attributes:
        folder: The environment's folder.
        interpreter: The environment's interpreter.
        listener: Hears what they print and may cancel.
        sources: Options of pip that say where packages come from.
        connection: Environment variables that say how the network is reached.
        offline: Whether nothing may be fetched.
    """

    folder: Path
    interpreter: Path
    listener: Listener
    sources: list[str]
    connection: dict[str, str]
    offline: bool = False
    _temporary: str = field(default="", init=False)

    def __enter__(self) -> Workshop:
        # Beside the environment, so that there is one disk to have space on.
        self._temporary = tempfile.mkdtemp(prefix="temporary-", dir=self.folder.parent)
        return self

    def __exit__(self, *_exception) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def check_space(self, gigabytes: float) -> None:
        """Refuse a disk that is too small before anything is downloaded.

        Raises:
            BackendError: It is.
        """
        free = shutil.disk_usage(self.folder.parent).free / 1e9
        if free < gigabytes:
            raise BackendError(
                f"the backend was not set up: Disk: {self.folder.parent} has {free:.1f} GB left, and {gigabytes:g} GB "
                "are needed: free some, and run 'Set up the backend' again"
            )

    def python(self, asked: str) -> str:
        """A Python to start from: the user's choice, one of this machine, or one that is fetched."""
        try:
            found = find_python(asked)
        except NoPython as missing:
            if self.offline:
                raise BackendError(f"{missing}; without a network none can be fetched") from None
            found = self._fetched_python()
        self.listener.log(f"Python to start from: {found}")
        return found

    def _fetched_python(self) -> str:
        """Fetch a Python with uv, which any older Python can install."""
        self.listener.log(f"No Python of this machine is new enough: Python {FETCHED} will be fetched (30 MB)")
        place = self.folder.with_name("python")
        home = {"UV_PYTHON_INSTALL_DIR": str(place)}
        try:
            uv = self.uv(find_python(oldest=OLDEST_FOR_PIP))
            words = [uv, "python", "install", "--no-bin", "--managed-python", FETCHED]
            self.call(words, home, what="the place of Python's builds")
            found = self.call([uv, "python", "find", "--no-project", "--managed-python", FETCHED], home)
        except BackendError as error:
            shutil.rmtree(place, ignore_errors=True)
            raise BackendError(
                f"Python: no Python of this machine is 3.11 or newer, and none could be fetched ({error}): "
                f"{how_to_get()}, or choose one under 'Python to start from'"
            ) from None
        return next(line.strip() for line in reversed(found) if line.strip())

    def make_environment(self, base: str) -> None:
        """Make the environment anew, with pip in it."""
        pip = packages.carried("pip")
        # Debian's Python comes without what venv takes pip from.
        self.call([base, "-I", "-m", "venv", "--clear", *(["--without-pip"] if pip else []), str(self.folder)])
        if pip:
            self.call([str(self.interpreter), "-I", f"{pip}/pip", *_INSTALL, "--no-index", str(pip)])

    def install(self, package: str, build: str) -> None:
        """Install hadgeo and the build of torch, or renew them.

        Args:
            package: A requirement of pip.
            build: "cpu" or "cuda"; empty for none but what the package asks for.
        """
        progress, before = _PipProgress(self.listener), _version_in(self.interpreter, "hadgeo")
        pip = [str(self.interpreter), "-I", "-m", "pip"]
        torch = [packages.torch_requirement(build)] if build else []
        if build == "cuda":
            self._install_cuda(progress, pip)
        bound = self._bound_of_torch(build)
        words = [*pip, *_INSTALL, *self.sources, *bound, "--upgrade", *torch, packages.with_extras(package)]
        try:
            self.call(words, listener=progress)
        except _NotFound as missing:
            if not torch or missing.name != torch[0] or self.offline or build != "cpu":
                raise
            # The package index has no builds for CPUs, and uv knows where torch has its own.
            self.torch_by_uv("cpu", progress)
            self.call(words, listener=progress)
        if before and Path(package).is_file():
            # pip leaves what has the same version, such as the hadgeo of an earlier plugin.
            self.call([*pip, *_INSTALL, "--no-index", "--no-deps", "--force-reinstall", package])

    def _bound_of_torch(self, build: str) -> list[str]:
        """Options of pip that keep the build for CUDA from machines without a GPU for it, whoever asks for torch."""
        file = Path(self._temporary) / "constraints.txt"
        file.write_text(
            packages.torch_requirement(build or packages.build_of_torch("auto")[0]) + "\n", encoding="utf-8"
        )
        return ["--constraint", str(file)]

    def _install_cuda(self, progress: Listener, pip: list[str]) -> None:
        """Install the build of torch that suits the driver, where pip has no better word."""
        if _version_in(self.interpreter, "torch").endswith("+cpu"):
            # It would pass for the version that is wanted.
            self.call([*pip, "uninstall", "--yes", "torch"])
        if self.sources or _version_in(self.interpreter, "torch").startswith(packages.TORCH_VERSION):
            return
        try:
            self.torch_by_uv("auto", progress)
        except BackendError as error:
            if not sys.platform.startswith("linux"):
                raise
            # The package index has one for a recent driver.
            self.listener.log(f"The build for this driver is not to be had ({error}); taking that of the package index")

    def torch_by_uv(self, backend: str, progress: Listener) -> None:
        """Install torch from where its project keeps the builds.

        Args:
            backend: "cpu", or "auto" for what suits the driver of the machine.
            progress: Hears of it.
        """
        uv = self.uv(str(self.interpreter))
        words = ["pip", "install", "--no-cache", "--python", str(self.interpreter), "--torch-backend", backend]
        asked = f"torch=={packages.TORCH_VERSION}"
        self.call([uv, *words, asked], listener=progress, what="the index of torch's own builds")

    def uv(self, python: str) -> str:
        """Fetch uv from the package index, for as long as the set-up lasts.

        Args:
            python: An interpreter that runs pip.
        """
        place = Path(self._temporary) / "uv"
        pip = packages.carried("pip")
        words = [python, "-I", *([f"{pip}/pip"] if pip else ["-m", "pip"]), *_INSTALL, *self.sources]
        if not place.is_dir():
            self.call([*words, "--target", str(place), "uv"])
        return next(str(path) for path in place.glob("*/uv*") if path.name in ("uv", "uv.exe"))

    def call(self, command, variables=None, listener=None, what="the package index") -> list[str]:
        """Run a program to its end.

        Args:
            command: The program and its arguments.
            variables: Further environment variables.
            listener: Hears what it prints, where not the workshop's own.
            what: What it asks for packages, in words.

        Returns:
            What it printed.

        Raises:
            BackendError: It failed; the message is one line that names the cause.
            BackendStopped: The user cancelled.
        """
        listener, said = listener or self.listener, []
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._temporary)
        # A user's configuration may say where else pip installs, which an environment does not bear.
        around = {**self.connection, **temporary, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", **(variables or {})}
        with Child(command, self._temporary, around) as child:
            for _, line in child.lines(listener.cancelled):
                listener.console(failures.without_secrets(line))
                said.append(line)
            status = child.wait()
        if status == 0:
            return said
        where = ""
        with suppress(OSError):
            free = shutil.disk_usage(self.folder.parent).free / 1e6
            where = f"{free:.0f} MB are left for {self.folder.parent}"
        message = f"the backend was not set up: {failures.reason(said, status, where, what)}"
        name = failures.not_found(said)
        raise _NotFound(message, name) if name else BackendError(message)


class _NotFound(BackendError):
    """An index was reached and has nothing that suits a requirement."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def _version_in(interpreter: Path, package: str) -> str:
    """The version of a package in an environment; empty where it has none."""
    program = f"from importlib.metadata import version; print(version('{package}'))"
    with tempfile.TemporaryDirectory() as folder, Child([str(interpreter), "-I", "-c", program], folder) as child:
        said = [line for name, line in child.lines(lambda: False) if name == "out"]
    return said[0].strip() if said else ""


class _PipProgress(Listener):
    """Counts the packages that pip collects, of which there are some fifty."""

    expected = 50

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
