"""Score maps in MATLAB files, as results are published."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from hadgeo.errors import CubeError, ReadError
from hadgeo.maps.reader import open_scores

SCORES = np.arange(12, dtype=np.float64).reshape(3, 4)


def test_the_only_map_of_a_file_is_found_whatever_its_name(tmp_path: Path) -> None:
    scores = SCORES.copy()
    scores[1, 2] = np.inf
    path = tmp_path / "result.mat"
    scipy.io.savemat(path, {"SAD_result": scores, "map": SCORES > 3, "auc": 0.9, "losses": np.ones((1, 50))})
    opened = open_scores(path)
    scores[1, 2] = np.nan
    assert (opened.shape, opened.crs, opened.transform, opened.detector) == ((3, 4), None, None, "")
    np.testing.assert_array_equal(opened.read(slice(0, 3), slice(0, 4)), scores)
    np.testing.assert_array_equal(opened.read(slice(1, 2), slice(2, 4)), scores[1:2, 2:])
    (rows, strip), *rest = opened.strips()
    assert (rows, rest) == (slice(0, 3), [])
    np.testing.assert_array_equal(strip, scores)


def test_version_7_3(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "result.mat", "w", userblock_size=512) as file:
        file["scores"] = SCORES.T
    with (tmp_path / "result.mat").open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    np.testing.assert_array_equal(open_scores(tmp_path / "result.mat").read(slice(0, 3), slice(0, 4)), SCORES)


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "result.mat", {"scores": SCORES})
    opened = open_scores(tmp_path / "result.mat")
    opened.read(slice(0, 3), slice(0, 4))[:] = 0
    np.testing.assert_array_equal(opened.read(slice(0, 3), slice(0, 4)), SCORES)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": SCORES, "b": SCORES}, "2 arrays that could be a score map; it holds a 3x4, b 3x4: save only the map"),
        ({"data": np.ones((3, 4, 5)), "map": SCORES}, "0 arrays that could be a score map"),
        ({"a": SCORES * 1j}, "a is complex, but scores are real numbers"),
    ],
)
def test_what_is_no_score_map_is_refused(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "result.mat", arrays)
    with pytest.raises(CubeError, match=words):
        open_scores(tmp_path / "result.mat")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "result.mat"
    scipy.io.savemat(path, {"scores": np.random.default_rng(0).normal(size=(50, 60))}, do_compression=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises((CubeError, ReadError), match=r"result\.mat: .*copy it again"):
        open_scores(path)
