"""NetCDF's classic format in its three versions: a header, and arrays that lie behind it as they are.

SciPy's reader maps the file into memory, where a file that is cut short meanwhile ends the process, and does not know
the third version. The layout is that of the NetCDF User Guide, appendix B "File Format Specifications".
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError
from hadgeo.formats.arrays import Boxes, StoredArray
from hadgeo.formats.container import Container, Dimension, Variable, text
from hadgeo.formats.raw import RawFile

_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}

_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 0x0A, 0x0B, 0x0C

#: Longest list that a header may announce; a damaged one announces billions.
_LONGEST = 10_000_000


def is_netcdf3(name: str) -> bool:
    """Whether a name is that of a file in NetCDF's classic format."""
    try:
        with Path(name).open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError):
        return False
    return start[:3] == b"CDF" and start[3:] in (b"\1", b"\2", b"\5")


@dataclass(frozen=True)
class Netcdf3Array(StoredArray):
    """An array that lies behind a header, in one piece or with one piece in every record.

    Attributes:
        begin: Byte with which it begins.
        record: Bytes from one record to the next, where its first axis counts records; else None.
    """

    begin: int = 0
    record: int | None = None

    def open(self, cache: int) -> Boxes:  # noqa: ARG002 - nothing to keep
        """Nothing stays open: a window is read with a handle of its own; see `StoredArray.open`."""
        return _Pieces(self)


class _Pieces:
    """Boxes out of such an array."""

    def __init__(self, array: Netcdf3Array) -> None:
        self._array = array

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        array = self._array
        # Signed bytes that are meant without sign have been renamed, and read alike.
        with Path(array.file).open("rb", buffering=0) as file:
            if array.record is None:
                return _box(file, array.shape, array.dtype, array.begin, box)
            records = [
                _box(file, array.shape[1:], array.dtype, array.begin + i * array.record, box[1:])
                for i in range(box[0].start, box[0].stop)
            ]
        return np.stack(records)


def _box(
    file: Any, shape: tuple[int, ...], dtype: np.dtype[Any], begin: int, box: tuple[slice, ...]
) -> npt.NDArray[Any]:
    """A box of an array of any number of axes, the slowest of which are taken one by one."""
    if len(shape) > 3:
        step = math.prod(shape[1:]) * dtype.itemsize
        return np.stack(
            [_box(file, shape[1:], dtype, begin + i * step, box[1:]) for i in range(box[0].start, box[0].stop)]
        )
    more = 3 - len(shape)
    rows, cols, planes = (*[1] * more, *shape)
    whole = (*[slice(0, 1)] * more, *box)
    return RawFile(file, (rows, cols, planes), dtype, begin).box(whole).reshape([s.stop - s.start for s in box])  # type: ignore[arg-type]


def list_netcdf3(path: str, file: str) -> Container:
    """All arrays of a file in NetCDF's classic format.

    Args:
        path: The file as the user named it, for messages.
        file: The file.

    Raises:
        CubeError: Its header is damaged, or promises more bytes than there are.
    """
    name = str(Path(file).absolute())
    try:
        with Path(file).open("rb") as opened:
            header = _Header(opened)
            variables, ends = header.variables(name)
    except (OSError, EOFError, struct.error, ValueError, KeyError, IndexError) as error:
        raise CubeError(f"{path}: its NetCDF header cannot be read ({error}); copy the file again") from error
    size = Path(file).stat().st_size
    if ends > size:
        raise CubeError(f"{path}: {size} bytes, but its last array ends at {ends}: it was cut short; copy it again")
    return Container(path, "NetCDF 3", variables, {"": header.attributes})


class _Header:
    """The header of a file: counts, names and numbers, all in big-endian order and padded to four bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._version = file.read(4)[3]
        self._records = self._number()
        self._dims = [(self._name(), self._number()) for _ in range(self._count(_DIMENSIONS))]
        self.attributes = self._attributes()

    def variables(self, name: str) -> tuple[dict[str, Variable], int]:
        """Its arrays, and the byte at which the last of them ends."""
        told = []
        for _ in range(self._count(_VARIABLES)):
            base = self._name()
            dims = [self._number() for _ in range(self._number())]
            attrs, kind, _ = self._attributes(), self._integer(), self._number()
            begin = self._unpack(">i" if self._version == 1 else ">q")
            told.append((base, dims, attrs, np.dtype(_TYPES[kind]), begin))
        # A dimension of length 0 in the header is that of the records.
        sizes = [self._slab(dims, dtype) for _, dims, _, dtype, _ in told if self._in_records(dims)]
        # A lone array of records is not padded.
        record = sizes[0] if len(sizes) == 1 else sum(-(-size // 4) * 4 for size in sizes)
        found, ends = {}, 0
        for base, dims, attrs, dtype, begin in told:
            is_record = self._in_records(dims)
            shape = tuple(self._dims[dim][1] or self._records for dim in dims)
            if dtype.kind == "i" and text(attrs.get("_Unsigned", "")).lower() == "true":
                dtype = np.dtype(dtype.str.replace("i", "u"))
            array = Netcdf3Array(name, f"/{base}", shape, dtype, None, begin, record if is_record else None)
            names = tuple(Dimension(self._dims[dim][0], f"/{self._dims[dim][0]}") for dim in dims)
            found[array.name] = Variable(array, names, attrs)
            length = self._slab(dims, dtype) + (max(self._records - 1, 0) * record if is_record else 0)
            ends = max(ends, begin + (length if math.prod(shape) else 0))
        return found, ends

    def _in_records(self, dims: list[int]) -> bool:
        return bool(dims) and not self._dims[dims[0]][1]

    def _slab(self, dims: list[int], dtype: np.dtype[Any]) -> int:
        """Bytes of an array, or of its part in one record."""
        return math.prod(self._dims[dim][1] for dim in dims if self._dims[dim][1]) * dtype.itemsize

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self._count(_ATTRIBUTES)):
            key, kind, count = self._name(), self._integer(), self._number()
            values = np.frombuffer(self._padded(count * np.dtype(_TYPES[kind]).itemsize), _TYPES[kind])
            found[key] = values.tobytes().decode("utf-8", "replace") if kind == 2 else values
        return found

    def _count(self, tag: int) -> int:
        told, count = self._integer(), self._number()
        if told not in (0, tag) or (count and told != tag):
            raise ValueError(f"a list of kind {told} where kind {tag} is expected")
        return count

    def _name(self) -> str:
        return self._padded(self._number()).decode("utf-8")

    def _padded(self, count: int) -> bytes:
        if not 0 <= count <= _LONGEST:
            raise ValueError(f"a list of {count} bytes")
        return self._read(-(-count // 4) * 4)[:count]

    def _number(self) -> int:
        return self._unpack(">Q" if self._version == 5 else ">I")

    def _integer(self) -> int:
        return self._unpack(">i")

    def _unpack(self, form: str) -> int:
        return int(struct.unpack(form, self._read(struct.calcsize(form)))[0])

    def _read(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise EOFError("it ends within its header")
        return found
