"""Backend information: which Python, which versions, which devices."""

from __future__ import annotations

from qgis.core import QgsProcessingOutputString

from .. import installed, settings
from .base import HadgeoAlgorithm, RenewsDetectors


class Information(RenewsDetectors, HadgeoAlgorithm):
    """Asks the backend what it is; the first thing to try when something is wrong."""

    ID = "information"
    TITLE = "Backend information"
    SUMMARY = (
        "Starts the backend and shows its interpreter, the versions of hadgeo and its dependencies, the available "
        "devices, and the detectors. Try this first if something does not work."
    )
    GROUP = "Tools"
    TAGS = ("version", "device", "cuda", "gpu")
    ICON = "information.svg"
    STAGES = {"start": (0, 99)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare the outputs."""
        for name, title in (
            ("INTERPRETER", "Interpreter"),
            ("VERSION", "Version of hadgeo"),
            ("DEVICES", "Devices"),
            ("DETECTORS", "Detectors"),
        ):
            self.addOutput(QgsProcessingOutputString(name, title))

    def processAlgorithm(self, parameters, context, feedback) -> dict:  # noqa: ARG002
        """Ask, and show."""
        results = self.run_backend("versions", {"json": True}, feedback)
        if not results:
            return {}
        for name, value in results[0].items():
            feedback.pushInfo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
        # Even where nothing seems to have been installed since.
        installed.ask(settings.detectors_file(), settings.interpreter(), feedback.isCanceled)
        return {
            "INTERPRETER": settings.interpreter(),
            "VERSION": results[0]["hadgeo"],
            "DEVICES": ", ".join(results[0]["devices"]),
            "DETECTORS": ", ".join(results[0]["detectors"]),
        }
