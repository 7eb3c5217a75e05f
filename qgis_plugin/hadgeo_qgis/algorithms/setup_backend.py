"""Set up the backend: a Python environment of hadgeo's own in the user's profile."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)

from .. import backend, environment, settings
from ..parameters import choice, with_help
from .base import Feedback, HadgeoAlgorithm, RenewsDetectors


class SetUpBackend(RenewsDetectors, HadgeoAlgorithm):
    """Makes the environment and installs hadgeo there."""

    ID = "setupbackend"
    TITLE = "Set up the backend"
    SUMMARY = (
        "Creates a Python environment in your QGIS profile and installs hadgeo there, separate from QGIS's own Python, "
        "which is left unchanged. Run it again to update. It needs Python 3.11 or newer, a connection to a package "
        "index, and 2 to 8 GB of disk space, depending on the build of torch."
    )
    GROUP = "Tools"
    TAGS = ("install", "pip", "python", "update")
    ICON = "setup.svg"
    STAGES = {"environment": (0, 5), "install": (5, 95), "start": (95, 99)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        torch = choice("TORCH", "Build of torch", list(environment.TORCH), "any")
        text = (
            "torch runs the learned detectors. any: the package index decides; cpu: without a GPU, much smaller; "
            "cuda: for NVIDIA GPUs. On some systems cpu or cuda needs the package index of torch, given below."
        )
        self.addParameter(with_help(torch, text))
        index = QgsProcessingParameterString("INDEX", "Further package index", optional=True)
        text = "Address of an index with the wanted build of torch, as given on the installation page of torch."
        self.addParameter(with_help(index, text))
        package = QgsProcessingParameterString("PACKAGE", "Package", environment.default_package())
        text = "What pip installs: hadgeo with extras, a specific version (hadgeo==1.2), a wheel, or a folder."
        self.addParameter(with_help(package, text, advanced=True))
        python = QgsProcessingParameterFile("PYTHON", "Python to start from", optional=True)
        text = "An interpreter of version 3.11 or newer; found automatically if left empty."
        self.addParameter(with_help(python, text, advanced=True))
        self.addOutput(QgsProcessingOutputString("INTERPRETER", "Interpreter"))
        self.addOutput(QgsProcessingOutputString("VERSION", "Version of hadgeo"))

    def canExecute(self):
        """Always: this is what repairs a missing backend."""
        return True, ""

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Set up, and ask the new backend what it is."""
        interpreter = settings.interpreter_in(settings.own_environment())
        listener = Feedback(feedback, self.STAGES)
        try:
            environment.set_up(
                settings.own_environment(),
                interpreter,
                listener,
                python=self.parameterAsFile(parameters, "PYTHON", context),
                package=self.parameterAsString(parameters, "PACKAGE", context).strip(),
                torch=self.parameterAsEnumString(parameters, "TORCH", context),
                index=self.parameterAsString(parameters, "INDEX", context).strip(),
            )
            facts = backend.run(str(interpreter), "versions", {"json": True}, listener)[0]
        except backend.BackendStopped:
            feedback.pushInfo("Stopped; unfinished files were removed.")
            return {}
        except backend.BackendError as error:
            raise QgsProcessingException(str(error)) from None
        feedback.pushInfo(f"hadgeo {facts['hadgeo']} with torch {facts['torch']} on {', '.join(facts['devices'])}")
        if self.parameterAsEnumString(parameters, "TORCH", context) == "cuda" and len(facts["devices"]) == 1:
            feedback.pushWarning("torch finds no CUDA device: is the NVIDIA driver installed?")
        if settings.interpreter() != str(interpreter):
            feedback.pushWarning(
                f"{settings.interpreter()} is still the interpreter that is used: empty it in the settings, or unset "
                f"{settings.VARIABLE}, to use this one"
            )
        return {"INTERPRETER": str(interpreter), "VERSION": facts["hadgeo"]}
