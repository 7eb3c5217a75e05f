"""The folder in which a map grows: whose it is, what is removed from it, and how much disk it holds already."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.grid import Grid
from hadgeo.maps.part_folder import PartFolder, held_bytes
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import tile
from tests.cli.test_bad_input import leave, listing, small_disk

__all__ = ["small_disk"]


@pytest.mark.parametrize("held", [True, False])
def test_a_link_in_its_place_is_refused_and_not_followed(held: bool, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("scores.tif", "thesis.txt", *(["hadgeo.lock"] if held else [])):
        (elsewhere / name).write_bytes(b"precious")
    (tmp_path / "map.tif.part").symlink_to(elsewhere)
    before = listing(tmp_path)
    with pytest.raises(OutputExistsError, match=r"map\.tif\.part is a link, .*; move it away, or use -o"):
        PartFolder(tmp_path / "map.tif")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["hadgeo.lock", "scores.tif", "journal.jsonl"])
def test_links_inside_are_refused_too(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"years of work")
    part = tmp_path / "map.tif.part"
    part.mkdir()
    (part / "hadgeo.lock").write_bytes(b"")
    (part / name).unlink(missing_ok=True)
    (part / name).symlink_to(precious)
    before = listing(tmp_path)
    with pytest.raises(OutputExistsError, match=f"{name} is a link"):
        PartFolder(tmp_path / "map.tif")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["hadgeo.lock", "scores.tif", "journal.jsonl"])
def test_a_file_that_is_one_elsewhere_is_not_written_into(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"years of work")
    part = tmp_path / "map.tif.part"
    part.mkdir()
    (part / "hadgeo.lock").write_bytes(b"")
    (part / name).unlink(missing_ok=True)
    os.link(precious, part / name)
    before = listing(tmp_path)
    with pytest.raises(OutputExistsError, match=f"{name} is no plain file, or has another name elsewhere"):
        PartFolder(tmp_path / "map.tif")
    assert listing(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives folders away")
def test_the_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    PartFolder(tmp_path / "map.tif").release()
    os.chown(tmp_path / "map.tif.part", 12345, -1)
    with pytest.raises(OutputExistsError, match=r"map\.tif\.part belongs to another user \(12345\), .* use -o"):
        PartFolder(tmp_path / "map.tif")


def test_nothing_is_removed_but_what_a_run_puts_there(tmp_path: Path) -> None:
    part = tmp_path / "map.tif.part"
    ours = ["scores.tif", "new.tif", "north_up.tif", "overview1.tif", "overview12.tif", "cog.tif", "cog.tif.ovr.tmp"]
    ours += ["map.vrt", "model.hadgeo", "products.json", "journal.jsonl", "hadgeo.lock"]
    theirs = ["thesis.txt", "scores.tif.bak", "overview.tif", "other.hadgeo", "my.scores.tif"]
    part.mkdir()
    for name in [*ours, *theirs]:
        (part / name).write_bytes(name.encode())
    with PartFolder(tmp_path / "map.tif"):
        pass
    assert listing(part) == {str(part / name): name.encode() for name in theirs}


def test_a_folder_that_is_gone_meanwhile_hides_no_error(tmp_path: Path) -> None:
    def fail() -> None:
        with PartFolder(tmp_path / "map.tif") as folder:
            shutil.rmtree(folder.path)
            raise KeyError("the reason")

    with pytest.raises(KeyError, match="the reason"):
        fail()
    assert not list(tmp_path.iterdir())


def test_an_output_folder_that_is_gone_is_no_success(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    scores = np.zeros((3, 4), dtype=np.float32)

    def lose() -> None:
        with ScoreWriter(home / "map.tif", grid=Grid((3, 4)), description="", tags={}) as writer:
            for window in tile((3, 4), (3, 4)):
                writer.write(window, scores)
            writer.complete()
            shutil.rmtree(home)
            writer.place()

    with pytest.raises(OutputError, match=r"map\.tif cannot be written: the folder .*home no longer exists"):
        lose()


def test_the_disk_that_an_interrupted_run_holds_is_not_asked_for_again(small_disk: Path) -> None:
    out = small_disk / "map.tif"
    assert held_bytes(out) == 0
    left = PartFolder(out)
    (left.path / "scores.tif").write_bytes(bytes(1_000_000))
    (left.path / "thesis.txt").write_bytes(bytes(500_000))
    left.release()
    assert 1_000_000 <= held_bytes(out) < 1_100_000
    # Of 2.1 MB that a map takes, 1 is there.
    leave(small_disk, 1_300_000)
    with ScoreWriter(out, grid=Grid((400, 500)), description="", tags={}):
        pass
    for path in (small_disk / "eater", left.path / "thesis.txt"):
        path.unlink()
    left.path.rmdir()
    leave(small_disk, 1_300_000)
    with pytest.raises(OutputError, match="MB of disk"):
        ScoreWriter(out, grid=Grid((400, 500)), description="", tags={})
