"""The writer of maps, and what it leaves on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rio_cogeo import cog_validate

from hadgeo.errors import OutputError, OutputExistsError
from hadgeo.grid import Grid
from hadgeo.maps.part_folder import PartFolder
from hadgeo.maps.raw_tiff import pool
from hadgeo.maps.writer import ScoreWriter
from hadgeo.windows import tile

ROTATED = Affine(2, 0.5, 5e5, 0.5, -2, 4.5e6)


def write_map(path: Path, scores: np.ndarray, overviews: Literal["max", "min"] = "max") -> Path:
    """Write a map in windows that fit neither its size nor its blocks."""
    writer = ScoreWriter(
        path,
        grid=Grid(scores.shape, rasterio.CRS.from_epsg(32633), ROTATED),
        description="scores <&>",
        tags={"HADGEO_DETECTOR": "ü & <x>"},
        overviews=overviews,
    )
    with writer:
        for window in tile(scores.shape, (700, 900)):
            writer.write(window, scores[window.rows, window.cols])
        return writer.finish()


def test_what_a_kill_left_of_another_map_is_not_gone_on_with(tmp_path: Path) -> None:
    part = tmp_path / "map.tif.part"
    left = PartFolder(tmp_path / "map.tif")
    (part / "scores.tif").write_bytes(b"of another map")
    left.release()
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    with rasterio.open(write_map(tmp_path / "map.tif", scores)) as dataset:
        np.testing.assert_array_equal(dataset.read(1), scores)
    assert not part.exists()


def levels(path: Path) -> list[np.ndarray]:
    with rasterio.open(path) as dataset:
        count = len(dataset.overviews(1))
    found = []
    for level in range(count):
        with rasterio.open(path, overview_level=level) as dataset:
            found.append(dataset.read(1))
    return found


@pytest.mark.parametrize(("overviews", "extreme"), [("max", 99.0), ("min", -99.0)])
def test_a_lone_hot_pixel_is_in_every_overview_at_its_full_value(
    tmp_path: Path, overviews: Literal["max", "min"], extreme: float
) -> None:
    scores = np.zeros((3000, 4000), dtype=np.float32)
    scores[1201, 2999] = extreme
    scores[:9, :5] = np.nan
    scores[2999, 3999] = extreme / 2
    path = write_map(tmp_path / "map.tif", scores, overviews)
    valid, errors, warnings = cog_validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    found = levels(path)
    assert [level.shape for level in found] == [(1500, 2000), (750, 1000), (375, 500)]
    for number, level in enumerate(found, start=1):
        hot = np.argwhere(level == extreme).tolist()
        assert hot == [[1201 >> number, 2999 >> number]]
        assert level[-1, -1] == extreme / 2
        # Nodata counts for nothing, and stays where there is nothing else.
        assert np.isnan(level).sum() == (9 >> number) * (5 >> number)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), scores)
        assert dataset.transform == ROTATED
        assert dataset.descriptions == ("scores <&>",)
        assert dataset.tags()["HADGEO_DETECTOR"] == "ü & <x>"


def test_the_same_map_is_the_same_bytes(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random((1100, 700), dtype=np.float32)
    paths = [write_map(tmp_path / name, scores) for name in ("a.tif", "b.tif")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_pooling_keeps_the_extreme_of_what_each_pixel_covers(rows: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, cols)).astype(np.float32)
    values[rng.random((rows, cols)) < 0.5] = np.nan
    pooled = pool(values, np.fmax)
    assert pooled.shape == ((rows + 1) // 2, (cols + 1) // 2)
    for row, col in np.ndindex(pooled.shape):
        covered = values[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        finite = covered[np.isfinite(covered)]
        assert np.array_equal(pooled[row, col], finite.max() if finite.size else np.float32(np.nan), equal_nan=True)


def test_a_failed_map_leaves_nothing(tmp_path: Path) -> None:
    writer = ScoreWriter(tmp_path / "map.tif", grid=Grid((9, 9)), description="", tags={})
    assert (tmp_path / "map.tif.part").is_dir()
    with pytest.raises(AttributeError), writer:
        writer.write(None, scores=None)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    with PartFolder(out):
        with pytest.raises(OutputError, match=r"map\.tif is being written by another run"):
            PartFolder(out)
        assert (tmp_path / "map.tif.part").is_dir()
    assert not list(tmp_path.iterdir())
    with PartFolder(out):
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_none_of_ours_is_not_touched(tmp_path: Path, kind: str) -> None:
    part = tmp_path / "map.tif.part"
    if kind == "folder":
        part.mkdir()
        part = part / "thesis.txt"
    part.write_text("precious")
    with pytest.raises(OutputExistsError, match=r"map\.tif\.part is in the way"):
        PartFolder(tmp_path / "map.tif")
    assert part.read_text() == "precious"
