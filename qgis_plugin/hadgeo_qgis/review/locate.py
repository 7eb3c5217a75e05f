"""From outlines on a map to pixels of a scene."""

from __future__ import annotations

import numpy as np
from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)

from .anomaly_layer import text_of
from .scene import Look, Scene, SceneError, dilated

#: The square that stands for a clicked pixel, around its middle.
_HALF = 0.5


class Locator:
    """Finds a layer's anomalies in a scene.

    Args:
        scene: The scene.
        crs: Its coordinate system; invalid where it has none.
        layer: The layer of anomalies.

    Raises:
        SceneError: One of them has a place on a map, and the other has not.
    """

    def __init__(self, scene: Scene, crs: QgsCoordinateReferenceSystem, layer) -> None:
        self.scene, self._crs, self._layer = scene, crs, layer
        #: The coordinate system of the layer; invalid where its coordinates are columns and rows.
        self.layer_crs = QgsCoordinateReferenceSystem() if nowhere(layer) else layer.crs()
        if self.layer_crs.isValid() and not scene.placed:
            raise SceneError("the anomalies lie on a map, and this scene does not: choose the georeferenced raster")
        # Without a coordinate system on either side, both are on the same plain grid.
        same = not (self.layer_crs.isValid() and crs.isValid()) or self.layer_crs == crs
        self._to_scene = None if same else QgsCoordinateTransform(self.layer_crs, crs, QgsProject.instance())

    def rings(self, geometry: QgsGeometry) -> list:
        """The rings of an outline, each as (corner, 2) of columns and rows.

        Raises:
            SceneError: The outline has no place in the scene's coordinate system.
        """
        moved = QgsGeometry(geometry)
        if moved.isEmpty():
            return []
        if self._to_scene is not None:
            try:
                moved.transform(self._to_scene)
            except QgsCsException:
                raise SceneError("the anomaly has no place in the scene's coordinate system") from None
        polygons = moved.asMultiPolygon() if moved.isMultipart() else [moved.asPolygon()]
        return [
            np.array([self.scene.pixel(point.x(), point.y())[::-1] for point in ring]) for p in polygons for ring in p
        ]

    def look_at(self, feature) -> Look:
        """Compare an anomaly with its surroundings, as the backend's evidence does without a detector.

        Raises:
            SceneError: It lies outside of the scene, or the file is damaged.
        """
        rings = self.rings(feature.geometry())
        corners = np.concatenate(rings) if rings else np.empty((0, 2))
        if not corners.size:
            raise SceneError("the anomaly has no outline")
        # Corners that went through another coordinate system are not whole any more.
        first = np.ceil(corners.min(axis=0) - 0.49).astype(int)
        last = np.floor(corners.max(axis=0) - 0.51).astype(int)
        if not (self.scene.inside(first[1], first[0]) and self.scene.inside(last[1], last[0])):
            raise SceneError("the anomaly extends outside of this scene: choose the scene it was found in")
        rows, cols = self.scene.surroundings((first[1], last[1]), (first[0], last[0]))
        here = covered(rings, rows, cols)
        around = ~dilated(self._anomalous(rows, cols) | here)
        look = self.scene.look(here, around, (rows.start, cols.start))
        if not look.pixels:
            raise SceneError("the scene has no data at this anomaly")
        return look

    def look_at_pixel(self, row: int, col: int) -> Look:
        """Compare a pixel with its surroundings.

        Raises:
            SceneError: It lies outside of the scene, it has no data, or the file is damaged.
        """
        if not self.scene.inside(row, col):
            raise SceneError("there is no pixel of the scene")
        rows, cols = self.scene.surroundings((row, row), (col, col))
        here = np.zeros((rows.stop - rows.start, cols.stop - cols.start), dtype=bool)
        here[row - rows.start, col - cols.start] = True
        look = self.scene.look(here, ~dilated(self._anomalous(rows, cols) | here), (rows.start, cols.start))
        if not look.pixels:
            raise SceneError("the scene has no data at this pixel")
        return look

    def _anomalous(self, rows: slice, cols: slice) -> np.ndarray:
        """Where a window holds any anomaly."""
        mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), dtype=bool)
        request = QgsFeatureRequest().setFilterRect(self._extent(rows, cols)).setSubsetOfAttributes([])
        for feature in self._layer.getFeatures(request):
            mask |= covered(self.rings(feature.geometry()), rows, cols)
        return mask

    def _extent(self, rows: slice, cols: slice) -> QgsRectangle:
        """The rectangle of the layer's coordinate system that a window lies in."""
        corners = [self.scene.place(row, col) for row in (rows.start, rows.stop) for col in (cols.start, cols.stop)]
        box = QgsRectangle()
        for x, y in corners:
            box.combineExtentWith(x, y)
        if self._to_scene is None:
            return box
        return self._to_scene.transformBoundingBox(box, Qgis.TransformDirection.Reverse)

    def pixel_at(self, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> tuple[int, int]:
        """Row and column of the pixel at a place of the canvas.

        Args:
            point: The place.
            crs: The canvas's coordinate system.

        Raises:
            SceneError: The place is not in the scene's coordinate system.
        """
        if crs.isValid() and self._crs.isValid() and crs != self._crs:
            try:
                point = QgsCoordinateTransform(crs, self._crs, QgsProject.instance()).transform(point)
            except QgsCsException:
                raise SceneError("there is no pixel of the scene") from None
        row, col = self.scene.pixel(point.x(), point.y())
        return int(np.floor(row)), int(np.floor(col))


def covered(rings: list, rows: slice, cols: slice) -> np.ndarray:
    """Which pixels of a window have their middle within rings, by the rule of odd and even."""
    x = np.arange(cols.start, cols.stop)[None, :] + _HALF
    y = np.arange(rows.start, rows.stop)[:, None] + _HALF
    mask = np.zeros((y.size, x.size), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring[:-1], ring[1:]):
            if y0 != y1:
                mask ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return mask


def nowhere(layer) -> bool:
    """Whether outlines are in columns and rows: GDAL takes any GeoJSON for WGS 84, that of such a scene too."""
    # What QGIS makes of a GeoPackage that names no system.
    if not layer.crs().isValid() or '"Undefined SRS"' in layer.crs().toWkt():
        return True
    if layer.fields().indexOf("lon") < 0:
        return False
    first = next(layer.getFeatures(QgsFeatureRequest().setLimit(1)), None)
    return layer.crs().isGeographic() and first is not None and text_of(first["lon"]) == ""
