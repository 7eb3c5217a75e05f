"""What the provider shows before anything runs."""

import pytest
from hadgeo_qgis import settings
from hadgeo_qgis.algorithms.base import Feedback
from hadgeo_qgis.schema import DETECTORS
from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import QgsProcessingFeedback, QgsProcessingParameterDefinition
from qgis.PyQt.QtGui import QIcon

EXPECTED = {
    "detect": "Detect anomalies",
    "train": "Train a detector",
    "detectwithmodel": "Detect with a trained detector",
    "mission": "Detect on a mission",
    "match": "Find more like this",
    "threshold": "Threshold and polygons",
    "evaluate": "Evaluate against truth",
    "compare": "Compare detectors",
    "quicklook": "Quicklook",
    "simulate": "Simulate a scene",
    "information": "Backend information",
    "setupbackend": "Set up the backend",
}


def advanced(parameter):
    return bool(parameter.flags() & QgsProcessingParameterDefinition.Flag.FlagAdvanced)


def test_the_toolbox_shows_every_algorithm(provider):
    assert {a.name(): a.displayName() for a in provider.algorithms()} == EXPECTED
    assert provider.id() == "hadgeo"


@pytest.mark.parametrize("name", EXPECTED)
def test_everything_has_help_and_an_icon(provider, name):
    algorithm = provider.algorithm(name)
    for parameter in algorithm.parameterDefinitions():
        assert len(parameter.help()) > 10, parameter.name()
        assert parameter.description()[0].isupper() or ": " in parameter.description(), parameter.name()
        assert parameter.help() in algorithm.shortHelpString().replace("&lt;", "<").replace("&gt;", ">").replace(
            "&amp;", "&"
        )
    # Neither options nor commands of a terminal.
    assert "--" not in algorithm.shortHelpString()
    assert "`" not in algorithm.shortHelpString()
    assert len(algorithm.shortDescription()) > 40
    assert algorithm.svgIconPath() != provider.svgIconPath()
    assert not QIcon(algorithm.svgIconPath()).pixmap(32).isNull()
    assert algorithm.icon().pixmap(32).toImage() != QIcon().pixmap(32).toImage()


def test_every_parameter_of_every_detector_is_there_with_its_bounds(provider):
    algorithm = provider.algorithm("detect")
    for detector, facts in DETECTORS.items():
        for key, field in facts["parameters"].items():
            parameter = algorithm.parameterDefinition(f"{detector}_{key}")
            assert parameter is not None, (detector, key)
            assert parameter.help() == field["description"]
            assert advanced(parameter) != field["basic"]
    steps = algorithm.parameterDefinition("BS3LNET_STEPS")
    assert (steps.defaultValue(), steps.minimum(), steps.maximum()) == (100, 1, 1_000_000)
    assert algorithm.parameterDefinition("BS3LNET_STATISTIC").options()[0] == "cfar"
    shrinkage = algorithm.parameterDefinition("RX_SHRINKAGE")
    assert (shrinkage.defaultValue(), shrinkage.minimum(), shrinkage.maximum()) == (None, 0, 1)


def test_settings_are_among_the_options_of_processing(provider):
    shown = {setting.name: setting for setting in ProcessingConfig.getSettings()["hadgeo"]}
    assert set(shown) == {"HADGEO_PYTHON", "HADGEO_DEVICE", "HADGEO_MEMORY"}
    assert settings.device() == "auto"
    shown["HADGEO_DEVICE"].setValue("cpu")
    shown["HADGEO_DEVICE"].save()
    assert settings.device() == "cpu"
    shown["HADGEO_DEVICE"].setValue("auto")
    shown["HADGEO_DEVICE"].save()


def test_a_missing_backend_is_said_and_stops_nothing(provider, monkeypatch, tmp_path):
    monkeypatch.delenv("HADGEO_PYTHON")
    assert "Set up the backend" in provider.warningMessage()
    can, why = provider.algorithm("detect").canExecute()
    assert not can
    assert "Set up the backend" in why
    assert provider.algorithm("setupbackend").canExecute()[0]
    monkeypatch.setenv("HADGEO_PYTHON", str(tmp_path / "nothing"))
    assert "HADGEO_PYTHON" in provider.warningMessage()
    assert "nothing" in provider.warningMessage()


def test_with_a_backend_there_is_nothing_to_say(provider):
    assert provider.warningMessage() == ""
    assert provider.algorithm("detect").canExecute() == (True, "")


def test_the_bar_moves_between_windows_and_never_back():
    log = QgsProcessingFeedback(False)
    shown = Feedback(log, {"start": (0, 2), "score": (50, 90)})
    bar = []
    told = [("start", 0, 0), ("start", 0, 1), ("start", 0, 2), ("score", 0, 0), ("score", 0, 1), ("score", 10, 2)]
    for stage, percent, seconds in [*told, ("score", 10, 3), ("score", 10, 4), ("score", 20, 5), ("score", 100, 9)]:
        shown.progress(stage, percent, seconds)
        bar.append(log.progress())
    assert bar == sorted(bar)
    # Only the caps may stand still.
    assert bar[0] < bar[1] < bar[2] < bar[3] < bar[4] < bar[5] < bar[6]
    assert bar[7] < bar[8]
    # 10 % at 2 s is 15 % at 3 s, and below 20 % until the next window is there.
    assert bar[6] == pytest.approx(50 + 0.4 * 15)
    assert bar[7] == pytest.approx(50 + 0.4 * 19)
    assert bar[8:] == [pytest.approx(58), pytest.approx(90)]
