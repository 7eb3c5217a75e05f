"""BS3LNet is the network of the paper, learns without labels, and sees what its halo says."""

from __future__ import annotations

import warnings
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.blind_spot_network import Conv, reflected
from hadgeo.detectors.blind_spots import Crop, blind, random_piece
from hadgeo.detectors.bs3lnet import BlindSpotNetwork, BS3LNet, BS3LNetParams
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import Cancelled, CubeWarning, ParameterError
from hadgeo.formats.matlab import read_truth
from hadgeo.sampling import Sample, Scene
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")


def parameters_of(network: BlindSpotNetwork) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_parameter_count_is_the_papers() -> None:
    assert parameters_of(BlindSpotNetwork(162)) == 371_810


def test_weights_are_drawn_as_in_the_paper() -> None:
    network = BlindSpotNetwork(162)
    network.initialise(torch.Generator().manual_seed(0))
    assert network.encoder.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.decoder_norm.weight.mean().item() == pytest.approx(1, abs=0.02)
    assert not network.output.bias.any()


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_the_halo_is_exactly_the_receptive_field(blocks: int) -> None:
    detector = BS3LNet(BS3LNetParams(blocks=blocks, statistic="mse"))
    network = BlindSpotNetwork(4, channels=8, blocks=blocks).double().eval()
    x = torch.randn(1, 4, 41, 41, dtype=torch.float64, requires_grad=True)
    network(x)[0, :, 20, 20].sum().backward()
    assert x.grad is not None
    rows, cols = x.grad[0].abs().sum(dim=0).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (
        20 - detector.halo,
        20 + detector.halo,
        20 - detector.halo,
        20 + detector.halo,
    )


# One row less of a local median may well leave it at the same level.
@pytest.mark.parametrize(("statistic", "halo", "less"), [("mse", 7, 6), ("whitened", 7, 6), ("cfar", 14, 7)])
def test_the_halo_is_exact_and_less_is_not(readers: Executor, statistic: str, halo: int, less: int) -> None:
    scene = background((12, 50, 50))
    sample = Sample(Scene(memory_source(scene), range(12)), executor=readers, device=CPU)
    detector = make_detector("bs3lnet", {"steps": 5, "crop": 32, "statistic": statistic}).fit(sample, device=CPU)
    assert detector.halo == halo
    cube = torch.from_numpy(scene)
    whole = detector.score(cube)[20:30, 20:30]
    for margin, exact in ((halo, True), (less, False)):
        near = slice(20 - margin, 30 + margin)
        part = detector.score(cube[:, near, near])[margin:-margin, margin:-margin]
        assert torch.allclose(part, whole, rtol=1e-6, atol=0) == exact


@pytest.mark.parametrize(("inner", "neighbour"), [(1, 3), (1, 5), (3, 5), (3, 7), (5, 9)])
@pytest.mark.parametrize("shape", [(30, 30), (1, 50), (50, 1), (4, 3)])
def test_masked_pixels_never_see_themselves(inner: int, neighbour: int, shape: tuple[int, int]) -> None:
    params = BS3LNetParams(inner_window=inner, neighbour_window=neighbour, mask_ratio=0.3)
    generator = torch.Generator().manual_seed(0)
    row, col = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    x = torch.stack([row, col]).float() + 1  # each pixel says where it comes from
    seen = 0
    for _ in range(20):
        masked, target = blind(Crop.of(x), params, generator)
        untouched = torch.ones(shape, dtype=torch.bool).flatten()
        untouched[target] = False
        assert torch.equal(masked.flatten(1)[:, untouched], x.flatten(1)[:, untouched])
        distance = (masked.flatten(1) - x.flatten(1))[:, target].abs().amax(dim=0)
        assert (distance > 0).all()
        assert (distance <= neighbour // 2 + inner // 2).all()
        seen += len(target)
    assert seen
    if shape == (30, 30):
        # Blocks overlap, and are cut at the border, so a few fewer than asked for are masked.
        assert 0.6 * 0.3 * 900 < seen / 20 <= 0.31 * 900


def test_invalid_pixels_are_neither_targets_nor_replacements() -> None:
    x = torch.ones(3, 20, 20)
    x[:, 5:15, 5:15] = torch.nan
    masked, target = blind(Crop.of(x), BS3LNetParams(mask_ratio=0.5), torch.Generator().manual_seed(0))
    assert x.flatten(1)[:, target].isfinite().all()
    assert (masked.flatten(1)[:, target] == 1).all()
    assert (masked[:, 5:15, 5:15] == 0).all()


@pytest.mark.parametrize("shape", [(5, 6), (2, 2), (1, 4), (4, 1), (1, 1)])
def test_a_border_of_pieces_is_that_of_reflection(shape: tuple[int, int]) -> None:
    conv = Conv(3, 4, bias=True).double()
    x = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    here, elsewhere = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = conv(here)
    found = torch.nn.functional.conv2d(reflected(elsewhere), conv.weight, conv.bias)
    assert torch.equal(found, expected)
    for result in (expected, found):
        result.square().sum().backward()
    assert here.grad is not None
    assert elsewhere.grad is not None
    assert torch.allclose(elsewhere.grad, here.grad, rtol=1e-12, atol=1e-12)


def test_pieces_for_training_hold_valid_pixels() -> None:
    crop = torch.full((2, 64, 64), torch.nan)
    crop[:, :16, :] = 1
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        piece = random_piece([Crop.of(crop)], 16, generator).pixels
        assert piece.shape == (2, 16, 16)
        assert piece.isfinite().any()


def test_training_lowers_the_loss_and_does_not_touch_the_global_seed(readers: Executor) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sample = Sample(Scene(memory_source(background((8, 40, 40))), range(8)), executor=readers, device=CPU)
    detector = BS3LNet(BS3LNetParams(steps=40, crop=32)).fit(sample, device=CPU)
    assert len(detector.loss_) == 40
    assert np.mean(detector.loss_[-10:]) < 0.7 * np.mean(detector.loss_[:5])
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ(readers: Executor) -> None:
    scene = background((6, 24, 24))
    maps = []
    for seed in (0, 1):
        sample = Sample(Scene(memory_source(scene), range(6)), executor=readers, device=CPU)
        detector = BS3LNet(BS3LNetParams(steps=3, crop=16, seed=seed)).fit(sample, device=CPU)
        maps.append(detector.score(torch.from_numpy(scene)))
    assert not torch.equal(*maps)


def test_a_fit_can_be_cancelled(readers: Executor) -> None:
    log = Recorder(patience=6)
    sample = Sample(Scene(memory_source(background((6, 24, 24))), range(6)), executor=readers, device=CPU, progress=log)
    with pytest.raises(Cancelled):
        BS3LNet(BS3LNetParams(steps=1000, crop=16)).fit(sample, device=CPU, progress=log)
    assert log.stages["fit"][0] < 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"inner_window": 2}, "inner_window must be odd"),
        ({"inner_window": 5}, "must be larger than inner_window"),
        ({"mask_ratio": 0}, "mask_ratio"),
        ({"statistic": "sum"}, "statistic"),
        ({"steps": "many"}, "steps"),
        ({"step": 3}, "did you mean 'steps'"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_detector("bs3lnet", parameters)


@pytest.mark.data
def test_finds_the_targets_of_hydice_ii(data_dir: Path, readers: Executor) -> None:
    path = data_dir / "truth/HYDICE-II_BS3LNet.mat"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)  # the file has no georeference
        source = source_of(open_cube(path))
    bands, rows, cols = source.shape
    detector = BS3LNet().fit(Sample(Scene(source, range(bands)), executor=readers, device=CPU), device=CPU)
    scores = detector.score(torch.from_numpy(source.read(slice(0, rows), slice(0, cols))))
    assert roc_auc_score(read_truth(path).ravel(), scores.numpy().ravel()) >= 0.985


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_find_the_same_places(readers: Executor) -> None:
    scene = background((12, 64, 64))
    scene[::2, 30, 31] += 5
    maps = []
    for device in (CPU, torch.device("cuda")):
        sample = Sample(Scene(memory_source(scene), range(12)), executor=readers, device=device)
        detector = BS3LNet(BS3LNetParams(steps=60)).fit(sample, device=device)
        maps.append(detector.score(torch.from_numpy(scene).to(device)).cpu())
    assert all(int(m.argmax()) == 30 * 64 + 31 for m in maps)


def test_a_thin_diagonal_of_valid_pixels_is_enough(readers: Executor) -> None:
    scene = background((4, 90, 90))
    row, col = np.indices(scene.shape[1:])
    scene[:, abs(row - col) > 1] = np.nan
    for seed in range(3):
        sample = Sample(Scene(memory_source(scene), range(4)), executor=readers, device=CPU)
        detector = make_detector("bs3lnet", {"steps": 12, "crop": 8, "seed": seed, "channels": 4})
        detector.fit(sample, device=CPU)
        assert np.isfinite(detector.loss_).all()
        scores = detector.score(torch.from_numpy(scene))
        assert torch.equal(scores.isfinite(), torch.from_numpy(scene[0]).isfinite())


def test_a_pixel_without_neighbours_is_no_target() -> None:
    x = torch.full((2, 9, 9), torch.nan)
    x[:, 4, 4] = 1
    _, target = blind(Crop.of(x), BS3LNetParams(), torch.Generator().manual_seed(0))
    assert len(target) == 0
