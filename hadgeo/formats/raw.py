"""Boxes out of a raw file that holds one three-dimensional array, read with as few calls as are worth it."""

from __future__ import annotations

from io import FileIO
from typing import Any

import numpy as np
import numpy.typing as npt

#: What lies between two pieces of a box is read with them up to this size: a call of its own would cost as much.
GAP_BYTES = 2**15


class RawFile:
    """An array in an open file.

    Read, not mapped: under a memory map a disk that fails, or a file that is cut short meanwhile, ends the process.

    Args:
        file: The file, opened for reading without a buffer.
        shape: Lengths of the array's axes, the slowest first.
        dtype: Type of its samples.
        skip: Bytes before the first of them.
    """

    def __init__(self, file: FileIO, shape: tuple[int, int, int], dtype: np.dtype[Any], skip: int) -> None:
        self._file, self._shape, self._dtype, self._skip = file, shape, dtype, skip

    def box(self, box: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        """Read a box.

        Args:
            box: From where to where along each axis.

        Returns:
            Its samples; a view where more was read.

        Raises:
            OSError: The file cannot be read, or ends before the box does.
        """
        read = self._worth_reading(box)
        out = np.empty([axis.stop - axis.start for axis in read], self._dtype)
        whole = [length == axis for length, axis in zip(out.shape, self._shape, strict=True)]
        # Axes along which the pieces that lie together in the file are counted: none, the slowest, or two of them.
        counted = 0 if whole[1] and whole[2] else 1 if whole[2] else 2
        pieces = out.reshape(*out.shape[:counted], -1)
        for index in np.ndindex(pieces.shape[:counted]):
            first = [axis.start + i for axis, i in zip(read, (*index, 0, 0, 0), strict=False)]
            self._fill(pieces[index], int(np.ravel_multi_index(first, self._shape)))
        rest = (slice(axis.start - more.start, axis.stop - more.start) for axis, more in zip(box, read, strict=True))
        return out[tuple(rest)]

    def _worth_reading(self, box: tuple[slice, slice, slice]) -> list[slice]:
        """The box, with its faster axes widened to whole lines where what lies between its pieces is small."""
        read = list(box)
        below = self._dtype.itemsize
        for axis in (2, 1):
            length = self._shape[axis]
            if (length - (box[axis].stop - box[axis].start)) * below > GAP_BYTES:
                break
            read[axis] = slice(0, length)
            below *= length
        return read

    def _fill(self, piece: npt.NDArray[Any], first: int) -> None:
        """Read samples that lie together, from the `first` of the array on."""
        left = memoryview(piece.view(np.uint8).data)
        start = self._skip + first * self._dtype.itemsize
        self._file.seek(start)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise OSError(f"it ends at byte {self._file.tell()}")
            left = left[count:]
