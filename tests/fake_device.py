"""A device that this machine does not have: it computes on the CPU, and counts what would cost time on a real one.

To torch it is a device of its own, ``fakegpu``, with streams, events and a memory that nothing else may touch: an
operation that mixes its tensors with those of the CPU fails as on CUDA. It notes each copy between the two memories and
each place where Python waits for the device. A copy to this machine that does not wait arrives only once somebody waits
for its stream, and what one stream has made may be used by another one only after such a wait or `Stream.wait_event`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

NAME = "fakegpu"

#: Operations whose result's size or value Python has to know: a device is waited for.
_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")


@dataclass
class Copy:
    """A copy between the two memories."""

    to_device: bool
    bytes: int
    dtype: torch.dtype
    waits: bool


@dataclass
class Log:
    """What happened on the device since `Log.clear`.

    Attributes:
        copies: Copies between the two memories.
        stalls: Where Python waited for all that the device had to do, by the name of the operation.
        waits: How often a thread waited for an event, which keeps nobody else from the device.
    """

    copies: list[Copy] = field(default_factory=list)
    stalls: list[str] = field(default_factory=list)
    waits: int = 0

    def clear(self) -> None:
        self.copies, self.stalls, self.waits = [], [], 0

    @property
    def sent(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.to_device]

    @property
    def fetched(self) -> list[Copy]:
        return [copy for copy in self.copies if not copy.to_device]


class Stream:
    """A queue of work, of which only the order is kept."""

    def __init__(self, device: Any = None) -> None:
        self.begun = 0
        self.pending: list[Callable[[], None]] = []
        self.knows: dict[Stream, int] = {}

    def wait_event(self, event: Event) -> None:
        assert event.stream is not None
        self.knows[event.stream] = max(self.knows.get(event.stream, 0), event.begun)
        for stream, begun in event.knows.items():
            self.knows[stream] = max(self.knows.get(stream, 0), begun)

    def arrive(self) -> None:
        for copy in self.pending:
            copy()
        self.pending = []


_DEFAULT = Stream()
_HOST: dict[Stream, int] = {}
_THREAD = threading.local()


class Event:
    """A place in a stream."""

    def __init__(self, blocking: bool = False) -> None:
        self.blocking, self.stream = blocking, None
        self.begun = 0
        self.knows: dict[Stream, int] = {}

    def record(self, stream: Stream) -> None:
        self.stream, self.begun, self.knows = stream, stream.begun, dict(stream.knows)

    def synchronize(self) -> None:
        assert self.stream is not None
        assert self.blocking, "this would keep a core busy"
        with FAKE.lock:
            FAKE.log.waits += 1
            for stream, begun in {**self.knows, self.stream: self.begun}.items():
                _HOST[stream] = max(_HOST.get(stream, 0), begun)
            self.stream.arrive()


if not hasattr(backend_registration, "_DummyBackendModule"):
    pytest.skip(f"torch {torch.__version__} has nothing to make a device of", allow_module_level=True)


class _Module(backend_registration._DummyBackendModule):
    """What `torch.cuda` is to CUDA."""

    Stream, Event = Stream, Event

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def current_stream(self, device: Any = None) -> Stream:
        return getattr(_THREAD, "stream", _DEFAULT)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before = self.current_stream()
        _THREAD.stream = stream
        try:
            yield
        finally:
            _THREAD.stream = before

    def synchronize(self, device: Any = None) -> None:
        FAKE.log.stalls.append("synchronize")

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        # Nothing is drawn there but by generators of one's own.
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        pass

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return FAKE.free, 2 * FAKE.free


class OnDevice(torch.Tensor):
    """A tensor on the device; the values are those of a tensor on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnDevice:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=FAKE.device, **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return FAKE.run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({tuple(self.shape)}, {self.dtype})"


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return FAKE.run(func, args, kwargs or {})


class FakeDevice:
    """The device: `FakeDevice.here` makes it known to torch in a thread.

    Attributes:
        device: Its name for torch.
        log: What happened.
        free: Bytes of memory that it says are free.
        most: Bytes of the largest tensor that it has room for.
    """

    def __init__(self) -> None:
        self.device = torch.device(NAME, 0)
        self.log, self.lock = Log(), threading.RLock()
        self.free, self.most = 2**30, 2**40
        self._pinned: set[int] = set()
        self._made: dict[int, tuple[Stream, int]] = {}

    @contextmanager
    def here(self) -> Iterator[Log]:
        with _Mode():
            yield self.log

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        with self.lock:
            return self._run(func, args, kwargs)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: C901 - torch has so many ways
        name = func.__name__.partition(".")[0]
        wanted = kwargs.get("device")
        coming = wanted is not None and torch.device(wanted).type == NAME
        known: dict[int, OnDevice] = {}
        mine: list[OnDevice] = []
        foreign: list[torch.Tensor] = []

        def unwrap(x: Any) -> Any:
            if isinstance(x, OnDevice):
                mine.append(x)
                known[id(x.held)] = x
                return x.held
            if isinstance(x, torch.Tensor) and x.ndim:
                foreign.append(x)
            return x

        plain, named = tree_map(unwrap, args), tree_map(unwrap, kwargs)
        if wanted is not None:
            named["device"] = torch.device("cpu")
        if named.pop("pin_memory", None):
            made = func(*plain, **named)
            self._pinned.add(made.untyped_storage().data_ptr())
            return made
        stream = torch.fakegpu.current_stream()  # type: ignore[attr-defined]
        if name == "_to_copy" and wanted is not None and coming != bool(mine):
            return self._copied(func, plain, named, coming, stream)
        if name == "copy_" and len(mine) == 1:
            return self._copied_into(args, plain, stream)
        if not (mine or coming):
            return func(*plain, **named)
        if mine and foreign:
            raise RuntimeError(f"{name}: tensors on {NAME} and on the CPU")
        for tensor in mine:
            self._check_order(name, tensor, stream)
        if self._waits(name, args):
            self.log.stalls.append(name)
        made = func(*plain, **named)
        stream.begun += 1

        def wrap(x: Any) -> Any:
            if not isinstance(x, torch.Tensor):
                return x
            self._note(x, stream)
            return known[id(x)] if id(x) in known else OnDevice(x)

        return made if name == "_local_scalar_dense" else tree_map(wrap, made)

    @staticmethod
    def _waits(name: str, args: Any) -> bool:
        if not name.startswith(("index", "_index")):
            return name in _WAITING
        # Nobody knows how many pixels a mask chooses.
        indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
        return any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)

    def _check_order(self, name: str, tensor: OnDevice, stream: Stream) -> None:
        maker, begun = self._made.get(tensor.held.untyped_storage().data_ptr(), (stream, 0))
        if maker is not stream and max(stream.knows.get(maker, 0), _HOST.get(maker, 0)) < begun:
            raise AssertionError(f"{name}: uses what another stream may still be making")

    def _note(self, held: torch.Tensor, stream: Stream) -> None:
        size = held.numel() * held.element_size()
        if size > self.most:
            raise torch.OutOfMemoryError(f"{NAME} out of memory: {size} bytes")
        self._made[held.untyped_storage().data_ptr()] = (stream, stream.begun)

    def _is_pinned(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._pinned

    def _copied(self, func: Any, plain: Any, named: dict[str, Any], coming: bool, stream: Stream) -> Any:
        source = plain[0]
        # A device reads pinned memory by itself; anything else torch copies piece by piece while Python waits.
        waits = not (coming and named.pop("non_blocking", False) and self._is_pinned(source))
        named.pop("non_blocking", None)
        self.log.copies.append(Copy(coming, source.numel() * source.element_size(), source.dtype, waits))
        if waits:
            self.log.stalls.append("sent" if coming else "fetched")
        made = func(*plain, **named)
        if made.untyped_storage().data_ptr() == source.untyped_storage().data_ptr():
            made = made.clone()
        stream.begun += 1
        if not coming:
            return made
        self._note(made, stream)
        return OnDevice(made)

    def _copied_into(self, args: Any, plain: Any, stream: Stream) -> Any:
        target, source = plain[0], plain[1]
        coming = isinstance(args[0], OnDevice)
        host = source if coming else target
        if coming and source.ndim == 0:
            target.copy_(source)
            return args[0]
        waits = not ((plain[2] if len(plain) > 2 else False) and self._is_pinned(host))
        self.log.copies.append(Copy(coming, source.numel() * source.element_size(), source.dtype, waits))
        if waits:
            self.log.stalls.append("sent" if coming else "fetched")
        if not coming:
            self._check_order("copy_", args[1], stream)
        stream.begun += 1
        if coming:
            target.copy_(source)
            self._note(target, stream)
        elif waits:
            target.copy_(source)
        else:
            kept = source.clone()
            # What arrives later cannot be read now.
            target.fill_(True if target.dtype == torch.bool else torch.nan if target.is_floating_point() else 77)
            stream.pending.append(lambda: target.copy_(kept))
        return args[0]


class _Generator(torch.Generator):
    """Torch makes a generator in C++, where this device has none."""

    def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:
        return super().__new__(cls)


@contextmanager
def fake_device(patch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """The device, with a clean log; a test is skipped where torch cannot have one."""
    FAKE.log.clear()
    FAKE.free, FAKE.most = 2**30, 2**40
    patch.setattr(torch, "Generator", _Generator)
    with FAKE.here():
        yield FAKE


def _set_up() -> FakeDevice:
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch has no devices that are made in Python", allow_module_level=True)
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    return FakeDevice()


FAKE = _set_up()
