"""A layer of anomalies, and the fields in which a review is kept: every verdict is one command of the layer's undo."""

from __future__ import annotations

from qgis.core import NULL, Qgis, QgsFeatureRequest, QgsField, QgsVectorDataProvider, QgsVectorLayer
from qgis.PyQt.QtCore import QDateTime, QMetaType, QObject, Qt, QVariant, pyqtSignal

from .queue import ACCEPTED, NOT_SEEN, REJECTED, UNSURE

#: The fields of a review, in the order of the table; all of them are texts.
FIELDS = ("verdict", "note", "reviewer", "reviewed_at")

#: The fields by which a layer of anomalies is known.
_KNOWN_BY = ("id", "max_score", "p_value", "expected_false_alarms")


class ReviewError(Exception):
    """A verdict cannot be kept; the message is one line for the user."""


def holds_anomalies(layer) -> bool:
    """Whether a layer is one of hadgeo's anomalies, by its fields."""
    if not isinstance(layer, QgsVectorLayer) or not layer.isValid() or not layer.isSpatial():
        return False
    return all(layer.fields().indexOf(name) >= 0 for name in _KNOWN_BY)


def text_of(value) -> str:
    """A field's value as a text, empty for NULL."""
    if value is None or value == NULL:
        return ""
    if isinstance(value, QDateTime):
        # GDAL takes times in GeoJSON for more than the texts that they are.
        return value.toString("yyyy-MM-ddTHH:mm:ss") + "Z"
    return str(value)


def now() -> str:
    """The time, as the field `reviewed_at` has it."""
    return QDateTime.currentDateTimeUtc().toString("yyyy-MM-ddTHH:mm:ss") + "Z"


class AnomalyLayer(QObject):
    """A layer under review.

    Args:
        layer: A layer for which `holds_anomalies`.
    """

    #: A verdict has changed: the feature's id. Whoever changed it: this dock, the attribute table, undo.
    verdict_changed = pyqtSignal(object)

    #: Other features or fields than before.
    reset = pyqtSignal()

    def __init__(self, layer: QgsVectorLayer) -> None:
        super().__init__()
        self.layer = layer
        layer.attributeValueChanged.connect(self._changed)
        for signal in (layer.updatedFields, layer.featureAdded, layer.featureDeleted, layer.afterRollBack):
            signal.connect(self._reset)

    def release(self) -> None:
        """Listen no longer."""
        layer = self.layer
        layer.attributeValueChanged.disconnect(self._changed)
        for signal in (layer.updatedFields, layer.featureAdded, layer.featureDeleted, layer.afterRollBack):
            signal.disconnect(self._reset)

    def _changed(self, feature_id, index, _value) -> None:
        if self.layer.fields().at(index).name() in FIELDS:
            self.verdict_changed.emit(feature_id)

    def _reset(self, *_args) -> None:
        self.reset.emit()

    def has_fields(self) -> bool:
        """Whether the layer has all fields of a review."""
        return all(self.layer.fields().indexOf(name) >= 0 for name in FIELDS)

    def problem(self) -> str:
        """Why verdicts cannot be kept in this layer; empty where they can."""
        can = QgsVectorDataProvider.Capability
        able = self.layer.dataProvider().capabilities()
        if self.layer.readOnly() or not able & can.ChangeAttributeValues:
            return f"'{self.layer.name()}' is read-only: save it to a GeoPackage or GeoJSON file, and review that"
        if self.has_fields():
            return ""
        if not able & can.AddAttributes:
            return f"'{self.layer.name()}' takes no more fields: save it to a GeoPackage, and review that"
        return f"'{self.layer.name()}' has no fields for verdicts yet"

    def can_add_fields(self) -> bool:
        """Whether the fields of a review are all that is missing."""
        able = self.layer.dataProvider().capabilities() & QgsVectorDataProvider.Capability.AddAttributes
        return bool(able) and not self.layer.readOnly() and not self.has_fields()

    def add_fields(self) -> None:
        """Add those fields of a review that are missing, as one command that can be undone.

        Raises:
            ReviewError: The layer takes none.
        """
        self._edit()
        kind = QMetaType.Type.QString if Qgis.QGIS_VERSION_INT >= 33800 else QVariant.String  # noqa: QGS402 - until 3.38
        self.layer.beginEditCommand("Add fields for verdicts")
        for name in FIELDS:
            if self.layer.fields().indexOf(name) < 0:
                self.layer.addAttribute(QgsField(name, kind))
        if self.has_fields():
            self.layer.endEditCommand()
        else:
            self.layer.destroyEditCommand()
            raise ReviewError(f"'{self.layer.name()}' takes no more fields")

    def verdicts(self) -> dict:
        """The verdict on each anomaly by its feature's id, the rarest first."""
        names = [name for name in ("id", "verdict") if self.layer.fields().indexOf(name) >= 0]
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setSubsetOfAttributes(names, self.layer.fields())
        features = [(f["id"], f.id(), self._verdict(f)) for f in self.layer.getFeatures(request)]
        # An id that was lost comes last.
        features.sort(key=lambda item: (text_of(item[0]) == "", item[0] if text_of(item[0]) else 0, item[1]))
        return {feature_id: verdict for _, feature_id, verdict in features}

    def verdict(self, feature_id) -> str:
        """The verdict on an anomaly."""
        return self._verdict(self.layer.getFeature(feature_id))

    def _verdict(self, feature) -> str:
        said = text_of(feature["verdict"]).strip() if feature.fields().indexOf("verdict") >= 0 else ""
        return said if said in (ACCEPTED, REJECTED, UNSURE) else NOT_SEEN

    def set_verdict(self, feature_id, verdict: str, note: str, reviewer: str) -> None:
        """Say what an anomaly is, as one command that can be undone.

        Args:
            feature_id: The feature's id.
            verdict: ``accepted``, ``rejected``, ``unsure``, or an empty text.
            note: What else there is to say.
            reviewer: Who says so.

        Raises:
            ReviewError: The layer cannot keep it.
        """
        problem = self.problem()
        if problem:
            raise ReviewError(problem)
        self._edit()
        fields = self.layer.fields()
        # Where nothing is said, nobody has said it.
        said = (verdict, note.strip(), reviewer.strip(), now()) if verdict or note.strip() else ("",) * len(FIELDS)
        values = dict(zip(FIELDS, said))
        new = {fields.indexOf(name): self._stored(name, text) for name, text in values.items()}
        feature = self.layer.getFeature(feature_id)
        self.layer.beginEditCommand(f"Anomaly {text_of(feature['id'])}: {verdict or 'note'}")
        if self.layer.changeAttributeValues(feature_id, new):
            self.layer.endEditCommand()
        else:
            self.layer.destroyEditCommand()
            raise ReviewError(f"'{self.layer.name()}' did not take the verdict")

    def _stored(self, name: str, text: str):
        """A text as the layer's field has it."""
        if not text:
            return None
        field = self.layer.fields().at(self.layer.fields().indexOf(name))
        return QDateTime.fromString(text, Qt.DateFormat.ISODate) if "date" in field.typeName().lower() else text

    def _edit(self) -> None:
        if not self.layer.isEditable():
            self._take_times_for_texts()
        if not self.layer.isEditable() and not self.layer.startEditing():
            raise ReviewError(f"'{self.layer.name()}' cannot be edited")

    def _take_times_for_texts(self) -> None:
        """Open GeoJSON so that times stay the texts that they are: QGIS 3.22 would lose their zone."""
        source, index = self.layer.source(), self.layer.fields().indexOf("reviewed_at")
        if index >= 0 and self.layer.fields().at(index).isDateOrTime() and self.layer.storageType() == "GeoJSON":
            self.layer.setDataSource(f"{source}|option:DATE_AS_STRING=YES", self.layer.name(), "ogr")

    def unsaved(self) -> bool:
        """Whether something waits to be saved."""
        return self.layer.isModified()

    def save(self) -> None:
        """Write what was said into the layer's file.

        Raises:
            ReviewError: It cannot be written; everything is still there to be saved elsewhere.
        """
        if self.layer.isEditable() and not self.layer.commitChanges():
            reasons = "; ".join(line for line in self.layer.commitErrors() if line.strip())
            raise ReviewError(f"'{self.layer.name()}' could not be saved: {reasons}")

    def can_undo(self) -> bool:
        """Whether there is a change that can be taken back."""
        return self.layer.isEditable() and self.layer.undoStack().canUndo()

    def undo(self) -> None:
        """Take back the last change of the layer."""
        if self.can_undo():
            self.layer.undoStack().undo()
