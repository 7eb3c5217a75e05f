"""Evaluate against truth: how well score maps separate known targets from the background."""

from __future__ import annotations

from html import escape
from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
)

from ..defaults import TRUTH, meant_for
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import HadgeoAlgorithm, selected_parameter

_STYLE = "table{border-collapse:collapse}td,th{border:1px solid #999;padding:2px 8px;text-align:left}"


def truth_parameter() -> QgsProcessingParameterMapLayer:
    """The parameter for known targets."""
    kinds = [QgsProcessing.SourceType.TypeRaster, QgsProcessing.SourceType.TypeVectorPolygon]
    made = QgsProcessingParameterMapLayer("TRUTH", "Truth", types=kinds)
    text = (
        "Where the targets are: polygons, or a raster in which 0 is background and anything else a target. If "
        "georeferenced, it is resampled to the grid of the scene; otherwise it must have the same shape."
    )
    return meant_for(with_help(made, text), TRUTH)


def report_parameter(name: str = "OUTPUT") -> QgsProcessingParameterFileDestination:
    """The parameter for a table as HTML."""
    made = QgsProcessingParameterFileDestination(name, "Report", "HTML files (*.html)")
    return with_help(made, "The results as a table, shown in the results viewer.")


def plot_parameter(command: str) -> QgsProcessingParameterFileDestination:
    """The parameter for the ROC curves."""
    filters = "PNG (*.png);;SVG (*.svg);;PDF (*.pdf)"
    made = QgsProcessingParameterFileDestination("PLOT", "ROC curves", filters, optional=True, createByDefault=False)
    return with_help(made, argument(command, "plot")["help"])


def write_report(path: str, title: str, columns: dict) -> None:
    """Write metrics as an HTML table.

    Args:
        path: The file.
        title: Its heading.
        columns: Evaluations by the heading of their column, at least one.
    """
    first = next(iter(columns.values()))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = []
    for key, metric in first["metrics"].items():
        cells = "".join(f"<td>{_cell(one['metrics'][key])}</td>" for one in columns.values())
        rows.append(f"<tr><td>{escape(metric['name'])}</td><td>{escape(metric['formula'])}</td>{cells}</tr>")
    text = (
        f"<html><head><meta charset='utf-8'><style>{_STYLE}</style></head><body><h2>{escape(title)}</h2>"
        f"<table><tr><th>metric</th><th>formula</th>{head}</tr>{''.join(rows)}</table></body></html>"
    )
    Path(path).write_text(text, encoding="utf-8")


def _cell(metric: dict) -> str:
    if metric["value"] is None:
        return ""
    interval = metric["interval_95"]
    ends = f" ({interval[0]:.5f} … {interval[1]:.5f})" if interval and None not in interval else ""
    return f"{metric['value']:.5f}{ends}"


class Evaluate(HadgeoAlgorithm):
    """Compares score maps with ground truth."""

    ID = "evaluate"
    TITLE = "Evaluate against truth"
    SUMMARY = (
        "Measures how well one or several score maps separate known targets from the background: the areas under the "
        "ROC curves, average precision, and detections at low false-alarm rates, with 95 % intervals."
    )
    GROUP = "Evaluation"
    TAGS = ("roc", "auc", "accuracy", "precision")
    ICON = "evaluate.svg"
    STAGES = {"start": (0, 99)}
    CALLED = {"scores": "input", "map": "input", "truths": "truth"}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        maps = QgsProcessingParameterMultipleLayers("INPUT", "Anomaly scores", QgsProcessing.SourceType.TypeRaster)
        self.addParameter(with_help(maps, "Score maps of one scene, shown side by side in the report."))
        self.addParameter(truth_parameter())
        self.addParameter(selected_parameter())
        self.addParameter(of_argument("evaluate", "bootstrap", "Bootstrap resamples", advanced=True))
        self.addParameter(of_argument("evaluate", "seed", advanced=True))
        self.addParameter(report_parameter())
        self.addParameter(plot_parameter("evaluate"))
        self.addOutput(QgsProcessingOutputNumber("AUC", "Area under the ROC curve of the first map"))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Evaluate."""
        scores = self.rasters(parameters, "INPUT", context)
        report = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        plot = self.parameterAsFileOutput(parameters, "PLOT", context) or None
        arguments = {
            **self.options(("bootstrap", "seed"), parameters, context),
            "scores": scores[0],
            "map": scores[1:],
            "truths": [self.overlay(parameters, "TRUTH", context, feedback)],
            "plot": plot,
            "json": True,
        }
        results = self.run_backend("evaluate", arguments, feedback)
        if not results:
            return {}
        found = results[0]["evaluations"]
        columns = {_heading(one["scores"], scores): one for one in found}
        write_report(report, f"Against {Path(found[0]['truth']).name}", columns)
        for name, one in columns.items():
            feedback.pushInfo(f"{name}: AUC {one['metrics']['auc_d_f']['value']:.5f}")
        return {"OUTPUT": report, "PLOT": plot, "AUC": found[0]["metrics"]["auc_d_f"]["value"]}


def _heading(path: str, all_paths: list) -> str:
    """A map's name, with its folder where two maps have one name."""
    alike = [other for other in all_paths if Path(other).stem == Path(path).stem]
    return Path(path).stem if len(alike) < 2 else path
