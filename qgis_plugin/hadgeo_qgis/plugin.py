"""Registers the provider, a menu entry that sets up the backend, and the review of anomalies."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction  # PyQt6 has it in QtGui; qgis.PyQt gives it here too
from qgis.utils import iface

from .provider import ICONS, HadgeoProvider

MENU = "hadgeo"


class HadgeoPlugin:
    """The plugin as QGIS sees it."""

    def __init__(self) -> None:
        self._provider = None
        self._actions = []
        self._offers = None
        self.dock = None

    def initProcessing(self) -> None:
        """Register the provider; all that qgis_process asks for."""
        self._provider = HadgeoProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Register the provider, add the menu entries, and offer reviews."""
        from .review.offers import Offers

        self.initProcessing()
        review = self._action(QIcon(str(ICONS / "review.svg")), "Review anomalies", self.review)
        iface.addToolBarIcon(review)
        self._action(QIcon(str(ICONS / "hadgeo.svg")), "Set up the backend…", self._set_up)
        self._offers = Offers(self.review, lambda: self.dock is not None and self.dock.isVisible())

    def _action(self, icon: QIcon, title: str, action) -> QAction:
        made = QAction(icon, title, iface.mainWindow())
        made.triggered.connect(lambda _checked=False: action())
        iface.addPluginToMenu(MENU, made)
        self._actions.append(made)
        return made

    def unload(self) -> None:
        """Take everything away again."""
        for action in self._actions:
            iface.removePluginMenu(MENU, action)
            iface.removeToolBarIcon(action)
        self._actions = []
        if self._offers is not None:
            self._offers.release()
            self._offers = None
        if self.dock is not None:
            self.dock.release()
            iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None

    def review(self, layer=None) -> None:
        """Open the dock.

        Args:
            layer: The layer of anomalies to review; None for the one that is chosen there.
        """
        if self.dock is None:
            # Only where there is a window: qgis_process has no docks.
            from .review.dock import ReviewDock

            self.dock = ReviewDock()
            iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.open_on(layer)

    def _set_up(self) -> None:
        from processing import execAlgorithmDialog

        execAlgorithmDialog("hadgeo:setupbackend")
