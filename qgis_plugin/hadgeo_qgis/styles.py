"""How score maps look when they are loaded: a percentile stretch over a perceptual ramp, and a sidecar style."""

from __future__ import annotations

from collections import deque

import numpy as np
from osgeo import gdal
from qgis.core import (
    QgsColorRampShader,
    QgsCoordinateReferenceSystem,
    QgsPalettedRasterRenderer,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
    QgsStyle,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from . import sidecar
from .review.locate import nowhere

#: Percentiles that the ramp spans: a stretch from minimum to maximum would make a map of anomalies black.
LOW, HIGH = 2.0, 99.8

RAMP = "Magma"

#: Figures and the minus sign as exponents.
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

#: Side in pixels of the thinned-out map from which percentiles are taken.
_SAMPLE = 2000

#: Post-processors must outlive the algorithm, or Python collects them and QGIS silently does not call them.
_KEPT: deque = deque(maxlen=64)


def score_range(path: str) -> tuple[float, float]:
    """The scores at the percentiles that the ramp spans; equal where there are no scores."""
    dataset = gdal.Open(path)
    if dataset is None:
        return 0.0, 0.0
    band = dataset.GetRasterBand(1)
    size = {"buf_xsize": min(band.XSize, _SAMPLE), "buf_ysize": min(band.YSize, _SAMPLE)}
    scores = band.ReadAsArray(**size)
    scores = scores[np.isfinite(scores)]
    if scores.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(scores, (LOW, HIGH))
    return float(low), float(high)


def style_scores(layer: QgsRasterLayer) -> None:
    """Stretch a layer of scores."""
    low, high = score_range(layer.source())
    if not high > low:
        return
    ramp = QgsStyle.defaultStyle().colorRamp(RAMP)
    shader = QgsColorRampShader(low, high, ramp, QgsColorRampShader.Type.Interpolated)
    shader.classifyColorRamp(64)
    wrapped = QgsRasterShader()
    wrapped.setRasterShaderFunction(shader)
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, wrapped)
    renderer.setClassificationMin(low)
    renderer.setClassificationMax(high)
    layer.setRenderer(renderer)


def save_score_style(path: str) -> None:
    """Write the style beside a score map, where QGIS finds it again: from qgis_process, batches and models too."""
    layer = QgsRasterLayer(path, "scores")
    if layer.isValid():
        style_scores(layer)
        sidecar.save(layer, path)


def save_p_value_style(path: str) -> None:
    """Write a style beside a map of p-values: bright where they are small, by powers of ten."""
    layer = QgsRasterLayer(path, "p-values")
    if not layer.isValid():
        return
    shader = QgsColorRampShader(1e-6, 1.0, None, QgsColorRampShader.Type.Interpolated)
    ramp = QgsStyle.defaultStyle().colorRamp(RAMP)
    shader.setColorRampItemList(
        [
            QgsColorRampShader.ColorRampItem(
                10.0**power, ramp.color(-power / 6), f"10{str(power).translate(_RAISED)}" if power else "1"
            )
            for power in range(-6, 1)
        ]
    )
    wrapped = QgsRasterShader()
    wrapped.setRasterShaderFunction(shader)
    layer.setRenderer(QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, wrapped))
    sidecar.save(layer, path)


def save_truth_style(path: str) -> None:
    """Write a style beside a truth: targets yellow, everything else clear."""
    layer = QgsRasterLayer(path, "truth")
    if layer.isValid():
        target = QgsPalettedRasterRenderer.Class(1, QColor("#ffff33"), "target")
        layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, [target]))
        sidecar.save(layer, path)


class Named(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer its name, its style from beside the file, and polygons their place on top.

    Args:
        name: What the layer tree shows.
    """

    #: Polygons that were loaded last: QGIS 3.22 may put the scores of the same run above them afterwards.
    _on_top = ""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        _KEPT.append(self)

    def postProcessLayer(self, layer, context, feedback) -> None:  # noqa: ARG002
        """Name the layer and show the style beside it."""
        layer.setName(self._name)
        layer.loadDefaultStyle()
        if isinstance(layer, QgsVectorLayer) and nowhere(layer):
            # GDAL takes any GeoJSON for degrees, that of pixels too.
            layer.setCrs(QgsCoordinateReferenceSystem())
        layer.triggerRepaint()
        if isinstance(layer, QgsVectorLayer):
            Named._on_top = layer.id()
        raise_layer(Named._on_top)


def raise_layer(identity: str) -> None:
    """Move a layer to the top of its group in the layer tree, if it is there."""
    node = QgsProject.instance().layerTreeRoot().findLayer(identity)
    if node is None or node.parent().children()[0] == node:
        return
    parent = node.parent()
    parent.insertChildNode(0, node.clone())
    parent.removeChildNode(node)
