"""A cube that is one array of a container (HDF5, NetCDF, Zarr, MATLAB 7.3), its three axes in any order.

A format says where the array stands, which of its axes counts bands, and what is known besides; windows are read here,
in the order of the file, and handed on as transposed views. Which axis is which is never found out here.
"""

from __future__ import annotations

import math
import os
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, ReadError
from hadgeo.formats.raw import GAP_BYTES
from hadgeo.formats.source import Metadata, Source, decode, decoded_dtype

#: Bytes of decoded chunks that a library keeps by itself: HDF5's own default, and the least that it gets.
SMALL_CHUNK_CACHE = 2**20

#: Beyond these, decoding a chunk twice is cheaper.
LARGE_CHUNK_CACHE = 2**28

#: Most bytes of an array that is read whole: lists of wavelengths, tables of pixels.
MOST_LIST_BYTES = 2**29

#: Most chunks of such an array: libraries take a millisecond for each, however small it is.
_MOST_PIECES = 20_000

#: Arrays up to this size are read without asking how much of them is there.
_SMALL_BYTES = 2**26

#: Most bytes that come of one stored byte: deflate ends at 1032, and of scarcely filled mosaics there are some.
_MOST_EXPANSION = 5000

#: Most bands. Interferometers have 16,000, and what belongs to each band is kept for all of them at once.
_MOST_BANDS = 2**20

#: What HDF5, Zarr and their codecs raise over bytes that they cannot use.
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, EOFError, zlib.error)


def check_list(array: StoredArray, told: str, *, most: int = MOST_LIST_BYTES) -> None:
    """Refuse to read an array as a whole that is larger than any that is meant to be, or in more pieces.

    Args:
        array: The array.
        told: Where it stands, for the message.
        most: Most bytes.

    Raises:
        CubeError: It is such a one.
    """
    shape = " x ".join(map(str, array.shape))
    nbytes = math.prod(array.shape) * array.dtype.itemsize
    if nbytes > most:
        raise CubeError(
            f"{told}: {shape} values, {nbytes / 1e9:.1f} GB, no list or layer of a scene; the file is damaged: copy it "
            "again"
        )
    chunks = array.chunks or array.shape
    pieces = math.prod(-(-length // max(chunk, 1)) for length, chunk in zip(array.shape, chunks, strict=False))
    if pieces > _MOST_PIECES:
        raise CubeError(f"{told}: {shape} values in {pieces} chunks, too many to be read; save it in fewer")


def check_stored(array: StoredArray, told: str, *, small: int = _SMALL_BYTES) -> None:
    """Refuse a large array of which next to nothing is in the file: it would take hours to read what is not there.

    Args:
        array: The array.
        told: Where it stands, for the message.
        small: Bytes up to which any array is taken.

    Raises:
        CubeError: It is such a one.
    """
    nbytes = math.prod(array.shape) * array.dtype.itemsize
    stored = array.stored_bytes() if nbytes > small else None
    if stored is not None and nbytes > _MOST_EXPANSION * stored:
        raise CubeError(
            f"{told}: {' x '.join(map(str, array.shape))} samples, {nbytes / 1e9:.0f} GB, of which the file holds "
            f"{stored} bytes; it is damaged or was never filled: copy it again"
        )


def check_bands(bands: int, told: str) -> None:
    """Refuse an axis as that of the bands that is longer than any spectrum, before anything is made for each of them.

    Args:
        bands: Its length.
        told: Where it stands, for the message.

    Raises:
        CubeError: It is.
    """
    if bands > _MOST_BANDS:
        raise CubeError(
            f"{told}: {bands} bands, more than any spectrum has; if another axis counts bands, name it with "
            "--band-axis 0, 1 or 2, else the file is damaged: copy it again"
        )


class Boxes(Protocol):
    """An open array out of which boxes are read, as h5py's and Zarr's own are."""

    def __getitem__(self, box: tuple[slice, ...], /) -> Any:
        """The samples of a box, with as many axes as the array has."""


@dataclass(frozen=True)
class StoredArray(ABC):
    """Where an array stands, and how to open it again in another thread or process.

    Attributes:
        file: Absolute path of the file or folder.
        name: The array's name within it, such as ``/group/reflectance``.
        shape: Lengths of its axes, as stored.
        dtype: Type of its samples, byte order included.
        chunks: Lengths of the chunks in which it is stored, or None where it lies in one piece.
        keeps_chunks: Whether its library keeps decoded chunks, from which windows that share them are read again.
    """

    keeps_chunks: ClassVar[bool] = False

    file: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None

    @abstractmethod
    def open(self, cache: int) -> Boxes:
        """Open it for the calling thread alone.

        Args:
            cache: Bytes of decoded chunks that may be kept, where the library keeps any.

        Raises:
            OSError: The file is not there any more, or damaged.
        """

    def stored_bytes(self) -> int | None:
        """Bytes that it takes in its file, packed as it is; None where its library does not tell.

        Raises:
            OSError: The file is not there any more, or damaged.
        """
        return None


@dataclass(frozen=True)
class Axes:
    """Which axis of a stored array counts what, 0 the first. All others have length 1."""

    band: int
    row: int
    col: int

    @property
    def interleave(self) -> str | None:
        """The order as ENVI calls it, or None for the three orders that it does not know."""
        order = sorted(("band", "row", "col"), key=lambda name: int(getattr(self, name)))
        return {"band row col": "bsq", "row band col": "bil", "row col band": "bip"}.get(" ".join(order))


class ContainerSource(Source):
    """Windows of one array of a container, with one handle for each thread that reads.

    Attributes:
        array: Where the array stands.
        axes: Which of its axes counts what.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        array: StoredArray,
        axes: Axes,
        metadata: Metadata,
        *,
        fills: Sequence[float] = (),
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Describe a cube whose array has been found.

        Args:
            path: The file as the user named it.
            array: Where the array stands.
            axes: Which of its axes counts what.
            metadata: What is known besides the samples.
            fills: Fill values beside that of the metadata, in stored units.
            limits: The least and the largest stored value that is one (``valid_range`` of CF); all others are nodata.

        Raises:
            CubeError: The array holds no real numbers, or has further axes of more than one place.
        """
        self.path = os.fspath(path)
        self.array, self.axes = array, axes
        _check(array, axes, self.path)
        check_stored(array, f"{self.path}: {array.name}")
        check_bands(array.shape[axes.band], f"{self.path}: {array.name}")
        self.shape = (array.shape[axes.band], array.shape[axes.row], array.shape[axes.col])
        self.block = None if array.chunks is None else (array.chunks[axes.row], array.chunks[axes.col])
        self.dtype = decoded_dtype(array.dtype)
        self.metadata = metadata
        self._fills, self._limits = tuple(fills), limits
        self._handles = threading.local()

    @property
    def files(self) -> tuple[Path, ...]:
        """The container; see `Source.files`."""
        return (Path(self.array.file),) if Path(self.array.file).is_file() else ()

    @property
    def sample_bytes(self) -> int:
        """A window is read whole before it is decoded; see `Source.sample_bytes`."""
        return self.array.dtype.itemsize + self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """A chunk with all that it holds; see `Source.block_bytes`."""
        return 0 if self.array.chunks is None else math.prod(self.array.chunks) * self.array.dtype.itemsize

    @property
    def cache_bytes(self) -> int:
        """The chunks below a row of pixels, within limits, where any are kept; see `Source.cache_bytes`."""
        if self.array.chunks is None or not self.array.keeps_chunks:
            return 0
        lengths = list(self.array.shape)
        lengths[self.axes.row] = 1
        chunks = math.prod(-(-length // chunk) for length, chunk in zip(lengths, self.array.chunks, strict=True))
        return min(max(chunks * self.block_bytes, SMALL_CHUNK_CACHE), LARGE_CHUNK_CACHE)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, as a view in the order of the file; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        size = (indices.size, rows.stop - rows.start, cols.stop - cols.start)
        if 0 in size:
            return np.empty(size, self.dtype)
        order = (self.axes.band, self.axes.row, self.axes.col)
        # Axes of length 1 have been dropped from what was read.
        to_bsq = tuple(int(place) for place in np.argsort(np.argsort(order)))
        raw = self._stored(indices, rows, cols, to_bsq)
        out = decode(raw, self.metadata, bands, to_bsq[0])
        self._drop_invalid(out, raw)
        return out.transpose(to_bsq)

    def _stored(
        self, indices: npt.NDArray[np.intp], rows: slice, cols: slice, to_bsq: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        """Samples of a window with the axes of the file, without those of length 1."""
        band_axis = to_bsq[0]
        shape = [0, 0, 0]
        for place, length in zip(to_bsq, (indices.size, rows.stop - rows.start, cols.stop - cols.start), strict=True):
            shape[place] = length
        wanted, back = np.unique(indices, return_inverse=True)
        runs = list(self._runs(wanted))
        pieces = [np.take(self._box(run, rows, cols), at, band_axis) for run, at in runs[1:]]
        first = self._box(runs[0][0], rows, cols)
        if runs[0][1].size != first.shape[band_axis]:
            first = np.take(first, runs[0][1], band_axis)
        raw = np.concatenate([first, *pieces], band_axis) if pieces else first
        return raw if np.array_equal(back, np.arange(back.size)) else np.take(raw, back, band_axis)

    def _runs(self, wanted: npt.NDArray[np.intp]) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
        """Bands that are worth reading at once, and which of them are wanted."""
        gap = self._worth_reading_over()
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > gap) + 1):
            start = int(run[0])
            yield slice(start, int(run[-1]) + 1), run - start

    def _worth_reading_over(self) -> int:
        """How far two wanted bands may lie apart and still be read together."""
        if self.array.chunks is not None:
            return self.array.chunks[self.axes.band]
        behind = self.array.shape[self.axes.band + 1 :]
        return max(1, GAP_BYTES // max(1, math.prod(behind) * self.array.dtype.itemsize))

    def _box(self, bands: slice, rows: slice, cols: slice) -> npt.NDArray[Any]:
        box = [slice(0, 1)] * len(self.array.shape)
        box[self.axes.band], box[self.axes.row], box[self.axes.col] = bands, rows, cols
        dropped = tuple(axis for axis in range(len(box)) if axis not in (self.axes.band, self.axes.row, self.axes.col))
        try:
            stored = np.asarray(self._handle()[tuple(box)])
        except DAMAGE as error:
            # Who tries again shall not meet what this handle remembers of the failure.
            self._handles.boxes = None
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ReadError(
                f"{self.path}: rows {rows.start} to {rows.stop - 1} of {self.array.name} cannot be read ({reason}); "
                "the file is damaged, cut short or no longer there: copy it again"
            ) from error
        return stored.squeeze(dropped)

    def _handle(self) -> Boxes:
        boxes: Boxes | None = getattr(self._handles, "boxes", None)
        if boxes is None:
            boxes = self._handles.boxes = self.array.open(self.cache_bytes)
        return boxes

    def _drop_invalid(self, out: npt.NDArray[np.floating[Any]], raw: npt.NDArray[Any]) -> None:
        """Make nodata of what other fill values and limits tell, in place."""
        for fill in self._fills:
            # In the stored type: the text of a header has more digits than a float32.
            with np.errstate(over="ignore"):
                hit = raw == np.asarray(fill).astype(raw.dtype) if raw.dtype.kind == "f" else raw == fill
            out[hit] = np.nan
        if self._limits is not None:
            low, high = self._limits
            out[(raw < low) | (raw > high)] = np.nan

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_handles"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._handles = threading.local()


def _check(array: StoredArray, axes: Axes, path: str) -> None:
    if array.dtype.kind not in "iuf":
        raise CubeError(f"{path}: samples of {array.name} are {array.dtype}; a cube must hold real numbers")
    known = (axes.band, axes.row, axes.col)
    if any(length > 1 for axis, length in enumerate(array.shape) if axis not in known):
        shape = " x ".join(map(str, array.shape))
        raise CubeError(f"{path}: {array.name} is {shape}: more than three axes; save a single cube")
    if 0 in array.shape:
        raise CubeError(f"{path}: {array.name} is empty ({' x '.join(map(str, array.shape))})")
