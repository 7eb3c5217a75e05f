"""`hadgeo match` from a spectrum or an anomaly to a map and polygons, its manifests, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.compute.memory import LIBRARY_BYTES
from hadgeo.errors import Cancelled, OutputError
from hadgeo.simulation.spectra import _GRID, TARGETS
from tests.cli.test_bad_input import assert_one_line, listing
from tests.support import Recorder

#: Where the same material was put, and how much of each pixel it fills.
PLACES, SHARE = [(8, 12), (30, 40), (49, 5)], 0.7


def write_spectrum(path: Path, values: np.ndarray, wavelength: np.ndarray = _GRID) -> Path:
    np.savetxt(path, np.c_[wavelength, values], delimiter=",", header="wavelength (nm),reflectance", comments="")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes with the same material in three places of one, its spectrum, and bad spectra."""
    home = tmp_path_factory.mktemp("made")
    for number in (1, 2):
        hadgeo.simulate(home / f"line{number}.img", rows=60, cols=50, bands=40, targets=0, seed=number)
    cube = hadgeo.open_cube(home / "line1.img").load()
    seen = np.interp(cube.wavelength, _GRID, TARGETS[1].reflectance())
    stored = np.fromfile(home / "line1.img", dtype="<i2").reshape(60, 50, 40)
    for row, col in PLACES:
        pixel = (1 - SHARE) * cube.values[:, row, col] + SHARE * seen
        stored[row, col] = np.rint(pixel * 10_000)
    stored.tofile(home / "line1.img")
    curve = TARGETS[1].reflectance()
    write_spectrum(home / "tarp.csv", curve)
    write_spectrum(home / "flat.csv", np.full(curve.size, 0.3))
    write_spectrum(home / "nan.csv", np.where(_GRID > 0, np.nan, curve))
    write_spectrum(home / "thermal.csv", np.linspace(0.9, 1.0, 50), np.linspace(8000, 12000, 50))
    (home / "words.txt").write_text("no spectrum\n")
    (home / "existing.tif").write_bytes(b"somebody's work")
    values = np.asarray(cube.values)
    blind = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": np.arange(40)})
    blind.to_netcdf(home / "blind.nc", engine="scipy")
    return home


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, as the working directory."""
    folder = shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def scores(path: Path | str) -> np.ndarray:
    return np.concatenate([strip for _, strip in hadgeo.open_scores(path).strips()])


def peaks(path: Path | str) -> set[tuple[int, int]]:
    meta, _, _, fields = pyogrio.raw.read(path, read_geometry=False)
    found = dict(zip(meta["fields"], fields, strict=True))
    return {(round(r), round(c)) for r, c in zip(found["peak_row"], found["peak_col"], strict=True)}


def test_a_spectrum_leads_to_a_map_and_polygons(here: Path) -> None:
    result = run(
        *("match", "line1.img", "--spectrum", "tarp.csv", "--top", "3"),
        *("--polygons", "more.gpkg", "--evidence", "more.nc"),
    )
    assert "line1_match.tif: 3,000 pixels scored by ace" in result.stdout
    assert "target: tarp at " in result.stderr
    assert "its values are multiplied by 1" in result.stderr
    assert peaks("more.gpkg") == set(PLACES)
    with xr.open_dataset("more.nc", engine="scipy") as evidence:
        assert evidence.attrs["detector"] == "ace"
        # The mean of the scene is expected everywhere.
        assert np.ptp(evidence.expected.values, axis=0).max() < 1e-6
    manifest = json.loads(Path("line1_match.json").read_text())
    assert manifest["command"] == "match"
    assert manifest["options"]["spectrum"] == str(here / "tarp.csv")
    assert str(here / "tarp.csv") in {record["path"] for record in manifest["inputs"]}
    assert manifest["facts"]["parameters"]["target_name"] == "tarp"


@pytest.mark.parametrize("method", ["ace", "mf", "cem"])
def test_an_anomaly_leads_to_those_like_it(method: str, here: Path) -> None:
    """From a detection of one anomaly to all places of the same material."""
    run(*("detect", "line1.img", "-d", "rx", "--top", "6", "--polygons", "a.gpkg", "--evidence", "a.nc", "-q"))
    meta, _, _, fields = pyogrio.raw.read("a.gpkg", read_geometry=False)
    found = dict(zip(meta["fields"], fields, strict=True))
    at = list(zip(found["peak_row"].round(), found["peak_col"].round(), strict=True)).index(PLACES[0])
    number = str(found["id"][at])
    like = ("--like", f"a.gpkg#{number}", "--method", method, "--top", "3", "--polygons", "more.gpkg")
    run("match", "line1.img", *like, "-o", "more.tif", "-q")
    assert peaks("more.gpkg") == set(PLACES)
    run("match", "line1.img", "--like", f"a.nc#{number}", "--method", method, "-o", "same.tif", "-q")
    np.testing.assert_array_equal(scores("same.tif"), scores("more.tif"))
    run("match", "line1.img", "line2.img", "--like", f"a.nc#{number}", "--method", method, "-q")
    assert np.nanmax(scores("line2_match.tif")) < np.nanmax(scores("line1_match.tif"))


def test_a_run_is_repeated_from_its_manifest(here: Path) -> None:
    run("match", "line1.img", "--spectrum", "tarp.csv", "--method", "mf", "-p", "ridge=0.01", "-q")
    again = run("match", "--from", "line1_match.json", "-o", "again.tif")
    assert "every output is identical, byte for byte" in again.stderr
    assert Path("again.tif").read_bytes() == Path("line1_match.tif").read_bytes()


def test_finished_lines_are_kept_and_another_spectrum_is_not_resumed(here: Path) -> None:
    words = ("match", "line1.img", "line2.img", "--spectrum", "tarp.csv", "--resume")
    run(*words, "-q")
    assert run(*words).stderr.count("already finished by an earlier run; skipped") == 2
    write_spectrum(here / "tarp.csv", TARGETS[0].reflectance())
    result = run(*words, status=2)
    assert_one_line(result.stderr.splitlines()[-1], "line1_match.tif exists", "--overwrite")


def interrupted(line: Path, out: Path, **options: object) -> None:
    class Stop(Recorder):
        def cancelled(self) -> bool:
            return "score" in self.stages and self.stages["score"][0] > 1000

    with pytest.raises(Cancelled):
        hadgeo.match(line, out=out, window=10, memory=LIBRARY_BYTES * 2, progress=Stop(), **options)


def test_an_interrupted_run_goes_on_to_the_same_bytes(here: Path) -> None:
    interrupted(here / "line1.img", here / "x.tif", spectrum="tarp.csv")
    assert (here / "x.tif.part").is_dir()
    log = Recorder()
    done = hadgeo.match(
        "line1.img", "tarp.csv", out="x.tif", window=10, memory=LIBRARY_BYTES * 2, resume=True, progress=log
    )
    assert done.windows_kept > 5
    hadgeo.match("line1.img", "tarp.csv", out="whole.tif", window=10, memory=LIBRARY_BYTES * 2)
    assert (here / "x.tif").read_bytes() == (here / "whole.tif").read_bytes()


def test_an_interrupted_run_does_not_go_on_with_another_target(here: Path) -> None:
    interrupted(here / "line1.img", here / "x.tif", spectrum="tarp.csv")
    write_spectrum(here / "other.csv", TARGETS[0].reflectance())
    with pytest.raises(OutputError, match="parameters was"):
        hadgeo.match("line1.img", "other.csv", out="x.tif", window=10, memory=LIBRARY_BYTES * 2, resume=True)


def test_a_model_holds_the_background(here: Path) -> None:
    run("train", "line1.img", "-d", "rx", "-o", "m.hadgeo", "-q")
    run("match", "line1.img", "line2.img", "--spectrum", "tarp.csv", "--model", "m.hadgeo", "--top", "3", "-q")
    run("match", "line1.img", "--spectrum", "tarp.csv", "-o", "own.tif", "-q")
    np.testing.assert_allclose(scores("line1_match.tif"), scores("own.tif"), atol=1e-6)
    manifest = json.loads(Path("line1_match.json").read_text())
    assert str(here / "m.hadgeo") in {record["path"] for record in manifest["inputs"]}


def test_windows_do_not_change_the_map(here: Path) -> None:
    for window in ("7", "60"):
        run("match", "line1.img", "--spectrum", "tarp.csv", "--window", window, "-o", f"{window}.tif", "-q")
    np.testing.assert_allclose(scores("7.tif"), scores("60.tif"), rtol=1e-6)


def test_a_part_of_a_scene_under_a_mask(here: Path) -> None:
    cube = hadgeo.open_cube("line1.img")
    x, y = (float(cube[name][20]) for name in ("x", "y"))
    extent = [str(v) for v in (float(cube.x[0]) - 1, y, x, float(cube.y[0]) + 1)]
    run("match", "line1.img", "--spectrum", "tarp.csv", "--extent", *extent, "-q")
    assert scores("line1_match.tif").shape[0] < 25


def test_json_lines_tell_the_result(here: Path) -> None:
    result = run("match", "line1.img", "--spectrum", "tarp.csv", "--progress", "json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told[-1]["type"] == "result"
    assert told[-1]["detector"] == "ace"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("line1.img", ("what shall be found", "--spectrum FILE or --like FILE#ID")),
        ("--spectrum tarp.csv", ("no SCENE given",)),
        ("line1.img --spectrum tarp.csv --like a.gpkg#1", ("and not both",)),
        ("line1.img --spectrum gone.csv", ("gone.csv: no such file of a spectrum", "check the path")),
        ("line1.img --spectrum words.txt", ("words.txt: no rows of numbers", "wavelength and value")),
        ("line1.img --spectrum flat.csv", ("flat.csv: a flat spectrum, all 2401 values are 0.3",)),
        ("line1.img --spectrum nan.csv", ("nan.csv: 0 of its 2401 values are numbers",)),
        ("line1.img --spectrum thermal.csv", ("line1.img: 0 of its", "thermal, which runs from 8000 to 12000 nm")),
        ("line1.img --spectrum line1.img", ("line1.img: an ENVI image, not a spectral library", "--like")),
        ("blind.nc --spectrum tarp.csv", ("blind.nc: the scene has no wavelengths", "add them to its header")),
        ("gone.img --spectrum tarp.csv", ("gone.img: no such file",)),
        ("line1.img --like gone.gpkg#3", ("gone.gpkg: no such file",)),
        ("line1.img --like tarp.csv#1", ("tarp.csv: a table has no outlines", "use --spectrum")),
        ("line1.img --spectrum tarp.csv --method osp", ("'osp' is not one of",)),
        ("line1.img --spectrum tarp.csv --target-scale 0", ("must be above 0",)),
        ("line1.img --spectrum tarp.csv -p shrinkage=1", ("no parameter 'shrinkage'",)),
        ("line1.img --spectrum tarp.csv -p target=1,2", ("target is no parameter to be given",)),
        ("line1.img --spectrum tarp.csv -o existing.tif", ("existing.tif exists", "--overwrite")),
        ("line1.img --spectrum tarp.csv -o tarp.csv --overwrite", ("tarp.csv is one of the inputs",)),
        ("line1.img line2.img --spectrum tarp.csv -o x.tif", ("names one map, but there are 2 scenes",)),
        ("line1.img --spectrum tarp.csv --resample-bands", ("--resample-bands needs a --model",)),
        ("line1.img --spectrum tarp.csv --model gone.hadgeo", ("gone.hadgeo: no such model file",)),
        ("line1.img --spectrum tarp.csv --model gone.hadgeo --bands 1-9", ("--bands is fixed in a model",)),
        ("line1.img --spectrum tarp.csv --bands 1", ("at least 2", "--bands")),
        ("line1.img --spectrum tarp.csv --pfa 2", ("pfa must be above 0 and below 1",)),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: str, said: tuple[str, ...], here: Path) -> None:
    before = listing(here)
    result = run("match", *words.split(), "--progress", "none", status=2)
    assert_one_line(result.stderr, *said)
    assert listing(here) == before


@pytest.mark.parametrize("name", ["ace", "sam"])
def test_detect_without_a_target_says_where_to_go(name: str, here: Path) -> None:
    before = listing(here)
    result = run("detect", "line1.img", "-d", name, "--progress", "none", status=2)
    assert_one_line(result.stderr, f"{name} needs a target spectrum", "hadgeo match --spectrum")
    assert listing(here) == before
    assert name not in run("detectors").stdout.split()


def test_a_batch_looks_for_a_spectrum(here: Path) -> None:
    words = ("batch", "line1.img", "line2.img", "-o", "maps", "--spectrum", "tarp.csv")
    run(*words, "-q")
    assert {path.name for path in Path("maps").glob("*.tif")} == {"line1_match.tif", "line2_match.tif"}
    assert hadgeo.load_model("maps/model.hadgeo").detector.name == "ace"
    found = scores("maps/line1_match.tif")
    assert {np.unravel_index(i, found.shape) for i in np.argsort(found.ravel())[-3:]} == set(PLACES)
    assert "0 flight lines done, 2 kept" in run(*words).stdout
    # Another spectrum under the same name is another search.
    write_spectrum(here / "tarp.csv", TARGETS[0].reflectance())
    result = run(*words, status=2)
    assert "model.hadgeo was fitted with other settings (target was" in result.stderr
    run(*words, "--overwrite", "-q")


def test_each_line_of_a_batch_may_have_its_own_background_and_method(here: Path) -> None:
    run("batch", "line1.img", "line2.img", "-o", "each", "--spectrum", "tarp.csv", "--fit-on", "each", "-q")
    for name in ("line1", "line2"):
        run("match", f"{name}.img", "--spectrum", "tarp.csv", "-q")
        np.testing.assert_array_equal(scores(f"each/{name}_match.tif"), scores(f"{name}_match.tif"))
    run("train", "line2.img", "-d", "rx", "-o", "m.hadgeo", "-q")
    Path("lines.csv").write_text("scene,detector\nline1.img,\nline2.img,sam\n")
    run("batch", "--table", "lines.csv", "-o", "table", "--spectrum", "tarp.csv", "--model", "m.hadgeo", "-q")
    detectors = [hadgeo.open_scores(f"table/line{number}_match.tif").detector for number in (1, 2)]
    assert detectors == ["ace", "sam"]
    run("match", "line1.img", "--spectrum", "tarp.csv", "--model", "m.hadgeo", "--overwrite", "-q")
    np.testing.assert_array_equal(scores("table/line1_match.tif"), scores("line1_match.tif"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method mf", ("--method is of a spectrum to be found",)),
        ("--target-scale 2", ("--target-scale is of a spectrum to be found",)),
        ("--spectrum tarp.csv -d rx", ("--detector is of a search for anomalies",)),
        ("--spectrum tarp.csv --seed 3", ("--seed is of a search for anomalies",)),
        ("--spectrum gone.csv", ("gone.csv: no such file",)),
        ("--spectrum thermal.csv", ("thermal, which runs from 8000",)),
    ],
)
def test_a_batch_refuses_what_it_cannot_look_for(words: str, said: tuple[str, ...], here: Path) -> None:
    before = listing(here)
    result = run("batch", "line1.img", "-o", "maps", *words.split(), "--progress", "none", status=2)
    assert_one_line(result.stderr.splitlines()[-1], *said)
    assert listing(here) == before
