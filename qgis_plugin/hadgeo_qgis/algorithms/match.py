"""Find more like this: from a known spectrum, or an anomaly, to the map of what is like it."""

from __future__ import annotations

from qgis.core import (
    QgsFeatureRequest,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
)

from .. import handover
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import learning_parameters, reading_parameters, scene_parameter
from .detect import DECISION, ScoringAlgorithm


class Match(ScoringAlgorithm):
    """Scores how much each pixel is like a known spectrum."""

    ID = "match"
    TITLE = "Find more like this"
    SUMMARY = (
        "Scores how much each pixel of a hyperspectral scene is like a known spectrum: one from a file, or the "
        "measured spectrum of an anomaly that was found before. Give one of the two."
    )
    TAGS = ("target", "spectrum", "library", "ACE", "matched filter", "SAM", "CEM")
    ICON = "match.svg"
    STAGES = {"start": (0, 5), "statistics": (5, 40), "score": (40, 80), **DECISION}
    COMMAND, SCORE, FOUND = "match", "Match scores", "Matches"

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        self.addParameter(scene_parameter())
        spectrum = QgsProcessingParameterFile("SPECTRUM", "Spectrum", optional=True)
        text = "The spectrum to find: text with wavelengths and values in columns, or an ENVI spectral library."
        self.addParameter(with_help(spectrum, text))
        name = QgsProcessingParameterString("SPECTRUM_NAME", "Name in the library", optional=True)
        self.addParameter(with_help(name, "Name or number of the spectrum, where the file contains several."))
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        like = QgsProcessingParameterVectorLayer("LIKE", "Anomalies", types=kinds, optional=True)
        text = "Polygons of an earlier run, one of which is taken as the target instead of a file."
        self.addParameter(with_help(like, text))
        anomaly = QgsProcessingParameterNumber("ANOMALY", "Number of the anomaly", optional=True, minValue=1)
        self.addParameter(with_help(anomaly, "The field 'id' of the anomaly to find more of."))
        self.addParameter(of_argument("match", "method"))
        self.addParameter(of_argument("match", "target_scale", "Scale of the spectrum", advanced=True))
        model = QgsProcessingParameterFile("MODEL", "Trained detector", extension="hadgeo", optional=True)
        self.addParameter(with_help(model, argument("match", "model")["help"], advanced=True))
        self.addParameter(of_argument("match", "bands"))
        for parameter in learning_parameters("match"):
            self.addParameter(parameter)
        self.add_scoring_parameters()
        for parameter in reading_parameters("match"):
            self.addParameter(parameter)

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Match."""
        chosen = self.options(("method", "target_scale", "bands"), parameters, context)
        chosen["model"] = self.parameterAsFile(parameters, "MODEL", context) or None
        chosen.update(self.learning(parameters, context, feedback, ("suppress_from",)))
        return self.detect(parameters, context, feedback, {**chosen, **self._target(parameters, context, feedback)})

    def _target(self, parameters, context, feedback) -> dict:
        """What is looked for, as arguments of the command."""
        spectrum = self.parameterAsFile(parameters, "SPECTRUM", context)
        if bool(spectrum) == bool(parameters.get("LIKE")):
            raise QgsProcessingException("Give either a spectrum or the anomalies of an earlier run.")
        if spectrum:
            name = self.value(parameters, "SPECTRUM_NAME", context)
            return {"spectrum": f"{spectrum}#{name}" if name else spectrum}
        number = self.value(parameters, "ANOMALY", context)
        if number is None:
            raise QgsProcessingException("Give the number of the anomaly to find more of: its field 'id'.")
        layer = handover.layer_of(parameters.get("LIKE"), context)
        if layer is not None and handover.has_polygons_of_a_run(layer):
            request = QgsFeatureRequest().setFilterExpression(f'"id" = {number}')
            if next(layer.getFeatures(request), None) is None:
                raise QgsProcessingException(
                    f"there is no such anomaly in the layer '{layer.name()}': it shows none of 'id' {number}"
                )
        return {"like": f"{self.anomalies(parameters, 'LIKE', context, feedback)}#{number}"}
