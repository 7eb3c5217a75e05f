"""``--precision`` says in what networks multiply, and maps, models and manifests say what it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
from click.testing import CliRunner, Result
from rasterio.transform import from_origin

import hadgeo
from hadgeo.cli import cli
from hadgeo.compute.device import fast_dtype
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import OutputError
from hadgeo.run import engine

FAST = ["-d", "bs3lnet", "-p", "steps=2", "-p", "crop=16", "-p", "channels=8", "--quiet"]


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def line(tmp_path: Path) -> Path:
    hadgeo.simulate(tmp_path / "line.img", rows=40, cols=36, bands=10, targets=2)
    return tmp_path / "line.img"


def map_of(path: Path) -> tuple[npt.NDArray[np.float32], dict[str, str]]:
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.tags()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_map_and_its_manifest_say_the_precision(line: Path, precision: str) -> None:
    out = line.with_name("map.tif")
    run("detect", line, "-o", out, *FAST, "--precision", precision)
    _, tags = map_of(out)
    assert tags["HADGEO_PRECISION"] == precision
    assert json.loads(tags["HADGEO_PARAMETERS"])["precision"] == precision
    facts = json.loads(out.with_suffix(".json").read_text())["facts"]
    assert facts["precision"] == precision


def test_by_default_it_is_what_the_hardware_multiplies_in(line: Path) -> None:
    out = line.with_name("map.tif")
    run("detect", line, "-o", out, *FAST)
    assert map_of(out)[1]["HADGEO_PRECISION"] == str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")


def test_the_parts_of_a_fusion_take_it_over_unless_they_have_their_own(line: Path) -> None:
    parts = "bs3lnet(steps=2, crop=16) + bs3lnet(steps=2, crop=16, precision=float32) + rx"
    detector = make_detector("fusion", {"parts": parts, "precision": "bfloat16"})
    assert [part.params.precision for part in detector.detectors_[:2]] == ["bfloat16", "float32"]
    found = hadgeo.detect(line, detector, out=line.with_name("map.tif"))
    assert map_of(found.path)[1]["HADGEO_PRECISION"] == "bfloat16, float32"


def test_a_detector_that_multiplies_in_one_precision_alone_has_none(line: Path) -> None:
    out = line.with_name("map.tif")
    run("detect", line, "-o", out, "-d", "utd", "--precision", "float32", "--quiet")
    assert "HADGEO_PRECISION" not in map_of(out)[1]


@pytest.mark.parametrize(("noise", "precision"), [(1e-2, "float32"), (1e-5, "float64")])
def test_rx_chooses_by_its_covariance_and_says_so(tmp_path: Path, noise: float, precision: str) -> None:
    # Bands that are alike but for noise: what is left of them is amplified by one divided by it.
    random = np.random.default_rng(0)
    shared = random.normal(size=(1, 40, 36))
    cube = (shared + noise * random.normal(size=(8, 40, 36))).astype(np.float64)
    scene, model, out = tmp_path / "line.tif", tmp_path / "m.hadgeo", tmp_path / "map.tif"
    shape = {"count": 8, "height": 40, "width": 36, "transform": from_origin(5e5, 5e6, 4, 4)}
    with rasterio.open(scene, "w", driver="GTiff", dtype="float64", crs="EPSG:32632", **shape) as dataset:
        dataset.write(cube)
    run("train", scene, "-d", "rx", "-o", model, "--quiet")
    assert json.loads(run("model", "info", model, "--json").stdout)["precision"] == precision
    run("detect", scene, "--model", model, "-o", out, "--quiet")
    scores, tags = map_of(out)
    assert tags["HADGEO_PRECISION"] == precision
    x = cube.reshape(8, -1).T - cube.reshape(8, -1).T.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", x, np.linalg.inv(np.cov(x.T)), x)
    np.testing.assert_allclose(scores.ravel(), expected, rtol=1e-4)


def test_it_is_fixed_in_a_model(line: Path) -> None:
    model, out = line.with_name("m.hadgeo"), line.with_name("map.tif")
    run("train", line, "-o", model, *FAST, "--precision", "float32")
    told = json.loads(run("model", "info", model, "--json").stdout)
    assert (told["precision"], told["parameters"]["precision"]) == ("float32", "float32")
    refused = run("detect", line, "--model", model, "-o", out, "--precision", "bfloat16", status=2)
    assert "--precision is fixed in a model" in refused.output
    run("detect", line, "--model", model, "-o", out, "--quiet")
    assert map_of(out)[1]["HADGEO_PRECISION"] == "float32"


def test_it_changes_a_map_by_no_more_than_a_rounding(line: Path) -> None:
    maps = []
    for precision in ("float32", "bfloat16"):
        detector = make_detector("bs3lnet", {"steps": 5, "crop": 16, "precision": precision})
        maps.append(map_of(hadgeo.detect(line, detector, out=line.with_name(f"{precision}.tif")).path)[0])
    assert not np.array_equal(*maps)
    np.testing.assert_allclose(maps[1], maps[0], rtol=0.2)


def test_windows_of_another_precision_are_not_mixed_into_a_map(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = line.with_name("map.tif")
    parameters = {"steps": 2, "crop": 16, "channels": 8}

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for hardware in (torch.bfloat16, torch.float32):
        monkeypatch.setattr("hadgeo.detectors.precision.fast_dtype", lambda _, hardware=hardware: hardware)
        with monkeypatch.context() as context:
            if hardware is torch.bfloat16:
                context.setattr(engine, "finish", stopped)
                with pytest.raises(KeyboardInterrupt):
                    hadgeo.detect(line, "bs3lnet", parameters=parameters, out=out, window=16, then=lambda _: None)
            else:
                with pytest.raises(OutputError, match="precision"):
                    hadgeo.detect(line, "bs3lnet", parameters=parameters, out=out, window=16, resume=True)
