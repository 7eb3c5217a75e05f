"""The page of a review in a real browser: it opens by itself, is quick, takes verdicts, and lets no name run."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import hadgeo
from hadgeo.cli import cli
from hadgeo.decisions.report import line_of_decision
from hadgeo.evidence.report.content import contents_of
from hadgeo.evidence.report.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed; the page is not tried in a browser", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")

#: What a name of a file or a band could be called to run a script in the page.
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>${`"


def run(*words: str | Path) -> None:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene whose name is hostile, its map, and the page of its anomalies."""
    home = tmp_path_factory.mktemp("page")
    scene = home / "scene.tif"
    hadgeo.simulate(scene, rows=80, cols=60, bands=30, targets=6, seed=2)
    # A slash ends a folder, so it cannot be in a name.
    hostile = home / f"{HOSTILE.replace('/', '∕')}.tif"
    shutil.copy(scene, hostile)
    with rasterio.open(hostile, "r+") as dataset:
        dataset.descriptions = [f"{HOSTILE}{number}" for number in range(dataset.count)]
    words = ("detect", hostile, "-d", "rx", "-o", home / "map.tif", "--top", "25", "--grow-pfa", "0")
    run(*words, "--polygons", home / "found.gpkg", "--report", home / "page.html", "-q", "--progress", "none")
    return home


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a browser of its own, and at the end says what went wrong in it."""
    contexts, troubles = [], []

    def open_page(path: Path, **options: Any) -> Any:
        context = browser.new_context(accept_downloads=True, viewport={"width": 1400, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if not own(request.url) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    def own(url: str) -> bool:
        return url.startswith(("data:", "blob:")) or url.endswith(".html")

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def rows_of(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#rows th").all_inner_texts()]


def verdict_of(page: Any, number: int) -> str:
    return page.locator(f'#rows tr[data-key="0:{number}"] .tag').inner_text()


def saved(page: Any, button: str, out: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(button).click()
    waiting.value.save_as(out)
    return out


def _copy(folder: Path, home: Path) -> Path:
    return Path(shutil.copy(folder / "found.gpkg", home / "found.gpkg"))


def count_of(folder: Path) -> int:
    return len(hadgeo.Review.read(folder / "found.gpkg").ids)


def test_it_opens_with_nothing_but_itself_and_no_name_runs(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html", offline=True)
    assert page.evaluate("window.hacked") is None
    assert HOSTILE.replace("/", "∕") in page.locator("h1").inner_text()
    assert HOSTILE.replace("/", "∕") in page.title()
    assert len(rows_of(page)) == count_of(folder) > 5


def test_its_policy_lets_nothing_in_or_out(folder: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((folder / "page.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    refused = page.evaluate("fetch('https://example.org').then(() => 'fetched', () => 'refused')")
    assert refused == "refused"
    inline = "document.body.append(Object.assign(document.createElement('script'), { text: 'window.hacked = 3' }))"
    page.evaluate(inline)
    assert page.evaluate("window.hacked") is None
    page.close()


def test_rows_are_sorted_and_filtered(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html")
    by_rank = rows_of(page)
    assert by_rank == sorted(by_rank, key=int)
    page.get_by_role("button", name="pixels", exact=True).click()
    page.get_by_role("button", name="pixels", exact=True).click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("pixels")
    sizes = page.evaluate("Table.rows.map((a) => a.properties.pixels)")
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1
    page.locator("#filter-least").fill("2")
    assert len(rows_of(page)) == sum(size >= 2 for size in sizes) < len(sizes)
    limit = sorted(page.evaluate("ANOMALIES.map((a) => a.properties.p_value)"))[3]
    page.locator("#filters button").click()
    page.locator("#filter-p").fill(repr(limit))
    assert page.evaluate(f"Table.rows.every((a) => a.properties.p_value <= {limit!r})")
    assert "of" in page.locator("#caption").inner_text()
    page.locator("#filter-p").fill("1e-99")
    assert rows_of(page) == []
    assert page.locator("#nothing").is_visible()


def test_verdicts_are_given_by_keys_kept_and_told(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html")
    page.locator("#reviewer").fill("A. Nalyst")
    page.locator("#reviewer").blur()
    for key in ("a", "r", "u", "j", "a"):
        page.keyboard.press(key)
    assert [verdict_of(page, number) for number in range(1, 6)] == [
        "✓ accepted",
        "✕ rejected",
        "? unsure",
        "",
        "✓ accepted",
    ]
    assert page.locator("#status").inner_text() == "Anomaly 5: accepted. Now anomaly 6."
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    page.keyboard.press("k")
    page.keyboard.press("x")
    assert verdict_of(page, 5) == ""
    page.keyboard.press("n")
    # Letters are text now, and no verdicts.
    page.keyboard.type('a "van", r')
    page.keyboard.press("Escape")
    assert "✎" in verdict_of(page, 5)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Anomaly 5"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert verdict_of(page, 2) == "✕ rejected"
    assert page.locator("#reviewer").input_value() == "A. Nalyst"
    page.locator("#filter-verdict").select_option("none")
    assert not {"1", "2", "3"} & set(rows_of(page))


@pytest.mark.parametrize(("button", "suffix"), [("#export-geojson", "geojson"), ("#export-csv", "csv")])
def test_what_is_saved_is_a_review_and_comes_in_again(
    button: str, suffix: str, folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    page = opened(folder / "page.html")
    page.locator("#reviewer").fill("Ünal, B.")
    page.locator("#reviewer").blur()
    for key in ("a", "r", "u"):
        page.keyboard.press(key)
    note = 'line 1\nsays "no", =1+1; ä'
    page.keyboard.press("n")
    page.locator("#note").fill(note)
    page.locator("#note").blur()
    out = saved(page, button, tmp_path / f"review.{suffix}")
    review = hadgeo.Review.read(out)
    assert (review.accepted, review.rejected, review.unsure) == ((1,), (2,), (3,))
    assert review.verdicts[4].note == note
    assert {verdict.reviewer for verdict in review.verdicts.values()} == {"Ünal, B."}
    assert len(review.ids) == count_of(folder)
    review.check_map(folder / "map.tif")
    # Scores are there, from which a threshold follows.
    assert review.threshold(0.5) == hadgeo.Review.read(review.apply_to(_copy(folder, tmp_path))).threshold(0.5)
    assert hadgeo.Review.read(review.apply_to(_copy(folder, tmp_path))).verdicts == review.verdicts

    fresh = opened(folder / "page.html")
    assert verdict_of(fresh, 1) == ""
    fresh.locator("#import-file").set_input_files(out)
    fresh.locator("#status", has_text="loaded").wait_for()
    assert fresh.evaluate("Object.fromEntries(ANOMALIES.map((a) => [a.id, Review.of(a)]))") == {
        str(number): {
            name: getattr(review.verdicts.get(number), name, None)
            for name in ("verdict", "note", "reviewer", "reviewed_at")
        }
        for number in review.ids
    }


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_of_a_spreadsheet_comes_in(
    separator: str, folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    page = opened(folder / "page.html")
    rows = (("id", "note", "verdict"), ("2", '"a, ""b""\r\nc"', "unsure"), ("1", "", "accepted"))
    out = tmp_path / "table.csv"
    out.write_bytes("\ufeff".encode() + "\r\n".join(separator.join(row) for row in rows).encode())
    page.locator("#import-file").set_input_files(out)
    page.locator("#status", has_text="2 verdicts loaded").wait_for()
    assert page.evaluate("Review.of(ANOMALIES[1]).note") == 'a, "b"\r\nc'


def test_geojson_lies_where_the_polygons_do(folder: Path, tmp_path: Path, opened: Callable[..., Any]) -> None:
    out = saved(opened(folder / "page.html"), "#export-geojson", tmp_path / "x.geojson")
    run("threshold", folder / "map.tif", "--top", "25", "--grow-pfa", "0", "--polygons", tmp_path / "y.geojson", "-q")
    ours, theirs = (json.loads(path.read_text("utf-8"))["features"] for path in (out, tmp_path / "y.geojson"))
    for one, other in zip(ours, theirs, strict=True):
        assert {**one["properties"], "bands": None} == {**other["properties"], "bands": None}
        assert one["geometry"]["type"] == "MultiPolygon"
        corners = [
            np.unique(np.concatenate(shape["geometry"]["coordinates"][0]).round(6), axis=0) for shape in (one, other)
        ]
        np.testing.assert_allclose(corners[0], corners[1], atol=2e-6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,verdict,map_sha256\n1,accepted,feed\n", "another map"),
        ("id,verdict\n999,accepted\n", "anomaly 999 is not in this page"),
        ("id,verdict\n1,perhaps\n", "perhaps is no verdict"),
        ("id,verdict,peak_row,peak_col\n1,accepted,-50,3\n", "other polygons"),
        ("name\nx\n", "no columns id and verdict"),
        ('{"type": "FeatureColl', "damaged"),
        ('{"type": "Point"}', "no GeoJSON layer"),
        ("", "no columns"),
    ],
)
def test_what_is_no_review_of_this_map_is_refused_whole(
    content: str, told: str, folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    page = opened(folder / "page.html")
    out = tmp_path / "other.csv"
    out.write_text(content)
    page.locator("#import-file").set_input_files(out)
    page.locator("#status:not(:empty)").wait_for()
    status = page.locator("#status").inner_text()
    assert status.startswith("Nothing was loaded")
    assert told in status
    assert page.evaluate("Review.kept.size") == 0


def test_a_review_in_the_layer_is_where_the_page_begins(
    folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    layer = Path(shutil.copy(folder / "found.gpkg", tmp_path / "found.gpkg"))
    (tmp_path / "r.csv").write_text("id,verdict,note\n2,rejected,roof\n")
    hadgeo.Review.read(tmp_path / "r.csv").apply_to(layer)
    scene = next(path for path in folder.glob("*.tif") if "script" in path.name)
    run("report", scene, folder / "map.tif", layer, "-o", tmp_path / "page.html", "-q")
    page = opened(tmp_path / "page.html")
    assert verdict_of(page, 2) == "✕ rejected ✎"
    assert "1 of" in page.locator("#reviewed").inner_text()
    # Taken back, it stays so.
    page.evaluate("Page.choose(ANOMALIES[1])")
    page.keyboard.press("x")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert verdict_of(page, 2) == "✎"
    # What the layer has learned since then counts more than what the browser kept.
    later = "id,verdict,reviewed_at\n2,accepted,2999-01-01T00:00:00Z\n"
    (tmp_path / "r.csv").write_text(later)
    hadgeo.Review.read(tmp_path / "r.csv").apply_to(layer)
    run("report", scene, folder / "map.tif", layer, "-o", tmp_path / "page.html", "-q", "--overwrite")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert verdict_of(page, 2) == "✓ accepted"


def test_an_anomaly_shows_its_spectrum_and_its_surroundings(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html")
    page.evaluate("Page.card()")
    for number in range(page.locator("#card .chips canvas").count()):
        shades = (
            page.locator("#card .chips canvas")
            .nth(number)
            .evaluate("(c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size")
        )
        assert shades > 20
    assert page.locator("#card .chips figure").count() == 3
    assert page.locator("#card .u-wrap canvas").count() == 1
    assert "σ" in page.locator("#card .bands").inner_text()
    assert "threshold" in page.locator("#histograms").inner_text()
    assert "hadgeo detect" in page.locator(".command").inner_text()
    page.keyboard.press("z")
    page.keyboard.press("c")
    page.keyboard.press("s")
    assert page.locator(".leaflet-control-layers input:checked").count() == 2
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_several_lines_share_a_page_and_keep_their_verdicts_apart(
    folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    lines = []
    for number in (1, 2):
        scene, scores = tmp_path / f"line{number}.img", tmp_path / f"map{number}.tif"
        hadgeo.simulate(scene, rows=50 + number, cols=40, bands=20, targets=4, seed=number)
        hadgeo.detect(scene, "rx", out=scores)
        source = hadgeo.cube.as_source(scene)
        explain = partial(hadgeo.gather_evidence, source, None)
        decision = hadgeo.decide(scores, hadgeo.Rule(top=10), explain=explain, find=True)
        lines.append(line_of_decision(decision, source, explain))
    contents = contents_of(lines, limit=5)
    assert sum(len(content["chips"]["frames"]) for content in contents) == 5
    page = opened(write_page(contents, tmp_path / "page.html"))
    assert page.evaluate("new Set(Table.rows.map((a) => a.line.name)).size") == 2
    page.locator("#filter-line").select_option("line2.img")
    page.evaluate("Page.choose(Table.rows.find((a) => a.id === 1))")
    assert page.evaluate("SceneMap.line.name") == "line2.img"
    page.keyboard.press("r")
    out = saved(page, "#export-csv", tmp_path / "review.csv")
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert [(row["line"], row["id"]) for row in rows if row["verdict"]] == [("line2.img", "1")]
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.evaluate("localStorage.clear()")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator("#import-file").set_input_files(out)
    page.locator("#status", has_text="1 verdict loaded").wait_for()
    assert page.evaluate("[...Review.kept.keys()]") == ["1:1"]


def test_nothing_found_is_said(tmp_path: Path, folder: Path, opened: Callable[..., Any]) -> None:
    scene = next(path for path in folder.glob("*.tif") if "script" in path.name)
    words = ("threshold", folder / "map.tif", "--value", "1e30", "--scene", scene, "--report", tmp_path / "page.html")
    run(*words, "-q")
    page = opened(tmp_path / "page.html")
    assert page.locator("#nothing").is_visible()
    for key in ("j", "a", "n", "z", "0", "s"):
        page.keyboard.press(key)


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, by WCAG 2."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_in_darkness(scheme: str, folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html", color_scheme=scheme)
    for key in ("a", "r", "u"):
        page.keyboard.press(key)
    ground = page.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundColor")
    assert (luminance(ground) < 0.1) == (scheme == "dark")
    for selector in (".tag.accepted", ".tag.rejected", ".tag.unsure", "#rows td", "caption", "#card dt", "figcaption"):
        colour = page.locator(selector).first.evaluate("(e) => getComputedStyle(e).color")
        lighter, darker = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector


def test_every_control_has_a_name_and_a_visible_focus(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")].filter((e) =>
            !e.labels?.length && !e.getAttribute("aria-label") && !e.textContent.trim()).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_it_prints_all_rows_in_light_colours(folder: Path, tmp_path: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html", color_scheme="dark")
    page.evaluate("window.print = () => window.dispatchEvent(new Event('beforeprint'))")
    page.evaluate("Page.printAll()")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#print-cards article").count() == count_of(folder)
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert not page.locator("#filters").is_visible()
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_500_anomalies_open_soon_and_are_not_large(tmp_path: Path, opened: Callable[..., Any]) -> None:
    scene = tmp_path / "many.img"
    hadgeo.simulate(scene, rows=200, cols=160, bands=150, targets=5, seed=4)
    words = ("detect", scene, "-d", "rx", "-o", tmp_path / "m.tif", "--top", "900", "--grow-pfa", "0", "-q")
    run(*words, "--report", tmp_path / "m.html", "--progress", "none")
    assert (tmp_path / "m.html").stat().st_size < 25e6
    begin = time.perf_counter()
    page = opened(tmp_path / "m.html")
    took = time.perf_counter() - begin
    charted = page.evaluate("ANOMALIES.filter((a) => a.charted).length")
    assert charted == 500 < page.evaluate("ANOMALIES.length")
    assert "pictures and spectra of the 500 rarest" in page.locator("#caption").inner_text()
    # Under three seconds on a machine left to itself.
    assert took < 15
    page.evaluate("Page.choose(ANOMALIES.find((a) => !a.charted))")
    assert "Only the 500 rarest" in page.locator("#card").inner_text()


def test_a_browser_that_keeps_nothing_says_so(folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(folder / "page.html")
    page.evaluate("void (Storage.prototype.setItem = () => { throw new Error('full') })")
    page.keyboard.press("a")
    assert verdict_of(page, 1) == "✓ accepted"
    assert "not kept by this browser" in page.locator("#reviewed").inner_text()
