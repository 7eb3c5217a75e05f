"""Verdicts in the fields of a layer: as undoable commands, saved and read again by others."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from hadgeo_qgis.review.anomaly_layer import FIELDS, AnomalyLayer, ReviewError, holds_anomalies, text_of
from hadgeo_qgis.review.queue import Queue
from osgeo import ogr
from qgis.core import QgsRasterLayer, QgsVectorLayer


@pytest.fixture(params=["line.gpkg", "line_geo.geojson"])
def old(request, found, tmp_path, project):
    """A layer of anomalies as they were before there were verdicts."""
    path = tmp_path / request.param
    shutil.copy(found / request.param, path)
    layer = QgsVectorLayer(str(path), "anomalies", "ogr")
    there = [layer.fields().indexOf(name) for name in FIELDS if layer.fields().indexOf(name) >= 0]
    if there:
        assert layer.dataProvider().deleteAttributes(there)
        layer.updateFields()
    # The project lets go of it in time: QGIS crashes over layers that are left when it ends.
    project.addMapLayer(layer)
    return layer


@pytest.fixture
def review(old):
    """A review of such a layer, whose fields were added."""
    made = AnomalyLayer(old)
    made.add_fields()
    return made


def in_file(layer):
    """What other programs read: the fields of each anomaly by its id, as texts."""
    dataset = ogr.Open(layer.source().split("|")[0])
    rows = {}
    for feature in dataset.GetLayer(0):
        rows[feature.GetField("id")] = [feature.GetFieldAsString(name) for name in FIELDS]
    return rows


def test_a_layer_of_anomalies_is_known_by_its_fields(found, old):
    assert holds_anomalies(old)
    assert not holds_anomalies(QgsVectorLayer("Polygon?field=id:integer", "others", "memory"))
    assert not holds_anomalies(QgsVectorLayer("None?field=id:integer&field=max_score:double", "table", "memory"))
    assert not holds_anomalies(QgsVectorLayer("/nowhere.gpkg", "broken", "ogr"))
    assert not holds_anomalies(QgsRasterLayer(str(found / "line_anomaly.tif"), "scores"))
    assert not holds_anomalies(None)


def test_a_layer_without_the_fields_says_so_and_gets_them(old):
    review = AnomalyLayer(old)
    assert "no fields for verdicts" in review.problem()
    with pytest.raises(ReviewError, match="no fields"):
        review.set_verdict(next(iter(review.verdicts())), "accepted", "", "")
    assert review.can_add_fields()
    review.add_fields()
    assert review.problem() == ""
    assert set(review.verdicts().values()) == {""}
    review.undo()
    assert not review.has_fields()


def test_anomalies_come_by_their_rank(review):
    ids = [review.layer.getFeature(key)["id"] for key in review.verdicts()]
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) > 5


def test_each_verdict_is_one_command_of_the_undo_stack(review):
    first, second, *_ = review.verdicts()
    stack, heard = review.layer.undoStack(), []
    review.verdict_changed.connect(heard.append)
    before = stack.count()
    review.set_verdict(first, "accepted", " a white van ", "Ada")
    review.set_verdict(second, "rejected", "", "Ada")
    assert stack.count() == before + 2
    assert [stack.text(before + i) for i in range(2)] == ["Anomaly 1: accepted", "Anomaly 2: rejected"]
    assert set(heard) == {first, second}
    assert review.layer.getFeature(first)["note"] == "a white van"
    review.undo()
    verdicts = review.verdicts()
    assert (verdicts[first], verdicts[second]) == ("accepted", "")
    review.undo()
    assert set(review.verdicts().values()) == {""}


def test_verdicts_are_saved_with_the_layer_and_read_again(review):
    first, second, *rest = review.verdicts()
    review.set_verdict(first, "accepted", "größer", "Ada")
    review.set_verdict(second, "unsure", "", "")
    assert review.unsaved()
    review.save()
    assert not review.unsaved()
    rows = in_file(review.layer)
    assert rows[1][:3] == ["accepted", "größer", "Ada"]
    assert rows[2][:3] == ["unsure", "", ""]
    assert all(rows[number] == [""] * 4 for number in range(3, len(rest) + 3))
    dataset = ogr.Open(review.layer.source().split("|")[0])
    definition = dataset.GetLayer(0).GetLayerDefn()
    kinds = {name: definition.GetFieldDefn(definition.GetFieldIndex(name)).GetType() for name in FIELDS[:3]}
    assert set(kinds.values()) == {ogr.OFTString}
    # In GeoJSON, GDAL takes it for a time, and writes that in a way of its own to the screen.
    assert re.match(r"20\d\d[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(Z|\+00)$", rows[1][3]), rows[1][3]
    # A second session, on the file as it is now.
    again = AnomalyLayer(QgsVectorLayer(review.layer.source(), "again", "ogr"))
    assert list(again.verdicts().values())[:3] == ["accepted", "unsure", ""]
    third = list(again.verdicts())[2]
    again.set_verdict(third, "rejected", "", "Bob")
    again.save()
    text = again.layer.source().split("|")[0]
    assert [row[0] for row in in_file(again.layer).values()][:3] == ["accepted", "unsure", "rejected"]
    if text.endswith("geojson"):
        times = re.findall(r'"reviewed_at": "([^"]*)"', Path(text).read_text(encoding="utf-8"))
        assert len(times) == 3
        assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times), times


def test_a_read_only_layer_is_told(old, tmp_path):
    old.setReadOnly(True)
    assert "read-only" in AnomalyLayer(old).problem()
    assert not AnomalyLayer(old).can_add_fields()
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(old.source().split("|")[0], "line.gpkg" if "gpkg" in old.source() else "line.geojson")
    name = "line.gpkg" if "gpkg" in old.source() else "line.geojson"
    layer = QgsVectorLayer(f"/vsizip/{packed}/{name}", "packed", "ogr")
    review = AnomalyLayer(layer)
    assert "read-only" in review.problem()
    with pytest.raises(ReviewError, match="read-only"):
        review.set_verdict(next(iter(review.verdicts())), "accepted", "", "")


def test_a_verdict_that_is_none_counts_as_not_looked_at(review):
    first = next(iter(review.verdicts()))
    review.layer.changeAttributeValue(first, review.layer.fields().indexOf("verdict"), "perhaps")
    assert review.verdicts()[first] == ""


def test_the_queue_steps_over_what_the_filter_hides():
    queue = Queue({7: "", 3: "accepted", 9: "", 4: "rejected"})
    assert queue.step(None, 1) == 7
    assert [queue.step(7, 1), queue.step(4, 1), queue.step(7, -1), queue.step(4, -1)] == [3, None, None, 9]
    queue.shown = ("",)
    assert queue.matching() == [7, 9]
    assert queue.step(7, 1) == 9
    assert queue.step(4, -1) == 9
    # From one that the filter hides by now.
    assert queue.step(3, 1) == 9
    assert queue.step(None, -1) == 9
    assert queue.summary() == "2 of 4 looked at: 1 accepted, 1 rejected"
    assert Queue({}).summary() == "0 of 0 looked at"


def test_where_a_verdict_is_taken_back_nobody_has_said_anything(review):
    first = next(iter(review.verdicts()))
    review.set_verdict(first, "accepted", "", "Ada")
    review.set_verdict(first, "", "", "Ada")
    assert [text_of(review.layer.getFeature(first)[name]) for name in FIELDS] == [""] * 4
    review.set_verdict(first, "", "only a note", "Ada")
    assert [text_of(review.layer.getFeature(first)[name]) for name in FIELDS[:3]] == ["", "only a note", "Ada"]
