"""A score map in two colours: what reaches a threshold, and what does not."""

from __future__ import annotations

import numpy as np
from qgis.core import QgsColorRampShader, QgsRasterShader, QgsSingleBandPseudoColorRenderer
from qgis.PyQt.QtGui import QColor

_DARK, _GREY, _REACHED, _HIGHEST = (QColor(name) for name in ("#000004", "#7d7d88", "#ffe600", "#ff3b1f"))


def renderer(layer, threshold: float, low: float, high: float) -> QgsSingleBandPseudoColorRenderer:
    """Make the style: from black to grey below the threshold, from yellow to red from there on.

    Args:
        layer: The score map.
        threshold: The lowest score that is flagged.
        low: The score that is black.
        high: The highest score.
    """
    # Scores are float32, so none lies between.
    below = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    stops = [(min(low, below), _DARK), (below, _GREY), (threshold, _REACHED), (max(high, threshold), _HIGHEST)]
    shader = QgsColorRampShader(stops[0][0], stops[-1][0], None, QgsColorRampShader.Type.Interpolated)
    items = [QgsColorRampShader.ColorRampItem(score, colour, f"{score:.6g}") for score, colour in stops]
    shader.setColorRampItemList(items)
    wrapped = QgsRasterShader()
    wrapped.setRasterShaderFunction(shader)
    made = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, wrapped)
    made.setClassificationMin(stops[0][0])
    made.setClassificationMax(stops[-1][0])
    return made


class ThresholdStyle:
    """Shows thresholds on a layer, and gives it its own style back afterwards.

    Args:
        layer: The score map.
    """

    def __init__(self, layer) -> None:
        self._layer, self._own, self._busy = layer, None, False
        layer.rendererChanged.connect(self._restyled)

    def show(self, threshold: float, low: float, high: float) -> None:
        """Show a threshold; see `renderer`."""
        if self._own is None:
            self._own = self._layer.renderer().clone()
        self._set(renderer(self._layer, threshold, low, high))

    def restore(self) -> None:
        """Give the layer its own style back, unless the user has chosen another one meanwhile."""
        if self._own is not None:
            self._set(self._own)
            self._own = None

    def release(self) -> None:
        """Restore, and follow the layer no longer."""
        self.restore()
        self._layer.rendererChanged.disconnect(self._restyled)

    def _set(self, style) -> None:
        self._busy = True
        self._layer.setRenderer(style)
        self._busy = False
        self._layer.triggerRepaint()

    def _restyled(self) -> None:
        if not self._busy:
            self._own = None
