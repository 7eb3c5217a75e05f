"""What is in a MATLAB file of either version: its arrays, those inside structs included, and how to load them.

Version 5 files are read by SciPy, as a whole (they hold chips, not flight lines), once it is known how large they are
when they are unpacked; version 7.3 files are HDF5.
"""

from __future__ import annotations

import math
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hadgeo.compute.memory import most_held
from hadgeo.errors import CubeError, HadgeoError, ReadError
from hadgeo.formats.arrays import DAMAGE, MOST_LIST_BYTES, Boxes, StoredArray, check_list, check_stored
from hadgeo.formats.hdf5 import SIGNATURE, Hdf5Array, check_own, import_h5py

#: Places along each axis that tell how values differ along it.
SAMPLE = 64

#: MATLAB's header of version 5, and its number for elements that are packed (MAT-File Format, "Level 5").
_HEAD_BYTES, _COMPRESSED = 128, 15

#: Arrays of more bytes than this are measurements, which never pack as densely as this many bytes in one.
_LARGE_BYTES, _MOST_EXPANSION = 2**28, 200

#: Bytes that are unpacked at once.
_PIECE_BYTES = 2**20

_NUMERIC = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


@dataclass(frozen=True)
class MatlabArray:
    """One array of a MATLAB file.

    Attributes:
        name: Its name, in a struct as MATLAB writes it: ``hsi.data``.
        shape: Its lengths in MATLAB's own order.
        numeric: Whether it holds numbers.
    """

    name: str
    shape: tuple[int, ...]
    numeric: bool

    @property
    def base(self) -> str:
        """The last part of its name, in small letters."""
        return self.name.rpartition(".")[2].lower()

    @property
    def struct(self) -> str:
        """The struct that it stands in; empty where it stands in none."""
        return self.name.rpartition(".")[0]

    def describe(self) -> str:
        """Name and shape for a message."""
        return f"{self.name} {'x'.join(map(str, self.shape))}"


class MatlabFile:
    """The contents of a file, with its structs kept while it is looked at."""

    def __init__(self, path: str, file: str) -> None:
        """List its arrays.

        Args:
            path: The file as the user named it, for messages.
            file: The file.

        Raises:
            CubeError: It is no MATLAB file, or damaged.
            MissingExtraError: It is of version 7.3, and h5py is not installed.
        """
        self.path, self.file = path, file
        self.v73 = is_v73(file)
        self._most = most_held()
        self._structs: dict[str, npt.NDArray[Any]] = {}
        if self.v73:
            import_h5py(path)
        try:
            listed = self._list_hdf5() if self.v73 else self._list_v5()
            self.arrays: Mapping[str, MatlabArray] = {array.name: array for array in listed}
        except HadgeoError:
            raise
        except Exception as error:
            # SciPy lets whatever it meets through: MatReadError, ValueError, TypeError, zlib.error.
            raise CubeError(f"{path}: not a readable MATLAB file ({error}); copy or save it again") from error

    def load(self, name: str) -> npt.NDArray[Any]:
        """An array in MATLAB's own order of axes.

        Raises:
            ReadError: It is damaged.
        """
        if self.v73:
            with self._opened() as file:
                dataset = file[_hdf5_name(name)]
                array = Hdf5Array.of(dataset)
                self._check_held(name, math.prod(array.shape) * array.dtype.itemsize)
                check_stored(array, f"{self.path}: {name}", small=MOST_LIST_BYTES)
                check_list(array, f"{self.path}: {name}", most=self._most)
                return np.asarray(dataset[()]).T
        top, *fields = name.split(".")
        value = self._structs[top] if top in self._structs else _load_v5(self.path, self.file, top)
        for part in fields:
            value = value.ravel()[0][part]
        return value

    def sample(self, name: str) -> npt.NDArray[Any]:
        """The middle of an array, at most `SAMPLE` places along each axis, in MATLAB's own order.

        Raises:
            ReadError: It is damaged.
        """
        shape = self.arrays[name].shape
        box = tuple(slice(max(0, (n - SAMPLE) // 2), max(0, (n - SAMPLE) // 2) + SAMPLE) for n in shape)
        if self.v73:
            with self._opened() as file:
                return np.asarray(file[_hdf5_name(name)][box[::-1]]).T
        return self.load(name)[box]

    def stored(self, name: str, order: tuple[int, int, int]) -> tuple[StoredArray, tuple[int, int, int]]:
        """An array of three axes as windows are read from it.

        Args:
            name: The array.
            order: Which of its axes count bands, rows and columns.

        Returns:
            Where it stands, and the same axes there.

        Raises:
            ReadError: It is damaged.
        """
        if self.v73:
            with self._opened() as file:
                dataset = file[_hdf5_name(name)]
                array = Hdf5Array(self.file, dataset.name, dataset.shape, dataset.dtype, dataset.chunks)
                check_stored(array, f"{self.path}: {name}")
            # MATLAB counts columns of memory first, and HDF5 last.
            return array, (2 - order[0], 2 - order[1], 2 - order[2])
        loaded = np.ascontiguousarray(self.load(name).transpose(order))
        memory = _Memory()
        memory.array = loaded
        # Only the samples tell: MATLAB's class may be wider than what is stored, and complex is not in it.
        return LoadedArray(self.file, name, loaded.shape, loaded.dtype, None, order, self.path, memory), (0, 1, 2)

    def _check_held(self, name: str, nbytes: int) -> None:
        """Refuse an array that would not fit, before it is loaded.

        Raises:
            CubeError: It would not.
        """
        # While it is turned to bands, rows and columns, it is there twice.
        if 2 * nbytes > self._most:
            hint = "" if self.v73 else "save it as version 7.3, which is read window by window, or "
            raise CubeError(
                f"{self.path}: {name} can only be read whole, in {2 * nbytes / 1e9:.2f} GB at least, "
                f"but {self._most / 1e9:.2f} GB may be used; {hint}give a larger --memory"
            )

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with import_h5py(self.path).File(self.file, "r") as file:
                yield file
        except HadgeoError:
            raise
        except DAMAGE as error:
            raise ReadError(f"{self.path}: cannot be read ({error}); the file is damaged: copy it again") from error

    def listing(self) -> str:
        """Names and shapes for a message."""
        return ", ".join(array.describe() for array in self.arrays.values()) or "no arrays"

    def _list_v5(self) -> Iterator[MatlabArray]:
        # Before SciPy looks into structs, which it does by loading them.
        largest = largest_element(self.file, self._most // 2)
        self._check_held("one of its arrays", largest)
        # Here, as elsewhere in this room: SciPy takes longer to load than all else that opening a file needs.
        from scipy.io import whosmat

        for name, shape, kind in whosmat(self.file):
            yield MatlabArray(name, tuple(shape), kind in _NUMERIC)
            if kind == "struct":
                self._structs[name] = _load_v5(self.path, self.file, name)
                yield from _fields(name, self._structs[name])

    def _list_hdf5(self) -> list[MatlabArray]:
        h5py = import_h5py(self.path)
        found: list[MatlabArray] = []

        def visit(name: str, item: Any) -> None:
            # Cells and strings of newer kinds keep their parts in folders called #refs# and #subsystem#.
            if isinstance(item, h5py.Dataset) and item.shape is not None and not name.startswith("#"):
                found.append(MatlabArray(name.replace("/", "."), item.shape[::-1], item.dtype.kind in "biuf"))

        with h5py.File(self.file, "r") as file:
            check_own(self.path, file)
            file.visititems(visit)
        return found


def largest_element(path: str, enough: int) -> int:
    """Bytes of the largest array of a file of version 5 when it is unpacked.

    Args:
        path: The file.
        enough: Beyond this, it does not matter how large.

    Returns:
        The bytes, or more than `enough`; 0 for an older version, whose arrays are as large as the file.

    Raises:
        CubeError: An array is large and next to nothing of it is in the file.
    """
    largest, size = 0, Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(head[-2:]) if len(head) == _HEAD_BYTES else None
        if order is None:
            return 0
        while largest <= enough and len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            length = min(length, size)
            # A bomb is known for one by this much, and more need not be unpacked.
            bomb = max(_LARGE_BYTES, _MOST_EXPANSION * length)
            held = _unpacked(file, length, min(enough, bomb)) if kind == _COMPRESSED else length
            if held > bomb:
                raise CubeError(
                    f"{path}: more than {held / 1e6:.0f} MB in {length / 1e6:.1f} packed ones: no measurement; "
                    "the file is damaged: save it again"
                )
            largest = max(largest, held)
            file.seek(end)
    return largest


def _unpacked(file: BinaryIO, length: int, enough: int) -> int:
    """Bytes that some packed ones unpack to, or more than is enough."""
    unpacker, held = zlib.decompressobj(), 0
    while length > 0 and held <= enough and (piece := file.read(min(length, _PIECE_BYTES))):
        length -= len(piece)
        while piece and held <= enough and not unpacker.eof:
            held += len(unpacker.decompress(piece, _PIECE_BYTES))
            piece = unpacker.unconsumed_tail
    return held


def is_v73(path: str) -> bool:
    """Whether a MATLAB file is of version 7.3: HDF5 behind a text header of 512 bytes."""
    with Path(path).open("rb") as file:
        start = file.read(520)
    return start.startswith(b"MATLAB 7.3") or SIGNATURE in (start[:8], start[512:])


class _Memory:
    """A loaded array, which threads share and no other process gets."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.array: npt.NDArray[Any] | None = None

    def __reduce__(self) -> tuple[type[_Memory], tuple[()]]:
        return _Memory, ()


@dataclass(frozen=True)
class LoadedArray(StoredArray):
    """An array of a version 5 file, turned to bands, rows and columns, and held in memory.

    Attributes:
        order: Which of MATLAB's axes those are.
        path: The file as the user named it, for messages.
        memory: Where it is held.
    """

    order: tuple[int, int, int] = (2, 0, 1)
    path: str = ""
    memory: _Memory = field(default_factory=_Memory, compare=False, repr=False)

    def open(self, cache: int) -> Boxes:  # noqa: ARG002 - all of it is kept
        """Load it, if this process has not; see `StoredArray.open`."""
        with self.memory.lock:
            if self.memory.array is None:
                loaded = MatlabFile(self.path, self.file).load(self.name)
                self.memory.array = np.ascontiguousarray(loaded.transpose(self.order))
            return self.memory.array


def _fields(prefix: str, value: npt.NDArray[Any]) -> Iterator[MatlabArray]:
    """Arrays inside a struct of one element, structs in it included."""
    if value.dtype.names is None or value.size != 1:
        return
    for name in value.dtype.names:
        item = value.ravel()[0][name]
        if not isinstance(item, np.ndarray):
            continue
        if item.dtype.names is None:
            yield MatlabArray(f"{prefix}.{name}", item.shape, item.dtype.kind in "biufc")
        else:
            yield from _fields(f"{prefix}.{name}", item)


def _hdf5_name(name: str) -> str:
    return "/" + name.replace(".", "/")


def _load_v5(path: str, file: str, name: str) -> npt.NDArray[Any]:
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(file, variable_names=[name])[name])
    except Exception as error:
        # As above: damaged samples come as zlib.error, ValueError or TypeError.
        raise ReadError(f"{path}: {name} cannot be read ({error}); the file is damaged: copy it again") from error
