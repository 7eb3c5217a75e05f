"""What `hadgeo batch` makes of bad input: one line, and a folder as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hadgeo
from tests.cli.test_bad_input import Bad, check, write_tiff
from tests.maps.made import write_map
from tests.support import background

TABLES = {
    "empty.csv": "",
    "headings.csv": "scene,detector\n\n",
    "noscene.csv": "detector,bands\nrx,1-5\n",
    "unknown.csv": "scene,gain\na.tif,3\n",
    "p.csv": "scene,p.\na.tif,3\n",
    "twice.csv": "scene,bands,bands\na.tif,1-5,1-6\n",
    "cells.csv": "scene,bands\na.tif,1-5\n\na.tif,1-5,6-7\n",
    "unnamed.csv": "scene,bands\na.tif,\n,1-5\n",
    "detector.csv": "scene,detector\na.tif,rx\nb.tif,rxx\n",
    "parameter.csv": "scene,p.steps\na.tif,3\n",
    "bound.csv": "scene,detector,p.steps\na.tif,bs3lnet,0\n",
    "same.csv": "scene\na.tif\nb.tif\na.tif\n",
    "itself.csv": "scene,output\na.tif,../a.tif\n",
    "suffix.csv": "scene,output\na.tif,summary.csv\n",
    "quote.csv": 'scene\n"a.tif\n',
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with scenes, a model, tables, and outputs of yesterday."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("a.tif", "b.tif"):
        write_tiff(folder / name, background((8, 30, 20)))
    (folder / "other").mkdir()
    (folder / "other" / "a.tif").write_bytes((folder / "a.tif").read_bytes())
    write_map(folder / "scores.tif", np.ones((3, 4), dtype=np.float32))
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    (folder / "latin.csv").write_bytes("scene\nä.tif\n".encode("latin-1"))
    hadgeo.train([folder / "a.tif"], "rx", out=folder / "rx.hadgeo")
    for name in ("yesterday", "damaged"):
        (folder / name).mkdir()
    (folder / "yesterday" / "summary.csv").write_text("somebody's work")
    (folder / "damaged" / "batch.json").write_text("[]")
    (folder / "old.vrt").write_text("somebody's work")
    monkeypatch.chdir(folder)
    return folder


BAD = [
    Bad("a.tif", ("Missing option '--output'", "hadgeo batch --help")),
    Bad("-o maps", ("no flight line given", "--table")),
    Bad("a.tif -o maps --pfa 1e-3", ("--pfa is of polygons", "--polygons")),
    Bad("a.tif -o maps --calibrate-on mission", ("--calibrate-on is of polygons", "--polygons")),
    Bad("a.tif -o maps --polygons x.gpkg --pfa 1e-3 --top 5", ("--pfa and --top", "give one of")),
    Bad("a.tif -o maps --polygons x.shp", ("x.shp", ".gpkg, .geojson, .parquet")),
    Bad("a.tif -o maps --polygons=", ("name is empty", "--polygons")),
    Bad("a.tif -o maps --polygons a.tif", ("a.tif", "--polygons")),
    Bad("a.tif -o maps --polygons old.vrt", ("old.vrt", "")),
    Bad("a.tif -o maps --polygons x.gpkg --polygons-crs EPSG:1", ("EPSG:1", "coordinate reference system")),
    Bad("a.tif -o maps --polygons x.gpkg --join-distance -1", ("join_distance", "at least 0")),
    Bad(
        "a.tif -o maps --polygons x.gpkg --calibrate-on mission --fit-on each",
        ("fitted on itself", "calibrate on each line"),
    ),
    Bad("a.tif other/a.tif -o maps", ("other/a.tif and a.tif would have the same map", "--table")),
    Bad("a.tif --table same.csv -o maps", ("a.tif and --table same.csv", "either as arguments or in the table")),
    Bad("a.tif -o notes/maps", ("notes/maps", "does not exist", "create it first")),
    Bad("a.tif -o a.tif", ("a.tif is a file", "give a folder")),
    Bad("a.tif -o yesterday", ("yesterday/summary.csv exists", "not from a batch", "--overwrite")),
    Bad("a.tif -o damaged", ("damaged/batch.json", "not the record of a batch", "move it away")),
    Bad("a.tif -o maps -d rxx", ("no detector 'rxx'", "did you mean")),
    Bad("a.tif -o maps -p steps=3", ("detector rx has no parameter 'steps'",)),
    Bad("a.tif -o maps --bands 1-99", ("a.tif", "99")),
    Bad("a.tif -o maps --device gpu", ("--device gpu", "no such device")),
    Bad("a.tif -o maps --fit-on second", ("--fit-on", "'second' is not one of")),
    Bad("missing.tif gone.tif -o maps", ("on any of the 2 flight lines", "missing.tif: no such file")),
    Bad("a.tif -o maps --model missing.hadgeo", ("missing.hadgeo: no such model file",)),
    Bad("a.tif -o maps --model a.tif", ("a.tif: not a hadgeo model",)),
    Bad("a.tif -o maps --model rx.hadgeo --fit-on each", ("rx.hadgeo: --fit-on is fixed in a model", "omit it")),
    Bad("a.tif -o maps --model rx.hadgeo --bands 1-5", ("rx.hadgeo: --bands is fixed in a model",)),
    Bad("a.tif -o maps --mosaic mosaic.tif", ("mosaic.tif", "ending in .vrt")),
    Bad("a.tif -o maps --mosaic old.vrt", ("old.vrt exists", "--overwrite")),
    Bad("a.tif -o maps --mosaic nowhere/x.vrt", ("nowhere/x.vrt", "does not exist")),
    Bad("a.tif -o maps --cluster somewhere", ("--cluster somewhere", "tcp://host:8786, local:2 or cuda")),
    Bad("a.tif -o maps --cluster local:none", ("--cluster local:none", "local:2")),
    Bad("--table missing.csv -o maps", ("missing.csv", "No such file", "give CSV in UTF-8")),
    Bad("--table other -o maps", ("other", "directory", "give CSV in UTF-8")),
    Bad("--table latin.csv -o maps", ("latin.csv", "give CSV in UTF-8")),
    Bad("--table quote.csv -o maps", ("quote.csv", "unexpected end of data")),
    Bad("--table empty.csv -o maps", ("empty.csv: row 1: no heading 'scene'",)),
    Bad("--table headings.csv -o maps", ("headings.csv: the table is empty",)),
    Bad("--table noscene.csv -o maps", ("noscene.csv: row 1: no heading 'scene'",)),
    Bad("--table unknown.csv -o maps", ("unknown.csv: row 1: unknown heading 'gain'", "p.NAME")),
    Bad("--table p.csv -o maps", ("p.csv: row 1: unknown heading 'p.'",)),
    Bad("--table twice.csv -o maps", ("twice.csv: row 1: the heading bands appears twice",)),
    Bad("--table cells.csv -o maps", ("cells.csv: row 4: 3 cells under 2 headings", "quote")),
    Bad("--table unnamed.csv -o maps", ("unnamed.csv: row 3: no scene",)),
    Bad("--table detector.csv -o maps", ("detector.csv: row 3: no detector 'rxx'",)),
    Bad("--table parameter.csv -o maps", ("parameter.csv: row 2: detector rx has no parameter 'steps'",)),
    Bad("--table bound.csv -o maps", ("bound.csv: row 2: detector bs3lnet: steps must be", "not '0'")),
    Bad("--table same.csv -o maps", ("same.csv: row 4 and same.csv: row 2 would have the same map",)),
    Bad("--table suffix.csv -o maps", ("suffix.csv: row 2", "summary.csv must end in .tif")),
    Bad("--table itself.csv -o maps", ("itself.csv: row 2", "lies outside of -o maps", "--outputs-outside")),
    Bad("a.tif -o maps --outputs-outside", ("--outputs-outside", "--table")),
    Bad("--table itself.csv -o maps --outputs-outside", ("itself.csv: row 2", "would replace the scene")),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_batch_is_refused(bad: Bad, here: Path) -> None:
    # The first -d counts where a row has none of its own; a model would contradict any.
    default = [] if "--model" in bad.args or " -d " in bad.args else ["-d", "rx"]
    check(bad, here, "batch", "--progress", "none", *default, *bad.args.split())


@pytest.mark.parametrize("where", ["", "local", "local:0", "local:1.5", "somewhere", "tcp:host:8786"])
def test_detect_refuses_what_is_no_cluster(where: str, here: Path) -> None:
    bad = Bad(where, (f"--cluster {where}", "local:2"))
    check(bad, here, "detect", "a.tif", "--progress", "none", "--cluster", where)
