"""What a journal remembers of a run that was killed at any byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hadgeo.maps.journal import Journal, differences
from hadgeo.windows import Window
from tests.support import examples

SETTINGS = {"detector": "rx", "bands": "1-30", "window": 16}
WINDOWS = [Window(0, 0, 2, 3), Window(0, 3, 2, 3), Window(2, 0, 1, 3)]


def scores_of(window: Window) -> np.ndarray:
    return (window.row * 10 + window.col + np.arange(window.pixels, dtype=np.float32)).reshape(window.height, -1)


@pytest.fixture
def written(tmp_path: Path) -> Journal:
    journal = Journal.create(tmp_path, SETTINGS)
    for window in WINDOWS:
        journal.add(window, scores_of(window))
    return journal


def file_of(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_noted_is_read_again(written: Journal, tmp_path: Path) -> None:
    again = Journal.read(tmp_path)
    assert again is not None
    assert (again.settings, len(again), again.complete) == (SETTINGS, 3, False)
    for window in WINDOWS:
        assert again.holds(window)
        assert again.matches(window, scores_of(window))
    assert not again.holds(Window(2, 3, 1, 3))
    written.begin("0a1b")
    written.end(valid=12, finished="2c3d")
    finished = Journal.read(tmp_path)
    assert finished is not None
    assert (finished.head, len(finished)) == ("0a1b", 3)
    assert (finished.complete, finished.valid, finished.finished) == (True, 12, "2c3d")


def test_a_window_is_known_whatever_its_halo(written: Journal) -> None:
    assert written.holds(Window(0, 3, 2, 3, top=0, bottom=1, left=3, right=0))
    assert not written.holds(Window(0, 3, 2, 2))


def test_scores_that_differ_in_one_bit_are_not_those_that_were_written(written: Journal) -> None:
    changed = scores_of(WINDOWS[0])
    changed[1, 2] = np.nextafter(changed[1, 2], np.float32(np.inf))
    assert not written.matches(WINDOWS[0], changed)
    # The layout in memory says nothing of the scores.
    assert written.matches(WINDOWS[0], np.asfortranarray(scores_of(WINDOWS[0])))


@settings(max_examples=examples(0.5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_of_a_journal_that_was_cut_short_whole_entries_count(cut: int, tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, SETTINGS)
    for window in WINDOWS:
        journal.add(window, scores_of(window))
    path = file_of(tmp_path)
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    again = Journal.read(tmp_path)
    whole = data.count(b"\n")
    assert (again is None) == (whole == 0)
    if again is None:
        return
    assert len(again) == whole - 1
    # Repaired, it goes on where it ended.
    again.repair()
    again.add(WINDOWS[2], scores_of(WINDOWS[2]))
    longer = Journal.read(tmp_path)
    assert longer is not None
    assert longer.matches(WINDOWS[2], scores_of(WINDOWS[2]))
    assert len(longer) == min(3, whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "null\n{}\n",
        "[]\n",
        '{"settings": 7}\n',
        "not json\n",
        '{"window": [0, 0, 1, 1], "crc32": 1}\n',
        '{"settings": {}',
    ],
)
def test_what_is_no_journal_says_nothing(text: str, tmp_path: Path) -> None:
    Journal.create(tmp_path, SETTINGS)
    file_of(tmp_path).write_text(text)
    assert Journal.read(tmp_path) is None


ODD = [
    b'{"window": [0, 0,',
    b'{"window": [4, 0, 2, 4], "crc32": 7}',
    b"\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b"7\n",
    b'"window"\n',
    b'{"window": [4, 0, 2, 4]}\n',
    b'{"window": [4, 0, 2], "crc32": 7}\n',
    b'{"window": [4, 0, 2, 4, 0, 0, 0, 0, 0], "crc32": 7}\n',
    b'{"window": [4, 0, 2, 4.5], "crc32": 7}\n',
    b'{"window": [4, 0, 2, "4"], "crc32": 7}\n',
    b'{"window": null, "crc32": 7}\n',
    b'{"window": [4, 0, 2, 4], "crc32": null}\n',
    b'{"valid": "all"}\n',
    b'{"valid": 1e999}\n',
    b'{"valid": 24}\n',
    b"\xff\xfe\x00\n",
    b"[" * 100_000 + b"\n",
    bytes(4096),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd[:40]))
@pytest.mark.parametrize("after", [b"", b'{"valid": 24, "sha256": "2c3d"}\n'])
def test_an_odd_line_ends_what_counts_and_is_written_over(
    odd: bytes, after: bytes, written: Journal, tmp_path: Path
) -> None:
    path = file_of(tmp_path)
    sound = path.read_bytes()
    path.write_bytes(sound + odd + (after if odd.endswith(b"\n") else b""))
    read = Journal.read(tmp_path)
    assert read is not None
    assert (len(read), read.complete) == (3, False)
    read.repair()
    assert path.read_bytes() == sound
    read.add(Window(4, 0, 2, 4), scores_of(Window(4, 0, 2, 4)))
    again = Journal.read(tmp_path)
    assert again is not None
    assert len(again) == 4


def test_a_folder_without_a_journal_says_nothing(tmp_path: Path) -> None:
    assert Journal.read(tmp_path) is None
    assert Journal.read(tmp_path / "gone") is None
    (tmp_path / "journal.jsonl").mkdir()
    assert Journal.read(tmp_path) is None


def test_a_new_journal_forgets_the_older_one(written: Journal, tmp_path: Path) -> None:
    Journal.create(tmp_path, {"detector": "bs3lnet"})
    again = Journal.read(tmp_path)
    assert again is not None
    assert (again.settings, len(again)) == ({"detector": "bs3lnet"}, 0)


def test_differences_name_each_setting_that_changed() -> None:
    assert differences(SETTINGS, dict(SETTINGS)) == ""
    told = differences(SETTINGS, {"detector": "rx", "bands": "1-20", "model": "m"})
    for words in ("bands was 1-30 and is 1-20", "window was 16 and is None", "model was None and is m"):
        assert words in told
    assert "detector" not in told
