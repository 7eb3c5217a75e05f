"""How networks are trained: Adam, while the learning rate rises and falls once.

`torch.optim.Adam` under `torch.optim.lr_scheduler.OneCycleLR` does the same, step for step: the tests compare them. But
torch's optimisers load its compiler when the first of them is made, which takes as long as a small scene
is trained for; the functions below them do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

#: Share of the steps in which the rate rises; what it begins at, and ends at, below its peak (Smith and Topin).
_RISE, _BEGIN, _END = 0.3, 25.0, 25.0 * 1e4

#: Decay of the mean of gradients, at the ends and at the peak; of their squares; and what keeps quotients finite.
_MOMENTUM, _SQUARES, _EPSILON = (0.95, 0.85), 0.999, 1e-8


@dataclass
class OneCycleAdam:
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1) with one cycle of the rate (Smith and Topin, arXiv 1708.07120).

    Attributes:
        parameters: Of the network.
        rate: The largest learning rate.
        steps: How many steps there will be at most.
        weight_decay: Share of the rate by which weights shrink in each step (Loshchilov and Hutter, ICLR 2019); 0 for
            none.
        taken: How many steps there were.
    """

    parameters: Iterable[torch.nn.Parameter]
    rate: float
    steps: int
    weight_decay: float = 0.0
    taken: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.parameters = list(self.parameters)
        self._means = [torch.zeros_like(weight, memory_format=torch.preserve_format) for weight in self.parameters]
        self._squares = [torch.zeros_like(weight, memory_format=torch.preserve_format) for weight in self.parameters]
        self._counts = [torch.zeros(()) for _ in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.parameters:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradients by one step."""
        rate, momentum = self._cycle()
        gradients: list[Tensor] = [weight.grad for weight in self.parameters if weight.grad is not None]
        (adamw if self.weight_decay else adam)(
            list(self.parameters),
            gradients,
            self._means,
            self._squares,
            [],
            self._counts,
            amsgrad=False,
            beta1=momentum,
            beta2=_SQUARES,
            lr=rate,
            weight_decay=self.weight_decay,
            eps=_EPSILON,
            maximize=False,
        )
        self.taken += 1

    def _cycle(self) -> tuple[float, float]:
        """Learning rate and momentum of the next step."""
        peak, end = _RISE * (self.steps + 1) - 1, self.steps
        outer, inner = _MOMENTUM
        if self.taken <= peak:
            share = self.taken / peak
            return _between(self.rate / _BEGIN, self.rate, share), _between(outer, inner, share)
        share = (self.taken - peak) / (end - peak)
        return _between(self.rate, self.rate / _END, share), _between(inner, outer, share)


def _between(first: float, last: float, share: float) -> float:
    """From one value to another along half a cosine."""
    return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1)
