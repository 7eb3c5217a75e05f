"""Anomalies in a GeoPackage that holds other layers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import shapely

from hadgeo.decisions.geopackage import holds_others
from hadgeo.decisions.layers import Layer, read_layer
from hadgeo.errors import OutputError


def layer(count: int) -> Layer:
    boxes = np.array([shapely.multipolygons([shapely.box(i, 0, i + 1, 1)]) for i in range(count)], dtype=object)
    return Layer({"id": np.arange(1, count + 1)}, boxes)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def put(path: Path, name: str, count: int) -> None:
    shapes = shapely.to_wkb(np.array([shapely.box(i, 5, i + 1, 6) for i in range(count)], dtype=object))
    pyogrio.raw.write(path, shapes, [np.arange(count)], ["n"], layer=name, driver="GPKG", geometry_type="Polygon")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_other_layers_stay_and_ours_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.gpkg"
    put(path, "trees", 4)
    put(path, "houses", 2)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE layer_styles (f_table_name TEXT, styleName TEXT)")
        database.executemany("INSERT INTO layer_styles VALUES (?, ?)", [("trees", "green"), ("anomalies", "old")])
        database.commit()
    for count in (5, 3):
        layer(count).write(path, "--polygons")
        assert {str(name) for name, kind in pyogrio.list_layers(path) if kind} == {"trees", "houses", "anomalies"}
        assert pyogrio.read_info(path, layer="trees")["features"] == 4
        assert read_layer(path).table["id"].tolist() == list(range(1, count + 1))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT f_table_name FROM layer_styles").fetchall() == [("trees",)]
    assert [file.name for file in tmp_path.iterdir()] == ["mine.gpkg"]


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_what_holds_nothing_else_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    assert not holds_others(path)
    layer(2).write(path, "--polygons")
    first = path.read_bytes()
    assert not holds_others(path)
    layer(2).write(path, "--polygons")
    assert path.read_bytes() == first
    path.write_text("not a GeoPackage")
    assert not holds_others(path)
    layer(2).write(path, "--polygons")
    assert path.read_bytes() == first


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_copy_that_is_not_what_was_written_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.gpkg"
    put(path, "trees", 4)
    before = path.read_bytes()
    short = Layer({"id": np.arange(3), "n": np.arange(3)}, layer(2).outlines)
    with pytest.raises((OutputError, ValueError)):
        short.write(path, "--polygons")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["mine.gpkg"]
