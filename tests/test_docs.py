"""The page of examples from Python: all of it runs as it stands, and prints what it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import hadgeo

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
