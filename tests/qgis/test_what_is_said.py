"""What a run says and hands over: its last line, numbers, warnings, names of layers, and no options of a terminal."""

import re
from pathlib import Path

import processing
import pytest
from conftest import Log, worker
from hadgeo_qgis.wording import for_dialogs
from osgeo import gdal
from qgis.core import QgsProcessingException, QgsProcessingOutputLayerDefinition, QgsRasterLayer, QgsVectorLayer

#: A word of a terminal: an option, or a command.
TERMINAL = re.compile(r"(^|\s)-(-[a-z]|[odp]\b)|`hadgeo")


def last_line(log):
    """What an algorithm has said last, before what Processing says of its results."""
    return [line for line in log.lines if not line.startswith("Results: ")][-1]


def test_detection_ends_with_what_was_found_and_expected(run, scene, tmp_path):
    log, out = Log(), {"OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": str(tmp_path / "x.gpkg")}
    results = run("detect", log, INPUT=scene, DETECTOR="rx", PFA=0.002, **out)
    number = QgsVectorLayer(results["POLYGONS"], "x", "ogr").featureCount()
    assert results["ANOMALIES"] == number > 1
    assert last_line(log) == f"{number} anomalies, {results['EXPECTED_FALSE_ALARMS']:.0f} expected false alarms"
    twin = worker("detect", scenes=[scene], detector="rx", pfa=0.002, output=str(tmp_path / "twin.tif"))["decision"]
    assert (results["THRESHOLD"], results["PIXELS"]) == (twin["threshold"], twin["pixels"])
    assert not any("no polygons are written" in line for line in log.lines)
    log = Log()
    run("threshold", log, INPUT=results["OUTPUT"], TOP=1, OUTPUT=str(tmp_path / "one.gpkg"))
    assert last_line(log).startswith("1 anomaly, ")


def test_a_rate_or_spectra_without_polygons_warn(run, scene, tmp_path):
    for given in ({"PFA": 0.002}, {"SPECTRA": True}):
        log = Log()
        results = run("detect", log, INPUT=scene, DETECTOR="rx", OUTPUT=str(tmp_path / f"{len(given)}.tif"), **given)
        (warning,) = [line for line in log.lines if "no polygons are written" in line]
        assert "'Anomalies'" in warning
        assert ("'False-alarm rate of anomalies'" in warning) == ("PFA" in given)
        assert not results["POLYGONS"]
    log = Log()
    run("detect", log, INPUT=scene, DETECTOR="rx", OUTPUT=str(tmp_path / "plain.tif"))
    assert not any("no polygons are written" in line for line in log.lines)


def test_the_users_own_names_of_layers_count(provider, project, scene, tmp_path):
    mine = QgsRasterLayer(scene, "San Diego, morning")
    project.addMapLayer(mine)
    polygons = QgsProcessingOutputLayerDefinition(str(tmp_path / "x.gpkg"), project)
    polygons.destinationName = "Look at these"
    given = {"INPUT": mine, "DETECTOR": "rx", "PFA": 0.002, "OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": polygons}
    processing.runAndLoadResults("hadgeo:detect", given, feedback=Log())
    names = {layer.name() for layer in project.mapLayers().values()}
    assert names == {"San Diego, morning", "Look at these", "Anomaly scores – San Diego, morning"}
    project.clear()
    given["INPUT"] = mine = QgsRasterLayer(scene, "San Diego, morning")
    project.addMapLayer(mine)
    for number in range(2):
        given.update(OUTPUT=str(tmp_path / f"{number}.tif"), POLYGONS=str(tmp_path / f"{number}.gpkg"))
        processing.runAndLoadResults("hadgeo:detect", given, feedback=Log())
    names = {layer.name() for layer in project.mapLayers().values()}
    assert {"Anomalies – San Diego, morning", "Anomaly scores – San Diego, morning"} < names
    assert {"Anomalies – San Diego, morning (rx)", "Anomaly scores – San Diego, morning (rx)"} < names


def test_a_simulation_loads_its_truth_too(provider, project, tmp_path):
    given = {"ROWS": 30, "COLS": 30, "BANDS": 12, "TARGETS": 3, "OUTPUT": str(tmp_path / "mine.tif")}
    processing.runAndLoadResults("hadgeo:simulate", given, feedback=Log())
    names = {layer.name(): layer for layer in project.mapLayers().values()}
    assert set(names) == {"Scene – mine", "Truth – mine"}
    assert names["Truth – mine"].renderer().type() == "paletted"
    assert Path(names["Truth – mine"].source()) == tmp_path / "mine_truth.tif"
    project.clear()
    processing.run("hadgeo:simulate", {**given, "OUTPUT": str(tmp_path / "other.tif")}, feedback=Log())
    assert not project.mapLayers()


def test_compare_says_which_detector_is_at_work_and_how_long_it_takes(run, scenes, tmp_path):
    log, names = Log(), ["rx", "kmeans", "local_rx"]
    given = {"TRUTH": str(scenes / "line_truth.tif"), "DETECTORS": names, "BOOTSTRAP": 0}
    run("compare", log, INPUT=str(scenes / "line.tif"), OUTPUT=str(tmp_path / "r.html"), **given)
    assert re.match(r"3 detectors: \d+ s or so on one core", log.lines[0])
    begun = [line for line in log.lines if line.startswith("detector ")]
    assert [line.split(":")[0] for line in begun] == [
        "detector 1 of 3, RX",
        "detector 2 of 3, k-means",
        "detector 3 of 3, Local RX",
    ]
    assert all(re.search(r"; about \d+ s left$", line) for line in begun[1:])
    assert {"rx: score …", "kmeans: score …", "local_rx: score …"} <= set(log.texts)
    assert log.percents == sorted(log.percents)
    # Each has a part of the bar, and they cost about the same here.
    assert sum(30 < percent < 70 for percent in log.percents) >= 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"BANDS": "8000-9000"}, "9000"),
        ({"QUALITY": "fog"}, "'Leave out by quality'"),
        ({"FILL": "nothing"}, "'Fill value'"),
        ({"SUPPRESS": "roofs"}, "'Suppress surfaces'"),
        ({"GLT": "{scene}"}, "'Coordinates of pixels (IGM)'"),
    ],
)
def test_messages_speak_of_parameters(run, scene, tmp_path, given, told):
    given = {key: value.replace("{scene}", scene) if isinstance(value, str) else value for key, value in given.items()}
    with pytest.raises(QgsProcessingException) as raised:
        run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"), **given)
    assert told in str(raised.value)
    assert not TERMINAL.search(str(raised.value)), str(raised.value)


def test_the_backends_words_become_those_of_dialogs():
    told = for_dialogs(
        "/a/my-o --p/x.tif exists; use --overwrite to replace it, or -o to write elsewhere", {"output": "Maps"}
    )
    assert told == "/a/my-o --p/x.tif exists; use 'Overwrite' to replace it, or 'Maps' to write elsewhere"
    assert for_dialogs("fewer --bands, -d rx, or --glt.") == "fewer 'Bands', 'Detector' rx, or 'Lookup table (GLT)'."
    assert for_dialogs("make one with `hadgeo detect`") == "make one with 'Detect anomalies'"
    assert for_dialogs('polygons need x; install it with pip install "hadgeo[vector]"').endswith("'Set up the backend'")
    assert for_dialogs("5-o, a-d and -9999 at 1e-3") == "5-o, a-d and -9999 at 1e-3"


def test_a_page_of_the_review_is_written(run, scene, tmp_path):
    page = tmp_path / "review.html"
    out = {"OUTPUT": str(tmp_path / "x.tif"), "POLYGONS": str(tmp_path / "x.gpkg"), "REPORT": str(page)}
    results = run("detect", INPUT=scene, DETECTOR="rx", PFA=0.002, REPORT_LIMIT=2, **out)
    assert results["REPORT"] == str(page)
    assert "Content-Security-Policy" in page.read_text(encoding="utf-8")


def test_what_was_rejected_is_suppressed_in_detection_and_matching(run, scene, tmp_path):
    first = {"OUTPUT": str(tmp_path / "first.tif"), "POLYGONS": str(tmp_path / "first.gpkg")}
    spectra = {"evidence": str(tmp_path / "first.nc")}
    worker(
        "detect",
        scenes=[scene],
        detector="rx",
        pfa=0.002,
        output=first["OUTPUT"],
        polygons=first["POLYGONS"],
        **spectra,
    )
    layer = QgsVectorLayer(first["POLYGONS"], "seen", "ogr")
    number = next(feature["id"] for feature in layer.getFeatures())
    layer.startEditing()
    layer.changeAttributeValue(number, layer.fields().indexOf("verdict"), "rejected")
    again = {"INPUT": scene, "DETECTOR": "rx", "SUPPRESS_LIKE": layer, "SUPPRESS_ANGLE": 0.05}
    with pytest.raises(QgsProcessingException, match="not saved: save them first"):
        run("detect", OUTPUT=str(tmp_path / "again.tif"), **again)
    assert layer.commitChanges()
    layer.selectByIds([number])
    with pytest.raises(QgsProcessingException, match="count whether selected or not"):
        run("detect", OUTPUT=str(tmp_path / "again.tif"), SELECTED=True, **again)
    layer.removeSelection()
    classes = tmp_path / "classes.tif"
    run("detect", OUTPUT=str(tmp_path / "again.tif"), SUPPRESSED_MASK=str(classes), **again)
    suppressed = gdal.Open(str(classes)).ReadAsArray() == 4
    assert suppressed.any()
    scores = gdal.Open(str(tmp_path / "again.tif")).ReadAsArray()
    assert (scores[suppressed] != scores[suppressed]).all()
    like = {"LIKE": layer, "ANOMALY": number + 1, "SUPPRESS_LIKE": layer, "SUPPRESS_ANGLE": 0.05}
    run("match", INPUT=scene, METHOD="sam", OUTPUT=str(tmp_path / "match.tif"), **like)
    found = gdal.Open(str(tmp_path / "match.tif")).ReadAsArray()
    assert (found[suppressed] != found[suppressed]).all()
