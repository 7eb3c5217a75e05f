"""A mission of two flight lines in QGIS: one model, one layer of anomalies, and what happens where a line fails."""

from pathlib import Path

import processing
from conftest import Log
from osgeo import gdal
from qgis.core import QgsVectorLayer


def test_a_mission_gives_maps_and_one_layer_of_anomalies(provider, project, scenes, tmp_path):
    broken = tmp_path / "broken.tif"
    gdal.GetDriverByName("GTiff").Create(str(broken), 9, 9, 1).FlushCache()
    lines = [str(scenes / "line.tif"), str(scenes / "second.tif"), str(broken)]
    given = {"INPUT": lines, "DETECTOR": "rx", "PFA": 0.002, "OUTPUT": str(tmp_path / "maps")}
    given["POLYGONS"] = str(tmp_path / "mission.gpkg")
    log = Log()
    results = processing.runAndLoadResults("hadgeo:mission", dict(given), feedback=log)
    assert (results["DONE"], results["FAILED"]) == (2, 1)
    (error,) = log.errors
    assert error.startswith("broken.tif: ")
    assert "band" in error
    assert log.percents == sorted(log.percents)
    assert any(50 < percent < 95 for percent in log.percents)
    for name in ("line_anomaly.tif", "second_anomaly.tif", "model.hadgeo", "summary.csv"):
        assert (tmp_path / "maps" / name).is_file()
    layer = QgsVectorLayer(given["POLYGONS"], "x", "ogr")
    assert layer.featureCount() == results["ANOMALIES"] > 0
    assert [layer.name() for layer in project.mapLayers().values()] == ["Anomalies – maps"]
    assert any(
        line.startswith("flight line 2 of 3: ") and Path(line.split(": ")[1]).name == "second.tif" for line in log.lines
    )
    project.clear()
    again = processing.run("hadgeo:mission", given, feedback=(log := Log()))
    assert again["DONE"] == 2
    assert "flight line 1 of 3: kept" in log.lines
