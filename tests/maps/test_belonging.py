"""Files that shall belong together, and do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.errors import CubeError, CubeWarning
from hadgeo.maps.belonging import check_polygons
from hadgeo.maps.polygon_fields import ids_by_verdict, maps_by_id

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotated line with its map, polygons, evidence and model, and another line on the same grid."""
    home = tmp_path_factory.mktemp("lines")
    for seed, name in enumerate(("line.img", "other.img")):
        hadgeo.simulate(home / name, rows=60, cols=50, bands=20, rotation=20, targets=5, seed=seed)
        hadgeo.train([home / name], "rx", out=home / f"{name}.hadgeo")
        hadgeo.detect(home / name, "rx")
    words = ["--top", "12", "--polygons", home / "found.gpkg", "--evidence", home / "found.nc"]
    run("threshold", home / "line_anomaly.tif", "--scene", home / "line.img", *words)
    hadgeo.decide(home / "other_anomaly.tif", hadgeo.Rule(top=12), hadgeo.Outputs(polygons=home / "others.gpkg"))
    return home


def run(*words: str | Path, status: int = 0) -> Result:
    # Not -q, with which warnings are silent too.
    result = CliRunner().invoke(cli, [*map(str, words), "--progress", "none"])
    assert result.exit_code == status, result.output
    return result


def refused(*words: str | Path) -> str:
    told = run(*words, status=2).stderr
    assert len(told.splitlines()) == 1
    return told


def test_a_map_of_another_line_is_no_map_of_a_scene(made: Path, tmp_path: Path) -> None:
    words = ("threshold", made / "line_anomaly.tif", "--evidence", tmp_path / "x.nc", "--scene")
    told = run(*words, made / "other.img").stderr
    assert "warning" in told
    assert "made from line.img, not from" in told
    assert "which lies on the same grid" in told
    shutil.copy(made / "line.img", tmp_path / "line.img")
    moved = (
        (made / "line.hdr").read_text().replace("map info = {UTM, 1, 1, 500000.0", "map info = {UTM, 1, 1, 510000.0")
    )
    (tmp_path / "line.hdr").write_text(moved)
    assert "not the grid of" in refused(*words, tmp_path / "line.img")
    with pytest.warns(CubeWarning, match=r"made from line.img, not from .*other.img, which lies on the same grid"):
        hadgeo.quicklook(made / "other.img", made / "line_anomaly.tif", out=tmp_path / "x.png", size=200)


def test_a_scene_of_the_same_place_can_still_be_another_one(made: Path, tmp_path: Path) -> None:
    words = ("detect", made / "line.img", "-d", "rx", "-o", tmp_path / "map.tif", "--top", "9")
    run(*words, "--polygons", tmp_path / "found.gpkg")
    for name, bands, dtype in (("short.img", 12, "int16"), ("wide.img", 20, "float32")):
        hadgeo.simulate(tmp_path / name, rows=60, cols=50, bands=bands, rotation=20, targets=5, dtype=dtype)
    words = ("threshold", tmp_path / "map.tif", "--evidence", tmp_path / "x.nc", "--scene")
    assert "bands or more, but" in refused(*words, tmp_path / "short.img")
    # What the manifest knows of the scene.
    assert "no file of it is as large as those of that run" in refused(*words, tmp_path / "wide.img")
    for suffix in (".img", ".hdr"):
        shutil.copy(made / f"line{suffix}", tmp_path / f"renamed{suffix}")
    told = run(*words, tmp_path / "renamed.img").stderr
    assert told.count("warning") == 1


def test_a_page_is_of_one_scene_its_map_and_its_model(made: Path, tmp_path: Path) -> None:
    files = (made / "line_anomaly.tif", made / "found.gpkg", "-o", tmp_path / "page.html")
    hadgeo.simulate(tmp_path / "line.img", rows=60, cols=50, bands=20)
    assert "not the grid of" in refused("report", tmp_path / "line.img", *files)
    hadgeo.train([made / "line.img"], "cluster_rx", out=tmp_path / "c.hadgeo")
    told = refused("report", made / "line.img", *files, "--model", tmp_path / "c.hadgeo")
    assert "a model of cluster_rx, not of rx" in told
    assert "polygons of another map" in refused(
        "report", made / "line.img", files[0], made / "others.gpkg", "-o", tmp_path / "page.html"
    )
    assert not (tmp_path / "page.html").exists()
    run("report", made / "line.img", *files)


@pytest.mark.parametrize("rotation", [0, 20])
def test_the_map_of_an_extent_goes_with_the_whole_scene(rotation: int, tmp_path: Path) -> None:
    scene, scores = tmp_path / "line.img", tmp_path / "part.tif"
    hadgeo.simulate(scene, rows=60, cols=50, bands=20, rotation=rotation, targets=5)
    x, y = _middle(scene)
    words = ("detect", scene, "-d", "rx", "-o", scores, "--extent", x - 20, y - 30, x + 20, y + 30, "--top", "6")
    run(*words, "--polygons", tmp_path / "a.gpkg", "--evidence", tmp_path / "a.nc")
    words = ("threshold", scores, "--scene", scene, "--top", "6", "--polygons", tmp_path / "b.gpkg")
    run(*words, "--evidence", tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "a.nc") as ours, xr.open_dataset(tmp_path / "b.nc") as theirs:
        assert ours.spectrum.sizes["anomaly"] > 0
        np.testing.assert_array_equal(ours.spectrum.values, theirs.spectrum.sel(band=ours.band).values)
    run("report", scene, scores, tmp_path / "b.gpkg", "-o", tmp_path / "page.html")
    run("quicklook", scene, scores, "--polygons", tmp_path / "b.gpkg", "-o", tmp_path / "x.png", "--size", "200")


def _middle(scene: Path) -> tuple[float, float]:
    with rasterio.open(scene) as dataset:
        return dataset.xy(dataset.height // 2, dataset.width // 2)


def test_a_map_from_elsewhere_is_compared_by_its_grid(made: Path, tmp_path: Path) -> None:
    with rasterio.open(made / "line_anomaly.tif") as dataset:
        values, place = dataset.read(1), {"crs": dataset.crs, "transform": dataset.transform}
    profile = {"driver": "GTiff", "height": 60, "width": 50, "count": 1, "dtype": "float32"}
    for name, where in (("placed.tif", place), ("nowhere.tif", {})):
        with rasterio.open(tmp_path / name, "w", **profile, **where) as dataset:
            dataset.write(values, 1)
    words = ("--top", "3", "--scene", made / "line.img", "--evidence")
    assert "warning" not in run("threshold", tmp_path / "placed.tif", *words, tmp_path / "a.nc").stderr
    told = run("threshold", tmp_path / "nowhere.tif", *words, tmp_path / "b.nc").stderr
    assert told.count("warning") == 1
    assert "only rows and columns were compared" in told


def test_the_model_must_have_made_the_map(made: Path, tmp_path: Path) -> None:
    words = ("threshold", made / "line_anomaly.tif", "--top", "3", "--scene", made / "line.img", "--model")
    assert not run(*words, made / "line.img.hadgeo", "--evidence", tmp_path / "a.nc").stderr
    told = run(*words, made / "other.img.hadgeo", "--evidence", tmp_path / "b.nc").stderr
    assert "rx, but not the fit that scored" in told
    hadgeo.train([made / "line.img"], "cluster_rx", out=tmp_path / "c.hadgeo")
    assert "a model of cluster_rx, not of rx" in refused(*words, tmp_path / "c.hadgeo")
    hadgeo.train([made / "line.img"], "rx", parameters={"shrinkage": 0.5}, out=tmp_path / "s.hadgeo")
    assert "a model of rx with other parameters" in refused(*words, tmp_path / "s.hadgeo")


def test_polygons_of_another_map_are_not_drawn(made: Path, tmp_path: Path) -> None:
    words = ("quicklook", made / "line.img", made / "line_anomaly.tif", "-o", tmp_path / "x.png", "--size", "200")
    assert "not the polygons of" in refused(*words, "--polygons", made / "others.gpkg")
    run(*words, "--polygons", made / "found.gpkg")
    # Of whoever's polygons nothing is known.
    meta, _, wkb, _ = pyogrio.raw.read(made / "others.gpkg", columns=[])
    pyogrio.raw.write(
        tmp_path / "parcels.gpkg", wkb, field_data=[], fields=[], geometry_type="Unknown", crs=meta["crs"]
    )
    run(*words, "--polygons", tmp_path / "parcels.gpkg", "--overwrite")


@pytest.mark.parametrize("kept", [str, float], ids=["texts", "no numbers"])
def test_layers_whose_numbers_are_something_else_are_taken_for_those_of_others(
    kept: type, made: Path, tmp_path: Path
) -> None:
    meta, _, wkb, values = pyogrio.raw.read(made / "others.gpkg")
    table = {
        name: np.array([str(value) for value in column], dtype=object)
        if name in ("max_score", "peak_row", "peak_col", "id")
        else column
        for name, column in zip(meta["fields"], values, strict=True)
    }
    if kept is float:
        table["id"] = np.full(len(wkb), np.nan)
    pyogrio.raw.write(
        tmp_path / "x.gpkg", wkb, list(table.values()), list(table), geometry_type="Unknown", crs=meta["crs"]
    )
    check_polygons(tmp_path / "x.gpkg", hadgeo.open_scores(made / "line_anomaly.tif"))
    assert (maps_by_id(tmp_path / "x.gpkg"), ids_by_verdict(tmp_path / "x.gpkg", "accepted")) == ({}, [])


def test_evidence_of_other_anomalies_is_no_spectrum_to_find(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "others.gpkg", tmp_path / "x.gpkg")
    shutil.copy(made / "found.nc", tmp_path / "x.nc")
    told = refused("match", made / "line.img", "--like", f"{tmp_path / 'x.gpkg'}#1", "-o", tmp_path / "m.tif")
    assert "x.nc: its anomaly 1 lies elsewhere than that of" in told
    run("match", made / "line.img", "--like", f"{made / 'found.gpkg'}#1", "-o", tmp_path / "m.tif")


def test_what_is_no_score_is_not_taken_for_one(made: Path, tmp_path: Path) -> None:
    scores, truth = made / "line_anomaly.tif", made / "line_truth.tif"
    hadgeo.decide(scores, hadgeo.Rule(top=3), hadgeo.Outputs(p_values=tmp_path / "p.tif"))
    assert "a truth (line.img), not scores" in refused("threshold", truth)
    assert (
        "p-values, which fall as scores rise"
        in CliRunner().invoke(cli, ["evaluate", str(tmp_path / "p.tif"), str(truth)]).stderr
    )
    with pytest.raises(hadgeo.errors.TruthError, match="a score map of hadgeo, not a truth"):
        hadgeo.evaluate(scores, scores)
    with rasterio.open(truth) as dataset:
        marked = dataset.read(1)
    with rasterio.open(tmp_path / "t.tif", "w", driver="GTiff", height=60, width=50, count=1, dtype="uint8") as dataset:
        dataset.write(marked, 1)
    for act in (
        lambda: hadgeo.evaluate(tmp_path / "t.tif", truth),
        lambda: hadgeo.decide(tmp_path / "t.tif", hadgeo.Rule(top=3)),
    ):
        with pytest.raises(CubeError, match="only two different values"):
            act()


def test_a_truth_of_another_scene_is_named(made: Path) -> None:
    with pytest.warns(CubeWarning, match=r"other_truth.tif is of other.img, but .*line_anomaly.tif of line.img"):
        hadgeo.evaluate(made / "line_anomaly.tif", made / "other_truth.tif", resamples=0)


def test_a_turned_map_decides_and_explains_as_the_one_on_the_grid_of_its_scene(made: Path, tmp_path: Path) -> None:
    line, up = made / "line.img", tmp_path / "up.tif"
    shared = ("-d", "rx", "--pfa", "1e-2")
    run(
        "detect",
        line,
        *shared,
        "-o",
        tmp_path / "a.tif",
        "--polygons",
        tmp_path / "a.gpkg",
        "--evidence",
        tmp_path / "a.nc",
    )
    run(
        "detect",
        line,
        *shared,
        "-o",
        up,
        "--polygons",
        tmp_path / "b.gpkg",
        "--evidence",
        tmp_path / "b.nc",
        "--north-up",
    )
    run(
        "threshold",
        up,
        "--pfa",
        "1e-2",
        "--polygons",
        tmp_path / "c.gpkg",
        "--scene",
        line,
        "--evidence",
        tmp_path / "c.nc",
    )
    flagged = [hadgeo.decide(tmp_path / name, hadgeo.Rule(pfa=1e-2)) for name in ("a.tif", "up.tif")]
    assert flagged[0].threshold == flagged[1].threshold
    assert flagged[0].pixels == flagged[1].pixels
    one, *others = ([pyogrio.raw.read(tmp_path / f"{name}.gpkg")[2].tolist()] for name in "abc")
    assert all(other == one for other in others)
    spectra = [xr.load_dataset(tmp_path / f"{name}.nc", engine="scipy").spectrum.values for name in "abc"]
    assert all(np.array_equal(spectra[0], other) for other in spectra[1:])
    run("quicklook", line, up, "--polygons", tmp_path / "b.gpkg", "-o", tmp_path / "x.png", "--size", "200")
    (tmp_path / "up_sensor.tif").unlink()
    assert "up_sensor.tif, the map of the same run that is, does not stand beside it" in refused(
        "threshold", up, "--scene", line
    )
