"""What a run finds of an earlier one, and what it will not mix with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import torch

import hadgeo
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import OutputError, OutputExistsError, ReadError
from hadgeo.files import sha256_of
from hadgeo.formats import open_source
from hadgeo.maps.journal import Journal
from hadgeo.maps.part_folder import PartFolder
from hadgeo.run.score_job import check_same_run, keep_model, kept_fit, look_back, stamp_of, was_completed
from hadgeo.windows import Window
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")
SETTINGS = {"detector": "rx", "bands": "1-30"}


@pytest.fixture
def line(tmp_path: Path) -> Path:
    hadgeo.simulate(tmp_path / "line.img", rows=40, cols=30, bands=8, targets=1)
    return tmp_path / "line.img"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "map.tif"


@pytest.fixture
def folder(out: Path) -> Iterator[PartFolder]:
    with PartFolder(out) as folder:
        yield folder


def finished_windows(folder: PartFolder, count: int) -> Journal:
    journal = Journal.create(folder.path, SETTINGS)
    for row in range(count):
        journal.add(Window(row, 0, 1, 3), np.zeros((1, 3), dtype=np.float32))
    return journal


def test_a_stamp_tells_every_change_of_a_scene(line: Path) -> None:
    source = open_source(line)
    before = stamp_of(source)
    assert {Path(name).name for name, _, _ in before} == {"line.img", "line.hdr"}
    assert stamp_of(open_source(line)) == before
    os.utime(line.with_suffix(".hdr"), ns=(1, 1))
    touched = stamp_of(source)
    assert touched != before
    with line.open("ab") as file:
        file.write(b"more")
    assert stamp_of(source) != touched


def test_an_array_has_no_stamp() -> None:
    assert stamp_of(memory_source(background((3, 4, 5)))) == []


def test_a_scene_that_changes_under_a_run_ends_it_and_leaves_nothing(line: Path, out: Path) -> None:
    class Writer(Recorder):
        """Writes into the scene after a few windows."""

        def advance(self, n: int = 1) -> None:
            super().advance(n)
            if "score" in self.stages and self.stages["score"][0] > 300:
                os.utime(line, ns=(1, 1))

    before = sorted(line.parent.iterdir())
    with pytest.raises(ReadError, match=r"line\.img: changed while it was being read"):
        hadgeo.detect(line, "rx", out=out, window=6, progress=Writer())
    assert sorted(line.parent.iterdir()) == before


def test_finished_windows_are_gone_on_with_on_request(folder: PartFolder) -> None:
    finished_windows(folder, 3)
    earlier = look_back(folder, resume=True, overwrite=False)
    assert earlier is not None
    assert (len(earlier), earlier.settings) == (3, SETTINGS)
    # Now that they count, they outlive another failure.
    assert folder.keep


def test_finished_windows_are_not_lost_unasked(folder: PartFolder) -> None:
    finished_windows(folder, 3)
    with pytest.raises(OutputExistsError, match=r"3 finished windows of an interrupted run; .*--resume.*--overwrite"):
        look_back(folder, resume=False, overwrite=False)
    assert folder.keep
    assert len(Journal.read(folder.path) or ()) == 3


@pytest.mark.parametrize(("count", "overwrite"), [(3, True), (0, False)])
def test_what_may_be_lost_is_put_away(count: int, overwrite: bool, folder: PartFolder) -> None:
    finished_windows(folder, count)
    assert look_back(folder, resume=False, overwrite=overwrite) is None
    assert Journal.read(folder.path) is None


def test_an_empty_folder_has_nothing_to_go_on_with(folder: PartFolder) -> None:
    assert look_back(folder, resume=True, overwrite=False) is None
    assert not folder.keep


def test_a_map_was_completed_once_its_journal_has_an_end(folder: PartFolder, out: Path) -> None:
    assert not was_completed(out)
    journal = finished_windows(folder, 2)
    out.write_bytes(b"the map")
    assert not was_completed(out)
    journal.end(6, sha256_of(out))
    assert was_completed(out)
    # Beside its place it counts as well, and not what somebody else has put there.
    out.replace(folder.path / "cog.tif")
    out.write_bytes(b"of yesterday")
    assert was_completed(out)
    (folder.path / "cog.tif").unlink()
    assert not was_completed(out)


def test_two_runs_are_not_mixed_in_one_map(folder: PartFolder) -> None:
    earlier = finished_windows(folder, 1)
    check_same_run(earlier, {"bands": "1-30"}, folder)
    with pytest.raises(OutputError, match=r"map\.tif\.part belongs to .* other settings \(bands was 1-30 and is 1-9\)"):
        check_same_run(earlier, {**SETTINGS, "bands": "1-9"}, folder)


def test_a_fit_is_kept_for_the_same_detector_and_parameters_alone(
    folder: PartFolder, line: Path, tmp_path: Path, readers: Executor
) -> None:
    assert kept_fit(folder, make_detector("rx"), CPU) is None
    model = hadgeo.train([line], "rx", parameters={"shrinkage": 0.5}, out=tmp_path / "m.hadgeo")
    keep_model(folder, model)
    found = kept_fit(folder, make_detector("rx", {"shrinkage": 0.5}), CPU)
    assert found is not None
    cube = torch.from_numpy(background((len(model.spectrum.indices), 5, 5)))
    assert torch.equal(found.score(cube), model.detector.score(cube))
    assert kept_fit(folder, make_detector("rx"), CPU) is None
    assert kept_fit(folder, make_detector("bs3lnet"), CPU) is None


def test_a_fit_that_was_cut_short_is_repeated(folder: PartFolder, line: Path, tmp_path: Path) -> None:
    keep_model(folder, hadgeo.train([line], "rx", out=tmp_path / "m.hadgeo"))
    (kept,) = folder.path.glob("*.hadgeo")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert kept_fit(folder, make_detector("rx"), CPU) is None
