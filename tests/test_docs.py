"""The page of examples from Python: all of it runs as it stands, and prints what it shows."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import click
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import hadgeo
from hadgeo.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


REVIEW = PAGE.with_name("review.md")


@pytest.mark.parametrize(("page", "least"), [(PAGE, 80), (REVIEW, 10)], ids=["python", "review"])
def test_all_examples_of_the_page_run_in_order(
    page: Path, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)]).parse(page)
    # As in a script that is run.
    document.namespace["__name__"] = "__main__"
    monkeypatch.chdir(tmp_path)
    examples = list(document.examples())
    assert len(examples) > least
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("name", sorted(hadgeo.__all__))
def test_the_page_has_each_public_name(name: str) -> None:
    assert re.search(rf"`{name}`", PAGE.read_text(encoding="utf-8").partition("## All names")[2])


def test_links_on_the_page_lead_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", text, re.M)
    }
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    for target in targets:
        known = target[1:] in anchors if target.startswith("#") else (PAGE.parent / target).is_file()
        assert known, target


ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", ["README.md", "docs/pictures.md", "docs/batch.md"])
def test_the_python_of_other_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("line.img", "lines/a.img", "lines/b.img"):
        Path(name).parent.mkdir(exist_ok=True)
        hadgeo.simulate(name, rows=60, cols=50, bands=20, targets=4)
    examples = list(Sybil([PythonCodeBlockParser()]).parse(ROOT / page).examples())
    assert examples
    for example in examples:
        example.evaluate()


def commands(page: Path) -> list[str]:
    """What a page shows to be typed."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```|((?:^    .*\n)+)", page.read_text("utf-8"), re.M | re.S)
    lines = "\n".join("\n".join(block) for block in blocks).replace("\\\n", " ").splitlines()
    known = "|".join(cli.list_commands(click.Context(cli)))
    typed = re.compile(rf"\s*(\.venv/bin/)?hadgeo ({known}) ")
    return [line.strip().removeprefix(".venv/bin/") for line in lines if typed.match(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_have_the_options_shown(page: Path) -> None:
    for line in commands(page):
        name, *words = shlex.split(line.replace("…", ""), comments=True)[1:]
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, line
        command.make_context(name, words)


def test_the_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40
