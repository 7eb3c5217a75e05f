"""`hadgeo detectors`: what helps to choose one."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from hadgeo.cli import cli
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import BUILT_IN, DEFAULT_DETECTOR, detector_class, usable_detectors


def told(*words: str) -> str:
    result = CliRunner().invoke(cli, ["detectors", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def flat(text: str) -> str:
    """Without the ends of its lines."""
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_each_detector_says_what_helps_to_choose(name: str) -> None:
    cls = detector_class(name)
    assert cls.best_at
    assert cls.relative_cost
    one, paragraph = (
        flat(text) for text in (told(name), f"\n{told()}".partition(f"\n{name}  ")[2].partition("\n\n")[0])
    )
    for text in (one, paragraph):
        assert cls.title in text
        assert f"best at: {cls.best_at}" in text
        assert f"explanation: {cls.explained_by or 'none'}" in text
        assert (
            "cost: that of rx" if cls.relative_cost == 1 else f"cost: {cls.relative_cost:g} times that of rx"
        ) in text
        for preset in cls.presets:
            assert preset in text.partition("presets: ")[2]
        assert (f'pip install "hadgeo[{cls.fitted_by}]"' in text) == bool(cls.fitted_by)


def test_the_default_is_marked() -> None:
    marked = [text for text in told().splitlines() if text.endswith(", the default")]
    assert [text.split()[0] for text in marked] == [DEFAULT_DETECTOR]


def test_what_is_known_stands_above_the_parameters() -> None:
    text = told("fusion")
    assert text.index("best at:") < text.index("presets:") < text.index("  preset = null")


def test_the_list_fits_into_100_columns() -> None:
    assert max(map(len, told().splitlines())) <= 100


def test_what_nobody_says_of_a_detector_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another package may have no more than a title."""
    cls: type[Detector] = detector_class("rx")
    for attribute, value in (("best_at", ""), ("explained_by", ""), ("relative_cost", None)):
        monkeypatch.setattr(cls, attribute, value)
    assert "best at: not said cost: not measured explanation: none" in flat(told("rx"))


def test_json_has_the_parameters_and_what_helps_to_choose() -> None:
    listed = json.loads(told("--json"))
    assert set(listed) == set(usable_detectors())
    fusion = listed["fusion"]
    assert fusion["properties"]["parts"]["type"] == "string"
    cls = detector_class("fusion")
    assert fusion["detector"] == {
        "title": cls.title,
        "best_at": cls.best_at,
        "relative_cost": cls.relative_cost,
        "explained_by": cls.explained_by,
        "presets": cls.presets,
        "fitted_by": "",
    }
    assert json.loads(told("isolation_forest", "--json"))["isolation_forest"]["detector"]["fitted_by"] == "sklearn"
