"""Threshold and polygons: which pixels of a score map are flagged, at which false-alarm rate, and where they are."""

from __future__ import annotations

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
from ..defaults import SCORES, meant_for
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import READING, HadgeoAlgorithm, reading_parameters
from .values import load_instead

_RULES = ("pfa", "percentile", "value", "top")
_GROUPING = ("connectivity", "min_pixels", "merge_distance", "grow_pfa")


def polygons_parameter(name: str, optional: bool = False) -> QgsProcessingParameterVectorDestination:
    """The parameter for anomalies as polygons, which a dialog asks for to begin with."""
    made = QgsProcessingParameterVectorDestination(
        name, "Anomalies", QgsProcessing.SourceType.TypeVectorPolygon, optional=optional
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
    limit = of_argument("threshold", "spectra_limit", advanced=True)
    return [with_help(made, text), limit]


def decision_outputs() -> list:
    """What models and scripts learn of a decision."""
    return [
        QgsProcessingOutputNumber(name, title)
        for name, title in (
            ("ANOMALIES", "Anomalies"),
            ("THRESHOLD", "Threshold"),
            ("PIXELS", "Pixels that reach it"),
            ("EXPECTED_FALSE_ALARMS", "Expected false alarms"),
        )
    ]


def decided(told: dict, feedback) -> dict:
    """Say what was found, as the last line of a log, and return the values of `decision_outputs`.

    Args:
        told: The decision, as the backend tells of it.
        feedback: Processing's own.
    """
    feedback.pushInfo(f"{told['pixels']:,} pixels reach {told['threshold']:.6g}")
    found, expected = told["groups"], told["expected_false_alarms"]
    if found is not None:
        feedback.pushInfo(f"{_counted(found, 'anomaly', 'anomalies')}{_expected(expected)}")
    return {
        "ANOMALIES": found,
        "THRESHOLD": told["threshold"],
        "PIXELS": told["pixels"],
        "EXPECTED_FALSE_ALARMS": expected,
    }


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _expected(number) -> str:
    """So many false alarms in words; small numbers with a figure or two, as none at all is another thing."""
    if number is None:
        return ""
    text = f"{number:,.0f}" if number >= 2 or number == 0 else f"{number:.2g}"
    return f", {text} expected false {'alarm' if text == '1' else 'alarms'}"


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
    CALLED = {"scores": "input"}
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
        scores = with_help(QgsProcessingParameterRasterLayer("INPUT", "Anomaly scores"), text)
        self.addParameter(meant_for(scores, SCORES))
        for name in _RULES:
            self.addParameter(of_argument("threshold", name, advanced=name != "pfa"))
        for name in _GROUPING:
            self.addParameter(of_argument("threshold", name, advanced=name != "min_pixels"))
        self.addParameter(polygons_parameter("OUTPUT"))
        scene = QgsProcessingParameterRasterLayer("SCENE", "Scene", optional=True)
        self.addParameter(with_help(scene, argument("threshold", "scene")["help"], advanced=True))
        for parameter in (*spectra_parameters(), *reading_parameters("threshold")):
            self.addParameter(parameter)
        p_values = QgsProcessingParameterRasterDestination(
            "P_VALUES", "Map of p-values", optional=True, createByDefault=False
        )
        self.addParameter(with_help(p_values, "The p-value of each pixel, as a GeoTIFF on the grid of the map."))
        for output in decision_outputs():
            self.addOutput(output)

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
        polygon_style.save_polygon_style(polygons, pictures=bool(spectra))
        polygons = load_instead(context, polygons, polygon_style.source_of(polygons))
        of = self.shown_name(parameters, "INPUT", context).removeprefix("Anomaly scores – ").removesuffix("_anomaly")
        self.name_layer(context, polygons, "Anomalies", of)
        if p_values:
            styles.save_p_value_style(p_values)
            self.name_layer(context, p_values, "P-values", of)
        return {"OUTPUT": polygons, "P_VALUES": p_values, **decided(results[0], feedback)}
