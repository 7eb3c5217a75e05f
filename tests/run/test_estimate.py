"""What a detection is said to take: files in blocks are read through a cache, and their windows cut no block."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import pytest
import rasterio
import torch
from affine import Affine
from pydantic import Field

from hadgeo.bands import BandSelection
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector, Params
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import DeviceError, ParameterError
from hadgeo.formats.source import Source
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.run.estimate import estimate
from hadgeo.run.scoring import fixed_bytes, window_bytes
from hadgeo.sampling import Sample
from tests.support import background, memory_source

BANDS, SIDE = 100, 2048
CPU = torch.device("cpu")
WHOLE = BandSelection(tuple(range(BANDS)), BANDS)


def empty_tiff(path: Path, **profile: Any) -> Source:
    """A large GeoTIFF without a single block on the disk."""
    transform = Affine(1, 0, 500_000, 0, -1, 5_000_000)
    shape = {"count": BANDS, "height": SIDE, "width": SIDE, "dtype": "int16"}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, sparse_ok=True, **shape, **profile
    ):
        pass
    return source_of(open_cube(path))


@pytest.fixture
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hadgeo.run.estimate.machine_memory", lambda: 32 * 10**9)


@pytest.mark.usefixtures("large_machine")
@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
@pytest.mark.parametrize("name", ["rx", "bs3lnet", "scoread", "fusion"])
@pytest.mark.parametrize("side", [128, 512])
def test_windows_cut_no_tile_where_the_machine_allows_it(tmp_path: Path, name: str, side: int) -> None:
    source = empty_tiff(tmp_path / "x.tif", tiled=True, blockxsize=side, blockysize=side, interleave="pixel")
    plan = estimate(source, make_detector(name), WHOLE, device=CPU, trial=False).plan
    assert {(window.row % side, window.col % side) for window in plan} == {(0, 0)}


@pytest.mark.usefixtures("large_machine")
@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_what_reading_holds_counts_as_memory(tmp_path: Path, interleave: str) -> None:
    source = empty_tiff(tmp_path / "x.tif", tiled=True, blockxsize=512, blockysize=512, interleave=interleave)
    tile = 512 * 512 * 2 * (BANDS if interleave == "pixel" else 1)
    assert source.block_bytes == tile
    with pytest.raises(ParameterError) as refused:
        estimate(source, make_detector("rx"), WHOLE, device=CPU, memory=10**9, trial=False)
    least = int(str(refused.value).split(" takes ")[1].split(" MB")[0])
    assert least * 1e6 > 700e6 + 3 * tile
    asked = (least + 100) * 10**6
    expected = estimate(source, make_detector("rx"), WHOLE, device=CPU, memory=asked, trial=False)
    assert expected.memory <= asked


@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
def test_workers_need_no_memory_for_a_fit_that_is_made_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, detector = empty_tiff(tmp_path / "x.tif", interleave="pixel"), make_detector("bs3lnet")
    granted = 10**9
    monkeypatch.setattr("hadgeo.run.estimate.machine_memory", lambda: granted)
    for workers in (None, granted):
        with pytest.raises(DeviceError, match=r"takes \d+ MB of memory on it, but a process may use 1000 MB"):
            estimate(source, detector, WHOLE, device=CPU, trial=False, granted=workers)
    monkeypatch.setattr("hadgeo.run.estimate.machine_memory", lambda: 4 * granted)
    plan = estimate(source, detector, WHOLE, device=CPU, trial=False, granted=granted).plan
    largest = max(window.outer_shape[0] * window.outer_shape[1] for window in plan)
    assert fixed_bytes(source) + largest * window_bytes(source, detector, WHOLE) <= granted


class RoundsParams(Params):
    rounds: int = Field(default=1000)


class Rounds(Detector[RoundsParams]):
    """Trains as long as it is told to, 2 ms a round."""

    name, title, Params, halo = "rounds", "Rounds", RoundsParams, 0
    steps_parameter = "rounds"

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        progress.stage(Stage.FIT, self.training_steps)
        for _ in range(self.training_steps):
            time.sleep(0.002)
            progress.advance()
        return self

    def score(self, block: torch.Tensor) -> torch.Tensor:
        return block.sum(dim=0)

    def bytes_per_pixel(self, bands: int) -> int:
        return 4

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state(self, state: dict[str, torch.Tensor], device: torch.device) -> Self:
        return self


def test_the_time_of_a_fit_follows_the_steps_that_a_detector_declares() -> None:
    source, few = memory_source(background((4, 20, 20))), BandSelection((0, 1, 2, 3), 4)
    detector = Rounds()
    start = time.perf_counter()
    expected = estimate(source, detector, few, device=CPU)
    assert expected.seconds is not None
    assert expected.seconds >= 1000 * 0.002
    # A trial takes few of them.
    assert time.perf_counter() - start < expected.seconds
    assert detector.params.rounds == 1000
    assert estimate(source, detector.shortened(1), few, device=CPU).seconds < expected.seconds / 10


def test_a_fit_in_steps_holds_crops_and_one_in_closed_form_nothing() -> None:
    assert Rounds().fit_bytes(10, 400) == 2 * 4 * 10 * 400 + 4 * 400
    assert make_detector("rx").fit_bytes(10, 400) == 0
