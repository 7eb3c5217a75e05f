"""A command opens its scene once, whatever it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import hadgeo
from hadgeo.cli import cli
from hadgeo.formats.envi import EnviSource


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "line.img"
    hadgeo.simulate(path, rows=40, cols=30, bands=12, targets=4, seed=2)
    return path


@pytest.fixture
def opened(scene: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the ENVI cubes that were opened since."""
    names: list[str] = []
    original = EnviSource.__init__

    def counted(self: EnviSource, path: str, *args: object, **options: object) -> None:
        names.append(Path(path).name)
        original(self, path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(EnviSource, "__init__", counted)
    return names


def test_every_command_opens_its_scene_once(scene: Path, opened: list[str], tmp_path: Path) -> None:
    scores, anomalies, model = tmp_path / "scores.tif", tmp_path / "a.gpkg", tmp_path / "m.hadgeo"
    products = ["--polygons", anomalies, "--evidence", tmp_path / "e.nc", "--p-values", tmp_path / "p.tif"]
    some = [500000, 0, 500030, 9000000]
    commands = [
        ["info", scene, "--no-trial"],
        ["detect", scene, "-d", "rx", "-o", scores, "--top", "5", *products],
        ["detect", scene, "-d", "rx", "-o", tmp_path / "part.tif", "--extent", *some],
        ["train", scene, "-d", "rx", "-o", model],
        ["detect", scene, "--model", model, "-o", tmp_path / "again.tif", "--north-up"],
        ["threshold", scores, "--top", "5", "--scene", scene, "--evidence", tmp_path / "e2.nc"],
        ["quicklook", scene, scores, "-o", tmp_path / "q.png", "--polygons", anomalies],
        ["compare", scene, "--truth", tmp_path / "line_truth.tif", "-d", "rx,rx:shrinkage=0.1", "--bootstrap", "0"],
        ["batch", scene, "-o", tmp_path / "maps", "--model", model],
    ]
    for command in commands:
        opened.clear()
        result = CliRunner().invoke(cli, [str(part) for part in command], catch_exceptions=False)
        assert result.exit_code == 0, (command[0], result.output)
        # A batch shows all lines in one picture when the last one is done, and opens them anew for that.
        assert opened == ["line.img"] * (1 + (command[0] == "batch")), command[0]
