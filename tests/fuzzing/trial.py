"""One mutant through one command, in a forked process whose time and memory are bounded, and what came of it."""

from __future__ import annotations

import io
import os
import pickle
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import hadgeo
from hadgeo.detectors.registry import list_detectors
from tests.fuzzing.inputs import JOB, Kind, make_kinds

#: What hadgeo loads when it is first needed; loaded once for all mutants.
_LATE = (
    *(
        "matplotlib.pyplot",
        "matplotlib.backends.backend_agg",
        "jinja2",
        "pyarrow.parquet",
        "pyogrio.raw",
        "zarr",
        "h5py",
    ),
    *("sklearn.ensemble", "scipy.stats", "scipy.ndimage", "scipy.optimize", "rich.progress", "rich.live", "dask.utils"),
    *("xarray", "pyproj", "psutil", "shapely", "torch._dynamo"),
)

#: Most seconds of a processor, and bytes beyond what the libraries take, that a small input may cost.
MOST_SECONDS, MOST_BYTES = 10.0, 10**9

#: What no terminal shall be sent: all control characters but those that begin a new line, and marks of direction.
_RAW = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_UNEXPECTED = re.compile(r"unexpected \w+: |unexpected, beyond|Traceback \(most recent")

#: How an error begins; of a batch, that of each line that failed.
_ERROR = re.compile(r'hadgeo: error: |\{"type": "error"|\S.*: failed: ')

#: Longest sound line of an error.
_MOST_CHARACTERS = 2500

OUTCOMES = ("success", "HadgeoError", "unexpected", "too slow", "too much memory")


@dataclass(frozen=True)
class Trial:
    """What came of a mutant.

    Attributes:
        outcome: One of `OUTCOMES`.
        told: The end of what the command said, or the traceback.
        command: The command.
        seconds: Processor time.
        memory: Bytes that it took beyond those it began with.
    """

    outcome: str
    told: str
    command: tuple[str, ...]
    seconds: float
    memory: int


def prepare(home: Path) -> list[Kind]:
    """Make the sound inputs in a process of its own, and load everything here.

    Whatever runs threads in this process may hang in those that are forked from it.
    """
    for module in pkgutil.walk_packages(hadgeo.__path__, "hadgeo."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in _LATE:
        import_module(name)
    list_detectors()
    kept = home / "kinds.pickle"
    home.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kept.write_bytes(pickle.dumps(make_kinds(home / "sound")))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("the sound inputs cannot be made")
    kinds: list[Kind] = pickle.loads(kept.read_bytes())
    return kinds


def try_mutants(kind: Kind, seeds: Sequence[int], folder: Path) -> Iterator[Trial]:
    """Write mutants with the sound files around them into a folder, one in the place of the other, and run a command.

    Many share a process, as long as it lives: a fork costs more than most commands.

    Args:
        kind: What is spoiled.
        seeds: How, one number for each; a negative one leaves all as it is and takes the command of that number.
        folder: Where.
    """
    left = list(seeds)
    while left:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _serve(kind, left, folder, writing)
        os.close(writing)
        with open(reading, "rb") as told:  # noqa: PTH123 - it is no path
            results = [pickle.loads(bytes.fromhex(line.decode())) for line in told.read().splitlines()]
        _, status = os.waitpid(child, 0)
        yield from results
        del left[: len(results)]
        if left and os.WIFSIGNALED(status):
            slow = os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM)
            words = f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
            yield Trial("too slow" if slow else "unexpected", words, _command_of(kind, left[0])[1], 0.0, 0)
            del left[0]


def _command_of(kind: Kind, seed: int) -> tuple[random.Random, tuple[str, ...]]:
    rng = random.Random(seed)
    return rng, kind.commands[-1 - seed] if seed < 0 else rng.choice(kind.commands)


def _serve(kind: Kind, seeds: Sequence[int], folder: Path, writing: int) -> None:
    """What the child does."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Rather an error here than a machine without memory.
        most = 1024 * int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) + 4 * MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        nowhere = os.open("/dev/null", os.O_RDWR)
        # What libraries of C print is nobody's concern here.
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        for seed in seeds:
            os.chdir(folder.parent)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(kind.folder, folder)
            os.chdir(folder)
            rng, command = _command_of(kind, seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if seed >= 0:
                    kind.spoil(rng, folder / kind.file)
            signal.alarm(90)
            signal.setitimer(signal.ITIMER_PROF, 2 * MOST_SECONDS)
            result = _try(command)
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(writing, pickle.dumps(result).hex().encode() + b"\n")
    except BaseException:
        trial = Trial("unexpected", f"beyond the command: {traceback.format_exc()}", ("?",), 0.0, 0)
        os.write(writing, pickle.dumps(trial).hex().encode() + b"\n")
    finally:
        os._exit(0)


def _try(command: tuple[str, ...]) -> Trial:
    text = io.StringIO()
    before, began = _memory(forget=True), time.process_time()
    try:
        with redirect_stdout(text), redirect_stderr(text):
            code = _answer(command)
    except BaseException:
        code = 70
        text.write(f"\nunexpected, beyond the command line: {traceback.format_exc()}")
    seconds = time.process_time() - began
    memory = max(0, _memory() - before)
    told = text.getvalue()
    return Trial(_judge(code, told, seconds, memory), told[-5000:], command, seconds, memory)


def _memory(*, forget: bool = False) -> int:
    """Most bytes that this process has held so far, or since it was asked to forget, where Linux tells that."""
    try:
        if forget:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except OSError:
        return 0


def _answer(command: tuple[str, ...]) -> int:
    if command[0] == JOB:
        return _work(Path(command[1]))
    from hadgeo.cli import cli

    try:
        cli.main(args=list(command), prog_name="hadgeo", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _work(job: Path) -> int:
    import threading

    from hadgeo.worker import JobProgress, serve

    return serve(_job_reader(job), JobProgress(sys.stdout, threading.Event()))


def _job_reader(job: Path) -> Callable[[], str]:
    from hadgeo import worker

    return lambda: worker.read_job(job)


def _judge(code: int, told: str, seconds: float, memory: int) -> str:
    if seconds > MOST_SECONDS:
        return "too slow"
    if memory > MOST_BYTES or "not enough memory" in told:
        return "too much memory"
    if _UNEXPECTED.search(told) or code not in (0, 1, 2) or _RAW.search(told):
        return "unexpected"
    if code:
        lines = [line for line in told.splitlines() if _ERROR.match(line)]
        whole = lines and (len(lines) == 1 or "failed" in lines[0]) and max(map(len, lines)) <= _MOST_CHARACTERS
        return "HadgeoError" if whole else "unexpected"
    return "success"
