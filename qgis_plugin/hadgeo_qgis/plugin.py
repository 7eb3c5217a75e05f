"""Registers the provider, and what stands in toolbar and menu: detection, the review of anomalies, and the set-up."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction  # PyQt6 has it in QtGui; qgis.PyQt gives it here too
from qgis.utils import iface

from . import settings
from .provider import ICONS, HadgeoProvider

MENU = "hadgeo"


class HadgeoPlugin:
    """The plugin as QGIS sees it."""

    def __init__(self) -> None:
        self._provider = None
        self._actions = []
        self._offers = None
        self._first_start = None
        self.dock = None

    def initProcessing(self) -> None:
        """Register the provider; all that qgis_process asks for."""
        self._provider = HadgeoProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Register the provider, add the menu entries, and offer reviews."""
        from .first_start import FirstStart
        from .review.offers import Offers

        self.initProcessing()
        for name, title, action in (
            ("detect", "Detect anomalies…", self._detect),
            ("review", "Review anomalies", self.review),
        ):
            iface.addToolBarIcon(self._action(QIcon(str(ICONS / f"{name}.svg")), title, action))
        self._action(QIcon(str(ICONS / "setup.svg")), "Set up the backend…", self._set_up)
        self._first_start = FirstStart(self._set_up)
        self._provider.watchers.append(self._first_start.look)
        # Once QGIS's window is there to be looked at.
        QTimer.singleShot(0, self._greet)
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
        if self._first_start is not None:
            self._first_start.release()
            self._first_start = None
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

    def _greet(self) -> None:
        # It may have been unloaded meanwhile.
        if self._first_start is not None:
            self._first_start.show()

    def _detect(self) -> None:
        if settings.problem():
            self._first_start.show()
        else:
            self._open("hadgeo:detect")

    def _set_up(self) -> None:
        self._open("hadgeo:setupbackend")

    def _open(self, algorithm: str) -> None:
        from processing import execAlgorithmDialog

        execAlgorithmDialog(algorithm)
