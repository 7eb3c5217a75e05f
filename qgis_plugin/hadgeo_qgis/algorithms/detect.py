"""Detect anomalies: from a scene to the map of its anomaly scores."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
)

from .. import polygon_style, styles
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import (
    DetectorChoice,
    HadgeoAlgorithm,
    learning_parameters,
    mask_parameter,
    reading_parameters,
    scene_parameter,
    selected_parameter,
)
from .threshold import polygons_parameter, spectra_parameters
from .values import load_instead

#: Where the stages that follow the scores stand in the progress bar.
DECISION = {
    "range": (80, 81),
    "calibrate": (81, 82),
    "count": (82, 83),
    "groups": (83, 85),
    "evidence": (85, 90),
    "spectra": (90, 99),
}


class ScoringAlgorithm(HadgeoAlgorithm):
    """What the algorithms that write a score map have in common.

    Attributes:
        COMMAND: The backend's command.
        SCORE: What its scores are called.
        FOUND: What its polygons are called.
    """

    COMMAND = "detect"
    SCORE = "anomaly score"
    FOUND = "anomalies"

    def add_scoring_parameters(self) -> None:
        """Add the mask, the extent, the windows, and the outputs."""
        self.addParameter(mask_parameter())
        extent = QgsProcessingParameterExtent("EXTENT", "Extent", optional=True)
        self.addParameter(with_help(extent, "Process only this part of the scene; all of it by default."))
        self.addParameter(of_argument("detect", "pfa", "False-alarm rate of anomalies"))
        for name, title in (("GLT", "Lookup table (GLT)"), ("IGM", "Coordinates of pixels (IGM)")):
            file = QgsProcessingParameterFile(name, title, optional=True)
            self.addParameter(with_help(file, argument("detect", name.lower())["help"], advanced=True))
        self.addParameter(of_argument("detect", "window", "Window size in pixels", advanced=True))
        scores = QgsProcessingParameterRasterDestination("OUTPUT", "Anomaly scores")
        self.addParameter(
            with_help(
                scores,
                "The scores, higher is more anomalous: a GeoTIFF on the grid of the scene, with a style file next to "
                "it.",
            )
        )
        self.addParameter(polygons_parameter("POLYGONS", optional=True))
        for parameter in (*spectra_parameters(), selected_parameter()):
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputNumber("VALID_PIXELS", "Pixels that have a score"))
        self.addOutput(QgsProcessingOutputNumber("SECONDS", "Seconds"))

    def detect(self, parameters, context, feedback, arguments: dict) -> dict:
        """Run the command on one scene and hand over its map."""
        scene = self.scene(parameters, "INPUT", context)
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        polygons = self.parameterAsOutputLayer(parameters, "POLYGONS", context) or None
        spectra = self.spectra(parameters, context, polygons)
        arguments = {
            **arguments,
            **self.options(("window", "pfa", "glt", "igm"), parameters, context),
            "polygons": polygons,
            **spectra,
            **{"scenes" if key == "scene" else key: value for key, value in scene.items()},
            "output": output,
            "extent": self.extent(parameters, context),
            "mask": self.overlay(parameters, "MASK", context, feedback),
        }
        results = self.run_backend(self.COMMAND, arguments, feedback)
        if not results:
            return {}
        name = f"{Path(scene['scene']).stem} {results[0]['detector']}"
        styles.save_score_style(output)
        self.name_layer(context, output, f"{name} {self.SCORE}")
        if polygons:
            polygon_style.save_polygon_style(polygons, pictures=bool(spectra))
            polygons = load_instead(context, polygons, polygon_style.source_of(polygons))
            self.name_layer(context, polygons, f"{name} {self.FOUND}")
        return {
            "OUTPUT": output,
            "POLYGONS": polygons,
            "VALID_PIXELS": results[0]["valid_pixels"],
            "SECONDS": sum(results[0]["seconds"].values()),
        }


class Detect(DetectorChoice, ScoringAlgorithm):
    """Fits a detector to a scene and scores it."""

    ID = "detect"
    TITLE = "Detect anomalies"
    SUMMARY = (
        "Scores how anomalous each pixel of a hyperspectral scene is, without any examples of targets. The detector "
        "learns the background of the scene itself; pixels that it does not explain score high."
    )
    TAGS = ("target", "hot spot")
    ICON = "detect.svg"
    STAGES = {
        "start": (0, 1),
        "select": (1, 2),
        "statistics": (2, 10),
        "crops": (10, 15),
        "fit": (15, 55),
        "score": (55, 80),
        **DECISION,
    }

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        self.addParameter(scene_parameter())
        self.add_detector_parameters()
        self.addParameter(of_argument("detect", "bands"))
        for parameter in learning_parameters("detect"):
            self.addParameter(parameter)
        surfaces = QgsProcessingParameterRasterDestination(
            "SUPPRESSED_MASK", "Suppressed surfaces", optional=True, createByDefault=False
        )
        self.addParameter(with_help(surfaces, argument("detect", "suppressed_mask")["help"], advanced=True))
        for parameter in reading_parameters("detect"):
            self.addParameter(parameter)
        self.add_scoring_parameters()

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Detect."""
        chosen = self.detector_arguments(parameters, context)
        chosen.update(self.options(("bands",), parameters, context))
        chosen.update(self.learning(parameters, context, feedback, ("suppress_from",)))
        surfaces = self.parameterAsOutputLayer(parameters, "SUPPRESSED_MASK", context) or None
        results = self.detect(parameters, context, feedback, {**chosen, "suppressed_mask": surfaces})
        return {**results, "SUPPRESSED_MASK": surfaces} if results else results
