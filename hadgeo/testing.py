"""What every detector must fulfil, as tests that other packages can run on theirs; they need pytest.

A test module of such a package subclasses `DetectorContract` and says which detector is meant:

    from hadgeo.testing import DetectorContract

    class TestMine(DetectorContract):
        @pytest.fixture
        def detector(self):
            return Mine()

hadgeo's own tests do the same for every detector that is installed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import xarray as xr
from threadpoolctl import threadpool_limits
from torch import Tensor

from hadgeo.cube import source_of
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import parameter_fields
from hadgeo.errors import Cancelled, FitError
from hadgeo.formats.source import Source
from hadgeo.progress import SILENT, Progress, Silent, Stage
from hadgeo.sampling import Sample, Scene
from hadgeo.windows import Window, tile

Cube = npt.NDArray[np.float32]

CPU = torch.device("cpu")

#: Training steps that are enough to compare maps, and such that are enough to have learned what is usual.
SHORT, LEARNED = 4, 40

#: Windows of one size that are compared with the whole: a scene has a thousand of a pixel, each with a halo around it.
MOST_WINDOWS = 60


def background(shape: tuple[int, int, int], seed: int = 0) -> Cube:
    """A smooth, correlated scene (band, y, x), float32, mean about 3 and unit noise across bands."""
    rng = np.random.default_rng(seed)
    bands, rows, cols = shape
    ramps = np.add.outer(np.linspace(0, 2, rows), np.sin(np.arange(cols) / 5))
    spectra = rng.normal(size=(bands, 3)) @ np.stack([ramps.ravel(), ramps.ravel() ** 2, np.ones(rows * cols)])
    scene = 3 + spectra.reshape(shape) + 0.1 * rng.normal(size=shape)
    return np.asarray(scene, dtype=np.float32)


def memory_source(scene: npt.NDArray[np.generic]) -> Source:
    """A source over an array (band, y, x)."""
    return source_of(xr.DataArray(scene, dims=("band", "y", "x")))


def fitted(detector: Detector[Any], scene: Cube, progress: Progress = SILENT) -> Detector[Any]:
    """Fit a detector to a scene (band, y, x) in memory, on the CPU."""
    with ThreadPoolExecutor(2) as readers:
        sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
        return detector.fit(sample, device=CPU, progress=progress)


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Let torch and the libraries of numpy compute on so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def scored_in_windows(detector: Detector[Any], scene: Cube, size: tuple[int, int]) -> Cube:
    """The scores (y, x) of a scene, computed in windows of some rows and columns as a run does."""
    return _scored(detector, scene, list(tile(scene.shape[1:], size, detector.halo, detector.grid)))


def _scored(detector: Detector[Any], scene: Cube, windows: Sequence[Window]) -> Cube:
    def score(block: Tensor, window: Window) -> Tensor:
        return detector.score_inner(block, window.inner)

    scores: Cube = _in_windows(score, scene, windows)[0]
    return np.where(np.isfinite(scene).all(axis=0), scores, np.float32(np.nan))


def _spread(windows: Sequence[Window]) -> list[Window]:
    """Some windows in all parts of a scene, its corners among them; all where they are few."""
    places = np.linspace(0, len(windows) - 1, min(len(windows), MOST_WINDOWS)).round().astype(int)
    return [windows[place] for place in places]


def explained_in_windows(detector: Detector[Any], scene: Cube, size: tuple[int, int]) -> Cube:
    """The expected background (band, y, x) of a scene, computed in windows of some rows and columns."""

    def explain(block: Tensor, window: Window) -> Tensor:
        explained = detector.explain(block)
        assert explained is not None, "this window is not explained, but others are"
        assert explained.shape == block.shape, "one value per band and pixel, including the halo"
        return explained[(slice(None), *window.inner)]

    return _in_windows(explain, scene, list(tile(scene.shape[1:], size, detector.halo, detector.grid)))


def _in_windows(compute: Callable[[Tensor, Window], Tensor], scene: Cube, windows: Sequence[Window]) -> Cube:
    parts: list[tuple[Window, Cube]] = []
    cube = torch.from_numpy(scene)
    for window in windows:
        block = cube[:, window.outer_rows, window.outer_cols]
        before = block.clone()
        computed = compute(block, window)
        assert torch.equal(block.nan_to_num(0), before.nan_to_num(0)), "the caller's block was modified"
        assert computed.shape[-2:] == (window.height, window.width), "one value per pixel of the window"
        parts.append((window, computed.reshape(-1, window.height, window.width).float().numpy()))
    whole = np.full((parts[0][1].shape[0], *scene.shape[1:]), np.nan, dtype=np.float32)
    for window, part in parts:
        whole[:, window.rows, window.cols] = part
    return whole


def _with_holes(scene: Cube) -> Cube:
    rows, cols = scene.shape[1:]
    scene[:, rows // 3 : rows // 3 + 4, cols // 4 : cols // 2] = np.nan
    scene[1, rows // 2, cols // 2] = np.nan
    return scene


def _as_bip(scene: Cube) -> Cube:
    return np.ascontiguousarray(scene.transpose(1, 2, 0)).transpose(2, 0, 1)


#: Scenes with which detectors have had trouble.
SCENES = {
    "odd size": background((13, 37, 29)),
    "nodata holes": _with_holes(background((13, 33, 40))),
    "one pixel wide": background((6, 45, 1)),
    "one pixel high": background((6, 1, 45)),
    "smaller than the halo": background((6, 5, 4)),
    "BIP in memory": _as_bip(background((13, 30, 31))),
}

every_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())


class _Watch(Silent):
    """Notes which stages there were and how far they came, and stops the run where it shall.

    Args:
        stop: Whether to stop it.
    """

    def __init__(self, *, stop: bool = False) -> None:
        self.stages: dict[str, list[int]] = {}
        self._current = [0, 0]
        self._stop = stop

    def stage(self, name: str, total: int) -> None:
        """Begin to count."""
        self._current = self.stages[name] = [0, total]

    def advance(self, n: int = 1) -> None:
        """Count."""
        self._current[0] += n

    def cancelled(self) -> bool:
        """Whether it shall stop."""
        return self._stop


class DetectorContract:
    """The tests; a subclass provides the detector in a fixture `detector`, unfitted, with the settings to be tested."""

    @pytest.fixture
    def detector(self) -> Detector[Any]:
        """The detector to be tested; to be replaced."""
        raise NotImplementedError("give an unfitted detector in a fixture called detector")

    @every_scene
    def test_windowed_map_equals_whole_map(self, detector: Detector[Any], scene: Cube) -> None:
        """However a scene is cut into windows, its map has the same bits, unless the detector says otherwise."""
        detector = fitted(detector.shortened(SHORT), scene)
        whole = scored_in_windows(detector, scene, scene.shape[1:])
        assert np.isfinite(whole).any()
        for size in [(1, 1), (2, 3), (7, 7), (16, 1000), (1000, 11)]:
            windows = _spread(list(tile(scene.shape[1:], size, detector.halo, detector.grid)))
            windowed = _scored(detector, scene, windows)
            block = torch.from_numpy(scene)[:, windows[0].outer_rows, windows[0].outer_cols]
            assert detector.score(block).shape == block.shape[1:], "one value per pixel, including the halo"
            for window in windows:
                here = window.rows, window.cols
                np.testing.assert_allclose(windowed[here], whole[here], rtol=type(detector).window_tolerance, atol=0)

    @every_scene
    def test_windowed_explanation_equals_whole_explanation(self, detector: Detector[Any], scene: Cube) -> None:
        """So is the background that is expected in it, which is NaN at invalid pixels alone."""
        detector = fitted(detector.shortened(SHORT), scene)
        self._skip_without_explanation(detector, scene)
        whole = explained_in_windows(detector, scene, scene.shape[1:])
        valid = np.isfinite(scene).all(axis=0)
        np.testing.assert_array_equal(np.isfinite(whole), np.broadcast_to(valid, scene.shape))
        for size in [(11, 13), (16, 1000)]:
            windowed = explained_in_windows(detector, scene, size)
            np.testing.assert_allclose(windowed, whole, rtol=0, atol=1e-6 * np.nanmax(np.abs(scene)))

    def test_what_is_not_expected_of_a_target_is_its_signature(self, detector: Detector[Any]) -> None:
        """What a target has and its expected background lacks is what was put there."""
        scene = 300 + 100 * background((13, 40, 40))
        scene[::2, 20, 11] += 600
        detector = fitted(detector.shortened(LEARNED), scene)
        self._skip_without_explanation(detector, scene)
        difference = scene - explained_in_windows(detector, scene, (64, 64))
        along = difference[::2].sum(axis=0) - difference[1::2].sum(axis=0)
        assert np.argwhere(along == along.max()).tolist() == [[20, 11]]
        assert along.max() > 300 * 7

    @staticmethod
    def _skip_without_explanation(detector: Detector[Any], scene: Cube) -> None:
        if detector.explain(torch.from_numpy(scene)) is None:
            pytest.skip(f"{detector.name} does not explain its scores")

    def test_scores_are_finite_exactly_where_all_bands_are(self, detector: Detector[Any]) -> None:
        """Every valid pixel has a score, and no other."""
        scene = SCENES["nodata holes"]
        scores = scored_in_windows(fitted(detector.shortened(SHORT), scene), scene, (16, 16))
        np.testing.assert_array_equal(np.isfinite(scores), np.isfinite(scene).all(axis=0))

    def test_the_same_seed_gives_the_same_bytes(self, detector: Detector[Any]) -> None:
        """A fit draws from its own seed alone."""
        scene = SCENES["nodata holes"]
        first, second = (scored_in_windows(fitted(detector.shortened(SHORT), scene), scene, (64, 64)) for _ in range(2))
        assert first.tobytes() == second.tobytes()

    def test_the_number_of_threads_does_not_change_a_map(self, detector: Detector[Any]) -> None:
        """Neither those of a fit nor those that score: sums have an order of their own."""
        scene = background((13, 70, 60))
        maps = []
        for threads in (1, 2, 3):
            with computing_threads(threads):
                maps.append(scored_in_windows(fitted(detector.shortened(SHORT), scene), scene, scene.shape[1:]))
        assert len({scores.tobytes() for scores in maps}) == 1

    def test_a_network_computes_in_the_precision_that_was_asked_for(self, detector: Detector[Any]) -> None:
        """It says so, in either every window gives the same bits, and what is anomalous stays so."""
        role = detector.precision_parameter
        if role is None:
            pytest.skip(f"{detector.name} has no network")
        scene = SCENES["odd size"]
        for precision in ("float32", "bfloat16"):
            params = detector.params.model_copy(update={role: precision})
            made = fitted(type(detector)(params).shortened(SHORT), scene)
            # Of a fusion, no part may have a network.
            assert made.precision in (precision, "")
            whole = scored_in_windows(made, scene, scene.shape[1:])
            np.testing.assert_array_equal(scored_in_windows(made, scene, (7, 11)), whole)

    def test_state_round_trips_to_the_bit(self, detector: Detector[Any]) -> None:
        """A model file gives back the very detector."""
        scene = SCENES["odd size"]
        detector = fitted(detector.shortened(SHORT), scene)
        state = {key: value.clone() for key, value in detector.state().items()}
        again = type(detector)(detector.params).load_state(state, CPU)
        before, after = (scored_in_windows(d, scene, (64, 64)) for d in (detector, again))
        assert before.tobytes() == after.tobytes()

    def test_a_fitted_detector_can_be_sent_to_workers(self, detector: Detector[Any]) -> None:
        """On a cluster it is pickled."""
        scene = SCENES["odd size"]
        detector = fitted(detector.shortened(SHORT), scene)
        sent = pickle.loads(pickle.dumps(detector))  # noqa: S301 - made a moment ago
        before, after = (scored_in_windows(d, scene, (64, 64)) for d in (detector, sent))
        assert before.tobytes() == after.tobytes()

    def test_an_implanted_target_scores_highest(self, detector: Detector[Any]) -> None:
        """It finds something."""
        scene = background((13, 40, 40))
        scene[::2, 20, 11] += 6
        scores = scored_in_windows(fitted(detector.shortened(LEARNED), scene), scene, (64, 64))
        assert np.argwhere(scores == scores.max()).tolist() == [[20, 11]]

    def test_a_single_pixel_and_an_empty_scene_have_no_background(self, detector: Detector[Any]) -> None:
        """They are refused, as `Sample.statistics` does."""
        for scene in (np.ones((3, 1, 1), np.float32), np.full((3, 8, 8), np.nan, np.float32)):
            with pytest.raises(FitError, match="valid pixels"):
                fitted(detector.shortened(SHORT), scene)

    def test_equal_pixels_are_an_error(self, detector: Detector[Any]) -> None:
        """So is a scene in which nothing can stand out."""
        with pytest.raises(FitError, match="valid pixels are equal"):
            fitted(detector.shortened(SHORT), np.full((3, 8, 8), 2.0, np.float32))

    def test_every_parameter_is_described(self, detector: Detector[Any]) -> None:
        """Help texts and dialogs are made of the descriptions."""
        fields = parameter_fields(type(detector))
        for key, field in fields.items():
            assert field.get("title"), key
            assert field.get("description", "").endswith((".", "?")), key
            assert "default" in field, key
        assert set(type(detector).Params.basic) <= set(fields)

    def test_what_the_contract_names_is_there(self, detector: Detector[Any]) -> None:
        """Names and roles, which the command line and dialogs go by."""
        fields = type(detector).Params.model_fields
        assert detector.name.isascii()
        assert detector.title
        for role in (detector.seed_parameter, detector.steps_parameter, detector.precision_parameter):
            assert role is None or role in fields
        assert detector.halo >= 0
        assert detector.grid >= 1
        assert detector.relative_cost is None or detector.relative_cost > 0
        scene = SCENES["odd size"]
        explained = fitted(detector.shortened(SHORT), scene).explain(torch.from_numpy(scene))
        assert bool(detector.explained_by) == (explained is not None), "explained_by says what explain gives"

    def test_a_trial_is_the_same_detector_with_fewer_steps(self, detector: Detector[Any]) -> None:
        """What a run will take is estimated from one."""
        steps, before = detector.training_steps, detector.params.model_copy()
        short = detector.shortened(SHORT)
        assert type(short) is type(detector)
        assert short is not detector
        assert short.training_steps == min(steps, SHORT)
        assert (detector.params, detector.training_steps) == (before, steps)
        others = type(detector).Params.model_fields.keys() - {detector.steps_parameter}
        if steps:
            assert {key: getattr(short.params, key) for key in others} == {key: getattr(before, key) for key in others}
        else:
            assert short.params == before

    def test_training_steps_are_counted_and_leave_their_loss(self, detector: Detector[Any]) -> None:
        """One unit of the stage for each step; at most one loss for each."""
        short, watch = detector.shortened(SHORT), _Watch()
        params = short.params.model_copy()
        assert not len(short.loss_)
        assert fitted(short, SCENES["odd size"], watch) is short
        assert short.params == params, "a fit does not change the hyper-parameters"
        if short.training_steps:
            assert watch.stages[Stage.FIT] == [short.training_steps, short.training_steps]
        else:
            assert Stage.FIT not in watch.stages, "a fit without training steps counts none"
        assert len(short.loss_) <= short.training_steps
        assert np.isfinite(np.asarray(short.loss_, dtype=np.float64)).all()

    def test_training_stops_on_request(self, detector: Detector[Any]) -> None:
        """It asks before each step; the passes over the scene do so by themselves."""
        if not detector.training_steps:
            pytest.skip(f"{detector.name} has no training steps")
        with pytest.raises(Cancelled):
            fitted(detector.shortened(SHORT), SCENES["odd size"], _Watch(stop=True))

    def test_memory_is_told_in_whole_bytes(self, detector: Detector[Any]) -> None:
        """Windows are planned from it."""
        for bands in (1, 400):
            assert isinstance(detector.bytes_per_pixel(bands), int)
            assert detector.bytes_per_pixel(bands) >= 0
            assert isinstance(detector.core_bytes(bands), int)
            assert detector.core_bytes(bands) >= 0
            small, large = (detector.fit_bytes(bands, pixels) for pixels in (1, 10**9))
            assert isinstance(small, int)
            assert 0 <= small <= large
