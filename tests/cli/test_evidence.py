"""Evidence on the command line: from a detection, and from a finished map and its scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    hadgeo.simulate(path, rows=60, cols=50, bands=20, targets=3)
    return path


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def attributes(path: Path) -> dict[str, np.ndarray]:
    meta, _, _, fields = pyogrio.raw.read(path, read_geometry=False)
    return dict(zip(meta["fields"], fields, strict=True))


def test_a_detection_explains_itself(scene: Path, tmp_path: Path) -> None:
    outputs = ("--polygons", tmp_path / "x.gpkg", "--evidence", tmp_path / "x.nc", "--spectra", tmp_path / "spectra")
    run("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif", "--top", "12", *outputs, "-q")
    found = attributes(tmp_path / "x.gpkg")
    with xr.open_dataset(tmp_path / "x.nc", engine="scipy") as evidence:
        assert evidence.id.values.tolist() == found["id"].tolist()
        assert evidence.top_bands.values.astype(str).tolist() == found["bands"].tolist()
        assert evidence.attrs["detector"] == "rx"
        np.testing.assert_array_equal(evidence.pixels, found["pixels"])
        np.testing.assert_allclose(evidence.difference, evidence.spectrum - evidence.expected)
        # RX expects the mean of the scene everywhere.
        assert np.ptp(evidence.expected.values, axis=0).max() < 1e-6
    pictures = sorted(path.name for path in (tmp_path / "spectra").iterdir())
    assert pictures == sorted(f"anomaly_{number}.png" for number in found["id"])
    assert all(text.count("σ") == 5 and "nm" in text for text in found["bands"])


def test_polygons_of_a_map_alone_name_no_bands(scene: Path, tmp_path: Path) -> None:
    scores = hadgeo.detect(scene, "rx", out=tmp_path / "x.tif").path
    run("threshold", scores, "--top", "12", "--polygons", tmp_path / "x.gpkg", "-q")
    assert all(text is None for text in attributes(tmp_path / "x.gpkg")["bands"])
    run("threshold", scores, "--top", "12", "--scene", scene, "--polygons", tmp_path / "y.gpkg", "-q")
    assert all("nm" in text for text in attributes(tmp_path / "y.gpkg")["bands"])


def test_a_model_explains_a_finished_map(scene: Path, tmp_path: Path) -> None:
    hadgeo.train([scene], "rx", out=tmp_path / "m.hadgeo")
    scores = hadgeo.detect(scene, hadgeo.load_model(tmp_path / "m.hadgeo"), out=tmp_path / "x.tif").path
    words = ("threshold", scores, "--top", "5", "--scene", scene, "--model", tmp_path / "m.hadgeo")
    run(*words, "--evidence", tmp_path / "x.nc", "-q")
    with xr.open_dataset(tmp_path / "x.nc", engine="scipy") as evidence:
        assert evidence.attrs["detector"] == "rx"
        assert evidence.attrs["scene"] == scene.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--evidence", "{here}/x.nc"), "add --scene"),
        (("--spectra", "{here}/spectra"), "add --scene"),
        (("--model", "m.hadgeo"), "add --scene"),
        (("--scene", "{here}/none.tif", "--evidence", "{here}/x.nc"), "no such file"),
        (("--scene", "{here}/other.tif", "--evidence", "{here}/x.nc"), "not the grid of"),
        (("--scene", "{scene}", "--evidence", "{here}/x.tif"), "--overwrite"),
        (("--scene", "{scene}", "--evidence", "{here}/none/x.nc"), "does not exist"),
        (("--scene", "{scene}", "--evidence", ""), "name is empty"),
        (("--scene", "{scene}", "--spectra", "{here}"), "not empty"),
        (("--scene", "{scene}", "--model", "{here}/none.hadgeo", "--evidence", "{here}/x.nc"), "no such model"),
    ],
)
def test_what_cannot_be_explained_is_refused(words: tuple[str, ...], message: str, scene: Path, tmp_path: Path) -> None:
    scores = hadgeo.detect(scene, "rx", out=tmp_path / "x.tif").path
    hadgeo.simulate(tmp_path / "other.tif", rows=20, cols=20, bands=20, targets=0)
    before = sorted(tmp_path.rglob("*"))
    filled = [word.format(here=tmp_path, scene=scene) for word in words]
    result = run("threshold", scores, "--top", "5", *filled, "--progress", "none", status=2)
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert sorted(tmp_path.rglob("*")) == before
