"""QGIS's own dialog of an algorithm, which begins with the layer that is meant rather than with the topmost one."""

from __future__ import annotations

from processing.gui.AlgorithmDialog import AlgorithmDialog

from .defaults import MEANT, layer_meant


class HadgeoDialog(AlgorithmDialog):
    """Chooses a scene where a scene is asked for, and a score map where scores are."""

    def getParametersPanel(self, alg, parent):
        """QGIS's panel, with the layers that are meant."""
        panel = super().getParametersPanel(alg, parent)
        for parameter in alg.parameterDefinitions():
            kind = parameter.metadata().get(MEANT)
            wrapper = panel.wrappers.get(parameter.name())
            if kind is None or wrapper is None:
                continue
            layer = layer_meant(kind, wrapper.parameterValue())
            if layer is not None:
                wrapper.setParameterValue(layer.id(), panel.processing_context)
        return panel
