"""What the plugin offers in QGIS's message bar when a layer is loaded: a review, and true colour."""

from __future__ import annotations

from qgis import utils
from qgis.core import Qgis, QgsProject
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QPushButton

from . import true_colour
from .anomaly_layer import holds_anomalies
from .scene import SceneError


class Offers:
    """Watches which layers are loaded.

    Args:
        review: Opens the review of a layer.
        reviewing: Whether a review is open already.
    """

    def __init__(self, review, reviewing) -> None:
        self._review, self._reviewing = review, reviewing
        QgsProject.instance().layersAdded.connect(self._added)

    def release(self) -> None:
        """Watch no longer."""
        QgsProject.instance().layersAdded.disconnect(self._added)

    def _added(self, layers) -> None:
        # A project that is opened brings its own styles, and its bridge to the layer tree is closed meanwhile.
        if QgsProject.instance().layerTreeRegistryBridge().isEnabled():
            identities = [layer.id() for layer in layers]
            # Whoever adds layers may style them next.
            QTimer.singleShot(0, lambda: self.offer(identities))

    def offer(self, identities: list) -> None:
        """Offer what can be done with layers, one thing of each kind.

        Args:
            identities: Their ids.
        """
        found = [QgsProject.instance().mapLayer(identity) for identity in identities]
        layers = [layer for layer in found if layer is not None]
        anomalies = next(filter(holds_anomalies, layers), None)
        scene = next(filter(true_colour.can_show, layers), None)
        if scene is not None:
            self._push(f"'{scene.name()}' can be shown as eyes would see it.", "True colour", scene, self._show)
        if anomalies is not None and not self._reviewing():
            self._push(f"'{anomalies.name()}' can be reviewed.", "Review anomalies", anomalies, self._review)

    def _push(self, text: str, title: str, layer, action) -> None:
        bar, identity = utils.iface.messageBar(), layer.id()
        message = bar.createMessage("hadgeo", text)
        button = QPushButton(title)

        def act() -> None:
            bar.popWidget(message)
            chosen = QgsProject.instance().mapLayer(identity)
            if chosen is not None:
                action(chosen)

        # Later, as the button goes with its message, and what it has called must not still be at work then.
        timer = QTimer(utils.iface.mainWindow())
        timer.setSingleShot(True)
        timer.timeout.connect(act)
        timer.timeout.connect(timer.deleteLater)
        button.clicked.connect(timer.start)
        message.layout().addWidget(button)
        bar.pushWidget(message, Qgis.MessageLevel.Info, 30)

    def _show(self, layer) -> None:
        try:
            utils.iface.messageBar().pushMessage("hadgeo", true_colour.show(layer), Qgis.MessageLevel.Info, 5)
        except SceneError as error:
            utils.iface.messageBar().pushMessage("hadgeo", str(error), Qgis.MessageLevel.Warning, 10)
