"""Compare detectors: several detectors on one scene with a truth, best first."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingOutputString, QgsProcessingParameterFolderDestination

from ..parameters import choice, of_argument, with_help
from ..schema import DETECTORS, argument
from .base import (
    HadgeoAlgorithm,
    learning_parameters,
    mask_parameter,
    reading_parameters,
    scene_parameter,
    selected_parameter,
)
from .evaluate import plot_parameter, report_parameter, truth_parameter, write_report
from .several_detectors import SeveralDetectors, duration


class Compare(HadgeoAlgorithm):
    """Runs several detectors and ranks them."""

    ID = "compare"
    TITLE = "Compare detectors"
    SUMMARY = (
        "Runs several detectors with their defaults on a scene with known targets, and ranks them by how well they "
        "reveal these targets."
    )
    GROUP = "Evaluation"
    TAGS = ("roc", "auc", "benchmark", "leaderboard")
    ICON = "compare.svg"
    STAGES = {
        "start": (0, 1),
        "select": (1, 2),
        "statistics": (2, 10),
        "crops": (10, 15),
        "fit": (15, 55),
        "score": (55, 95),
    }
    CALLED = {"scene": "input", "detector": "detectors", "output": "maps"}

    def initAlgorithm(self, configuration=None) -> None:  # noqa: ARG002
        """Declare parameters and outputs."""
        self.addParameter(scene_parameter())
        self.addParameter(truth_parameter())
        detectors = choice("DETECTORS", "Detectors", list(DETECTORS), list(DETECTORS), several=True)
        self.addParameter(with_help(detectors, "The detectors to run, each with its defaults."))
        self.addParameter(of_argument("compare", "bands"))
        self.addParameter(mask_parameter())
        for parameter in (*learning_parameters("compare"), selected_parameter(), *reading_parameters("compare")):
            self.addParameter(parameter)
        self.addParameter(of_argument("compare", "bootstrap", advanced=True))
        self.addParameter(of_argument("compare", "seed", advanced=True))
        self.addParameter(report_parameter())
        self.addParameter(plot_parameter("compare"))
        maps = QgsProcessingParameterFolderDestination("MAPS", "Maps", optional=True, createByDefault=False)
        self.addParameter(with_help(maps, argument("compare", "output")["help"]))
        self.addOutput(QgsProcessingOutputString("BEST", "Best detector"))

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Compare."""
        scene = self.scene(parameters, "INPUT", context)
        report = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        plot = self.parameterAsFileOutput(parameters, "PLOT", context) or None
        maps = self.parameterAsFileOutput(parameters, "MAPS", context) or None
        if maps:
            Path(maps).mkdir(parents=True, exist_ok=True)
        arguments = {
            **self.options(("bands", "bootstrap", "seed"), parameters, context),
            **scene,
            "truth": self.overlay(parameters, "TRUTH", context, feedback),
            "detector": self.parameterAsEnumStrings(parameters, "DETECTORS", context),
            "mask": self.overlay(parameters, "MASK", context, feedback),
            **self.learning(parameters, context, feedback, ("suppress_from",)),
            "plot": plot,
            "output": maps,
        }
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        values = 0 if layer is None else layer.width() * layer.height() * layer.bandCount()
        listener = SeveralDetectors(feedback, self.STAGES, self.titles(), arguments["detector"], values)
        results = self.run_backend("compare", arguments, feedback, listener)
        if not results:
            return {}
        board = {entry["detector"]: entry for entry in results[0]["leaderboard"]}
        write_report(report, f"Detectors on {Path(scene['scene']).name}", board)
        for name, entry in board.items():
            seconds = duration(sum(entry["seconds"].values()))
            feedback.pushInfo(f"{name}: AUC {entry['metrics']['auc_d_f']['value']:.5f}, {seconds}")
        return {"OUTPUT": report, "PLOT": plot, "MAPS": maps, "BEST": next(iter(board))}
