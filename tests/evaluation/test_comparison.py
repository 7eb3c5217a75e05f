"""Several detectors on one scene: order, maps, and what is refused before the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import hadgeo
from hadgeo.errors import OutputError, ParameterError, TruthError
from hadgeo.evaluation.comparison import Contender, compare
from hadgeo.evaluation.evaluate_maps import evaluate

RX, SHRUNK = Contender("rx", {}), Contender("rx", {"shrinkage": "0.5"})
SHORT = Contender("bs3lnet", {"steps": "2", "crop": "16"})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "line.tif"
    hadgeo.simulate(path, rows=48, cols=48, bands=24, targets=5, seed=2)
    return path


@pytest.fixture(scope="module")
def truth(scene: Path) -> Path:
    return scene.with_name("line_truth.tif")


def test_the_best_comes_first_and_its_map_is_kept(scene: Path, truth: Path, tmp_path: Path) -> None:
    board = compare(scene, truth, [SHORT, RX, SHRUNK], folder=tmp_path, resamples=10)
    areas = [entry.evaluation.values["auc_d_f"] for entry in board]
    assert areas == sorted(areas, reverse=True)
    assert {entry.contender.label for entry in board} == {"bs3lnet:steps=2,crop=16", "rx", "rx:shrinkage=0.5"}
    names = {"line_bs3lnet_steps=2_crop=16.tif", "line_rx.tif", "line_rx_shrinkage=0.5.tif"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for entry in board:
        again = evaluate(entry.evaluation.scores, truth, resamples=10)
        assert again.to_dict() == entry.evaluation.to_dict()
        assert sum(entry.seconds.values()) > 0
        with rasterio.open(entry.evaluation.scores) as dataset:
            assert dataset.tags()["HADGEO_DETECTOR"] == entry.contender.name


def test_without_a_folder_nothing_stays(scene: Path, truth: Path) -> None:
    before = sorted(scene.parent.iterdir())
    (entry,) = compare(scene, truth, [RX], resamples=0)
    assert not entry.evaluation.scores.exists()
    assert sorted(scene.parent.iterdir()) == before


def test_mistakes_are_refused_before_any_map_is_made(scene: Path, truth: Path, tmp_path: Path) -> None:
    background = tmp_path / "background.tif"
    with rasterio.open(truth) as dataset, rasterio.open(background, "w", **dataset.profile) as out:
        out.write(np.zeros((1, *dataset.shape), np.uint8))
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "line_rx_shrinkage=0.5.tif").write_bytes(b"the map of yesterday")
    for words, kind, arguments in (
        ("-d rx is given twice", ParameterError, (truth, [RX, RX])),
        ("no detector to compare", ParameterError, (truth, [])),
        ("shrinkage must be a number", ParameterError, (truth, [RX, Contender("rx", {"shrinkage": "7"})])),
        ("no target lies within", TruthError, (background, [RX])),
        ("5.tif exists", OutputError, (truth, [RX, SHRUNK])),
    ):
        with pytest.raises(kind, match=words):
            compare(scene, *arguments, folder=maps)
    assert [path.name for path in maps.iterdir()] == ["line_rx_shrinkage=0.5.tif"]


def test_a_map_never_replaces_the_truth(scene: Path, truth: Path, tmp_path: Path) -> None:
    clash = tmp_path / "line_rx.tif"
    clash.write_bytes(truth.read_bytes())
    with pytest.raises(OutputError, match="is the truth itself"):
        compare(scene, clash, [RX], folder=tmp_path, overwrite=True)
    assert clash.read_bytes() == truth.read_bytes()
