"""QGIS's own dialog for the set-up of the backend, without its warning that there is no backend."""

from __future__ import annotations

from processing.gui.AlgorithmDialog import AlgorithmDialog


class SetUpDialog(AlgorithmDialog):
    """Does not say to run what is about to be run."""

    def __init__(self, algorithm, parent=None) -> None:
        super().__init__(algorithm, parent=parent)
        self.messageBar().clearWidgets()
