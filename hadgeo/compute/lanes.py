"""The way of arrays between this machine's memory and a device's, beside the device's arithmetic.

A device with streams copies while it computes, as long as the memory on this side is pinned and nobody waits for more
than his own copy. Whatever is given to a `Lane` is done on streams of its own; what a detector computes stays on the
stream that torch computes on. On a device without streams, such as Apple's, the same calls copy and wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

#: Pieces of work between arrival and departure at a time: one is computed, another one comes or goes.
PLACES = 2

T = TypeVar("T")


def streams_of(device: torch.device) -> Any:
    """Torch's module for a kind of device, such as `torch.cuda`, where it has streams; None where it has none."""
    module = None if device.type == "cpu" else getattr(torch, device.type, None)
    return module if hasattr(module, "Stream") else None


def to_device(array: Tensor, device: torch.device) -> Tensor:
    """A copy of an array on a device, in the layout that it has, on the current stream and without waiting for it.

    Args:
        array: In this machine's memory, dense or not.
        device: Where it goes; where that is this machine, the array itself comes back.
    """
    if streams_of(device) is None:
        return array.to(device)
    # Torch keeps pinned memory for the next copy once this one is over.
    staged = torch.empty_like(array, pin_memory=True).copy_(array)
    return staged.to(device, non_blocking=True)


def from_device(array: Tensor) -> Tensor:
    """A copy of an array in this machine's memory, which is complete once the current stream has come that far."""
    if streams_of(array.device) is None:
        return array.cpu()
    return torch.empty_like(array, device="cpu", pin_memory=True).copy_(array, non_blocking=True)


class Lane:
    """Brings pieces of work to a device, and their results back, while it computes something else.

    Args:
        device: Any but the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = streams_of(device)
        self._places = threading.BoundedSemaphore(PLACES)
        if self._streams is not None:
            self._coming, self._going = (self._streams.Stream(device=device) for _ in range(2))

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the `PLACES` of a piece of work, from before its arrival until after its departure."""
        with self._places:
            try:
                yield
            except BaseException:
                # Memory that is given up here may still be read by what was begun.
                if self._streams is not None:
                    self._streams.synchronize(self._device)
                raise

    def arrive(self, bring: Callable[[], T]) -> T:
        """What a function makes of what it brings; the device has made it when this returns.

        Args:
            bring: Calls `to_device`, computes, and may call `from_device`.
        """
        if self._streams is None:
            return bring()
        with self._streams.stream(self._coming):
            brought = bring()
        self._wait_for(self._coming)
        return brought

    def computed(self) -> Any:
        """What `depart` waits for: all that was begun so far on the stream that torch computes on."""
        return None if self._streams is None else self._event(self._streams.current_stream(self._device))

    def depart(self, result: Tensor, computed: Any) -> Tensor:
        """A result in this machine's memory.

        Args:
            result: On the device.
            computed: What `Lane.computed` said after the result was begun.
        """
        if self._streams is None:
            return result.cpu()
        self._going.wait_event(computed)
        with self._streams.stream(self._going):
            found = from_device(result)
        self._wait_for(self._going)
        return found

    def _wait_for(self, stream: Any) -> None:
        """Wait, without keeping a core busy, for what this thread has begun on a stream."""
        self._event(stream).synchronize()

    def _event(self, stream: Any) -> Any:
        event = self._streams.Event(blocking=True)
        event.record(stream)
        return event
