"""From scores to decisions: polygons with their style, reports and pictures, through the real backend."""

import processing
import pytest
from conftest import Log
from hadgeo_qgis import polygon_style
from osgeo import gdal
from qgis.core import (
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsProcessingException,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QImage


@pytest.fixture(scope="module")
def scores(provider, scene, tmp_path_factory):
    """A map of scores of the rotated scene."""
    out = tmp_path_factory.mktemp("scores") / "line_anomaly.tif"
    processing.run("hadgeo:detect", {"INPUT": scene, "DETECTOR": "rx", "OUTPUT": str(out)}, feedback=Log())
    return str(out)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_polygons_carry_their_style(run, scores, tmp_path, suffix):
    out = tmp_path / f"größer.{suffix}"
    told = run("threshold", INPUT=scores, TOP=12, OUTPUT=str(out), P_VALUES=str(tmp_path / "p.tif"))
    layer = QgsVectorLayer(str(out), "x", "ogr")
    assert told["ANOMALIES"] == layer.featureCount() > 0
    assert told["PIXELS"] == 12
    # GDAL versions name the reference system of GeoJSON differently.
    assert layer.crs().authid() in ({"EPSG:32633"} if suffix == "gpkg" else {"OGC:CRS84", "EPSG:4326"})
    assert layer.renderer().type() == "graduatedSymbol"
    assert layer.renderer().classAttribute() == "p_value"
    assert layer.labelsEnabled()
    assert "p-value" in layer.mapTipTemplate()
    p_values = gdal.Open(str(tmp_path / "p.tif")).ReadAsArray()
    assert 0 < p_values.min() < p_values.max() <= 1
    for feature in layer.getFeatures():
        assert layer.renderer().rangeForValue(feature["p_value"]) is not None


def test_the_outlines_lie_where_the_scores_are(run, scores, tmp_path):
    run("threshold", INPUT=scores, TOP=5, OUTPUT=str(tmp_path / "x.gpkg"))
    layer = QgsVectorLayer(str(tmp_path / "x.gpkg"), "x", "ogr")
    transform = gdal.Open(scores).GetGeoTransform()
    highest = gdal.Open(scores).ReadAsArray().max()
    first = max(layer.getFeatures(), key=lambda feature: feature["max_score"])
    assert first["max_score"] == pytest.approx(highest)
    row, column = first["peak_row"] + 0.5, first["peak_col"] + 0.5
    x = transform[0] + column * transform[1] + row * transform[2]
    y = transform[3] + column * transform[4] + row * transform[5]
    centre = first.geometry().boundingBox()
    assert centre.xMinimum() < x < centre.xMaximum()
    assert centre.yMinimum() < y < centre.yMaximum()


def map_tip(layer, feature):
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    return QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context)


def test_the_map_tip_shows_numbers_and_the_spectrum_where_it_was_drawn(run, scores, scene, tmp_path):
    out = tmp_path / "größer als.gpkg"
    run("threshold", INPUT=scores, TOP=5, OUTPUT=str(out))
    layer = QgsVectorLayer(str(out), "x", "ogr")
    feature = next(layer.getFeatures())
    tip = map_tip(layer, feature)
    assert "Anomaly 1" in tip
    assert "rx" in tip
    assert "[%" not in tip
    assert "<img" not in tip
    run("threshold", INPUT=scores, TOP=5, OUTPUT=str(out), SCENE=scene, SPECTRA=True)
    layer = QgsVectorLayer(str(out), "x", "ogr")
    tip = map_tip(layer, next(layer.getFeatures()))
    folder = polygon_style.spectra_folder(str(out)).as_posix().replace(" ", "%20")
    assert f'<img src="file://{folder}/anomaly_1.png"' in tip


def test_detect_gives_scores_polygons_and_spectra_at_once(provider, project, scene, tmp_path):
    outputs = {"OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": str(tmp_path / "x.gpkg"), "SPECTRA": True}
    parameters = {"INPUT": scene, "DETECTOR": "rx", "PFA": 0.002, **outputs}
    processing.runAndLoadResults("hadgeo:detect", parameters, feedback=Log())
    layers = QgsProject.instance().layerTreeRoot().layerOrder()
    assert [layer.name() for layer in layers] == ["Anomalies – line", "Anomaly scores – line"]
    assert layers[0].renderer().type() == "graduatedSymbol"
    assert layers[1].renderer().type() == "singlebandpseudocolor"
    assert all(layer.crs().authid() == "EPSG:32633" for layer in layers)
    feature = next(layers[0].getFeatures())
    tip = map_tip(layers[0], feature)
    assert "anomaly_1.png" in tip
    assert feature["bands"] in tip.replace("&sigma;", "σ")
    assert not QImage(str(tmp_path / "x_spectra" / "anomaly_1.png")).isNull()


def test_rules_that_contradict_each_other_are_refused(run, scores, tmp_path):
    with pytest.raises(QgsProcessingException, match="give one of"):
        run("threshold", INPUT=scores, TOP=5, PFA=0.01, OUTPUT=str(tmp_path / "x.gpkg"))
    assert not list(tmp_path.iterdir())


def test_evaluate_reports_several_maps_against_a_raster(run, scores, scene, tmp_path):
    second = tmp_path / "again.tif"
    run("detect", INPUT=scene, DETECTOR="rx", RX_SHRINKAGE=0.5, OUTPUT=str(second))
    told = run(
        "evaluate",
        INPUT=[scores, str(second)],
        TRUTH=scene.replace("line.tif", "line_truth.tif"),
        BOOTSTRAP=50,
        OUTPUT=str(tmp_path / "größer.html"),
        PLOT=str(tmp_path / "roc.png"),
    )
    assert 0.5 < told["AUC"] <= 1
    report = (tmp_path / "größer.html").read_text(encoding="utf-8")
    assert "line_anomaly" in report
    assert "again" in report
    assert f"{told['AUC']:.5f}" in report
    assert not QImage(str(tmp_path / "roc.png")).isNull()


def test_evaluate_takes_polygons(run, scores, scene, tmp_path):
    every = processing.run(
        "gdal:polygonize",
        {"INPUT": scene.replace("line.tif", "line_truth.tif"), "BAND": 1, "OUTPUT": str(tmp_path / "every.gpkg")},
    )["OUTPUT"]
    targets = {"INPUT": every, "FIELD": "DN", "VALUE": 1, "OUTPUT": str(tmp_path / "truth.gpkg")}
    truth = processing.run("native:extractbyattribute", targets)["OUTPUT"]
    layer = QgsVectorLayer(f"{truth}|layername=truth", "Truth", "ogr")
    told = run("evaluate", INPUT=[scores], TRUTH=layer, BOOTSTRAP=0, OUTPUT=str(tmp_path / "x.html"))
    assert 0.5 < told["AUC"] <= 1


def test_compare_ranks_detectors(run, scene, tmp_path):
    told = run(
        "compare",
        INPUT=scene,
        TRUTH=scene.replace("line.tif", "line_truth.tif"),
        DETECTORS=["rx"],
        BOOTSTRAP=0,
        OUTPUT=str(tmp_path / "x.html"),
        MAPS=str(tmp_path / "maps"),
    )
    assert told["BEST"] == "rx"
    assert list((tmp_path / "maps").glob("*.tif"))
    assert "rx" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_quicklook_draws_scene_scores_and_polygons(run, scores, scene, tmp_path):
    run("threshold", INPUT=scores, TOP=5, OUTPUT=str(tmp_path / "x.gpkg"))
    out = tmp_path / "größer.png"
    run("quicklook", INPUT=scene, SCORES=scores, POLYGONS=str(tmp_path / "x.gpkg"), SIZE=300, OUTPUT=str(out))
    image = QImage(str(out))
    assert image.width() > 200
    assert len({image.pixel(x, y) for x in range(0, image.width(), 5) for y in range(0, image.height(), 5)}) > 50
