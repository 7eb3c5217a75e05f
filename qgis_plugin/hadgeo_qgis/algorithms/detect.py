"""Detect anomalies: from a scene to the map of its anomaly scores."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
)

from .. import polygon_style, styles
from ..parameters import of_argument, with_help
from ..schema import argument
from ..wording import title_of
from .base import (
    DetectorChoice,
    HadgeoAlgorithm,
    learning_parameters,
    mask_parameter,
    reading_parameters,
    rejected_parameters,
    report_parameters,
    scene_parameter,
    selected_parameter,
)
from .threshold import decided, decision_outputs, polygons_parameter, spectra_parameters
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


#: Flags of the map's geometry.
_GEOMETRY = ("sensor_geometry", "north_up")


class ScoringAlgorithm(HadgeoAlgorithm):
    """What the algorithms that write a score map have in common.

    Attributes:
        COMMAND: The backend's command.
        SCORE: What its scores are called.
        FOUND: What its polygons are called.
    """

    COMMAND = "detect"
    SCORE = "Anomaly scores"
    FOUND = "Anomalies"

    def add_scoring_parameters(self) -> None:
        """Add the mask, the extent, what is suppressed, the windows, and the outputs."""
        self.addParameter(mask_parameter())
        extent = QgsProcessingParameterExtent("EXTENT", "Extent", optional=True)
        self.addParameter(with_help(extent, "Process only this part of the scene; all of it by default."))
        pfa = of_argument("detect", "pfa", "False-alarm rate of anomalies")
        self.addParameter(with_help(pfa, f"{pfa.help()} 0.001 by default, where anomalies are written."))
        for name in ("glt", "igm"):
            file = QgsProcessingParameterFile(name.upper(), title_of(name), optional=True)
            self.addParameter(with_help(file, argument("detect", name)["help"], advanced=True))
        for name in (*_GEOMETRY, "window"):
            self.addParameter(of_argument("detect", name, advanced=True))
        for parameter in rejected_parameters():
            self.addParameter(parameter)
        scores = QgsProcessingParameterRasterDestination("OUTPUT", self.SCORE)
        self.addParameter(
            with_help(
                scores,
                "The scores, higher is more anomalous: a GeoTIFF on the grid of the scene, with a style file next to "
                "it.",
            )
        )
        self.addParameter(polygons_parameter("POLYGONS", optional=True))
        for parameter in (*spectra_parameters(), *report_parameters(), selected_parameter()):
            self.addParameter(parameter)
        surfaces = QgsProcessingParameterRasterDestination(
            "SUPPRESSED_MASK", title_of("suppressed_mask"), optional=True, createByDefault=False
        )
        self.addParameter(with_help(surfaces, argument("detect", "suppressed_mask")["help"], advanced=True))
        self.addOutput(QgsProcessingOutputNumber("VALID_PIXELS", "Pixels that have a score"))
        self.addOutput(QgsProcessingOutputNumber("SECONDS", "Seconds"))
        for output in decision_outputs():
            self.addOutput(output)

    def detect(self, parameters, context, feedback, arguments: dict) -> dict:
        """Run the command on one scene and hand over its map."""
        scene = self.scene(parameters, "INPUT", context)
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        polygons = self.parameterAsOutputLayer(parameters, "POLYGONS", context) or None
        surfaces = self.parameterAsOutputLayer(parameters, "SUPPRESSED_MASK", context) or None
        page = self.parameterAsFileOutput(parameters, "REPORT", context) or None
        if not polygons:
            self._warn_of_polygons(parameters, context, feedback)
        spectra = self.spectra(parameters, context, polygons)
        arguments = {
            **arguments,
            **self.options(("window", "pfa", "glt", "igm", "report_limit", *_GEOMETRY), parameters, context),
            **self.rejected(parameters, context, feedback),
            "suppressed_mask": surfaces,
            "polygons": polygons,
            "report": page,
            **spectra,
            **{"scenes" if key == "scene" else key: value for key, value in scene.items()},
            "output": output,
            "extent": self.extent(parameters, context),
            "mask": self.overlay(parameters, "MASK", context, feedback),
        }
        if not page:
            # A rule of how a page looks is a wish for a decision, too.
            arguments.pop("report_limit")
        results = self.run_backend(self.COMMAND, arguments, feedback)
        if not results:
            return {}
        of, more = self.shown_name(parameters, "INPUT", context), results[0]["detector"]
        styles.save_score_style(output)
        self.name_layer(context, output, self.SCORE, of, more)
        if surfaces:
            self.name_layer(context, surfaces, "Suppressed surfaces", of, more)
        if polygons:
            polygon_style.save_polygon_style(polygons, pictures=bool(spectra))
            polygons = load_instead(context, polygons, polygon_style.source_of(polygons))
            self.name_layer(context, polygons, self.FOUND, of, more)
        decision = results[0].get("decision")
        return {
            "OUTPUT": output,
            "POLYGONS": polygons,
            "SUPPRESSED_MASK": surfaces,
            "REPORT": page,
            "VALID_PIXELS": results[0]["valid_pixels"],
            "SECONDS": sum(results[0]["seconds"].values()),
            **({} if decision is None else decided(decision, feedback)),
        }

    def _warn_of_polygons(self, parameters, context, feedback) -> None:
        """Say what is asked for of anomalies that are not written."""
        names = ["PFA"] if self.value(parameters, "PFA", context) is not None else []
        names += ["SPECTRA"] if self.parameterAsBoolean(parameters, "SPECTRA", context) else []
        if names:
            titles = " and ".join(f"'{self.parameterDefinition(name).description()}'" for name in names)
            feedback.pushWarning(
                f"{titles}: no polygons are written, since '{self.parameterDefinition('POLYGONS').description()}' is "
                "left out; choose a file there to have them"
            )


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
        for parameter in reading_parameters("detect"):
            self.addParameter(parameter)
        self.add_scoring_parameters()

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Detect."""
        chosen = self.detector_arguments(parameters, context)
        chosen.update(self.options(("bands",), parameters, context))
        chosen.update(self.learning(parameters, context, feedback, ("suppress_from",)))
        return self.detect(parameters, context, feedback, chosen)
