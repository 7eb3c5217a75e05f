"""Where an anomaly is: a frame of the canvas around it, and its outline on top of everything."""

from __future__ import annotations

import math

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsGeometry, QgsProject, QgsRectangle
from qgis.gui import QgsRubberBand
from qgis.PyQt.QtGui import QColor

#: What is shown around an anomaly, in pixels of the map and in sizes of the anomaly: the larger of both.
_PIXELS, _SIZES = 25, 1.5


class Highlight:
    """Shows one anomaly on a canvas.

    Args:
        canvas: QGIS's map canvas.
    """

    def __init__(self, canvas) -> None:
        self._canvas, self._band = canvas, None

    def clear(self) -> None:
        """Show none."""
        if self._band is not None:
            self._canvas.scene().removeItem(self._band)
            self._band = None

    def show(self, layer, feature, unplaced: bool = False) -> None:
        """Go to an anomaly and draw its outline.

        Args:
            layer: Its layer.
            feature: It.
            unplaced: Its coordinates are columns and rows, whatever the layer says.
        """
        self.clear()
        geometry = QgsGeometry(feature.geometry())
        if geometry.isEmpty():
            return
        settings, crs = self._canvas.mapSettings(), layer.crs()
        frame = around(geometry, feature["pixels"] if layer.fields().indexOf("pixels") >= 0 else 1)
        if unplaced:
            crs = settings.destinationCrs()
        if crs.isValid() and settings.destinationCrs().isValid() and crs != settings.destinationCrs():
            try:
                there = QgsCoordinateTransform(crs, settings.destinationCrs(), QgsProject.instance())
                frame = there.transformBoundingBox(frame)
                geometry.transform(there)
            except QgsCsException:
                return
        band = QgsRubberBand(self._canvas, layer.geometryType())
        band.setToGeometry(geometry, None)
        band.setStrokeColor(QColor("#ff2bd6"))
        band.setFillColor(QColor(0, 0, 0, 0))
        band.setWidth(3)
        self._band = band
        self._canvas.setExtent(frame)
        self._canvas.refresh()


def around(geometry: QgsGeometry, pixels) -> QgsRectangle:
    """The rectangle of an anomaly with its surroundings, in its own coordinates.

    Args:
        geometry: Its outline.
        pixels: How many pixels it has, or NULL.
    """
    box = geometry.boundingBox()
    # An outline along the edges of pixels knows how large they are.
    side = math.sqrt(geometry.area() / max(1, int(pixels or 1)))
    frame = QgsRectangle(box)
    frame.grow(max(_PIXELS * side, _SIZES * max(box.width(), box.height())))
    return frame
