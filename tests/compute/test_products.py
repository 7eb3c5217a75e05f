"""Products of float32 matrices by oneDNN."""

import pytest
import torch
from torch.nn import functional as F

from hadgeo.compute.products import linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_product_is_torchs_own_to_rounding(dtype: torch.dtype, with_bias: bool) -> None:
    torch.manual_seed(0)
    # A view whose rows lie apart in memory, as parts of whitened spectra are.
    x, weight, bias = torch.randn(100, 60).to(dtype)[:, :37], torch.randn(23, 37).to(dtype), torch.randn(23).to(dtype)
    given = bias if with_bias else None
    found = linear(x, weight, given)
    assert found.dtype == dtype
    torch.testing.assert_close(found, F.linear(x, weight, given))


@pytest.mark.parametrize("bands", [7, 64, 188])
def test_a_row_has_the_same_bits_wherever_it_stands(bands: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1536, bands), torch.randn(bands, bands)
    order = torch.randperm(len(x))
    assert torch.equal(linear(x, weight)[order], linear(x[order], weight))


def test_rows_that_are_not_finite_leave_others_alone() -> None:
    x, weight = torch.ones(48, 20), torch.ones(20, 20)
    x[5, 3] = torch.nan
    found = linear(x, weight)
    assert found[5].isnan().all()
    assert torch.equal(found[torch.arange(48) != 5], torch.full((47, 20), 20.0))
