"""Simulate a scene: a realistic flight line with implanted targets, for trying things out."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingParameterCrs,
    QgsProcessingParameterRasterDestination,
)

from .. import handover, styles
from ..parameters import of_argument, with_help
from ..schema import argument
from .base import HadgeoAlgorithm

_BASIC = {"rows": "Rows", "cols": "Columns", "bands": "Bands", "targets": "Targets", "seed": "Seed"}
_ADVANCED = {
    "rotation": "Rotation",
    "wedges": "Wedges of nodata",
    "snr": "Signal-to-noise ratio",
    "pixel_size": "Pixel size",
    "dtype": "Sample type",
    "interleave": "Interleave",
    "compress": "Compression",
}


class Simulate(HadgeoAlgorithm):
    """Writes a made scene and the truth of its targets."""

    ID = "simulate"
    TITLE = "Simulate a scene"
    SUMMARY = (
        "Writes a simulated hyperspectral flight line with implanted targets, and next to it a truth map of the "
        "targets: 1 is target, 0 is background, 255 is nodata."
    )
    GROUP = "Tools"
    TAGS = ("synthetic", "truth", "demo")
    ICON = "simulate.svg"
    STAGES = {"start": (0, 5), "simulate": (5, 99)}
    CALLED = {"out": "output"}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        defaults = {"rows": {"default": 512, "minimum": 1}, "cols": {"minimum": 1}, "bands": {"minimum": 1}}
        for name, title in _BASIC.items():
            self.addParameter(of_argument("simulate", name, title, **defaults.get(name, {})))
        for name, title in _ADVANCED.items():
            self.addParameter(of_argument("simulate", name, title, advanced=True))
        crs = argument("simulate", "crs")
        # Optional, because QGIS 3.22 takes a missing value for a mistake even where there is a default.
        place = QgsProcessingParameterCrs("CRS", "CRS", crs["default"], optional=True)
        self.addParameter(with_help(place, crs["help"], advanced=True))
        scene = QgsProcessingParameterRasterDestination("OUTPUT", "Scene")
        self.addParameter(
            with_help(scene, "The scene, a GeoTIFF; its truth map is written next to it, with _truth in its name.")
        )
        self.addOutput(QgsProcessingOutputRasterLayer("TRUTH", "Truth map"))
        self.addOutput(QgsProcessingOutputNumber("TARGET_PIXELS", "Target pixels"))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Simulate."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        crs = self.parameterAsCrs(parameters, "CRS", context)
        arguments = {
            **self.options((*_BASIC, *_ADVANCED), parameters, context),
            "crs": (crs.authid() or crs.toWkt()) if crs.isValid() else None,
            "out": output,
        }
        results = self.run_backend("simulate", arguments, feedback)
        if not results:
            return {}
        truth = handover.absolute(results[0]["truth"])
        if context.willLoadLayerOnCompletion(output):
            self._load_truth(context, truth, context.layerToLoadOnCompletionDetails(output).project, Path(output).stem)
        self.name_layer(context, output, "Scene", Path(output).stem)
        return {"OUTPUT": output, "TRUTH": truth, "TARGET_PIXELS": results[0]["target_pixels"]}

    def _load_truth(self, context, truth: str, project, of: str) -> None:
        """Have QGIS load the truth beside the scene: 0 clear, 1 yellow."""
        styles.save_truth_style(truth)
        details = QgsProcessingContext.LayerDetails(f"Truth – {of}", project, "TRUTH")
        details.setPostProcessor(styles.Named(details.name))
        context.addLayerToLoadOnCompletion(truth, details)
