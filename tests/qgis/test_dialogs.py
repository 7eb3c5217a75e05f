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
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProject,
    QgsRasterLayer,
)
from qgis.gui import QgsBrowserGuiModel
from qgis.PyQt.QtWidgets import QGroupBox, QWidget

NAMES = [
    "detect",
    "train",
    "detectwithmodel",
    "mission",
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


def advanced_group(made):
    """The group of advanced parameters."""
    return made.findChild(QGroupBox, "grpAdvanced")


def test_the_advanced_group_shows_the_chosen_detectors_parameters_alone_when_it_is_opened(dialog):
    made = dialog("detect")
    group, wrappers = advanced_group(made), made.mainWidget().wrappers
    # QGIS remembers how it was left.
    group.setProperty("collapsed", True)
    group.setProperty("collapsed", False)
    assert shown(made) == {"fusion"}
    assert wrappers["FUSION_SEED"].wrappedWidget().isVisible()
    made.setParameters({"DETECTOR": "bs3lnet"})
    assert shown(made) == {"bs3lnet"}
    assert wrappers["BS3LNET_STEPS"].wrappedWidget().isVisible()
    group.setProperty("collapsed", True)
    made.setParameters({"DETECTOR": "scoread"})
    # What is in a closed group is not to be drawn over what follows.
    assert wrappers["SCOREAD_STEPS"].wrappedWidget().isHidden()
    group.setProperty("collapsed", False)
    assert shown(made) == {"scoread"}
    assert wrappers["SCOREAD_STEPS"].wrappedWidget().isVisible()
    group.setProperty("collapsed", True)


def test_detectors_have_names_for_people_and_say_what_they_cost(dialog, scene):
    made = dialog("detect")
    made.setParameters({"INPUT": scene})
    box = made.mainWidget().wrappers["DETECTOR"].widget
    told = {box.itemData(index): box.itemText(index) for index in range(box.count())}
    assert set(told) == set(DETECTORS)
    assert told["rx"] == "RX: fast, seconds"
    assert told["scoread"] == "ScoreAD: minutes"
    assert box.currentData() == "fusion"
    made.setParameters({"DETECTOR": "RX"})
    assert made.createProcessingParameters()["DETECTOR"] == "rx"


def raster(path, bands):
    gdal.GetDriverByName("GTiff").Create(str(path), 6, 6, bands, gdal.GDT_Float32).FlushCache()
    return QgsRasterLayer(str(path), path.stem)


def chosen(made, name="INPUT"):
    given = made.createProcessingParameters()[name]
    layer = QgsProject.instance().mapLayer(given)
    return layer.name() if layer is not None else given


def test_the_scene_is_the_raster_with_many_bands_and_scores_are_a_map(dialog, project, scene, found, tmp_path):
    photo, heat = raster(tmp_path / "a_photo.tif", 3), QgsRasterLayer(str(found / "line_anomaly.tif"), "b_scores")
    truth = QgsRasterLayer(str(found / "line_truth.tif"), "a_truth")
    project.addMapLayers([photo, heat, truth, raster(tmp_path / "a_height.tif", 1), QgsRasterLayer(scene, "z_scene")])
    for name in ("detect", "match", "compare", "quicklook", "detectwithmodel"):
        wrapper = dialog(name).mainWidget().wrappers["INPUT"]
        assert project.mapLayer(wrapper.parameterValue()).name() == "z_scene", name
    assert chosen(dialog("threshold")) == "b_scores"
    compared = dialog("compare").mainWidget().wrappers["TRUTH"]
    assert project.mapLayer(compared.parameterValue()).name() == "a_truth"


def test_another_scene_that_the_user_works_on_is_kept(dialog, project, scene, tmp_path, window):
    few, many = raster(tmp_path / "few.tif", 12), QgsRasterLayer(scene, "many")
    project.addMapLayers([few, many])
    window.setActiveLayer(few)
    assert chosen(dialog("detect")) == "few"


def test_anomalies_are_asked_for_to_begin_with(dialog, scene):
    made = dialog("detect")
    made.setParameters({"INPUT": scene})
    values = made.createProcessingParameters()
    assert values["POLYGONS"]
    assert not values.get("SUPPRESSED_MASK")
    assert not values.get("REPORT")


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


def columns_of_detectors(panel):
    """Detectors of which the table shows a column."""
    return {
        detector
        for detector, facts in DETECTORS.items()
        for key in facts["parameters"]
        if not panel.tblParameters.isColumnHidden(panel.parameter_to_column[f"{detector}_{key}".upper()])
    }


def test_a_batch_shows_columns_of_the_detectors_that_are_chosen(provider, window, project):
    batch = BatchAlgorithmDialog(QgsApplication.processingRegistry().createAlgorithmById("hadgeo:detect"), None)
    panel, context = batch.mainWidget(), QgsProcessingContext()
    table, detector = panel.tblParameters, panel.parameter_to_column["DETECTOR"]
    visible = [
        table.horizontalHeaderItem(column).text()
        for column in range(table.columnCount())
        if table.horizontalHeaderItem(column) and not table.isColumnHidden(column)
    ]
    assert visible[:3] == ["Scene", "Detector", "Fusion: Preset"]
    assert len(visible) <= 12
    panel.addRow(1)
    panel.wrappers[1][detector].setParameterValue("rx", context)
    assert columns_of_detectors(panel) == {"fusion", "rx"}
    steps, sample = (panel.parameter_to_column[name] for name in ("BS3LNET_STEPS", "RX_SAMPLE"))
    assert table.isColumnHidden(sample)
    panel.btnAdvanced.setChecked(True)
    assert columns_of_detectors(panel) == {"fusion", "rx"}
    assert not table.isColumnHidden(sample)
    assert table.isColumnHidden(steps)
    panel.btnAdvanced.setChecked(False)
    assert table.isColumnHidden(sample)
    batch.close()


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
    assert columns_of_detectors(panel) == {"rx"}
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


def test_the_model_designer_takes_a_detector_as_it_takes_other_values(provider, window):
    from processing.modeler.ModelerParametersDialog import ModelerParametersDialog

    model = QgsProcessingModelAlgorithm("chain", "tests")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("hadgeo:detect")
    designer = ModelerParametersDialog(algorithm, model)
    designer.widget.widget.wrappers["DETECTOR"].setWidgetValue(
        QgsProcessingModelChildParameterSource.fromStaticValue("rx")
    )
    child = designer.createAlgorithm()
    (source,) = child.parameterSources()["DETECTOR"]
    assert source.staticValue() == "rx"
    designer.close()
