"""What ``hadgeo quicklook`` makes of bad input: one clear line, and a folder as it was before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.cli.test_bad_input import (
    BANDS,
    Bad,
    assert_one_line,
    check,
    here,
    leave,
    listing,
    mount,
    run,
    scenes,
    small_disk,
    write_tiff,
)
from tests.support import background

# Fixtures that this module shares with the table of `hadgeo detect`.
__all__ = ["here", "scenes", "small_disk"]

BAD = [
    Bad("missing.tif -o x.png", ("missing.tif", "no such file", "check the path")),
    Bad("folder -o x.png", ("folder", "give a file")),
    Bad("notes.txt -o x.png", ("notes.txt", "not a raster")),
    Bad("short.img -o x.png", ("short.img", "cut short", "copy it again")),
    Bad("empty.tif -o x.png", ("empty.tif", "no data", "--rgb")),
    Bad("good.tif missing.tif -o x.png", ("missing.tif", "no such score map", "hadgeo detect")),
    Bad("good.tif notes.txt -o x.png", ("notes.txt", "not a raster")),
    Bad("good.tif good.tif -o x.png", ("good.tif", "8 bands, but a score map has one")),
    Bad("good.tif other.tif -o x.png", ("other.tif", "29 x 20 pixels", "good.tif has 30 x 20", "of this scene")),
    Bad("good.tif --polygons missing.gpkg -o x.png", ("missing.gpkg", "no such file")),
    Bad("good.tif --polygons notes.txt -o x.png", ("notes.txt", "not a vector file")),
    Bad("good.tif --polygons good.tif -o x.png", ("good.tif", "not a vector file")),
    Bad("good.tif --rgb red -o x.png", ("--rgb red", "860,640,550")),
    Bad("good.tif --rgb 860,640,550 -o x.png", ("--rgb 860,640,550", "400 to 470 nm")),
    Bad("two_bands.tif --rgb 860,640,550 -o x.png", ("no wavelengths", "band numbers from 1 to 2")),
    Bad("good.tif --stretch 98,2 -o x.png", ("stretch 98,2", "the lower one first")),
    Bad("good.tif --stretch nan,98 -o x.png", ("stretch nan,98", "0 to 100")),
    Bad("good.tif --stretch 2 -o x.png", ("--stretch", "'2' is not of the form LOW,HIGH")),
    Bad("good.tif --size 3 -o x.png", ("size 3", "100 to 5000")),
    Bad("good.tif --size huge -o x.png", ("--size", "'huge' is not a valid integer")),
    Bad("good.tif -o good.tif --overwrite", ("good.tif is one of the inputs", "another name")),
    Bad("link.tif -o good.tif --overwrite", ("good.tif is one of the inputs", "another name")),
    Bad("good.tif map.png -o map.png --overwrite", ("map.png is one of the inputs",)),
    Bad("good.tif -o map.png", ("map.png exists", "--overwrite")),
    Bad("good.tif -o x.tif", ("x.tif", "must end in .png, .jpg")),
    Bad("good.tif -o x", ("must end in .png, .jpg",)),
    Bad("good.tif -o folder", ("folder is a folder",)),
    Bad("good.tif -o nowhere/x.png", ("nowhere/x.png", "does not exist")),
    Bad("good.tif -o existing.tif/x.png", ("existing.tif/x.png", "is a file")),
    Bad(f"good.tif -o {'x' * 250}.png", ("the name is too long",)),
    Bad("", ("Missing argument 'SCENE'", "hadgeo quicklook --help")),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:60])
def test_bad_input_is_refused_in_one_line(bad: Bad, here: Path) -> None:
    write_tiff(here / "other.tif", background((1, 29, 20)), tags={})
    write_tiff(here / "map.png", background((1, 30, 20)), tags={})
    check(bad, here, "quicklook", "-q", *bad.args.split())


def test_a_damaged_score_map_is_a_failure_on_the_way(here: Path) -> None:
    write_tiff(here / "map.tif", background((1, 30, 20)), tags={}, compress="deflate")
    with rasterio.open(here / "map.tif") as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content = bytearray((here / "map.tif").read_bytes())
    content[start : start + 200] = bytes(200)
    (here / "map.tif").write_bytes(content)
    check(
        Bad("", ("map.tif", "damaged", "copy it again"), code=1),
        here,
        *["quicklook", "-q", "good.tif", "map.tif", "-o", "x.png"],
    )


def test_a_disk_that_cannot_be_written_or_is_full(small_disk: Path, here: Path) -> None:
    write_tiff(here / "noise.tif", np.random.default_rng(0).random((BANDS, 300, 300)))
    out = small_disk / "x.png"
    out.write_bytes(b"the picture of yesterday")
    for free, words in ((10_000, "MB of disk"), (80_000, "the disk is full")):
        leave(small_disk, free)
        result = run("quicklook", "-q", "noise.tif", "-o", str(out), "--overwrite")
        assert result.exit_code == 2
        assert_one_line(result.stderr, "x.png", words, "free some space")
        (small_disk / "eater").unlink()
        assert listing(small_disk) == {str(out): b"the picture of yesterday"}
    out.unlink()
    mount("-o", "remount,ro", str(small_disk))
    result = run("quicklook", "-q", "good.tif", "-o", str(out))
    assert result.exit_code == 2
    assert_one_line(result.stderr, "no permission", "-o to write elsewhere")
    assert list(small_disk.iterdir()) == []
