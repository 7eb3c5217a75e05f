"""What a detection is said to take: files in blocks are read through a cache, and their windows cut no block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch
from affine import Affine

from hadgeo.bands import BandSelection
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import DeviceError, ParameterError
from hadgeo.formats.source import Source
from hadgeo.run.estimate import estimate
from hadgeo.run.scoring import fixed_bytes, window_bytes

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
@pytest.mark.parametrize("name", ["rx", "bs3lnet", "scoread"])
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
        with pytest.raises(DeviceError, match=r"takes \d+ MB of memory on it, and a process is granted 1000 MB"):
            estimate(source, detector, WHOLE, device=CPU, trial=False, granted=workers)
    monkeypatch.setattr("hadgeo.run.estimate.machine_memory", lambda: 4 * granted)
    plan = estimate(source, detector, WHOLE, device=CPU, trial=False, granted=granted).plan
    largest = max(window.outer_shape[0] * window.outer_shape[1] for window in plan)
    assert fixed_bytes(source) + largest * window_bytes(source, detector, WHOLE) <= granted
