"""Runs inside QGIS's own window, by `qgis --code`: loads a run's layers, reviews, and tells what it saw.

The environment variable HADGEO_REVIEW names the folder of the layers, in which the answer is written too.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from qgis import utils
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDockWidget, QPushButton, QToolBar

FOLDER = Path(os.environ["HADGEO_REVIEW"])
seen = {}


def end():
    (FOLDER / "seen.json").write_text(json.dumps(seen))
    # QGIS takes its time to end, and crashes now and then while it does.
    os._exit(0)


def guarded(step):
    def run():
        try:
            step()
        except BaseException:
            seen["error"] = traceback.format_exc()
            end()

    return run


@guarded
def load():
    project = QgsProject.instance()
    for name in ("line", "line_anomaly"):
        project.addMapLayer(QgsRasterLayer(str(FOLDER / f"{name}.tif"), name))
    project.addMapLayer(QgsVectorLayer(str(FOLDER / "line.gpkg"), "anomalies", "ogr"))
    bars = utils.iface.mainWindow().findChildren(QToolBar)
    seen["toolbars"] = [bar.windowTitle() for bar in bars if any("Review" in a.text() for a in bar.actions())]
    QTimer.singleShot(1000, open_dock)


@guarded
def open_dock():
    buttons = utils.iface.messageBar().findChildren(QPushButton)
    seen["offered"] = sorted(button.text() for button in buttons if button.text())
    next(button for button in buttons if button.text() == "Review anomalies").click()
    QTimer.singleShot(1000, review)


@guarded
def review():
    dock = utils.plugins["hadgeo_qgis"].dock
    if dock.add_fields.isVisible():
        dock.add_fields.click()
    utils.iface.mainWindow().activateWindow()
    for key in (Qt.Key.Key_A, Qt.Key.Key_R, Qt.Key.Key_J, Qt.Key.Key_U):
        QTest.keyClick(dock.body, key)
    QTimer.singleShot(500, save)


@guarded
def save():
    dock = utils.plugins["hadgeo_qgis"].dock
    seen["counter"] = dock.counter.text()
    seen["plot"] = [curve[0] for curve in dock.spectrum.plot.curves]
    seen["width"] = dock.width() - dock.widget().minimumWidth()
    # QGIS's own undo is that of the layer under review.
    utils.iface.setActiveLayer(dock.anomalies.layer)
    dock.anomalies.layer.undoStack().undo()
    seen["undone"] = dock.counter.text()
    utils.iface.actionSaveActiveLayerEdits().trigger()
    seen["unsaved"] = dock.anomalies.unsaved()
    wait_for_rates(dock)


def wait_for_rates(dock, left=120):
    if dock.rate.rates is None and left:
        QTimer.singleShot(500, guarded(lambda: wait_for_rates(dock, left - 1)))
        return
    seen["rates"] = dock.rate.told.text()
    utils.iface.mainWindow().grab().save(str(FOLDER / "window.png"))
    utils.unloadPlugin("hadgeo_qgis")
    QTimer.singleShot(500, look_for_docks)


@guarded
def look_for_docks():
    seen["docks"] = [dock.windowTitle() for dock in utils.iface.mainWindow().findChildren(QDockWidget)]
    end()


sys.excepthook = lambda *error: seen.update(error="".join(traceback.format_exception(*error)))
QTimer.singleShot(1000, load)
