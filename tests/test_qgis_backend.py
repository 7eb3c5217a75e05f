"""The part of the QGIS plugin that needs no QGIS: it runs the backend, and makes the backend's environment."""

from __future__ import annotations

import site
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import hadgeo

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "qgis_plugin"))
from hadgeo_qgis import backend, environment, installed  # noqa: E402

sys.path.pop(0)


class Ear(backend.Listener):
    """Remembers what it heard, and cancels when told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.logged: list[tuple[str, bool]] = []
        self.printed: list[str] = []
        self.stop = threading.Event()

    def progress(self, stage: str, percent: float, seconds: float) -> None:
        self.heard.append((stage, percent))

    def log(self, message: str, warning: bool = False) -> None:
        self.logged.append((message, warning))

    def console(self, text: str) -> None:
        self.printed.append(text)

    def cancelled(self) -> bool:
        return self.stop.is_set()


def environment_with(folder: Path, *paths: Path | str) -> str:
    """Make a virtual environment that finds packages in some folders, and give its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text("".join(f"{path}\n" for path in paths))
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has this hadgeo even in isolated mode, in a folder of an awkward name."""
    folder = tmp_path_factory.mktemp("backend") / "Grüße an alle"
    return environment_with(folder, ROOT, *site.getsitepackages())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "line.tif"
    hadgeo.simulate(path, rows=40, cols=30, bands=12, targets=2)
    return path


def worker_package(folder: Path, text: str) -> Path:
    """Write a package hadgeo of another time."""
    (folder / "hadgeo").mkdir(parents=True)
    (folder / "hadgeo" / "__init__.py").touch()
    (folder / "hadgeo" / "worker.py").write_text(text)
    return folder


def test_a_job_runs_and_is_heard(python: str, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What QGIS sets for its own Python, GDAL and PROJ; each of it would break the backend.
    for name in ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA"):
        monkeypatch.setenv(name, str(tmp_path))
    ear = Ear()
    (result,) = backend.run(
        python, "detect", {"scenes": [str(scene)], "detector": "rx", "output": str(tmp_path / "x.tif")}, ear
    )
    assert result["map"] == str(tmp_path / "x.tif")
    assert ("score", 100.0) in ear.heard
    assert any(text.startswith("device: cpu") for text, _ in ear.logged)


def test_a_refusal_is_the_backends_own_line(python: str, tmp_path: Path) -> None:
    with pytest.raises(backend.BackendError, match=r"missing\.tif: no such file"):
        backend.run(python, "detect", {"scenes": [str(tmp_path / "missing.tif")]}, Ear())


def test_cancel_ends_the_child_long_before_its_work_is_done(python: str, scene: Path, tmp_path: Path) -> None:
    ear = Ear()
    began: list[float] = []

    def stop() -> None:
        while not any(stage == "fit" for stage, _ in ear.heard):
            time.sleep(0.05)
        began.append(time.monotonic())
        ear.stop.set()

    threading.Thread(target=stop, daemon=True).start()
    long = {"detector": "bs3lnet", "parameter": {"steps": 1_000_000}}
    arguments = {"scenes": [str(scene)], "output": str(tmp_path / "x.tif"), **long}
    with pytest.raises(backend.BackendStopped):
        backend.run(python, "detect", arguments, ear)
    assert time.monotonic() - began[0] < 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_child_that_does_not_listen_is_ended_with_its_own_children(deaf: str, tmp_path: Path) -> None:
    program = (
        f"import signal, subprocess, sys, time; {deaf}\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with backend.Child([sys.executable, "-c", program], str(tmp_path)) as child:
        _, line = next(child.lines(lambda: False))
        begin = time.monotonic()
        child.stop()
    assert time.monotonic() - begin < 20
    while alive(int(line)):
        assert time.monotonic() - begin < 40
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that merely waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_no_backend_is_said(tmp_path: Path) -> None:
    with pytest.raises(backend.BackendError, match="cannot be started: No such file"):
        backend.run(str(tmp_path / "python"), "versions", {}, Ear())
    with pytest.raises(backend.BackendError, match="/bin/false does not start the backend"):
        backend.run("/bin/false", "versions", {}, Ear())
    bare = environment_with(tmp_path / "bare")
    with pytest.raises(backend.BackendError, match=r"has no hadgeo: run 'Set up the backend'"):
        backend.run(bare, "versions", {}, Ear())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            'print(\'{"type": "hello", "protocol": 0, "version": "0.0"}\')',
            r"0\.0 speaks version 0.*the backend.*too old",
        ),
        ('print(\'{"type": "hello", "protocol": 9, "version": "9.0"}\')', r"speaks version 9.*the plugin is too old"),
        ('print(\'{"type": "hello", "protocol": 1, "version": "1"}\'); raise SystemExit(3)', "ended with status 3"),
        (
            'import os; print(\'{"type": "hello", "protocol": 1}\', flush=True); os.kill(os.getpid(), 9)',
            "ended by signal 9; too little memory",
        ),
        ("import torch_of_another_kind", "does not start the backend.*torch_of_another_kind"),
    ],
)
def test_a_backend_of_another_time_or_that_dies_is_said(program: str, message: str, tmp_path: Path) -> None:
    python = environment_with(tmp_path / "venv", worker_package(tmp_path / "packages", program))
    with pytest.raises(backend.BackendError, match=message):
        backend.run(python, "versions", {}, Ear())


def test_nothing_is_left_open(python: str) -> None:
    before = threading.active_count()
    backend.run(python, "detectors", {"json": True}, Ear())
    assert threading.active_count() == before


@pytest.fixture
def fake_python(tmp_path: Path) -> Callable[[str], str]:
    def make(says: str) -> str:
        file = tmp_path / f"python-{says.replace(' ', '')}"
        file.write_text(f"#!/bin/sh\necho {says}\n")
        file.chmod(0o755)
        return str(file)

    return make


def test_a_python_to_start_from_is_found_and_checked(fake_python: Callable[[str], str], tmp_path: Path) -> None:
    assert environment.find_python(sys.executable) == sys.executable
    assert Path(environment.find_python()).is_file()
    with pytest.raises(backend.BackendError, match=r"is Python 3\.9: choose version 3\.11 or newer"):
        environment.find_python(fake_python("3 9"))
    with pytest.raises(backend.BackendError, match="is not an executable Python"):
        environment.find_python(fake_python("hello"))
    with pytest.raises(backend.BackendError, match="is not an executable Python"):
        environment.find_python(str(tmp_path / "nothing"))


def wheel(folder: Path) -> str:
    """A wheel of a package hadgeo without any dependency, as pip installs it without an index."""
    path = folder / "hadgeo-9.0-py3-none-any.whl"
    info = "hadgeo-9.0.dist-info"
    files = {
        "hadgeo/__init__.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hadgeo\nVersion: 9.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return str(path)


def test_an_environment_is_made_renewed_and_kept_where_renewing_fails(tmp_path: Path) -> None:
    folder = tmp_path / "größer als" / "backend"
    interpreter = folder / "bin" / "python"
    ear = Ear()
    environment.set_up(folder, interpreter, ear, python=sys.executable, package=wheel(tmp_path))
    found = subprocess.run([str(interpreter), "-I", "-c", "import hadgeo; print(hadgeo.__file__)"], capture_output=True)
    assert str(folder).encode() in found.stdout
    assert {stage for stage, _ in ear.heard} == {"environment", "install"}
    with pytest.raises(backend.BackendError, match=r"was not set up: .*nothing\.whl"):
        environment.set_up(folder, interpreter, ear, python=sys.executable, package=str(tmp_path / "nothing.whl"))
    assert interpreter.is_file()


def test_a_new_environment_that_fails_or_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "backend"
    with pytest.raises(backend.BackendError, match=r"nothing\.whl"):
        environment.set_up(
            folder, folder / "bin" / "python", Ear(), python=sys.executable, package=str(tmp_path / "nothing.whl")
        )
    assert not folder.exists()
    ear = Ear()
    ear.stop.set()
    with pytest.raises(backend.BackendStopped):
        environment.set_up(folder, folder / "bin" / "python", ear, python=sys.executable, package=wheel(tmp_path))
    assert not folder.exists()


def test_a_backend_is_asked_for_its_detectors_and_again_when_something_was_installed(tmp_path: Path) -> None:
    python = environment_with(tmp_path / "backend", ROOT, *site.getsitepackages())
    file = tmp_path / "profile" / "detectors.json"
    assert installed.remembered(file, python) is None
    found = installed.ask(file, python)
    assert found is not None
    assert {"bs3lnet", "rx", "scoread"} <= set(found)
    assert found["rx"]["parameters"]["shrinkage"]["basic"]
    assert installed.remembered(file, python) == found
    assert installed.remembered(file, sys.executable) is None
    (packages,) = (tmp_path / "backend").glob("lib/python*/site-packages")
    info = packages / "hadgeo_example-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hadgeo-example\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[hadgeo.detectors]\nlocal-angle = hadgeo_example.local_angle:LocalAngle\n")
    (packages / "example.pth").write_text(f"{ROOT / 'examples' / 'extension'}\n")
    assert installed.remembered(file, python) is None
    again = installed.ask(file, python)
    assert again is not None
    assert again["local-angle"]["title"] == "Angle to the local mean spectrum"


def test_no_backend_and_no_answer_are_no_detectors(tmp_path: Path) -> None:
    file = tmp_path / "detectors.json"
    assert installed.ask(file, str(tmp_path / "nothing")) is None
    assert installed.ask(file, environment_with(tmp_path / "bare")) is None
    assert not file.exists()
    file.write_text("[]")
    assert installed.remembered(file, sys.executable) is None
