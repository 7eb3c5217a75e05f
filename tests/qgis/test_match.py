"""Finding more like a spectrum or an anomaly, through the real backend."""

import json
from pathlib import Path

import pytest
from conftest import Log, worker
from osgeo import gdal
from qgis.core import QgsProcessingException, QgsVectorLayer

gdal.UseExceptions()


@pytest.fixture
def spectrum(tmp_path):
    """A spectrum with a feature, as text."""
    lines = [f"{nm},{0.3 - 0.1 * (1650 < nm < 1750):.2f}" for nm in range(350, 2550, 10)]
    path = tmp_path / "paint.csv"
    path.write_text("nm,R\n" + "\n".join(lines) + "\n")
    return path


def test_a_spectrum_gives_the_backends_bytes(run, scene, spectrum, tmp_path):
    out, log = tmp_path / "x.tif", Log()
    results = run("match", log, INPUT=scene, SPECTRUM=str(spectrum), METHOD="mf", OUTPUT=str(out))
    assert results["VALID_PIXELS"] == 64 * 64
    twin = worker("match", scenes=[scene], spectrum=str(spectrum), method="mf", output=str(tmp_path / "twin.tif"))
    assert out.read_bytes() == Path(twin["map"]).read_bytes()
    assert gdal.Open(str(out)).GetMetadata()["HADGEO_DETECTOR"] == "mf"
    assert any(line.startswith("target: paint at ") for line in log.lines)
    assert log.percents == sorted(log.percents)


def test_an_anomaly_of_an_earlier_run_leads_to_more_of_it(run, scene, tmp_path):
    found, more = tmp_path / "found.gpkg", tmp_path / "more.gpkg"
    run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"), POLYGONS=str(found))
    run("match", INPUT=scene, LIKE=str(found), ANOMALY=1, OUTPUT=str(tmp_path / "y.tif"), POLYGONS=str(more))
    layer = QgsVectorLayer(str(more))
    assert {feature["detector"] for feature in layer.getFeatures()} == {"ace"}
    told = json.loads((tmp_path / "y.json").read_text())
    assert told["options"]["like"] == f"{found}#1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either a spectrum or the anomalies"),
        ({"SPECTRUM": "gone.csv"}, "gone.csv: no such file of a spectrum"),
        ({"SPECTRUM": "{spectrum}", "SPECTRUM_NAME": "clay"}, "contains no 'clay' among its 1 spectra"),
    ],
)
def test_what_cannot_be_matched_is_one_line(run, scene, spectrum, tmp_path, given, message):
    filled = {name: value.format(spectrum=spectrum) for name, value in given.items()}
    with pytest.raises(QgsProcessingException, match=message):
        run("match", INPUT=scene, OUTPUT=str(tmp_path / "x.tif"), **filled)
    assert not (tmp_path / "x.tif").exists()
