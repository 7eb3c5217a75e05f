"""What the user sets once, under Settings, Options, Processing, Providers, hadgeo; and where the backend is."""

from __future__ import annotations

import os
from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsSettings

from .backend import is_interpreter
from .schema import argument

GROUP = "hadgeo"
PYTHON, DEVICE, MEMORY = "HADGEO_PYTHON", "HADGEO_DEVICE", "HADGEO_MEMORY"

#: Overrides the interpreter of the settings.
VARIABLE = "HADGEO_PYTHON"

_OPTIONS = {name: argument("detect", name) for name in ("device", "memory")}


def add_settings(icon) -> None:
    """Show hadgeo's page among the Processing options."""
    ProcessingConfig.settingIcons[GROUP] = icon
    for setting in (
        Setting(
            GROUP,
            PYTHON,
            "Python interpreter that has hadgeo (empty: the one of 'Set up the backend')",
            "",
            valuetype=Setting.FILE,
        ),
        Setting(GROUP, DEVICE, f"Device: {_OPTIONS['device']['help']}", _OPTIONS["device"]["default"]),
        Setting(GROUP, MEMORY, f"Memory, such as 2GB: {_OPTIONS['memory']['help']}", ""),
    ):
        ProcessingConfig.addSetting(setting)
    ProcessingConfig.readSettings()


def remove_settings() -> None:
    """Take the page away again."""
    for name in (PYTHON, DEVICE, MEMORY):
        ProcessingConfig.removeSetting(name)
    ProcessingConfig.settingIcons.pop(GROUP, None)


def _value(name: str, default: str = "") -> str:
    # Read where ProcessingConfig keeps it, which also works where Processing's own plugin is not loaded.
    return str(QgsSettings().value(f"Processing/Configuration/{name}", "") or default).strip()


def device() -> str:
    """The device that the user chose."""
    return _value(DEVICE, _OPTIONS["device"]["default"])


def memory() -> str | None:
    """What the backend may take, such as 2GB; None where the user leaves it to the backend."""
    return _value(MEMORY) or None


def own_environment() -> Path:
    """The folder of the environment that 'Set up the backend' makes, in the user's profile."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "hadgeo" / "backend"


def certificates_file() -> Path:
    """Where the certificates that QGIS trusts are written for the set-up."""
    return own_environment().with_name("certificates.pem")


def detectors_file() -> Path:
    """Where it is remembered which detectors the backend has."""
    return own_environment().with_name("detectors.json")


def interpreter_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def interpreter() -> str:
    """The backend's interpreter: the environment variable's, the setting's, or that of our own environment."""
    return os.environ.get(VARIABLE, "").strip() or _value(PYTHON) or str(interpreter_in(own_environment()))


def is_own() -> bool:
    """Whether the backend is to be that of 'Set up the backend', as the user has chosen no other."""
    return interpreter() == str(interpreter_in(own_environment()))


def problem() -> str:
    """Why there is no backend, and what to do; empty if there is one."""
    path = interpreter()
    if is_interpreter(path):
        return ""
    if is_own():
        return (
            "hadgeo's backend is not set up: run 'Set up the backend' in the toolbox, or choose a Python interpreter "
            "that has hadgeo in Settings, Options, Processing, Providers, hadgeo"
        )
    origin = f"the environment variable {VARIABLE}" if os.environ.get(VARIABLE, "").strip() else "the settings"
    return f"{path}, from {origin}, is not an executable program: choose a Python interpreter that has hadgeo"
