"""Runs the hadgeo backend as a child process and listens to its JSON lines; see docs/worker-protocol.md.

Neither Qt nor QGIS is imported here, so plain Python can test it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess  # nosec B404: a child process is what this module is for
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

#: Version of the protocol that this plugin speaks.
PROTOCOL = 1

#: Seconds that a child has to end after its input was closed, and after it was asked to terminate.
GRACE, LAST_GRACE = 1.3, 0.3

#: Seconds between two questions whether the user has cancelled.
POLL = 0.1

#: What QGIS sets for its own Python, GDAL, PROJ and Qt would break the backend's.
_FOREIGN = {
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "GDAL_PLUGIN_PATH",
    "GISBASE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OSGEO4W_ROOT",
    "PROJ_DATA",
    "PROJ_LIB",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "QT_PLUGIN_PATH",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
}


class BackendError(Exception):
    """The backend refused its input or failed; the message is one line for the user."""


class BackendStopped(Exception):
    """The user stopped the run."""


class Listener:
    """What a caller wants to hear of a run; override what is of interest."""

    def progress(self, stage: str, percent: float, seconds: float) -> None:
        """A stage is so far, after so many seconds in it."""

    def log(self, message: str, warning: bool = False) -> None:
        """The backend has something to say."""

    def console(self, text: str) -> None:
        """A line that the child, or a library in it, printed."""

    def cancelled(self) -> bool:
        """Whether the user wants the run to stop."""
        return False


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """An environment without what QGIS sets for itself."""
    return {k: v for k, v in environment.items() if k not in _FOREIGN and not k.startswith("DYLD_")}


class Child:
    """A child process in a group of its own, read line by line. Use it as a context manager.

    Args:
        command: The program and its arguments.
        folder: Its working directory.
        variables: Environment variables besides those of QGIS that do no harm.
    """

    def __init__(self, command: list[str], folder: str, variables: dict[str, str] | None = None) -> None:
        if os.name == "nt":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        else:
            apart = {"start_new_session": True}
        try:
            self._process = subprocess.Popen(  # nosec B603: no shell; the interpreter is the user's own choice
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**clean_environment(dict(os.environ)), **(variables or {})},
                encoding="utf-8",
                errors="replace",
                **apart,
            )
        except OSError as error:
            raise BackendError(f"{command[0]} cannot be started: {error.strerror or error}") from None
        self._lines = queue.Queue()
        pipes = {"out": self._process.stdout, "err": self._process.stderr}
        self._readers = [threading.Thread(target=self._read, args=item, daemon=True) for item in pipes.items()]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe) -> None:
        for line in pipe:
            self._lines.put((name, line.rstrip("\r\n")))
        self._lines.put((name, None))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()
        for reader in self._readers:
            # A grandchild that outlived the group could hold a pipe open.
            reader.join(LAST_GRACE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            # Whatever was still to be sent has no reader.
            with suppress(OSError):
                pipe.close()

    def send(self, line: str) -> None:
        """Write a line to the child's input, which stays open."""
        # A child that ended already says why on its output.
        with suppress(OSError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def lines(self, cancelled):
        """Yield ("out" or "err", line) until the child has closed both.

        Raises:
            BackendStopped: `cancelled()` was true, and the child is gone.
        """
        open_pipes = 2
        while open_pipes:
            if cancelled():
                self.stop()
                raise BackendStopped
            try:
                name, line = self._lines.get(timeout=POLL)
            except queue.Empty:
                continue
            if line is None:
                open_pipes -= 1
            else:
                yield name, line

    def rest(self):
        """What a child that was stopped has said and nobody has read yet, as `lines` gives it."""
        for reader in self._readers:
            reader.join(LAST_GRACE)
        while not self._lines.empty():
            name, line = self._lines.get()
            if line is not None:
                yield name, line

    def wait(self) -> int:
        """Exit status of a child that has closed its output."""
        return self._process.wait()

    def stop(self) -> None:
        """End the child: close its input, then terminate its group, then kill it."""
        with suppress(OSError):
            self._process.stdin.close()
        for grace, number in ((GRACE, signal.SIGTERM), (LAST_GRACE, getattr(signal, "SIGKILL", signal.SIGTERM))):
            if self._ended(grace):
                return
            self._signal(number)
        self._process.wait()

    def _ended(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal(self, number: int) -> None:
        # It may end in this very moment.
        with suppress(ProcessLookupError):
            if os.name == "nt":
                self._process.kill()
            else:
                os.killpg(self._process.pid, number)


def run(python: str, command: str, arguments: dict, listener: Listener) -> list[dict]:
    """Run one job in a child process.

    Args:
        python: The interpreter that has hadgeo.
        command: A command of hadgeo's command line, such as "detect".
        arguments: Its arguments by name.
        listener: Hears of progress and may cancel.

    Returns:
        The results that the command handed over.

    Raises:
        BackendError: The job was refused or failed.
        BackendStopped: The listener cancelled.
    """
    job = json.dumps({"protocol": PROTOCOL, "command": command, "arguments": arguments})
    # The child runs in another folder.
    words = [str(Path(python).absolute()), "-I", "-u", "-X", "utf8", "-m", "hadgeo.worker"]
    with tempfile.TemporaryDirectory(prefix="hadgeo-") as folder, Child(words, folder) as child:
        child.send(job)
        conversation = _Conversation(listener)
        try:
            for name, line in child.lines(listener.cancelled):
                conversation.hear(name, line)
            status = child.wait()
        except BackendStopped:
            for name, line in child.rest():
                conversation.hear(name, line)
            conversation.clear()
            raise
    return conversation.end(status, python)


class _Conversation:
    """What one run of the worker has said so far."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._results: list[dict] = []
        self._error = ""
        self._greeted = False
        self._unfinished: set[str] = set()
        self._stray: list[str] = []

    def hear(self, pipe: str, line: str) -> None:
        """Take one line of the child's output."""
        told = _parse(line) if pipe == "out" else None
        if told is None:
            self._stray.append(line)
            self._listener.console(line)
            return
        kind = told.pop("type")
        if kind == "hello":
            self._greet(told)
        elif kind == "progress":
            self._unfinished = set(told.get("unfinished", ()))
            self._listener.progress(told["stage"], float(told["percent"]), float(told.get("seconds", 0)))
        elif kind == "log":
            self._listener.log(told["message"], told.get("level") == "warning")
        elif kind == "result":
            self._results.append(told)
            self._unfinished.clear()
        elif kind == "error":
            self._error = told["message"]

    def _greet(self, told: dict) -> None:
        if told.get("protocol") != PROTOCOL:
            backend_is_older = told.get("protocol", 0) < PROTOCOL
            older = "the backend ('Set up the backend' renews it)" if backend_is_older else "the plugin"
            raise BackendError(
                f"hadgeo {told.get('version')} speaks version {told.get('protocol')} of the protocol and this plugin "
                f"{PROTOCOL}: {older} is too old"
            )
        self._greeted = True

    def clear(self) -> None:
        """Remove what the job has told of as its own and did not finish; another run's is never touched."""
        for path in map(Path, self._unfinished):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    def end(self, status: int, python: str) -> list[dict]:
        """Results, or the error, of a child that has ended."""
        if self._error or status:
            self.clear()
        if self._error:
            raise BackendError(self._error)
        if status == 0 and self._greeted:
            return self._results
        last = next((line for line in reversed(self._stray) if line.strip()), "")
        if "No module named" in last and "hadgeo" in last:
            raise BackendError(f"{python} has no hadgeo: run 'Set up the backend', or choose another interpreter")
        if not self._greeted:
            raise BackendError(f"{python} does not start the backend{f': {last}' if last else ''}")
        if status < 0:
            raise BackendError(
                f"the backend was ended by signal {-status}"
                + ("; too little memory is the usual cause: lower it in the settings" if status == -9 else "")
            )
        raise BackendError(f"the backend ended with status {status}{f': {last}' if last else ''}")


def _parse(line: str):
    """A line of the protocol as a dictionary, or None for anything else."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "type" in told else None


def is_interpreter(path: str) -> bool:
    """Whether a file looks like a Python interpreter that may be run."""
    return bool(path) and Path(path).is_file() and os.access(path, os.X_OK)
