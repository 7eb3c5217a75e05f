"""Where things lie: scenes without a place, polygons among other layers, styles beside files, names of formats."""

import sqlite3
from contextlib import closing

import numpy as np
import processing
import pytest
from conftest import Log
from hadgeo_qgis import polygon_style, styles
from hadgeo_qgis.review.locate import nowhere
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

ROW, COL = 14, 22


@pytest.fixture
def plain(tmp_path):
    """A scene without a place, of 20 rows and 30 columns, one pixel of which stands out."""
    values = np.random.default_rng(0).normal(size=(8, 20, 30)).astype("f4")
    values[:, ROW, COL] += 40
    dataset = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "plain.tif"), 30, 20, 8, gdal.GDT_Float32)
    dataset.WriteArray(values)
    dataset = None
    return str(tmp_path / "plain.tif")


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_polygons_of_a_scene_without_a_place_lie_on_it(provider, project, plain, tmp_path, suffix):
    outputs = {"OUTPUT": str(tmp_path / "scores.tif"), "POLYGONS": str(tmp_path / f"found.{suffix}")}
    given = {"INPUT": plain, "DETECTOR": "rx", "PFA": 1e-3, **outputs}
    processing.runAndLoadResults("hadgeo:detect", given, feedback=Log())
    layers = {type(layer): layer for layer in QgsProject.instance().mapLayers().values()}
    raster, polygons = layers[QgsRasterLayer], layers[QgsVectorLayer]
    assert raster.extent() == QgsRectangle(0, -20, 30, 0)
    assert not polygons.crs().isValid()
    first = max(polygons.getFeatures(), key=lambda feature: feature["max_score"])
    assert first.geometry().contains(QgsGeometry.fromPointXY(QgsPointXY(COL + 0.5, -ROW - 0.5)))
    # Peaks are told to parts of a pixel.
    assert (first["peak_row"], first["peak_col"]) == pytest.approx((ROW, COL), abs=0.2)
    assert (first["peak_x"], first["peak_y"]) == pytest.approx((COL + 0.5, -ROW - 0.5), abs=0.2)
    # QGIS finds the highest score in the middle of the polygon.
    value, found = raster.dataProvider().sample(first.geometry().centroid().asPoint(), 1)
    assert found
    assert value == pytest.approx(first["max_score"])


def test_an_extent_is_drawn_where_qgis_shows_the_scene(run, plain, tmp_path):
    out = tmp_path / "x.tif"
    run("detect", INPUT=plain, DETECTOR="rx", EXTENT="10,30,-18,-10", OUTPUT=str(out))
    scores = gdal.Open(str(out)).ReadAsArray()
    assert scores.shape == (8, 20)
    assert np.unravel_index(scores.argmax(), scores.shape) == (ROW - 10, COL - 10)
    # A little beyond the first row, as a hand draws it.
    run("detect", INPUT=plain, DETECTOR="rx", EXTENT="-5,30,-18,4", OUTPUT=str(out))
    assert gdal.Open(str(out)).ReadAsArray().shape == (18, 30)
    with pytest.raises(QgsProcessingException, match="outside the scene"):
        run("detect", INPUT=plain, DETECTOR="rx", EXTENT="0,30,2,15", OUTPUT=str(out))


def test_the_map_of_an_extent_lies_on_its_scene(run, plain, tmp_path):
    scores, found = str(tmp_path / "x.tif"), str(tmp_path / "x.gpkg")
    run("detect", INPUT=plain, DETECTOR="rx", EXTENT="10,30,-18,-10", PFA=0.01, OUTPUT=scores, POLYGONS=found)
    part, layer = QgsRasterLayer(scores, "part"), QgsVectorLayer(found, "found", "ogr")
    assert part.extent() == QgsRectangle(10, -18, 30, -10)
    assert nowhere(layer)
    first = max(layer.getFeatures(), key=lambda feature: feature["max_score"])
    assert first.geometry().contains(QgsGeometry.fromPointXY(QgsPointXY(COL + 0.5, -ROW - 0.5)))


def test_an_empty_extent_is_refused(run, plain, tmp_path):
    out = str(tmp_path / "x.tif")
    nothing = QgsVectorLayer("Polygon", "nothing", "memory")
    for empty in ("10,10,-18,-10", QgsRectangle(10, -18, 10, -10), nothing):
        with pytest.raises(QgsProcessingException, match=r"the extent is empty|value for EXTENT"):
            run("detect", INPUT=plain, DETECTOR="rx", EXTENT=empty, OUTPUT=out)
    for whole in ("", None):
        run("detect", INPUT=plain, DETECTOR="rx", EXTENT=whole, OUTPUT=out)
        assert gdal.Open(out).ReadAsArray().shape == (20, 30)


def test_a_scene_that_qgis_draws_upside_down_is_said(run, plain, tmp_path):
    log, turned = Log(), str(tmp_path / "turned.tif")
    run("detect", log, INPUT=plain, DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"))
    assert not any("upside down" in line for line in log.lines)
    # As rasterio writes a scene without a place: the identity, in so many words.
    dataset = gdal.Translate(turned, plain)
    dataset.SetGeoTransform((0, 1, 0, 0, 0, 1))
    dataset = None
    assert QgsRasterLayer(turned, "turned").extent() == QgsRectangle(0, 0, 30, 20)
    run("detect", log, INPUT=turned, DETECTOR="rx", OUTPUT=str(tmp_path / "y.tif"))
    assert sum("'turned' upside down" in line for line in log.lines) == 1


def test_polygons_without_a_place_are_read_where_they_were_written(run, plain, tmp_path):
    found = tmp_path / "found.gpkg"
    run("detect", INPUT=plain, DETECTOR="rx", PFA=1e-3, OUTPUT=str(tmp_path / "scores.tif"), POLYGONS=str(found))
    scored = run("match", INPUT=plain, LIKE=str(found), ANOMALY=1, OUTPUT=str(tmp_path / "m.tif"))["OUTPUT"]
    scores = gdal.Open(scored).ReadAsArray()
    assert np.unravel_index(scores.argmax(), scores.shape) == (ROW, COL)


def other_layer(path):
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=name:string", "trees", "memory")
    feature = QgsFeature(layer.fields())
    feature["name"] = "oak"
    feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(5e5, 5.2e6)))
    layer.dataProvider().addFeature(feature)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = "trees"
    context = QgsProject.instance().transformContext()
    assert QgsVectorFileWriter.writeAsVectorFormatV2(layer, str(path), context, options)[0] == 0


def test_other_layers_of_a_geopackage_stay_and_ours_is_loaded(provider, project, found, tmp_path):
    out = tmp_path / "mine.gpkg"
    other_layer(out)
    for top in (9, 3):
        given = {"INPUT": str(found / "line_anomaly.tif"), "TOP": top, "OUTPUT": str(out)}
        processing.runAndLoadResults("hadgeo:threshold", given, feedback=Log())
        (layer,) = project.mapLayers().values()
        assert layer.renderer().type() == "graduatedSymbol"
        assert layer.name() == "Anomalies – line"
        assert 0 < layer.featureCount() <= top
        project.clear()
    trees = QgsVectorLayer(f"{out}|layername=trees", "trees", "ogr")
    assert [feature["name"] for feature in trees.getFeatures()] == ["oak"]
    with closing(sqlite3.connect(out)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        styles = database.execute("SELECT f_table_name FROM layer_styles").fetchall()
        assert styles == [("anomalies",)]


@pytest.mark.parametrize("again", ["scores", "polygons"])
def test_a_score_map_and_a_geojson_of_one_stem_keep_their_styles(run, scene, tmp_path, again):
    scores, polygons = tmp_path / "same.tif", tmp_path / "same.geojson"
    run("detect", INPUT=scene, DETECTOR="rx", PFA=0.01, OUTPUT=str(scores), POLYGONS=str(polygons))
    if again == "scores":
        styles.save_score_style(str(scores))
    else:
        polygon_style.save_polygon_style(str(polygons))
    raster, vector = QgsRasterLayer(str(scores), "same"), QgsVectorLayer(str(polygons), "same", "ogr")
    assert raster.renderer().type() == "singlebandpseudocolor"
    assert raster.renderer().classificationMax() > raster.renderer().classificationMin()
    assert vector.renderer().type() == "graduatedSymbol"
    assert vector.labelsEnabled()
    assert "Anomaly" in vector.mapTipTemplate()


@pytest.mark.parametrize("suffix", ["png", "vrt", "img", "jp2", "gpkg"])
def test_a_map_under_the_name_of_another_format_is_refused(run, found, scene, tmp_path, suffix):
    out = str(tmp_path / f"x.{suffix}")
    for name, given in {
        "detect": {"INPUT": scene, "DETECTOR": "rx", "OUTPUT": out},
        "simulate": {"ROWS": 20, "COLS": 20, "OUTPUT": out},
        "threshold": {
            "INPUT": str(found / "line_anomaly.tif"),
            "OUTPUT": str(tmp_path / "x.geojson"),
            "P_VALUES": out,
        },
    }.items():
        with pytest.raises(QgsProcessingException, match=r"give it the ending \.tif"):
            run(name, **given)
    assert not list(tmp_path.iterdir())


def test_truth_in_another_datum_says_how_it_was_moved(run, found, scene, tmp_path):
    transform = gdal.Open(scene).GetGeoTransform()
    ends = [(0, 0), (20, 0), (20, 20), (0, 20)]
    corners = [QgsPointXY(*gdal.ApplyGeoTransform(transform, float(col), float(row))) for col, row in ends]
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "truth", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromPolygonXY([corners]))
    layer.dataProvider().addFeature(feature)
    options = {"INPUT": layer, "TARGET_CRS": QgsCoordinateReferenceSystem("EPSG:31468"), "OUTPUT": "TEMPORARY_OUTPUT"}
    moved, log = processing.run("native:reprojectlayer", options)["OUTPUT"], Log()
    scores = str(found / "line_anomaly.tif")
    run("evaluate", log, INPUT=[scores], TRUTH=moved, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))
    said = [line for line in log.lines if "moved to the other datum by" in line]
    assert len(said) == 1
    assert "DHDN to WGS 84" in said[0]
    assert "accurate to" in said[0]
    log = Log()
    run("evaluate", log, INPUT=[scores], TRUTH=layer, BOOTSTRAP=0, OUTPUT=str(tmp_path / "r.html"))
    assert not any("the other datum" in line for line in log.lines)
