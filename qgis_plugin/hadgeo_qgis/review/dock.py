"""The dock: goes through the anomalies of a layer by their rank, and takes verdicts."""

from __future__ import annotations

from qgis import utils
from qgis.PyQt.QtCore import QEvent, Qt, QTimer
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDockWidget,
    QFormLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from ..handover import absolute
from . import facts, suggest, true_colour
from .anomaly_layer import AnomalyLayer, ReviewError, holds_anomalies, text_of
from .highlight import Highlight
from .layer_choice import LayerChoice
from .queue import ACCEPTED, FILTERS, NOT_SEEN, REJECTED, UNSURE, Queue
from .rate_panel import RatePanel
from .spectrum_panel import SpectrumPanel
from .verdict_panel import VerdictPanel


class ReviewDock(QDockWidget):
    """QGIS's side of a review, with the keys that a report page has."""

    def __init__(self) -> None:
        super().__init__("Review anomalies (hadgeo)", utils.iface.mainWindow())
        self.setObjectName("hadgeo_review")
        canvas = utils.iface.mapCanvas()
        self.current, self.queue, self.anomalies = None, Queue({}), None
        self._highlight = Highlight(canvas)
        self.layers = LayerChoice(holds_anomalies)
        self.scenes = LayerChoice(true_colour.is_scene, "no scene")
        self.scores = LayerChoice(suggest.may_be_scores, "no score map")
        self.filter, self.counter, self.facts, self.problem = QComboBox(), QLabel(), QLabel(), QLabel()
        self.filter.addItems([title for title, _ in FILTERS])
        self.filter.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.add_fields = QPushButton("Add fields for verdicts")
        self.spectrum = SpectrumPanel(canvas, self.take_key)
        self.verdict = VerdictPanel()
        self.rate = RatePanel()
        self.body = _Body(self)
        self._arrange()
        self._connect()
        self._keys = {
            "j": lambda: self.step(1),
            "k": lambda: self.step(-1),
            "a": lambda: self.judge(ACCEPTED),
            "r": lambda: self.judge(REJECTED),
            "u": lambda: self.judge(UNSURE),
            "x": lambda: self.judge(NOT_SEEN),
            "n": self.verdict.note.setFocus,
            "z": self.zoom,
        }
        self._steps = {
            Qt.Key.Key_Right: lambda: self.step(1),
            Qt.Key.Key_Down: lambda: self.step(1),
            Qt.Key.Key_Left: lambda: self.step(-1),
            Qt.Key.Key_Up: lambda: self.step(-1),
        }
        self.set_anomalies(self.layers.layer())

    def _arrange(self) -> None:
        for label in (self.counter, self.facts, self.problem):
            label.setWordWrap(True)
        self.problem.setStyleSheet("color: #b03a2e")
        form = QFormLayout()
        for title, choice in (("Anomalies", self.layers), ("Scene", self.scenes), ("Scores", self.scores)):
            form.addRow(title, choice)
        form.addRow("Show", self.filter)
        box = QVBoxLayout(self.body)
        box.addLayout(form)
        for part in (self.counter, self.facts, self.spectrum, self.verdict, self.problem, self.add_fields, self.rate):
            box.addWidget(part, 1 if part is self.spectrum else 0)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.body)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        # Up and down there is a bar to scroll with; from side to side all is to be seen.
        scroll.setMinimumWidth(self.body.minimumSizeHint().width() + scroll.verticalScrollBar().sizeHint().width())
        self.setWidget(scroll)
        self.setFocusProxy(self.body)

    def _connect(self) -> None:
        self.layers.chosen.connect(self.set_anomalies)
        self.scenes.chosen.connect(lambda _layer: self._show_spectrum())
        self.scores.chosen.connect(lambda _layer: self._follow_scores())
        self.filter.currentIndexChanged.connect(self._filter)
        self.add_fields.clicked.connect(self._add_fields)
        self.verdict.given.connect(self.judge)
        self.verdict.noted.connect(self._note)
        self.verdict.note.returnPressed.connect(self.body.setFocus)
        self.verdict.stepped.connect(self.step)
        self.verdict.undone.connect(lambda: self._try(self.anomalies.undo))
        self.verdict.saved.connect(lambda: self._try(self.anomalies.save))
        self.rate.polygons_made.connect(self._offer)

    def release(self) -> None:
        """Let go of layers and of the canvas: the plugin is unloaded."""
        self._forget()
        self.spectrum.release()
        self.rate.release()
        for choice in (self.layers, self.scenes, self.scores):
            choice.release()

    def closeEvent(self, event) -> None:
        """Leave nothing on the map."""
        self._highlight.clear()
        self.spectrum.release()
        self.rate.restore_style()
        super().closeEvent(event)

    # What is under review

    def open_on(self, layer) -> None:
        """Review a layer of anomalies.

        Args:
            layer: It; None for the one that is chosen.
        """
        self.show()
        self.raise_()
        if layer is not None:
            self.layers.choose(layer)
        self.zoom()
        self.body.setFocus()

    def set_anomalies(self, layer) -> None:
        """Follow another layer of anomalies, with the scene and the scores that are on its grid."""
        self._forget()
        if layer is not None:
            self.anomalies = AnomalyLayer(layer)
            self.anomalies.verdict_changed.connect(self._verdict_changed)
            self.anomalies.reset.connect(self._reload)
            layer.layerModified.connect(self._enable)
            layer.editingStopped.connect(self._enable)
            self._suggest(layer)
        self._follow_scores()
        self._reload()
        self.step(1)

    def _forget(self) -> None:
        if self.anomalies is not None:
            self.anomalies.release()
            layer = self.anomalies.layer
            layer.layerModified.disconnect(self._enable)
            layer.editingStopped.disconnect(self._enable)
        self.anomalies, self.current, self.queue = None, None, Queue({})
        self._highlight.clear()
        self.spectrum.set_layers(None, None, None)

    def _suggest(self, layer) -> None:
        """Choose the rasters that the anomalies are of."""
        # One after the other: a score map names its scene.
        scores = suggest.scores(self.scores.layers(), layer, self.scores.layer())
        scene = suggest.scene(self.scenes.layers(), layer, scores, self.scenes.layer())
        self.scores.choose_quietly(scores)
        self.scenes.choose_quietly(scene)

    def _follow_scores(self) -> None:
        polygons = absolute(self.anomalies.layer.source()) if self.anomalies is not None else ""
        self.rate.set_layer(self.scores.layer(), polygons)
        self._show_spectrum()

    def _reload(self) -> None:
        self.queue = Queue(self.anomalies.verdicts() if self.anomalies is not None else {})
        self.queue.shown = FILTERS[self.filter.currentIndex()][1]
        if self.current not in self.queue.verdicts:
            self.current = None
        self._tell()
        self._say("")

    def _offer(self, layer) -> None:
        if self.anomalies is None or not any(self.queue.verdicts.values()):
            self.layers.choose(layer)

    # Going from one to the next

    def step(self, direction: int) -> None:
        """Go to the next anomaly that the filter shows, or to the one before for -1."""
        self._note()
        found = self.queue.step(self.current, direction)
        if found is None and self.queue.verdicts:
            some = bool(self.queue.matching())
            self._say("no further anomaly under this filter" if some else "no anomaly passes this filter")
            return
        self.current = found
        self._show()

    def _filter(self, index: int) -> None:
        self.queue.shown = FILTERS[index][1]
        if self.current not in self.queue.matching():
            self.current = None
            self._highlight.clear()
            self.spectrum.forget()
            self._tell()
            self.step(1)
        self.body.setFocus()

    def _show(self) -> None:
        self._say("")
        self._tell()
        self.zoom()
        self._show_spectrum()

    def zoom(self) -> None:
        """Bring the anomaly to the middle of the map, with its surroundings."""
        if self.current is not None:
            layer = self.anomalies.layer
            self._highlight.show(layer, layer.getFeature(self.current), self.spectrum.in_pixels())

    def _show_spectrum(self) -> None:
        layer = self.anomalies.layer if self.anomalies is not None else None
        self.spectrum.set_layers(self.scenes.layer(), layer, self.scores.layer())
        if self.current is not None:
            self.spectrum.show_anomaly(layer.getFeature(self.current))

    # Verdicts

    def judge(self, verdict: str) -> None:
        """Say what the anomaly is, and go on to the next one."""
        if self.current is None:
            return
        note = self.verdict.note.text()
        give = self.anomalies.set_verdict
        if self._try(lambda: give(self.current, verdict, note, self.verdict.reviewer.text())) and verdict:
            self.step(1)

    def _note(self) -> None:
        """Keep the note, where it is another one than before."""
        if self.current is None or not self.anomalies.has_fields():
            return
        feature, note = self.anomalies.layer.getFeature(self.current), self.verdict.note.text()
        if note.strip() != text_of(feature["note"]).strip():
            said, give = self.queue.verdicts[self.current], self.anomalies.set_verdict
            self._try(lambda: give(self.current, said, note, self.verdict.reviewer.text()))

    def _add_fields(self) -> None:
        self._try(self.anomalies.add_fields)
        self.body.setFocus()

    def _try(self, action) -> bool:
        """Do something, and say why it could not be done; whether it was."""
        if self.anomalies is None:
            return False
        try:
            action()
        except ReviewError as error:
            self._say(str(error))
            return False
        self._say("")
        return True

    def _verdict_changed(self, feature_id) -> None:
        if feature_id in self.queue.verdicts:
            self.queue.verdicts[feature_id] = self.anomalies.verdict(feature_id)
            self._tell()

    # What is shown

    def _tell(self) -> None:
        """Show what is known of the anomaly, and how far the review is."""
        self.counter.setText(self.queue.summary() if self.anomalies is not None else "")
        if self.current is None:
            self.facts.setText("" if self.anomalies is not None else "Load a layer of anomalies to review it.")
            self.verdict.show_verdict("", "")
        else:
            feature = self.anomalies.layer.getFeature(self.current)
            place = list(self.queue.verdicts).index(self.current) + 1
            title = f"<b>Anomaly {text_of(feature['id'])}</b> ({place} of {len(self.queue.verdicts)})"
            self.facts.setText(f"{title}: {facts.told(feature)}")
            note = text_of(feature["note"]) if self.anomalies.has_fields() else ""
            self.verdict.show_verdict(self.queue.verdicts[self.current], note)
        self._enable()

    def _enable(self) -> None:
        layer = self.anomalies
        unsaved, undoable = layer is not None and layer.unsaved(), layer is not None and layer.can_undo()
        writable = layer is not None and not layer.problem()
        self.verdict.enable(self.current is not None, writable, unsaved, undoable)
        self.add_fields.setVisible(layer is not None and layer.can_add_fields())

    def _say(self, text: str) -> None:
        """Say what is wrong; what stands in the way of all verdicts, where it is nothing else."""
        text = text or (self.anomalies.problem() if self.anomalies is not None else "")
        self.problem.setText(text[:1].upper() + text[1:])
        self.problem.setVisible(bool(text))

    # Keys

    def take_key(self, event) -> bool:
        """Do what a key is for; whether it is for anything."""
        action = self.action_of(event)
        if action is None or not self.isVisible():
            return False
        # A handler may move the focus.
        QTimer.singleShot(0, action)
        event.accept()
        return True

    def action_of(self, event):
        """What a key is for, or None."""
        if event.modifiers() & ~(Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier):
            return None
        return self._steps.get(event.key()) or self._keys.get(event.text().lower())


class _Body(QWidget):
    """What the dock shows: keys that nobody within takes are the dock's."""

    def __init__(self, dock: ReviewDock) -> None:
        super().__init__()
        self._dock = dock
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def event(self, event) -> bool:
        """Take keys before QGIS's own shortcuts; a field in which one writes has taken its own already."""
        if event.type() == QEvent.Type.ShortcutOverride and self._dock.action_of(event) is not None:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event) -> None:
        """Take a key."""
        if not self._dock.take_key(event):
            super().keyPressEvent(event)
