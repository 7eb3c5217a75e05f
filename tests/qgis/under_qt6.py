"""Load the plugin under PyQt6, as QGIS 4 will: real PyQt6, and stand-ins for QGIS that have no unscoped enumerators.

python under_qt6.py ENUMERATORS.json [STATEMENT]. There is no QGIS 4 to test with here. ENUMERATORS.json says for each
class of the real QGIS which of its attributes are enumerators; PyQt6 has them in their enumerations alone.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import PyQt6.QtCore
import PyQt6.QtGui
import PyQt6.QtWidgets

ENUMERATORS = json.loads(Path(sys.argv[1]).read_text())


class Like(type):
    """Classes that have every attribute but unscoped enumerators."""

    def __getattr__(cls, name):
        if name.startswith("__") or name in ENUMERATORS.get(cls.__name__, ()):
            raise AttributeError(f"QGIS 4 has no {cls.__name__}.{name}")
        return Like(name, (Standin,), {})

    def __or__(cls, other):
        return cls

    __ror__ = __or__


class Standin(metaclass=Like):
    """An object that takes every call."""

    def __init__(self, *args, **kwargs):
        self.args = args

    def __getattr__(self, name):
        if name.startswith("__") or name in ENUMERATORS.get(type(self).__name__, ()):
            raise AttributeError(f"QGIS 4 has no {type(self).__name__}.{name}")
        return Standin()

    def __call__(self, *args, **kwargs):
        return Standin(*args)

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __iter__(self):
        return iter(())

    def __str__(self):
        return "/nowhere"


def module(name, **attributes):
    made = types.ModuleType(name)
    made.__dict__.update(attributes)
    if not attributes:
        made.__getattr__ = lambda key: Like(key, (Standin,), {})
    sys.modules[name] = made
    return made


for name in ("qgis", "processing"):
    module(name, __path__=[])
module("qgis.PyQt", __path__=[])
for name in ("QtCore", "QtGui"):
    sys.modules[f"qgis.PyQt.{name}"] = getattr(PyQt6, name)
# As QGIS itself does: classes that Qt 6 moved are still found where they were.
module("qgis.PyQt.QtWidgets", **{**vars(PyQt6.QtWidgets), "QAction": PyQt6.QtGui.QAction})
for name in ("qgis.core", "qgis.gui", "processing.core.ProcessingConfig", "processing.gui.AlgorithmDialog"):
    module(name)
for name in ("processing.core", "processing.gui"):
    module(name, __path__=[])


class Interface:
    """QGIS's window as far as the plugin asks for it."""

    def __init__(self):
        self.window = None

    def mainWindow(self):
        return self.window

    def mapCanvas(self):
        return Standin()

    def addDockWidget(self, area, dock):
        self.window.addDockWidget(area, dock)

    def removeDockWidget(self, dock):
        self.window.removeDockWidget(dock)

    def __getattr__(self, name):
        return lambda *args: None


module("qgis.utils", iface=Interface())
module("osgeo", gdal=Standin())

sys.path.insert(0, str(Path(__file__).parents[2] / "qgis_plugin"))
from hadgeo_qgis import classFactory, dialog, polygon_style, styles  # noqa: E402, F401
from hadgeo_qgis.algorithms import ALGORITHMS  # noqa: E402
from hadgeo_qgis.review import threshold_style  # noqa: E402
from hadgeo_qgis.review.scene import Look  # noqa: E402

application = PyQt6.QtWidgets.QApplication(["test", "-platform", "offscreen"])
sys.modules["qgis.utils"].iface.window = PyQt6.QtWidgets.QMainWindow()
plugin = classFactory(None)
plugin.initGui()
plugin.review()
dock = plugin.dock
for key in "jkaruxnz":
    press = PyQt6.QtGui.QKeyEvent(
        PyQt6.QtCore.QEvent.Type.KeyPress, 0, PyQt6.QtCore.Qt.KeyboardModifier.NoModifier, key
    )
    assert dock.action_of(press) is not None
plot = dock.spectrum.plot
bands = np.arange(5.0)
plot.show_look(bands + 400, bands > 0, Look(bands, bands + 1, bands / 9, 3), Look(bands * 2, bands, bands * np.nan, 1))
plot.grab()
dock.verdict.show_verdict("accepted", "a note")
dock.grab()
threshold_style.renderer(Standin(), 3.0, 1.0, 5.0)
application.processEvents()
for algorithm in ALGORITHMS:
    made = algorithm()
    made.initAlgorithm()
    assert not made.icon().isNull()
    assert made.tags()
polygon_style._renderer()
polygon_style._labels()
# There is no map to take percentiles of.
styles.score_range = lambda path: (0.0, 1.0)
styles.style_scores(Standin())
styles.save_p_value_style("/nowhere/p.tif")
styles.Named("name")
plugin.unload()
if len(sys.argv) > 2:
    exec(sys.argv[2])
print("loaded under Qt", PyQt6.QtCore.QT_VERSION_STR)
