"""Canonical tiles: what is computed of a pixel has the same bits wherever a window begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from hadgeo.compute.cores import one_core
from hadgeo.detectors.blind_spot_network import BlindSpotNetwork, TiledNetwork
from hadgeo.detectors.score_network import ScoreNetwork, TimedNetwork
from hadgeo.detectors.tiles import PIXELS, SIDE, TOGETHER, each_tile, spectra_of_tiles, times

PRECISIONS = [torch.float32, torch.bfloat16]


def laid_out(block: Tensor, layout: str) -> Tensor:
    """The same values (band, y, x), in memory as a file of some interleave gives them."""
    if layout == "bsq":
        return block.contiguous()
    if layout == "bil":
        return block.transpose(0, 1).contiguous().transpose(0, 1)
    return block.permute(1, 2, 0).contiguous().permute(2, 0, 1)


@pytest.mark.parametrize("layout", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (5, 70), (40, 33)])
def test_a_tile_holds_the_spectra_of_its_pixels_and_zeros(layout: str, shape: tuple[int, int]) -> None:
    block = laid_out(torch.rand(7, *shape), layout)
    for row in range(0, shape[0], SIDE):
        for col in range(0, shape[1], 2 * SIDE):
            part = block[:, row : row + SIDE, col : col + 2 * SIDE]
            found = spectra_of_tiles(part, 2).view(2, SIDE, SIDE, 7)
            expected = torch.zeros(7, SIDE, 2 * SIDE)
            expected[:, : part.shape[1], : part.shape[2]] = part
            assert torch.equal(found, expected.view(7, SIDE, 2, SIDE).permute(2, 1, 3, 0))


@pytest.mark.parametrize("count", [1, 2, 4, 6, 100])
def test_a_function_sees_pieces_of_one_shape_alone(count: int) -> None:
    seen = set()

    def first_band(spectra: Tensor) -> Tensor:
        seen.add((tuple(spectra.shape), spectra.is_contiguous()))
        return spectra[:, 0]

    for shape in ((37, 61), (61, 7), (5, 100)):
        block = torch.rand(3, *shape)
        found = each_tile(block, first_band, dtype=torch.float32, together=(TOGETHER[0], count))
        assert torch.equal(found, block[0])
    assert seen == {((count * PIXELS, 3), True)}


@pytest.mark.parametrize("layout", ["bsq", "bip"])
def test_a_layout_in_memory_changes_no_bit(layout: str) -> None:
    block, matrix = torch.rand(50, 40, 70), torch.rand(50, 50, dtype=torch.float64)

    def distance(spectra: Tensor) -> Tensor:
        return (spectra.double() @ matrix).square().sum(dim=1)

    assert torch.equal(each_tile(laid_out(block, layout), distance), each_tile(laid_out(block, "bil"), distance))


def test_a_column_has_the_same_product_wherever_it_stands() -> None:
    matrix, columns = torch.rand(31, 29, dtype=torch.float64), torch.rand(29, 1500, dtype=torch.float64)
    whole = times(matrix, columns)
    torch.testing.assert_close(whole, matrix @ columns)
    for part in (slice(1, 2), slice(700, 1300), slice(1490, 1500)):
        assert torch.equal(times(matrix, columns[:, part]), whole[:, part])


def trained(network: torch.nn.Module) -> torch.nn.Module:
    """The network with norms that do something."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.GroupNorm | torch.nn.LayerNorm):
            module.weight.data.uniform_(0.5, 2, generator=generator)
            module.bias.data.uniform_(-1, 1, generator=generator)
    return network.eval()


def blind_spot_network(bands: int, blocks: int = 2) -> BlindSpotNetwork:
    network = BlindSpotNetwork(bands, channels=12, blocks=blocks)
    network.initialise(torch.Generator().manual_seed(0))
    network.encoder.weight.data *= 5
    trained(network)
    return network


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (16, 16), (17, 33), (50, 70)])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_convolutions_in_tiles_are_those_of_the_network(shape: tuple[int, int], blocks: int) -> None:
    network, x = blind_spot_network(9, blocks), torch.randn(*shape, 9)
    expected = x - network(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    for dtype, tolerance in zip(PRECISIONS, (1e-5, 0.1), strict=True):
        left = x.clone()
        TiledNetwork(network, dtype).subtract_from(left)
        torch.testing.assert_close(left, expected.detach(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_residual_has_the_same_bits_in_any_part_of_a_scene(dtype: torch.dtype) -> None:
    network, scene = TiledNetwork(blind_spot_network(9), dtype), torch.randn(150, 130, 9)
    whole = scene.clone()
    network.subtract_from(whole)
    for row, col, rows, cols in ((0, 0, 60, 130), (32, 16, 64, 40), (96, 64, 54, 66), (16, 0, 31, 31)):
        part = scene[row : row + rows, col : col + cols].clone()
        network.subtract_from(part)
        inner = [
            slice(0 if first == 0 else 7, length if first + length == whole_length else length - 7)
            for first, length, whole_length in ((row, rows, 150), (col, cols, 130))
        ]
        expected = whole[row : row + rows, col : col + cols]
        assert torch.equal(part[inner[0], inner[1]], expected[inner[0], inner[1]])


def both_networks(dtype: torch.dtype) -> list[Callable[[Tensor], Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ScoreNetwork(9)
    trained(network)
    t = torch.tensor(0.05)

    def plain(x: Tensor) -> Tensor:
        with torch.no_grad():
            return network(x, t.reshape(1))

    return [plain, TimedNetwork(network, t, dtype)]


@pytest.mark.parametrize(("dtype", "tolerance"), list(zip(PRECISIONS, (1e-5, 0.1), strict=True)))
def test_a_network_told_the_time_once_is_the_network(dtype: torch.dtype, tolerance: float) -> None:
    plain, timed = both_networks(dtype)
    x = torch.rand(64, 9)
    torch.testing.assert_close(timed(x), plain(x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_score_has_the_same_bits_whatever_else_is_in_its_block(dtype: torch.dtype) -> None:
    _, timed = both_networks(dtype)
    x = torch.rand(PIXELS, 9)
    whole: npt.NDArray[np.float32] = timed(x).numpy()
    x[:100] = torch.nan
    assert timed(x)[100:].numpy().tobytes() == whole[100:].tobytes()


@pytest.mark.parametrize("bands", [5, 30, 64])
@pytest.mark.parametrize("count", [640, 768, 2000])
def test_a_product_has_the_same_bits_in_any_layout_and_place(bands: int, count: int) -> None:
    matrix, columns = (
        torch.randn(bands, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (bands, 3000)
    )
    some = columns[:, 500 : 500 + count]
    with one_core():
        whole = times(matrix, columns)
        for part in (some, some.contiguous(), some.T.contiguous().T):
            assert torch.equal(times(matrix, part), whole[:, 500 : 500 + count])
