"""The anomalies of all lines in one file: what is in it, that it is made once and whole, and never over other work."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
from rasterio.windows import Window, transform

import hadgeo
from hadgeo.errors import Cancelled, MissingExtraError, OutputError, OutputExistsError, ParameterError
from hadgeo.files import sha256_of
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.mission.batch import run_batch
from hadgeo.mission.flight_lines import FlightLine, flight_lines
from hadgeo.mission.outcomes import Batch, Unwatched
from hadgeo.progress import Progress
from hadgeo.run.matching.anomaly_spectrum import read_anomaly
from tests.support import Recorder

RULE = hadgeo.Rule(pfa=0.01)


@pytest.fixture(scope="module")
def mission(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three lines that overlap by half, cut out of one rotated scene, each with noise of its own."""
    folder = tmp_path_factory.mktemp("mission")
    hadgeo.simulate(folder / "all.tif", rows=60, cols=80, bands=12, rotation=12, targets=8, seed=2)
    rng = np.random.default_rng(5)
    paths = []
    with rasterio.open(folder / "all.tif") as scene:
        for number, left in enumerate((0, 20, 40)):
            window = Window(left, 0, 40, 60)
            values = scene.read(window=window)
            values[values != scene.nodata] += rng.integers(-20, 21, size=values.shape, dtype=np.int16)[
                values != scene.nodata
            ]
            place = {"height": 60, "width": 40, "transform": transform(window, scene.transform)}
            paths.append(folder / f"line{number}.tif")
            with rasterio.open(paths[-1], "w", **{**scene.profile, **place}) as out:
                out.write(values)
                for band in range(1, scene.count + 1):
                    out.update_tags(band, **scene.tags(band))
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "maps"


def batch_of(paths: list[Path], folder: Path, out: Path | None = None, **settings: Any) -> Batch:
    own = {name: settings.pop(name) for name in ("rule", "calibrate_on", "crs", "join_distance") if name in settings}
    wanted = MissionAnomalies(out or folder.parent / "mission.gpkg", **{"rule": RULE, **own})
    lines = settings.pop("lines", None) or flight_lines(paths, folder)
    return run_batch(lines, folder, detector="rx", anomalies=wanted, **settings)


def table(path: Path) -> dict[str, np.ndarray]:
    meta, _, _, columns = pyogrio.raw.read(path)
    return dict(zip(meta["fields"], columns, strict=True))


def test_a_layer_holds_the_objects_of_all_lines_once(mission: list[Path], folder: Path) -> None:
    layer = batch_of(mission, folder).layer
    assert layer is not None
    assert (layer.crs, layer.left_out, layer.kept) == ("EPSG:32633", {}, False)
    objects = table(layer.path)
    assert objects["id"].tolist() == list(range(1, layer.objects + 1))
    assert set(objects["line"]) <= {"line0", "line1", "line2"}
    assert (np.diff(objects["p_value"]) >= 0).all()
    assert layer.duplicates >= (objects["line_count"] - 1).sum() > 0
    for line, lines, count in zip(objects["line"], objects["lines"], objects["line_count"], strict=True):
        assert line in lines.split(", ")
        assert len(lines.split(", ")) == count
    assert all("σ" in bands for bands in objects["bands"])
    # Each is one of those that its own map has.
    for name in set(objects["line"]):
        scores = folder / f"{name}_anomaly.tif"
        hadgeo.decide(scores, RULE, hadgeo.Outputs(polygons=folder / f"{name}.gpkg"))
        own = table(folder / f"{name}.gpkg")
        mine = objects["line"] == name
        peaks = set(zip(own["peak_row"], own["peak_col"], own["p_value"], strict=True))
        assert set(zip(*(objects[field][mine] for field in ("peak_row", "peak_col", "p_value")), strict=True)) <= peaks
        assert list(own) == [field for field in objects if field not in ("line", "lines", "line_count")]


def test_the_same_again_keeps_the_layer_with_what_was_written_into_it(mission: list[Path], folder: Path) -> None:
    layer = batch_of(mission, folder).layer
    assert layer is not None
    first = layer.path.read_bytes()
    again = batch_of(mission, folder, overwrite=True).layer
    assert again is not None
    assert (again.kept, again.objects, again.duplicates) == (True, layer.objects, layer.duplicates)
    assert layer.path.read_bytes() == first
    decided(layer.path)
    judged = layer.path.read_bytes()
    assert batch_of(mission, folder).layer == again
    assert layer.path.read_bytes() == judged
    # Other lines make another layer, but not over what somebody has written.
    with pytest.raises(OutputExistsError, match="has been changed since"):
        batch_of(mission[:2], folder)
    assert layer.path.read_bytes() == judged
    assert not replaced(batch_of(mission[:2], folder, overwrite=True)).kept


def decided(path: Path) -> None:
    """Write something into a layer, as a reviewer would."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE remarks (text TEXT)")


def test_verdicts_are_given_to_the_objects_of_the_layer(mission: list[Path], folder: Path) -> None:
    layer = replaced(batch_of(mission, folder))
    objects = table(layer.path)
    assert list(objects)[-5:] == ["map_sha256", "verdict", "note", "reviewer", "reviewed_at"]
    for line in ("line0", "line2"):
        (own,) = set(objects["map_sha256"][objects["line"] == line])
        assert own == sha256_of(folder / f"{line}_anomaly.tif")
    review = hadgeo.Review.read(layer.path)
    assert review.ids == tuple(objects["id"])
    folder.with_name("review.csv").write_text("id,verdict\n2,accepted\n")
    hadgeo.Review.read(folder.with_name("review.csv")).apply_to(layer.path)
    assert hadgeo.Review.read(layer.path).accepted == (2,)
    assert replaced(batch_of(mission, folder)).kept


def replaced(batch: Batch) -> hadgeo.MissionLayer:
    assert batch.layer is not None
    return batch.layer


def test_a_line_that_failed_is_in_the_layer_as_soon_as_it_is_mended(mission: list[Path], folder: Path) -> None:
    whole = replaced(batch_of(mission, folder.parent / "whole", folder.parent / "whole.gpkg"))
    broken = folder.parent / mission[1].name
    broken.write_bytes(b"nothing")
    lines = [mission[0], broken, mission[2]]
    batch = batch_of(lines, folder)
    assert [one.state for one in batch.outcomes] == ["done", "failed", "done"]
    assert set(table(replaced(batch).path)["line"]) == {"line0", "line2"}
    shutil.copy(mission[1], broken)
    mended = replaced(batch_of(lines, folder))
    assert not mended.kept
    assert mended.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("stage", ["calibrate", "evidence"])
def test_a_batch_that_was_stopped_goes_on_to_the_same_layer(stage: str, mission: list[Path], folder: Path) -> None:
    whole = replaced(batch_of(mission, folder.parent / "whole", folder.parent / "whole.gpkg"))

    class Stop(Recorder):
        def cancelled(self) -> bool:
            return stage in self.stages

    class Impatient(Unwatched):
        def deciding(self) -> Progress:
            return Stop()

    with pytest.raises(Cancelled):
        batch_of(mission, folder, watch=Impatient())
    assert not (folder.parent / "mission.gpkg").exists()
    assert (folder / "summary.csv").exists()
    assert replaced(batch_of(mission, folder)).path.read_bytes() == whole.path.read_bytes()
    # Killed after the file took its place, and before the record knew.
    record = folder / "batch.json"
    record.write_text(record.read_text().replace('"request"', '"begun"'))
    assert replaced(batch_of(mission, folder)).path.read_bytes() == whole.path.read_bytes()


def test_somebodys_file_or_one_of_other_settings_is_refused_before_the_work(mission: list[Path], folder: Path) -> None:
    out = folder.parent / "mission.gpkg"
    out.write_text("somebody's work")
    with pytest.raises(OutputExistsError, match="exists"):
        batch_of(mission, folder)
    assert not folder.exists() or not list(folder.glob("*.tif"))
    assert out.read_text() == "somebody's work"
    first = replaced(batch_of(mission, folder, overwrite=True))
    with pytest.raises(OutputExistsError, match="exists"):
        batch_of(mission, folder, rule=hadgeo.Rule(pfa=0.02))
    second = replaced(batch_of(mission, folder, rule=hadgeo.Rule(pfa=0.02), overwrite=True))
    assert second.objects > first.objects
    with pytest.raises(OutputError, match="which this run needs"):
        batch_of(mission, folder, folder / "line0_anomaly.tif", overwrite=True)


def test_rates_are_counted_in_each_line_or_in_all_of_them(mission: list[Path], folder: Path) -> None:
    rule = hadgeo.Rule(top=12)
    alone = replaced(batch_of(mission, folder, rule=rule, join_distance=0))
    maps = [hadgeo.open_scores(folder / f"line{i}_anomaly.tif") for i in range(3)]
    best = [np.sort(one.read(*map(slice, one.shape)).ravel())[::-1] for one in maps]
    assert set(table(alone.path)["line"]) == {"line0", "line1", "line2"}
    together = replaced(batch_of(mission, folder, rule=rule, calibrate_on="mission", overwrite=True))
    objects = table(together.path)
    threshold = np.sort(np.concatenate(best))[::-1][11]
    assert objects["max_score"].min() >= threshold
    shown = {f"line{i}" for i, scores in enumerate(best) if scores[0] >= threshold}
    assert set(", ".join(objects["lines"]).split(", ")) == shown
    # One scale: whatever line it is in, the higher score is the rarer one.
    assert (np.diff(objects["max_score"][np.argsort(objects["peak_p_value"], kind="stable")]) <= 0).all()


def test_scores_of_models_of_their_own_are_not_counted_together(mission: list[Path], folder: Path) -> None:
    with pytest.raises(ParameterError, match="fitted on itself"):
        batch_of(mission, folder, calibrate_on="mission", fit_on="each")
    lines = [*flight_lines(mission[:2], folder), FlightLine(str(mission[2]), folder / "own.tif", bands="1-8")]
    with pytest.raises(ParameterError, match=r"line2\.tif has settings of its own"):
        batch_of([], folder, calibrate_on="mission", lines=lines)
    layer = replaced(batch_of([], folder, lines=lines))
    objects = table(layer.path)
    # What no model of the mission explains is compared with its surroundings.
    assert all("σ" in bands for bands in objects["bands"][objects["line"] == "line2"])


@pytest.mark.parametrize("suffix", [".geojson", ".parquet"])
def test_other_formats_and_systems(suffix: str, mission: list[Path], folder: Path) -> None:
    layer = replaced(batch_of(mission, folder, folder.parent / f"mission{suffix}", crs="EPSG:3035"))
    assert layer.crs == "EPSG:3035"
    crs = hadgeo.open_cube(mission[0]).rio.crs
    if suffix == ".geojson":
        objects = table(layer.path)
        assert pyogrio.read_info(layer.path)["crs"] == "EPSG:4326"
    else:
        import pyarrow.parquet

        read = pyarrow.parquet.read_table(layer.path)
        objects = {name: np.array(read[name]) for name in read.column_names}
        assert b'"code": 3035' in read.schema.metadata[b"geo"]
    east, north = rasterio.warp.transform("EPSG:3035", crs, objects["peak_x"], objects["peak_y"])
    grids = {f"line{i}": hadgeo.open_scores(folder / f"line{i}_anomaly.tif").grid for i in range(3)}
    for line, x, y, row, col in zip(
        objects["line"], east, north, objects["peak_row"], objects["peak_col"], strict=True
    ):
        assert np.allclose(grids[line].to_map(col + 0.5, row + 0.5), (x, y), atol=1e-3)


@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
def test_a_line_without_a_system_is_left_out_and_said(mission: list[Path], folder: Path) -> None:
    lost = folder.parent / "lost.tif"
    with rasterio.open(mission[1]) as scene, rasterio.open(lost, "w", **{**scene.profile, "crs": None}) as out:
        out.write(scene.read())
        for band in range(1, scene.count + 1):
            out.update_tags(band, **scene.tags(band))
    layer = replaced(batch_of([mission[0], lost], folder))
    assert layer.left_out == {"lost": "it has no coordinate reference system"}
    assert set(table(layer.path)["line"]) == {"line0"}
    assert replaced(batch_of([mission[0], lost], folder)).kept
    with pytest.raises(OutputError, match=r"none of the flight lines can be in it \(lost: it has no coordinate"):
        batch_of([lost], folder.parent / "alone", folder.parent / "alone.gpkg")
    with (folder.parent / "alone" / "summary.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done"]


def test_a_map_that_is_damaged_does_not_lose_the_others(mission: list[Path], folder: Path) -> None:
    batch_of(mission, folder)
    damaged = folder / "line1_anomaly.tif"
    with rasterio.open(damaged) as scores:
        first, length = (int(scores.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    content = bytearray(damaged.read_bytes())
    content[first : first + length] = bytes(length)
    damaged.write_bytes(content)
    for out, calibrate_on in (("a.gpkg", "line"), ("b.gpkg", "mission")):
        layer = replaced(batch_of(mission, folder, folder.parent / out, calibrate_on=calibrate_on))
        assert list(layer.left_out) == ["line1"]
        assert set(table(layer.path)["line"]) == {"line0", "line2"}
        assert not replaced(batch_of(mission, folder, folder.parent / out, calibrate_on=calibrate_on)).kept


@pytest.mark.parametrize(
    "wrong", [{"calibrate_on": "scene"}, {"join_distance": -1.0}, {"join_distance": float("nan")}, {"crs": "EPSG:1"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        MissionAnomalies(Path("x.gpkg"), **wrong)


def test_polygons_without_their_libraries_are_refused_before_the_work(
    mission: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "hadgeo.mission.layer", raising=False)
    monkeypatch.delitem(sys.modules, "hadgeo.decisions.joint", raising=False)
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(MissingExtraError, match=r"hadgeo\[vector\]"):
        batch_of(mission, folder)
    assert not folder.exists()


def test_a_mission_has_one_page_for_the_objects_of_all_lines(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "mission.gpkg", tmp_path / "mission.html"

    def again(limit: int = 500) -> Batch:
        request = MissionAnomalies(out, RULE, report=page, report_limit=limit)
        return run_batch(flight_lines(mission, folder), folder, detector="rx", anomalies=request)

    assert again().report == page
    link = os.path.relpath(page, folder)
    assert f'href="{link}"' in (folder / "summary.html").read_text("utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text("utf-8"), flags=re.DOTALL)
    lines = json.loads(data)["lines"]
    shown = {feature["properties"]["id"]: line["name"] for line in lines for feature in line["features"]}
    meta, _, _, columns = pyogrio.raw.read(out)
    table = dict(zip(meta["fields"], columns, strict=True))
    assert shown == dict(zip(table["id"].tolist(), table["line"].tolist(), strict=True))
    for line in lines:
        assert {feature["properties"]["map_sha256"] for feature in line["features"]} == {line["mapSha256"]}
        # Whole pixels of the line's own map, in whatever system the layer is.
        corners = np.concatenate([ring for rings in line["outlines"] for ring in rings])
        np.testing.assert_allclose(corners, corners.round(), atol=0.02)
        assert len(line["evidence"]["spectrum"]) == len(line["features"])
        assert line["histogram"]["rule"] == "pfa 0.01"
    before = page.stat().st_mtime_ns
    again()
    assert page.stat().st_mtime_ns == before
    again(limit=2)
    assert page.stat().st_mtime_ns != before


def test_verdicts_on_a_mission_lead_to_the_spectra_of_its_lines(
    mission: list[Path], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mission.gpkg"
    batch_of(mission, folder, out)
    _, _, wkb, columns = pyogrio.raw.read(out, columns=["id", "line"])
    lines = dict(zip(columns[0].tolist(), columns[1].tolist(), strict=True))
    assert len(set(lines.values())) > 1
    # Each has the spectrum of its own pixels, in the scene of its own line.
    for number, name in list(lines.items())[:6]:
        target = read_anomaly(f"{out}#{number}")
        assert target.name == f"anomaly {number} of {name}.tif"
    hadgeo.Review({number: hadgeo.Verdict("rejected") for number in lines}).apply_to(out)
    saved = hadgeo.Review.read(out).write(tmp_path / "mission_review.geojson")
    for layer in (out, saved):
        assert len(hadgeo.read_rejected(layer).spectra) == len(lines) == len(wkb)


def test_the_manifest_of_a_layer_takes_no_other_files_place(mission: list[Path], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="is what the batch remembers"):
        batch_of(mission, folder, folder / "batch.gpkg")
    (tmp_path / "mission.json").write_text("[1]")
    with pytest.raises(OutputExistsError, match="is not a hadgeo manifest"):
        batch_of(mission, folder)
    assert (tmp_path / "mission.json").read_text() == "[1]"
