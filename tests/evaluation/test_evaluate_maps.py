"""A map against a truth: figures, area, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from pyproj import Geod
from sklearn.metrics import roc_auc_score

import hadgeo
from hadgeo.errors import TruthError
from hadgeo.evaluation.evaluate_maps import Evaluation, evaluate, labels, pixels_km2
from hadgeo.grid import Grid
from hadgeo.maps.reader import ScoreMap
from tests.evaluation.test_truth import PLACED, SHAPE, outline, polygons, targets, write


def score_map(folder: Path, name: str = "map.tif") -> tuple[Path, npt.NDArray[np.float32]]:
    """Noise, somewhat higher on targets, with a hole."""
    scores = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32) + 2 * targets()
    scores[20:25, :10] = np.nan
    return write(folder / name, scores, nodata=np.nan, **PLACED), scores


def test_the_published_map_of_hydice(data_dir: Path) -> None:
    done = evaluate(data_dir / "scoread/HYDICE_ScoreAD_result.mat", data_dir / "truth/HYDICE_norm_ScoreAD.mat")
    found = {key: done.values[key] for key in ("auc_d_f", "auc_d_tau", "auc_f_tau", "ap")}
    assert found == pytest.approx(
        {"auc_d_f": 0.99960, "auc_d_tau": 0.5572, "auc_f_tau": 0.0791, "ap": 0.8955}, abs=5e-5
    )
    assert (done.targets, done.background, done.objects.objects) == (19, 7981, 9)
    assert done.area_km2 is None


def test_unknown_pixels_and_pixels_without_a_score_are_left_out(tmp_path: Path) -> None:
    path, scores = score_map(tmp_path)
    truth = targets()
    truth[:4] = 255
    done = evaluate(path, write(tmp_path / "truth.tif", truth, nodata=255, **PLACED), resamples=0)
    known = np.isfinite(scores) & (truth != 255)
    assert done.values["auc_d_f"] == pytest.approx(roc_auc_score(truth[known], scores[known]))
    assert done.targets == (truth[known] == 1).sum()
    assert done.background == (truth[known] == 0).sum()
    assert done.left_out == (~known).sum()
    assert done.area_km2 == pytest.approx(known.sum() * 4 / 1e6)
    assert done.intervals == {}


def test_polygons_and_their_raster_give_the_same_figures(tmp_path: Path) -> None:
    path, _ = score_map(tmp_path)
    shapes = [outline(5.01, 7.01, 3.98, 4.98), outline(30.01, 40.01, 2.98, 3.98)]
    one = evaluate(path, polygons(tmp_path / "truth.gpkg", shapes), resamples=20)
    other = evaluate(path, write(tmp_path / "truth.tif", targets(), **PLACED), resamples=20)
    assert one.to_dict() | {"truth": ""} == other.to_dict() | {"truth": ""}
    assert one.objects.objects == 2
    assert "rest on only 2 objects" in one.notes()[0]


def test_a_simulated_scene_with_its_truth(tmp_path: Path) -> None:
    hadgeo.simulate(tmp_path / "line.img", rows=60, cols=60, bands=24, targets=5, seed=1, rotation=20, wedges=0.2)
    made = hadgeo.detect(tmp_path / "line.img", "rx", out=tmp_path / "map.tif")
    done = evaluate(made.path, tmp_path / "line_truth.tif")
    assert done.targets + done.background == made.valid
    assert done.left_out == 3600 - made.valid
    assert done.values["auc_d_f"] > 0.9
    low, high = done.intervals["auc_d_f"]
    assert low <= done.values["auc_d_f"] <= high


@pytest.mark.parametrize(("value", "words"), [(0, "no target pixel has a score"), (1, "every pixel with a score is a")])
def test_a_truth_of_one_class_names_both_files(value: int, words: str, tmp_path: Path) -> None:
    path, _ = score_map(tmp_path)
    truth = write(tmp_path / "truth.tif", np.full(SHAPE, value, np.uint8), **PLACED)
    with pytest.raises(TruthError, match=rf"truth\.tif on .*map\.tif: {words}"):
        evaluate(path, truth)


def test_area_in_metres_feet_and_degrees() -> None:
    def area(crs: str, transform: Affine, shape: tuple[int, int] = (300, 200)) -> float | None:
        grid = Grid(shape, rasterio.CRS.from_string(crs), transform)
        return pixels_km2(ScoreMap(Path("m"), grid), grid.pixels)

    rotated = Affine.rotation(30) * Affine.scale(2, -2)
    assert area("EPSG:32633", rotated) == pytest.approx(300 * 200 * 4 / 1e6)
    assert area("EPSG:2227", rotated) == pytest.approx(300 * 200 * 4 * (1200 / 3937) ** 2 / 1e6)
    # Half a degree by a third, at 60 degrees north.
    ring = [(13, 60), (13 + 1 / 3, 60), (13 + 1 / 3, 59.5), (13, 59.5)]
    whole, _ = Geod(ellps="WGS84").polygon_area_perimeter(*zip(*ring, strict=True))
    assert area("EPSG:4326", Affine(1 / 600, 0, 13, 0, -1 / 600, 60)) == pytest.approx(abs(whole) / 1e6, rel=1e-3)
    assert pixels_km2(ScoreMap(Path("m"), Grid((3, 2))), 6) is None


def test_figures_are_plain_json(tmp_path: Path) -> None:
    path = write(tmp_path / "map.tif", np.full(SHAPE, 3, np.float32), **PLACED)
    done = evaluate(path, write(tmp_path / "truth.tif", targets(), **PLACED), resamples=5).to_dict()
    assert json.loads(json.dumps(done, allow_nan=False)) == done
    # All scores are equal: 0 / 0.
    assert done["metrics"]["auc_snpr"]["value"] is None
    assert done["metrics"]["auc_d_f"]["value"] == 0.5


def test_labels_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    truth, second = (write(tmp_path / name, targets(), **PLACED) for name in ("cars.tif", "roofs.tif"))
    path, _ = score_map(tmp_path)
    twin, _ = score_map(tmp_path / "other")

    def named(*pairs: tuple[Path, Path]) -> list[str]:
        done: list[Evaluation] = [evaluate(*pair, resamples=0) for pair in pairs]
        return labels(done)

    assert named((path, truth)) == ["map"]
    assert named((path, truth), (path, second)) == ["map / cars", "map / roofs"]
    assert named((path, truth), (twin, truth)) == [str(path), str(twin)]
