"""What every family of files looks like from the outside: a lazily read, decoded cube with its metadata.

A `Source` gives (band, y, x) windows as floating-point arrays, nodata as NaN, scale and offset applied. Decoding
happens inside the read, never after it: a dask slice is fused into the read only while nothing stands between, and
then costs exactly its own bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from hadgeo.errors import BandError
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.grid import Grid

if TYPE_CHECKING:
    from hadgeo.formats.stored import Stored

#: Stored bytes decoded at a time: with their decoded counterpart and a mask they stay in a core's own cache.
PIECE_BYTES = 2**18


@dataclass(frozen=True)
class Metadata:
    """What is known of a cube besides its pixels.

    Attributes:
        driver: Name of the format, for people ("ENVI", "GTiff", "MATLAB 5").
        stored_dtype: The type in which samples are stored, before decoding.
        grid: Rows, columns and their place on the ground, rotation and shear included.
        interleave: "bsq", "bil" or "bip", or None where the format has no such notion.
        wavelength: Band centres in nm, float64, or None.
        fwhm: Full widths at half maximum in nm, float64, or None.
        good: The sensor's own list of good bands (bbl), one bool a band; all True where there is none.
        nodata: The fill value in stored units, or None.
        band_nodata: Where the fill value differs from band to band: one a band, NaN for none; `nodata` is None then.
        scale: Factor from stored to physical units, a band each, or None for 1.
        offset: Offset added after scaling, a band each, or None for 0.
        band_names: Band descriptions, or None.
        masks: Bands that are masks (0 where there is no data) and no part of the spectrum, one bool a band, or None.
            `open_source` takes them out and applies them.
        quantity: What its values are, with their unit, for people; see `hadgeo.formats.quantities`. None where the file
            does not say.
        acquired: When it was taken, as `hadgeo.formats.quantities.acquired` writes it, or None.
        warnings: One line for each thing that is missing or odd, for the log.
        assumed: One line for each thing that the file does not say and that was guessed.
    """

    driver: str
    stored_dtype: np.dtype[Any]
    grid: Grid
    interleave: str | None = None
    wavelength: npt.NDArray[np.float64] | None = None
    fwhm: npt.NDArray[np.float64] | None = None
    good: npt.NDArray[np.bool_] | None = None
    nodata: float | None = None
    band_nodata: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    band_names: tuple[str, ...] | None = None
    masks: npt.NDArray[np.bool_] | None = None
    quantity: str | None = None
    acquired: str | None = None
    warnings: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def crs(self) -> CRS | None:
        """Coordinate reference system of the grid."""
        return self.grid.crs

    @property
    def transform(self) -> Affine:
        """Full affine of the grid; the identity where it has none."""
        return self.grid.affine

    @property
    def georeferenced(self) -> bool:
        """Whether the file itself carries a transform."""
        return self.grid.georeferenced

    def take(self, indices: npt.NDArray[np.intp]) -> Metadata:
        """Metadata of some of the bands.

        Args:
            indices: 0-based indices of the bands to keep, in order.
        """
        arrays = {
            name: value[indices]
            for name in ("wavelength", "fwhm", "good", "band_nodata", "scale", "offset", "masks")
            if (value := getattr(self, name)) is not None
        }
        names = self.band_names and tuple(self.band_names[i] for i in indices)
        return replace(self, band_names=names, **arrays)

    def with_nodata(self, fill: float | npt.NDArray[np.float64]) -> Metadata:
        """The same with another fill value.

        Args:
            fill: A value in stored units, or one a band, NaN for none.
        """
        if isinstance(fill, np.ndarray):
            return replace(self, nodata=None, band_nodata=fill)
        return replace(self, nodata=fill, band_nodata=None)


class Source(ABC):
    """A cube on disk, read window by window. Safe to use from several threads, and to pickle (it reopens its file).

    Attributes:
        path: The file as the user named it.
        shape: Bands, rows, columns.
        dtype: The decoded type: float32 where it holds every stored value exactly, else float64.
        block: Rows and columns of the blocks in which the file is stored; None for a raw file, where any strip
            is cheap.
        metadata: What is known besides the pixels.
        reading: What the user said of the file when it was opened.
        is_array: Windows come from an array of the caller's own, which no other process can open.
    """

    ndim = 3
    is_array = False
    reading: Reading = AS_IT_SAYS
    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    block: tuple[int, int] | None
    metadata: Metadata

    @abstractmethod
    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read and decode a window.

        Args:
            rows: Rows, with start and stop inside the scene and step 1.
            cols: Columns, likewise.
            bands: Indices of the wanted bands, or a slice of them.

        Returns:
            Array (band, y, x) of `dtype`, freshly made, in whatever memory layout the file's own interleave gives
            (a transposed view for BIP and BIL). Nodata, and anything not finite, is NaN.

        Raises:
            ReadError: The file ends too early or cannot be decoded.
        """

    def read_stored(
        self,
        rows: slice,  # noqa: ARG002 - for those that can
        cols: slice,  # noqa: ARG002
        bands: npt.NDArray[np.intp] | slice = slice(None),  # noqa: ARG002
    ) -> Stored | None:
        """Read a window as it is stored, where decoding that elsewhere gives the bits of `read` and costs less.

        Args:
            rows: As for `read`.
            cols: As for `read`.
            bands: As for `read`.

        Raises:
            ReadError: As `read` does.
        """
        return None

    def take_for_nodata(self, fill: float | npt.NDArray[np.float64]) -> None:
        """Take a value for nodata in every read from now on, in the place of what the file names.

        A source whose `read` does not decode by its own `metadata` alone, such as one around another, passes it on.

        Args:
            fill: A value in stored units, or one a band, NaN for none.
        """
        self.metadata = self.metadata.with_nodata(fill)

    def keeps(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """Which pixels of a window masks from elsewhere leave, whether there is data or not.

        Args:
            rows: Rows, as for `read`.
            cols: Columns, likewise.

        Returns:
            Bool (y, x); all of them where nobody has chosen any.
        """
        return np.ones((rows.stop - rows.start, cols.stop - cols.start), dtype=bool)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the cube is made of, none where it is in memory or elsewhere."""
        path = Path(self.path)
        return (path,) if path.is_file() else ()

    @property
    def variant(self) -> str:
        """What tells this cube from another one made of the same files, empty for the whole file as it says itself."""
        return self.reading.differing()

    @property
    def sample_bytes(self) -> int:
        """Bytes in memory for each sample of a window while it is read."""
        return self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """Bytes of a block as it is stored, which each thread that reads holds; 0 where there are none."""
        return 0

    @property
    def cache_bytes(self) -> int:
        """Bytes of a cache from which blocks that several windows share are read again; 0 where there is none."""
        return 0

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[np.floating[Any]]:
        """Read by slices, numbers or index arrays, one for each axis, as dask asks for them."""
        if not isinstance(key, tuple):
            key = (key,)
        wanted = [*key, *[slice(None)] * (3 - len(key))]
        (bands, band_rest), (rows, row_rest), (cols, col_rest) = (
            _hull(k, n) for k, n in zip(wanted, self.shape, strict=True)
        )
        if isinstance(wanted[0], np.ndarray | list):
            # Bands may be read one by one; rows and columns come as their hull, and are thinned out below.
            bands, band_rest = np.asarray(wanted[0], dtype=np.intp), slice(None)
        out = self.read(rows, cols, bands)
        for axis, rest in ((2, col_rest), (1, row_rest), (0, band_rest)):
            if not (isinstance(rest, slice) and rest == slice(None)):
                out = out[(slice(None),) * axis + (rest,)]
        return out


def _hull(key: Any, size: int) -> tuple[Any, Any]:
    """The smallest slice of step 1 that holds what a key selects, and the key within it."""
    if isinstance(key, int | np.integer):
        start = int(key) + (size if key < 0 else 0)
        if not 0 <= start < size:
            raise IndexError(f"index {key} is out of bounds for an axis of {size}")
        return slice(start, start + 1), 0
    if isinstance(key, slice):
        start, stop, step = key.indices(size)
        if step == 1:
            return slice(start, max(start, stop)), slice(None)
        key = np.arange(start, stop, step)
    index = np.asarray(key)
    if index.size == 0:
        return slice(0, 0), slice(None)
    low, high = int(index.min()), int(index.max())
    return slice(low, high + 1), index - low


class DerivedSource(Source):
    """A source that is made of another one while it is read.

    Attributes:
        source: The other one.
    """

    source: Source

    @property
    def reading(self) -> Reading:
        """That of the other source: what was said of a file is kept in one place, however often it is wrapped."""
        return self.source.reading

    @reading.setter
    def reading(self, reading: Reading) -> None:
        self.source.reading = reading

    def take_for_nodata(self, fill: float | npt.NDArray[np.float64]) -> None:
        """Pass it on; see `Source.take_for_nodata`."""
        self.source.take_for_nodata(fill)
        super().take_for_nodata(fill)

    def keeps(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """As of the other source; see `Source.keeps`."""
        return self.source.keeps(rows, cols)

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the other source; see `Source.files`."""
        return self.source.files

    @property
    def variant(self) -> str:
        """As of the other source; a class that chooses or changes pixels adds how; see `Source.variant`."""
        return self.source.variant

    @property
    def sample_bytes(self) -> int:
        """As in the other source; see `Source.sample_bytes`."""
        return self.source.sample_bytes

    @property
    def block_bytes(self) -> int:
        """As in the other source; see `Source.block_bytes`."""
        return self.source.block_bytes

    @property
    def cache_bytes(self) -> int:
        """As in the other source; see `Source.cache_bytes`."""
        return self.source.cache_bytes


class BandSubset(DerivedSource):
    """Some of the bands of another source, which reads no others."""

    def __init__(self, source: Source, bands: Sequence[int]) -> None:
        total = source.shape[0]
        indices = np.asarray(bands, dtype=np.intp)
        if indices.size == 0 or indices.min() < 0 or indices.max() >= total:
            raise BandError(
                f"{source.path}: give at least one band index, each from 0 to {total - 1}, not {list(bands)}"
            )
        self.source = source
        self.indices = indices
        self.path = source.path
        self.shape = (indices.size, *source.shape[1:])
        self.dtype = source.dtype
        self.block = source.block
        self.metadata = source.metadata.take(indices)

    def take_for_nodata(self, fill: float | npt.NDArray[np.float64]) -> None:
        """Pass it on for these bands alone; see `Source.take_for_nodata`."""
        each = np.full(self.source.shape[0], np.nan)
        each[self.indices] = fill
        self.source.take_for_nodata(each)
        self.metadata = self.metadata.with_nodata(fill)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read the window from the whole source; see `Source.read`."""
        return self.source.read(rows, cols, self.indices[bands])


def decoded_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """The floating-point type that holds every value of a stored type: float32 up to 16-bit integers, else float64."""
    return np.result_type(stored, np.float32)


def can_hold(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a fill value can occur in samples of a type at all."""
    if np.issubdtype(dtype, np.floating):
        return not np.isnan(value)
    info = np.iinfo(dtype)
    return float(value).is_integer() and info.min <= value <= info.max


def decode(
    raw: npt.NDArray[Any],
    metadata: Metadata,
    bands: npt.NDArray[np.intp] | slice = slice(None),
    band_axis: int = 0,
) -> npt.NDArray[np.floating[Any]]:
    """Turn stored samples into physical ones, in their own memory layout.

    Args:
        raw: Stored samples; never changed.
        metadata: Fill value, scale and offset.
        bands: Which bands of the cube `raw` holds, in order.
        band_axis: The axis of `raw` that counts bands.

    Returns:
        A new array of the shape of `raw`: stored * scale + offset; the fill value, and anything not finite, is NaN.
    """
    return _decode(raw, np.arange(raw.shape[band_axis]), Rule.of(metadata, bands, raw.dtype), band_axis)


def decode_bands(
    raw: npt.NDArray[Any],
    metadata: Metadata,
    bands: npt.NDArray[np.intp],
    band_axis: int,
    out: npt.NDArray[np.floating[Any]],
    *,
    first: int = 0,
) -> None:
    """Turn some bands of stored samples into physical ones, without a copy of the selection in between.

    Args:
        raw: Stored samples of bands of the cube that follow each other.
        metadata: Fill value, scale and offset.
        bands: Which bands of the cube to hand over.
        band_axis: The axis of `raw` that counts bands.
        out: Where to, as `decode` gives it, with the wanted bands alone along `band_axis`.
        first: The band of the cube with which `raw` begins.
    """
    _decode(raw, bands - first, Rule.of(metadata, bands, raw.dtype), band_axis, out)


@dataclass(frozen=True)
class Rule:
    """How stored samples become physical ones; every field one value, or one a band.

    Attributes:
        fill: What means nodata, in the stored type where that holds it.
        scale: Factor, rounded to the decoded type.
        offset: What is added after it.
    """

    fill: npt.NDArray[Any] | None
    scale: npt.NDArray[np.float64] | None
    offset: npt.NDArray[np.float64] | None

    @classmethod
    def of(cls, metadata: Metadata, bands: npt.NDArray[np.intp] | slice, stored: np.dtype[Any]) -> Rule:
        """Of some bands.

        Args:
            metadata: Of the cube.
            bands: Which of its bands.
            stored: Type of the samples.
        """
        fill = None
        if metadata.band_nodata is not None:
            fill = metadata.band_nodata[bands]
            if np.issubdtype(stored, np.floating) or all(can_hold(value, stored) for value in fill.tolist()):
                fill = fill.astype(stored.newbyteorder("="))
        elif metadata.nodata is not None and can_hold(metadata.nodata, stored):
            # Compared in the stored type: -50.003 read from a text header is not the float32 in the file.
            fill = np.asarray(metadata.nodata).astype(stored.newbyteorder("="))
        scale = None if metadata.scale is None else metadata.scale[bands]
        offset = None if metadata.offset is None else metadata.offset[bands]
        return cls(fill, scale, offset)

    def apply(
        self, out: npt.NDArray[np.floating[Any]], raw: npt.NDArray[Any], bands: slice, shape: tuple[int, ...]
    ) -> None:
        """Decode one piece.

        Args:
            out: Where to.
            raw: Stored samples.
            bands: Which of this rule's bands the piece holds.
            shape: One value a band in this shape broadcasts against the piece.
        """
        if not raw.dtype.isnative:
            raw = raw.astype(raw.dtype.newbyteorder("="))
        np.copyto(out, raw, casting="unsafe")
        if np.issubdtype(raw.dtype, np.floating):
            # Infinity is no measurement either.
            finite = np.isfinite(raw)
            if not finite.all():
                np.copyto(out, np.nan, where=~finite)
        if self.fill is not None:
            hit = raw == (self.fill if self.fill.ndim == 0 else self.fill[bands].reshape(shape))
            if hit.any():
                np.copyto(out, np.nan, where=hit)
        if self.scale is not None:
            out *= self.scale[bands].astype(out.dtype).reshape(shape)
        if self.offset is not None:
            out += self.offset[bands].astype(out.dtype).reshape(shape)


def _decode(
    raw: npt.NDArray[Any],
    indices: npt.NDArray[np.intp],
    rule: Rule,
    band_axis: int,
    out: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[np.floating[Any]]:
    shape = list(raw.shape)
    shape[band_axis] = indices.size
    if out is None:
        out = np.empty(shape, decoded_dtype(raw.dtype))
    if out.size == 0:
        return out
    axes = tuple(-1 if axis == band_axis else 1 for axis in range(3))
    for piece in _pieces(shape, raw.itemsize):
        for to, origin in _runs(indices, piece[band_axis]):
            target, source = list(piece), list(piece)
            target[band_axis], source[band_axis] = to, origin
            rule.apply(out[tuple(target)], raw[tuple(source)], to, axes)
    return out


def _pieces(shape: Sequence[int], itemsize: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut an array into pieces of about `PIECE_BYTES`, in the order of its memory."""
    row_bytes = max(shape[2] * itemsize, 1)
    rows = max(PIECE_BYTES // row_bytes, 1)
    slabs = max(rows // shape[1], 1)
    rows = min(rows, shape[1])
    for i in range(0, shape[0], slabs):
        for j in range(0, shape[1], rows):
            yield (
                slice(i, min(i + slabs, shape[0])),
                slice(j, min(j + rows, shape[1])),
                slice(0, shape[2]),
            )


def _runs(indices: npt.NDArray[np.intp], span: slice) -> Iterator[tuple[slice, slice]]:
    """Bands that stand side by side both in the file and in what is handed over: (to, from)."""
    wanted = indices[span]
    ends = [*(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), wanted.size]
    start = 0
    for end in ends:
        first = int(wanted[start])
        yield slice(span.start + start, span.start + end), slice(first, first + end - start)
        start = end
