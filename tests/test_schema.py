"""What dialogs are made from describes every command and detector, and the plugin ships what is true today."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hadgeo.cli import cli
from hadgeo.detectors.registry import BUILT_IN, detector_class
from hadgeo.schema import describe
from hadgeo.worker import PROTOCOL, argument_name, command_line, find_command

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "qgis_plugin" / "hadgeo_qgis"
SCHEMA = describe()


def test_the_plugin_ships_the_schema_of_this_backend() -> None:
    shipped = json.loads((PLUGIN / "schema.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(SCHEMA)), "run `make plugin`"


def test_the_plugin_speaks_this_protocol() -> None:
    sys.path.insert(0, str(PLUGIN.parent))
    try:
        from hadgeo_qgis import backend
    finally:
        sys.path.remove(str(PLUGIN.parent))
    assert backend.PROTOCOL == PROTOCOL == SCHEMA["protocol"]


def test_every_command_is_described() -> None:
    names = {name.split()[0] for name in SCHEMA["commands"]}
    assert names == set(cli.list_commands(click.Context(cli)))
    assert "model info" in SCHEMA["commands"]
    for name, facts in SCHEMA["commands"].items():
        assert find_command(name)[0].name == name.split()[-1]
        assert len(facts["help"]) > 20, name
        assert "\b" not in facts["help"]


@pytest.mark.parametrize("name", SCHEMA["commands"])
def test_every_option_has_help_and_every_argument_can_be_sent(name: str) -> None:
    command, _ = find_command(name)
    options = {argument_name(param) for param in command.params if isinstance(param, click.Option)}
    for key, facts in SCHEMA["commands"][name]["arguments"].items():
        assert facts.get("help") or key not in options, key
        assert command_line(command, {key: None}) == ["--"]


def test_what_is_told_of_an_option_is_true() -> None:
    arguments = SCHEMA["commands"]["detect"]["arguments"]
    assert arguments["scenes"] == {"type": "text", "several": True}
    assert arguments["window"]["minimum"] == 1
    assert arguments["extent"]["places"] == 4
    assert arguments["overwrite"]["type"] == "flag"
    assert arguments["device"]["default"] == "auto"
    assert tuple(SCHEMA["commands"]["simulate"]["arguments"]["dtype"]["choices"]) == ("int16", "float32")
    for terminal in ("debug", "quiet", "progress"):
        assert terminal not in arguments


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_detector_says_which_parameters_come_first(name: str) -> None:
    params = detector_class(name).Params
    assert params.basic or detector_class(name).presets
    # What only makes a run repeatable, or longer, is for later.
    assert not {"seed", "steps"} & set(params.basic)
    assert set(params.basic) <= set(params.model_fields)
    assert SCHEMA["detectors"][name]["relative_cost"] == detector_class(name).relative_cost
    described = SCHEMA["detectors"][name]["parameters"]
    preset = {"preset"} if detector_class(name).presets else set()
    assert set(described) == preset | set(params.model_fields)
    for key, field in described.items():
        assert field["basic"] == (key in preset | set(params.basic))
        assert field["title"]
        assert field["description"]


def test_it_can_be_written_from_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hadgeo.schema"], capture_output=True, text=True, check=True, cwd=ROOT, encoding="utf-8"
    )
    assert json.loads(done.stdout) == json.loads(json.dumps(SCHEMA))
