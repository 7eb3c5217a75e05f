"""What goes to another device and back while it scores, counted on a device that is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hadgeo
from hadgeo.compute.lanes import PLACES, Lane
from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import DeviceError
from hadgeo.formats.cropped import Cropped
from hadgeo.formats.registry import open_source
from hadgeo.formats.source import Source
from hadgeo.run.estimate import estimate
from hadgeo.run.on_device import Decoder, window_pixels
from hadgeo.run.scoring import WindowScorer
from hadgeo.run.selection import usable_bands
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import Window, tile
from tests.fake_device import FakeDevice, fake_device
from tests.formats.envi_files import write_envi
from tests.support import background, memory_source

CPU = torch.device("cpu")
BANDS = 12
QUICK = {
    "bs3lnet": {"steps": 4, "channels": 8, "precision": "float32"},
    "scoread": {"steps": 2, "batch": 8, "precision": "float32"},
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    with fake_device(monkeypatch) as device:
        yield device


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.img"
    hadgeo.simulate(path, rows=96, cols=48, bands=BANDS, targets=3, interleave="bil")
    return path


def fitted(name: str, source: Source, readers: Executor) -> Detector[Any]:
    sample = Sample(Scene(source, range(BANDS)), executor=readers, device=CPU)
    return make_detector(name, QUICK.get(name, {})).fit(sample, device=CPU)


def moved(detector: Detector[Any], device: torch.device) -> Detector[Any]:
    return type(detector)(detector.params).load_state(detector.state(), device)


def windows(source: Source, detector: Detector[Any], rows: int = 32) -> list[Window]:
    return list(tile(source.shape[1:], (rows, source.shape[2]), detector.halo, detector.grid))


#: Where a detector has to know something of a window before it can go on: of local medians between which levels they
#: lie, once before and once after a coarse look. Anything else that Python would wait for is counted as a mistake.
CONTRAST = {"rx": 0, "subspace_rx": 0, "utd": 0, "cluster_rx": 0, "bs3lnet": 2, "scoread": 2}


@pytest.mark.parametrize("name", sorted(CONTRAST))
def test_a_window_is_sent_once_as_it_is_stored_and_only_its_scores_come_back(
    name: str, line: Path, readers: Executor, fake: FakeDevice
) -> None:
    source = source_of(open_cube(line))
    detector = fitted(name, source, readers)
    expected = WindowScorer(source, range(BANDS), detector, CPU)
    scorer = WindowScorer(source, range(BANDS), moved(detector, fake.device), fake.device)
    plan = windows(source, detector)
    # The first one also sends what decoding needs.
    scorer(plan[0])
    for window in plan[1:]:
        fake.log.clear()
        _, scores = scorer(window)
        (sent,) = fake.log.sent
        height, width = window.outer_shape
        assert (sent.bytes, sent.dtype, sent.waits) == (2 * BANDS * height * width, torch.int16, False)
        flag, *levels, back = fake.log.fetched
        assert (flag.dtype, flag.bytes, flag.waits) == (torch.bool, 1, False)
        assert (back.dtype, back.bytes, back.waits) == (torch.float32, 4 * window.pixels, False)
        assert all(level.bytes <= 16 for level in levels)
        assert fake.log.stalls == ["fetched"] * CONTRAST[name]
        # One for what comes, and one for what goes.
        assert fake.log.waits == 2
        np.testing.assert_allclose(scores, expected(window)[1], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_training_step_does_not_wait_for_the_device(name: str, readers: Executor, fake: FakeDevice) -> None:
    scene = background((BANDS, 40, 40))
    scene[:, 3, 4] = np.nan
    stalls, sent = [], []
    for steps in (3, 8):
        detector = make_detector(name, {**QUICK[name], "steps": steps})
        sample = Sample(Scene(memory_source(scene), range(BANDS)), executor=readers, device=CPU)
        fake.log.clear()
        detector.fit(sample, device=fake.device)
        assert len(detector.loss_) == steps
        assert np.isfinite(detector.loss_).all()
        stalls.append(len(fake.log.stalls))
        sent.append(fake.log.sent)
    # The rest of a fit does, as often for many steps as for few.
    assert stalls[0] == stalls[1] > 0
    # A batch of ScoreAD is drawn where it is used; BS3LNet draws places where it knows which are valid.
    assert not any(copy.waits for copy in sent[1][len(sent[0]) :])
    assert len(sent[1]) - len(sent[0]) == (5 if name == "bs3lnet" else 0)


def test_residuals_stay_where_they_are(readers: Executor, fake: FakeDevice) -> None:
    scene = background((BANDS, 40, 40))
    detector = make_detector("bs3lnet", QUICK["bs3lnet"])
    sample = Sample(Scene(memory_source(scene), range(BANDS)), executor=readers, device=CPU)
    fake.log.clear()
    detector.fit(sample, device=fake.device)
    # Which pixels are valid comes back, and numbers; a residual would be as large as the scene.
    assert max(copy.bytes for copy in fake.log.fetched) <= 40 * 40


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8", ">i2", ">u2"])
@pytest.mark.parametrize("bands", [slice(0, 6), np.array([0, 1, 4])])
def test_decoding_elsewhere_gives_the_bits_of_reading(
    interleave: str, dtype: str, bands: Any, tmp_path: Path, fake: FakeDevice
) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(np.dtype(dtype))
    cube = rng.integers(info.min, info.max, (6, 9, 7), dtype=np.dtype(dtype).newbyteorder("="), endpoint=True)
    cube[2, 3], cube[:, 5, 5] = 7, 7
    gains = "{" + ",".join(f"{0.1 * i + 0.3}" for i in range(6)) + "}"
    offsets = "{" + ",".join(f"{i - 2.7}" for i in range(6)) + "}"
    path = write_envi(
        tmp_path / "x.img",
        cube.astype(dtype),
        interleave=interleave,
        data_ignore_value=7,
        data_gain_values=gains,
        data_offset_values=offsets,
    )
    source = open_source(path)
    part = slice(1, 8), slice(2, 6)
    stored = source.read_stored(*part, bands)
    assert stored is not None
    assert stored.samples.itemsize == np.dtype(dtype).itemsize
    decoded = Decoder(stored.rule, stored.band_axis, fake.device)(stored)
    expected = source.read(*part, bands)
    assert np.isnan(expected).any()
    assert decoded.cpu().numpy().tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
def test_what_is_no_smaller_as_it_is_stored_is_decoded_here(dtype: str, tmp_path: Path) -> None:
    source = open_source(write_envi(tmp_path / "x.img", np.ones((3, 4, 5), dtype)))
    assert source.read_stored(slice(0, 4), slice(0, 5)) is None


def test_a_detector_of_float64_scores_here_beside_a_device_that_has_none(line: Path, readers: Executor) -> None:
    # As Apple's: nothing may be sent to one, since this machine has none.
    source, without = source_of(open_cube(line)), torch.device("mps")
    for name in ("rx", "cluster_rx", "utd"):
        detector = fitted(name, source, readers)
        window = Window(0, 0, 32, 48)
        expected = WindowScorer(source, range(BANDS), detector, CPU)(window)[1]
        found = WindowScorer(source, range(BANDS), moved(detector, without), without)(window)[1]
        np.testing.assert_array_equal(found, expected)


def test_a_part_of_a_scene_is_sent_as_it_is_stored(line: Path) -> None:
    whole = source_of(open_cube(line))
    part = Cropped(whole, slice(10, 40), slice(5, 25))
    stored = part.read_stored(slice(2, 6), slice(1, 4))
    assert stored is not None
    decoded = Decoder(stored.rule, stored.band_axis, CPU)(stored)
    np.testing.assert_array_equal(decoded, part.read(slice(2, 6), slice(1, 4)))


def test_a_scene_without_stored_samples_is_sent_decoded(readers: Executor, fake: FakeDevice) -> None:
    scene = background((BANDS, 40, 30))
    scene[3, 20, 5:] = np.nan
    source = memory_source(scene)
    detector = fitted("rx", source, readers)
    scorer = WindowScorer(source, range(BANDS), moved(detector, fake.device), fake.device)
    window = Window(0, 0, 40, 30)
    _, scores = scorer(window)
    (sent,) = (copy for copy in fake.log.sent if copy.bytes == scene.nbytes)
    assert not sent.waits
    np.testing.assert_allclose(scores, WindowScorer(source, range(BANDS), detector, CPU)(window)[1], rtol=1e-6)


def test_a_window_without_data_is_not_scored(readers: Executor, fake: FakeDevice) -> None:
    scene = background((BANDS, 40, 30))
    scene[:, :16] = np.nan
    source = memory_source(scene)
    detector = moved(fitted("rx", source, readers), fake.device)
    scorer = WindowScorer(source, range(BANDS), detector, fake.device)
    detector.score = None  # type: ignore[assignment, method-assign]
    assert np.isnan(scorer(Window(0, 0, 16, 30))[1]).all()


@pytest.mark.parametrize("name", ["rx", "bs3lnet"])
def test_a_window_too_large_for_the_device_is_scored_in_halves(
    name: str, tmp_path: Path, readers: Executor, fake: FakeDevice
) -> None:
    hadgeo.simulate(tmp_path / "long.img", rows=2400, cols=64, bands=BANDS, targets=3)
    source = source_of(open_cube(tmp_path / "long.img"))
    detector = fitted(name, source, readers)
    scorer = WindowScorer(source, range(BANDS), moved(detector, fake.device), fake.device)
    (window,) = windows(source, detector, rows=2400)
    whole = scorer(window)[1]
    # Less than the window, and more than the tiles that are computed together.
    fake.most = 4 * BANDS * 2100 * 64
    halves = scorer(window)[1]
    np.testing.assert_array_equal(halves, whole)
    # The lane has its places back.
    fake.most = 2**40
    for _ in range(PLACES + 1):
        np.testing.assert_array_equal(scorer(window)[1], whole)


def test_a_device_that_cannot_hold_one_row_is_named(line: Path, readers: Executor, fake: FakeDevice) -> None:
    source = source_of(open_cube(line))
    scorer = WindowScorer(source, range(BANDS), moved(fitted("rx", source, readers), fake.device), fake.device)
    fake.most = 4 * BANDS
    with pytest.raises(DeviceError, match="too little free memory for one row of 48 pixels"):
        scorer(Window(0, 0, 16, 48))


def test_windows_come_and_go_while_another_one_is_computed(line: Path, readers: Executor, fake: FakeDevice) -> None:
    source = source_of(open_cube(line))
    detector = moved(fitted("rx", source, readers), fake.device)
    plan = windows(source, detector, rows=16)
    arrived: list[int] = []
    second = threading.Event()
    score = detector.score

    def slow(block: torch.Tensor) -> torch.Tensor:
        # The first window is computed until the second one has come; nothing else could let it go on.
        assert second.wait(20)
        return score(block)

    class Noting(Lane):
        def arrive(self, bring: Any) -> Any:
            brought = super().arrive(bring)
            arrived.append(1)
            if len(arrived) == 2:
                second.set()
            return brought

    detector.score = slow  # type: ignore[method-assign]
    scorer = WindowScorer(source, range(BANDS), detector, fake.device)
    assert scorer._elsewhere is not None
    scorer._elsewhere._lane = Noting(fake.device)

    def one(window: Window) -> Any:
        with fake.here():
            return scorer(window)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(one, plan))
    expected = WindowScorer(source, range(BANDS), fitted("rx", source, readers), CPU)
    for window, scores in found:
        np.testing.assert_allclose(scores, expected(window)[1], rtol=1e-6)


def test_windows_are_planned_for_what_a_device_has_free(line: Path, fake: FakeDevice) -> None:
    source = source_of(open_cube(line))
    selection = usable_bands(source, None)
    detector = make_detector("rx")
    fake.free = 2**30
    (whole,) = estimate(source, detector, selection, device=fake.device, trial=False).plan
    assert whole.pixels == 96 * 48
    fake.free = 2 * 12 * 48 * 32 * 2 * BANDS
    plan = estimate(source, detector, selection, device=fake.device, trial=False).plan
    assert len(plan) > 1
    assert max(w.outer_shape[0] * w.outer_shape[1] for w in plan) <= window_pixels(detector, BANDS, 4, fake.free)
    # What was asked for, by a user or by a run that is resumed, is taken at its word.
    (asked,) = estimate(source, detector, selection, device=fake.device, memory=10**9, trial=False).plan
    assert asked == whole
