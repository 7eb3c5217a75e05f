"""Runs inside QGIS's own window, by `qgis --code`: detects anomalies with the mouse alone, and counts its clicks.

The environment variable HADGEO_SEEN names the file in which the answer is written. The scene is a layer already, among
others, as QGIS was started with it.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from qgis import utils
from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDialogButtonBox, QToolBar

FILE = Path(os.environ["HADGEO_SEEN"])
seen = {"clicks": 0}


def end():
    seen["layers"] = [layer.name() for layer in QgsProject.instance().layerTreeRoot().layerOrder()]
    FILE.write_text(json.dumps(seen))
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


def click(widget):
    assert widget.isVisible()
    assert widget.isEnabled()
    seen["clicks"] += 1
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def dialog():
    (found,) = [widget for widget in QApplication.topLevelWidgets() if hasattr(widget, "algorithm")]
    return found


@guarded
def open_dialog():
    action = next(one for one in utils.plugins["hadgeo_qgis"]._actions if one.text().startswith("Detect"))
    bar = next(bar for bar in utils.iface.mainWindow().findChildren(QToolBar) if action in bar.actions())
    # The dialog keeps whoever opened it waiting.
    QTimer.singleShot(3000, detect)
    click(bar.widgetForAction(action))


@guarded
def detect():
    made = dialog()
    scene = made.mainWidget().wrappers["INPUT"].parameterValue()
    seen["scene"] = QgsProject.instance().mapLayer(scene).name()
    made.algorithmFinished.connect(lambda *_: QTimer.singleShot(2000, close))
    click(made.buttonBox().button(QDialogButtonBox.StandardButton.Ok))


@guarded
def close():
    made = dialog()
    seen["log"] = made.htmlLog() if hasattr(made, "htmlLog") else ""
    click(made.buttonBox().button(QDialogButtonBox.StandardButton.Close))
    QTimer.singleShot(500, guarded(end))


sys.excepthook = lambda *error: seen.update(error="".join(traceback.format_exception(*error)))
# As on a usual screen; else toolbars would hide in others.
utils.iface.mainWindow().setGeometry(0, 0, 1920, 1000)
QTimer.singleShot(2000, open_dialog)
