"""Algorithms from their parameters to their layers, through the real backend."""

import threading
import time
from pathlib import Path

import numpy as np
import processing
import pytest
from conftest import Log, worker
from hadgeo_qgis import styles
from hadgeo_qgis.schema import DETECTORS
from osgeo import gdal
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

gdal.UseExceptions()

#: Training for minutes: only the end of the process stops it.
LONG = {"DETECTOR": "bs3lnet", "BS3LNET_STEPS": 100_000}


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def place(path):
    dataset = gdal.Open(str(path))
    return dataset.GetGeoTransform(), dataset.GetProjection(), dataset.RasterXSize, dataset.RasterYSize


def test_detect_gives_the_backends_bytes_on_the_scenes_own_grid(run, scene, tmp_path):
    out, log = tmp_path / "größer als 1.tif", Log()
    results = run("detect", log, INPUT=scene, DETECTOR="rx", OUTPUT=str(out))
    assert results["OUTPUT"] == str(out)
    assert results["VALID_PIXELS"] == 64 * 64
    assert results["SECONDS"] > 0
    assert place(out) == place(scene)
    twin = worker("detect", scenes=[scene], detector="rx", output=str(tmp_path / "twin.tif"))
    assert out.read_bytes() == Path(twin["map"]).read_bytes()
    assert any(line.startswith("device: cpu") for line in log.lines)
    assert log.percents == sorted(log.percents)
    assert log.percents[-1] >= 99
    assert not log.errors


def test_bs3lnet_takes_its_parameters(run, scene, tmp_path):
    out = tmp_path / "x.tif"
    given = {"BS3LNET_STEPS": 3, "BS3LNET_STATISTIC": "mse", "BS3LNET_SEED": 5}
    run("detect", INPUT=scene, DETECTOR="bs3lnet", OUTPUT=str(out), **given)
    tags = gdal.Open(str(out)).GetMetadata()
    assert tags["HADGEO_DETECTOR"] == "bs3lnet"
    for part in ('"steps": 3', '"statistic": "mse"', '"seed": 5'):
        assert part in tags["HADGEO_PARAMETERS"]


def test_a_preset_counts_and_what_is_changed_beside_it(run, scene, tmp_path):
    out = tmp_path / "x.tif"
    run("detect", INPUT=scene, FUSION_PRESET="fast", OUTPUT=str(out))
    tags = gdal.Open(str(out)).GetMetadata()
    assert tags["HADGEO_DETECTOR"] == "fusion"
    assert DETECTORS["fusion"]["parameters"]["parts"]["default"] not in tags["HADGEO_PARAMETERS"]
    run("detect", INPUT=scene, DETECTOR="bs3lnet", BS3LNET_PRESET="paper", BS3LNET_STEPS=3, OUTPUT=str(out))
    parameters = gdal.Open(str(out)).GetMetadata()["HADGEO_PARAMETERS"]
    assert '"statistic": "mse"' in parameters
    assert '"steps": 3' in parameters


def test_bands_by_wavelength(run, scene, tmp_path):
    run("detect", INPUT=scene, DETECTOR="rx", BANDS="500-900,2100-2300", OUTPUT=str(tmp_path / "x.tif"))
    chosen = gdal.Open(str(tmp_path / "x.tif")).GetMetadata()["HADGEO_BANDS"]
    assert chosen == "3-7,25-27"


def test_an_extent_cuts_whole_pixels_out_of_the_same_grid(run, scenes, tmp_path):
    straight, out = str(scenes / "second.tif"), tmp_path / "x.tif"
    left, size, _, top, _, _ = gdal.Open(straight).GetGeoTransform()
    box = f"{left + 10.5 * size},{left + 40 * size},{top - 30.5 * size},{top - 5 * size} [EPSG:32633]"
    run("detect", INPUT=straight, DETECTOR="rx", EXTENT=box, OUTPUT=str(out))
    transform, _, width, height = place(out)
    assert (width, height) == (30, 26)
    assert (transform[0], transform[3]) == (left + 10 * size, top - 5 * size)


def test_an_extent_in_another_crs(run, scenes, tmp_path):
    straight = QgsRasterLayer(str(scenes / "second.tif"), "x")
    run("detect", INPUT=straight, DETECTOR="rx", EXTENT="14.9,15.1,46,48 [EPSG:4326]", OUTPUT=str(tmp_path / "x.tif"))
    assert place(tmp_path / "x.tif") == place(scenes / "second.tif")


def land(path, scene, half):
    """A raster or polygons of the left or upper half of a scene."""
    transform, system, width, height = place(scene)
    kept = np.zeros((height, width), dtype="u1")
    kept[half] = 1
    rows, cols = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
    if path.suffix == ".tif":
        dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height)
        dataset.SetGeoTransform(transform)
        dataset.SetProjection(system)
        dataset.WriteArray(kept)
    else:
        layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "land", "memory")
        ends = [(cols[0], rows[0]), (cols[-1] + 1, rows[0]), (cols[-1] + 1, rows[-1] + 1), (cols[0], rows[-1] + 1)]
        corners = [QgsPointXY(*gdal.ApplyGeoTransform(transform, float(col), float(row))) for col, row in ends]
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromPolygonXY([corners]))
        layer.dataProvider().addFeature(feature)
        QgsVectorFileWriter.writeAsVectorFormat(layer, str(path), "utf-8", layer.crs(), "GPKG")
    return kept.astype(bool)


@pytest.mark.parametrize("name", ["land.tif", "land.gpkg"])
def test_a_mask_of_either_kind_is_neither_learned_from_nor_scored(run, scene, tmp_path, name):
    kept, log = land(tmp_path / name, scene, np.s_[:, :40]), Log()
    out, mask = tmp_path / "x.tif", str(tmp_path / name)
    results = run("detect", log, INPUT=scene, DETECTOR="rx", MASK=mask, OUTPUT=str(out))
    assert results["VALID_PIXELS"] == kept.sum()
    np.testing.assert_array_equal(np.isfinite(pixels(out)), kept)
    twin = worker("detect", scenes=[scene], detector="rx", mask=mask, output=str(tmp_path / "twin.tif"))
    assert out.read_bytes() == Path(twin["map"]).read_bytes()
    assert any("leaves 2,560 of 4,096 pixels" in line for line in log.lines)


def test_every_algorithm_that_reads_a_scene_takes_a_mask(run, scenes, scene, tmp_path):
    kept = land(tmp_path / "land.tif", scene, np.s_[20:])
    mask, out = QgsRasterLayer(str(tmp_path / "land.tif"), "land"), tmp_path / "x.tif"
    run("train", INPUT=[scene], DETECTOR="rx", MASK=mask, OUTPUT=str(tmp_path / "m.hadgeo"))
    run("detectwithmodel", INPUT=scene, MODEL=str(tmp_path / "m.hadgeo"), MASK=mask, OUTPUT=str(out))
    np.testing.assert_array_equal(np.isfinite(pixels(out)), kept)
    chosen = {"TRUTH": str(scenes / "line_truth.tif"), "DETECTORS": ["rx"], "BOOTSTRAP": 0}
    run("compare", INPUT=scene, MASK=mask, OUTPUT=str(tmp_path / "r.html"), MAPS=str(tmp_path / "maps"), **chosen)
    (made,) = (tmp_path / "maps").glob("*.tif")
    np.testing.assert_array_equal(np.isfinite(pixels(made)), kept)
    run("quicklook", INPUT=scene, MASK=mask, OUTPUT=str(tmp_path / "left.png"))
    run("quicklook", INPUT=scene, OUTPUT=str(tmp_path / "whole.png"))
    assert not np.array_equal(pixels(tmp_path / "left.png"), pixels(tmp_path / "whole.png"))


def test_a_mask_elsewhere_is_said_in_one_line(run, scene, tmp_path):
    far = tmp_path / "far.tif"
    land(far, scene, np.s_[:])
    dataset = gdal.Open(str(far), gdal.GA_Update)
    dataset.SetGeoTransform((9e5, 1, 0, 1e6, 0, -1))
    del dataset
    with pytest.raises(QgsProcessingException, match=r"far\.tif: does not overlap"):
        run("detect", INPUT=scene, DETECTOR="rx", MASK=str(far), OUTPUT=str(tmp_path / "x.tif"))


@pytest.mark.parametrize("name", ["land.tif", "land.gpkg"])
def test_a_background_is_learned_from_and_everything_is_scored(run, scene, tmp_path, name):
    kept, log = land(tmp_path / name, scene, np.s_[:, :40]), Log()
    out, classes, region = tmp_path / "x.tif", tmp_path / "classes.tif", str(tmp_path / name)
    results = run(
        "detect",
        log,
        INPUT=scene,
        DETECTOR="rx",
        BACKGROUND=region,
        SUPPRESS="shadow=0.5",
        SUPPRESSED_MASK=str(classes),
        OUTPUT=str(out),
    )
    assert results["VALID_PIXELS"] == kept.size
    shadow = pixels(classes) == 3
    assert results["SUPPRESSED_MASK"] == str(classes)
    left = int((kept & ~shadow).sum())
    assert any(f"{left:,} of 4,096 pixels" in line and "left for learning: inside land." in line for line in log.lines)
    options = {"background": region, "suppress": "shadow=0.5"}
    twin = worker("detect", scenes=[scene], detector="rx", output=str(tmp_path / "twin.tif"), **options)
    assert out.read_bytes() == Path(twin["map"]).read_bytes()


def test_every_algorithm_that_fits_takes_regions(run, scenes, scene, tmp_path):
    land(tmp_path / "land.tif", scene, np.s_[20:])
    region, log = QgsRasterLayer(str(tmp_path / "land.tif"), "land"), Log()
    run("train", log, INPUT=[scene], DETECTOR="rx", EXCLUDE=region, OUTPUT=str(tmp_path / "m.hadgeo"))
    assert any("1,280 of 4,096 pixels" in line for line in log.lines)
    chosen = {"TRUTH": str(scenes / "line_truth.tif"), "DETECTORS": ["rx"], "BOOTSTRAP": 0}
    log = Log()
    run("compare", log, INPUT=scene, BACKGROUND=region, OUTPUT=str(tmp_path / "r.html"), **chosen)
    assert any("2,816 of 4,096 pixels" in line for line in log.lines)


def test_train_and_apply(run, scenes, tmp_path):
    both = [str(scenes / "line.tif"), str(scenes / "second.tif")]
    model = tmp_path / "mission.hadgeo"
    trained = run("train", INPUT=both, DETECTOR="rx", RX_SHRINKAGE=0.01, OUTPUT=str(model))
    assert trained["BANDS_USED"] == 25
    assert model.is_file()
    out = tmp_path / "x.tif"
    run("detectwithmodel", INPUT=both[1], MODEL=str(model), OUTPUT=str(out))
    assert gdal.Open(str(out)).GetMetadata()["HADGEO_DETECTOR"] == "rx"


def test_simulate_and_information(run, tmp_path):
    log = Log()
    made = run("simulate", ROWS=20, COLS=30, BANDS=12, TARGETS=2, ROTATION=5, OUTPUT=str(tmp_path / "s.tif"))
    assert gdal.Open(made["OUTPUT"]).RasterCount == 12
    assert (pixels(made["TRUTH"]) == 1).sum() == made["TARGET_PIXELS"] > 0
    told = run("information", log)
    assert {"bs3lnet", "block_rx", "fusion"} <= set(told["DETECTORS"].split(", "))
    assert told["DEVICES"].startswith("cpu")
    assert any(line.startswith("torch: ") for line in log.lines)


def test_the_style_lies_beside_the_map_and_stretches_by_percentiles(run, scene, tmp_path):
    out = tmp_path / "x.tif"
    run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(out))
    assert out.with_suffix(".qml").is_file()
    layer = QgsRasterLayer(str(out), "x")
    renderer = layer.renderer()
    assert renderer.type() == "singlebandpseudocolor"
    low, high = np.percentile(pixels(out), (2, 99.8))
    assert renderer.classificationMin() == pytest.approx(low, rel=1e-4)
    assert renderer.classificationMax() == pytest.approx(high, rel=1e-4)
    image = layer.previewAsImage(QSize(100, 100))
    assert len({image.pixel(x, y) for x in range(0, 100, 5) for y in range(0, 100, 5)}) > 20


def test_a_map_without_scores_keeps_qgis_own_style(tmp_path):
    path = tmp_path / "empty.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 5, 5, 1, gdal.GDT_Float32)
    dataset.GetRasterBand(1).WriteArray(np.full((5, 5), np.nan, np.float32))
    dataset = None
    assert styles.score_range(str(path)) == (0.0, 0.0)


def test_loaded_layers_are_named_after_what_they_are_and_the_scene(provider, project, scene, tmp_path):
    processing.runAndLoadResults(
        "hadgeo:detect", {"INPUT": scene, "DETECTOR": "rx", "OUTPUT": str(tmp_path / "x.tif")}, feedback=Log()
    )
    (layer,) = project.mapLayers().values()
    assert layer.name() == "Anomaly scores – line"
    assert layer.renderer().type() == "singlebandpseudocolor"
    assert layer.crs().authid() == "EPSG:32633"


def test_a_model_chains_simulation_and_detection(provider, tmp_path):
    model = QgsProcessingModelAlgorithm("chain", "tests")

    def child(name, **values):
        made = QgsProcessingModelChildAlgorithm(f"hadgeo:{name}")
        made.setChildId(name)
        given = [p for p in made.algorithm().parameterDefinitions() if not p.isDestination()]
        defaults = {p.name(): p.defaultValue() for p in given}
        for key, value in {**defaults, **values}.items():
            source = value
            if not isinstance(value, QgsProcessingModelChildParameterSource):
                source = QgsProcessingModelChildParameterSource.fromStaticValue(value)
            made.addParameterSources(key, [source])
        return made

    simulate = child("simulate", ROWS=30, COLS=30, BANDS=12, TARGETS=2)
    detect = child(
        "detect", DETECTOR="rx", INPUT=QgsProcessingModelChildParameterSource.fromChildOutput("simulate", "OUTPUT")
    )
    output = QgsProcessingModelOutput("scores", "scores")
    output.setChildId("detect")
    output.setChildOutputName("OUTPUT")
    detect.setModelOutputs({"scores": output})
    model.addChildAlgorithm(simulate)
    model.addChildAlgorithm(detect)
    model.updateDestinationParameters()
    log = Log()
    name = next(p.name() for p in model.parameterDefinitions() if p.isDestination())
    results = processing.run(model, {name: str(tmp_path / "chained.tif")}, feedback=log)
    assert results[name] == str(tmp_path / "chained.tif")
    assert place(results[name])[2:] == (30, 30)


def test_progress_moves_and_cancel_ends_the_child_long_before_its_work_is_done(run, scene, tmp_path):
    log, cancelled = Log(), []

    def cancel():
        # Beyond 15 % it trains, step by step.
        while len({percent for percent in log.percents if percent > 15}) < 4:
            time.sleep(0.05)
        cancelled.append(time.monotonic())
        log.cancel()

    threading.Thread(target=cancel, daemon=True).start()
    results = run("detect", log, INPUT=scene, OUTPUT=str(tmp_path / "x.tif"), **LONG)
    assert time.monotonic() - cancelled[0] < 20
    assert not results.get("OUTPUT")
    assert not list(tmp_path.iterdir())
    assert "Stopped; no unfinished files were left behind." in log.lines
    assert {"start …", "statistics …", "fit …"} <= set(log.texts)


def test_an_interpreter_in_a_folder_with_spaces_and_umlauts(run, monkeypatch, tmp_path):
    from conftest import BACKEND

    folder = tmp_path / "Grüße an alle"
    folder.symlink_to(Path(BACKEND).parents[1], target_is_directory=True)
    monkeypatch.setenv("HADGEO_PYTHON", str(folder / "bin" / "python"))
    assert run("information")["INTERPRETER"] == str(folder / "bin" / "python")


def refused(run, log=None, **parameters):
    with pytest.raises(QgsProcessingException) as raised:
        run("detect", log, DETECTOR="rx", **parameters)
    message = str(raised.value).replace("Unable to execute algorithm\n", "")
    assert "Traceback" not in message
    assert len(message.strip().splitlines()) == 1
    return message


class TestBadInput:
    """One clear message, no traceback, nothing left behind."""

    def test_a_web_map(self, run, tmp_path):
        layer = QgsRasterLayer("type=xyz&url=file:///nowhere/{z}/{x}/{y}.png", "Streets", "wms")
        message = refused(run, INPUT=layer, OUTPUT=str(tmp_path / "x.tif"))
        assert "'Streets'" in message
        assert "'wms'" in message
        assert "choose a raster file" in message
        assert not list(tmp_path.iterdir())

    def test_a_layer_whose_file_is_gone(self, run, scene, tmp_path):
        copy = tmp_path / "gone.tif"
        copy.write_bytes(Path(scene).read_bytes())
        layer = QgsRasterLayer(str(copy), "Gone")
        copy.unlink()
        message = refused(run, INPUT=layer, OUTPUT=str(tmp_path / "x.tif"))
        assert "gone.tif" in message
        assert not list(tmp_path.iterdir())

    def test_a_raster_in_memory_alone(self, run, tmp_path):
        gdal.GetDriverByName("GTiff").Create("/vsimem/x.tif", 9, 9, 5, gdal.GDT_Float32).FlushCache()
        message = refused(run, INPUT=QgsRasterLayer("/vsimem/x.tif", "Memory"), OUTPUT=str(tmp_path / "x.tif"))
        assert "/vsimem/x.tif" in message

    def test_a_vector(self, run, tmp_path):
        layer = QgsVectorLayer("Point", "Points", "memory")
        with pytest.raises(QgsProcessingException, match="INPUT"):
            run("detect", INPUT=layer, OUTPUT=str(tmp_path / "x.tif"))

    def test_one_band(self, run, tmp_path):
        path = tmp_path / "one.tif"
        gdal.GetDriverByName("GTiff").Create(str(path), 9, 9, 1).FlushCache()
        assert "at least 2" in refused(run, INPUT=str(path), OUTPUT=str(tmp_path / "x.tif"))

    def test_three_bands_without_crs_are_said(self, run, tmp_path):
        path, log = tmp_path / "three.tif", Log()
        dataset = gdal.GetDriverByName("GTiff").Create(str(path), 9, 9, 3, gdal.GDT_Float32)
        dataset.WriteArray(np.random.default_rng(0).normal(size=(3, 9, 9)).astype(np.float32))
        dataset = None
        run("detect", log, INPUT=str(path), DETECTOR="rx", OUTPUT=str(tmp_path / "x.tif"))
        assert any("wavelengths" in line for line in log.lines)
        assert any("georeferenc" in line or "coordinate reference system" in line for line in log.lines)

    def test_an_output_that_is_open(self, run, project, scene, tmp_path):
        out = tmp_path / "x.tif"
        run("detect", INPUT=scene, DETECTOR="rx", OUTPUT=str(out))
        project.addMapLayer(QgsRasterLayer(str(out), "Yesterday's"))
        before = out.read_bytes()
        message = refused(run, INPUT=scene, OUTPUT=str(out))
        assert "is open in this project as the layer 'Yesterday's'" in message
        assert out.read_bytes() == before

    def test_bands_that_are_not_there(self, run, scene, tmp_path):
        assert "9000" in refused(run, INPUT=scene, BANDS="8000-9000", OUTPUT=str(tmp_path / "x.tif"))

    def test_a_folder_that_is_not_there(self, run, scene, tmp_path):
        assert "nowhere" in refused(run, INPUT=scene, OUTPUT=str(tmp_path / "nowhere" / "x.tif"))

    def test_an_extent_elsewhere(self, run, scene, tmp_path):
        message = refused(run, INPUT=scene, EXTENT="0,1,0,1 [EPSG:32633]", OUTPUT=str(tmp_path / "x.tif"))
        assert "outside the scene" in message

    def test_a_model_that_is_none(self, run, scene, tmp_path):
        (tmp_path / "m.hadgeo").write_text("no model")
        with pytest.raises(QgsProcessingException, match=r"m\.hadgeo"):
            run("detectwithmodel", INPUT=scene, MODEL=str(tmp_path / "m.hadgeo"), OUTPUT=str(tmp_path / "x.tif"))
