"""The slider of the false-alarm rate: it restyles the score map at once, and makes polygons when it is let go."""

from __future__ import annotations

import math
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
    QgsTask,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QGroupBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout

from .. import backend, settings, styles
from ..handover import absolute
from . import rates
from .evidence import manifests
from .threshold_style import ThresholdStyle

#: Steps of the slider for a factor of ten.
_STEPS = 50

#: Milliseconds after the last key or turn of the wheel until the slider counts as let go.
_PATIENCE = 700

#: Where the slider begins.
_FIRST_RATE = 1e-3


class _Listener(backend.Listener):
    """Stops the backend when the task is cancelled."""

    def __init__(self, task) -> None:
        self._task = task

    def cancelled(self) -> bool:
        """Whether it is."""
        return self._task.isCanceled()


class RatePanel(QGroupBox):
    """Chooses a false-alarm rate."""

    #: A new layer of polygons, in the project already.
    polygons_made = pyqtSignal(object)

    def __init__(self, parent=None) -> None:
        super().__init__("False-alarm rate", parent)
        self._layer, self.rates, self._style, self._tasks = None, None, None, []
        self._low, self._identity, self._reading, self._making = 0.0, "", None, None
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setTracking(True)
        self.slider.setToolTip("From one pixel of background in a million to one in a hundred")
        self.told = QLabel()
        self.told.setWordWrap(True)
        self.make = QCheckBox("Make polygons")
        self.make.setToolTip("Run 'Threshold and polygons' in the background when the slider is let go")
        self.make.setChecked(True)
        self.on_map = QCheckBox("Show on map")
        self.on_map.setChecked(True)
        row = QHBoxLayout()
        row.addWidget(self.on_map)
        row.addWidget(self.make)
        row.addStretch(1)
        box = QVBoxLayout(self)
        for part in (self.slider, self.told):
            box.addWidget(part)
        box.addLayout(row)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_PATIENCE)
        self._patience.timeout.connect(self._let_go)
        self.slider.valueChanged.connect(self._moved)
        self.slider.sliderReleased.connect(self._let_go)
        self.on_map.toggled.connect(self._show_or_not)
        self.set_layer(None, "")

    def set_layer(self, layer, polygons: str) -> None:
        """Follow another score map.

        Args:
            layer: The map, or None.
            polygons: The file of the polygons under review, or an empty text.
        """
        self.release()
        self._layer = layer
        if layer is None:
            self._say("Choose a score map to see what other rates would find.")
            return
        self._say("Reading the scores …")
        path = absolute(layer.source())
        known = [rates.tail_in_manifest(file, Path(path)) for file in manifests(polygons, path)]
        problem, python = settings.problem(), settings.interpreter()

        def tail_facts(task, largest):
            for facts in known:
                if facts and rates.belongs(facts, largest):
                    return facts
            if problem:
                raise rates.RatesError(f"No manifest beside the map tells its rates, and {problem}")
            told = backend.run(python, "threshold", {"scores": path, "top": 1}, _Listener(task))
            return told[0]["tail"]

        def work(task):
            found = rates.read_rates(path, lambda largest: tail_facts(task, largest), task.isCanceled)
            return found, styles.score_range(path)[0]

        def done(error, found=None):
            self._tasks.remove(task)
            if self._reading is task:
                self._reading = None
                self._read(error, found)

        task = QgsTask.fromFunction("hadgeo: reading scores", work, on_finished=done)
        self._reading = self._keep(task)
        QgsApplication.taskManager().addTask(task)

    def _keep(self, task):
        """Keep a task to its end, also one that is stopped: QGIS does not keep what Python has made."""
        self._tasks.append(task)
        return task

    def release(self) -> None:
        """Give the score map its own style back, and stop what is under way."""
        self._patience.stop()
        for task in (self._reading, self._making):
            if task is not None:
                task.cancel()
        self._reading = self._making = None
        # A layer that was removed is gone, and its style with it.
        if self._style is not None and QgsProject.instance().mapLayer(self._identity) is not None:
            self._style.release()
        self._layer, self.rates, self._style = None, None, None

    def restore_style(self) -> None:
        """Give the score map its own style back; the next move of the slider shows a threshold again."""
        if self._style is not None and QgsProject.instance().mapLayer(self._identity) is not None:
            self._style.restore()

    def rate(self) -> float:
        """The chosen rate, as it is written."""
        return float(f"{10.0 ** (self.slider.value() / _STEPS):.3g}")

    def set_rate(self, rate: float) -> None:
        """Move the slider."""
        self.slider.setValue(round(math.log10(rate) * _STEPS))

    def _say(self, text: str) -> None:
        self.told.setText(text)
        for part in (self.slider, self.make, self.on_map):
            part.setEnabled(self.rates is not None)

    def _read(self, error, found) -> None:
        if error is not None or found is None:
            self._say(str(error) if error is not None else "Stopped.")
            return
        self.rates, self._low = found
        self._identity = self._layer.id()
        self._style = ThresholdStyle(self._layer)
        self.slider.blockSignals(True)
        lowest, highest = (math.log10(rate) * _STEPS for rate in (self.rates.lowest_rate(), self.rates.highest_rate()))
        self.slider.setRange(math.ceil(lowest - 1e-9), math.floor(highest + 1e-9))
        self.set_rate(_FIRST_RATE)
        self.slider.blockSignals(False)
        self._tell()

    def _tell(self) -> float:
        """Say what the rate means; give the threshold."""
        threshold = self.rates.threshold(self.rate())
        objects, pixels = self.rates.objects(threshold), self.rates.pixels(threshold)
        found = "" if objects is None else f"<b>{objects:,}</b> objects, "
        self._say(
            f"Rate {self.rate():.3g}: {found}{pixels:,} pixels reach {threshold:.6g}; "
            f"{self.rates.expected_false_alarms(threshold):.3g} pixels of background are expected among them"
        )
        return threshold

    def _moved(self) -> None:
        if self.rates is None:
            return
        self.show_threshold()
        if not self.slider.isSliderDown():
            # By a key or the wheel.
            self._patience.start()

    def show_threshold(self) -> None:
        """Say what the rate means, and show it on the map where that is wanted."""
        threshold = self._tell()
        if self.on_map.isChecked():
            self._style.show(threshold, self._low, float(self.rates.largest[-1]))

    def _show_or_not(self, shown: bool) -> None:
        if self._style is None:
            return
        if shown:
            self.show_threshold()
        else:
            self._style.restore()

    def _let_go(self) -> None:
        if self.rates is not None and self.make.isChecked():
            self.make_polygons()

    def make_polygons(self) -> None:
        """Make polygons at the chosen rate, in the background."""
        if self._making is not None:
            self._making.cancel()
        problem = settings.problem()
        if problem:
            self._say(f"{self.told.text()}. No polygons: {problem}")
            return
        rate, out = self.rate(), QgsProcessingUtils.generateTempFilename("anomalies.gpkg")
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("hadgeo:threshold")
        context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
        context.setProject(QgsProject.instance())
        parameters = {"INPUT": self._layer.source(), "PFA": rate, "OUTPUT": out}
        name = f"{self._layer.name()}, anomalies at {rate:.3g}"

        def done(successful, results):
            self._tasks.remove(task)
            if self._making is not task:
                return
            self._making = None
            if successful and results:
                self._load(results["OUTPUT"], name)
            else:
                lines = [line for line in feedback.textLog().splitlines() if line.strip()]
                self._say(f"No polygons: {lines[-1] if lines else 'the backend failed'}")

        task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
        task.executed.connect(done)
        # Nor does the task keep these.
        task.kept = (algorithm, context, feedback)
        self._making = self._keep(task)
        QgsApplication.taskManager().addTask(task)

    def _load(self, path: str, name: str) -> None:
        layer = QgsVectorLayer(path, name, "ogr")
        if layer.isValid():
            QgsProject.instance().addMapLayer(layer)
            self.polygons_made.emit(layer)
