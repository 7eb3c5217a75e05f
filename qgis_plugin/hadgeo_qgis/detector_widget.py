"""The list of detectors in dialogs and batches: names for people, what each costs, and the chosen one's parameters."""

from __future__ import annotations

from processing.gui.wrappers import WidgetWrapper
from qgis.gui import QgsCollapsibleGroupBoxBasic, QgsGui
from qgis.PyQt import sip
from qgis.PyQt.QtWidgets import QComboBox, QGroupBox

from .parameters import detector_parameter_name, label
from .schema import DETECTORS


class DetectorWidget(WidgetWrapper):
    """Chooses a detector, and hides parameters of the others: their values have no meaning then.

    QGIS makes one for each dialog, and one for each row of a batch.
    """

    def __new__(cls, parameter, dialog, row=0, col=0):
        """Leave the model designer, where values also come from other steps, to QGIS's own widget."""
        if type(dialog).__name__ == "ModelerParametersDialog":
            return QgsGui.processingGuiRegistry().createModelerParameterWidget(
                dialog.model, dialog.childId, parameter, dialog.context
            )
        return super().__new__(cls, parameter, dialog, row, col)

    def createWidget(self) -> QComboBox:
        """The list."""
        box = QComboBox()
        for detector in self.parameterDefinition().options():
            box.addItem(label(detector), detector)
        box.currentIndexChanged.connect(self._chosen)
        return box

    def setValue(self, value) -> None:
        """Choose a detector by its name, in any case."""
        index = self.widget.findData(str(value).strip().lower())
        if index >= 0:
            self.widget.setCurrentIndex(index)

    def value(self) -> str:
        """The chosen detector's name."""
        return self.widget.currentData()

    def postInitialize(self, wrappers) -> None:
        """All other widgets are there now."""
        batch = self._batch()
        if batch is None:
            self._wrappers = {wrapper.parameterDefinition().name(): wrapper for wrapper in wrappers}
            for group in _collapsible(self.dialog):
                # QGIS shows all that is in a group whenever it is opened.
                group.collapsedStateChanged.connect(lambda _collapsed: self._show_parameters())
        else:
            # QGIS shows all advanced columns at once.
            batch.btnAdvanced.toggled.connect(lambda _shown: self._show_columns())
        self._show()

    def _chosen(self, _index: int) -> None:
        self.widgetValueHasChanged.emit(self)
        self._show()

    def _show(self) -> None:
        if self._batch() is None:
            self._show_parameters()
        else:
            self._show_columns()

    def _batch(self):
        """The table of a batch that this list stands in, if it does."""
        above = self.widget.parent()
        while above is not None and not hasattr(above, "parameter_to_column"):
            above = above.parent()
        return above

    def _show_parameters(self) -> None:
        wrappers = getattr(self, "_wrappers", {})
        for detector, key in _all():
            wrapper = wrappers.get(detector_parameter_name(detector, key))
            parts = () if wrapper is None else (wrapper.wrappedLabel(), wrapper.wrappedWidget())
            for widget in parts:
                if widget is not None:
                    # A closed group shows what is in it when it is opened.
                    widget.setVisible(detector == self.value() and not _is_closed(widget.parent()))

    def _show_columns(self) -> None:
        batch = self._batch()
        if batch is None or not batch.wrappers:
            return
        column = batch.parameter_to_column[self.parameterDefinition().name()]
        chosen = {row[column].value() for row in batch.wrappers if row[column] is not None}
        for detector, key in _all():
            column = batch.parameter_to_column.get(detector_parameter_name(detector, key))
            if column is not None:
                wanted = DETECTORS[detector]["parameters"][key]["basic"] or batch.btnAdvanced.isChecked()
                batch.tblParameters.setColumnHidden(column, not (detector in chosen and wanted))


def _all() -> list:
    """Each detector with each of its parameters."""
    return [(detector, key) for detector, facts in DETECTORS.items() for key in facts["parameters"]]


def _collapsible(dialog) -> list:
    """Groups that can be closed; of those that QGIS has made itself, Python only knows that they are groups."""
    groups = [group for group in dialog.findChildren(QGroupBox) if group.property("collapsed") is not None]
    return [sip.cast(group, QgsCollapsibleGroupBoxBasic) for group in groups]


def _is_closed(widget) -> bool:
    return bool(widget.property("collapsed"))
