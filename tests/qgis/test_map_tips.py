"""Spectra for map tips: how many, how they are found, and what the tip says."""

import shutil
from pathlib import Path

import pytest
from conftest import Log
from hadgeo_qgis import polygon_style
from qgis.core import (
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFeature,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QImage

PICTURES = {"SPECTRA": True, "PFA": 0.01}


def map_tip(layer, feature):
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    return QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context)


def shown(layer):
    """The pictures that the tips of a layer show, as files."""
    files = []
    for feature in sorted(layer.getFeatures(), key=lambda feature: feature["id"]):
        tip = map_tip(layer, feature)
        assert "[%" not in tip.split("<table>")[1]
        if "<img" in tip:
            assert tip.startswith('<img src="file:///')
            files.append(QUrl(tip.split('src="')[1].split('"')[0]).toLocalFile())
    return files


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_names_may_hold_anything_and_folders_may_move(run, scene, tmp_path, suffix):
    home = tmp_path / "it's [% 1 + 1 %] 50% #1 größer?"
    home.mkdir()
    polygons = home / f"an'omaly [%.{suffix}"
    run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(home / "x.tif"), POLYGONS=str(polygons), **PICTURES)
    moved = tmp_path / "elsewhere & later"
    for folder in (home, moved):
        if folder == moved:
            shutil.move(home, moved)
        layer = QgsVectorLayer(str(folder / polygons.name), "x", "ogr")
        files = shown(layer)
        assert len(files) == layer.featureCount() > 1
        for file in files:
            assert Path(file).parent == polygon_style.spectra_folder(str(folder / polygons.name))
            assert (QImage(file).width(), QImage(file).height()) == (800, 360)


def test_the_rarest_are_drawn_and_counted(run, scene, tmp_path):
    log, out = Log(), tmp_path / "x.gpkg"
    given = {"INPUT": scene, "DETECTOR": "rx", "OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": str(out), **PICTURES}
    run("detect", log, SPECTRA_LIMIT=3, **given)
    layer = QgsVectorLayer(str(out), "x", "ogr")
    assert layer.featureCount() > 3
    names = {f"anomaly_{number}.png" for number in (1, 2, 3)}
    assert {path.name for path in (tmp_path / "x_spectra").iterdir()} == names
    assert {Path(file).name for file in shown(layer)} == names
    assert any(line.startswith("expected: at most 3 plots of spectra") for line in log.lines)
    assert any(f"the rarest 3 of {layer.featureCount()} anomalies" in line for line in log.lines)
    assert {"evidence …", "spectra …"} <= set(log.texts)
    assert log.percents == sorted(log.percents)


def test_a_hundred_by_default(provider):
    for name in ("detect", "detectwithmodel", "match", "threshold"):
        assert provider.algorithm(name).parameterDefinition("SPECTRA_LIMIT").defaultValue() == 100


def test_drawing_is_cancelled_at_once_and_leaves_nothing(run, scene, tmp_path):
    class Impatient(Log):
        """Cancels once pictures are drawn."""

        def setProgressText(self, text):
            super().setProgressText(text)
            if text.startswith("spectra"):
                self.cancel()

    log = Impatient()
    given = {"INPUT": scene, "DETECTOR": "rx", "OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": str(tmp_path / "x.gpkg")}
    results = run("detect", log, SPECTRA=True, SPECTRA_LIMIT=5000, PFA=0.2, **given)
    assert not results.get("POLYGONS")
    assert not (tmp_path / "x_spectra").exists()
    assert not list(tmp_path.glob("*.part"))


def test_pictures_of_an_earlier_run_are_of_other_anomalies(run, found, scene, tmp_path):
    given = {"INPUT": str(found / "line_anomaly.tif"), "OUTPUT": str(tmp_path / "x.gpkg"), "TOP": 5}
    run("threshold", SCENE=scene, SPECTRA=True, **given)
    assert shown(QgsVectorLayer(str(tmp_path / "x.gpkg"), "x", "ogr"))
    run("threshold", **{**given, "TOP": 9})
    assert (tmp_path / "x_spectra").exists()
    assert not shown(QgsVectorLayer(str(tmp_path / "x.gpkg"), "x", "ogr"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.012"),
        (0.5, "0.5"),
        (1.0, "1"),
        (0.00123, "0.0012"),
        (1.23e-5, "1.2 × 10<sup>−5</sup>"),
        (9.99e-5, "1.0 × 10<sup>−4</sup>"),
        (9.4e-7, "9.4 × 10<sup>−7</sup>"),
        (3e-12, "3.0 × 10<sup>−12</sup>"),
        (None, ""),
    ],
)
def test_p_values_are_written_as_people_do(qgis_app, value, text):
    layer = QgsVectorLayer("Polygon?field=id:integer&field=p_value:double", "x", "memory")
    feature = QgsFeature(layer.fields())
    feature["p_value"] = value
    context = QgsExpressionContext()
    context.setFeature(feature)
    context.setFields(layer.fields())
    assert QgsExpression.replaceExpressionText(f"[% {polygon_style._P_VALUE} %]", context) == text
