"""The slider's numbers: those of `hadgeo threshold`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import BACKEND, worker
from hadgeo_qgis.review import rates
from hadgeo_qgis.review.threshold_style import ThresholdStyle
from osgeo import gdal
from qgis.core import QgsRasterLayer, QgsSingleBandGrayRenderer

gdal.UseExceptions()


#: What `hadgeo threshold` prints, for one rate after the other: a process for each takes its time.
_PROGRAM = """
import json, sys
from hadgeo.decisions.decision import Rule, decide
scores, *rates = sys.argv[1:]
print(json.dumps([decide(scores, Rule(pfa=float(rate))).facts() for rate in rates]))
"""


def decided(scores, *rates):
    """What the backend says of a map at some rates."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    command = [BACKEND, "-I", "-c", _PROGRAM, str(scores), *map(repr, rates)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(read, rate, told):
    threshold = read.threshold(rate)
    assert threshold == pytest.approx(told["threshold"], rel=1e-6)
    assert read.count == told["valid_pixels"]
    assert (read.pixels(threshold), read.objects(threshold)) == (told["pixels"], told["groups"])
    assert read.expected_false_alarms(threshold) == pytest.approx(told["expected_false_alarms"], rel=1e-5)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """A map whose tail is fitted from several starts, and in which some objects have many pixels."""
    folder = tmp_path_factory.mktemp("larger")
    worker("simulate", out=str(folder / "x.tif"), rows=200, cols=150, bands=20, targets=12, seed=4)
    worker("detect", scenes=[str(folder / "x.tif")], detector="rx", output=str(folder / "x_anomaly.tif"))
    return folder / "x_anomaly.tif"


@pytest.fixture(scope="module")
def tail(larger):
    """The facts of its tail."""
    return decided(larger, 1e-2)[0]["tail"]


def test_every_rate_has_the_numbers_of_the_backend(larger, tail):
    assert tail["further"]
    read = rates.read_rates(str(larger), lambda _: tail)
    chosen = [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2.4e-3, 1e-2]
    for rate, told in zip(chosen, decided(larger, *chosen)):
        check(read, rate, told)


@pytest.mark.parametrize("kind", ["ties", "plain", "holes", "bright"])
def test_maps_that_are_no_textbook_have_them_too(tmp_path, kind):
    rng = np.random.default_rng(3)
    scores = rng.exponential(size=(120, 100)).astype(np.float32)
    if kind == "ties":
        scores = np.round(scores, 1)
    elif kind == "plain":
        scores = np.digitize(scores, [2, 4]).astype(np.float32)
    elif kind == "bright":
        # A few pixels far beyond a tail that ends.
        scores = rng.normal(10, 1, size=scores.shape).astype(np.float32)
        scores[::40, 7] = 1e4
    else:
        scores[:40] = np.nan
    dataset = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "x.tif"), 100, 120, 1, gdal.GDT_Float32)
    dataset.GetRasterBand(1).WriteArray(scores)
    dataset = None
    chosen = [1e-3, 5e-3, 1e-2]
    answers = decided(tmp_path / "x.tif", *chosen)
    assert (answers[0]["tail"] is None) == (kind == "plain")
    read = rates.read_rates(str(tmp_path / "x.tif"), lambda _: answers[0]["tail"])
    for rate, told in zip(chosen, answers):
        check(read, rate, told)


def test_a_tail_comes_from_the_manifest_of_that_very_map(larger, tail, tmp_path):
    written = str(tmp_path / "x.gpkg")
    worker("threshold", scores=str(larger), pfa=1e-3, polygons=written)
    scores = Path(larger)
    facts = rates.tail_in_manifest(tmp_path / "x.json", scores)
    assert facts == tail
    largest = np.sort(gdal.Open(str(larger)).ReadAsArray().ravel())
    assert rates.belongs(facts, largest)
    # The same name, and other scores.
    assert not rates.belongs(facts, largest * np.float32(1.1))
    assert rates.tail_in_manifest(tmp_path / "x.json", scores.with_name("other.tif")) is None
    assert rates.tail_in_manifest(tmp_path / "nothing.json", scores) is None
    (tmp_path / "list.json").write_text(json.dumps([1]))
    assert rates.tail_in_manifest(tmp_path / "list.json", scores) is None


def test_only_rates_that_the_kept_scores_tell_are_offered(larger, tail, monkeypatch):
    whole = rates.read_rates(str(larger), lambda _: tail)
    assert (whole.lowest_rate(), whole.highest_rate()) == (1e-6, 1e-2)
    monkeypatch.setattr(rates, "KEPT", 100)
    part = rates.read_rates(str(larger), lambda _: tail)
    assert part.highest_rate() == pytest.approx(99 / 30000)
    assert part.objects(part.threshold(1e-3)) is None
    for rate in (1e-5, 1e-3, 3e-3):
        assert part.threshold(rate) == whole.threshold(rate)
        assert part.pixels(part.threshold(rate)) == whole.pixels(whole.threshold(rate))
    assert rates.read_rates(str(larger), lambda _: None).lowest_rate() == pytest.approx(1 / 30000)


def test_what_is_no_map_of_scores_is_told(larger, tmp_path):
    with pytest.raises(rates.RatesError, match="not a map of scores"):
        rates.read_rates(str(tmp_path / "nothing.tif"), lambda _: None)
    scene = larger.with_name("x.tif")
    with pytest.raises(rates.RatesError, match="not a map of scores"):
        rates.read_rates(str(scene), lambda _: None)
    empty = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "e.tif"), 9, 9, 1, gdal.GDT_Float32)
    empty.GetRasterBand(1).WriteArray(np.full((9, 9), np.nan, dtype=np.float32))
    empty = None
    with pytest.raises(rates.RatesError, match="no pixel"):
        rates.read_rates(str(tmp_path / "e.tif"), lambda _: None)
    with pytest.raises(rates.Cancelled):
        rates.read_rates(str(larger), lambda _: None, lambda: True)


def test_pixels_that_touch_have_one_label():
    picture = np.array([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]])
    row, col = np.nonzero(picture)
    labels = rates.connected(row * 6 + col, 6)
    groups = sorted(sorted(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels))
    assert groups == [[0, 3, 4], [1, 2], [5, 6, 7], [8]]
    # A long way around, and much of it.
    snake = np.zeros((99, 99), dtype=bool)
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    row, col = np.nonzero(snake)
    assert not rates.connected(row * 100 + col, 100).any()
    assert len(rates.connected(np.empty(0, dtype=int), 5)) == 0


def test_the_style_shows_a_threshold_and_gives_the_layers_own_back(qgis_app, larger, tmp_path):
    shutil.copy(larger, tmp_path / "x.tif")
    layer = QgsRasterLayer(str(tmp_path / "x.tif"), "scores")
    own = layer.renderer().type()
    style = ThresholdStyle(layer)
    scores = np.sort(gdal.Open(str(larger)).ReadAsArray().ravel())
    threshold = float(scores[-30])
    style.show(threshold, float(scores[100]), float(scores[-1]))
    shader = layer.renderer().shader().rasterShaderFunction()

    def colour(score):
        return shader.shade(float(score))[1:4]

    assert all(colour(score)[0] - colour(score)[2] > 150 for score in scores[-30:])
    assert all(abs(int(colour(score)[0]) - colour(score)[2]) < 30 for score in scores[:-30:500])
    assert abs(int(colour(scores[-31])[0]) - colour(scores[-31])[2]) < 30
    style.show(threshold * 1.1, 0.0, float(scores[-1]))
    style.restore()
    assert layer.renderer().type() == own != "singlebandpseudocolor"
    # What the user chooses meanwhile stays.
    style.show(threshold, 0.0, float(scores[-1]))
    layer.setRenderer(QgsSingleBandGrayRenderer(layer.dataProvider(), 1))
    style.release()
    assert layer.renderer().type() == "singlebandgray"
