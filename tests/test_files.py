"""Files are whole or not there, nobody's file is lost on the way, and what cannot be written is refused before."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.files import (
    check_name,
    check_output,
    remove_leftovers,
    same_file,
    write_whole,
    writing,
    written_beside,
    written_together,
)
from hadgeo.maps.part_folder import PartFolder
from tests.cli.test_bad_input import assert_one_line, leave, listing, small_disk

__all__ = ["small_disk"]

ROOT = Path(__file__).parents[1]

#: As long as names may be on the usual file systems, but for what is added to it.
LONG = "x" * 246


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scene with its truth, its map and a model."""
    folder = tmp_path_factory.mktemp("scene")
    line = folder / "line.img"
    hadgeo.simulate(line, rows=40, cols=30, bands=12, targets=2)
    hadgeo.detect(line, "rx", out=folder / "map.tif")
    hadgeo.train([line], "rx", out=folder / "rx.hadgeo")
    return line


@pytest.fixture
def here(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that, as the working directory."""
    for path in scene.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: str) -> Result:
    return CliRunner().invoke(cli, words.split())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    out.write_text("old")
    with written_beside(out) as part:
        part.write_text("new")
        assert (part.parent.parent, part.suffix, out.read_text()) == (tmp_path, ".json", "old")
    assert listing(tmp_path) == {str(out): b"new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OutputError, OSError(5, "broken")])
def test_nothing_is_left_after_an_error_in_the_middle(error: BaseException, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    out.write_text("old")
    expected = OutputError if isinstance(error, OSError) else error

    def fail() -> None:
        with written_beside(out) as part:
            part.write_text("half")
            raise error

    with pytest.raises(expected):  # type: ignore[arg-type]
        fail()
    assert listing(tmp_path) == {str(out): b"old"}


def test_errors_of_hadgeo_come_through_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match=r"^told already$"), writing(tmp_path / "x"):
        raise OutputExistsError("told already")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_gets_the_permissions_that_any_new_file_gets(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "x.json", b"")
        with written_together([tmp_path / "a", tmp_path / "b"]) as folder:
            for name in "ab":
                (folder / name).write_bytes(b"")
    finally:
        os.umask(before)
    for name in ("x.json", "a", "b"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_files_that_belong_together_appear_together(tmp_path: Path) -> None:
    outs = [tmp_path / "line.img", tmp_path / "line.hdr"]
    with written_together(outs) as folder:
        for out in outs:
            (folder / out.name).write_text(out.name)
        assert not any(out.exists() for out in outs)
    assert listing(tmp_path) == {str(out): out.name.encode() for out in outs}


def test_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    out, together = tmp_path / "x", threading.Barrier(4)

    def write(letter: str) -> None:
        with written_beside(out) as part:
            together.wait()
            part.write_text(letter * 100_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(out.read_text())) == 1
    assert list(tmp_path.iterdir()) == [out]


#: Writes a file, and is killed when half of it stands there.
KILLED = """
import os, signal, sys
from pathlib import Path
from hadgeo.files import written_beside, written_together
out = Path(sys.argv[1])
with written_together([out, out.with_suffix(".hdr")]) if sys.argv[2] == "together" else written_beside(out) as part:
    (part / out.name if sys.argv[2] == "together" else part).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(out: Path, how: str = "beside") -> None:
    """Leave behind what a kill leaves behind."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), how], env=env, check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_kills_leave_behind_goes_with_the_next_run_that_writes_there(tmp_path: Path) -> None:
    killed(tmp_path / "x.json")
    killed(tmp_path / "y.img", "together")
    # The second has removed what was left of the first.
    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == ["y"]
    (tmp_path / "z.tif.0123abcd.part").mkdir()
    write_whole(tmp_path / "other.json", b"whole")
    assert listing(tmp_path) == {str(tmp_path / "other.json"): b"whole"}


def test_what_others_write_at_that_time_stays(tmp_path: Path) -> None:
    with written_beside(tmp_path / "x.json") as part:
        part.write_text("of another run")
        remove_leftovers(tmp_path)
    assert listing(tmp_path) == {str(tmp_path / "x.json"): b"of another run"}


def test_nothing_is_taken_for_a_leftover_but_what_kills_leave_behind(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"years of work")
    (tmp_path / "a.1234abcd.part").write_bytes(b"somebody's own")
    (tmp_path / "b.1234abcd.part").mkdir()
    (tmp_path / "b.1234abcd.part" / "thesis").write_bytes(b"somebody's own")
    (tmp_path / "c.1234abcd.part").symlink_to(tmp_path / "b.1234abcd.part")
    (tmp_path / "d.1234abcd.part").mkdir()
    os.link(precious, tmp_path / "d.1234abcd.part" / "growing.lock")
    # The folder of a map that is called after a day, of a run that may go on.
    PartFolder(tmp_path / "map.20261126").release()
    before = listing(tmp_path)
    remove_leftovers(tmp_path)
    assert listing(tmp_path) == before


#: Commands that each write small products, and those.
WRITERS = {
    "detect line.img -d rx -q -o new.tif": ["new.json"],
    "threshold map.tif -q --top 9 --scene line.img --polygons a.gpkg --evidence a.nc": ["a.gpkg", "a.nc", "a.json"],
    "threshold map.tif -q --top 9 --polygons a.geojson": ["a.geojson", "a.json"],
    "threshold map.tif -q --top 9 --polygons a.parquet": ["a.parquet", "a.json"],
    "train line.img -d rx -q -o m.hadgeo": ["m.hadgeo", "m.json"],
    "quicklook line.img map.tif -q -o a.png --size 300": ["a.png"],
    "evaluate map.tif line_truth.tif --bootstrap 0 --plot roc.svg": ["roc.svg"],
    "simulate made.img --rows 20 --cols 20 --bands 8 --targets 0 -q": ["made.img", "made.hdr", "made_truth.tif"],
}


@pytest.mark.parametrize("words", WRITERS)
def test_links_and_files_at_names_beside_a_product_stay_as_they_are(words: str, here: Path) -> None:
    precious = here / "precious"
    precious.write_bytes(b"years of work")
    for number, name in enumerate(WRITERS[words]):
        beside = here / f"{name}.part"
        if number % 2:
            beside.write_bytes(b"somebody's own")
        else:
            beside.symlink_to(precious)
    before = listing(here)
    result = run(words)
    assert result.exit_code == 0, result.output
    after = listing(here)
    assert {name: after.get(name) for name in before} == before
    new = {Path(name).name for name in set(after) - set(before)}
    assert new == {*WRITERS[words], *(["new.tif"] if "new.tif" in words else [])}


def test_a_link_in_the_place_of_a_product_is_replaced_and_not_followed(here: Path) -> None:
    (here / "precious.png").write_bytes(b"years of work")
    (here / "a.png").symlink_to("precious.png")
    assert run("quicklook line.img -q -o a.png --size 300 --overwrite").exit_code == 0
    assert (here / "precious.png").read_bytes() == b"years of work"
    assert not (here / "a.png").is_symlink()


def test_the_files_of_a_batch_grow_beside_nobodys(here: Path) -> None:
    (here / "maps").mkdir()
    for name in ("batch.json", "summary.csv", "summary.html", "model.hadgeo", "mosaic.vrt"):
        (here / "maps" / f"{name}.part").write_bytes(b"somebody's own")
    result = run("batch line.img -d rx -o maps --mosaic maps/mosaic.vrt -q")
    assert result.exit_code == 0, result.output
    kept = sorted((here / "maps").glob("*.part"))
    assert len(kept) == 5
    assert {path.read_bytes() for path in kept} == {b"somebody's own"}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (f"detect line.img -d rx -o {LONG}.tif", "-o"),
        (f"threshold map.tif --polygons {LONG}.gpkg", "--polygons"),
        (f"threshold map.tif --p-values {LONG}.tif", "--p-values"),
        (f"threshold map.tif --scene line.img --evidence {LONG}.nc", "--evidence"),
        (f"threshold map.tif --scene line.img --spectra {LONG}/.", "--spectra"),
        (f"detect line.img -d rx --polygons {LONG}.gpkg", "--polygons"),
        (f"train line.img -d rx -o {LONG}.hgm", "-o"),
        (f"quicklook line.img -o {LONG}.png", "-o"),
        (f"evaluate map.tif line_truth.tif --plot {LONG}.png", "--plot"),
        (f"compare line.img --truth line_truth.tif -d rx --plot {LONG}.png", "--plot"),
        (f"batch line.img -d rx -o {LONG}maps", "-o"),
        (f"batch line.img -d rx -o maps --mosaic {LONG}.vrt", "--mosaic"),
        (f"simulate {LONG}.img --rows 20 --cols 20 --bands 8", "OUT"),
    ],
    ids=lambda value: value.replace(LONG, "LONG"),
)
def test_a_name_that_would_be_too_long_in_the_end_is_refused_at_once(words: str, option: str, here: Path) -> None:
    before = listing(here)
    result = run(words)
    assert result.exit_code == 2, result.output
    assert_one_line(result.stderr, "the name is too long", f"a shorter one with {option}")
    assert "device" not in result.stderr
    assert listing(here) == before


def test_the_manifest_beside_a_map_counts_too(here: Path) -> None:
    # The longest that a map can have; its manifest's is three letters longer.
    name = "x" * 239 + ".t"
    result = run(f"detect line.img -d rx -o {name}")
    assert result.exit_code == 2
    assert_one_line(result.stderr, ".json: the name is too long")
    assert not list(here.glob("xx*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("detect line.img -d rx -o line.hdr --overwrite", "line.hdr is the scene itself"),
        ("detect line.img --model rx.hadgeo -o rx.hadgeo --overwrite", "rx.hadgeo is one of the inputs"),
        (
            "detect line.img --model rx.hadgeo --p-values rx.hadgeo --overwrite",
            "rx.hadgeo, which this run needs",
        ),
        ("detect line.img line_anomaly.tif -d rx --overwrite", "line_anomaly.tif is one of the inputs"),
        ("threshold map.tif --scene line.hdr --p-values line.img --overwrite", "line.img, which this run needs"),
        ("threshold map.tif --p-values map.tif --overwrite", "map.tif, which this run needs"),
        (
            "threshold map.tif --scene line.img --model rx.hadgeo --p-values rx.hadgeo --overwrite",
            "which this run needs",
        ),
        ("threshold map.tif --polygons a.gpkg --p-values a.json", "a.json, which this run needs"),
        ("train line.hdr -d rx -o line.img --overwrite", "line.img is a scene"),
        ("quicklook line.img map.tif -o map.png --polygons map.png --overwrite", "map.png is one of the inputs"),
        ("evaluate map.tif line_truth.png --plot line_truth.png --overwrite", "line_truth.png is an input of this run"),
    ],
)
def test_an_output_that_is_an_input_is_refused(words: str, told: str, here: Path) -> None:
    for copy, of in (("line_anomaly.tif", "map.tif"), ("map.png", "map.tif"), ("line_truth.png", "line_truth.tif")):
        (here / copy).write_bytes((here / of).read_bytes())
    before = listing(here)
    result = run(words)
    assert result.exit_code == 2, result.output
    assert_one_line(result.stderr, told, "another name")
    assert listing(here) == before


def test_names_of_one_file_are_seen_through(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("link", "hard", "./a"):
        assert same_file(tmp_path / "a", tmp_path / name)
    assert same_file(tmp_path / "not yet", tmp_path / "not yet")
    assert not same_file(tmp_path / "a", tmp_path / "b")
    assert not same_file(tmp_path / "a", tmp_path / ("x" * 300))
    assert not same_file(tmp_path / "a", tmp_path / "nul\0")


@pytest.mark.parametrize("name", ["nul\0", "odd\udcff", "x" * 250, "x" * 300])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--plot"):
        check_name(tmp_path / name, "--plot")
    with pytest.raises(OutputError, match="--plot"):
        check_output(tmp_path / name, overwrite=True, option="--plot")


@pytest.fixture
def products(small_disk: Path) -> dict[str, Callable[[], object]]:
    """What fills a disk of 4 MB, through the writers themselves."""
    from hadgeo.evidence.gather import write_evidence
    from hadgeo.mission.summary import Row, write_csv

    evidence = xr.Dataset({"spectrum": (("anomaly", "band"), np.zeros((3, 40_000)))})
    rows = [Row("scene" * 20, "failed", "map.tif", {}, "error" * 40, None) for _ in range(4000)]
    return {
        "bytes": lambda: write_whole(small_disk / "x", bytes(1_000_000), "--polygons"),
        "evidence": lambda: write_evidence(evidence, small_disk / "x", overwrite=True),
        "summary": lambda: write_csv(rows, small_disk / "x"),
    }


@pytest.mark.parametrize(("kind", "option"), [("bytes", "--polygons"), ("evidence", "--evidence"), ("summary", "-o")])
def test_a_full_disk_is_one_line_and_loses_nothing(
    kind: str, option: str, products: dict[str, Callable[[], object]], small_disk: Path
) -> None:
    out = small_disk / "x"
    out.write_bytes(b"of yesterday")
    leave(small_disk, 120_000)
    with pytest.raises(OutputError) as full:
        products[kind]()
    text = str(full.value)
    assert text.startswith(f"{out} cannot be written: the disk is full")
    assert text.endswith(f"free some space, or use {option} to write elsewhere")
    assert "\n" not in text
    (small_disk / "eater").unlink()
    assert listing(small_disk) == {str(out): b"of yesterday"}


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def lose() -> None:
        with written_beside(folder / "x") as part:
            shutil.rmtree(folder)
            part.write_bytes(b"")

    with pytest.raises(
        OutputError, match=r"folder/x cannot be written: the folder .*folder no longer exists; create it again"
    ):
        lose()


def test_disk_that_is_needed_is_told_with_what_is_free(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"x: it needs 10\d{5}\.\d GB of disk space, but \d+\.\d GB are free; free some space"
    ):
        check_output(tmp_path / "x", overwrite=False, nbytes=10**15)


@pytest.mark.parametrize("name", ["x.png", "x.vrt", "x.IMG", "x.gpkg"])
def test_a_map_is_not_written_under_the_name_of_another_format(tmp_path: Path, name: str) -> None:
    scene = tmp_path / "line.tif"
    hadgeo.simulate(scene, rows=20, cols=20, bands=12, targets=1)
    before = listing(tmp_path)
    with pytest.raises(OutputError, match=r"under the name of another format; use -o to call it x\.tif"):
        hadgeo.detect(scene, "rx", out=tmp_path / name)
    assert listing(tmp_path) == before
    hadgeo.detect(scene, "rx", out=tmp_path / "s.tif")
    told = CliRunner().invoke(cli, ["threshold", str(tmp_path / "s.tif"), "--p-values", str(tmp_path / name)])
    assert told.exit_code == 2
    assert "use --p-values to call it x.tif" in told.output
    assert not (tmp_path / name).exists()
