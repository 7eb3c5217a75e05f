"""Windows that cannot be read at first, or at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

import hadgeo
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import CubeWarning, ReadError
from hadgeo.formats.source import Source
from hadgeo.run.scoring import WindowScorer
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import Window
from tests.support import background, memory_source

BANDS = 5


@pytest.fixture
def scorer() -> Callable[[Source], WindowScorer]:
    """Of a detector that was fitted elsewhere."""
    detector = make_detector("rx")
    state = {"mean": torch.zeros(BANDS, dtype=torch.float64), "whitening": torch.eye(BANDS, dtype=torch.float64)}
    detector.load_state({**state, "shrinkage": torch.tensor(0.0)}, torch.device("cpu"))
    return lambda source: WindowScorer(source, range(BANDS), detector, torch.device("cpu"))


@pytest.fixture
def line(tmp_path: Path) -> Path:
    hadgeo.simulate(tmp_path / "line.img", rows=20, cols=10, bands=BANDS, targets=0, interleave="bil")
    return tmp_path / "line.img"


def test_a_drive_that_fails_once_is_read_again(
    line: Path, scorer: Callable[[Source], WindowScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(open_cube(line))
    away = line.with_name("away")
    line.rename(away)
    # The drive comes back while the reader waits.
    monkeypatch.setattr("hadgeo.run.scoring.time.sleep", lambda _: away.rename(line))
    _, scores = scorer(source)(Window(4, 0, 2, 10))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("interleave", ["bil", "bsq"])
def test_what_cannot_be_read_is_named_by_its_bytes(
    interleave: str, tmp_path: Path, scorer: Callable[[Source], WindowScorer]
) -> None:
    line = tmp_path / "line.img"
    hadgeo.simulate(line, rows=20, cols=10, bands=BANDS, targets=0, interleave=interleave)
    source = source_of(open_cube(line))
    line.write_bytes(line.read_bytes()[:450])
    # Rows 4 and 5: 100 bytes each in BIL; in BSQ from the first band's row 4 to the last band's row 5.
    expected = "400 to 599" if interleave == "bil" else "80 to 1719"
    with pytest.raises(ReadError, match=rf"line\.img: rows 4 to 5, bytes {expected}, can no longer be read"):
        scorer(source)(Window(4, 0, 2, 10))


def test_a_damaged_block_of_a_tiff_is_named_by_its_bytes(
    tmp_path: Path, scorer: Callable[[Source], WindowScorer]
) -> None:
    path = tmp_path / "scene.tif"
    cube = background((BANDS, 64, 64))
    place = {"crs": "EPSG:32633", "transform": Affine(2, 0, 5e5, 0, -2, 4.5e6)}
    layout = {**place, "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", count=BANDS, height=64, width=64, dtype="float32", **layout) as file:
        file.write(cube)
    with rasterio.open(path) as file:
        start, size = (int(file.get_tag_item(f"BLOCK_{what}_2_1", "TIFF", bidx=3)) for what in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with pytest.warns(CubeWarning, match="wavelengths"):
        source = source_of(open_cube(path))
    with pytest.raises(ReadError, match=re.escape(f"bytes {start} to {start + size - 1}: ")):
        scorer(source)(Window(0, 0, 64, 64))
    _, scores = scorer(source)(Window(32, 0, 32, 64))
    assert np.isfinite(scores).all()


class Counting(Source):
    """Another source that counts how often each pixel is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.path, self.shape, self.dtype = source.path, source.shape, source.dtype
        self.block, self.metadata = source.block, source.metadata
        self.reads = np.zeros(source.shape[1:], dtype=int)

    def read(self, rows: slice, cols: slice, bands: Any = slice(None)) -> np.ndarray:
        self.reads[rows, cols] += 1
        return self._source.read(rows, cols, bands)


def test_what_the_fit_found_empty_is_not_read_again(readers: Executor) -> None:
    scene = background((BANDS, 60, 40))
    scene[:, :31] = np.nan
    scene[:, 45, 7] = np.nan
    source = Counting(memory_source(scene))
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        # Ten rows a piece.
        patch.setattr("hadgeo.sampling.PIECE_BYTES", 10 * 40 * BANDS * 4)
        sample = Sample(Scene(source, range(BANDS)), executor=readers, device=cpu)
        detector = make_detector("rx").fit(sample, device=cpu)
        holes = sample.holes()
    scorer = WindowScorer(source, range(BANDS), detector, cpu, holes)
    scores = np.concatenate([scorer(Window(row, 0, 6, 40))[1] for row in range(0, 60, 6)])
    np.testing.assert_array_equal(np.isfinite(scores), np.isfinite(scene[0]))
    # The first three pieces and the first five windows lie above the row with the first valid pixel.
    np.testing.assert_array_equal(source.reads[:, 0], np.where(np.arange(60) < 30, 1, 2))


def test_a_sample_knows_nothing_of_what_it_did_not_look_at(readers: Executor) -> None:
    scene = background((BANDS, 400, 40))
    scene[:, :100] = np.nan
    sample = Sample(Scene(memory_source(scene), range(BANDS)), executor=readers, device=torch.device("cpu"))
    sample.statistics(pixels=2000)
    assert not sample.holes().origins
