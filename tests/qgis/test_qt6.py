"""The plugin under PyQt6, for QGIS 4."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import qgis.core
import qgis.gui

PROGRAM = Path(__file__).with_name("under_qt6.py")


@pytest.fixture(scope="module")
def enumerators(tmp_path_factory):
    """For each class of QGIS, the names that stand both in an enumeration and, unscoped, in the class."""
    found = {}
    for module in (qgis.core, qgis.gui):
        for name, cls in inspect.getmembers(module, inspect.isclass):
            kinds = {value for value in vars(cls).values() if inspect.isclass(value) and issubclass(value, int)}
            found[name] = [key for key, value in vars(cls).items() if type(value) in kinds]
    file = tmp_path_factory.mktemp("qt6") / "enumerators.json"
    file.write_text(json.dumps(found))
    assert "Integer" in found["QgsProcessingParameterNumber"]
    return file


def load(enumerators, *statement):
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "QT_PLUGIN_PATH")}
    command = [sys.executable, str(PROGRAM), str(enumerators), *statement]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_the_plugin_loads_under_qt6(enumerators):
    done = load(enumerators)
    assert done.returncode == 0, done.stderr
    assert "loaded under Qt 6" in done.stdout


@pytest.mark.parametrize(
    "mistake",
    [
        "from qgis.core import QgsProcessingParameterNumber as N; N.Integer",
        "from qgis.PyQt.QtCore import Qt; Qt.UserRole",
        "application.exec_()",
    ],
)
def test_what_qgis_4_will_not_have_is_noticed(enumerators, mistake):
    done = load(enumerators, mistake)
    assert done.returncode != 0
    assert "AttributeError" in done.stderr
