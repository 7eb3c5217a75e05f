"""Registers the provider, and a menu entry that sets up the backend."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtWidgets import QAction  # PyQt6 has it in QtGui; qgis.PyQt gives it here too
from qgis.utils import iface

from .provider import HadgeoProvider

MENU = "hadgeo"


class HadgeoPlugin:
    """The plugin as QGIS sees it."""

    def __init__(self) -> None:
        self._provider = None
        self._action = None

    def initProcessing(self) -> None:
        """Register the provider; all that qgis_process asks for."""
        self._provider = HadgeoProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Register the provider and add the menu entry."""
        self.initProcessing()
        self._action = QAction(self._provider.icon(), "Set up the backend…", iface.mainWindow())
        self._action.triggered.connect(self._set_up)
        iface.addPluginToMenu(MENU, self._action)

    def unload(self) -> None:
        """Take everything away again."""
        if self._action is not None:
            iface.removePluginMenu(MENU, self._action)
            self._action = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None

    def _set_up(self) -> None:
        from processing import execAlgorithmDialog

        execAlgorithmDialog("hadgeo:setupbackend")
