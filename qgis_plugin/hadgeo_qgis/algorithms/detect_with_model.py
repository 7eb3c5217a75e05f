"""Detect with a trained detector: apply a model file to another scene of the same sensor."""

from __future__ import annotations

from qgis.core import QgsProcessingParameterFile

from ..parameters import of_argument, with_help
from ..schema import argument
from .base import reading_parameters, scene_parameter
from .detect import DECISION, ScoringAlgorithm


class DetectWithModel(ScoringAlgorithm):
    """Scores a scene with a detector that was fitted before."""

    ID = "detectwithmodel"
    TITLE = "Detect with a trained detector"
    SUMMARY = (
        "Applies a detector from 'Train a detector' to a scene without fitting it again, so that all flight lines of a "
        "mission are scored alike. Bands are matched by wavelength."
    )
    TAGS = ("model", "apply", "mission")
    ICON = "detect_with_model.svg"
    STAGES = {"start": (0, 5), "score": (5, 80), **DECISION}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        self.addParameter(scene_parameter())
        model = QgsProcessingParameterFile("MODEL", "Trained detector", extension="hadgeo")
        self.addParameter(with_help(model, argument("detect", "model")["help"]))
        self.addParameter(of_argument("detect", "resample_bands", advanced=True))
        self.add_scoring_parameters()
        for parameter in reading_parameters("detect"):
            self.addParameter(parameter)

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Detect."""
        chosen = self.options(("resample_bands",), parameters, context)
        chosen["model"] = self.parameterAsFile(parameters, "MODEL", context)
        return self.detect(parameters, context, feedback, chosen)
