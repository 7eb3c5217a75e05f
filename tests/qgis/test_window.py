"""Detection and review in QGIS's real window, on a screen that nobody sees."""

import os
import shutil

import pytest
from conftest import BACKEND, QGIS, in_window
from osgeo import ogr


@pytest.mark.skipif(not (QGIS and shutil.which("xvfb-run")), reason="needs QGIS's window and xvfb")
@pytest.mark.skipif("QGIS_PREFIX_PATH" in os.environ, reason="the window would be that of another QGIS")
def test_a_review_in_the_window_of_qgis(found, tmp_path):
    for name in ("line.tif", "line_anomaly.tif", "line.gpkg", "line.json"):
        shutil.copy(found / name, tmp_path / name)
    seen = in_window("in_qgis.py", tmp_path, HADGEO_REVIEW=str(tmp_path), HADGEO_PYTHON=BACKEND)
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
    # A score map lies above the scene, as if it were the one that is meant.
    layers = [str(found / "line.tif"), str(found / "line_anomaly.tif")]
    seen = in_window("five_clicks.py", tmp_path, *layers, screen="1920x1080", HADGEO_PYTHON=BACKEND)
    assert seen["scene"] == "line"
    assert {"Anomalies – line", "Anomaly scores – line"} <= set(seen["layers"])
    assert seen["layers"][0] == "Anomalies – line"
    # Toolbar, Run and Close; the set-up before it is its message's button and Run.
    assert seen["clicks"] == 3
    assert seen["clicks"] + 2 <= 5
