"""The pages of the documentation: links, navigation, messages and names are right, and tutorials run."""

from __future__ import annotations

import csv
import io
import re
import shlex
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyogrio.raw
import pytest
import yaml
from click.testing import CliRunner

import hadgeo
from hadgeo.cli import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def _page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """The anchors of headings, as Git hosting makes them."""
    prose = re.sub(r"^( *)```.*?^\1```", "", _page(path), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFC", t.lower())).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.stem)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = _without_code(_page(page))
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from _leaves(entry)


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    settings = yaml.safe_load(_page(ROOT / "mkdocs.yml"))
    assert sorted(_leaves(settings["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_the_reference_describes_every_public_name() -> None:
    described = re.findall(r"^::: hadgeo\.(\w+)$", _page(DOCS / "reference" / "python.md"), flags=re.MULTILINE)
    assert sorted(described) == sorted(set(hadgeo.__all__) - {"__version__"})


def _messages() -> list[str]:
    return re.findall(r"^### `(.*)`$", _page(DOCS / "troubleshooting.md"), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def modules() -> list[str]:
    """The source of each module, with strings that are written in pieces put together."""
    return [re.sub(r"[\"']\s*\n\s*f?[\"']", "", _page(path)) for path in (ROOT / "hadgeo").rglob("*.py")]


@pytest.mark.parametrize("message", _messages())
def test_messages_of_the_troubleshooting_page_are_messages_of_hadgeo(message: str, modules: list[str]) -> None:
    pieces = [piece.strip(" ;:,") for piece in message.split("…")]
    assert any(len(piece) >= 10 for piece in pieces)
    assert any(all(piece in module for piece in pieces) for module in modules)


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _page(page), flags=re.MULTILINE | re.DOTALL)


def _follow(page: Path, **replaced: str) -> str:
    """Run the commands of a page in the current folder, and return what they print."""
    output = ""
    commands = "".join(_blocks(page, "sh"))
    for old, new in replaced.items():
        commands = commands.replace(old, new)
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        if program == "mkdir":
            Path(words[0]).mkdir()
            continue
        assert program == "hadgeo"
        arguments = [
            name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        output += result.output
    return output


def test_five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _follow(DOCS / "start.md")
    made = set(re.findall(r"`(line\w*\.\w+|anomalies\.gpkg)`", _page(DOCS / "start.md")))
    assert {"line.img", "line_anomaly.tif", "line_quicklook.png", "anomalies.gpkg"} <= made
    assert all((tmp_path / name).is_file() for name in made)


def test_a_mission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _follow(DOCS / "tutorial-mission.md")
    assert sorted(path.name for path in Path("maps").glob("*_anomaly.tif")) == [f"{x}_anomaly.tif" for x in "abcd"]
    assert Path("maps/summary.html").is_file()


def _review(anomaly: str) -> dict[int, Any]:
    """Write and apply the verdicts of the page on San Diego; what the polygons say then."""
    (table,), (script,) = (_blocks(DOCS / "tutorial-scene.md", language) for language in ("csv", "python"))
    Path("verdicts.csv").write_text(table.replace("10,", f"{anomaly},"), encoding="utf-8")
    exec(compile(script, "verdicts.py", "exec"), {"__name__": "__main__"})
    columns, _, _, values = pyogrio.raw.read("found.gpkg")
    fields = dict(zip(columns["fields"], values, strict=True))
    said = dict(zip(fields["id"].tolist(), fields["verdict"].tolist(), strict=True))
    for row in csv.DictReader(io.StringIO(table.replace("10,", f"{anomaly},"))):
        assert said[int(row["id"])] == row["verdict"]
    return said


@pytest.mark.data
def test_san_diego(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, own in (("sandiego_aviris1_utm11_nad27", "sandiego"), ("sandiego_aviris1_gtGCL", "sandiego_truth")):
        shutil.copyfile(data_dir / "geo" / f"{name}.tif", tmp_path / f"{own}.tif")
    monkeypatch.chdir(tmp_path)
    output = _follow(DOCS / "tutorial-scene.md")
    # What the page says of this scene.
    assert "178 of 189 bands (excluded: 11 in water vapour)" in output
    assert re.findall(r"objects at pixel P_F 1e-[34].*?(\d) / 3", output) == ["0", "0", "3", "3"]
    assert len(_review("10")) == 12


def test_a_simulated_scene_stands_in_for_san_diego(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"^hadgeo simulate .*$", _page(DOCS / "tutorial-scene.md"), flags=re.MULTILINE)
    result = CliRunner().invoke(cli, shlex.split(line)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    _follow(DOCS / "tutorial-scene.md", **{"#10": "#1"})
    _review("2")
