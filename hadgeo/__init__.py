"""Learned anomaly detection on whole georeferenced hyperspectral flight lines.

Examples:
    >>> import hadgeo
    >>> cube = hadgeo.open_cube("line.img")
    >>> hadgeo.detect(cube, "bs3lnet", out="line_anomaly.tif").path
    PosixPath('line_anomaly.tif')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hadgeo import errors
from hadgeo._version import __version__

if TYPE_CHECKING:
    from hadgeo.cube import mask, open_cube
    from hadgeo.decisions.calibration import Calibration, Rule, calibrate
    from hadgeo.decisions.decision import Decision, Grouping, Outputs, decide
    from hadgeo.decisions.polygons import Anomalies, find_anomalies, write_polygons
    from hadgeo.detectors.base import Detector, Params
    from hadgeo.detectors.registry import list_detectors, make_detector
    from hadgeo.evaluation.comparison import Contender, compare
    from hadgeo.evaluation.evaluate_maps import Evaluation, evaluate
    from hadgeo.evidence.gather import Anomaly, gather_evidence, write_evidence
    from hadgeo.formats.reading import Reading
    from hadgeo.formats.registry import list_formats
    from hadgeo.grid import Grid
    from hadgeo.maps.mosaic import make_mosaic
    from hadgeo.maps.reader import ScoreMap, open_scores
    from hadgeo.mission.batch import Batch, run_batch
    from hadgeo.mission.flight_lines import FlightLine, flight_lines, read_flight_lines
    from hadgeo.model_file import Model, load_model
    from hadgeo.pictures.quicklook import quicklook
    from hadgeo.progress import Progress
    from hadgeo.run.cluster import connect
    from hadgeo.run.engine import Detection, detect
    from hadgeo.run.training import train
    from hadgeo.simulation import simulate

__all__ = [
    "Anomalies",
    "Anomaly",
    "Batch",
    "Calibration",
    "Contender",
    "Decision",
    "Detection",
    "Detector",
    "Evaluation",
    "FlightLine",
    "Grid",
    "Grouping",
    "Model",
    "Outputs",
    "Params",
    "Progress",
    "Reading",
    "Rule",
    "ScoreMap",
    "__version__",
    "calibrate",
    "compare",
    "connect",
    "decide",
    "detect",
    "errors",
    "evaluate",
    "find_anomalies",
    "flight_lines",
    "gather_evidence",
    "list_detectors",
    "list_formats",
    "load_model",
    "make_detector",
    "make_mosaic",
    "mask",
    "open_cube",
    "open_scores",
    "quicklook",
    "read_flight_lines",
    "run_batch",
    "simulate",
    "train",
    "write_evidence",
    "write_polygons",
]

# Loaded on first use: torch alone takes longer to import than most of our commands to run.
_HOME = {
    "open_cube": "hadgeo.cube",
    "mask": "hadgeo.cube",
    "Grid": "hadgeo.grid",
    "Reading": "hadgeo.formats.reading",
    "list_formats": "hadgeo.formats.registry",
    "Detector": "hadgeo.detectors.base",
    "Params": "hadgeo.detectors.base",
    "list_detectors": "hadgeo.detectors.registry",
    "make_detector": "hadgeo.detectors.registry",
    "detect": "hadgeo.run.engine",
    "Detection": "hadgeo.run.engine",
    "train": "hadgeo.run.training",
    "load_model": "hadgeo.model_file",
    "Model": "hadgeo.model_file",
    "connect": "hadgeo.run.cluster",
    "open_scores": "hadgeo.maps.reader",
    "ScoreMap": "hadgeo.maps.reader",
    "decide": "hadgeo.decisions.decision",
    "Decision": "hadgeo.decisions.decision",
    "Rule": "hadgeo.decisions.calibration",
    "Grouping": "hadgeo.decisions.decision",
    "Outputs": "hadgeo.decisions.decision",
    "calibrate": "hadgeo.decisions.calibration",
    "Calibration": "hadgeo.decisions.calibration",
    "find_anomalies": "hadgeo.decisions.polygons",
    "write_polygons": "hadgeo.decisions.polygons",
    "Anomalies": "hadgeo.decisions.polygons",
    "gather_evidence": "hadgeo.evidence.gather",
    "write_evidence": "hadgeo.evidence.gather",
    "Anomaly": "hadgeo.evidence.gather",
    "evaluate": "hadgeo.evaluation.evaluate_maps",
    "Evaluation": "hadgeo.evaluation.evaluate_maps",
    "compare": "hadgeo.evaluation.comparison",
    "Contender": "hadgeo.evaluation.comparison",
    "quicklook": "hadgeo.pictures.quicklook",
    "simulate": "hadgeo.simulation",
    "run_batch": "hadgeo.mission.batch",
    "Batch": "hadgeo.mission.batch",
    "FlightLine": "hadgeo.mission.flight_lines",
    "flight_lines": "hadgeo.mission.flight_lines",
    "read_flight_lines": "hadgeo.mission.flight_lines",
    "make_mosaic": "hadgeo.maps.mosaic",
    "Progress": "hadgeo.progress",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hadgeo' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
