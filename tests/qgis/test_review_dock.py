"""The dock as a user has it: keys, verdicts, the slider, and what is greyed with a word why."""

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import BACKEND, worker
from hadgeo_qgis.review.anomaly_layer import FIELDS
from osgeo import gdal, ogr
from qgis import utils
from qgis.core import QgsApplication, QgsPointXY, QgsRasterLayer, QgsSingleBandGrayRenderer, QgsVectorLayer
from qgis.gui import QgsMessageBar
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMainWindow, QPushButton, QShortcut

Key = Qt.Key


def wait(until, seconds=60):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QgsApplication.processEvents()
        time.sleep(0.01)
    assert until()


@pytest.fixture
def window(provider, qgis_iface, monkeypatch):
    """QGIS's window: a real one, as far as a plugin asks for it."""
    made, bar = QMainWindow(), QgsMessageBar()
    made.setCentralWidget(bar)
    for name, value in {
        "mainWindow": lambda: made,
        "messageBar": lambda: bar,
        "addDockWidget": made.addDockWidget,
        "removeDockWidget": made.removeDockWidget,
    }.items():
        monkeypatch.setattr(qgis_iface, name, value, raising=False)
    monkeypatch.setattr(utils, "iface", qgis_iface)
    made.resize(900, 900)
    made.show()
    yield qgis_iface
    made.close()
    made.deleteLater()


@pytest.fixture
def plugin(window, project, monkeypatch):
    """The plugin's part of the window; the provider is there already."""
    from hadgeo_qgis import plugin as module

    monkeypatch.setattr(module, "iface", window)
    provider = QgsApplication.processingRegistry().providerById("hadgeo")
    # It stays for the other tests.
    registry = SimpleNamespace(removeProvider=lambda _provider: None)
    monkeypatch.setattr(module, "QgsApplication", SimpleNamespace(processingRegistry=lambda: registry))
    made = module.HadgeoPlugin()
    monkeypatch.setattr(made, "initProcessing", lambda: setattr(made, "_provider", provider))
    yield made
    made.unload()


@pytest.fixture
def files(found, tmp_path):
    """A copy of what a run leaves."""
    for name in ("line.tif", "line_anomaly.tif", "line.gpkg", "line.json", "line.nc"):
        shutil.copy(found / name, tmp_path / name)
    return tmp_path


def anomalies(files):
    """The layer of anomalies, with the fields of a review."""
    path = files / "line.gpkg"
    dataset = ogr.Open(str(path), 1)
    layer = dataset.GetLayer(0)
    for name in FIELDS:
        if layer.GetLayerDefn().GetFieldIndex(name) < 0:
            layer.CreateField(ogr.FieldDefn(name, ogr.OFTString))
    dataset = layer = None
    return QgsVectorLayer(str(path), "anomalies", "ogr")


@pytest.fixture
def dock(plugin, project, files):
    """The dock on a layer of anomalies, with its scene and its scores."""
    layer = anomalies(files)
    project.addMapLayers([QgsRasterLayer(str(files / f"{n}.tif"), n) for n in ("line", "line_anomaly")])
    project.addMapLayer(layer)
    utils.iface.mapCanvas().setDestinationCrs(layer.crs())
    plugin.review(layer)
    wait(lambda: plugin.dock.rate.rates is not None)
    return plugin.dock


def press(dock, *keys):
    for key in keys:
        QTest.keyClick(dock.body, key)
        QgsApplication.processEvents()


def number(dock):
    return dock.anomalies.layer.getFeature(dock.current)["id"]


def said(dock):
    return [verdict for verdict in dock.queue.verdicts.values() if verdict]


def in_file(files):
    dataset = ogr.Open(str(files / "line.gpkg"))
    return [feature.GetField("verdict") for feature in dataset.GetLayer(0)]


def test_it_opens_on_the_rarest_with_the_scene_and_the_scores_that_belong_to_it(dock, files):
    assert number(dock) == 1
    assert dock.scenes.layer().name() == "line"
    assert dock.scores.layer().name() == "line_anomaly"
    assert dock.spectrum.look.pixels >= 1
    assert not dock.spectrum.chip.pixmap().isNull()
    assert "Anomaly 1" in dock.facts.text()
    assert dock.counter.text() == f"0 of {len(dock.queue.verdicts)} looked at"
    canvas = utils.iface.mapCanvas()
    feature = dock.anomalies.layer.getFeature(dock.current)
    assert canvas.extent().contains(feature.geometry().boundingBox())
    assert canvas.extent().width() > 20 * 2
    folder = Path(os.environ.get("HADGEO_PICTURES", files))
    assert dock.grab().save(str(folder / "dock.png"))


def test_keys_step_through_the_anomalies(dock):
    press(dock, Key.Key_J, Key.Key_Right, Key.Key_Down)
    assert number(dock) == 4
    before = dock.spectrum.look
    press(dock, Key.Key_K)
    assert number(dock) == 3
    assert dock.spectrum.look is not before
    press(dock, Key.Key_Left, Key.Key_Up, Key.Key_Up)
    assert number(dock) == 1
    assert "no further anomaly" in dock.problem.text().lower()


def test_verdicts_by_keys_are_undone_and_saved(dock, files):
    dock.verdict.reviewer.setText("Ada")
    press(dock, Key.Key_A, Key.Key_R, Key.Key_U)
    assert said(dock) == ["accepted", "rejected", "unsure"]
    assert number(dock) == 4
    assert "3 of" in dock.counter.text()
    press(dock, Key.Key_K)
    assert dock.verdict.buttons["unsure"].isChecked()
    dock.verdict.undo.click()
    assert said(dock) == ["accepted", "rejected"]
    assert not dock.verdict.buttons["unsure"].isChecked()
    press(dock, Key.Key_K, Key.Key_X)
    assert said(dock) == ["accepted"]
    assert number(dock) == 2
    dock.verdict.save.click()
    assert not dock.anomalies.unsaved()
    assert not dock.verdict.save.isEnabled()
    rows = in_file(files)
    assert rows[0] == "accepted"
    assert not any(rows[1:])


def test_keys_come_before_shortcuts_of_qgis_and_after_writing(dock):
    taken = []
    shortcut = QShortcut(Qt.Key.Key_A, utils.iface.mainWindow())
    shortcut.activated.connect(lambda: taken.append("QGIS"))
    press(dock, Key.Key_A)
    assert said(dock) == ["accepted"]
    assert not taken
    press(dock, Key.Key_N)
    QTest.keyClicks(dock.verdict.note, "a car, u know")
    QTest.keyClick(dock.verdict.note, Key.Key_Return)
    QgsApplication.processEvents()
    assert said(dock) == ["accepted"]
    assert number(dock) == 2
    assert dock.anomalies.layer.getFeature(dock.current)["note"] == "a car, u know"
    assert dock.anomalies.layer.undoStack().undoText() == "Anomaly 2: note"


def test_a_note_that_is_still_being_written_goes_with_its_anomaly(dock):
    first = dock.current
    dock.verdict.note.setText("half a note")
    dock.verdict.next.click()
    assert dock.anomalies.layer.getFeature(first)["note"] == "half a note"
    assert dock.verdict.note.text() == ""
    dock.verdict.note.setText("and another")
    second = dock.current
    dock.verdict.buttons["rejected"].click()
    feature = dock.anomalies.layer.getFeature(second)
    assert (feature["verdict"], feature["note"]) == ("rejected", "and another")


def test_a_filter_shows_what_is_left(dock):
    press(dock, Key.Key_A, Key.Key_J, Key.Key_R)
    dock.filter.setCurrentIndex([dock.filter.itemText(i) for i in range(dock.filter.count())].index("Not looked at"))
    assert number(dock) == 4
    press(dock, Key.Key_K)
    assert number(dock) == 2
    press(dock, Key.Key_A)
    assert number(dock) == 4
    press(dock, Key.Key_K)
    assert number(dock) == 4
    dock.filter.setCurrentIndex([dock.filter.itemText(i) for i in range(dock.filter.count())].index("Rejected"))
    assert number(dock) == 3
    dock.filter.setCurrentIndex([dock.filter.itemText(i) for i in range(dock.filter.count())].index("Unsure"))
    assert "no anomaly passes" in dock.problem.text().lower()


def test_what_others_do_to_the_layer_is_seen(dock):
    layer, index = dock.anomalies.layer, dock.anomalies.layer.fields().indexOf("verdict")
    layer.startEditing()
    layer.changeAttributeValue(dock.current, index, "unsure")
    assert dock.counter.text().endswith("1 unsure")
    layer.rollBack()
    assert "0 of" in dock.counter.text()


def test_a_click_on_the_map_shows_that_pixels_spectrum(dock, files):
    dataset = gdal.Open(str(files / "line.tif"))
    dock.spectrum.pick.setChecked(True)
    canvas = utils.iface.mapCanvas()
    assert canvas.mapTool() is dock.spectrum.tool
    point = QgsPointXY(*gdal.ApplyGeoTransform(dataset.GetGeoTransform(), 30.5, 50.5))
    dock.spectrum.tool.canvasClicked.emit(point, Qt.MouseButton.LeftButton)
    stored = dataset.ReadAsArray(30, 50, 1, 1).ravel() * dataset.GetRasterBand(1).GetScale()
    np.testing.assert_allclose(dock.spectrum.clicked.spectrum, stored, rtol=1e-9)
    assert "row 50, column 30" in dock.spectrum.told.text()
    assert [curve[0] for curve in dock.spectrum.plot.curves] == ["expected", "anomaly", "clicked pixel"]
    # Keys that are pressed on the map go on with the review.
    QTest.keyClick(canvas, Key.Key_A)
    QgsApplication.processEvents()
    assert said(dock) == ["accepted"]
    assert dock.spectrum.clicked is None
    dock.spectrum.tool.canvasClicked.emit(QgsPointXY(0, 0), Qt.MouseButton.LeftButton)
    assert "no pixel of the scene" in dock.spectrum.told.text()
    dock.spectrum.pick.setChecked(False)
    assert canvas.mapTool() is not dock.spectrum.tool


def test_the_slider_says_restyles_and_makes_polygons(dock, files, project):
    rate = dock.rate
    layer = dock.scores.layer()
    own = layer.renderer().type()
    before = set(project.mapLayers())
    rate.slider.setSliderDown(True)
    rate.set_rate(5e-3)
    told = worker("threshold", scores=str(files / "line_anomaly.tif"), pfa=rate.rate())
    assert f"<b>{told['groups']}</b> objects, {told['pixels']} pixels" in rate.told.text()
    assert layer.renderer().type() == "singlebandpseudocolor"
    items = layer.renderer().shader().rasterShaderFunction().colorRampItemList()
    assert told["threshold"] in [np.float32(item.value) for item in items]
    # Nothing is made before it is let go.
    assert set(project.mapLayers()) == before
    rate.slider.setSliderDown(False)
    wait(lambda: set(project.mapLayers()) != before)
    (made,) = (project.mapLayer(key) for key in set(project.mapLayers()) - before)
    assert made.featureCount() == told["groups"]
    assert made.renderer().type() == "graduatedSymbol"
    # Nobody has said anything yet: the new polygons are reviewed.
    assert dock.layers.layer() is made
    rate.on_map.setChecked(False)
    wait(lambda: rate.rates is not None)
    assert layer.renderer().type() == own


def test_polygons_under_review_are_not_left_for_new_ones(dock, project):
    press(dock, Key.Key_A)
    before, reviewed = set(project.mapLayers()), dock.layers.layer()
    dock.rate.make_polygons()
    wait(lambda: set(project.mapLayers()) != before)
    assert dock.layers.layer() is reviewed
    assert said(dock) == ["accepted"]


def test_without_scene_and_scores_verdicts_are_given_all_the_same(plugin, project, files):
    layer = anomalies(files)
    project.addMapLayer(layer)
    plugin.review(layer)
    dock = plugin.dock
    assert dock.scenes.layer() is None
    assert not dock.spectrum.pick.isEnabled()
    assert "Choose the scene" in dock.spectrum.pick.toolTip()
    assert not dock.rate.slider.isEnabled()
    assert "Choose a score map" in dock.rate.told.text()
    press(dock, Key.Key_A)
    assert said(dock) == ["accepted"]
    project.removeMapLayer(layer)
    assert dock.current is None
    press(dock, Key.Key_A, Key.Key_J)
    assert "Load a layer" in dock.facts.text()


def test_a_layer_of_before_gets_the_fields_on_request(plugin, project, files):
    layer = QgsVectorLayer(str(files / "line.gpkg"), "old", "ogr")
    there = [layer.fields().indexOf(name) for name in FIELDS if layer.fields().indexOf(name) >= 0]
    layer.dataProvider().deleteAttributes(there)
    layer.updateFields()
    project.addMapLayer(layer)
    plugin.review(layer)
    dock = plugin.dock
    assert "no fields for verdicts" in dock.problem.text()
    assert not dock.verdict.buttons["accepted"].isEnabled()
    press(dock, Key.Key_A)
    assert not said(dock)
    assert "no fields for verdicts" in dock.problem.text()
    dock.add_fields.click()
    assert dock.problem.text() == ""
    press(dock, Key.Key_A)
    assert said(dock) == ["accepted"]
    dock.verdict.save.click()
    assert in_file(files)[0] == "accepted"


def test_the_scene_and_the_scores_of_these_anomalies_are_chosen_among_others(plugin, project, files, found):
    for name in ("line2", "line_anomaly2"):
        shutil.copy(files / f"{name[:-1]}.tif", files / f"{name}.tif")
    worker("threshold", scores=str(files / "line_anomaly.tif"), pfa=0.01, p_values=str(files / "line.p.tif"))
    shutil.copy(found / "line_truth.tif", files / "line_a.tif")
    names = ("line2", "line_anomaly2", "line.p", "line_a", "line_anomaly", "line")
    project.addMapLayers([QgsRasterLayer(str(files / f"{name}.tif"), name) for name in names])
    layer = anomalies(files)
    project.addMapLayer(layer)
    plugin.review(layer)
    assert plugin.dock.scores.layer().name() == "line_anomaly"
    assert plugin.dock.scenes.layer().name() == "line"
    wait(lambda: plugin.dock.rate.rates is not None)


def test_a_read_only_layer_is_told(plugin, project, files):
    layer = anomalies(files)
    layer.setReadOnly(True)
    project.addMapLayer(layer)
    plugin.review(layer)
    assert "read-only" in plugin.dock.problem.text()
    assert not plugin.dock.verdict.buttons["accepted"].isEnabled()
    press(plugin.dock, Key.Key_J)
    assert number(plugin.dock) == 2


def test_rates_without_manifest_and_backend_are_told(plugin, project, files, monkeypatch):
    (files / "line.json").unlink()
    layer = anomalies(files)
    project.addMapLayers([layer, QgsRasterLayer(str(files / "line_anomaly.tif"), "line_anomaly")])
    monkeypatch.setenv("HADGEO_PYTHON", "")
    plugin.review(layer)
    wait(lambda: "Reading" not in plugin.dock.rate.told.text())
    assert "Set up the backend" in plugin.dock.rate.told.text()
    assert not plugin.dock.rate.slider.isEnabled()
    # With a backend, that is asked.
    monkeypatch.setenv("HADGEO_PYTHON", BACKEND)
    plugin.dock.rate.set_layer(plugin.dock.scores.layer(), "")
    wait(lambda: plugin.dock.rate.rates is not None)
    assert plugin.dock.rate.slider.isEnabled()


@pytest.fixture
def offered(window):
    """Buttons of the message bar by their texts, as they come."""
    found = {}
    bar = window.messageBar()
    bar.widgetAdded.connect(
        lambda item: found.update({b.text(): b for b in item.findChildren(QPushButton) if b.text()})
    )
    return found


def test_what_is_loaded_is_offered_and_what_a_project_brings_is_not(plugin, project, files, tmp_path, offered):
    plugin.initGui()
    layer, scene = anomalies(files), QgsRasterLayer(str(files / "line.tif"), "line")
    project.addMapLayers([scene, layer])
    wait(lambda: len(offered) == 2)
    offered["True colour"].click()
    wait(lambda: scene.renderer().type() == "multibandcolor")
    assert plugin.dock is None
    offered["Review anomalies"].click()
    wait(lambda: plugin.dock is not None)
    assert plugin.dock.isVisible()
    assert plugin.dock.layers.layer() is layer
    scene.setRenderer(QgsSingleBandGrayRenderer(scene.dataProvider(), 1))
    plugin.dock.close()
    offered.clear()
    path = str(tmp_path / "project.qgs")
    assert project.write(path)
    assert project.read(path)
    assert len(project.mapLayers()) == 2
    for _ in range(20):
        QgsApplication.processEvents()
    assert not offered


def test_unloading_leaves_nothing(plugin, project, files, offered):
    plugin.initGui()
    layer = anomalies(files)
    project.addMapLayer(layer)
    plugin.review(layer)
    plugin.unload()
    assert plugin.dock is None
    project.addMapLayer(QgsRasterLayer(str(files / "line.tif"), "line"))
    for _ in range(5):
        QgsApplication.processEvents()
    assert "True colour" not in offered
