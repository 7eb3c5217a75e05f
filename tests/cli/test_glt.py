"""`--glt` and `--igm`: detection in the sensor's geometry, maps and polygons on the ground."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyogrio.raw
import pytest
import rasterio
import shapely
import xarray as xr
from click.testing import CliRunner, Result

import hadgeo
from hadgeo.cli import cli
from hadgeo.maps.journal import Journal
from tests.formats.envi_files import write_envi
from tests.formats.products.makers import emit
from tests.maps.raw_line import TARGETS, RawLine, make_raw_line
from tests.run.test_resume import run as run_deadly

pytestmark = pytest.mark.filterwarnings("ignore:.*(rows and columns are used as coordinates|no coordinate reference)")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> RawLine:
    return make_raw_line(tmp_path_factory.mktemp("line"))


def invoke(*words: str | int | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def run(*words: str | int | Path) -> Result:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result


def read(path: Path) -> npt.NDArray[Any]:
    scores = hadgeo.open_scores(path)
    return scores.read(*(slice(0, length) for length in scores.shape))


def test_thresholds_of_an_orthorectified_map_count_each_pixel_once(line: RawLine, tmp_path: Path) -> None:
    out = tmp_path / "scores.tif"
    run("detect", line.scene, "-d", "rx", "--glt", line.glt, "-o", out)
    sensor = tmp_path / "scores_sensor.tif"
    told = [json.loads(run("threshold", path, "--pfa", "0.01", "--json").stdout) for path in (out, sensor)]
    assert told[0]["threshold"] == told[1]["threshold"]
    assert told[0]["valid_pixels"] == told[1]["valid_pixels"]
    words = ("--scene", line.scene, "--evidence", tmp_path / "x.nc")
    assert "give " + str(sensor) in invoke("threshold", out, *words).stderr
    sensor.unlink()
    assert "rates count each repetition of a pixel" in run("threshold", out, "--value", "30").stderr


def test_an_orthorectified_map_that_is_turned_has_no_spectra(line: RawLine, tmp_path: Path) -> None:
    words = ("detect", line.scene, "--glt", line.glt, "-o", tmp_path / "x.tif", "--north-up")
    assert "omit --north-up" in invoke(*words, "--evidence", tmp_path / "x.nc").stderr
    assert not (tmp_path / "x.tif").exists()


def test_scores_are_those_of_the_sensor_looked_up_on_the_map(line: RawLine, tmp_path: Path) -> None:
    out = tmp_path / "scores.tif"
    run("detect", line.scene, "-d", "rx", "--glt", line.glt, "-o", out)
    plain = hadgeo.detect(line.scene, "rx", out=tmp_path / "plain.tif").path
    np.testing.assert_array_equal(read(tmp_path / "scores_sensor.tif"), read(plain))
    np.testing.assert_array_equal(read(out), line.on_map(read(plain)).astype("f4"))
    with rasterio.open(out) as dataset:
        assert dataset.transform == line.grid.affine
        assert dataset.crs == line.grid.crs
        assert dataset.tags()["HADGEO_DETECTOR"] == "rx"
    assert {path.name for path in tmp_path.iterdir()} == {"scores.tif", "scores_sensor.tif", "scores.json", "plain.tif"}
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert str(line.glt) in json.dumps(manifest["inputs"])
    assert [Path(record["path"]).name for record in manifest["outputs"]] == ["scores.tif", "scores_sensor.tif"]


def test_polygons_lie_on_the_targets(line: RawLine, tmp_path: Path) -> None:
    words = ["--top", 15, "--polygons", tmp_path / "found.gpkg", "--evidence", tmp_path / "evidence.nc"]
    run("detect", line.scene, "-d", "rx", "--glt", line.glt, "-o", tmp_path / "scores.tif", *words)
    info, _, geometries, fields = pyogrio.raw.read(tmp_path / "found.gpkg")
    assert rasterio.CRS.from_user_input(info["crs"]) == line.grid.crs
    rows, cols = (np.array(TARGETS).T + 1.5).astype(float)
    targets = shapely.points(*line.grid.to_map(cols, rows))
    outlines = shapely.from_wkb(geometries)
    # Each target at the very place where it stands on the ground, and nothing else is stronger.
    strongest = outlines[: len(TARGETS)]
    assert sorted(shapely.STRtree(strongest).query(targets, predicate="within")[1]) == list(range(len(TARGETS)))
    assert shapely.area(strongest).max() <= 16 * line.grid.cell_area
    evidence = xr.load_dataset(tmp_path / "evidence.nc", engine="scipy")
    named = dict(zip(info["fields"], fields, strict=True))
    np.testing.assert_array_equal(evidence.id.values, named["id"])
    inside = shapely.contains_xy(shapely.convex_hull(outlines), evidence.x.values, evidence.y.values)
    assert inside.all()
    np.testing.assert_allclose(evidence.latitude.values, named["lat"])
    assert rasterio.CRS.from_wkt(evidence.attrs["crs"]) == line.grid.crs


def test_evidence_averages_each_measured_pixel_once(line: RawLine, tmp_path: Path) -> None:
    words = ["--top", 20, "--polygons", tmp_path / "found.gpkg", "--evidence", tmp_path / "evidence.nc"]
    run("detect", line.scene, "-d", "rx", "--glt", line.glt, "-o", tmp_path / "scores.tif", *words)
    evidence = xr.load_dataset(tmp_path / "evidence.nc", engine="scipy")
    threshold = float(np.sort(read(tmp_path / "scores_sensor.tif").ravel())[-20])
    found = hadgeo.find_anomalies(
        hadgeo.open_scores(tmp_path / "scores.tif"),
        threshold,
        hadgeo.calibrate(hadgeo.open_scores(tmp_path / "scores_sensor.tif")),
    )
    cube = hadgeo.open_cube(line.scene).values
    bands = evidence.band.values - 1
    repeated = 0
    for group, spectrum, pixels in zip(found.groups, evidence.spectrum.values, evidence.pixels.values, strict=True):
        sample, row = np.abs(line.table[:, group.rows, group.cols]) - 1
        once = sorted(set(zip(row.tolist(), sample.tolist(), strict=True)))
        repeated += len(group.rows) - len(once)
        assert pixels == len(once)
        np.testing.assert_allclose(spectrum, np.mean([cube[bands, r, c] for r, c in once], axis=0), rtol=1e-6)
    assert repeated > 0
    assert evidence.pixels.values.sum() == (read(tmp_path / "scores_sensor.tif") >= threshold).sum()


def test_repeated_pixels_do_not_count_twice(line: RawLine, tmp_path: Path) -> None:
    words = ["-d", "rx", "--pfa", "1e-2", "--quiet"]
    run("detect", line.scene, *words, "--glt", line.glt, "-o", tmp_path / "scores.tif")
    run("detect", line.scene, *words, "-o", tmp_path / "plain.tif")
    ours, plain = (json.loads((tmp_path / f"{name}.json").read_text())["facts"] for name in ("scores", "plain"))
    for fact in ("threshold", "pixels", "valid_pixels", "expected_false_alarms"):
        assert ours["decision"][fact] == plain["decision"][fact]
    assert np.isfinite(read(tmp_path / "scores.tif")).sum() > ours["valid_pixels"] * 1.05


def test_windows_do_not_show(line: RawLine, tmp_path: Path) -> None:
    for window in (23, 64):
        out = tmp_path / f"{window}.tif"
        run("detect", line.scene, "-d", "rx", "--glt", line.glt, "--window", window, "-o", out)
    np.testing.assert_allclose(read(tmp_path / "23.tif"), read(tmp_path / "64.tif"), rtol=1e-5)
    for window in (23, 64):
        sensor = read(tmp_path / f"{window}_sensor.tif")
        np.testing.assert_array_equal(read(tmp_path / f"{window}.tif"), line.on_map(sensor).astype("f4"))


MOMENTS = {
    "in the middle of scoring": ("hadgeo.maps.journal", "Journal.add", "after", 3),
    "sensor map in its place": ("hadgeo.maps.writer", "ScoreWriter.place", "after", 1),
    "half orthorectified": ("hadgeo.maps.orthorectify", "looked_up", "after", 1),
    "orthorectified": ("hadgeo.maps.writer", "ScoreWriter.place", "after", 2),
    "before the manifest": ("hadgeo.run.manifest", "write_manifest", "before", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_finished_to_the_same_bytes(moment: str, line: RawLine, tmp_path: Path) -> None:
    module, name, when, nth = MOMENTS[moment]
    words = ["-d", "rx", "--window", 40, "--glt", line.glt, "--top", 9]
    run("detect", line.scene, *words, "-o", tmp_path / "whole.tif", "--polygons", tmp_path / "whole.geojson")
    mine = ["-o", tmp_path / "map.tif", "--polygons", tmp_path / "map.geojson"]
    killed = run_deadly(line.scene, *words, *mine, driver=(module, name, when, str(nth)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run("detect", line.scene, *words, *mine, "--resume")
    for suffix in (".tif", "_sensor.tif", ".geojson"):
        assert (tmp_path / f"map{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_a_run_does_not_go_on_with_another_table(line: RawLine, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    words = ["-d", "rx", "--window", 40, "-o", out]
    run_deadly(line.scene, *words, "--glt", line.glt, driver=("hadgeo.maps.journal", "Journal.add", "after", "3"))
    assert len(Journal.read(tmp_path / "map.tif.part") or ()) == 3
    other = write_envi(tmp_path / "other_glt", line.table, map_info=MAP_INFO)
    refused = invoke("detect", line.scene, *words, "--glt", other, "--resume")
    assert refused.exit_code != 0
    assert "lookup table was" in refused.stderr


MAP_INFO = "{UTM, 1, 1, 400000, 5000000, 2, 2, 33, North, WGS-84}"


def test_a_table_of_another_line_is_refused(line: RawLine, tmp_path: Path) -> None:
    longer, shorter = line.table.copy(), line.table.copy()
    longer[1] *= 2
    shorter[:, np.abs(shorter[1]) > 70] = 0
    for table, told in ((longer, "leads to lines 2 to 260"), (shorter, "leads to lines 1 to 70")):
        other = write_envi(tmp_path / "other_glt", table, map_info=MAP_INFO)
        refused = invoke("detect", line.scene, "-d", "rx", "--glt", other, "-o", tmp_path / "map.tif")
        assert refused.exit_code != 0
        assert told in refused.stderr
        assert "another flight line" in refused.stderr
        assert len([line for line in refused.stderr.splitlines() if "warning" not in line]) == 1
        assert not list(tmp_path.glob("map*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--glt", "IGM"], "3 bands, and a lookup table (GLT) has two"),
        (["--igm", "GLT"], "whole numbers (int32), and coordinates (IGM) are"),
        (["--glt", "GLT", "--igm", "IGM"], "--glt and --igm: give one of them"),
        (["--glt", "nothing_glt"], "nothing_glt: no such file"),
        (["--glt", "GLT", "--extent", 0, 0, 9, 9], "--extent cuts it"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    words: list[str | int], told: str, line: RawLine, tmp_path: Path
) -> None:
    files = {"GLT": line.glt, "IGM": line.igm}
    refused = invoke("detect", line.scene, *[files.get(str(word), word) for word in words], "-o", tmp_path / "map.tif")
    assert refused.exit_code != 0
    assert told in refused.stderr
    assert not list(tmp_path.iterdir())


def test_coordinates_lead_to_the_same_places_as_the_table(line: RawLine, tmp_path: Path) -> None:
    run("detect", line.scene, "-d", "rx", "--igm", line.igm, "-o", tmp_path / "scores.tif")
    sensor = read(tmp_path / "scores_sensor.tif")
    row, col = np.unravel_index(np.nanargmax(sensor), sensor.shape)
    (map_row,), (map_col,) = np.nonzero((line.table[1] == row + 1) & (line.table[0] == col + 1))
    x, y = line.grid.to_map(map_col + 0.5, map_row + 0.5)
    with rasterio.open(tmp_path / "scores.tif") as dataset:
        # The coordinate system is that of the table beside.
        assert dataset.crs == line.grid.crs
        assert next(dataset.sample([(x, y)]))[0] == sensor[row, col]
        assert dataset.res == pytest.approx(line.grid.cell)


def test_the_table_of_emit_is_used_without_being_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    emit(tmp_path / "emit.nc", rng.normal(1, 0.1, (6, 40, 30)).astype("f4"))
    line, sample = np.indices((42, 31))
    with h5py.File(tmp_path / "emit.nc", "a") as file:
        inside = (line < 40) & (sample < 30)
        file["location/glt_x"][...] = np.where(inside, 30 - sample, 0)
        file["location/glt_y"][...] = np.where(inside, line + 1, 0)
    run("detect", tmp_path / "emit.nc", "-d", "rx")
    sensor = read(tmp_path / "emit_anomaly_sensor.tif")
    assert sensor.shape == (40, 30)
    np.testing.assert_array_equal(read(tmp_path / "emit_anomaly.tif")[:40, :30], sensor[:, ::-1])
    with rasterio.open(tmp_path / "emit_anomaly.tif") as dataset:
        assert dataset.shape == (42, 31)
        assert dataset.transform.c == -116.5
        assert np.isnan(dataset.read(1)[40:]).all()
    run("detect", tmp_path / "emit.nc", "-d", "rx", "--sensor-geometry", "-o", tmp_path / "raw.tif")
    np.testing.assert_array_equal(read(tmp_path / "raw.tif"), sensor)
    assert not (tmp_path / "raw_sensor.tif").exists()


def test_a_run_is_repeated_with_its_table(line: RawLine, tmp_path: Path) -> None:
    run("detect", line.scene, "-d", "rx", "--glt", "{flight}_ort_glt", "-o", tmp_path / "one.tif")
    result = run("detect", "--from", tmp_path / "one.json", "-o", tmp_path / "two.tif")
    np.testing.assert_array_equal(read(tmp_path / "one.tif"), read(tmp_path / "two.tif"))
    assert "every output is identical, byte for byte, to that of the original run" in result.stderr


def test_a_batch_finds_the_table_of_each_line(tmp_path: Path) -> None:
    lines = [make_raw_line(tmp_path, name=name, seed=seed) for name, seed in (("f1", 1), ("f2", 2))]
    words = ["batch", *[line.scene for line in lines], "-d", "rx", "-o", tmp_path / "maps"]
    run(*words, "--glt", "{flight}_ort_glt")
    for line in lines:
        name = tmp_path / "maps" / f"{line.scene.stem}_anomaly"
        sensor = read(Path(f"{name}_sensor.tif"))
        np.testing.assert_array_equal(read(Path(f"{name}.tif")), line.on_map(sensor).astype("f4"))
    again = run(*words, "--glt", "{flight}_ort_glt")
    assert "2 kept" in again.output
    os.utime(lines[1].glt)
    changed = invoke(*words, "--glt", "{flight}_ort_glt")
    assert changed.exit_code == 1
    assert "lookup_table" in (tmp_path / "maps" / "summary.csv").read_text()


def test_a_table_of_lines_names_their_geometry(tmp_path: Path) -> None:
    line = make_raw_line(tmp_path, name="f1")
    table = tmp_path / "lines.csv"
    table.write_text(f"scene,glt,igm\n{line.scene.name},,{line.igm.name}\n")
    run("batch", "--table", table, "-d", "rx", "-o", tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "f1_rdn_img_anomaly.tif") as dataset:
        assert dataset.crs == line.grid.crs
