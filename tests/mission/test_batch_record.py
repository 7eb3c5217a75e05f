"""What one batch remembers for the next."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hadgeo.errors import OutputError
from hadgeo.mission.batch_record import BatchRecord, describe_difference

SETTINGS = {"detector": "rx", "bands": None, "parameters": {"shrinkage": 0.5}, "windows": (1, 2)}
FACTS = {"detector": "rx", "bands": 4, "rows": 3, "cols": 4, "valid": 12, "seconds": 0.5, "pixels_per_second": 24}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "batch.json"


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    made = tmp_path / "line_anomaly.tif"
    made.write_bytes(b"scores")
    return made


def test_a_finished_map_is_known_by_the_next_batch(path: Path, map_file: Path) -> None:
    BatchRecord(path).finish("line_anomaly.tif", SETTINGS, FACTS, map_file)
    again = BatchRecord(path)
    # Settings come back as JSON gives them, tuples as lists; that is no difference.
    assert again.is_finished("line_anomaly.tif", SETTINGS, map_file)
    assert again.facts("line_anomaly.tif") == FACTS
    assert not again.is_finished("line_anomaly.tif", {**SETTINGS, "bands": "1-4"}, map_file)
    assert not again.is_finished("other_anomaly.tif", SETTINGS, map_file)
    map_file.write_bytes(b"more scores")
    assert not again.is_finished("line_anomaly.tif", SETTINGS, map_file)
    map_file.unlink()
    assert not again.is_finished("line_anomaly.tif", SETTINGS, map_file)


def test_a_begun_map_keeps_what_an_older_one_was_finished_with(path: Path, map_file: Path) -> None:
    record = BatchRecord(path)
    record.finish("line_anomaly.tif", SETTINGS, FACTS, map_file)
    record.begin("line_anomaly.tif", {"detector": "bs3lnet"})
    again = BatchRecord(path)
    assert again.is_begun("line_anomaly.tif", {"detector": "bs3lnet"})
    assert not again.is_begun("line_anomaly.tif", SETTINGS)
    assert again.settings("line_anomaly.tif")["detector"] == "rx"
    again.finish("line_anomaly.tif", {"detector": "bs3lnet"}, FACTS, map_file)
    assert not again.is_begun("line_anomaly.tif", {"detector": "bs3lnet"})


def test_a_model_is_known_by_what_it_was_fitted_with(path: Path) -> None:
    record = BatchRecord(path)
    assert not record.is_fitted(SETTINGS)
    record.fitted(SETTINGS)
    assert record.is_fitted(SETTINGS)
    again = BatchRecord(path)
    assert again.is_fitted(SETTINGS)
    assert not again.is_fitted({**SETTINGS, "detector": "bs3lnet"})


def test_the_file_is_plain_json_with_an_indent_of_one(path: Path, map_file: Path) -> None:
    record = BatchRecord(path)
    record.finish('odd "name"\n.tif', {**SETTINGS, "note": "two\nlines", "empty": {}}, FACTS, map_file)
    record.begin("line_anomaly.tif", SETTINGS)
    record.fitted(SETTINGS)
    record.note_product("overview.png", {"maps": {}, "polygons": None})
    record.finish("line_anomaly.tif", SETTINGS, FACTS, map_file)
    again = BatchRecord(path)
    again.begin("third_anomaly.tif", SETTINGS)
    text = path.read_text("utf-8")
    assert text == json.dumps(json.loads(text), indent=1)
    assert list(json.loads(text)["maps"]) == ['odd "name"\n.tif', "line_anomaly.tif", "third_anomaly.tif"]


def test_nothing_is_known_of_a_new_batch(path: Path, map_file: Path) -> None:
    record = BatchRecord(path)
    assert (record.model, record.settings("line_anomaly.tif")) == ({}, {})
    assert not record.is_begun("line_anomaly.tif", {})
    assert not record.is_finished("line_anomaly.tif", {}, map_file)
    assert not path.exists()


def test_threads_lose_none_of_each_others_maps(path: Path, map_file: Path) -> None:
    record = BatchRecord(path)
    names = [f"line{number}.tif" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: record.finish(name, {"name": name}, FACTS, map_file), names))
    again = BatchRecord(path)
    assert all(again.is_finished(name, {"name": name}, map_file) for name in names)
    # Nothing is left of the writing.
    assert sorted(one.name for one in path.parent.iterdir()) == ["batch.json", "line_anomaly.tif"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {}, "maps": {"a": 3}}', '{"model": 3, "maps": {}}'])
def test_what_is_no_record_is_refused_and_left(text: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(OutputError, match=r"batch\.json: not the record of a batch, or damaged; .*--overwrite"):
        BatchRecord(path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "change",
    [
        {"facts": {**FACTS, "seconds": "long"}},
        {"facts": {name: value for name, value in FACTS.items() if name != "valid"}},
        {"facts": {**FACTS, "rows": 0}},
        {"facts": None},
        {"bytes": -1},
        {"bytes": "6"},
        {"settings": [1]},
        {"begun": "yes"},
        {"more": 1},
    ],
)
def test_a_map_of_other_types_is_refused(change: dict[str, Any], path: Path, map_file: Path) -> None:
    BatchRecord(path).finish("line_anomaly.tif", SETTINGS, FACTS, map_file)
    content = json.loads(path.read_text())
    content["maps"]["line_anomaly.tif"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="not the record of a batch"):
        BatchRecord(path)


def test_differences_are_told_in_words() -> None:
    assert describe_difference({}, SETTINGS) == "it was not made by a batch"
    same = {**SETTINGS, "windows": [1, 2]}
    assert describe_difference(same, SETTINGS) == "it has been changed since"
    assert "bands was 1-4 and is None" in describe_difference({**same, "bands": "1-4"}, SETTINGS)
