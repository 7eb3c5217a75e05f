"""Dialogs as a user sees them: grabbed as pictures, and driven."""

import os
import time
from pathlib import Path

import pytest
from conftest import BACKEND
from hadgeo_qgis.schema import DETECTORS
from osgeo import gdal
from processing.gui.AlgorithmDialog import AlgorithmDialog
from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog
from qgis.core import QgsApplication, QgsProcessingContext
from qgis.gui import QgsBrowserGuiModel
from qgis.PyQt.QtWidgets import QWidget

NAMES = [
    "detect",
    "train",
    "detectwithmodel",
    "threshold",
    "evaluate",
    "compare",
    "quicklook",
    "simulate",
    "information",
    "setupbackend",
]


@pytest.fixture
def pictures(tmp_path):
    """Where pictures go: HADGEO_PICTURES, to look at them."""
    folder = Path(os.environ.get("HADGEO_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def window(qgis_iface):
    """QGIS's window as far as dialogs ask for it."""
    model = QgsBrowserGuiModel()
    qgis_iface.browserModel = lambda: model
    return qgis_iface


@pytest.fixture
def dialog(provider, window):
    """Open the dialog that the toolbox would open."""
    opened = []

    def make(name):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"hadgeo:{name}")
        made = algorithm.createCustomParametersWidget(None) or AlgorithmDialog(algorithm, False, None)
        made.resize(900, 700)
        made.show()
        QgsApplication.processEvents()
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.close()
        made.deleteLater()
    QgsApplication.processEvents()


@pytest.mark.parametrize("name", NAMES)
def test_every_dialog_opens(name, dialog, pictures):
    picture = dialog(name).grab()
    assert picture.save(str(pictures / f"dialog_{name}.png"))
    image = picture.toImage()
    assert len({image.pixel(x, y) for x in range(0, image.width(), 9) for y in range(0, image.height(), 9)}) > 5


def shown(made):
    """Detectors of which the dialog shows a parameter."""
    wrappers = made.mainWidget().wrappers
    return {
        detector
        for detector, facts in DETECTORS.items()
        for key in facts["parameters"]
        if not wrappers[f"{detector}_{key}".upper()].wrappedWidget().isHidden()
    }


@pytest.mark.parametrize("name", ["detect", "train"])
def test_only_the_chosen_detectors_parameters_are_shown(name, dialog):
    made = dialog(name)
    assert shown(made) == {"fusion"}
    for detector in ("rx", "scoread", "bs3lnet"):
        made.setParameters({"DETECTOR": detector})
        assert shown(made) == {detector}


def test_values_of_the_dialog_reach_the_algorithm(dialog, scene):
    made = dialog("detect")
    made.setParameters({"INPUT": scene, "DETECTOR": "rx", "RX_SHRINKAGE": 0.25, "BANDS": "1-9"})
    values = made.createProcessingParameters()
    assert values["INPUT"] == scene
    assert values["DETECTOR"] == "rx"
    assert values["RX_SHRINKAGE"] == 0.25
    assert values["BANDS"] == "1-9"


def test_a_dialog_without_a_backend_still_opens(dialog, monkeypatch):
    monkeypatch.setenv("HADGEO_PYTHON", "")
    assert isinstance(dialog("detect"), QWidget)
    monkeypatch.setenv("HADGEO_PYTHON", BACKEND)


def test_a_batch_detects_on_every_scene(provider, window, project, scenes, tmp_path):
    batch = BatchAlgorithmDialog(QgsApplication.processingRegistry().createAlgorithmById("hadgeo:detect"), None)
    panel, context = batch.mainWidget(), QgsProcessingContext()
    columns = {name: column for column, name in panel.column_to_parameter_definition.items()}
    rows = [(scenes / "line.tif", tmp_path / "one.tif"), (scenes / "second.tif", tmp_path / "two.tif")]
    panel.addRow(len(rows) - panel.batchRowCount())
    for row, (scene, out) in enumerate(rows):
        panel.wrappers[row][columns["INPUT"]].setParameterValue(str(scene), context)
        panel.wrappers[row][columns["DETECTOR"]].setParameterValue("rx", context)
        panel.tblParameters.cellWidget(row + 1, columns["OUTPUT"]).setValue(str(out))
    batch.runAlgorithm()
    end = time.monotonic() + 60
    # 3.40 runs rows in a thread, 3.22 does not.
    while not all(out.with_suffix(".qml").is_file() for _, out in rows) and time.monotonic() < end:
        QgsApplication.processEvents()
    assert all(gdal.Open(str(out)).GetMetadata()["HADGEO_DETECTOR"] == "rx" for _, out in rows)
    # Both the row's end and its layer are still to be handled.
    for _ in range(20):
        QgsApplication.processEvents()
        time.sleep(0.05)
