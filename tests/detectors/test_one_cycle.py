"""Adam with one cycle of the learning rate, beside torch's own classes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hadgeo.detectors.one_cycle import OneCycleAdam


def _network() -> torch.nn.Sequential:
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize("steps", [1, 2, 5, 37, 100])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_it_does_what_torch_does(steps: int, weight_decay: float) -> None:
    ours, theirs = _network(), _network()
    mine = OneCycleAdam(ours.parameters(), 3e-3, steps, weight_decay=weight_decay)
    make = torch.optim.AdamW if weight_decay else torch.optim.Adam
    optimiser = make(theirs.parameters(), lr=3e-3, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps + 1)
    for _ in range(steps):
        x = torch.randn(2, 3, 9, 9)
        mine.zero_grad()
        ours(x).square().mean().backward()
        mine.step()
        optimiser.zero_grad()
        theirs(x).square().mean().backward()
        optimiser.step()
        schedule.step()
    assert mine.taken == steps
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_does_not_load_the_compiler() -> None:
    code = (
        "import sys, torch; from hadgeo.detectors.one_cycle import OneCycleAdam\n"
        "layer = torch.nn.Linear(3, 2); train = OneCycleAdam(layer.parameters(), 1e-3, 4)\n"
        "layer(torch.ones(1, 3)).sum().backward(); train.step(); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
