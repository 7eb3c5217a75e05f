"""Make the pictures of docs/qgis.md: dialogs, toolbox and a map, without a screen.

HADGEO_PYTHON=$PWD/.venv/bin/python xvfb-run -a /usr/bin/python3 docs/qgis_pictures.py docs/images
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
PREFIX = os.environ.get("QGIS_PREFIX_PATH", "/usr")
sys.path[:0] = [str(ROOT / "qgis_plugin"), f"{PREFIX}/share/qgis/python/plugins", f"{PREFIX}/share/qgis/python"]
os.environ["QGIS_CUSTOM_CONFIG_PATH"] = tempfile.mkdtemp()

from qgis import utils  # noqa: E402
from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsContrastEnhancement,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsProcessingToolboxTreeView  # noqa: E402
from qgis.PyQt.QtCore import QSize, Qt  # noqa: E402
from qgis.PyQt.QtGui import QColor, QFont  # noqa: E402
from qgis.PyQt.QtWidgets import QMainWindow  # noqa: E402


def true_colour(path: str) -> QgsRasterLayer:
    """A simulated scene of 60 bands in true colour."""
    layer = QgsRasterLayer(path, "line")
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), 8, 5, 2))
    layer.setContrastEnhancement(QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum)
    return layer


def draw(layers: list, extent, out: Path, size: QSize) -> None:
    """Render layers into a picture."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setExtent(extent)
    settings.setOutputSize(size)
    settings.setBackgroundColor(QColor("white"))
    settings.setDestinationCrs(layers[-1].crs())
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    # 256 colours: a fraction of the size.
    image.convertToFormat(image.Format.Format_Indexed8).save(str(out))


def wait(until, seconds: float = 60.0) -> None:
    """Let QGIS work until something is so."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QgsApplication.processEvents()
        time.sleep(0.02)


def review(anomalies: QgsVectorLayer, heat: QgsRasterLayer, out: Path) -> None:
    """Show the dock after some verdicts, with the slider on a rate."""
    from hadgeo_qgis.review.dock import ReviewDock

    window, canvas = QMainWindow(), QgsMapCanvas()
    window.setCentralWidget(canvas)
    utils.iface = SimpleNamespace(mainWindow=lambda: window, mapCanvas=lambda: canvas)
    canvas.setDestinationCrs(anomalies.crs())
    canvas.setLayers([anomalies, heat])
    window.resize(1000, 860)
    dock = ReviewDock()
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.show()
    dock.open_on(anomalies)
    wait(lambda: dock.rate.rates is not None)
    if not dock.anomalies.has_fields():
        dock.anomalies.add_fields()
    dock.verdict.reviewer.setText("Ada")
    for verdict in ("accepted", "accepted", "rejected", "accepted", "unsure"):
        dock.judge(verdict)
    dock.step(-1)
    dock.step(-1)
    dock.rate.slider.setSliderDown(True)
    dock.rate.set_rate(1e-3)
    dock.rate.show_threshold()
    wait(lambda: False, 3.0)
    window.grab().save(str(out))
    dock.release()
    window.close()


def main(folder: Path) -> None:
    """Make all of them."""
    application = QgsApplication([], True)
    application.setFont(QFont("DejaVu Sans", 9))
    application.initQgis()
    import processing
    from hadgeo_qgis.provider import HadgeoProvider
    from processing.core.Processing import Processing
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    Processing.initialize()
    provider = HadgeoProvider()
    QgsApplication.processingRegistry().addProvider(provider)

    work = Path(tempfile.mkdtemp())
    scene, scores, polygons = (str(work / name) for name in ("line.tif", "line_anomaly.tif", "anomalies.gpkg"))
    made = {"ROWS": 220, "COLS": 320, "BANDS": 60, "TARGETS": 14, "ROTATION": 8, "SEED": 3, "OUTPUT": scene}
    processing.run("hadgeo:simulate", made)
    processing.run(
        "hadgeo:detect", {"INPUT": scene, "PFA": 5e-4, "OUTPUT": scores, "POLYGONS": polygons, "SPECTRA": True}
    )

    loaded = true_colour(scene)
    anomalies, heat = (
        QgsVectorLayer(polygons, "Anomalies – line", "ogr"),
        QgsRasterLayer(scores, "Anomaly scores – line"),
    )
    QgsProject.instance().addMapLayers([loaded, heat, anomalies])
    size = QSize(480, 370)
    spectrum = Path(polygons).with_name("anomalies_spectra") / "anomaly_1.png"
    (folder / "qgis_spectrum.png").write_bytes(spectrum.read_bytes())
    draw([anomalies, loaded], loaded.extent(), folder / "qgis_scene.png", size)
    draw([anomalies, heat], loaded.extent(), folder / "qgis_scores.png", size)

    review(anomalies, heat, folder / "qgis_review.png")

    for name, parameters in (
        ("detect", {"INPUT": scene, "PFA": 0.0005}),
        ("threshold", {"INPUT": scores}),
        ("setupbackend", {}),
    ):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"hadgeo:{name}")
        dialog = algorithm.createCustomParametersWidget(None) or AlgorithmDialog(algorithm, False, None)
        dialog.setParameters(parameters)
        dialog.resize(820, 860 if name == "detect" else 640)
        dialog.show()
        QgsApplication.processEvents()
        dialog.grab().save(str(folder / f"qgis_{name}.png"))
        dialog.close()

    toolbox = QgsProcessingToolboxTreeView()
    toolbox.setRegistry(QgsApplication.processingRegistry())
    toolbox.setHeaderHidden(True)
    toolbox.setFilterString("hyperspectral")
    toolbox.expandAll()
    toolbox.resize(360, 330)
    toolbox.show()
    QgsApplication.processEvents()
    toolbox.grab().save(str(folder / "qgis_toolbox.png"))
    # QGIS takes its time to end, and crashes now and then while it does.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
