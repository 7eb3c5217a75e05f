"""Threshold and polygons: which pixels of a score map are flagged, at which false-alarm rate, and where they are."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from .. import polygon_style, styles
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import READING, HadgeoAlgorithm, reading_parameters
from .values import load_instead

_RULES = {"pfa": "False-alarm rate", "percentile": "Percentile", "value": "Score", "top": "Number of pixels"}
_GROUPING = {
    "connectivity": "Connectivity",
    "min_pixels": "Smallest anomaly",
    "merge_distance": "Merge distance",
    "grow_pfa": "False-alarm rate to grow to",
}


def polygons_parameter(name: str, optional: bool = False) -> QgsProcessingParameterVectorDestination:
    """The parameter for anomalies as polygons."""
    made = QgsProcessingParameterVectorDestination(
        name, "Anomalies", QgsProcessing.SourceType.TypeVectorPolygon, optional=optional, createByDefault=not optional
    )
    text = (
        "One polygon per anomaly, the rarest first, with pixels, area, scores, p-value, expected false alarms and "
        "position. The layer comes with colours by p-value, labels and map tips."
    )
    return with_help(made, text)


def spectra_parameters() -> list:
    """The parameters that ask for pictures of spectra."""
    made = QgsProcessingParameterBoolean("SPECTRA", "Draw spectra for map tips", False)
    text = (
        "Plot the spectrum of each of the rarest anomalies against its expected background into a folder next to the "
        "polygons, for display in the map tips. It takes a moment per anomaly."
    )
    limit = of_argument("threshold", "spectra_limit", "Spectra of at most so many anomalies", advanced=True)
    return [with_help(made, text), limit]


class Threshold(HadgeoAlgorithm):
    """Thresholds a score map."""

    ID = "threshold"
    TITLE = "Threshold and polygons"
    SUMMARY = (
        "Thresholds a map of anomaly scores and writes the anomalies as polygons, each with its p-value and the "
        "expected number of false alarms. Give one rule; the default is a false-alarm rate of 0.001."
    )
    TAGS = ("false alarm", "p-value", "vectorise", "decision")
    ICON = "threshold.svg"
    STAGES = {
        "start": (0, 5),
        "range": (5, 15),
        "calibrate": (15, 30),
        "count": (30, 35),
        "groups": (35, 45),
        "evidence": (45, 60),
        "spectra": (60, 90),
        "p-values": (90, 99),
    }

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        text = "A score map, such as the output of 'Detect anomalies'; any raster with one band will do."
        self.addParameter(with_help(QgsProcessingParameterRasterLayer("INPUT", "Anomaly scores"), text))
        for name, title in _RULES.items():
            self.addParameter(of_argument("threshold", name, title, advanced=name != "pfa"))
        for name, title in _GROUPING.items():
            self.addParameter(of_argument("threshold", name, title, advanced=name != "min_pixels"))
        self.addParameter(polygons_parameter("OUTPUT"))
        scene = QgsProcessingParameterRasterLayer("SCENE", "Scene", optional=True)
        self.addParameter(with_help(scene, argument("threshold", "scene")["help"], advanced=True))
        for parameter in (*spectra_parameters(), *reading_parameters("threshold")):
            self.addParameter(parameter)
        p_values = QgsProcessingParameterRasterDestination(
            "P_VALUES", "Map of p-values", optional=True, createByDefault=False
        )
        self.addParameter(with_help(p_values, "The p-value of each pixel, as a GeoTIFF on the grid of the map."))
        for name, title in (
            ("ANOMALIES", "Anomalies"),
            ("THRESHOLD", "Threshold"),
            ("PIXELS", "Pixels that reach it"),
            ("EXPECTED_FALSE_ALARMS", "Expected false alarms"),
        ):
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Threshold."""
        scores = self.raster(parameters, "INPUT", context)
        polygons = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        p_values = self.parameterAsOutputLayer(parameters, "P_VALUES", context) or None
        scene = self.raster(parameters, "SCENE", context)
        spectra = self.spectra(parameters, context, polygons)
        if spectra and scene is None:
            raise QgsProcessingException("spectra are plotted from the scene the map was made from: choose it")
        arguments = {
            "scene": scene,
            **spectra,
            **self.options((*_RULES, *_GROUPING, *READING), parameters, context),
            "scores": scores,
            "polygons": polygons,
            "p_values": p_values,
        }
        results = self.run_backend("threshold", arguments, feedback)
        if not results:
            return {}
        told = results[0]
        feedback.pushInfo(f"{told['groups']} anomalies of {told['pixels']} pixels reach {told['threshold']:.6g}")
        polygon_style.save_polygon_style(polygons, pictures=bool(spectra))
        polygons = load_instead(context, polygons, polygon_style.source_of(polygons))
        self.name_layer(context, polygons, f"{Path(scores).stem} anomalies")
        if p_values:
            styles.save_p_value_style(p_values)
            self.name_layer(context, p_values, f"{Path(scores).stem} p-values")
        return {
            "OUTPUT": polygons,
            "P_VALUES": p_values,
            "ANOMALIES": told["groups"],
            "THRESHOLD": told["threshold"],
            "PIXELS": told["pixels"],
            "EXPECTED_FALSE_ALARMS": told["expected_false_alarms"],
        }
