"""RX against the published figures and against Spectral Python."""

from __future__ import annotations

import warnings
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import spectral
import torch
from sklearn.covariance import OAS
from sklearn.metrics import roc_auc_score

from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.registry import make_detector
from hadgeo.detectors.rx import RX, rao_blackwell_ledoit_wolf
from hadgeo.detectors.whitening import as_precise, mahalanobis, whitening
from hadgeo.errors import CubeWarning
from hadgeo.formats.matlab import read_truth
from hadgeo.sampling import Sample, Scene, Statistics
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")

#: By how much distances that were computed in float32 may differ here; a tenth of what `as_precise` promises.
FLOAT32 = 1e-5

#: Scene, truth, and the AUC of global RX over all bands, from the table that comes with the scenes.
PUBLISHED = [
    ("truth/abu-airport-1.mat", "truth/abu-airport-1.mat", 0.8221),
    ("truth/abu-airport-2.mat", "truth/abu-airport-2.mat", 0.8404),
    ("truth/abu-beach-1.mat", "truth/abu-beach-1.mat", 0.9807),
    ("truth/abu-beach-2.mat", "truth/abu-beach-2.mat", 0.9106),
    ("truth/abu-urban-1.mat", "truth/abu-urban-1.mat", 0.9907),
    ("truth/abu-urban-3.mat", "truth/abu-urban-3.mat", 0.9513),
    ("truth/HYDICE_norm_ScoreAD.mat", "truth/HYDICE_norm_ScoreAD.mat", 0.9763),
    ("truth/HYDICE-II_BS3LNet.mat", "truth/HYDICE-II_BS3LNet.mat", 0.9272),
    ("geo/sandiego_aviris1_utm11_nad27.tif", "geo/sandiego_aviris1_gtGCL.tif", 0.8736),
    ("geo/SDData", "geo/SDDataGt.bmp", 0.9106),
]


def rx_scores(scene: np.ndarray, readers: Executor, **parameters: object) -> np.ndarray:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return make_detector("rx", parameters).fit(sample, device=CPU).score(torch.from_numpy(scene)).numpy()


@pytest.mark.data
@pytest.mark.parametrize(("scene", "truth", "auc"), PUBLISHED, ids=[Path(row[0]).stem for row in PUBLISHED])
def test_published_auc_to_four_digits(data_dir: Path, readers: Executor, scene: str, truth: str, auc: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)  # the MATLAB files have no georeference
        source = source_of(open_cube(data_dir / scene))
    bands, rows, cols = source.shape
    detector = RX().fit(Sample(Scene(source, range(bands)), executor=readers, device=CPU), device=CPU)
    scores = detector.score(torch.from_numpy(source.read(slice(0, rows), slice(0, cols)))).numpy()
    assert round(roc_auc_score(read_truth(data_dir / truth).ravel(), scores.ravel()), 4) == auc


@pytest.mark.data
def test_agrees_with_spectral_python(data_dir: Path, readers: Executor) -> None:
    scene = open_cube(data_dir / "geo/sandiego_aviris1_utm11_nad27.tif").to_numpy()
    expected = spectral.rx(scene.transpose(1, 2, 0).astype(float))
    np.testing.assert_allclose(rx_scores(scene, readers), expected, rtol=FLOAT32)


def test_agrees_with_spectral_python_on_a_made_scene(readers: Executor) -> None:
    scene = background((9, 40, 30))
    expected = spectral.rx(scene.transpose(1, 2, 0).astype(float))
    np.testing.assert_allclose(rx_scores(scene, readers), expected, rtol=FLOAT32)


def test_a_singular_covariance_uses_the_pseudo_inverse(readers: Executor) -> None:
    scene = background((6, 30, 30))
    scene[5] = 2 * scene[4]  # exactly dependent in float32
    x = scene.reshape(6, -1).T.astype(float)
    x -= x.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", x, np.linalg.pinv(np.cov(x.T), rcond=1e-12, hermitian=True), x)
    np.testing.assert_allclose(rx_scores(scene, readers).ravel(), expected, rtol=1e-6)


def test_bands_of_very_different_scale_are_not_taken_for_singular() -> None:
    scale = torch.logspace(-6, 6, 5, dtype=torch.float64)
    correlation = torch.full((5, 5), 0.5, dtype=torch.float64).fill_diagonal_(1.0)
    covariance = torch.outer(scale, scale) * correlation
    W = whitening(covariance)
    assert W.shape == (5, 5)
    np.testing.assert_allclose(W @ covariance @ W.T, np.eye(5), atol=1e-9)


def test_fewer_pixels_than_bands_shrink_and_say_so(readers: Executor) -> None:
    log = Recorder()
    scene = background((40, 5, 6))
    detector = RX().fit(
        Sample(Scene(memory_source(scene), range(40)), executor=readers, device=CPU), device=CPU, progress=log
    )
    assert 0 < detector.shrinkage_ <= 1
    assert "30 valid pixels do not determine the covariance of 40 bands" in log.messages[0]
    assert detector.score(torch.from_numpy(scene)).isfinite().all()


def test_shrinkage_of_one_is_the_euclidean_distance(readers: Executor) -> None:
    scene = background((5, 20, 20))
    centred = scene - scene.mean(axis=(1, 2), keepdims=True, dtype=float)
    expected = (centred**2).sum(axis=0)
    scores = rx_scores(scene, readers, shrinkage=1)
    np.testing.assert_allclose(scores / scores.mean(), expected / expected.mean(), rtol=FLOAT32)


def test_shrinkage_estimate_lies_near_its_fixed_point() -> None:
    # OAS (same paper, eq. 23) is the limit of iterating the Rao-Blackwell estimate, and near it for Gaussian spectra.
    spectra = np.random.default_rng(0).normal(size=(60, 30)) * np.linspace(1, 3, 30)
    estimate = rao_blackwell_ledoit_wolf(Statistics.of(torch.from_numpy(spectra)))
    assert estimate == pytest.approx(OAS().fit(spectra).shrinkage_, abs=0.05)


def test_a_sample_of_the_pixels_is_enough(readers: Executor) -> None:
    scene = background((6, 300, 60))
    everything, sampled = rx_scores(scene, readers), rx_scores(scene, readers, sample=6000)
    assert not np.array_equal(everything, sampled)
    assert np.corrcoef(everything.ravel(), sampled.ravel())[0, 1] > 0.99


def correlated(bands: int, noise: float) -> torch.Tensor:
    """A covariance of smooth spectra with a little noise, such as 1e-3 of their standard deviation in each band."""
    place = torch.linspace(0, 1, bands, dtype=torch.float64)
    smooth = torch.exp(-((place[:, None] - place) ** 2) / 0.1)
    scale = 1 + 100 * place
    return torch.outer(scale, scale) * (smooth + noise**2 * torch.eye(bands, dtype=torch.float64))


def drawn(covariance: torch.Tensor, mean: float, rows: int = 48, cols: int = 70) -> torch.Tensor:
    """Spectra (band, y, x), float32, of which some are far from all others."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(rows * cols, len(covariance), dtype=torch.float64, generator=generator)
    z[::50] *= 30
    spectra = mean + z @ torch.linalg.cholesky(covariance).T
    return spectra.view(rows, cols, -1).permute(2, 0, 1).float()


@pytest.mark.parametrize("bands", [30, 200])
@pytest.mark.parametrize(("noise", "mean"), [(0.1, 0.0), (3e-3, 0.0), (3e-3, 1e4), (0.5, -3e5)])
def test_where_float32_is_taken_it_is_as_precise_as_is_said(bands: int, noise: float, mean: float) -> None:
    covariance = correlated(bands, noise)
    scene, W = drawn(covariance, mean), whitening(covariance)
    centre = torch.full((bands,), mean + 0.123456789, dtype=torch.float64)
    fast = as_precise(W)
    assert fast.dtype == torch.float32
    exact = mahalanobis(scene.double(), centre, W)
    found = mahalanobis(scene, centre, fast)
    assert found.dtype == torch.float32
    assert float((found / exact - 1).abs().max()) < 1e-4


def test_where_roundings_are_amplified_too_much_it_stays_float64() -> None:
    W = whitening(correlated(200, 1e-5))
    assert as_precise(W) is W
    # It is right to: the error would be larger than what is promised.
    scene, mean = drawn(correlated(200, 1e-5), 0.0), torch.zeros(200, dtype=torch.float64)
    error = mahalanobis(scene, mean, W.float()) / mahalanobis(scene, mean, W) - 1
    assert float(error.abs().max()) > 1e-4


def test_scales_of_bands_do_not_decide_on_the_precision() -> None:
    scale = torch.logspace(-6, 6, 40, dtype=torch.float64)
    assert as_precise(whitening(torch.outer(scale, scale) * correlated(40, 0.1))).dtype == torch.float32


def test_a_pseudo_inverse_stays_float64() -> None:
    singular = torch.ones(5, 5, dtype=torch.float64)
    assert as_precise(whitening(singular)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bands", [129, 200])
def test_many_bands_give_the_same_bits_in_any_window(bands: int, dtype: torch.dtype) -> None:
    covariance = correlated(bands, 0.1)
    scene, mean = drawn(covariance, 5.0), torch.full((bands,), 5.0, dtype=torch.float64)
    W = whitening(covariance)
    whole = mahalanobis(scene, mean, W.to(dtype))
    x = (scene.double() - 5).flatten(1).T
    expected = (x @ W.T).square().sum(dim=1).view(whole.shape)
    np.testing.assert_allclose(whole, expected, rtol=1e-4 if dtype is torch.float32 else 1e-9)
    for rows, cols in ((slice(16, 48), slice(0, 70)), (slice(0, 33), slice(48, 70)), (slice(32, 35), slice(16, 17))):
        for part in (scene[:, rows, cols], scene[:, rows, cols].contiguous()):
            assert torch.equal(mahalanobis(part, mean, W.to(dtype)), whole[rows, cols])
