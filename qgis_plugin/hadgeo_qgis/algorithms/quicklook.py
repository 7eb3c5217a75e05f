"""Quicklook: one picture of a scene and its anomalies."""

from __future__ import annotations

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
)

from ..parameters import of_argument, with_help
from ..schema import argument
from .base import HadgeoAlgorithm, mask_parameter, reading_parameters, scene_parameter, selected_parameter

_OPTIONS = {"rgb": "Red, green and blue", "title": "Title", "stretch": "Stretch", "size": "Size"}


class Quicklook(HadgeoAlgorithm):
    """Draws a scene, its scores and its anomalies."""

    ID = "quicklook"
    TITLE = "Quicklook"
    SUMMARY = (
        "Draws a scene as a composite of three of its bands, overlaid with anomaly scores and outlines, with scale bar "
        "and north arrow. A single anomalous pixel stays visible in a flight line of any length."
    )
    GROUP = "Tools"
    TAGS = ("picture", "preview", "png", "composite")
    ICON = "quicklook.svg"
    STAGES = {"start": (0, 10), "composite": (10, 55), "scores": (55, 99)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        self.addParameter(scene_parameter())
        scores = QgsProcessingParameterRasterLayer("SCORES", "Anomaly scores", optional=True)
        self.addParameter(with_help(scores, "A score map of this scene, overlaid on it."))
        polygons = QgsProcessingParameterVectorLayer(
            "POLYGONS", "Anomalies", [QgsProcessing.SourceType.TypeVectorPolygon], optional=True
        )
        self.addParameter(with_help(polygons, argument("quicklook", "polygons")["help"]))
        for parameter in (mask_parameter(), selected_parameter(), *reading_parameters("quicklook")):
            self.addParameter(parameter)
        for name, title in _OPTIONS.items():
            self.addParameter(of_argument("quicklook", name, title, advanced=name != "rgb"))
        picture = QgsProcessingParameterFileDestination("OUTPUT", "Picture", "PNG (*.png);;JPEG (*.jpg)")
        self.addParameter(with_help(picture, "The picture, a .png or .jpg."))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Draw."""
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        arguments = {
            **self.options(tuple(_OPTIONS), parameters, context),
            **self.scene(parameters, "INPUT", context),
            "scores": self.raster(parameters, "SCORES", context),
            "polygons": self.overlay(parameters, "POLYGONS", context, feedback),
            "mask": self.overlay(parameters, "MASK", context, feedback),
            "output": output,
        }
        results = self.run_backend("quicklook", arguments, feedback)
        if not results:
            return {}
        feedback.pushInfo(results[0]["colours"])
        return {"OUTPUT": output}
