"""A box in which the user chooses among those layers of the project that are of use."""

from __future__ import annotations

from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QSizePolicy


class LayerChoice(QComboBox):
    """Offers layers; what is chosen stays chosen as long as the project has it.

    Args:
        suits: Whether a layer is offered.
        nothing: What stands for no layer; without it, the first layer is chosen where none was.
        parent: The widget around it.
    """

    #: Another layer, or None.
    chosen = pyqtSignal(object)

    def __init__(self, suits, nothing: str = "", parent=None) -> None:
        super().__init__(parent)
        self._suits, self._nothing, self._last = suits, nothing, None
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        project = QgsProject.instance()
        project.layersAdded.connect(self.refill)
        project.layersWillBeRemoved.connect(self._let_go)
        project.layersRemoved.connect(self.refill)
        self.currentIndexChanged.connect(self._tell)
        self.refill()

    def release(self) -> None:
        """Follow the project no longer."""
        project = QgsProject.instance()
        project.layersAdded.disconnect(self.refill)
        project.layersWillBeRemoved.disconnect(self._let_go)
        project.layersRemoved.disconnect(self.refill)

    def layer(self):
        """The chosen layer, or None."""
        return QgsProject.instance().mapLayer(self.currentData()) if self.currentData() else None

    def choose(self, layer) -> None:
        """Choose a layer; None for no layer."""
        self.setCurrentIndex(max(0, self.findData(layer.id() if layer is not None else "")))

    def choose_quietly(self, layer) -> None:
        """Choose a layer, and tell nobody."""
        self.blockSignals(True)
        self.choose(layer)
        self._last = self.currentData()
        self.blockSignals(False)

    def layers(self) -> list:
        """The layers on offer, those on top of the project first."""
        project = QgsProject.instance()
        order = [node.layerId() for node in project.layerTreeRoot().findLayers()]
        layers = sorted(
            project.mapLayers().values(), key=lambda layer: order.index(layer.id()) if layer.id() in order else -1
        )
        return [layer for layer in layers if self._suits(layer)]

    def refill(self, *_args) -> None:
        """Look which layers there are."""
        kept = self.currentData()
        self.blockSignals(True)
        self.clear()
        if self._nothing:
            self.addItem(self._nothing, "")
        for layer in self.layers():
            self.addItem(layer.name(), layer.id())
            self.setItemData(self.count() - 1, layer.source(), Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(max(0 if self.count() else -1, self.findData(kept)))
        self.blockSignals(False)
        self._tell()

    def _let_go(self, layers) -> None:
        """Choose another layer before this one is gone."""
        identities = [layer if isinstance(layer, str) else layer.id() for layer in layers]
        self.blockSignals(True)
        for index in range(self.count() - 1, -1, -1):
            if self.itemData(index) in identities:
                self.removeItem(index)
        self.blockSignals(False)
        self._tell()

    def showPopup(self) -> None:
        """Show names as they are now."""
        for index in range(self.count()):
            layer = QgsProject.instance().mapLayer(self.itemData(index) or "")
            if layer is not None:
                self.setItemText(index, layer.name())
        super().showPopup()

    def _tell(self, *_args) -> None:
        if self.currentData() != self._last:
            self._last = self.currentData()
            self.chosen.emit(self.layer())
