"""Lookup tables and coordinates, and maps that they bring from the sensor's geometry onto the ground."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine

import hadgeo
from hadgeo.errors import CubeWarning, GeometryError
from hadgeo.formats import glt as glt_module
from hadgeo.formats import igm as igm_module
from hadgeo.formats.glt import Glt, check_glt
from hadgeo.grid import Grid
from hadgeo.maps import orthorectify as module
from hadgeo.maps.orthorectify import orthorectify
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import Window
from tests.formats.envi_files import write_envi
from tests.maps.raw_line import RawLine, make_raw_line
from tests.support import Recorder, memory_source

UTM = "{{UTM, 1, 1, 400000, 5000000, 2, 2, 33, North, WGS-84{}}}"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> RawLine:
    return make_raw_line(tmp_path_factory.mktemp("line"))


def scores_on_disk(path: Path, values: npt.NDArray[np.float32]) -> hadgeo.ScoreMap:
    with ScoreWriter(path, grid=Grid(values.shape), description="", tags={"HADGEO_DETECTOR": "rx"}) as writer:
        writer.write(Window(0, 0, *values.shape), values)
        writer.finish()
    return hadgeo.open_scores(path)


def whole(table: Glt) -> npt.NDArray[Any]:
    """All rows and columns of a table, strip by strip."""
    return np.concatenate([np.stack(table.read(rows)) for rows in table.strips()], axis=1)


def numbered(rows: int, cols: int) -> npt.NDArray[np.float32]:
    return np.arange(rows * cols, dtype="f4").reshape(rows, cols)


def test_strips_do_not_show(line: RawLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = scores_on_disk(tmp_path / "sensor.tif", numbered(130, 60))
    one = orthorectify(scores, hadgeo.open_glt(line.glt), tmp_path / "one.tif")
    monkeypatch.setattr(glt_module, "STRIP_PIXELS", 1000)
    monkeypatch.setattr(module, "_PART_BYTES", 1)
    many = orthorectify(scores, hadgeo.open_glt(line.glt), tmp_path / "many.tif")
    assert one.read_bytes() == many.read_bytes()
    with rasterio.open(one) as dataset:
        np.testing.assert_array_equal(dataset.read(1), line.on_map(numbered(130, 60)).astype("f4"))


def test_coordinates_lead_where_the_table_of_the_line_does(line: RawLine) -> None:
    table = hadgeo.open_igm(line.igm)
    row, col = np.nonzero(line.table[0] > 0)
    at_col, at_row = table.grid.to_pixels(*line.grid.to_map(col + 0.5, row + 0.5))
    found = whole(table)[:, np.floor(at_row).astype(int), np.floor(at_col).astype(int)]
    np.testing.assert_array_equal(found, line.table[::-1, row, col] - 1)


def test_strips_of_coordinates_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, sample = np.indices((140, 50)).astype(float)
    # A line turned by 35 degrees, in which no pixel is as near as another one.
    x, y = 0.819 * sample + 0.574 * line + np.sin(line / 9.7), 0.574 * sample - 0.819 * line
    path = igm(tmp_path / "x_igm", 5e5 + 2 * x, 5e6 + 2 * y)
    with pytest.warns(CubeWarning, match="not said"):
        table = hadgeo.open_igm(path)
    expected = whole(table)
    monkeypatch.setattr(igm_module, "_STRIP_PIXELS", 700)
    monkeypatch.setattr(igm_module, "_CHUNK_PIXELS", 300)
    np.testing.assert_array_equal(whole(table), expected)
    # Pixels of the line's own spacing would leave out a sixth.
    assert len(np.unique(expected[:, expected[0] >= 0], axis=1).T) > 0.998 * line.size


@pytest.mark.parametrize("turned", [0, 1, 5, 30, 45, 90, -30, 135])
@pytest.mark.parametrize(("across", "along"), [(2, 2), (2, 3), (3, 2)])
def test_coordinates_of_a_steady_line_lead_to_every_pixel_of_it(
    tmp_path: Path, turned: float, across: float, along: float
) -> None:
    line, sample = np.indices((120, 40)).astype(float)
    cos, sin = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    x, y = sample * across * cos - line * along * sin, sample * across * sin + line * along * cos
    with pytest.warns(CubeWarning, match="not said"):
        table = hadgeo.open_igm(igm(tmp_path / "x_igm", 5e5 + x, 5e6 + y))
    found = whole(table)
    lost = line.size - len(np.unique(found[:, found[0] >= 0], axis=1).T)
    # The first pixel lies on the outermost corner of the map.
    assert lost <= 3
    assert min(across, along) / 1.4143 <= table.grid.affine.a <= min(across, along) * 1.0001


def test_pixels_that_have_no_place_on_the_map_are_counted(line: RawLine, tmp_path: Path) -> None:
    values = numbered(130, 60)
    # The lookup table has a hole of 3 x 4 pixels around this one, which has no score either.
    hole = np.argwhere(~np.isin(values, line.on_map(values)))
    assert len(hole) > 1
    values[tuple(hole[0])] = np.nan
    recorder = Recorder()
    orthorectify(
        scores_on_disk(tmp_path / "sensor.tif", values),
        hadgeo.open_glt(line.glt),
        tmp_path / "x.tif",
        progress=recorder,
    )
    (told,) = [text for text in recorder.messages if "no place" in text]
    assert told.startswith(f"{len(hole) - 1} of {values.size - 1} measured pixels have no place in the orthorectified")


@pytest.mark.parametrize("layout", ["bil", "bip", "int16, big endian", "float", "GeoTIFF", "named by its header"])
def test_a_table_is_read_however_it_is_stored(layout: str, line: RawLine, tmp_path: Path) -> None:
    path, place = tmp_path / "x_glt", UTM.format("")
    if layout == "GeoTIFF":
        path = tmp_path / "x_glt.tif"
        profile = {"height": 150, "width": 90, "count": 2, "dtype": "int32", "crs": "EPSG:32633"}
        with rasterio.open(path, "w", **profile, transform=Affine(2, 0, 4e5, 0, -2, 5e6)) as dataset:
            dataset.write(line.table)
    elif layout == "int16, big endian":
        write_envi(path, line.table.astype("i2"), byte_order=1, map_info=place, wavelength=None)
    elif layout == "float":
        write_envi(path, line.table.astype("f4"), map_info=place, wavelength=None)
    else:
        write_envi(path, line.table, interleave="bip" if layout == "bip" else "bil", map_info=place, wavelength=None)
    table = hadgeo.open_glt(tmp_path / "x_glt.hdr" if "header" in layout else path)
    assert table.grid == Grid((150, 90), rasterio.CRS.from_epsg(32633), Affine(2, 0, 4e5, 0, -2, 5e6))
    np.testing.assert_array_equal(whole(table), np.abs(line.table[::-1]) - 1)


def test_a_rotated_table_keeps_its_rotation(line: RawLine, tmp_path: Path) -> None:
    write_envi(tmp_path / "x_glt", line.table, map_info=UTM.format(", rotation = 30"), wavelength=None)
    table = hadgeo.open_glt(tmp_path / "x_glt")
    angle = np.radians(30)
    assert table.grid.affine.almost_equals(
        Affine(2 * np.cos(angle), 2 * np.sin(angle), 4e5, 2 * np.sin(angle), -2 * np.cos(angle), 5e6)
    )
    hot = np.zeros((130, 60), dtype="f4")
    hot[tuple(axis[20, 30] for axis in table.read(slice(0, 150)))] = 1
    scores = scores_on_disk(tmp_path / "sensor.tif", hot)
    with rasterio.open(orthorectify(scores, table, tmp_path / "north.tif", north_up=True)) as dataset:
        assert dataset.transform.is_rectilinear
        made = dataset.read(1)
        col, row = np.floor(~dataset.transform @ table.grid.to_map(30.5, 20.5)).astype(int)
    assert made[row, col] == 1
    assert 0 < (made == 1).sum() <= 9


def test_fill_that_nobody_declares_is_no_pixel(line: RawLine, tmp_path: Path) -> None:
    filled = np.where(line.table == 0, -9999, line.table)
    write_envi(tmp_path / "x_glt", filled, map_info=UTM.format(""), wavelength=None)
    np.testing.assert_array_equal(whole(hadgeo.open_glt(tmp_path / "x_glt")), np.abs(line.table[::-1]) - 1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((2, 9, 9), 2.5, dtype="f4"), "2.5 is no number of a pixel"),
        (np.zeros((2, 9, 9), dtype="i4"), "0 everywhere"),
        (np.ones((3, 9, 9), dtype="i4"), "3 bands, and a lookup table"),
    ],
)
def test_what_is_no_table_is_refused(values: npt.NDArray[Any], told: str, tmp_path: Path) -> None:
    write_envi(tmp_path / "x_glt", values, map_info=UTM.format(""), wavelength=None)
    with pytest.raises(GeometryError, match=told):
        check_glt(hadgeo.open_glt(tmp_path / "x_glt"), memory_source(np.zeros((3, 9, 9))))


def test_a_scene_on_the_map_already_is_refused(line: RawLine) -> None:
    table = hadgeo.open_glt(line.glt)
    source = memory_source(np.zeros((3, *table.grid.shape)))
    object.__setattr__(source.metadata, "grid", table.grid)
    with pytest.raises(GeometryError, match=r"on the map's grid .* already"):
        check_glt(table, source)


def igm(path: Path, x: npt.NDArray[Any], y: npt.NDArray[Any], **fields: Any) -> Path:
    return write_envi(path, np.stack([x, y]), interleave="bil", map_info=None, wavelength=None, **fields)


def test_longitudes_and_latitudes_are_known_as_such_and_said(tmp_path: Path) -> None:
    line, sample = np.indices((40, 30)).astype(float)
    path = igm(tmp_path / "x_igm", 15 + sample * 4e-5, 60 - line * 2e-5)
    with pytest.warns(CubeWarning, match="taken for longitudes and latitudes"):
        table = hadgeo.open_igm(path)
    # At 60 degrees a degree of longitude is half as long, so this is a grid of squares.
    assert table.grid.shape == (40, 30)
    assert table.grid.crs == rasterio.CRS.from_epsg(4326)
    np.testing.assert_array_equal(whole(table), np.indices((40, 30)))


def test_a_gap_between_lines_stays_empty(tmp_path: Path) -> None:
    line, sample = np.indices((40, 30)).astype(float)
    path = igm(
        tmp_path / "x_igm", 5e5 + 2 * sample, 5e6 - 2 * (line + 10 * (line >= 20)), coordinate_system_string="{}"
    )
    with pytest.warns(CubeWarning, match="coordinate system is not said"):
        table = hadgeo.open_igm(path)
    rows = whole(table)[0]
    assert rows.shape == (50, 30)
    # Ten rows are missing; one on each side is within reach of a measured one.
    assert (rows[21:29] == -1).all()
    np.testing.assert_array_equal(rows[[0, 19, 30, 49], 5], [0, 19, 20, 39])


def test_garbage_among_coordinates_is_refused(tmp_path: Path) -> None:
    line, sample = np.indices((40, 30)).astype(float)
    x = 5e5 + 2 * sample
    x[3, 3] = 1e9
    path = igm(tmp_path / "x_igm", x, 5e6 - 2 * line)
    with pytest.warns(CubeWarning), pytest.raises(GeometryError, match="some are no coordinates"):
        hadgeo.open_igm(path)


@pytest.mark.parametrize("heading", ["north", "east"])
def test_memory_does_not_grow_with_the_line(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(igm_module, "_STRIP_PIXELS", 2**16)
    monkeypatch.setattr(igm_module, "_CHUNK_PIXELS", 2**14)
    monkeypatch.setattr(module, "_PART_BYTES", 2**16)
    monkeypatch.setattr("hadgeo.maps.raw_tiff.STRIP_BYTES", 2**16)
    peaks = []
    for rows in (2000, 16000):
        line, sample = np.indices((rows, 50)).astype(float)
        x, y = (sample, -line) if heading == "north" else (line, sample)
        path = igm(tmp_path / f"{rows}_igm", 5e5 + x, 5e6 + y)
        scores = scores_on_disk(tmp_path / f"{rows}.tif", numbered(rows, 50))
        del line, sample, x, y
        tracemalloc.start()
        with pytest.warns(CubeWarning, match="not said"):
            table = hadgeo.open_igm(path)
        out = orthorectify(scores, table, tmp_path / f"{rows}_map.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        with rasterio.open(out) as dataset:
            made = dataset.read(1)
        expected = numbered(rows, 50) if heading == "north" else numbered(rows, 50).T[::-1]
        np.testing.assert_array_equal(made, expected)
    # Of a line eight times as long, the first and the last row of each of its own on the map are all that is kept.
    assert peaks[1] < 1.5 * peaks[0]
