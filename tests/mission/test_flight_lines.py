"""Flight lines by name or from a table: what each gets of its own, and what a wrong table is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hadgeo.errors import HadgeoError, ParameterError
from hadgeo.mission.flight_lines import FlightLine, flight_lines, read_flight_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "maps"


def read(folder: Path, text: str | bytes, **settings: dict[str, str]) -> list[FlightLine]:
    """The lines of a table in a folder beside that of the maps."""
    table = folder.parent / "mission" / "lines.csv"
    table.parent.mkdir()
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_flight_lines(table, folder, detector="rx", **settings)


def test_lines_by_name_have_nothing_of_their_own(folder: Path) -> None:
    lines = flight_lines(["a/one.img", Path("b/two.tif")], folder)
    assert [(line.scene, line.map) for line in lines] == [
        ("a/one.img", folder / "one_anomaly.tif"),
        ("b/two.tif", folder / "two_anomaly.tif"),
    ]
    assert not any(line.apart for line in lines)


def test_two_lines_cannot_have_one_map(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"b/one\.tif and a/one\.img would have the same map, .*one_anomaly\.tif"):
        flight_lines(["a/one.img", "b/one.tif"], folder)


def test_no_map_replaces_a_scene(folder: Path) -> None:
    scene = folder / "one_anomaly.tif"
    with pytest.raises(ParameterError, match=r"one\.img: its map .* would replace the scene of .*one_anomaly\.tif"):
        flight_lines(["one.img", scene], folder)


def test_a_table_names_scenes_beside_it_and_maps_in_their_folder(folder: Path) -> None:
    lines = read(folder, "scene,output\none.img,\nraw/two.img,second.TIF\n")
    beside = folder.parent / "mission"
    assert [(line.scene, line.map) for line in lines] == [
        (str(beside / "one.img"), folder / "one_anomaly.tif"),
        (str(beside / "raw/two.img"), folder / "second.TIF"),
    ]


@pytest.mark.parametrize("output", ["../x.tif", "lake/../../x.tif", "/tmp/x.tif", "link/x.tif"])
def test_a_table_puts_no_map_outside_of_their_folder_unless_it_may(output: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "link").symlink_to(folder.parent)
    with pytest.raises(ParameterError, match=r"row 2: the output .*x\.tif lies outside of .*maps.*--outputs-outside"):
        read(folder, f"scene,output\none.img,{output}\n")
    (line,) = read_flight_lines(folder.parent / "mission" / "lines.csv", folder, outside=True)
    assert line.map == folder / output


def test_a_table_puts_maps_into_folders_of_their_folder(folder: Path) -> None:
    (line,) = read(folder, f"scene,output\none.img,{folder}/lake/x.tif\n")
    assert line.map == folder / "lake" / "x.tif"


@pytest.mark.parametrize("scene", ["s3://mission/one.tif", "/vsizip/mission.zip/one.img", "/absolute/one.img"])
def test_a_scene_that_is_not_beside_the_table_stays_where_it_is(scene: str, folder: Path) -> None:
    (line,) = read(folder, f"scene\n{scene}\n")
    assert line.scene == scene


@pytest.mark.parametrize(
    "text", ["scene\r\none.img\r\n\r\n  \r\n", "\ufeffscene\none.img", " scene ,bands\n one.img ,\n , \n"]
)
def test_what_spreadsheets_write_is_read(text: str, folder: Path) -> None:
    (line,) = read(folder, text)
    assert Path(line.scene).name == "one.img"
    assert not line.apart


def test_a_cell_is_what_a_line_has_of_its_own(folder: Path) -> None:
    table = 'scene,detector,bands,p.shrinkage,p.inner-window\na.img,,"1-4,6",,\nb.img,bs3lnet,,,3\nc.img,,,0.5,\n'
    a, b, c = read(folder, table)
    assert (a.bands, a.detector, a.parameters) == ("1-4,6", None, {})
    assert (b.bands, b.detector, b.parameters) == (None, "bs3lnet", {"inner_window": "3"})
    assert (c.bands, c.detector, c.parameters) == (None, None, {"shrinkage": "0.5"})
    assert all(line.apart for line in (a, b, c))


def test_parameters_of_all_lines_reach_those_of_the_same_detector() -> None:
    shared = {"shrinkage": "0.1", "sample": "500"}
    plain = FlightLine("a.img", Path("a.tif"))
    own = FlightLine("a.img", Path("a.tif"), detector="rx", parameters={"shrinkage": "0.5"})
    other = FlightLine("a.img", Path("a.tif"), detector="bs3lnet", parameters={"steps": "3"})
    assert plain.parameters_with("rx", shared) == shared
    assert own.parameters_with("rx", shared) == {"shrinkage": "0.5", "sample": "500"}
    assert other.parameters_with("rx", shared) == {"steps": "3"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no heading 'scene'"),
        (
            "name\na.img\n",
            "row 1: unknown heading 'name'; known headings are scene, output, detector, bands, glt, igm and p.NAME",
        ),
        ("scene,p.\na.img,3\n", "unknown heading 'p.'"),
        ("scene,bands,bands\na.img,,\n", "the heading bands appears twice"),
        ("bands\n1-4\n", "no heading 'scene'"),
        ("scene\n", "the table is empty"),
        ("scene\n\n\n", "the table is empty"),
        ("scene,bands\na.img,1-4,6\n", "row 2: 3 cells under 2 headings; put quotes around cells that contain a comma"),
        ("scene,bands\na.img,\n,1-4\n", "row 3: no scene; name its file"),
        ("scene,output\na.img,a.png\n", "row 2: a map is a GeoTIFF; the output a.png must end in .tif"),
        ("scene,detector\n\na.img,xr\n", "row 3: .*'xr'.*did you mean 'rx'"),
        ("scene,p.shrinkage\na.img,2\n", "row 2: .*shrinkage"),
        ("scene,p.steps\na.img,2\n", "row 2: .*steps"),
        ('scene\n"a.img\n', "not a readable table"),
        ("scene\na.img\nb\0.img\n", "row 3: a cell contains a NUL"),
        (b"scene\n\xff\xfe.img\n", "not a readable table .*give CSV in UTF-8"),
        ("scene\na/x.img\nb/x.img\n", "row 3 and .*row 2 would have the same map"),
    ],
)
def test_a_wrong_table_is_told_where(text: str | bytes, words: str, folder: Path) -> None:
    with pytest.raises(HadgeoError, match=words) as caught:
        read(folder, text)
    assert re.match(r".*lines\.csv: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_parameter_of_all_lines_is_checked_for_the_line_that_gets_it(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"row 2: .*sample"):
        read(folder, "scene\na.img\n", parameters={"sample": "few"})


def test_a_table_that_is_not_there_says_so(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"gone\.csv: not a readable table \(No such file"):
        read_flight_lines(folder / "gone.csv", folder, detector="rx")
