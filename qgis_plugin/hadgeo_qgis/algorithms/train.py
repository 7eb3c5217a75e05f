"""Train a detector: fit once, for all flight lines of a mission."""

from __future__ import annotations

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
)

from ..parameters import of_argument, with_help
from ..schema import argument
from .base import (
    READING,
    DetectorChoice,
    HadgeoAlgorithm,
    learning_parameters,
    mask_parameter,
    reading_parameters,
    selected_parameter,
)


class Train(DetectorChoice, HadgeoAlgorithm):
    """Fits a detector to one or several scenes and keeps it as a file."""

    ID = "train"
    TITLE = "Train a detector"
    SUMMARY = (
        "Fits a detector to one or several scenes of one sensor and saves it as a model file, which 'Detect with a "
        "trained detector' applies to other flight lines of the mission."
    )
    TAGS = ("fit", "model", "mission")
    ICON = "train.svg"
    STAGES = {"start": (0, 3), "select": (3, 6), "statistics": (6, 15), "crops": (15, 20), "fit": (20, 99)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        scenes = QgsProcessingParameterMultipleLayers("INPUT", "Scenes", QgsProcessing.SourceType.TypeRaster)
        text = (
            "Hyperspectral cubes of one sensor. The first determines which bands are used; the others must have them "
            "too."
        )
        self.addParameter(with_help(scenes, text))
        self.add_detector_parameters()
        self.addParameter(of_argument("train", "bands"))
        self.addParameter(mask_parameter())
        for parameter in (*learning_parameters("train"), selected_parameter(), *reading_parameters("train")):
            self.addParameter(parameter)
        model = QgsProcessingParameterFileDestination("OUTPUT", "Trained detector", "hadgeo models (*.hadgeo)")
        self.addParameter(with_help(model, argument("train", "output")["help"]))
        self.addOutput(QgsProcessingOutputNumber("BANDS_USED", "Bands used"))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Train."""
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        arguments = {
            **self.detector_arguments(parameters, context),
            **self.options(("bands", *READING), parameters, context),
            "scenes": self.rasters(parameters, "INPUT", context),
            "mask": self.overlay(parameters, "MASK", context, feedback),
            **self.learning(parameters, context, feedback),
            "output": output,
        }
        results = self.run_backend("train", arguments, feedback)
        return {"OUTPUT": output, "BANDS_USED": results[0]["bands"]} if results else {}
