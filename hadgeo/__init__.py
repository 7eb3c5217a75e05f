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
    from hadgeo.cube import open_cube
    from hadgeo.detectors.registry import list_detectors, make_detector
    from hadgeo.evaluation.comparison import compare
    from hadgeo.evaluation.evaluate_maps import evaluate
    from hadgeo.evidence.spectra import gather_evidence
    from hadgeo.mission.batch import run_batch
    from hadgeo.model_file import Model, load_model
    from hadgeo.pictures.quicklook import quicklook
    from hadgeo.run.engine import Detection, detect
    from hadgeo.run.training import train
    from hadgeo.simulation import simulate

__all__ = [
    "Detection",
    "Model",
    "__version__",
    "compare",
    "detect",
    "errors",
    "evaluate",
    "gather_evidence",
    "list_detectors",
    "load_model",
    "make_detector",
    "open_cube",
    "quicklook",
    "run_batch",
    "simulate",
    "train",
]

# Loaded on first use: torch alone takes longer to import than most of our commands to run.
_HOME = {
    "Detection": "hadgeo.run.engine",
    "detect": "hadgeo.run.engine",
    "Model": "hadgeo.model_file",
    "compare": "hadgeo.evaluation.comparison",
    "evaluate": "hadgeo.evaluation.evaluate_maps",
    "list_detectors": "hadgeo.detectors.registry",
    "make_detector": "hadgeo.detectors.registry",
    "open_cube": "hadgeo.cube",
    "load_model": "hadgeo.model_file",
    "gather_evidence": "hadgeo.evidence.spectra",
    "quicklook": "hadgeo.pictures.quicklook",
    "run_batch": "hadgeo.mission.batch",
    "simulate": "hadgeo.simulation",
    "train": "hadgeo.run.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hadgeo' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
