"""What a command loads before it is at work: torch, xarray and SciPy's statistics take a second each or nearly so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hadgeo

_RUN = """
import json, sys
from hadgeo.cli import cli
cli(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, its truth and its scores."""
    folder = tmp_path_factory.mktemp("start")
    hadgeo.simulate(folder / "line.tif", rows=40, cols=50, bands=20, targets=3)
    hadgeo.detect(folder / "line.tif", "rx", out=folder / "scores.tif")
    return folder


@pytest.mark.parametrize(
    ("command", "not_loaded"),
    [
        ("info line.tif", {"torch", "xarray", "dask", "sklearn", "matplotlib", "scipy"}),
        ("threshold scores.tif --pfa 1e-2", {"torch", "xarray", "dask", "sklearn", "matplotlib"}),
        ("evaluate scores.tif line_truth.tif", {"torch", "xarray", "dask", "sklearn", "matplotlib"}),
        ("quicklook line.tif scores.tif -o look.png", {"torch", "xarray", "dask", "sklearn"}),
        ("detect line.tif -d rx -o again.tif", {"xarray", "dask", "sklearn", "matplotlib"}),
    ],
)
def test_a_command_loads_only_what_it_uses(made: Path, command: str, not_loaded: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *command.split()], cwd=made, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "hadgeo" in loaded
    assert not sorted(loaded & not_loaded)


_UNTIL_TOLD = """
import sys
from hadgeo.cli import cli
from hadgeo.cli.reporting import JsonLines

def told(self, text):
    print(text, [name for name in ("torch", "scipy", "dask") if name in sys.modules])
    sys.exit()

JsonLines.message = told
cli(sys.argv[1:], standalone_mode=False)
"""


@pytest.mark.parametrize("command", ["detect line.tif", "detect line.tif --model m.hadgeo"])
def test_detection_says_what_it_has_opened_before_it_loads_torch(made: Path, command: str) -> None:
    model = made / "m.hadgeo"
    if not model.exists():
        hadgeo.train(made / "line.tif", "rx", out=model)
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_TOLD, *command.split(), "--progress", "json"],
        cwd=made,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "line.tif: 40 x 50 pixels, 20 bands []\n"
