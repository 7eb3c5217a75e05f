"""QGIS's own dialog of an algorithm, which shows the parameters of the chosen detector alone."""

from __future__ import annotations

from processing.gui.AlgorithmDialog import AlgorithmDialog

from .parameters import DETECTOR, detector_parameter_name
from .schema import DETECTORS


class DetectorDialog(AlgorithmDialog):
    """Hides parameters of the detectors that are not chosen; their values have no meaning then."""

    def getParametersPanel(self, alg, parent):
        """QGIS's panel, wired to the choice of the detector."""
        panel = super().getParametersPanel(alg, parent)
        choice = panel.wrappers[DETECTOR]
        choice.widgetValueHasChanged.connect(lambda wrapper: show_parameters_of(panel, wrapper.parameterValue()))
        show_parameters_of(panel, choice.parameterValue())
        return panel


def show_parameters_of(panel, chosen: str) -> None:
    """Show a detector's parameters and hide the others'."""
    for detector, facts in DETECTORS.items():
        for key in facts["parameters"]:
            wrapper = panel.wrappers[detector_parameter_name(detector, key)]
            for widget in (wrapper.wrappedLabel(), wrapper.wrappedWidget()):
                if widget is not None:
                    widget.setVisible(detector == chosen)
