"""scikit-learn is needed to fit some detectors, and for nothing else."""

from __future__ import annotations

import sys
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import hadgeo
from hadgeo.detectors.registry import fittable_detectors, make_detector, usable_detectors
from hadgeo.errors import ExtensionWarning, MissingExtraError
from hadgeo.sampling import Sample, Scene
from tests.support import background, memory_source

FITTED_BY_SKLEARN = [name for name, cls in usable_detectors().items() if cls.fitted_by == "sklearn"]


def scores_in(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture
def without_sklearn(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)


def test_these_are_fitted_by_it() -> None:
    assert FITTED_BY_SKLEARN == ["cluster_rx", "isolation_forest"]


@pytest.mark.parametrize("name", FITTED_BY_SKLEARN)
@pytest.mark.usefixtures("without_sklearn")
def test_a_missing_library_is_named_with_its_cure(readers: Executor, name: str) -> None:
    scene = background((5, 20, 20))
    sample = Sample(Scene(memory_source(scene), range(5)), executor=readers, device=torch.device("cpu"))
    with pytest.raises(MissingExtraError, match=rf'{name}: .*pip install "hadgeo\[sklearn\]"'):
        make_detector(name).fit(sample, device=torch.device("cpu"))


@pytest.mark.parametrize("name", FITTED_BY_SKLEARN)
def test_a_model_scores_without_the_library(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    hadgeo.simulate(tmp_path / "line.tif", rows=30, cols=30, bands=8, targets=2)
    hadgeo.train([tmp_path / "line.tif"], name, out=tmp_path / "model.hadgeo")
    hadgeo.detect(tmp_path / "line.tif", name, out=tmp_path / "fitted.tif")
    request.getfixturevalue("without_sklearn")
    hadgeo.detect(tmp_path / "line.tif", hadgeo.load_model(tmp_path / "model.hadgeo"), out=tmp_path / "loaded.tif")
    fitted, loaded = (scores_in(tmp_path / f"{which}.tif") for which in ("fitted", "loaded"))
    np.testing.assert_array_equal(fitted, loaded)


def test_a_comparison_of_all_leaves_out_what_cannot_be_fitted(request: pytest.FixtureRequest) -> None:
    assert fittable_detectors() == list(usable_detectors())
    request.getfixturevalue("without_sklearn")
    with pytest.warns(ExtensionWarning, match=r'cluster_rx, .*isolation_forest.* pip install "hadgeo\[sklearn\]"'):
        left = fittable_detectors()
    assert left == [name for name in usable_detectors() if name not in FITTED_BY_SKLEARN]
