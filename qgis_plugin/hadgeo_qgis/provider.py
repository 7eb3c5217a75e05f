"""The Processing provider: a list of algorithms, and a warning where the backend is missing."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import settings
from .algorithms import ALGORITHMS

ICONS = Path(__file__).parent / "icons"


class HadgeoProvider(QgsProcessingProvider):
    """hadgeo's algorithms in the toolbox."""

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
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the settings away."""
        settings.remove_settings()

    def loadAlgorithms(self) -> None:
        """Register all algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
