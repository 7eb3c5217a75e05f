"""The Processing provider: algorithms with the backend's detectors, and a warning where the backend is missing."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import settingsWatcher
from qgis import utils
from qgis.core import QgsApplication, QgsProcessingProvider, QgsTask
from qgis.PyQt.QtGui import QIcon

from . import installed, settings
from .algorithms import ALGORITHMS
from .schema import use_detectors

ICONS = Path(__file__).parent / "icons"


class HadgeoProvider(QgsProcessingProvider):
    """hadgeo's algorithms in the toolbox."""

    def __init__(self) -> None:
        super().__init__()
        #: Called whenever another backend may be the chosen one, or the chosen one may have changed.
        self.watchers = []

    def id(self) -> str:
        """What stands before the colon in an algorithm's id."""
        return "hadgeo"

    def name(self) -> str:
        """What the toolbox shows."""
        return "hadgeo"

    def longName(self) -> str:
        """What it is."""
        return "hadgeo: anomaly detection on hyperspectral flight lines"

    def icon(self) -> QIcon:
        """The provider's icon."""
        return QIcon(str(ICONS / "hadgeo.svg"))

    def svgIconPath(self) -> str:
        """The icon's file."""
        return str(ICONS / "hadgeo.svg")

    def versionInfo(self) -> str:
        """The version of the backend that the plugin was made with."""
        from .schema import SCHEMA

        return SCHEMA["version"]

    def warningMessage(self) -> str:
        """What the toolbox shows instead of silence where there is no backend."""
        return settings.problem()

    def supportedOutputRasterLayerExtensions(self) -> list:
        """Score maps are GeoTIFF."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list:
        """Polygons by extension; the first is the default."""
        return ["gpkg", "geojson"]

    def supportsNonFileBasedOutput(self) -> bool:
        """The backend writes files, never layers in memory."""
        return False

    def load(self) -> bool:
        """Add the settings, and the algorithms."""
        settings.add_settings(self.icon())
        self._loaded, self._tasks = True, []
        self.look_for_detectors()
        self.refreshAlgorithms()
        # The user may have chosen another backend.
        settingsWatcher.settingsChanged.connect(self.look_for_detectors)
        return True

    def unload(self) -> None:
        """Take the settings away."""
        settingsWatcher.settingsChanged.disconnect(self.look_for_detectors)
        self._loaded = False
        for task in list(self._tasks):
            task.cancel()
        settings.remove_settings()

    def look_for_detectors(self) -> None:
        """Offer the detectors of the chosen backend; where it has to be asked, QGIS's window does not wait for it."""
        for watcher in self.watchers:
            watcher()
        if settings.problem():
            self.offer(None)
            return
        asked = settings.detectors_file(), settings.interpreter()
        known = installed.remembered(*asked)
        if known is not None:
            self.offer(known)
        elif utils.iface is None:
            # qgis_process lists parameters before it does anything else.
            self.offer(installed.ask(*asked))
        else:
            self._ask_beside(asked)

    def _ask_beside(self, asked: tuple) -> None:
        def work(task):
            return installed.ask(*asked, cancelled=task.isCanceled)

        def done(_error, found=None):
            self._tasks.remove(task)
            # The user may have chosen another one meanwhile.
            if self._loaded and asked == (settings.detectors_file(), settings.interpreter()):
                self.offer(found)

        task = QgsTask.fromFunction("hadgeo: looking for detectors", work, on_finished=done)
        # QGIS does not keep what Python has made.
        self._tasks.append(task)
        QgsApplication.taskManager().addTask(task)

    def offer(self, detectors) -> None:
        """Show these detectors in all dialogs that are opened from now on; hadgeo's own for None."""
        if use_detectors(detectors):
            self.refreshAlgorithms()

    def loadAlgorithms(self) -> None:
        """Register all algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
