"""Detect on a mission: many flight lines with one model, and the anomalies of all of them in one layer."""

from __future__ import annotations

import re
from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
)

from .. import polygon_style
from ..parameters import of_argument, with_help
from ..wording import title_of
from .base import (
    READING,
    DetectorChoice,
    Feedback,
    HadgeoAlgorithm,
    learning_parameters,
    mask_parameter,
    reading_parameters,
    rejected_parameters,
    report_parameters,
    selected_parameter,
)
from .threshold import polygons_parameter
from .values import load_instead

_OPTIONS = ("bands", "pfa", "fit_on", "calibrate_on", "join_distance", "min_pixels", "resample_bands")


#: What the fit of the model takes of the bar, and what all lines take.
_FIT, _LINES = 10.0, 85.0


class FlightLines(Feedback):
    """Divides the bar among the flight lines, after the fit of their model."""

    _number, _total = 0, 1

    def log(self, message: str, warning: bool = False) -> None:
        """Go on to the next line where the backend does."""
        found = re.match(r"flight line (\d+) of (\d+): ", message)
        if found:
            self._number, self._total, self._stage = int(found[1]), int(found[2]), ""
        super().log(message, warning)

    def _show(self, whole: float) -> None:
        if self._number:
            super()._show(_FIT + _LINES * (self._number - 1 + whole / 100) / self._total)
        else:
            super()._show(_FIT * whole / 100)


class Mission(DetectorChoice, HadgeoAlgorithm):
    """Runs a batch of flight lines."""

    ID = "mission"
    TITLE = "Detect on a mission"
    SUMMARY = (
        "Detects anomalies on many flight lines with one detector, fitted once, and writes those of all lines as one "
        "layer, each object once. Run again, it does only what is missing. A line that fails does not stop the others."
    )
    TAGS = ("batch", "flight lines", "mosaic")
    ICON = "mission.svg"
    STAGES = {"start": (0, 5), "statistics": (5, 30), "crops": (30, 40), "fit": (40, 95), "score": (10, 100)}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        lines = QgsProcessingParameterMultipleLayers("INPUT", "Flight lines", QgsProcessing.SourceType.TypeRaster)
        text = "Hyperspectral cubes of one sensor. The detector is fitted on the first of them, unless you choose more."
        self.addParameter(with_help(lines, text))
        self.add_detector_parameters()
        model = QgsProcessingParameterFile("MODEL", title_of("model"), extension="hadgeo", optional=True)
        text = "Apply a detector from 'Train a detector' instead of fitting one; the detector above is left out then."
        self.addParameter(with_help(model, text))
        for name in _OPTIONS:
            self.addParameter(of_argument("batch", name, advanced=name not in ("bands", "pfa", "fit_on")))
        self.addParameter(mask_parameter())
        for parameter in (*learning_parameters("batch"), *rejected_parameters(), selected_parameter()):
            self.addParameter(parameter)
        for parameter in reading_parameters("batch"):
            self.addParameter(parameter)
        folder = QgsProcessingParameterFolderDestination("OUTPUT", "Folder of the maps")
        self.addParameter(with_help(folder, "Receives one map for each line, the model, and a summary."))
        self.addParameter(polygons_parameter("POLYGONS", optional=True))
        for parameter in report_parameters():
            self.addParameter(parameter)
        for name, title in (("DONE", "Lines with a map"), ("FAILED", "Lines that failed"), ("ANOMALIES", "Anomalies")):
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Detect."""
        model = self.parameterAsFile(parameters, "MODEL", context) or None
        folder = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        polygons = self.parameterAsOutputLayer(parameters, "POLYGONS", context) or None
        page = self.parameterAsFileOutput(parameters, "REPORT", context) or None
        Path(folder).mkdir(parents=True, exist_ok=True)
        arguments = {
            **({"model": model} if model else self.detector_arguments(parameters, context)),
            **self.options((*_OPTIONS, *READING), parameters, context),
            **self.learning(parameters, context, feedback, ("suppress_from",)),
            **self.rejected(parameters, context, feedback),
            "scenes": self.rasters(parameters, "INPUT", context),
            "mask": self.overlay(parameters, "MASK", context, feedback),
            "output": folder,
            "polygons": polygons,
            **({"report": page, **self.options(("report_limit",), parameters, context)} if page else {}),
        }
        if not model:
            arguments.pop("resample_bands")
        results = self.run_backend("batch", arguments, feedback, FlightLines(feedback, self.STAGES, self.titles()))
        if not results:
            return {}
        told = results[0]
        for line in told["lines"]:
            if line["error"]:
                feedback.reportError(f"{Path(line['scene']).name}: {line['error']}")
        found = (told["polygons"] or {}).get("objects")
        if polygons and found is not None:
            if not told["polygons"]["kept"]:
                # One that was kept has its style, and QGIS would ask whether to replace it.
                polygon_style.save_polygon_style(polygons)
            polygons = load_instead(context, polygons, polygon_style.source_of(polygons))
            self.name_layer(context, polygons, "Anomalies", Path(folder).name)
            feedback.pushInfo(f"{found:,} anomalies in {told['done'] + told['kept']} flight lines")
        return {
            "OUTPUT": folder,
            "POLYGONS": polygons,
            "REPORT": page,
            "DONE": told["done"] + told["kept"],
            "FAILED": told["failed"],
            "ANOMALIES": found,
        }
