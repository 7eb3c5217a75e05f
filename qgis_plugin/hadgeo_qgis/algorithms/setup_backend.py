"""Set up the backend: a Python environment of hadgeo's own in the user's profile."""

from __future__ import annotations

import os

from qgis.core import (
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)

from .. import backend, connection, environment, packages, settings
from ..parameters import choice, with_help
from .base import Feedback, HadgeoAlgorithm, RenewsDetectors

#: The folder of wheels that is taken unless the user says otherwise, for administrators of many machines.
WHEELS_VARIABLE = "HADGEO_WHEELS"


class SetUpBackend(RenewsDetectors, HadgeoAlgorithm):
    """Makes the environment and installs hadgeo there."""

    ID = "setupbackend"
    TITLE = "Set up the backend"
    SUMMARY = (
        "Creates a Python environment in your QGIS profile and installs hadgeo there, separate from QGIS's own Python, "
        "which is left unchanged. The defaults suit: press Run. hadgeo itself comes with the plugin; torch and other "
        f"libraries are downloaded ({packages.in_short()}). The proxy and the certificates are those of QGIS's own "
        "settings. Run it again after an update of the plugin."
    )
    GROUP = "Tools"
    TAGS = ("install", "pip", "python", "update", "offline", "proxy")
    ICON = "setup.svg"
    STAGES = {"environment": (0, 5), "install": (5, 95), "start": (95, 99)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        torch = choice("TORCH", "Build of torch", list(packages.TORCH), "auto")
        text = (
            "torch runs the learned detectors. auto: cuda where a driver of NVIDIA answers, else cpu; cpu: without a "
            "GPU, much smaller; cuda: for a GPU of NVIDIA, refused on a machine that has none."
        )
        self.addParameter(with_help(torch, text))
        default = os.environ.get(WHEELS_VARIABLE, "").strip() or None
        wheels = QgsProcessingParameterFile(
            "WHEELS",
            "Folder of wheels",
            behavior=QgsProcessingParameterFile.Behavior.Folder,
            defaultValue=default,
            optional=True,
        )
        text = "For machines without a network: a folder that 'make offline-bundle' has filled. Nothing is downloaded."
        self.addParameter(with_help(wheels, text))
        index = QgsProcessingParameterString("INDEX", "Further package index", optional=True)
        text = (
            "Address of a package index that is asked besides the usual one, such as that of your organisation, or one "
            "with another build of torch as the installation page of torch gives it. Seldom needed."
        )
        self.addParameter(with_help(index, text, advanced=True))
        package = QgsProcessingParameterString("PACKAGE", "Package", optional=True)
        text = (
            "Another hadgeo than the one that comes with the plugin: a specific version (hadgeo==1.2), a wheel, or a "
            "folder. What the algorithms need besides is always installed with it."
        )
        self.addParameter(with_help(package, text, advanced=True))
        python = QgsProcessingParameterFile("PYTHON", "Python to start from", optional=True)
        text = "An interpreter of version 3.11 or newer; searched for if left empty, and fetched where there is none."
        self.addParameter(with_help(python, text, advanced=True))
        self.addOutput(QgsProcessingOutputString("INTERPRETER", "Interpreter"))
        self.addOutput(QgsProcessingOutputString("VERSION", "Version of hadgeo"))

    def canExecute(self):
        """Always: this is what repairs a missing backend."""
        return True, ""

    def createCustomParametersWidget(self, parent=None):
        """The dialog."""
        # Only where there is a window: qgis_process has no Processing dialogs.
        from ..setup_dialog import SetUpDialog

        return SetUpDialog(self.create(), parent=parent)

    def prepareAlgorithm(self, parameters, context, feedback) -> bool:
        """Ask QGIS for proxy and certificates where its window may ask for a password."""
        self._connection, self._refusal = {}, ""
        if not self._wheels(parameters, context):
            try:
                self._connection = connection.variables(settings.certificates_file())
            except (backend.BackendError, OSError) as error:
                self._refusal = f"the backend was not set up: {error}"
        return super().prepareAlgorithm(parameters, context, feedback)

    def _wheels(self, parameters, context) -> str:
        return self.parameterAsString(parameters, "WHEELS", context).strip()

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Set up, and ask the new backend what it is."""
        if self._refusal:
            raise QgsProcessingException(self._refusal)
        interpreter = settings.interpreter_in(settings.own_environment())
        listener = Feedback(feedback, self.STAGES)
        torch = self.parameterAsEnumString(parameters, "TORCH", context)
        try:
            environment.set_up(
                settings.own_environment(),
                interpreter,
                listener,
                python=self.parameterAsFile(parameters, "PYTHON", context),
                package=self.parameterAsString(parameters, "PACKAGE", context).strip(),
                torch=torch,
                index=self.parameterAsString(parameters, "INDEX", context).strip(),
                wheels=self._wheels(parameters, context),
                connection=self._connection,
            )
            facts = backend.run(str(interpreter), "versions", {"json": True}, listener)[0]
        except backend.BackendStopped:
            feedback.pushInfo("Stopped; unfinished files were removed.")
            return {}
        except backend.BackendError as error:
            raise QgsProcessingException(str(error)) from None
        feedback.pushInfo(f"hadgeo {facts['hadgeo']} with torch {facts['torch']} on {', '.join(facts['devices'])}")
        if "+cpu" not in facts["torch"] and len(facts["devices"]) == 1 and packages.has_nvidia():
            feedback.pushWarning("torch finds no CUDA device: is the driver of NVIDIA recent enough?")
        if not settings.is_own():
            feedback.pushWarning(
                f"{settings.interpreter()} is still the interpreter that is used: empty it in the settings, or unset "
                f"{settings.VARIABLE}, to use this one"
            )
        return {"INTERPRETER": str(interpreter), "VERSION": facts["hadgeo"]}
