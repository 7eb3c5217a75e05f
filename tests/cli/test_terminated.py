"""A run that is terminated while libraries are loaded, or later, ends at once and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hadgeo

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")


def test_a_run_terminated_at_any_moment_of_its_start_ends_at_once(tmp_path: Path) -> None:
    hadgeo.simulate(tmp_path / "line.img", rows=60, cols=50, bands=12, targets=4, seed=1)
    before = sorted(path.name for path in tmp_path.iterdir())
    command = [sys.executable, "-m", "hadgeo", "detect", "line.img", "-d", "rx", "-o", "map.tif"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    statuses = []
    for moment in range(12):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(0.05 + 0.15 * moment)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        if process.returncode == 0 or stderr.startswith("device:"):
            # It was quicker than the signal: what it leaves from here on can be resumed.
            break
        statuses.append(process.returncode)
        assert time.monotonic() - begin < 20
        # Python itself is loaded before anybody can say anything.
        said = (
            "" if process.returncode == -signal.SIGTERM else "hadgeo: stopped; no unfinished files were left behind\n"
        )
        assert stderr == said
        assert process.returncode in (130, -signal.SIGTERM)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert 130 in statuses


def said_when_stopped(folder: Path, run: str, **modules: str) -> str:
    """What a program says that is run in a folder with some modules, and ends long before it would by itself.

    Modules may call `signals.terminate`.
    """
    (folder / "signals.py").write_text(
        "import os, signal\ndef terminate():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    for name, text in {**modules, "run": run}.items():
        (folder / f"{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert time.monotonic() - begin < 30
    assert done.stderr == ""
    return done.stdout


#: A program that can be stopped, and tells.
PROGRAM = """
import signal, threading
from hadgeo.interrupt import Interrupt

def main():
    interrupt = Interrupt()
    interrupt.patience = {patience}
    signal.signal(signal.SIGTERM, interrupt)
    try:
        {work}
        # Nothing but a signal to this very thread ends such a wait.
        threading.Event().wait(60)
        print("not stopped")
    except KeyboardInterrupt:
        print("stopped")
"""


def test_a_module_is_loaded_to_its_end_before_a_run_stops(tmp_path: Path) -> None:
    """Machine code that runs while a module is loaded may end the process over an exception."""
    said = said_when_stopped(
        tmp_path,
        PROGRAM.format(patience=30, work="import outer") + "\nmain()\n",
        outer="import inner\nprint('loaded', flush=True)\n",
        # Many signals, as of somebody who loses patience.
        inner="import time, signals\nfor _ in range(2000):\n    signals.terminate()\ntime.sleep(0.1)\n",
    )
    assert said == "loaded\nstopped\n"


def test_a_module_that_is_never_loaded_does_not_keep_a_run_from_stopping(tmp_path: Path) -> None:
    said = said_when_stopped(
        tmp_path,
        PROGRAM.format(patience=0.5, work="import endless") + "\nmain()\n",
        endless="import time, signals\nsignals.terminate()\ntime.sleep(60)\n",
    )
    assert said == "stopped\n"


def test_a_program_that_is_itself_being_loaded_stops_at_once(tmp_path: Path) -> None:
    said = said_when_stopped(
        tmp_path,
        "import launch\n",
        launch=PROGRAM.format(patience=50, work="import signals; signals.terminate()") + "\nmain()\n",
    )
    assert said == "stopped\n"
