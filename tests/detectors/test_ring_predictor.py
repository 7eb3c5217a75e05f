"""The ring predictor against least squares written out."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from hadgeo.detectors.registry import make_detector
from hadgeo.detectors.ring_predictor import RingPredictor, RingPredictorParams
from hadgeo.errors import ParameterError
from hadgeo.sampling import Sample, Scene
from tests.support import background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, **parameters: object) -> RingPredictor:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return RingPredictor(RingPredictorParams(**parameters)).fit(sample, device=CPU)


def rings(scene: np.ndarray, sides: tuple[int, int, int]) -> np.ndarray:
    """Mean spectra of both rings, (2 band, y, x), by convolution with kernels of ones and zeros."""

    def mean(inner: int, outer: int) -> np.ndarray:
        kernel = np.ones((outer, outer))
        margin = (outer - inner) // 2
        kernel[margin : margin + inner, margin : margin + inner] = 0
        count = convolve(np.ones(scene.shape[1:]), kernel, mode="constant")
        return np.stack([convolve(band.astype(float), kernel, mode="constant") / count for band in scene])

    return np.concatenate([mean(sides[0], sides[1]), mean(sides[1], sides[2])])


@pytest.mark.parametrize("shape", [(5, 40, 31), (3, 20, 90)])
def test_is_the_least_squares_prediction(readers: Executor, shape: tuple[int, int, int]) -> None:
    scene = background(shape)
    around = rings(scene, (3, 7, 13)).reshape(2 * shape[0], -1).T
    design = np.column_stack([around, np.ones(len(around))])
    own = scene.reshape(shape[0], -1).T.astype(float)
    residual = own - design @ np.linalg.lstsq(design, own, rcond=None)[0]
    covariance = residual.T @ residual / (len(own) - 1)
    expected = np.einsum("ij,jk,ik->i", residual, np.linalg.inv(covariance), residual)

    detector = fit(scene, readers, ridge=0, cfar_window=None)
    found = detector.score(torch.from_numpy(scene)).numpy()
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)
    explained = detector.explain(torch.from_numpy(scene)).numpy()
    np.testing.assert_allclose(explained.reshape(shape[0], -1).T, own - residual, rtol=1e-5)


def test_the_residual_may_be_whitened_with_a_ridge(readers: Executor) -> None:
    scene = background((4, 30, 30))
    plain = fit(scene, readers, cfar_window=None)
    ridged = fit(scene, readers, cfar_window=None, residual_ridge=1000)
    residual = torch.from_numpy(scene).double() - plain.explain(torch.from_numpy(scene)).double()
    # So large a ridge leaves the sum of squares.
    squares, found = residual.square().sum(dim=0), ridged.score(torch.from_numpy(scene))
    np.testing.assert_allclose(found / found.mean(), squares / squares.mean(), rtol=0.01)


def test_finds_what_the_surroundings_do_not_predict(readers: Executor) -> None:
    # A spectrum that is common in the scene, but not here.
    scene = background((6, 60, 60))
    scene[:, :, :30] += 3
    scene[:, 30, 50] += 3
    scores = fit(scene, readers).score(torch.from_numpy(scene)).numpy()
    assert np.unravel_index(scores.argmax(), scores.shape) == (30, 50)


def test_a_sample_of_the_pixels_is_enough(readers: Executor) -> None:
    scene = background((4, 300, 60))
    scores = [fit(scene, readers, sample=n).score(torch.from_numpy(scene)).numpy().ravel() for n in (2**18, 6000)]
    assert not np.array_equal(*scores)
    assert np.corrcoef(*scores)[0, 1] > 0.98


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"guard_window": 4}, "must be odd"),
        ({"middle_window": 3}, "must grow in this order"),
        ({"outer_window": 7}, "must grow in this order"),
        ({"cfar_window": 4}, "cfar_window must be odd"),
    ],
)
def test_bad_windows_are_refused(parameters: dict[str, int], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make_detector("ring_predictor", parameters)
