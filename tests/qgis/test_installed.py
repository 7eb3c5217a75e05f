"""A detector that another package adds to the backend is in the toolbox, in the dialogs, and can be run."""

import subprocess
import time

import pytest
from conftest import BACKEND, ROOT
from hadgeo_qgis import settings
from hadgeo_qgis.schema import DETECTORS, SCHEMA
from osgeo import gdal
from qgis.core import QgsApplication

EXAMPLE = ROOT / "examples" / "extension"


@pytest.fixture
def backend_with_example(tmp_path, monkeypatch):
    """An environment that sees what the backend has, and the example beside it."""
    folder = tmp_path / "backend"
    subprocess.run([BACKEND, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    said = subprocess.run(
        [BACKEND, "-I", "-c", "import sys; print(*sys.path, sep='\\n')"], check=True, capture_output=True
    )
    lines = [*said.stdout.decode().split(), str(EXAMPLE)]
    (packages / "here.pth").write_text(
        "".join(f"{line}\n" for line in lines if "site-packages" in line or ".zip" not in line)
    )
    info = packages / "hadgeo_example-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hadgeo-example\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[hadgeo.detectors]\nlocal-angle = hadgeo_example.local_angle:LocalAngle\n")
    monkeypatch.setattr(settings, "detectors_file", lambda: tmp_path / "detectors.json")
    monkeypatch.setenv("HADGEO_PYTHON", str(folder / "bin" / "python"))


def wait_for(provider, detector):
    end = time.monotonic() + 120
    while provider.algorithm("detect").parameterDefinition(f"{detector}_GUARD") is None and time.monotonic() < end:
        QgsApplication.processEvents()
        time.sleep(0.05)


def test_the_backends_own_detectors_are_offered(provider, run, scene, backend_with_example, tmp_path):
    try:
        provider.look_for_detectors()
        wait_for(provider, "local-angle")
        assert {"bs3lnet", "local-angle", "rx", "scoread"} <= set(DETECTORS)
        for name in ("detect", "train", "compare"):
            choice = provider.algorithm(name).parameterDefinition("DETECTORS" if name == "compare" else "DETECTOR")
            assert "local-angle" in choice.options()
        guard = provider.algorithm("detect").parameterDefinition("LOCAL-ANGLE_GUARD")
        assert (guard.defaultValue(), guard.minimum(), guard.maximum()) == (5, 1, 51)
        assert "local-angle" in provider.algorithm("detect").tags()
        out = tmp_path / "scores.tif"
        run("detect", INPUT=scene, DETECTOR="local-angle", **{"LOCAL-ANGLE_GUARD": 3}, OUTPUT=str(out))
        tags = gdal.Open(str(out)).GetMetadata()
        assert tags["HADGEO_DETECTOR"] == "local-angle"
        assert '"guard": 3' in tags["HADGEO_PARAMETERS"]
    finally:
        provider.offer(None)
    assert SCHEMA["detectors"] == DETECTORS
    assert provider.algorithm("detect").parameterDefinition("LOCAL-ANGLE_GUARD") is None


def test_stages_of_the_progress_bars_are_those_of_the_backend(provider):
    known = {*SCHEMA["stages"], "environment", "install"}
    for algorithm in provider.algorithms():
        assert set(algorithm.STAGES) <= known, algorithm.name()
