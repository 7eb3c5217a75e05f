"""What the page of a review is made of: pixels of polygons, pictures, spectra as numbers, one file without links."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

import hadgeo
from hadgeo.decisions.calibration import calibrate_values
from hadgeo.decisions.report import line_of_decision, line_of_files, score_figures
from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.evidence.chip import Frame
from hadgeo.evidence.gather import Anomaly, gather_evidence
from hadgeo.evidence.report import pictures
from hadgeo.evidence.report.content import content_of
from hadgeo.evidence.report.layer import PageLayer, page_layer
from hadgeo.evidence.report.page import write_page
from hadgeo.grid import Grid
from hadgeo.maps.reader import open_scores

GRID = Grid((40, 30), CRS.from_epsg(32633), Affine.translation(5e5, 5.2e6) * Affine.rotation(20) * Affine.scale(2, -2))


def pixels(mask: npt.NDArray[np.bool_], grid: Grid) -> Any:
    """The outline of some pixels on a grid."""
    boxes = [shapely.box(col, row, col + 1, row + 1) for row, col in zip(*np.nonzero(mask), strict=True)]
    outline = shapely.multipolygons([shapely.union_all(boxes)])
    return shapely.transform(outline, lambda at: np.column_stack(grid.to_map(*at.T)))


def layer_of(outlines: list[Any], grid: Grid = GRID, crs: str | None = "EPSG:32633", **table: Any) -> PageLayer:
    columns = {name: np.array(column) for name, column in table.items()}
    return page_layer("x.gpkg", columns, np.array(outlines, dtype=object), crs, grid)


def random_masks() -> list[npt.NDArray[np.bool_]]:
    """Connected groups of pixels."""
    rng = np.random.default_rng(1)
    masks = []
    for _ in range(8):
        mask = np.zeros(GRID.shape, dtype=bool)
        row, col = rng.integers(1, 30, 2) * (1, 0.8)
        for step in rng.integers(-1, 2, (12, 2)):
            row, col = np.clip((row + step[0], col + step[1]), 0, (39, 29))
            mask[int(row), int(col)] = mask[int(row), min(29, int(col) + 1)] = True
        masks.append(mask)
    return masks


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_the_pixels_of_a_polygon_are_those_it_was_drawn_around(crs: str) -> None:
    masks = random_masks()
    outlines = [pixels(mask, GRID) for mask in masks]
    if crs == "EPSG:4326":
        outlines = [
            shapely.transform(o, lambda at: np.column_stack(GRID.to_longitude_latitude(*at.T)).round(7))
            for o in outlines
        ]
    for mask, anomaly in zip(masks, layer_of(outlines, crs=crs).anomalies(GRID.shape), strict=True):
        rows, cols = np.nonzero(mask)
        assert sorted(zip(anomaly.rows, anomaly.cols, strict=True)) == sorted(zip(rows, cols, strict=True))


def test_a_polygon_smaller_than_a_pixel_is_the_pixel_around_it() -> None:
    small = shapely.multipolygons([shapely.box(3.6, 7.6, 3.7, 7.7)])
    grid = Grid((40, 30))
    (anomaly,) = layer_of([small], grid, None).anomalies(grid.shape)
    assert (anomaly.rows.tolist(), anomaly.cols.tolist()) == ([7], [3])


def test_a_layer_keeps_what_is_known_of_its_polygons() -> None:
    outlines = [pixels(mask, GRID) for mask in random_masks()[:3]]
    layer = layer_of(outlines, id=[5, 7, 9], p_value=[0.1, np.nan, 1e-4], name=["a", None, "</script>"])
    assert layer.table[1] == {"id": 7, "p_value": None, "name": None}
    assert [row["id"] for row in layer.rarest(2).table] == [9, 5]
    longitude, latitude = (axis.mean() for axis in GRID.to_longitude_latitude(*GRID.corners))
    for feature in json.loads(json.dumps(layer.features())):
        corners = np.array(feature["geometry"]["coordinates"][0][0])
        np.testing.assert_allclose(corners.mean(axis=0), [longitude, latitude], atol=1e-3)
    again = layer_of([outlines[2], outlines[0], outlines[1]], id=[9, 5, 7])
    assert again.sha256 == layer.sha256 != layer_of(outlines, id=[5, 7, 8]).sha256
    assert [row["id"] for row in layer_of(outlines).table] == [1, 2, 3]


@pytest.mark.parametrize(
    ("outlines", "table", "told"),
    [
        ([shapely.Point(5e5, 5.2e6)], {}, "no polygons"),
        ([shapely.box(5e5, 5.2e6, 5e5 + 2, 5.2e6 + 2)] * 2, {"id": [3, 3]}, "does not number"),
        ([shapely.box(5e5, 5.2e6, 5e5 + 2, 5.2e6 + 2)], {"id": ["x"]}, "does not number"),
        ([shapely.box(9e5, 5.2e6, 9e5 + 2, 5.2e6 + 2)], {}, "polygon 1 lies outside of the map"),
    ],
)
def test_what_cannot_be_a_layer_of_the_map_is_refused(outlines: list[Any], table: dict[str, Any], told: str) -> None:
    with pytest.raises(CubeError, match=told):
        layer_of(outlines, **table).anomalies(GRID.shape)


@pytest.mark.parametrize(("extent", "step"), [(1, 1), (28, 1), (29, 2), (200, 8)])
def test_a_chip_shows_the_whole_of_an_anomaly(extent: int, step: int) -> None:
    anomaly = Anomaly(1, rows=np.arange(extent) + 50, cols=np.full(extent, 60))
    frame = pictures.frame_of(anomaly)
    assert frame.step == step
    assert frame.row <= 50
    assert frame.row + frame.side * frame.step >= 50 + extent
    assert frame.col < 60 < frame.col + frame.side * frame.step


def test_a_chip_of_scores_keeps_the_highest_of_each_step(tmp_path: Path) -> None:
    scene = tmp_path / "scene.tif"
    hadgeo.simulate(scene, rows=90, cols=90, bands=12, targets=2)
    scores = open_scores(hadgeo.detect(scene, "rx", out=tmp_path / "x.tif").path)
    whole = scores.read(slice(0, 90), slice(0, 90))
    ramp = pictures.Ramp((float(np.nanmin(whole)), float(np.nanmax(whole))), (0.0, 1.0), ("", ""))
    frames = [Frame(0, 0, pictures.CHIP, 2), Frame(-10, 70, pictures.CHIP, 1)]
    sheet = decoded(pictures.score_sheet(scores, ramp, frames))
    first, second = sheet[: pictures.CHIP, : pictures.CHIP], sheet[: pictures.CHIP, pictures.CHIP : 2 * pictures.CHIP]
    row, col = np.unravel_index(np.nanargmax(whole[:80, :80]), (80, 80))
    brightest = first[..., :3].sum(axis=2) == first[..., :3].sum(axis=2).max()
    assert brightest[row // 2, col // 2]
    assert (second[..., 3] == 0).tolist() == ((np.arange(40) < 10)[:, None] | (np.arange(40) >= 20)[None, :]).tolist()


def decoded(uri: str) -> npt.NDArray[np.uint8]:
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


def test_a_long_line_is_cut_into_pieces_that_fit_together() -> None:
    picture = np.zeros((5000, 70, 4), dtype=np.uint8)
    picture[..., 3] = 255
    picture[..., 0] = np.linspace(0, 255, 5000, dtype=np.uint8)[:, None]
    pieces = pictures.tiles(picture, 3)
    assert [(piece["top"], piece["bottom"]) for piece in pieces] == [(0, 6144), (6144, 12288), (12288, 15000)]
    joint = np.concatenate([decoded(piece["src"]) for piece in pieces])
    np.testing.assert_allclose(joint[..., 0], picture[..., 0], atol=12)
    for lines, cells in ((1, pictures.CELLS), (10, pictures.CELLS / 10)):
        step = pictures.step_of((120_000, 600), lines)
        assert cells / 2 < 120_000 * 600 / step**2 <= cells * 1.01


def test_the_histogram_counts_every_pixel_once() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 1.0, 20_000).astype(np.float32)
    figures = score_figures(calibrate_values(values), 9.0, "value 9", 12)
    assert sum(figures.counts) == 20_000
    expected, _ = np.histogram(values, np.array(figures.edges, dtype=np.float32))
    # Ordinary scores are counted to within a bin of the calibration.
    np.testing.assert_allclose(figures.counts, expected, atol=3)
    modelled = [value for value in figures.modelled if value is not None]
    assert modelled
    begin = len(figures.counts) - len(modelled)
    assert sum(modelled) == pytest.approx(sum(figures.counts[begin:]), rel=0.15)
    assert figures.facts["threshold"] == "9 (value 9)"
    flat = score_figures(calibrate_values(np.full(50, 3, dtype=np.float32)), None)
    assert sum(flat.counts) == 50
    assert "none" in flat.facts["tail"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    hadgeo.simulate(home / "line.img", rows=60, cols=50, bands=40, targets=4, seed=3)
    hadgeo.detect(home / "line.img", "rx", out=home / "x.tif")
    hadgeo.decide(home / "x.tif", hadgeo.Rule(top=12), hadgeo.Outputs(polygons=home / "x.gpkg"))
    return home


def test_files_give_the_page_that_a_decision_gives(made: Path) -> None:
    source = hadgeo.cube.as_source(made / "line.img")
    explain = partial(gather_evidence, source, None)
    decision = hadgeo.decide(made / "x.tif", hadgeo.Rule(top=12), explain=explain, find=True)
    one = content_of(line_of_decision(decision, source, explain))
    other = content_of(line_of_files(source, made / "x.tif", made / "x.gpkg", explain))
    assert one["evidence"] == other["evidence"]
    assert one["outlines"] == other["outlines"]
    assert one["mapSha256"] == other["mapSha256"] == hashlib.sha256((made / "x.tif").read_bytes()).hexdigest()
    assert one["layerSha256"] == other["layerSha256"]
    assert one["chips"] == other["chips"]
    evidence = explain([Anomaly(group.id, group.rows, group.cols) for group in decision.anomalies.groups])
    np.testing.assert_allclose(one["evidence"]["spectrum"], evidence.spectrum, rtol=1e-3)
    best = one["evidence"]["top"][0][0]
    assert f"{evidence.wavelength.values[best[0]]:.0f} nm ({best[1]:+.1f}σ)" in str(evidence.top_bands.values[0])
    few = content_of(line_of_files(source, made / "x.tif", made / "x.gpkg", explain), limit=2)
    assert len(few["chips"]["frames"]) == len(few["evidence"]["spectrum"]) == 2 < len(few["features"])


def test_polygons_of_another_map_are_refused(made: Path, tmp_path: Path) -> None:
    source = hadgeo.cube.as_source(made / "line.img")
    explain = partial(gather_evidence, source, None)
    other = hadgeo.detect(made / "line.img", "local_rx", out=tmp_path / "y.tif").path
    with pytest.raises(CubeError, match="polygons of another map"):
        line_of_files(source, other, made / "x.gpkg", explain)
    with pytest.raises(CubeNotFoundError, match="no such file"):
        line_of_files(source, made / "x.tif", made / "none.gpkg", explain)


def test_the_page_is_one_file_that_names_no_other(made: Path, tmp_path: Path) -> None:
    source = hadgeo.cube.as_source(made / "line.img")
    content = content_of(line_of_files(source, made / "x.tif", made / "x.gpkg", partial(gather_evidence, source, None)))
    content["name"] = "</script><!--<script>\u2028é\udcff"
    out = write_page([content], tmp_path / "page.html")
    text = out.read_text("utf-8")
    outside = re.findall(
        r"""(?:src|href)=["']?(?!data:|#)[^"'\s>]+|url\((?!["']?data:)[^)]*\)|@import""", strip_scripts(text)
    )
    assert outside == []
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert "<" not in data
    assert json.loads(data)["lines"][0]["name"] == content["name"]
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert len(scripts) == 9
    for inlined in (*scripts, *styles):
        assert base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode() in text.partition("<title>")[0]
    assert "BSD 2-Clause" in text
    assert "The MIT License" in text


def strip_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>|<footer.*?</footer>", "", text, flags=re.DOTALL)


def test_several_lines_make_one_page(made: Path, tmp_path: Path) -> None:
    source = hadgeo.cube.as_source(made / "line.img")
    explain = partial(gather_evidence, source, None)
    contents = [content_of(line_of_files(source, made / "x.tif", made / "x.gpkg", explain), lines=2) for _ in range(2)]
    text = write_page(contents, tmp_path / "page.html").read_text("utf-8")
    assert "<title>2 flight lines: anomalies</title>" in text
