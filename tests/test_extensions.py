"""What other packages announce and cannot be used is named once, and never stands in the way of the rest."""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import hadgeo
import hadgeo.detectors.registry as detectors
import hadgeo.formats.registry as formats
from hadgeo.cli import cli
from hadgeo.cli.options import with_seed
from hadgeo.errors import ExtensionError, ExtensionWarning, ParameterError
from hadgeo.extensions import Registry
from hadgeo.schema import describe

DETECTOR = """
from enum import Enum
from typing import Any
from pydantic import Field
from hadgeo.detectors.base import Detector, Params

class Mode(Enum):
    FINE = "fine"
    COARSE = "coarse"

class Plain(Detector[Params]):
    name, title, Params, halo = "plain", "Plain", Params, 0
    def fit(self, sample: Any, **_: Any) -> Any: return self
    def score(self, block: Any) -> Any: return block.sum(dim=0)
    def bytes_per_pixel(self, bands: int) -> int: return 4
    def state(self) -> dict[str, Any]: return {}
    def load_state(self, state: Any, device: Any) -> Any: return self

class DrawnParams(Params):
    start: int = Field(default=0, title="Start", description="Of the draws.")
    mode: Mode = Field(default=Mode.FINE, title="Mode", description="How.")

class Drawn(Plain):
    name, Params, seed_parameter = "drawn", DrawnParams, "start"

class Renamed(Plain):
    name = "another"

class Half(Detector[Params]):
    name, title, Params = "half", "Half", Params

class Seedless(Plain):
    name, seed_parameter = "seedless", "seed"

class Text:
    title = "Text"
    def claims(self, name: str) -> bool: return False
    def open(self, name: str, reading: Any) -> Any: raise AssertionError

class Raising(Text):
    title = "Raising"
    def claims(self, name: str) -> bool: raise RuntimeError("no idea")

TEXT, RAISING, NO_OPEN = Text(), Raising(), type("NoOpen", (), {"title": "x", "claims": Text.claims})()
"""


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install packages that announce detectors and formats, given as {group: {name: target}}."""

    def install(package: str = "other", **groups: dict[str, str]) -> None:
        folder = tmp_path / "site"
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / "announced.py").write_text(DETECTOR)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        text = "".join(
            f"[hadgeo.{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in groups.items()
        )
        (info / "entry_points.txt").write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        for module in (detectors, formats):
            fresh = Registry(module.ENTRY_POINT_GROUP, module.BUILT_IN, module._flaw)
            monkeypatch.setattr(module, "_REGISTRY", fresh)

    yield install
    sys.modules.pop("announced", None)


OWN = sorted(detectors.BUILT_IN)

ALL = sorted([*OWN, "plain"])


def test_a_detector_of_another_package_stands_beside_hadgeos_own(announce) -> None:
    announce(detectors={"plain": "announced:Plain"})
    assert detectors.list_detectors() == ALL
    assert detectors.detector_class("plain").title == "Plain"
    assert list(describe()["detectors"]) == ALL
    assert list(describe(extensions=False)["detectors"]) == OWN


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("missing_module:X", "ModuleNotFoundError: No module named 'missing_module'"),
        ("announced:Missing", "AttributeError"),
        ("announced:Renamed", "calls itself 'another'"),
        ("announced:Half", "lacks bytes_per_pixel, fit, halo, load_state, score, state"),
        ("announced:Seedless", "seed_parameter 'seed' is not one of its parameters"),
        ("announced:TEXT", "not a class derived from hadgeo.detectors.base.Detector"),
    ],
)
def test_a_broken_detector_is_named_and_the_others_work(announce, target: str, reason: str) -> None:
    name = {"announced:Half": "half", "announced:Seedless": "seedless"}.get(target, "broken")
    announce(detectors={name: target, "plain": "announced:Plain"})
    with pytest.warns(ExtensionWarning) as caught:
        usable = detectors.usable_detectors()
    assert list(usable) == ALL
    (text,) = [str(warning.message) for warning in caught]
    assert f"the entry point '{name}' ({target}) in hadgeo.detectors of the package other cannot be used" in text
    assert reason in text
    with pytest.raises(ExtensionError, match="repair, update or uninstall"):
        detectors.make_detector(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It was said once.
        assert detectors.usable_detectors() == usable


def test_every_command_goes_on_beside_a_broken_detector(announce) -> None:
    announce(detectors={"broken": "missing_module:X"})
    done = CliRunner().invoke(cli, ["detectors"])
    assert done.exit_code == 0
    assert re.findall(r"^[^\s]+", done.stdout, re.M) == OWN
    assert done.stderr.count("hadgeo: warning: the entry point 'broken'") == 1
    done = CliRunner().invoke(cli, ["detectors", "broken"])
    assert done.exit_code == 2
    assert done.stderr.startswith("hadgeo: error: the entry point 'broken' (missing_module:X)")
    assert len(done.stderr.splitlines()) == 1


def test_names_are_not_taken_from_hadgeo_nor_unfit_for_a_command_line(announce) -> None:
    announce(detectors={"rx": "announced:Plain", "a:b": "announced:Plain", "plain": "announced:Plain"})
    with pytest.warns(ExtensionWarning) as caught:
        assert detectors.list_detectors() == ALL
    texts = sorted(str(warning.message) for warning in caught)
    assert len(texts) == 2
    assert "'a:b'" in texts[0]
    assert "rx is a name of hadgeo's own" in texts[1]
    assert detectors.detector_class("rx").__module__ == "hadgeo.detectors.rx"


def test_two_packages_with_one_name_are_told_apart(announce, tmp_path: Path) -> None:
    announce("first", detectors={"plain": "announced:Plain"})
    announce("second", detectors={"plain": "announced:Renamed"})
    with pytest.warns(ExtensionWarning, match="is taken by the entry point 'plain' .* of the package first"):
        assert detectors.detector_class("plain").__name__ == "Plain"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("missing_module:X", "cannot be used: ModuleNotFoundError"),
        ("announced:Text", "it is a class; register an instance of it"),
        ("announced:NO_OPEN", "no method open"),
        ("announced:RAISING", "the format 'broken' (Raising) failed on "),
    ],
)
def test_a_broken_format_is_named_once_and_others_read_the_file(
    announce, tmp_path: Path, target: str, reason: str
) -> None:
    announce(formats={"broken": target, "text": "announced:TEXT"})
    path = tmp_path / "line.tif"
    hadgeo.simulate(path, rows=9, cols=8, bands=5, targets=1)
    assert formats.list_formats()[:2] == ["broken", "text"]
    with pytest.warns(ExtensionWarning) as caught:
        source = formats.open_source(path)
    assert source.shape == (5, 9, 8)
    (text,) = [str(warning.message) for warning in caught]
    assert reason in text
    assert "broken" in text


def test_the_seed_of_a_run_goes_to_the_parameter_that_a_detector_names(announce) -> None:
    announce(detectors={"drawn": "announced:Drawn", "plain": "announced:Plain"})
    assert with_seed("drawn", {"mode": "coarse"}, 7) == {"start": "7", "mode": "coarse"}
    assert with_seed("plain", {}, 7) == {}


def test_choices_of_an_enumeration_are_told_to_dialogs_and_in_errors(announce) -> None:
    announce(detectors={"drawn": "announced:Drawn"})
    mode = describe()["detectors"]["drawn"]["parameters"]["mode"]
    assert (mode["enum"], mode["default"], mode["title"]) == (["fine", "coarse"], "fine", "Mode")
    with pytest.raises(ParameterError, match="mode must be fine or coarse, not 'x'"):
        hadgeo.make_detector("drawn", {"mode": "x"})


def test_compare_runs_all_detectors_where_none_is_named(
    announce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(detectors={"plain": "announced:Plain", "broken": "missing_module:X"})
    # The learned ones would take long.
    own = {"rx": detectors.BUILT_IN["rx"]}
    monkeypatch.setattr(detectors, "_REGISTRY", Registry(detectors.ENTRY_POINT_GROUP, own, detectors._flaw))
    made = hadgeo.simulate(tmp_path / "line.tif", rows=40, cols=40, bands=12, targets=3)
    words = ["compare", str(tmp_path / "line.tif"), "--truth", str(made.truth), "--bootstrap", "0", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    assert {entry["detector"] for entry in json.loads(done.stdout)["leaderboard"]} == {"plain", "rx"}
    assert done.stderr.count("the entry point 'broken'") == 1
    board = hadgeo.compare(tmp_path / "line.tif", made.truth, resamples=0)
    assert {entry.contender.name for entry in board} == {"plain", "rx"}
