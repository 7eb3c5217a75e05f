"""What `hadgeo threshold` and a decision of `hadgeo detect` make of bad input: one line, and a folder as it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_bad_input import Bad, assert_one_line, check, cut, listing, run, write_tiff
from tests.maps.made import write_map
from tests.support import background


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a scene, good and bad maps, and outputs of yesterday."""
    folder = tmp_path / "here"
    folder.mkdir()
    scores = np.random.default_rng(0).exponential(size=(60, 50)).astype(np.float32)
    write_map(folder / "scores.tif", scores)
    write_map(folder / "few.tif", scores[:4, :5])
    write_map(folder / "empty.tif", np.full((9, 8), np.nan, dtype=np.float32))
    write_tiff(folder / "complex.tif", np.ones((1, 5, 5), dtype=np.complex64), tags={})
    write_map(folder / "large.tif", np.tile(scores, (40, 1)))
    cut(folder / "large.tif", folder / "damaged.tif", 0.7)
    write_tiff(folder / "scene.tif", background((8, 30, 20)))
    (folder / "notes.txt").write_text("no raster\n")
    (folder / "folder").mkdir()
    for name in ("old.gpkg", "old.geojson", "old.tif"):
        (folder / name).write_bytes(b"somebody's work")
    (folder / "readonly.gpkg").write_bytes(b"somebody's work")
    (folder / "readonly.gpkg").chmod(0o444)
    (folder / "open.gpkg").write_bytes(b"somebody's work")
    (folder / "open.gpkg-wal").write_bytes(b"")
    monkeypatch.chdir(folder)
    return folder


BAD = [
    Bad("", ("Missing argument 'SCORES'", "hadgeo threshold --help")),
    Bad("missing.tif", ("missing.tif", "no such score map", "hadgeo detect")),
    Bad("folder", ("folder", "not a raster")),
    Bad("notes.txt", ("notes.txt", "not a raster", "give a score map")),
    Bad("scene.tif", ("scene.tif", "8 bands", "hadgeo detect")),
    Bad("complex.tif", ("complex.tif", "complex64", "real numbers")),
    Bad("empty.tif", ("empty.tif", "no pixel has a score", "the right map?")),
    Bad("damaged.tif", ("damaged.tif", "damaged", "copy it again"), 1),
    Bad("scores.tif --pfa 0", ("pfa must be above 0 and below 1", "1e-3", "not 0")),
    Bad("scores.tif --pfa 1", ("pfa must be above 0 and below 1", "not 1")),
    Bad("scores.tif --pfa -1e-3", ("pfa must be above 0", "not -0.001")),
    Bad("scores.tif --pfa nan", ("pfa must be above 0", "not nan")),
    Bad("scores.tif --pfa few", ("--pfa", "'few' is not a valid float", "hadgeo threshold --help")),
    Bad("scores.tif --percentile 100", ("percentile must be at least 0 and below 100", "99.9", "not 100")),
    Bad("scores.tif --percentile -1", ("percentile must be at least 0", "not -1")),
    Bad("scores.tif --value inf", ("value must be a score that a float32 map can hold", "not inf")),
    Bad("scores.tif --value 1e300", ("value must be a score that a float32 map can hold", "not 1e+300")),
    Bad("scores.tif --top 0", ("top must be at least 1 pixel", "not 0")),
    Bad("scores.tif --top 3001", ("top 3001", "only 3000 pixels have a score", "ask for fewer")),
    Bad("scores.tif --top 3 --pfa 0.1", ("--pfa and --top", "give one of")),
    Bad("few.tif --pfa 1e-3", ("pfa 0.001", "20 pixels cannot show a rate below 0.05", "ask for a higher rate")),
    Bad("scores.tif --connectivity 6", ("--connectivity", "'6' is not one of", "'4', '8'")),
    Bad("scores.tif --min-pixels 0", ("min_pixels must be at least 1", "not 0")),
    Bad("scores.tif --grow-pfa 1", ("grow_pfa must be at least 0 (no growth) and below 1", "not 1")),
    Bad("scores.tif --merge-distance -1", ("merge_distance must be at least 0", "not -1")),
    Bad("scores.tif --merge-distance 5", ("groups are only merged for polygons", "add --polygons")),
    Bad("scores.tif --polygons x.shp", ("x.shp", ".gpkg, .geojson, .parquet", "one of these suffixes")),
    Bad("scores.tif --polygons anomalies", ("anomalies", ".gpkg, .geojson, .parquet")),
    Bad("scores.tif --polygons old.gpkg", ("old.gpkg exists", "--overwrite", "or --polygons to write elsewhere")),
    Bad("scores.tif --polygons old.geojson", ("old.geojson exists", "--overwrite")),
    Bad("scores.tif --polygons readonly.gpkg", ("readonly.gpkg exists", "--overwrite")),
    Bad("scores.tif --polygons readonly.gpkg --overwrite", ("readonly.gpkg is read-only", "make it writable")),
    Bad("scores.tif --polygons open.gpkg --overwrite", ("open.gpkg is open in another program", "close it there")),
    Bad("scores.tif --polygons folder", ("folder is a folder", "give the name of a file")),
    Bad("scores.tif --polygons nowhere/x.gpkg", ("nowhere/x.gpkg", "does not exist", "create it first")),
    Bad("scores.tif --p-values old.tif", ("old.tif exists", "--overwrite", "or --p-values to write elsewhere")),
    Bad(
        "scores.tif --p-values scores.tif --overwrite", ("scores.tif is scores.tif, which this run needs", "--p-values")
    ),
    Bad("scores.tif --p-values folder/../scores.tif --overwrite", ("which this run needs", "--p-values")),
    Bad("scores.tif --p-values x.gpkg --polygons x.gpkg", ("x.gpkg is x.gpkg, which this run needs", "--p-values")),
    Bad("scores.tif --p-values nowhere/p.tif", ("nowhere/p.tif", "does not exist", "or use --p-values")),
]

BAD_DETECT = [
    Bad("scene.tif --pfa 2", ("pfa must be above 0 and below 1", "not 2")),
    Bad("scene.tif --pfa 0.1 --top 5", ("--pfa and --top", "give one of")),
    Bad("scene.tif --merge-distance 5", ("groups are only merged for polygons", "add --polygons")),
    Bad("scene.tif --polygons old.gpkg", ("old.gpkg exists", "--overwrite", "--polygons to write elsewhere")),
    Bad("scene.tif --polygons readonly.gpkg --overwrite", ("readonly.gpkg is read-only", "make it writable")),
    Bad("scene.tif --polygons x.txt", ("x.txt", ".gpkg, .geojson, .parquet")),
    Bad("scene.tif --p-values scene.tif --overwrite", ("scene.tif, which this run needs", "--p-values")),
    Bad("scene.tif --p-values scene_anomaly.tif", ("scene_anomaly.tif, which this run needs", "--p-values")),
    Bad("scene.tif -o m.tif --p-values m.tif", ("m.tif is m.tif, which this run needs", "--p-values")),
    Bad(
        "scene.tif scores.tif --polygons x.gpkg",
        ("--polygons: only possible for a single map", "2 scenes", "on each map instead"),
    ),
    Bad("missing.tif --polygons x.gpkg", ("missing.tif", "no such file", "check the path")),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_threshold_is_refused(bad: Bad, here: Path) -> None:
    check(bad, here, "threshold", "--progress", "none", *bad.args.split())


@pytest.mark.parametrize("bad", BAD_DETECT, ids=str)
def test_a_bad_decision_is_refused_before_anything_is_computed(bad: Bad, here: Path) -> None:
    check(bad, here, "detect", "-d", "rx", *bad.args.split())


@pytest.mark.parametrize("option", ["--polygons", "--p-values"])
def test_an_output_without_a_name_is_refused(option: str, here: Path) -> None:
    check(Bad("", ("the output's name is empty", option)), here, "threshold", "scores.tif", option, "")


def test_polygons_without_their_libraries_name_the_extra(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("hadgeo.decisions.polygons", "hadgeo.decisions.layers"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delattr(module, raising=False)
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    before = listing(here)
    result = run("threshold", "scores.tif", "--polygons", "x.gpkg")
    assert result.exit_code == 2
    assert_one_line(result.stderr, "polygons need pyogrio", 'pip install "hadgeo[vector]"')
    assert listing(here) == before
    assert run("threshold", "scores.tif", "--quiet").exit_code == 0


def test_geoparquet_without_its_library_names_the_extra(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    check(
        Bad("", ("GeoParquet needs pyarrow", "hadgeo[vector]")),
        here,
        "threshold",
        "scores.tif",
        "--polygons",
        "x.parquet",
    )


def test_what_is_overwritten_is_a_whole_new_file(here: Path) -> None:
    assert run("threshold", "scores.tif", "--polygons", "old.gpkg", "--overwrite", "-q").exit_code == 0
    with sqlite3.connect("old.gpkg") as file:
        assert file.execute("select count(*) from anomalies").fetchone()[0] > 0
