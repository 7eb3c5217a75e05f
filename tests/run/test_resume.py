"""Runs that are killed, interrupted or starved of disk, and go on: the same bytes, and no window twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

import hadgeo
from hadgeo.compute.memory import LIBRARY_BYTES
from hadgeo.errors import Cancelled, OutputError, OutputExistsError, ReadError
from hadgeo.maps.journal import Journal
from hadgeo.maps.raw_tiff import RawTiff, create_rawtiff
from tests.support import Recorder, background

ROOT = Path(__file__).parents[2]

#: Higher than one block, so that the map has overviews.
ROWS, COLS, WINDOW = 530, 30, 12
WINDOWS = 45 * 3

#: Runs `hadgeo` with one of its functions replaced by one that kills the process, before or after its nth call.
DRIVER = """
import importlib, os, signal, sys
module, name, when, nth = sys.argv[1:5]
holder = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    holder = getattr(holder, part)
original, calls = getattr(holder, last), 0

def deadly(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(nth) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if calls == int(nth) and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(holder, last, deadly)
sys.argv = ["hadgeo", *sys.argv[5:]]
from hadgeo.cli import main
main()
"""

#: Module, function, before or after which call, and what of the run is then on the disk.
MOMENTS = {
    "fit": ("hadgeo.sampling", "Sample.statistics", "after", 1, 0),
    "journal begun": ("hadgeo.maps.journal", "Journal.create", "after", 1, 0),
    "model kept": ("hadgeo.run.score_job", "to_bytes", "before", 1, 0),
    "map made": ("hadgeo.maps.writer", "create_rawtiff", "after", 1, 0),
    "pixels written, not noted": ("hadgeo.maps.journal", "Journal.add", "before", 40, 39),
    "window noted": ("hadgeo.maps.journal", "Journal.add", "after", 40, 40),
    "overview": ("hadgeo.maps.writer", "halve", "after", 1, WINDOWS),
    "before the copy": ("rasterio.shutil", "copy", "after", 1, WINDOWS),
    "after the copy": ("rasterio.shutil", "copy", "after", 2, WINDOWS),
    "before the rename": ("hadgeo.maps.writer", "ScoreWriter.place", "before", 1, WINDOWS),
    "after the rename": ("hadgeo.maps.writer", "ScoreWriter.place", "after", 1, WINDOWS),
    "manifest written": ("pathlib", "Path.unlink", "after", 4, WINDOWS),
    "cleaning up": ("pathlib", "Path.unlink", "after", 6, WINDOWS),
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=ROWS, cols=COLS, bands=12, rotation=20, wedges=0.2, targets=3, seed=3)
    return path


@pytest.fixture(scope="module")
def uninterrupted(line: Path) -> bytes:
    return hadgeo.detect(line, "rx", window=WINDOW, out=line.with_name("whole.tif")).path.read_bytes()


def run(*words: str | int | Path, driver: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run `hadgeo detect` in a process of its own that kills itself."""
    command = [sys.executable, "-c", DRIVER, *driver, "detect", *map(str, words), "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_finished_to_the_same_bytes(
    moment: str, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    module, name, when, nth, finished = MOMENTS[moment]
    out = tmp_path / "map.tif"
    killed = run(line, "-d", "rx", "--window", WINDOW, "-o", out, driver=(module, name, when, str(nth)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists() or out.read_bytes() == uninterrupted
    before = Journal.read(tmp_path / "map.tif.part")
    assert (0 if before is None else len(before)) == finished
    done = hadgeo.detect(line, "rx", window=WINDOW, out=out, resume=True)
    assert (done.windows, done.windows_kept) == (WINDOWS, finished)
    assert out.read_bytes() == uninterrupted
    # Of a run that came so far, the manifest is there too.
    assert {path.name for path in tmp_path.iterdir()} <= {"map.tif", "map.json"}


#: As in `MOMENTS`, while what belongs to a finished map is made.
LATE_MOMENTS = {
    "map in its place": ("hadgeo.decisions.decision", "decide", "before", 1),
    "polygons": ("hadgeo.decisions.polygons", "write_polygons", "after", 1),
    "spectra half drawn": ("hadgeo.evidence.spectrum_plots", "draw_spectrum", "after", 4),
    "p-values not yet a map": ("hadgeo.maps.writer", "ScoreWriter.complete", "before", 2),
    "before the manifest": ("hadgeo.run.manifest", "write_manifest", "before", 1),
    "after the manifest": ("hadgeo.run.manifest", "write_manifest", "after", 1),
}


@pytest.mark.parametrize("moment", LATE_MOMENTS)
def test_a_run_killed_over_its_products_makes_those_that_are_missing(
    moment: str, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    module, name, when, nth = LATE_MOMENTS[moment]
    out, polygons, spectra = tmp_path / "map.tif", tmp_path / "found.geojson", tmp_path / "spectra"
    words = ["-d", "rx", "--window", WINDOW, "-o", out, "--top", 3, "--p-values", tmp_path / "p.tif"]
    words += ["--polygons", polygons, "--spectra", spectra]
    killed = run(line, *words, driver=(module, name, when, str(nth)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert out.read_bytes() == uninterrupted
    stamp = out.stat().st_mtime_ns
    theirs = tmp_path / "theirs.geojson"
    theirs.write_text("of another run")
    others = [theirs if word == polygons else word for word in words]
    refused = run(line, *others, "--resume", driver=("os", "getpid", "after", "0"))
    assert (refused.returncode, "theirs.geojson exists" in refused.stderr) == (2, True), refused.stderr
    assert theirs.read_text() == "of another run"
    theirs.unlink()
    resumed = run(line, *words, "--resume", driver=("os", "getpid", "after", "0"))
    assert resumed.returncode == 0, resumed.stderr
    assert (out.stat().st_mtime_ns, out.read_bytes()) == (stamp, uninterrupted)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"map.tif", "map.json", "found.geojson", "spectra", "p.tif"}
    assert len(json.loads(polygons.read_text())["features"]) == len(list(spectra.iterdir()))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def interrupted(line: Path, out: Path, patience: int = 40, **settings: Any) -> None:
    """Leave an unfinished run behind."""
    with pytest.raises(Cancelled) as stopped:
        hadgeo.detect(line, "rx", out=out, progress=Recorder(patience), **{"window": WINDOW, **settings})
    assert "continue with --resume" in stopped.value.__notes__[0]


def test_a_run_goes_on_in_its_own_windows_on_a_machine_with_more_memory(
    line: Path, uninterrupted: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "map.tif"
    monkeypatch.setattr("hadgeo.run.estimate._fit_bytes", lambda *_: 0)
    with monkeypatch.context() as small:
        small.setattr("hadgeo.run.estimate.default_memory", lambda **_: LIBRARY_BYTES + 100_000)
        interrupted(line, out, patience=8, window=None)
    done = hadgeo.detect(line, "rx", out=out, resume=True)
    assert done.windows > done.windows_kept > 0
    np.testing.assert_allclose(read(out), read(line.with_name("whole.tif")), rtol=1e-6)


def test_a_cancelled_run_says_what_is_kept_and_fits_only_once(line: Path, uninterrupted: bytes, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    with pytest.raises(Cancelled) as stopped:
        hadgeo.detect(line, "rx", window=WINDOW, out=out, progress=Recorder(50))
    kept = len(Journal.read(tmp_path / "map.tif.part") or ())
    assert 0 < kept < 50
    assert stopped.value.__notes__ == [f"{kept} of {WINDOWS} windows are kept in {out}.part; continue with --resume"]
    log = Recorder()
    done = hadgeo.detect(line, "rx", window=WINDOW, out=out, progress=log, resume=True)
    assert out.read_bytes() == uninterrupted
    assert (done.windows_kept, list(log.stages)) == (kept, ["score"])
    assert log.stages["score"] == [ROWS * COLS, ROWS * COLS]


def test_without_resume_hours_of_work_are_not_lost_by_accident(
    line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    interrupted(line, out)
    with pytest.raises(OutputExistsError, match=r"finished windows .* --resume, or start over with --overwrite"):
        hadgeo.detect(line, "rx", window=WINDOW, out=out)
    assert len(Journal.read(tmp_path / "map.tif.part") or ()) > 0
    done = hadgeo.detect(line, "rx", window=WINDOW, out=out, overwrite=True)
    assert (done.windows_kept, out.read_bytes()) == (0, uninterrupted)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"window": 13}, "window was 12 x 12 and is 13 x 13"),
        ({"bands": "1-9!"}, "bands was 1-5,7-8,10-11 and is 1-9"),
        ({"parameters": {"shrinkage": 0.5}}, "'shrinkage': 0.5"),
        ({"detector": "scoread"}, "detector was rx and is scoread"),
    ],
)
def test_a_run_with_other_settings_is_not_mixed_in(
    other: dict[str, Any], told: str, line: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    interrupted(line, out)
    settings = {"detector": "rx", "window": WINDOW, **other}
    with pytest.raises(OutputError, match=told.replace("(", r"\(")) as refused:
        hadgeo.detect(line, out=out, resume=True, **settings)
    assert "--overwrite" in str(refused.value)
    assert len(Journal.read(tmp_path / "map.tif.part") or ()) > 0


def test_a_scene_that_changed_since_is_not_mixed_in(tmp_path: Path) -> None:
    scene, out = tmp_path / "scene.img", tmp_path / "map.tif"
    hadgeo.simulate(scene, rows=60, cols=30, bands=12, targets=0)
    interrupted(scene, out, patience=10)
    os.utime(scene)
    with pytest.raises(OutputError, match=r"scene was .*scene\.img"):
        hadgeo.detect(scene, "rx", out=out, window=WINDOW, resume=True)


def test_resume_with_nothing_to_go_on_with_just_runs(line: Path, uninterrupted: bytes, tmp_path: Path) -> None:
    done = hadgeo.detect(line, "rx", out=tmp_path / "map.tif", window=WINDOW, resume=True)
    assert (done.windows_kept, done.path.read_bytes()) == (0, uninterrupted)


def _tear(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])


def _lose_pixels(folder: Path) -> None:
    raster = RawTiff(folder / "scores.tif")
    raster.write(0, 0, np.full((2, 2), 7, dtype=np.float32))
    raster.close()


def _damage_model(folder: Path) -> None:
    model = folder / "model.hadgeo"
    model.write_bytes(model.read_bytes()[:-1])


@pytest.mark.parametrize(("damage", "lost"), [(_tear, 1), (_lose_pixels, 1), (_damage_model, 0)])
def test_what_a_crash_of_the_machine_damaged_is_computed_again(
    damage: Callable[[Path], None], lost: int, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    interrupted(line, out)
    before = len(Journal.read(tmp_path / "map.tif.part") or ())
    damage(tmp_path / "map.tif.part")
    done = hadgeo.detect(line, "rx", out=out, window=WINDOW, resume=True)
    assert done.windows_kept == before - lost
    assert out.read_bytes() == uninterrupted


def _edit(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with rasterio.open(folder / "scores.tif", "r+") as dataset:
            for name, value in changes.items():
                setattr(dataset, name, value)

    return damage


def _lose_tags(folder: Path) -> None:
    with rasterio.open(folder / "scores.tif", "r+") as dataset:
        dataset.update_tags(HADGEO_DETECTOR="", HADGEO_SOURCE="other.img")


def _flip_bits_of_the_head(folder: Path) -> None:
    scores = folder / "scores.tif"
    data = bytearray(scores.read_bytes())
    data[8:200] = bytes(byte ^ 4 for byte in data[8:200])
    scores.write_bytes(data)


def _swap_in_another_map(folder: Path) -> None:
    (folder / "scores.tif").unlink()
    create_rawtiff(folder / "scores.tif", (ROWS, COLS), transform=Affine(3, 0, 5, 0, -3, 5))


#: What may happen to the file of an unfinished map besides its pixels.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "tie point": _edit(transform=Affine(1.5, 0, 7, 0, -1.5, 9)),
    "coordinate reference system": _edit(crs=CRS.from_epsg(32601)),
    "nodata": _edit(nodata=0),
    "tags": _lose_tags,
    "bits": _flip_bits_of_the_head,
    "cut short": lambda folder: os.truncate(folder / "scores.tif", 5000),
    "empty": lambda folder: os.truncate(folder / "scores.tif", 0),
    "gone": lambda folder: (folder / "scores.tif").unlink(),
    "another map": _swap_in_another_map,
    "a virtual raster": lambda folder: (folder / "scores.tif").write_text("<VRTDataset/>"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unfinished_map_that_is_damaged_besides_its_pixels_is_made_anew(
    damage: str, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    out, log = tmp_path / "map.tif", Recorder()
    interrupted(line, out)
    DAMAGES[damage](tmp_path / "map.tif.part")
    hadgeo.detect(line, "rx", out=out, window=WINDOW, resume=True, progress=log)
    assert out.read_bytes() == uninterrupted
    assert "the unfinished map is damaged, and all of it is scored again" in "".join(log.messages)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("moment", ["before the rename", "after the rename"])
def test_a_finished_map_that_is_damaged_before_its_run_ends_is_made_anew_or_left_alone(
    moment: str, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    module, name, when, nth, _ = MOMENTS[moment]
    out = tmp_path / "map.tif"
    run(line, "-d", "rx", "--window", WINDOW, "-o", out, driver=(module, name, when, str(nth)))
    there = out if out.exists() else tmp_path / "map.tif.part" / "cog.tif"
    there.write_bytes(b"something else")
    if there == out:
        with pytest.raises(OutputExistsError, match=r"map\.tif exists; use --overwrite"):
            hadgeo.detect(line, "rx", window=WINDOW, out=out, resume=True)
        assert out.read_bytes() == b"something else"
    hadgeo.detect(line, "rx", window=WINDOW, out=out, resume=True, overwrite=True)
    assert out.read_bytes() == uninterrupted


#: What may happen to the first line of a journal, which holds the settings.
SETTINGS_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda line: line[:-20],
    "others": lambda _: b'{"settings": {"window": 3}}\n',
    "none": lambda _: b'{"settings": []}\n',
    "odd memory": lambda line: (
        json.dumps({"settings": {**json.loads(line)["settings"], "budget": -7}}).encode() + b"\n"
    ),
    "not text": lambda _: b"\xff\xfe\n",
}


@pytest.mark.parametrize("damage", SETTINGS_DAMAGES)
def test_overwrite_gets_out_of_any_damaged_journal(
    damage: str, line: Path, uninterrupted: bytes, tmp_path: Path
) -> None:
    out, journal = tmp_path / "map.tif", tmp_path / "map.tif.part" / "journal.jsonl"
    for settings in ({"resume": True}, {"overwrite": True}):
        out.unlink(missing_ok=True)
        interrupted(line, out, overwrite=True)
        first, *rest = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([SETTINGS_DAMAGES[damage](first), *rest]))
        told = ""
        try:
            hadgeo.detect(line, "rx", window=WINDOW, out=out, **settings)
        except OutputError as error:
            told = str(error)
        if told:
            assert ("resume" in settings, "start over with --overwrite alone" in told) == (True, True)
        else:
            assert out.read_bytes() == uninterrupted


def test_a_scene_that_changes_while_it_is_read_is_an_error_and_no_map(tmp_path: Path) -> None:
    scene, out = tmp_path / "scene.img", tmp_path / "map.tif"
    hadgeo.simulate(scene, rows=60, cols=30, bands=12, targets=0)

    class Touch(Recorder):
        def advance(self, n: int = 1) -> None:
            if "score" in self.stages:
                os.utime(scene)

    with pytest.raises(ReadError, match=r"scene\.img: changed while it was being read"):
        hadgeo.detect(scene, "rx", out=out, window=WINDOW, progress=Touch())
    assert not list(tmp_path.glob("map*"))


def test_an_array_in_memory_leaves_nothing_to_resume(tmp_path: Path) -> None:
    import xarray as xr

    cube = xr.DataArray(background((5, 40, 40)), dims=("band", "y", "x"))
    with pytest.raises(Cancelled) as stopped:
        hadgeo.detect(cube, "rx", out=tmp_path / "map.tif", window=8, progress=Recorder(9))
    assert not hasattr(stopped.value, "__notes__")
    assert not list(tmp_path.iterdir())
