"""Reviews: verdicts go into polygons and come out again, whatever the file, and never onto other anomalies."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import shapely

import hadgeo
from hadgeo import Review, Verdict
from hadgeo.decisions.calibration import calibrate
from hadgeo.decisions.polygons import find_anomalies, write_polygons
from hadgeo.errors import HadgeoError, OutputError, ParameterError, ReviewError, ReviewNotFoundError
from hadgeo.files import sha256_of
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.mission.batch import run_batch
from hadgeo.mission.flight_lines import flight_lines
from tests.maps.made import GRID, write_map

SAID = {
    1: Verdict("accepted", note="white van, in the shade", reviewer="Ada", reviewed_at="2026-03-01T12:34:56Z"),
    2: Verdict("rejected", note='roof "north"; Größe 3 m²'),
    4: Verdict("unsure"),
    5: Verdict(note="look at it again"),
}
SUFFIXES = [".gpkg", ".geojson", ".parquet"]


def scored(path: Path, seed: int = 0, crs: str | None = "EPSG:32633") -> Path:
    values = np.random.default_rng(seed).normal(size=(40, 50)).astype(np.float32)
    return write_map(path, values, crs=crs, transform=GRID if crs else None).path


def polygons(
    out: Path, *, seed: int = 0, threshold: float = 2.5, least: int = 1, crs: str | None = "EPSG:32633"
) -> Path:
    """Some polygons beside the map they are of."""
    from hadgeo import open_scores

    scores = open_scores(scored(out.with_name(f"map{seed}.tif"), seed, crs))
    return write_polygons(find_anomalies(scores, threshold, calibrate(scores), grow_pfa=0, min_pixels=least), out)


def content(path: Path) -> dict[str, list[object]]:
    """All that GDAL, or pyarrow, reads of a layer, without the verdicts."""
    from hadgeo.decisions.layers import read_layer

    layer = read_layer(path)
    assert layer.outlines is not None
    columns = {name: [None if v != v else v for v in column.tolist()] for name, column in layer.table.items()}
    return {**columns, "outline": shapely.to_wkt(layer.outlines, rounding_precision=6).tolist(), "crs": [layer.crs]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_new_polygons_have_no_verdict_and_say_which_map_they_are_of(suffix: str, tmp_path: Path) -> None:
    review = Review.read(polygons(tmp_path / f"x{suffix}"))
    assert not review.verdicts
    assert review.unseen == review.ids == tuple(range(1, len(review.ids) + 1))
    assert review.maps == {sha256_of(tmp_path / "map0.tif")}
    assert repr(review) == f"Review(0 accepted, 0 rejected, 0 unsure, {len(review.ids)} not looked at)"


@pytest.mark.parametrize("kind", [".csv", *SUFFIXES])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_verdicts_go_through_every_file(suffix: str, kind: str, tmp_path: Path) -> None:
    path = polygons(tmp_path / f"x{suffix}")
    before = content(path)
    assert Review(SAID).apply_to(path) == path
    after = content(path)
    assert {name: after[name] for name in before if name not in SAID[1].__dict__} == {
        name: before[name] for name in before if name not in SAID[1].__dict__
    }
    assert list(after) == list(before)
    written = Review.read(path).write(tmp_path / f"y{kind}")
    review = Review.read(written)
    assert dict(review.verdicts) == SAID
    assert (review.accepted, review.rejected, review.unsure) == ((1,), (2,), (4,))
    assert review.ids == Review.read(path).ids
    assert set(review.unseen) == set(review.ids) - {1, 2, 4}
    if kind != ".csv":
        assert content(written)["id"] == before["id"]
    # Back into polygons that have not been looked at.
    again = polygons(tmp_path / f"z{suffix}")
    review.apply_to(again)
    assert content(again) == after


def test_times_stay_texts_in_geojson(tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.geojson")
    Review({i: Verdict("rejected", reviewed_at="2026-03-01T13:34:56+01:00") for i in Review.read(path).ids}).apply_to(
        path
    )
    stored = {feature["properties"]["reviewed_at"] for feature in json.loads(path.read_text())["features"]}
    assert stored == {"2026-03-01T12:34:56Z"}
    assert {said.reviewed_at for said in Review.read(path).verdicts.values()} == stored


@pytest.mark.filterwarnings("ignore:.*no coordinate reference system")
@pytest.mark.parametrize("kind", SUFFIXES)
def test_pixels_without_a_place_do_not_get_one(kind: str, tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.geojson", crs=None)
    before = content(path)
    Review(SAID).apply_to(path)
    after = content(Review.read(path).write(tmp_path / f"y{kind}"))
    assert after["outline"] == before["outline"]
    assert "crs" not in json.loads(path.read_text())
    assert before["crs"] == [None]


def test_what_a_geopackage_has_beside_the_verdicts_stays(tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, styleQML TEXT)")
        database.execute("INSERT INTO layer_styles VALUES (1, 'red')")
        database.execute("ALTER TABLE anomalies DROP COLUMN note")
        database.commit()
    Review(SAID).apply_to(path)
    assert dict(Review.read(path).verdicts) == SAID
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM layer_styles").fetchall() == [(1, "red")]
    # The spatial index too.
    box = pyogrio.read_bounds(path, layer="anomalies")[1][:, 0]
    assert len(pyogrio.raw.read(path, layer="anomalies", bbox=tuple(box))[3][0]) >= 1


def test_what_a_review_does_not_know_keeps_its_verdict_and_what_it_cleared_loses_it(tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.gpkg")
    Review(SAID).apply_to(path)
    Review({3: Verdict("accepted")}, ids=(1, 3)).apply_to(path)
    expected = {number: said for number, said in SAID.items() if number != 1} | {3: Verdict("accepted")}
    assert dict(Review.read(path).verdicts) == expected


def test_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes('﻿id;verdict;note\r\n2;rejected;"a;b"\r\n1; accepted ;\r\n3;;\r\n'.encode())
    review = Review.read(path)
    assert dict(review.verdicts) == {1: Verdict("accepted"), 2: Verdict("rejected", "a;b")}
    assert review.unseen == (3,)
    assert Review.read(review.write(tmp_path / "y.gpkg")) == review


REFUSED = {
    "empty.csv": ("", "the file is empty"),
    "empty.geojson": ("", "the file is empty"),
    "heading.csv": ("id,verdict,note,reviewer,reviewed_at\n", "no anomaly in it"),
    "none.geojson": ('{"type": "FeatureCollection", "features": []}', "no anomaly in it"),
    "other.csv": ("name,value\na,1\n", "no field id and verdict"),
    "lacking.csv": ("id,note\n1,x\n", "no field verdict"),
    "word.csv": ("id,verdict\n1,maybe\n", "anomaly 1: unknown verdict 'maybe'; it must be one of accepted, rejected"),
    "twice.csv": ("id,verdict\n1,accepted\n2,\n1,rejected\n", "id 1 is there more than once"),
    "text.csv": ("id,verdict\none,accepted\n", "id 'one' is not a whole number"),
    "nothing.csv": ("id,verdict\n,accepted\n", "id None is not a whole number"),
    "half.csv": ("id,verdict\n1.5,accepted\n", "id '1.5' is not a whole number"),
    "time.csv": ("id,verdict,reviewed_at\n1,accepted,yesterday\n", "anomaly 1: reviewed_at 'yesterday' is no time"),
    "short.csv": ("id,verdict\n1\n2,maybe\n", "anomaly 2: unknown verdict"),
    "map.geojson": (
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "a"}, "geometry": '
        '{"type": "Point", "coordinates": [1, 2]}}]}',
        "no field id and verdict",
    ),
    "text.geojson": ("Dear reader,", "not a vector file"),
    "text.gpkg": ("Dear reader,", "not a vector file"),
    "text.parquet": ("Dear reader,", "not GeoParquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_review_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, words = REFUSED[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ReviewError) as refused:
        Review.read(tmp_path / name)
    assert words in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_a_review_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReviewNotFoundError, match="no such review"):
        Review.read(tmp_path / "x.csv")
    with pytest.raises(ReviewNotFoundError, match="no such review"):
        Review(SAID).apply_to(tmp_path / "x.gpkg")


def test_a_verdict_on_an_anomaly_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.gpkg")
    before = path.read_bytes()
    count = len(Review.read(path).ids)
    with pytest.raises(ReviewError, match=f"has no anomaly {count + 1}, {count + 7}, but"):
        Review({1: Verdict("accepted"), count + 1: Verdict("accepted"), count + 7: Verdict("unsure")}).apply_to(path)
    assert path.read_bytes() == before
    with pytest.raises(ReviewError, match="not there: 4"):
        Review(SAID, ids=(1, 2, 5))


@pytest.mark.parametrize("kind", [".csv", ".geojson"])
def test_a_review_of_another_map_is_refused(kind: str, tmp_path: Path) -> None:
    mine, others = polygons(tmp_path / "x.gpkg"), polygons(tmp_path / "y.gpkg", seed=1)
    before = others.read_bytes()
    review = Review.read(Review.read(Review(SAID).apply_to(mine)).write(tmp_path / f"z{kind}"))
    with pytest.raises(ReviewError, match="a review of another map than that of"):
        review.apply_to(others)
    assert others.read_bytes() == before
    review.check_map(tmp_path / "map0.tif")
    with pytest.raises(ReviewError, match="a review of another map than"):
        review.check_map(tmp_path / "map1.tif")


@pytest.mark.parametrize("kind", [".csv", ".geojson"])
def test_a_review_of_a_mission_is_one_of_each_of_its_maps(kind: str, tmp_path: Path) -> None:
    scenes = []
    for number in (0, 1):
        scenes.append(tmp_path / f"line{number}.img")
        origin = (500000.0 + 1000 * number, 5200000.0)
        hadgeo.simulate(scenes[-1], rows=40, cols=30, bands=20, targets=4, seed=number, origin=origin)
    anomalies = MissionAnomalies(tmp_path / "m.gpkg", rule=hadgeo.Rule(top=10))
    run_batch(flight_lines(scenes, tmp_path / "maps"), tmp_path / "maps", detector="rx", anomalies=anomalies)
    whole = Review.read(tmp_path / "m.gpkg")
    Review({number: Verdict("accepted" if number % 2 else "rejected") for number in whole.ids}).apply_to(
        tmp_path / "m.gpkg"
    )
    whole = Review.read(Review.read(tmp_path / "m.gpkg").write(tmp_path / f"z{kind}"))
    parts = [whole.of_map(tmp_path / "maps" / f"line{number}_anomaly.tif") for number in (0, 1)]
    assert sorted(parts[0].ids + parts[1].ids) == list(whole.ids)
    assert all(part.verdicts.items() <= whole.verdicts.items() and part.ids for part in parts)
    assert parts[0].threshold(0.01)[0] > 0
    polygons(tmp_path / "x.gpkg")
    with pytest.raises(ReviewError, match="a review of 2 other maps than"):
        whole.of_map(tmp_path / "map0.tif")


@pytest.mark.parametrize("kind", [".csv", ".geojson"])
def test_a_review_of_other_anomalies_of_the_same_map_is_refused(kind: str, tmp_path: Path) -> None:
    """Objects of the same id are others there; only their peaks tell."""
    mine, others = polygons(tmp_path / "x.gpkg"), polygons(tmp_path / "y.gpkg", threshold=1.0, least=3)
    review = Review.read(mine).write(tmp_path / f"z{kind}")
    with pytest.raises(ReviewError, match="from another threshold: anomaly"):
        Review.read(review).apply_to(others)


def test_a_layer_that_is_open_elsewhere_or_no_layer_is_left_alone(tmp_path: Path) -> None:
    path = polygons(tmp_path / "x.gpkg")
    (tmp_path / "x.gpkg-wal").touch()
    with pytest.raises(OutputError, match="open in another program"):
        Review(SAID).apply_to(path)
    with pytest.raises(ParameterError, match="not a polygon layer"):
        Review(SAID).apply_to(Review(SAID).write(tmp_path / "y.csv"))
    with pytest.raises(HadgeoError, match="can be written as"):
        Review(SAID).write(tmp_path / "y.txt")
