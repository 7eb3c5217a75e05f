"""Buttons for verdicts, the note, and who says so."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from .queue import ACCEPTED, REJECTED, UNSURE

#: Where the reviewer's name is kept.
_REVIEWER = "hadgeo/reviewer"

_COLOURS = {ACCEPTED: "#2e9e4f", REJECTED: "#c0392b", UNSURE: "#c58f00"}


class VerdictPanel(QWidget):
    """Takes verdicts."""

    #: A verdict on the anomaly that is shown.
    given = pyqtSignal(str)

    #: Another note on it.
    noted = pyqtSignal()

    #: 1 for the next anomaly, -1 for the one before.
    stepped = pyqtSignal(int)

    undone = pyqtSignal()
    saved = pyqtSignal()

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.buttons = {
            ACCEPTED: _button("&Accept", "A real find (a)"),
            REJECTED: _button("&Reject", "It does not matter (r)"),
            UNSURE: _button("&Unsure", "Neither for certain (u)"),
        }
        self.previous, self.next = _button("◀", "Previous (k, ↑ or ←)"), _button("▶", "Next (j, ↓ or →)")
        self.undo = _button("Undo", "Take the last change of the layer back (Ctrl+Z)")
        self.save = _button("Save", "Write the verdicts into the layer's file (Ctrl+S)")
        self.note, self.reviewer = QLineEdit(), QLineEdit()
        self.note.setPlaceholderText("n to write, Enter when done")
        self.note.setClearButtonEnabled(True)
        name = QgsSettings().value(_REVIEWER, "") or QgsApplication.userFullName() or QgsApplication.userLoginName()
        self.reviewer.setText(str(name))
        steps, rest = QHBoxLayout(), QHBoxLayout()
        for part in (self.previous, *self.buttons.values(), self.next):
            # Docks are narrow.
            part.setMinimumWidth(28)
            steps.addWidget(part, 1 if part in (self.previous, self.next) else 3)
        form = QFormLayout()
        form.addRow("Note", self.note)
        form.addRow("Reviewer", self.reviewer)
        rest.addLayout(form, 1)
        last = QVBoxLayout()
        for part in (self.undo, self.save):
            part.setMinimumWidth(64)
            last.addWidget(part)
        rest.addLayout(last)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addLayout(steps)
        box.addLayout(rest)
        for verdict, button in self.buttons.items():
            button.setCheckable(True)
            button.clicked.connect(lambda _checked, verdict=verdict: self.given.emit(verdict))
        self.previous.clicked.connect(lambda: self.stepped.emit(-1))
        self.next.clicked.connect(lambda: self.stepped.emit(1))
        self.undo.clicked.connect(self.undone)
        self.save.clicked.connect(self.saved)
        self.note.editingFinished.connect(self.noted)
        self.reviewer.editingFinished.connect(self._remember)

    def show_verdict(self, verdict: str, note: str) -> None:
        """Show what was said of an anomaly."""
        for word, button in self.buttons.items():
            button.setChecked(word == verdict)
            bold = f"QPushButton {{ background: {_COLOURS[word]}; color: white; font-weight: bold; }}"
            button.setStyleSheet(bold if word == verdict else "")
        self.note.setText(note)

    def enable(self, there: bool, writable: bool, unsaved: bool, undoable: bool) -> None:
        """Grey what cannot be done.

        Args:
            there: An anomaly is shown.
            writable: Its layer takes verdicts.
            unsaved: The layer waits to be saved.
            undoable: A change can be taken back.
        """
        for part in (*self.buttons.values(), self.note):
            part.setEnabled(there and writable)
        for part in (self.previous, self.next):
            part.setEnabled(there)
        self.save.setEnabled(unsaved)
        self.undo.setEnabled(undoable)

    def _remember(self) -> None:
        QgsSettings().setValue(_REVIEWER, self.reviewer.text().strip())


def _button(text: str, tip: str) -> QPushButton:
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    # Keys stay with the dock.
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made
