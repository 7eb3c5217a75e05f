"""Bad parameters of every detector, and models that do not fit: one clear line, exit 2, a folder as it was before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hadgeo
from hadgeo.detectors.registry import detector_class, list_detectors
from tests.cli.test_bad_input import assert_one_line, listing, run


def out_of_bounds() -> Iterator[tuple[str, str, str]]:
    """A value beyond each bound of each parameter of each detector, as a user types it."""
    for name in list_detectors():
        for key, field in detector_class(name).Params.model_json_schema()["properties"].items():
            schema = next((kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"), field)
            schema = schema.get("items", schema)
            for bound, beyond in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1), ("exclusiveMaximum", 0)):
                if bound in schema:
                    yield name, key, str(schema[bound] + beyond)
            if schema.get("type") != "string" or "enum" in schema:  # any other text has rules of its own
                yield name, key, "nonsense"
            if schema.get("type") == "number":
                yield name, key, "nan"


@pytest.fixture(scope="module")
def mission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line, another of other bands, and models of all kinds."""
    folder = tmp_path_factory.mktemp("mission")
    hadgeo.simulate(folder / "line.tif", rows=24, cols=24, bands=20, targets=2)
    hadgeo.simulate(folder / "other.tif", rows=24, cols=24, bands=8, targets=2)
    hadgeo.train([folder / "line.tif"], "rx", out=folder / "good.hadgeo")
    write_model(folder, "unknown.hadgeo", detector="nobodys")
    write_model(folder, "parameter.hadgeo", parameters={"nothing": 1})
    write_model(folder, "newer.hadgeo", format_version=99)
    write_model(folder, "tampered.hadgeo", level=1.0)
    (folder / "cut.hadgeo").write_bytes((folder / "good.hadgeo").read_bytes()[:-7])
    (folder / "foreign.hadgeo").write_bytes(b"\x80\x04somebody's pickle")
    (folder / "empty.hadgeo").write_bytes(b"")
    (folder / "existing.hadgeo").write_bytes(b"somebody's work")
    (folder / "folder").mkdir()
    return folder


def write_model(folder: Path, name: str, **changes: Any) -> None:
    """A model whose description was changed by somebody who does not know how to sign it."""
    good = folder / "good.hadgeo"
    with safe_open(good, framework="pt") as opened:
        header = json.loads(opened.metadata()["hadgeo"])
    save_file(load_file(good), folder / name, metadata={"hadgeo": json.dumps({**header, **changes})})


@pytest.fixture
def here(mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, as the working directory."""
    folder = shutil.copytree(mission, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def refused(here: Path, *command: str, words: tuple[str, ...]) -> None:
    before = listing(here)
    result = run(*command)
    assert result.exit_code == 2, result.output
    assert_one_line(result.stderr, *words)
    assert listing(here) == before


@pytest.mark.parametrize(("detector", "key", "value"), list(out_of_bounds()))
def test_every_value_out_of_bounds_is_named(detector: str, key: str, value: str, here: Path) -> None:
    refused(here, "detect", "line.tif", "-d", detector, "-p", f"{key}={value}", words=(key, "must be", value))


SCOREAD = ("detect", "line.tif", "-d", "scoread", "-p")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("inner_window=4",), ("inner_window must be odd",)),
        (("outer_window=6",), ("outer_window must be odd",)),
        (("cfar_window=10",), ("cfar_window must be odd",)),
        (("inner_window=7", "-p", "outer_window=7"), ("outer_window (7) must be larger than inner_window (7)",)),
        (("inner_window=9", "-p", "outer_window=7"), ("outer_window (7) must be larger than inner_window (9)",)),
        (("t=0",), ("t must be a number, above 0 and at most 1, or several",)),
        (("t=0.05,1.01",), ("t must be a number, above 0 and at most 1, or several", "1.01")),
        (("t=-0.1",), ("t must be",)),
        (("t=",), ("t must be",)),
        (("noise=antithetic", "-p", "evaluations=3"), ("evaluations (3) must be even",)),
        (("noise=loud",), ("noise must be antithetic or independent or none",)),
        (("conditions=1",), ("no parameter 'conditions'", "did you mean 'condition'")),
    ],
)
def test_scoread_refuses_contradictions(options: tuple[str, ...], words: tuple[str, ...], here: Path) -> None:
    refused(here, *SCOREAD, *options, words=words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("detect", "other.tif", "--model", "good.hadgeo"), ("other.tif", "bands", "--resample-bands")),
        (("detect", "line.tif", "--model", "good.hadgeo", "-d", "scoread"), ("a model of rx, not of scoread",)),
        (("detect", "line.tif", "--model", "unknown.hadgeo"), ("unknown.hadgeo",)),
        (("detect", "line.tif", "--model", "parameter.hadgeo"), ("parameter.hadgeo",)),
        (("detect", "line.tif", "--model", "newer.hadgeo"), ("newer.hadgeo", "format 99", "update hadgeo")),
        (("detect", "line.tif", "--model", "tampered.hadgeo"), ("tampered.hadgeo", "damaged")),
        (("detect", "line.tif", "--model", "cut.hadgeo"), ("cut.hadgeo", "damaged")),
        (("detect", "line.tif", "--model", "foreign.hadgeo"), ("foreign.hadgeo", "not a hadgeo model")),
        (("detect", "line.tif", "--model", "empty.hadgeo"), ("empty.hadgeo", "not a hadgeo model")),
        (("detect", "line.tif", "--model", "folder"), ("folder", "no such model file")),
        (("detect", "line.tif", "--model", "line.tif"), ("line.tif", "not a hadgeo model")),
        (("model", "info", "cut.hadgeo"), ("cut.hadgeo", "damaged")),
        (("train", "line.tif", "-o", "existing.hadgeo"), ("existing.hadgeo exists", "--overwrite")),
        (("train", "line.tif", "-o", "line.tif", "--overwrite"), ("line.tif is a scene",)),
        (("train", "line.tif", "-o", "folder"), ("folder is a folder",)),
        (("train", "line.tif", "-o", "none/x.hadgeo"), ("does not exist",)),
        (("train", "line.tif", "other.tif", "-o", "x.hadgeo"), ("other.tif", "bands")),
        (("train", "gone.tif", "-o", "x.hadgeo"), ("gone.tif",)),
        (("train", "line.tif", "-d", "rx", "-p", "shrinkage=2", "-o", "x.hadgeo"), ("shrinkage must be",)),
    ],
)
def test_a_model_that_does_not_fit_is_refused(command: tuple[str, ...], words: tuple[str, ...], here: Path) -> None:
    refused(here, *command, words=words)


def test_train_names_no_scene(here: Path) -> None:
    refused(here, "train", "-o", "x.hadgeo", words=("SCENE",))
