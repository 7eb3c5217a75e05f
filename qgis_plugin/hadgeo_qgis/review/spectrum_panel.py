"""The chip and the spectrum of an anomaly, and of any pixel that the user clicks on the map."""

from __future__ import annotations

import numpy as np
from qgis.gui import QgsMapToolEmitPoint
from qgis.PyQt.QtCore import QPointF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QPolygonF
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..handover import absolute
from . import bands, evidence, true_colour
from .anomaly_layer import text_of
from .locate import Locator
from .plot import SpectrumPlot
from .scene import CHIP_SIDE, SceneError

#: Pixels of the screen for one of the scene.
_ZOOM = 3


class ClickTool(QgsMapToolEmitPoint):
    """The map tool that takes spectra; keys go on to the dock, so that a review goes on from the map too.

    Args:
        canvas: QGIS's map canvas.
        on_key: Takes an event of a key; whether it was of use.
    """

    def __init__(self, canvas, on_key) -> None:
        super().__init__(canvas)
        self._on_key = on_key

    def keyPressEvent(self, event) -> None:
        """Hand a key on."""
        if not self._on_key(event):
            event.ignore()


class SpectrumPanel(QWidget):
    """Shows what was measured at an anomaly, and what was expected there.

    Args:
        canvas: QGIS's map canvas.
        on_key: What becomes of keys that are pressed on the map.
        parent: The widget around it.
    """

    def __init__(self, canvas, on_key, parent=None) -> None:
        super().__init__(parent)
        self._canvas, self._before = canvas, None
        self._scene_layer, self._anomalies, self._scores = None, None, None
        self.locator, self.evidence, self.look, self.clicked = None, None, None, None
        self._rings, self._problem, self._identities = [], "", None
        self.chip = QLabel()
        self.chip.setFixedSize(QSize(CHIP_SIDE * _ZOOM + 2, CHIP_SIDE * _ZOOM + 2))
        self.chip.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plot = SpectrumPlot()
        self.pick = QPushButton("Spectrum at a click")
        self.pick.setCheckable(True)
        self.pick.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.pick.setToolTip("Click on the map to compare the spectrum of a pixel with its surroundings")
        self.colour = QPushButton("True colour")
        self.colour.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.colour.setToolTip("Show the scene in the bands nearest to 640, 550 and 460 nm")
        self.told = QLabel()
        self.told.setWordWrap(True)
        self.tool = ClickTool(canvas, on_key)
        self.tool.canvasClicked.connect(self.click)
        self.tool.deactivated.connect(self._put_down)
        self.pick.toggled.connect(self._pick)
        self.colour.clicked.connect(self.show_true_colour)
        beside = QVBoxLayout()
        for part in (self.pick, self.colour, self.told):
            beside.addWidget(part)
        beside.addStretch(1)
        row = QHBoxLayout()
        row.addWidget(self.chip)
        row.addLayout(beside, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addLayout(row)
        box.addWidget(self.plot, 1)

    def release(self) -> None:
        """Give the map tool back."""
        if self._canvas.mapTool() is self.tool:
            self._canvas.unsetMapTool(self.tool)

    def set_layers(self, scene, anomalies, scores) -> None:
        """Follow other layers.

        Args:
            scene: The raster of spectra, or None.
            anomalies: The layer of anomalies, or None.
            scores: The score map, or None: it says which bands the detector saw.
        """
        identities = [layer.id() if layer is not None else "" for layer in (scene, anomalies, scores)]
        if identities == self._identities:
            return
        self._identities = identities
        self._scene_layer, self._anomalies, self._scores = scene, anomalies, scores
        self.locator, self.evidence, self._problem = None, None, ""
        if scene is None:
            self._problem = "Choose the scene to see spectra"
        elif anomalies is not None:
            try:
                self._open()
            except SceneError as error:
                self._problem = _sentence(error)
        for part in (self.pick, self.colour):
            part.setEnabled(self.locator is not None)
            part.setToolTip(part.toolTip().split("\n")[0] + (f"\n{self._problem}" if self._problem else ""))
        if self.locator is None:
            self.pick.setChecked(False)
        self.forget()

    def _open(self) -> None:
        scene = true_colour.opened(self._scene_layer)
        scores = absolute(self._scores.source()) if self._scores is not None else ""
        seen = bands.detectors_bands(bands.tag(scores), scene.shape[0]) if scores else None
        if seen is not None:
            scene.good = seen
        self.locator = Locator(scene, self._scene_layer.crs(), self._anomalies)
        self.evidence = evidence.find(absolute(self._anomalies.source()), scores, scene.shape[0])

    def in_pixels(self) -> bool:
        """Whether anomalies are in columns and rows, whatever system their layer names."""
        return self.locator is not None and not self.locator.scene.placed

    def forget(self) -> None:
        """Show nothing."""
        self.look = self.clicked = None
        self._rings = []
        self.chip.setPixmap(QPixmap())
        self.plot.clear(self._problem)
        self.told.setText("")

    def show_anomaly(self, feature) -> None:
        """Show an anomaly, and forget what was clicked."""
        self.forget()
        if self.locator is None:
            return
        try:
            look = self.locator.look_at(feature)
            self._rings = self.locator.rings(feature.geometry())
            number = text_of(feature["id"])
            self.look = self.evidence.improve(look, int(number)) if self.evidence and number else look
            corners = np.concatenate(self._rings)
            middle = np.floor((corners.min(axis=0) + corners.max(axis=0)) / 2).astype(int)
            self._show_chip(int(middle[1]), int(middle[0]))
        except SceneError as error:
            self.plot.clear(_sentence(error))
            return
        self._draw()

    def click(self, point, _button=None) -> None:
        """Show the spectrum of the pixel at a place of the canvas."""
        if self.locator is None:
            return
        crs = self._canvas.mapSettings().destinationCrs()
        try:
            row, col = self.locator.pixel_at(point, crs)
            self.clicked = self.locator.look_at_pixel(row, col)
        except SceneError as error:
            self.told.setText(_sentence(error))
            return
        self._draw(f"Clicked: row {row}, column {col}; expected: {self.clicked.told}")

    def _draw(self, told: str = "") -> None:
        scene = self.locator.scene
        self.plot.show_look(scene.wavelengths, scene.good, self.look, self.clicked)
        pixels = f"Mean of {self.look.pixels} pixels" if self.look and self.look.pixels > 1 else "One pixel"
        self.told.setText(told or f"{pixels}; expected: {self.look.told}")

    def _show_chip(self, row: int, col: int) -> None:
        seen = np.ascontiguousarray(self.locator.scene.chip(row, col))
        image = QImage(seen.tobytes(), CHIP_SIDE, CHIP_SIDE, 4 * CHIP_SIDE, QImage.Format.Format_RGBA8888)
        picture = QPixmap.fromImage(image).scaled(CHIP_SIDE * _ZOOM, CHIP_SIDE * _ZOOM)
        painter = QPainter(picture)
        painter.setPen(QPen(QColor("#ff2bd6"), 1.4))
        corner = np.array([col, row]) - CHIP_SIDE // 2
        for ring in self._rings:
            painter.drawPolyline(QPolygonF([QPointF(*((at - corner) * _ZOOM)) for at in ring]))
        painter.end()
        self.chip.setPixmap(picture)
        self.chip.setToolTip(f"The scene around the anomaly, {self.locator.scene.shows}, {CHIP_SIDE} pixels wide")

    def show_true_colour(self) -> None:
        """Show the scene in true colour on the map."""
        try:
            self.told.setText(_sentence(true_colour.show(self._scene_layer)))
        except SceneError as error:
            self.told.setText(_sentence(error))

    def _pick(self, wanted: bool) -> None:
        if wanted:
            self._before = self._canvas.mapTool()
            self._canvas.setMapTool(self.tool)
        elif self._canvas.mapTool() is self.tool:
            self._canvas.unsetMapTool(self.tool)
            if self._before is not None:
                self._canvas.setMapTool(self._before)

    def _put_down(self) -> None:
        self.pick.setChecked(False)


def _sentence(text) -> str:
    text = str(text)
    return text[:1].upper() + text[1:]
