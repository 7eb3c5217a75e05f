"""What `evaluate` and `compare` make of bad input: one clear line, the right exit status, a folder as it was before."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scipy.io
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from tests.cli.test_bad_input import Bad, assert_one_line, background, check, cut, listing, run, write_tiff

SHAPE = (30, 20)


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good map, scene and truth, and every bad one."""
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1, *SHAPE)).astype(np.float32)
    truth = np.zeros((1, *SHAPE), np.uint8)
    truth[0, 10:13, 5:8] = 1
    write_tiff(folder / "scene.tif", background((8, *SHAPE)))
    write_tiff(folder / "map.tif", scores, tags={})
    write_tiff(folder / "truth.tif", truth, tags={})
    (folder / "existing.png").write_bytes(b"somebody's work")
    (folder / "folder").mkdir()
    (folder / "notes.txt").write_text("no raster\nat all\n")
    (folder / "notes.gpkg").write_text("no layer\nat all\n")
    (folder / "notes.mat").write_text("no arrays\nat all\n")
    (folder / "nothing.tif").write_bytes(b"")

    write_tiff(folder / "two.tif", np.concatenate([scores, scores]), tags={})
    write_tiff(folder / "none.tif", np.full_like(scores, np.nan), tags={}, nodata=np.nan)
    write_tiff(folder / "complex.tif", scores.astype(np.complex64), tags={})
    write_tiff(folder / "background.tif", np.zeros_like(truth), tags={})
    write_tiff(folder / "targets.tif", np.ones_like(truth), tags={})
    write_tiff(folder / "unknown.tif", np.full_like(truth, 255), tags={}, nodata=255)
    write_tiff(folder / "whole.tif", rng.normal(size=(1, 300, 200)).astype(np.float32), tags={}, compress="lzw")
    cut(folder / "whole.tif", folder / "damaged.tif", 0.5)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 29, "width": 20}
    far = {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 100, 0, -1e-5, 50)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for name, place in (("shape.tif", {}), ("far.tif", far)):
            with rasterio.open(folder / name, "w", **profile, **place) as dataset:
                dataset.write(truth[:, 1:])
    scipy.io.savemat(folder / "shape.mat", {"map": truth[0, 1:]})
    scipy.io.savemat(folder / "no_truth.mat", {"scores": scores[0]})
    scipy.io.savemat(folder / "two.mat", {"a": scores[0], "b": scores[0]})
    ring = '{"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [1, 0]]]}'
    (folder / "open.geojson").write_text(f'{{"type": "Feature", "properties": {{}}, "geometry": {ring}}}')
    (folder / "latin.geojson").write_bytes(b'{"type": "\xe6"}')
    (folder / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    return folder


@pytest.fixture
def here(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, as the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    for item in maps.iterdir():
        if item.is_dir():
            (folder / item.name).mkdir()
        else:
            (folder / item.name).write_bytes(item.read_bytes())
    monkeypatch.chdir(folder)
    return folder


BAD_MAPS = [
    Bad("gone.tif", ("gone.tif", "no such score map", "hadgeo detect")),
    Bad("folder", ("folder", "not a raster")),
    Bad("notes.txt", ("notes.txt", "not a raster", "give a score map")),
    Bad("notes.mat", ("notes.mat", "not a readable MATLAB file", "copy or save it again")),
    Bad("nothing.tif", ("nothing.tif", "not a raster")),
    Bad("two.tif", ("two.tif", "2 bands, but a score map has one", "hadgeo detect")),
    Bad("two.mat", ("two.mat", "2 arrays that could be a score map", "save only the map")),
    Bad("complex.tif", ("complex.tif", "complex64", "real numbers")),
    Bad("none.tif", ("truth.tif on none.tif", "no target pixel has a score", "truth of this map?")),
]

BAD_TRUTHS = [
    Bad("gone.tif", ("gone.tif", "no such truth", "check the path")),
    Bad("folder", ("folder", "not a raster")),
    Bad("notes.txt", ("notes.txt", "not a raster", "give a raster, .mat or polygons")),
    Bad("notes.gpkg", ("notes.gpkg", "not a vector file", "give polygons or a raster")),
    Bad("notes.mat", ("notes.mat", "not a readable MATLAB file")),
    Bad("no_truth.mat", ("no_truth.mat", "no 2-D array called map", "scores 30x20")),
    Bad("scene.tif", ("scene.tif", "8 bands, but a truth has one", "the scene itself?")),
    Bad("shape.tif", ("shape.tif", "29 x 20 pixels", "has 30 x 20", "not georeferenced", "give")),
    Bad("shape.mat", ("shape.mat", "29 x 20 pixels", "has 30 x 20", "give")),
    Bad("far.tif", ("far.tif", "does not overlap", "check both CRS")),
    Bad("background.tif", ("background.tif", "no target", "is this the truth of this")),
    Bad("unknown.tif", ("unknown.tif", "no target", "is this the truth of this")),
    Bad("empty.geojson", ("empty.geojson", "contains no geometry", "give the truth of this map")),
    Bad("open.geojson", ("open.geojson", "its geometries are damaged", "repair them")),
    Bad("latin.geojson", ("latin.geojson", "not a vector file", "give polygons or a raster")),
    Bad("damaged.tif", ("damaged.tif", "damaged", "copy it again"), 1),
]

BAD_PLOTS = [
    Bad("existing.png", ("existing.png exists", "--overwrite", "--plot to write elsewhere")),
    Bad("map.tif", ("map.tif: the name of a plot must end in .png, .svg, .pdf", "--plot")),
    Bad("roc", ("roc: the name of a plot must end in .png", "--plot")),
    Bad("nowhere/roc.png", ("nowhere/roc.png", "does not exist; create it first", "--plot")),
    Bad("existing.png/roc.png", ("existing.png is a file", "--plot")),
    Bad(f"{'x' * 250}.png", ("the name is too long", "--plot")),
]

BAD_USAGE = [
    Bad("evaluate", ("Missing argument 'SCORES'", "hadgeo evaluate --help")),
    Bad("evaluate map.tif", ("nothing to compare the map with", "give a TRUTH, or --verdicts")),
    Bad("evaluate map.tif --verdicts gone.csv", ("gone.csv", "no such review")),
    Bad("evaluate map.tif truth.tif --bootstrap -1", ("--bootstrap", "-1 is not in the range")),
    Bad("evaluate map.tif targets.tif", ("targets.tif on map.tif", "every pixel with a score is a target")),
    Bad("evaluate map.tif truth.tif --map gone.tif", ("gone.tif", "no such score map")),
    Bad("evaluate map.tif truth.tif gone.tif", ("gone.tif", "no such truth")),
    Bad("evaluate damaged.tif truth.tif", ("damaged.tif", "damaged", "recreate it"), 1),
    Bad("compare scene.tif", ("Missing option '--truth'", "hadgeo compare --help")),
    Bad("compare gone.tif --truth truth.tif", ("gone.tif", "no such file", "check the path")),
    Bad("compare map.tif --truth truth.tif -d rx -q", ("map.tif", "1 of 1 bands", "at least 2")),
    Bad("compare scene.tif --truth truth.tif -d rx,xr", ("'xr'", "did you mean 'rx'?")),
    Bad("compare scene.tif --truth truth.tif -d rx,", ("'' is not of the form NAME",)),
    Bad("compare scene.tif --truth truth.tif -d rx:", ("'rx:' is not of the form NAME or NAME:KEY=VALUE",)),
    Bad("compare scene.tif --truth truth.tif -d steps=3", ("'steps=3' is not of the form NAME",)),
    Bad("compare scene.tif --truth truth.tif -d rx:stps=3", ("no parameter 'stps'", "hadgeo detectors rx")),
    Bad("compare scene.tif --truth truth.tif -d rx,rx", ("rx is given twice", "omit one")),
    Bad("compare scene.tif --truth truth.tif -d rx --device gpu", ("--device gpu", "write auto, cpu")),
]


@pytest.mark.parametrize("bad", BAD_MAPS, ids=str)
def test_a_bad_map_is_refused(bad: Bad, here: Path) -> None:
    check(bad, here, "evaluate", *bad.args.split(), "truth.tif", "--plot", "roc.png")


@pytest.mark.parametrize("bad", BAD_TRUTHS, ids=str)
@pytest.mark.parametrize("command", ["evaluate map.tif", "compare scene.tif -d rx -o folder --truth"])
def test_a_bad_truth_is_refused_before_anything_is_computed(command: str, bad: Bad, here: Path) -> None:
    check(bad, here, *command.split(), bad.args, "--plot", "roc.png")


@pytest.mark.parametrize("bad", BAD_PLOTS, ids=lambda bad: str(bad)[:60])
@pytest.mark.parametrize("command", ["evaluate map.tif truth.tif", "compare scene.tif --truth truth.tif -d rx"])
def test_a_bad_plot_is_refused_before_anything_is_computed(command: str, bad: Bad, here: Path) -> None:
    check(bad, here, *command.split(), "--plot", bad.args)


@pytest.mark.parametrize("bad", BAD_USAGE, ids=str)
def test_a_mistake_in_the_command_line_is_one_line(bad: Bad, here: Path) -> None:
    check(bad, here, *bad.args.split())


def test_a_plot_never_replaces_an_input(here: Path) -> None:
    Path("truth.png").write_bytes(Path("truth.tif").read_bytes())
    bad = Bad("", ("truth.png is an input of this run", "--plot"))
    check(bad, here, "evaluate", "map.tif", "truth.png", "--plot", "truth.png", "--overwrite")
    check(bad, here, "compare", "scene.tif", "--truth", "truth.png", "--plot", "./truth.png", "--overwrite")


def test_a_plot_without_matplotlib_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    bad = Bad("", ("--plot needs matplotlib", 'pip install "hadgeo[report]"'))
    check(bad, here, "evaluate", "map.tif", "truth.tif", "--plot", "roc.png")


def test_a_plot_that_fails_half_way_leaves_what_was_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listing(here)

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = run("evaluate", "map.tif", "truth.tif", "--plot", "existing.png", "--overwrite", "--bootstrap", "0")
    assert result.exit_code == 2
    assert_one_line(result.stderr, "existing.png cannot be written", "No space left", "--plot")
    assert listing(here) == before
