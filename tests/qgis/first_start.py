"""Runs inside QGIS's own window, by `qgis --code`, where there is no backend yet: presses what a new user would press.

The environment variable HADGEO_SEEN names the file in which the answer is written, HADGEO_BACKEND an interpreter that
has hadgeo, which becomes that of the profile.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from qgis import utils
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication, QPushButton, QToolBar

FILE = Path(os.environ["HADGEO_SEEN"])
seen = {}


def end():
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


def offered():
    """Texts of the messages that have hadgeo's button."""
    bar = utils.iface.messageBar()
    return [item.text() for item in bar.items() if any(b.text() == "Set up the backend" for b in buttons(item))]


def buttons(widget):
    return widget.findChildren(QPushButton)


def dialogs():
    return [widget.windowTitle() for widget in QApplication.topLevelWidgets() if hasattr(widget, "algorithm")]


@guarded
def look():
    plugin = utils.plugins["hadgeo_qgis"]
    bars = utils.iface.mainWindow().findChildren(QToolBar)
    seen["toolbar"] = [action.text() for bar in bars for action in bar.actions() if action in plugin._actions]
    menus = [menu for menu in utils.iface.pluginMenu().actions() if menu.text().replace("&", "") == "hadgeo"]
    seen["menu"] = [action.text() for menu in menus for action in menu.menu().actions()]
    seen["first"] = offered()
    # Without a backend, detection leads to the message too, and to one alone.
    next(action for action in plugin._actions if action.text().startswith("Detect")).trigger()
    QTimer.singleShot(500, press)


@guarded
def press():
    seen["second"] = offered()
    (item,) = [item for item in utils.iface.messageBar().items() if any(buttons(item))]
    next(button for button in buttons(item) if button.text() == "Set up the backend").click()
    QTimer.singleShot(3000, set_up)


@guarded
def set_up():
    seen["dialogs"] = dialogs()
    (dialog,) = [widget for widget in QApplication.topLevelWidgets() if hasattr(widget, "algorithm")]
    seen["warnings"] = len(dialog.messageBar().items())
    seen["during"] = offered()
    for widget in QApplication.topLevelWidgets():
        if hasattr(widget, "algorithm"):
            widget.close()
    # What a set-up leaves, and what it calls at its end.
    made = Path(QgsApplication.qgisSettingsDirPath()) / "hadgeo" / "backend" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.symlink_to(os.environ["HADGEO_BACKEND"])
    algorithm = QgsApplication.processingRegistry().algorithmById("hadgeo:setupbackend").create()
    algorithm.setProvider(QgsApplication.processingRegistry().providerById("hadgeo"))
    algorithm.postProcess(QgsProcessingContext(), QgsProcessingFeedback())
    QTimer.singleShot(1000, after)


@guarded
def after():
    seen["after"] = offered()
    plugin = utils.plugins["hadgeo_qgis"]
    # The dialog keeps whoever opened it waiting.
    QTimer.singleShot(3000, detect)
    next(action for action in plugin._actions if action.text().startswith("Detect")).trigger()


@guarded
def detect():
    seen["detect"] = dialogs()
    utils.unloadPlugin("hadgeo_qgis")
    end()


sys.excepthook = lambda *error: seen.update(error="".join(traceback.format_exception(*error)))
QTimer.singleShot(2000, look)
