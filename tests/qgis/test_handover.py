"""Layers are handed over as QGIS shows them: filtered, scratch, selected, edited, one of several, with another CRS."""

import numpy as np
import pytest
from conftest import Log
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant

UTM = QgsCoordinateReferenceSystem("EPSG:32633")


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def box(scene, cols, rows):
    """The outline of a rectangle of pixels."""
    transform = gdal.Open(scene).GetGeoTransform()
    ends = [(cols[0], rows[0]), (cols[1], rows[0]), (cols[1], rows[1]), (cols[0], rows[1])]
    return QgsGeometry.fromPolygonXY([[QgsPointXY(*gdal.ApplyGeoTransform(transform, *map(float, at))) for at in ends]])


@pytest.fixture
def halves(scene):
    """A scratch layer with the left 20 columns as `a`, and the right 30 as `b`."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "Halves: a/b", "memory")
    layer.dataProvider().addAttributes([QgsField("name", QVariant.String), QgsField("fid", QVariant.Int)])
    layer.updateFields()
    for name, cols in (("a", (0, 20)), ("b", (34, 64))):
        feature = QgsFeature(layer.fields())
        feature["name"], feature["fid"] = name, 7
        feature.setGeometry(box(scene, cols, (0, 64)))
        layer.dataProvider().addFeature(feature)
    return layer


def saved(layer, path, name="features", update=False):
    """The layer in a file, as QGIS opens it."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON"}[path.suffix]
    options.layerName = name
    options.layerOptions = ["FID=number"] if path.suffix == ".gpkg" else []
    if update:
        options.actionOnExistingFile = QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer
    context = QgsProject.instance().transformContext()
    written = QgsVectorFileWriter.writeAsVectorFormatV2(layer, str(path), context, options)
    assert written[0] == QgsVectorFileWriter.WriterError.NoError, written
    source = f"{path}|layername={name}" if path.suffix == ".gpkg" else str(path)
    return QgsVectorLayer(source, "saved", "ogr")


def kept_columns(run, scene, out, **given):
    """Which columns a run with these parameters scores."""
    run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(out), **given)
    return np.flatnonzero(np.isfinite(pixels(out)).any(axis=0))


def test_a_filter_counts(run, scene, halves, tmp_path):
    layer = saved(halves, tmp_path / "halves.gpkg")
    out = tmp_path / "x.tif"
    assert kept_columns(run, scene, out, MASK=layer).size == 50
    layer.setSubsetString("\"name\" = 'a'")
    np.testing.assert_array_equal(kept_columns(run, scene, out, MASK=layer), np.arange(20))
    by_source = f"{tmp_path / 'halves.gpkg'}|layername=features|subset=\"name\" = 'b'"
    np.testing.assert_array_equal(kept_columns(run, scene, out, MASK=by_source), np.arange(34, 64))


def test_one_of_several_layers(run, scene, halves, tmp_path):
    first = saved(halves, tmp_path / "several.gpkg", "all")
    halves.dataProvider().deleteFeatures([f.id() for f in halves.getFeatures() if f["name"] == "a"])
    second = saved(halves, tmp_path / "several.gpkg", "right", update=True)
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=first).size == 50
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=second).size == 30
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=second.source()).size == 30


def test_a_scratch_layer(run, project, scene, halves, tmp_path):
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=halves).size == 50
    project.addMapLayer(halves)
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=halves.id()).size == 50


def test_selected_features(run, project, scene, halves, tmp_path):
    layer = saved(halves, tmp_path / "halves.gpkg")
    out = tmp_path / "x.tif"
    for one in (halves, layer):
        project.addMapLayer(one)
        one.selectByExpression("\"name\" = 'a'")
        selected = QgsProcessingFeatureSourceDefinition(one.id(), selectedFeaturesOnly=True)
        assert kept_columns(run, scene, out, MASK=selected).size == 20
        assert kept_columns(run, scene, out, MASK=one, SELECTED=True).size == 20
        # As in QGIS, a selection alone changes nothing.
        assert kept_columns(run, scene, out, MASK=one).size == 50
        assert kept_columns(run, scene, out, BACKGROUND=selected).size == 64
        one.removeSelection()
        with pytest.raises(QgsProcessingException, match="no feature of the layer"):
            kept_columns(run, scene, out, MASK=selected)


def test_edits_that_are_not_saved_yet(run, scene, halves, tmp_path):
    layer = saved(halves, tmp_path / "halves.gpkg")
    layer.startEditing()
    layer.deleteFeature(next(f.id() for f in layer.getFeatures() if f["name"] == "b"))
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=layer).size == 20
    layer.rollBack()


@pytest.mark.parametrize("suffix", ["shp", "gpkg"])
def test_a_crs_that_the_user_assigned(run, scene, halves, tmp_path, suffix):
    halves.setCrs(QgsCoordinateReferenceSystem("EPSG:32734"))
    layer = saved(halves, tmp_path / f"wrong.{suffix}")
    assert layer.crs().authid() == "EPSG:32734"
    layer.setCrs(UTM)
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=layer).size == 50


def test_a_raster_whose_crs_the_user_assigned(run, scene, tmp_path):
    kept = np.zeros((64, 64), "u1")
    kept[:, :20] = 1
    dataset = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "mask.tif"), 64, 64)
    dataset.SetGeoTransform(gdal.Open(scene).GetGeoTransform())
    dataset.SetProjection(QgsCoordinateReferenceSystem("EPSG:32734").toWkt())
    dataset.WriteArray(kept)
    dataset = None
    layer = QgsRasterLayer(str(tmp_path / "mask.tif"), "mask")
    with pytest.raises(QgsProcessingException, match="does not overlap"):
        kept_columns(run, scene, tmp_path / "x.tif", MASK=layer)
    layer.setCrs(UTM)
    assert kept_columns(run, scene, tmp_path / "x.tif", MASK=layer).size == 20


def test_truth_regions_and_polygons_take_every_kind_of_layer(run, found, scene, halves, tmp_path):
    log = Log()
    scores = str(found / "line_anomaly.tif")
    run("evaluate", log, INPUT=[scores], TRUTH=halves, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))
    assert "Halves_ a_b" in (tmp_path / "r.html").read_text(encoding="utf-8")
    given = {"DETECTORS": "rx", "BOOTSTRAP": 0, "OUTPUT": str(tmp_path / "c.html")}
    run("compare", INPUT=scene, TRUTH=halves, EXCLUDE=halves, **given)
    run("train", INPUT=[scene], DETECTOR="rx", EXCLUDE=halves, OUTPUT=str(tmp_path / "m.hadgeo"))
    run("quicklook", INPUT=scene, POLYGONS=halves, SIZE=200, OUTPUT=str(tmp_path / "with.png"))
    run("quicklook", INPUT=scene, SIZE=200, OUTPUT=str(tmp_path / "without.png"))
    assert not np.array_equal(pixels(tmp_path / "with.png"), pixels(tmp_path / "without.png"))


def test_a_filter_on_truth_gives_the_auc_of_what_is_left(run, found, halves, tmp_path):
    scores = str(found / "line_anomaly.tif")
    layer = saved(halves, tmp_path / "truth.gpkg")
    layer.setSubsetString("\"name\" = 'a'")
    filtered = run("evaluate", INPUT=[scores], TRUTH=layer, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))["AUC"]
    halves.dataProvider().deleteFeatures([f.id() for f in halves.getFeatures() if f["name"] == "b"])
    alone = saved(halves, tmp_path / "alone.gpkg")
    expected = run("evaluate", INPUT=[scores], TRUTH=alone, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))["AUC"]
    layer.setSubsetString("")
    every = run("evaluate", INPUT=[scores], TRUTH=layer, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))["AUC"]
    assert filtered == expected != every


def test_anomalies_of_a_filtered_layer_can_be_matched(run, found, scene, tmp_path):
    layer = QgsVectorLayer(str(found / "line.gpkg"), "anomalies", "ogr")
    layer.setSubsetString('"id" < 3')
    run("match", INPUT=scene, LIKE=layer, ANOMALY=2, OUTPUT=str(tmp_path / "m.tif"))
    with pytest.raises(QgsProcessingException, match="no such anomaly"):
        run("match", INPUT=scene, LIKE=layer, ANOMALY=3, OUTPUT=str(tmp_path / "n.tif"))


def test_a_file_that_says_it_all_is_handed_over_itself(run, scene, halves, tmp_path):
    layer, log = saved(halves, tmp_path / "halves.gpkg"), Log()
    run("detect", log, INPUT=scene, DETECTOR="rx", MASK=layer, OUTPUT=str(tmp_path / "x.tif"))
    assert not any("handed over" in line for line in log.lines)
    log = Log()
    run("detect", log, INPUT=scene, DETECTOR="rx", MASK=halves, OUTPUT=str(tmp_path / "x.tif"))
    assert sum("'Halves: a/b' is handed over as QGIS shows it" in line for line in log.lines) == 1


def test_a_scene_whose_crs_the_user_assigned_is_said(run, scene, tmp_path):
    layer, log = QgsRasterLayer(scene, "line"), Log()
    run("detect", log, INPUT=layer, DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"))
    assert not any("was assigned" in line for line in log.lines)
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32734"))
    run("detect", log, INPUT=layer, DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"))
    assert any("'line' was assigned the CRS EPSG:32734" in line for line in log.lines)
