"""A real QGIS without a screen, which pytest-qgis has started, the plugin in it, and a real backend beside it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "qgis_plugin"

#: The interpreter that has hadgeo: that of `make test`, or another.
BACKEND = os.environ.get("HADGEO_TEST_BACKEND", str(ROOT / ".venv" / "bin" / "python"))

#: QGIS with its window.
QGIS = shutil.which("qgis.bin") or shutil.which("qgis")

_home = Path(tempfile.mkdtemp(prefix="hadgeo-qgis-"))
_home.chmod(0o700)
os.environ.update(
    XDG_RUNTIME_DIR=str(_home),
    HADGEO_PYTHON=BACKEND,
    OMP_NUM_THREADS="1",
    OMP_WAIT_POLICY="passive",
)
_prefix = os.environ.get("QGIS_PREFIX_PATH", "/usr")
sys.path[:0] = [str(PLUGINS), f"{_prefix}/share/qgis/python/plugins", f"{_prefix}/share/qgis/python"]

import processing  # noqa: E402
import pytest  # noqa: E402
from processing.core.Processing import Processing  # noqa: E402
from qgis.core import QgsApplication, QgsProcessingFeedback, QgsProject  # noqa: E402


class Log(QgsProcessingFeedback):
    """Feedback that remembers what it was told."""

    def __init__(self):
        super().__init__(False)
        self.lines, self.errors, self.texts, self.percents = [], [], [], []
        self.progressChanged.connect(self.percents.append)

    def pushInfo(self, info):
        self.lines.append(info)

    def pushWarning(self, warning):
        self.lines.append(warning)

    def pushConsoleInfo(self, info):
        self.lines.append(info)

    def reportError(self, error, fatalError=False):
        self.errors.append(error)

    def setProgressText(self, text):
        self.texts.append(text)


@pytest.fixture(scope="session")
def provider(qgis_app):
    """The provider, registered with Processing."""
    from hadgeo_qgis.provider import HadgeoProvider

    Processing.initialize()
    made = HadgeoProvider()
    assert QgsApplication.processingRegistry().addProvider(made)
    yield made
    QgsApplication.processingRegistry().removeProvider(made)


@pytest.fixture
def run(provider):
    """Run an algorithm; fail with its log."""

    def call(name, feedback=None, **parameters):
        return processing.run(f"hadgeo:{name}", parameters, feedback=feedback or Log())

    return call


@pytest.fixture
def project(qgis_app):
    """The project, empty before and after."""
    QgsProject.instance().clear()
    yield QgsProject.instance()
    QgsProject.instance().clear()


def worker(command, **arguments):
    """Ask the backend directly, past the plugin."""
    job = json.dumps({"protocol": 1, "command": command, "arguments": arguments})
    file = _home / "job.json"
    file.write_text(job, encoding="utf-8")
    # Without what QGIS 3.40 beside 3.22 needs.
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    done = subprocess.run(
        [BACKEND, "-I", "-m", "hadgeo.worker", "--job", str(file)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder with a small rotated scene, its truth, and a scene that keeps a detector busy for long."""
    folder = tmp_path_factory.mktemp("scenes")
    small = {"rows": 64, "cols": 64, "bands": 30, "targets": 4}
    worker("simulate", out=str(folder / "line.tif"), rotation=20.0, **small)
    worker("simulate", out=str(folder / "second.tif"), seed=1, **small)
    return folder


@pytest.fixture(scope="session")
def scene(scenes):
    """A small rotated scene."""
    return str(scenes / "line.tif")


@pytest.fixture(scope="session")
def found(scenes):
    """A folder with a map of the rotated scene, anomalies as a GeoPackage and as GeoJSON, and their evidence."""
    scores = str(scenes / "line_anomaly.tif")
    if not Path(scores).exists():
        worker("detect", scenes=[str(scenes / "line.tif")], detector="rx", output=scores)
        written = {"polygons": str(scenes / "line.gpkg"), "evidence": str(scenes / "line.nc")}
        worker("threshold", scores=scores, pfa=5e-3, scene=str(scenes / "line.tif"), **written)
        worker("threshold", scores=scores, pfa=5e-3, polygons=str(scenes / "line_geo.geojson"))
    return scenes


def qgis_process():
    # Debian's wrapper passes an option that QGIS does not know.
    return shutil.which("qgis_process.bin") or shutil.which("qgis_process")


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """The zip, as `make plugin` builds it."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [BACKEND, str(ROOT / "qgis_plugin" / "build.py"), str(folder)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def in_window(script, folder, *words, screen="1400x1000", without=(), **variables):
    """Run a script of this folder in QGIS's own window, on a screen that nobody sees, and return what it has seen."""
    profile = folder / "profiles" / "profiles" / "default"
    shutil.copytree(PLUGINS / "hadgeo_qgis", profile / "python" / "plugins" / "hadgeo_qgis")
    (profile / "QGIS").mkdir()
    (profile / "QGIS" / "QGIS3.ini").write_text("[PythonPlugins]\nhadgeo_qgis=true\nprocessing=true\n")
    left_out = ("QT_QPA_PLATFORM", "QGIS_CUSTOM_CONFIG_PATH", *without)
    seen = folder / "seen.json"
    command = ["xvfb-run", "-a", "-s", f"-screen 0 {screen}x24", QGIS, "--profiles-path", str(folder / "profiles")]
    command += ["--nologo", "--noversioncheck", "--code", str(Path(__file__).with_name(script)), *words]
    done = subprocess.run(
        command,
        env={**{k: v for k, v in os.environ.items() if k not in left_out}, "HADGEO_SEEN": str(seen), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert seen.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(seen.read_text())
    assert "error" not in told, told["error"]
    return told


def enabled(release, home):
    """A clean profile with the plugin from its zip, enabled."""
    plugins = home / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    with zipfile.ZipFile(release) as archive:
        archive.extractall(plugins)
    done = process(home, "plugins", "enable", "hadgeo_qgis")
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture(scope="session")
def profile(release, tmp_path_factory):
    """A clean profile with the plugin installed and enabled."""
    return enabled(release, tmp_path_factory.mktemp("profile"))


def environment(home, **changes):
    kept = {k: v for k, v in os.environ.items() if k != "QGIS_PLUGINPATH"}
    return {**kept, "QGIS_CUSTOM_CONFIG_PATH": str(home), "HADGEO_PYTHON": BACKEND, **changes}


def process(home, *words, **changes):
    command = [qgis_process(), *words]
    return subprocess.run(command, env=environment(home, **changes), capture_output=True, text=True, timeout=200)


_status = pytest.ExitCode.INTERNAL_ERROR


def pytest_sessionfinish(session, exitstatus):
    global _status
    _status = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    # QGIS 3.22 may crash while Python takes it apart, when all has been said.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(_status))
