"""Batches: what is done, kept, failed and gone on with, and what comes out."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import hadgeo
from hadgeo.errors import Cancelled, HadgeoError, OutputError, OutputExistsError, ParameterError
from hadgeo.files import sha256_of
from hadgeo.maps.journal import Journal
from hadgeo.maps.part_folder import PartFolder
from hadgeo.mission.batch import Batch, Outcome, Unwatched, run_batch
from hadgeo.mission.flight_lines import FlightLine, flight_lines, read_flight_lines
from hadgeo.progress import Progress
from tests.support import Recorder


@pytest.fixture(scope="module")
def mission(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mission")
    paths = [folder / f"line{i}.img" for i in range(3)]
    for i, path in enumerate(paths):
        hadgeo.simulate(path, rows=40 + 10 * i, cols=30, bands=16, rotation=12, wedges=0.2, targets=2, seed=i)
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "maps"


def detect_all(paths: list[Path], folder: Path, **settings: Any) -> Batch:
    return run_batch(flight_lines(paths, folder), folder, **{"detector": "rx", **settings})


def states(batch: Batch) -> list[str]:
    return [outcome.state for outcome in batch.outcomes]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tif")}


def test_one_model_of_the_first_line_scores_all_of_them(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    batch = detect_all(mission, folder)
    assert states(batch) == ["done"] * 3
    model = hadgeo.train([mission[0]], "rx", out=tmp_path / "first.hadgeo")
    assert batch.model is not None
    assert batch.model.hash == model.hash
    for path in mission:
        alone = hadgeo.detect(path, model, out=tmp_path / "alone.tif", overwrite=True).path
        assert (folder / f"{path.stem}_anomaly.tif").read_bytes() == alone.read_bytes()


def test_a_sample_of_all_and_each_for_itself_are_what_train_and_detect_make(
    mission: list[Path], folder: Path, tmp_path: Path
) -> None:
    of_all = detect_all(mission, folder, fit_on="sample-of-all").model
    assert of_all is not None
    assert of_all.hash == hadgeo.train(mission, "rx", out=tmp_path / "all.hadgeo").hash
    batch = detect_all(mission, tmp_path / "each", fit_on="each")
    assert batch.model is None
    alone = hadgeo.detect(mission[1], "rx", out=tmp_path / "alone.tif").path
    assert batch.outcomes[1].line.map.read_bytes() == alone.read_bytes()


def test_again_only_what_is_missing_is_done(mission: list[Path], folder: Path) -> None:
    detect_all(mission[:2], folder)
    before = stamps(folder)
    assert states(detect_all(mission, folder)) == ["kept", "kept", "done"]
    (folder / "line1_anomaly.tif").unlink()
    assert states(detect_all(mission, folder)) == ["kept", "done", "kept"]
    assert stamps(folder)["line0_anomaly.tif"] == before["line0_anomaly.tif"]
    moved = folder.rename(folder.with_name("moved"))
    assert states(detect_all(mission, moved)) == ["kept"] * 3


def test_a_map_of_other_settings_is_replaced_on_request_alone(mission: list[Path], folder: Path) -> None:
    detect_all(mission[:2], folder, fit_on="each")
    before = stamps(folder)
    batch = detect_all(mission, folder, fit_on="each", parameters={"shrinkage": "0.5"})
    assert states(batch) == ["failed", "failed", "done"]
    assert "'shrinkage': None" in batch.outcomes[0].error
    assert "'shrinkage': 0.5" in batch.outcomes[0].error
    assert "--overwrite" in batch.outcomes[0].error
    assert {name: stamps(folder)[name] for name in before} == before
    again = detect_all(mission, folder, fit_on="each", parameters={"shrinkage": "0.5"}, overwrite=True)
    assert states(again) == ["done", "done", "kept"]


def test_a_model_of_other_settings_is_replaced_on_request_alone(mission: list[Path], folder: Path) -> None:
    first = detect_all(mission[:2], folder).model
    with pytest.raises(OutputExistsError, match=r"model\.hadgeo was fitted with other settings .*scenes was"):
        detect_all(mission, folder, fit_on="sample-of-all")
    batch = detect_all(mission[:2], folder, fit_on="sample-of-all", overwrite=True)
    assert states(batch) == ["done", "done"]
    assert first is not None
    assert batch.model is not None
    assert batch.model.hash != first.hash


def test_somebody_elses_map_and_a_changed_one_are_not_lost(mission: list[Path], folder: Path) -> None:
    folder.mkdir()
    (folder / "line0_anomaly.tif").write_bytes(b"somebody's work")
    batch = detect_all(mission, folder)
    assert states(batch) == ["failed", "done", "done"]
    assert "it was not made by a batch" in batch.outcomes[0].error
    (folder / "line1_anomaly.tif").write_bytes(b"edited")
    assert "changed since" in detect_all(mission, folder).outcomes[1].error
    assert (folder / "line0_anomaly.tif").read_bytes() == b"somebody's work"


def test_a_line_that_fails_does_not_stop_the_others(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.img"
    broken.write_bytes(mission[0].read_bytes()[:500])
    shutil.copy(mission[0].with_suffix(".hdr"), broken.with_suffix(".hdr"))
    batch = detect_all([broken, mission[0], tmp_path / "gone.img", mission[1]], folder)
    assert states(batch) == ["failed", "done", "failed", "done"]
    assert batch.failed == 2
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == states(batch)
    assert "cut short" in rows[0]["error"]
    assert rows[0]["map"] == rows[0]["valid"] == ""
    assert int(rows[1]["valid"]) == hadgeo.detect(mission[0], "rx", out=tmp_path / "one.tif").valid


class Links(HTMLParser):
    """What a page refers to, and the text that it shows."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.text = ""
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links |= {unquote(value) for name, value in attrs if name in ("href", "src") and value}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_line_and_its_picture(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    strange = tmp_path / "line <b>& 50%#.img"
    for suffix in (".img", ".hdr"):
        shutil.copy(mission[0].with_suffix(suffix), strange.with_suffix(suffix))
    detect_all([strange, tmp_path / "gone.img"], folder)
    page = Links(folder / "summary.html")
    assert page.links == {"line <b>& 50%#_anomaly.tif", "thumbnails/line <b>& 50%#_anomaly.png", "overview.png"}
    assert all((folder / link).is_file() for link in page.links)
    assert str(strange) in page.text
    assert "gone.img: no such file" in page.text
    assert "1 done" in page.text


class Stopper(Unwatched):
    """Cancels the second line after some questions."""

    def begun(self, number: int, line: FlightLine) -> Progress:
        return Recorder(patience=6) if number == 1 else Recorder()


def test_an_interrupted_line_is_gone_on_with(
    mission: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several windows a line.
    monkeypatch.setattr("hadgeo.run.scoring.window_size", lambda *_args, **_settings: (10, 10))
    with pytest.raises(Cancelled) as stopped:
        detect_all(mission, folder, watch=Stopper())
    assert stopped.value.__notes__ == [
        f"1 of 3 flight lines are finished in {folder}; run the same command again to continue with the rest"
    ]
    part = folder / "line1_anomaly.tif.part"
    kept = len(Journal.read(part) or ())
    assert kept > 0
    seen: list[str] = []

    class Listener(Unwatched):
        def begun(self, number: int, line: FlightLine) -> Progress:
            recorder = Recorder()
            recorder.messages = seen
            return recorder

    assert states(detect_all(mission, folder, watch=Listener())) == ["kept", "done", "done"]
    assert f"{kept} of 15 windows were finished by an earlier run" in seen
    assert not list(folder.glob("*.part"))


def test_what_a_kill_over_the_cleaning_up_left_is_put_away(mission: list[Path], folder: Path) -> None:
    detect_all(mission, folder)
    left = PartFolder(folder / "line0_anomaly.tif")
    Journal.create(left.path, {}).end(1, sha256_of(folder / "line0_anomaly.tif"))
    left.release()
    assert states(detect_all(mission, folder)) == ["kept"] * 3
    assert not list(folder.glob("*.part"))


def test_two_batches_do_not_share_a_folder(mission: list[Path], folder: Path) -> None:
    folder.mkdir()
    with PartFolder(folder / "batch"), pytest.raises(OutputError, match="written by another run"):
        detect_all(mission, folder)


def test_a_manifest_gives_lines_settings_of_their_own(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    table = mission[0].parent / "lines.csv"
    table.write_text(
        "scene,output,bands,p.shrinkage,detector\nline0.img,,,,\n\n"
        f'{mission[1]},special.tif,"1-4,6",0.5,\nline2.img,,,,rx\n',
        encoding="utf-8-sig",
    )
    lines = read_flight_lines(table, folder, detector="rx", parameters={"sample": "500"})
    assert [line.apart for line in lines] == [False, True, True]
    batch = run_batch(lines, folder, detector="rx", parameters={"sample": "500"})
    assert states(batch) == ["done"] * 3
    assert batch.model is not None
    assert batch.model.scenes == ("line0.img",)
    own = {"parameters": {"shrinkage": 0.5, "sample": 500}, "bands": "1-4,6"}
    alone = hadgeo.detect(mission[1], "rx", out=tmp_path / "alone.tif", **own).path
    assert (folder / "special.tif").read_bytes() == alone.read_bytes()
    assert json.loads((folder / "batch.json").read_text())["maps"]["special.tif"]["settings"]["bands"] == "1-4,6"


def test_a_watch_hears_of_every_line(mission: list[Path], folder: Path) -> None:
    heard: list[Any] = []

    class Listener(Unwatched):
        def fitting(self) -> Progress:
            heard.append("fit")
            return Recorder()

        def begun(self, number: int, line: FlightLine) -> Progress:
            heard.append(number)
            return Recorder()

        def ended(self, number: int, outcome: Outcome) -> None:
            heard.append((number, outcome.state))

    detect_all(mission[:2], folder, watch=Listener())
    assert heard == ["fit", 0, (0, "done"), 1, (1, "done")]


def test_a_mosaic_of_nothing_is_an_error(folder: Path, tmp_path: Path, mission: list[Path]) -> None:
    with pytest.raises(HadgeoError, match="no flight line has a map"):
        detect_all([mission[0]], folder, bands="1-4", fit_on="each", memory=2**20, mosaic=folder / "mosaic.vrt")


def test_a_name_that_is_not_utf8_fails_alone_and_is_in_the_summary(mission: list[Path], folder: Path) -> None:
    odd = mission[0].with_name("odd\udcff.img")
    try:
        odd.write_bytes(mission[0].read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    try:
        assert states(detect_all([mission[0], odd, mission[1]], folder)) == ["done", "failed", "done"]
        assert states(detect_all([mission[0], odd, mission[1]], folder)) == ["kept", "failed", "kept"]
    finally:
        odd.unlink()
    table = (folder / "summary.csv").read_text("utf-8")
    assert r"odd\udcff.img: the name is not UTF-8" in table
    if (folder / "summary.html").exists():
        assert r"odd\udcff.img" in (folder / "summary.html").read_text("utf-8")


def test_a_line_of_another_sensor_fails_alone(mission: list[Path], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.img"
    hadgeo.simulate(foreign, rows=40, cols=30, bands=16, targets=2)
    header = foreign.with_suffix(".hdr")
    narrow = ", ".join(str(400 + 20 * band) for band in range(16))
    header.write_text(
        re.sub(r"wavelength = \{[^}]*\}\nfwhm = \{[^}]*\}", f"wavelength = {{{narrow}}}", header.read_text())
    )
    folder = tmp_path / "maps"
    # The first one, after which no other line would be like it.
    batch = detect_all([foreign, *mission], folder, fit_on="sample-of-all")
    assert [outcome.state for outcome in batch.outcomes] == ["failed", *["done"] * len(mission)]
    assert "interpolate with --resample-bands" in batch.outcomes[0].error
    # What needs no interpolation is kept as it is.
    again = detect_all([foreign, *mission], folder, fit_on="sample-of-all", resample_bands=True)
    assert [outcome.state for outcome in again.outcomes][1:] == ["kept"] * len(mission)


def test_lines_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"any of the 1 flight lines: x/\*\.png: no such file"):
        detect_all([Path("x/*.png")], tmp_path / "maps")


def test_a_line_whose_map_would_have_too_long_a_name_fails_alone(mission: list[Path], folder: Path) -> None:
    long = [mission[0].with_name(letter * length + ".img") for letter, length in (("a", 236), ("b", 251))]
    try:
        for path in long:
            shutil.copy(mission[0], path)
            shutil.copy(mission[0].with_suffix(".hdr"), path.with_suffix(".hdr"))
        batch = detect_all([mission[0], *long, mission[1]], folder)
    finally:
        for path in long:
            path.unlink()
            path.with_suffix(".hdr").unlink()
    assert states(batch) == ["done", "failed", "failed", "done"]
    for outcome in batch.outcomes[1:3]:
        assert outcome.error.endswith("the name is too long; give a shorter one with an output in a --table")
    assert len(list(folder.glob("*.tif"))) == 2


def test_a_line_in_a_folder_whose_name_is_not_utf8_fails_alone(mission: list[Path], folder: Path) -> None:
    odd = mission[0].with_name("odd\udcff") / "inner.img"
    try:
        odd.parent.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    try:
        shutil.copy(mission[0], odd)
        shutil.copy(mission[0].with_suffix(".hdr"), odd.with_suffix(".hdr"))
        batch = detect_all([odd, mission[1]], folder)
        with contextlib.chdir(odd.parent):
            again = detect_all([Path("inner.img"), mission[1]], folder)
    finally:
        shutil.rmtree(odd.parent)
    assert states(batch) == ["failed", "done"]
    assert states(again) == ["failed", "kept"]
    assert "the name is not UTF-8" in batch.outcomes[0].error
    assert "the name of a folder that it lies in is not UTF-8" in again.outcomes[0].error
