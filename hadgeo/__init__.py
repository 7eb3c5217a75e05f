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
    from hadgeo.batch import run_batch
    from hadgeo.cube import open_cube
    from hadgeo.detectors.registry import list_detectors, make_detector
    from hadgeo.engine import Detection, detect
    from hadgeo.model_file import Model, load_model
    from hadgeo.products.comparison import compare
    from hadgeo.products.evaluation import evaluate
    from hadgeo.products.evidence import gather_evidence
    from hadgeo.products.quicklook import quicklook
    from hadgeo.simulation import simulate
    from hadgeo.training import train

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
    "Detection": "hadgeo.engine",
    "detect": "hadgeo.engine",
    "Model": "hadgeo.model_file",
    "compare": "hadgeo.products.comparison",
    "evaluate": "hadgeo.products.evaluation",
    "list_detectors": "hadgeo.detectors.registry",
    "make_detector": "hadgeo.detectors.registry",
    "open_cube": "hadgeo.cube",
    "load_model": "hadgeo.model_file",
    "gather_evidence": "hadgeo.products.evidence",
    "quicklook": "hadgeo.products.quicklook",
    "run_batch": "hadgeo.batch",
    "simulate": "hadgeo.simulation",
    "train": "hadgeo.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hadgeo' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
