"""Another package's detector and format, installed into a fresh environment, are there wherever hadgeo's own are."""

from __future__ import annotations

import csv
import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hadgeo_example.peaks import write_peaks

from hadgeo.detectors.registry import BUILT_IN
from hadgeo.testing import background

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "extension"
ALL = sorted([*BUILT_IN, "local-angle"])
PLACE = Affine.rotation(20) * Affine(2, 0, 500_000, 0, -2, 5_000_000)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a new environment that has the example installed, and sees what hadgeo stands on."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "running.pth").write_text("".join(f"{path}\n" for path in (ROOT, *site.getsitepackages())))
    python = str(folder / "bin" / "python")
    # A copy, since a build may write beside its sources.
    sources = tmp_path_factory.mktemp("sources") / "extension"
    for file in EXAMPLE.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = sources / file.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    # Neither an index nor a download: all that the build needs is there.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--no-build-isolation", str(sources)], check=True)
    return python


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube that hadgeo by itself cannot read, with an anomaly at row 20, column 11."""
    cube = 300 + 100 * background((13, 40, 44))
    cube[::2, 20, 11] += 600
    path = tmp_path_factory.mktemp("scene") / "line.npz"
    wavelength = np.linspace(450, 850, 13)
    np.savez(path, cube=cube.transpose(1, 2, 0), wavelength=wavelength, transform=PLACE[:6], crs="EPSG:32633")
    return path


def run(python: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([python, "-I", *words], capture_output=True, text=True, encoding="utf-8", env=env)


def test_the_command_line_lists_it(python: str) -> None:
    done = run(python, "-m", "hadgeo", "detectors")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^[^\s]+", done.stdout, re.M) == ALL
    assert "Angle to the local mean spectrum" in done.stdout


def test_python_lists_both(python: str) -> None:
    program = "import hadgeo; from hadgeo.formats.registry import list_formats; "
    done = run(python, "-c", program + "print(hadgeo.list_detectors(), list_formats()[0])")
    assert done.stdout.split("] ") == [str(ALL).rstrip("]"), "npz\n"], done.stderr


def test_it_detects_in_a_cube_of_its_own_format(python: str, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.tif"
    done = run(python, "-m", "hadgeo", "detect", str(archive), "-d", "local-angle", "-p", "guard=3", "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert "13 of 13 bands" in done.stderr
    with rasterio.open(out) as dataset:
        scores = dataset.read(1)
        assert dataset.crs.to_epsg() == 32633
        assert dataset.transform.almost_equals(PLACE)
        assert dataset.tags()["HADGEO_DETECTOR"] == "local-angle"
        assert json.loads(dataset.tags()["HADGEO_PARAMETERS"]) == {"guard": 3, "window": 15}
    assert np.argwhere(scores == scores.max()).tolist() == [[20, 11]]
    assert 0 <= scores.min() < scores.max() <= np.pi


def test_the_schema_that_dialogs_are_made_from_describes_it(python: str) -> None:
    done = run(python, "-m", "hadgeo.schema")
    assert done.returncode == 0, done.stderr
    detectors = json.loads(done.stdout)["detectors"]
    assert list(detectors) == ALL
    assert detectors["local-angle"]["parameters"]["guard"]["basic"]
    assert not detectors["local-angle"]["parameters"]["window"]["basic"]


def test_the_product_names_the_highest_pixels(tmp_path: Path) -> None:
    scores = np.arange(600 * 8, dtype=np.float32).reshape(600, 8) % 1009
    scores[300, 3], scores[5, 6], scores[0] = 5000, 4000, np.nan
    path = tmp_path / "scores.tif"
    profile = {"driver": "GTiff", "height": 600, "width": 8, "count": 1, "dtype": "float32", "nodata": np.nan}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=PLACE, **profile) as dataset:
        dataset.write(scores, 1)
    with write_peaks(path, tmp_path / "peaks.csv", count=3).open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["score"]), int(row["row"]), int(row["column"])) for row in rows[:2]] == [
        (5000, 300, 3),
        (4000, 5, 6),
    ]
    assert float(rows[2]["score"]) == 1008
    x, y = PLACE @ (3.5, 300.5)
    assert (float(rows[0]["x"]), float(rows[0]["y"])) == pytest.approx((x, y))


def _blocks() -> list[str]:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return re.findall(r"^```(?:python|toml)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", _blocks())
def test_what_the_page_shows_stands_in_the_example(block: str) -> None:
    files = [*EXAMPLE.rglob("*.py"), *EXAMPLE.rglob("*.toml")]
    assert any(block in file.read_text(encoding="utf-8") for file in files), block


def test_the_page_shows_a_detector_a_format_a_product_and_how_they_are_announced() -> None:
    shown = "\n".join(_blocks())
    for word in (
        "class LocalAngle(",
        "class NpzSource(",
        "def write_peaks(",
        "hadgeo.detectors",
        "NPZ = ",
        "Contract)",
    ):
        assert word in shown
