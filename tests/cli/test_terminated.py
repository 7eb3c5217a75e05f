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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_module_is_loaded_to_its_end_before_a_run_stops(tmp_path: Path) -> None:
    """Machine code that runs while a module is loaded may end the process over an exception."""
    (tmp_path / "outer.py").write_text("import inner\nprint('loaded', flush=True)\n")
    (tmp_path / "inner.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.1)\n"
    )
    (tmp_path / "run.py").write_text(
        "import signal, threading\n"
        "from hadgeo.interrupt import Interrupt\n"
        "signal.signal(signal.SIGTERM, Interrupt())\n"
        "try:\n"
        "    import outer\n"
        # Nothing but a signal to this very thread ends such a wait.
        "    threading.Event().wait(60)\n"
        "    print('not stopped')\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    begin = time.monotonic()
    run = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (run.stdout, run.stderr) == ("loaded\nstopped\n", "")
    assert time.monotonic() - begin < 30
