"""Detection and review in QGIS's real window, on a screen that nobody sees."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BACKEND, PLUGINS
from osgeo import ogr

QGIS = shutil.which("qgis.bin") or shutil.which("qgis")


@pytest.mark.skipif(not (QGIS and shutil.which("xvfb-run")), reason="needs QGIS's window and xvfb")
@pytest.mark.skipif("QGIS_PREFIX_PATH" in os.environ, reason="the window would be that of another QGIS")
def test_a_review_in_the_window_of_qgis(found, tmp_path):
    for name in ("line.tif", "line_anomaly.tif", "line.gpkg", "line.json"):
        shutil.copy(found / name, tmp_path / name)
    profile = tmp_path / "profiles" / "profiles" / "default"
    shutil.copytree(PLUGINS / "hadgeo_qgis", profile / "python" / "plugins" / "hadgeo_qgis")
    (profile / "QGIS").mkdir()
    (profile / "QGIS" / "QGIS3.ini").write_text("[PythonPlugins]\nhadgeo_qgis=true\nprocessing=true\n")
    words = [QGIS, "--profiles-path", str(tmp_path / "profiles"), "--nologo", "--noversioncheck"]
    script = ["--code", str(Path(__file__).with_name("in_qgis.py"))]
    env = {k: v for k, v in os.environ.items() if k not in ("QT_QPA_PLATFORM", "QGIS_CUSTOM_CONFIG_PATH")}
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", *words, *script],
        env={**env, "HADGEO_REVIEW": str(tmp_path), "HADGEO_PYTHON": BACKEND},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (tmp_path / "seen.json").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert "error" not in seen, seen["error"]
    if "HADGEO_PICTURES" in os.environ:
        shutil.copy(tmp_path / "window.png", os.environ["HADGEO_PICTURES"])
    assert seen["toolbars"]
    assert {"Review anomalies", "True colour"} <= set(seen["offered"])
    assert "3 of" in seen["counter"]
    assert seen["plot"] == ["expected", "anomaly"]
    assert seen["width"] >= 0
    assert "2 of" in seen["undone"]
    assert not seen["unsaved"]
    assert "objects" in seen["rates"]
    assert "Review anomalies (hadgeo)" not in seen["docks"]
    dataset = ogr.Open(str(tmp_path / "line.gpkg"))
    assert [feature.GetField("verdict") for feature in dataset.GetLayer(0)][:4] == ["accepted", "rejected", None, None]


@pytest.mark.skipif(not (QGIS and shutil.which("xvfb-run")), reason="needs QGIS's window and xvfb")
@pytest.mark.skipif("QGIS_PREFIX_PATH" in os.environ, reason="the window would be that of another QGIS")
def test_the_first_detection_takes_five_clicks(found, tmp_path):
    profile = tmp_path / "profiles" / "profiles" / "default"
    shutil.copytree(PLUGINS / "hadgeo_qgis", profile / "python" / "plugins" / "hadgeo_qgis")
    (profile / "QGIS").mkdir()
    (profile / "QGIS" / "QGIS3.ini").write_text("[PythonPlugins]\nhadgeo_qgis=true\nprocessing=true\n")
    words = [QGIS, "--profiles-path", str(tmp_path / "profiles"), "--nologo", "--noversioncheck"]
    script = ["--code", str(Path(__file__).with_name("five_clicks.py"))]
    env = {k: v for k, v in os.environ.items() if k not in ("QT_QPA_PLATFORM", "QGIS_CUSTOM_CONFIG_PATH")}
    # A score map lies above the scene, as if it were the one that is meant.
    layers = [str(found / "line.tif"), str(found / "line_anomaly.tif")]
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1920x1080x24", *words, *script, *layers],
        env={**env, "HADGEO_SEEN": str(tmp_path / "seen.json"), "HADGEO_PYTHON": BACKEND},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (tmp_path / "seen.json").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert "error" not in seen, seen["error"]
    assert seen["scene"] == "line"
    assert {"Anomalies – line", "Anomaly scores – line"} <= set(seen["layers"])
    assert seen["layers"][0] == "Anomalies – line"
    # Toolbar, Run and Close; the set-up before it is its message's button and Run.
    assert seen["clicks"] == 3
    assert seen["clicks"] + 2 <= 5
