"""ENVI: raw cubes read in their own layout.

GDAL transposes every raw file to BSQ. Here a raw file is read piece by piece, decoded in the order of its bytes and
handed on as a view.
Compressed files are not raw: `hadgeo.formats.raster` reads them, with the metadata of their header.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError

from hadgeo.errors import CubeError, CubeNotFoundError, ReadError
from hadgeo.formats.envi_header import (
    LAYOUT,
    Header,
    find_data,
    find_header,
    header_names,
    is_header,
    may_be_data,
    read_header,
)
from hadgeo.formats.envi_metadata import header_metadata
from hadgeo.formats.esri_header import is_esri_header
from hadgeo.formats.gdal import Georeference, georeference, listening, missing, open_dataset, told
from hadgeo.formats.magic import foreign_format
from hadgeo.formats.map_info import locate
from hadgeo.formats.number_lists import numbers
from hadgeo.formats.raster import RasterSource
from hadgeo.formats.raw import GAP_BYTES, RawFile
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Source, decode_bands, decoded_dtype
from hadgeo.formats.stored import Stored, gather, may_send_stored
from hadgeo.grid import Grid

#: Stored bytes that a reading thread holds at a time, where a line is not longer.
READ_BYTES = 2**20

_T = TypeVar("_T")


class EnviSource(Source):
    """A raw ENVI cube, opened anew for each window.

    Threads share nothing, a file that has become shorter is an error, and so is a disk that fails: under a memory map
    both would end the process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Header | None = None,
        data: Path | None = None,
        *,
        reading: Reading = AS_IT_SAYS,
    ) -> None:
        """Open a cube; only its header is read.

        Args:
            path: The file as the user named it.
            header: Its header; looked for beside the file by default.
            data: The data file, where `path` is the header.
            reading: What the user says of it.

        Raises:
            CubeNotFoundError: There is no header.
            CubeError: The header cannot be used, or promises more bytes than there are.
        """
        self.path = os.fspath(path)
        self._reading = reading
        # Absolute, because a worker may reopen it from another directory.
        self._file = Path(data or path).absolute()
        if header is None:
            found = find_header(self._file)
            if found is None:
                raise CubeNotFoundError(f"{path}: no ENVI header next to it; expected {header_names(path)[-1].name}")
            header = read_header(found)
        self._header = Path(header.name).absolute()
        self.shape = header.shape
        self.block = None
        excess = self._check(header)
        self._stored = header.dtype
        self._skip = header.integer("header offset", 0)
        self._band_axis, self._to_bsq = LAYOUT[header.interleave]
        self.dtype = decoded_dtype(self._stored)
        self.metadata = header_metadata(header, _locate(self._file, header, reading))
        if excess:
            self.metadata = replace(self.metadata, warnings=(*self.metadata.warnings, excess))

    @property
    def files(self) -> tuple[Path, ...]:
        """The data and its header; see `Source.files`."""
        return (self._file, self._header)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window in the file's own layout and hand it over as a (band, y, x) view; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        out = np.empty(self._in_layout(indices.size, rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        try:
            with self._file.open("rb", buffering=0) as file:
                self._read(file, rows, cols, indices, out)
        except OSError as error:
            raise self._unreadable(rows, error) from error
        return out.transpose(self._to_bsq)

    def read_stored(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)) -> Stored | None:
        """Read a window of small integers as it is stored; see `Source.read_stored`."""
        indices = np.arange(self.shape[0])[bands]
        if not may_send_stored(self._stored) or not indices.size:
            return None
        runs = [held for _, held in self._runs(indices)]
        try:
            with self._file.open("rb", buffering=0) as file:
                if self._band_axis == 0:
                    self._announce(file, rows, indices)
                raw = RawFile(file, self._in_layout(*self.shape), self._stored, self._skip)
                parts = [raw.box(self._in_layout(held, rows, cols)) for held in runs]
        except OSError as error:
            raise self._unreadable(rows, error) from error
        firsts = [held.start for held in runs]
        return gather(
            parts, firsts, metadata=self.metadata, bands=indices, band_axis=self._band_axis, to_bsq=self._to_bsq
        )

    def _read(
        self, file: FileIO, rows: slice, cols: slice, indices: npt.NDArray[np.intp], out: npt.NDArray[np.floating[Any]]
    ) -> None:
        """Read and decode a window, in the file's layout."""
        if self._band_axis == 0:
            self._announce(file, rows, indices)
        raw = RawFile(file, self._in_layout(*self.shape), self._stored, self._skip)
        runs = self._runs(indices)
        most = max((bands.stop - bands.start for _, bands in runs), default=1)
        step = max(READ_BYTES // max(most * (cols.stop - cols.start) * self._stored.itemsize, 1), 1)
        for row in range(rows.start, rows.stop, step):
            piece = slice(row, min(row + step, rows.stop))
            written = slice(piece.start - rows.start, piece.stop - rows.start)
            for wanted, bands in runs:
                decode_bands(
                    raw.box(self._in_layout(bands, piece, cols)),
                    self.metadata,
                    indices[wanted],
                    self._band_axis,
                    out[self._in_layout(wanted, written, slice(None))],
                    first=bands.start,
                )

    def _runs(self, indices: npt.NDArray[np.intp]) -> list[tuple[slice, slice]]:
        """Wanted bands that are read together: which of those asked for, and from where to where in the file."""
        if not indices.size:
            return []
        if self._band_axis == 2:
            # A spectrum is read whole.
            return [(slice(0, indices.size), slice(0, self.shape[0]))]
        line = self.shape[2] * self._stored.itemsize
        reach = 1 + GAP_BYTES // line if self._band_axis == 1 else 0
        steps = np.diff(indices)
        ends = [*(np.flatnonzero((steps < 1) | (steps > reach)) + 1).tolist(), indices.size]
        return [
            (slice(start, end), slice(int(indices[start]), int(indices[end - 1]) + 1))
            for start, end in zip([0, *ends], ends, strict=False)
        ]

    def _announce(self, file: FileIO, rows: slice, indices: npt.NDArray[np.intp]) -> None:
        """Let the kernel fetch a window's piece of every band at once: one by one, the disk would wait for us."""
        if not hasattr(os, "posix_fadvise"):
            return
        _, height, width = self.shape
        line = width * self._stored.itemsize
        for band in indices.tolist():
            start = self._skip + (band * height + rows.start) * line
            os.posix_fadvise(file.fileno(), start, (rows.stop - rows.start) * line, os.POSIX_FADV_WILLNEED)

    def _in_layout(self, band: _T, row: _T, col: _T) -> tuple[_T, _T, _T]:
        parts = [row, col]
        parts.insert(self._band_axis, band)
        return (parts[0], parts[1], parts[2])

    def _unreadable(self, rows: slice, error: OSError) -> ReadError:
        bands, _, width = self.shape
        ends = [self._in_layout(0, rows.start, 0), self._in_layout(bands - 1, rows.stop - 1, width - 1)]
        samples = [int(np.ravel_multi_index(end, self._in_layout(*self.shape))) for end in ends]
        first, last = (self._skip + sample * self._stored.itemsize for sample in samples)
        return ReadError(
            f"{self.path}: rows {rows.start} to {rows.stop - 1}, bytes {first} to "
            f"{last + self._stored.itemsize - 1}, can no longer be read ({error.strerror or error}); "
            "was it moved or cut short after it was opened, or is its disk failing?"
        )

    def _check(self, header: Header) -> str | None:
        """Check that the file can hold what its header promises, and say where it holds much more."""
        for key in ("major frame offsets", "minor frame offsets"):
            if any(numbers(header.fields.get(key, ""), key, header.name)):
                raise CubeError(f"{header.name}: {key} are not supported; save the cube without them")
        try:
            size = self._file.stat().st_size
        except OSError as error:
            raise CubeNotFoundError(f"{self.path}: no such file") from error
        if size < header.data_bytes:
            raise CubeError(
                f"{self.path}: {size} bytes, but its header specifies {header.data_bytes} "
                f"({' x '.join(map(str, header.shape))} of {header.dtype.name}); the file is cut short: copy it again"
            )
        bands, _, width = header.shape
        if size - header.data_bytes < bands * width * header.dtype.itemsize:
            return None
        return (
            f"{size} bytes, but its header specifies {header.data_bytes}: are lines, samples, bands, data type and "
            "header offset right?"
        )


def _locate(file: Path, header: Header, reading: Reading) -> Georeference:
    """Where a cube lies, and what GDAL warned of when it was asked."""
    with listening() as heard:
        try:
            with open_dataset(str(file)) as dataset:
                by_gdal = georeference(dataset)
        except RasterioError as error:
            reason = " ".join(str(error).split())
            grid = Grid(header.shape[1:])
            by_gdal = Georeference(grid, (f"GDAL cannot georeference it ({reason})", *missing(grid)))
            heard.clear()
    located = locate(header.fields, by_gdal, reading.place)
    return replace(located, warnings=(*located.warnings, *told(heard)))


class EnviFormat:
    """ENVI, named by its header or by the data beside it; see `hadgeo.formats.registry.Format`."""

    title = "ENVI"

    def claims(self, name: str) -> bool:
        """Whether it is a header, or a file with a header beside it that can describe it."""
        file = Path(name)
        if not file.is_file():
            return False
        if file.suffix.lower() == ".hdr":
            return True
        found = find_header(file)
        if found is None:
            return False
        try:
            return foreign_format(file) is None or may_be_data(file, read_header(found))
        except CubeError:
            # Opening it will say what is wrong with the header.
            return True

    def open(self, name: str, reading: Reading) -> Source:
        """Open a raw cube, or through GDAL one that is compressed or has its samples in a TIFF; see `Format.open`."""
        file = Path(name)
        if file.suffix.lower() != ".hdr":
            found = find_header(file)
            assert found is not None  # since `claims` has found it
            header, data = read_header(found), file
            header.check_image()
        elif not is_header(file) and is_esri_header(file):
            return RasterSource(name, None, find_data(file), reading=reading)
        else:
            header = read_header(file)
            header.check_image()
            data = find_data(file, header)
        if header.compressed:
            _check_compressed(header, data)
            return RasterSource(name, header, data, reading=reading)
        return _open_typed(name, header, data, reading)


def _check_compressed(header: Header, data: Path) -> None:
    """Refuse a compressed file that holds less than its header promises: GDAL would read 0 for the rest.

    Raises:
        CubeError: It is cut short, damaged, or not compressed at all.
    """
    promised = header.data_bytes
    try:
        with data.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(-4, os.SEEK_END)
            # A gzip file ends with the size of its contents, or of their last part where it was packed in several.
            told = int.from_bytes(file.read(4), "little")
        if not is_gzip:
            raise CubeError(
                f"{data}: not compressed with gzip, as file compression in {header.name} says; correct the header"
            )
        held = promised if told == promised % 2**32 else _unpacked(data)
    except (OSError, EOFError, zlib.error) as error:
        raise CubeError(f"{data}: cannot be unpacked ({error}); it is damaged or cut short: copy it again") from error
    if held < promised:
        raise CubeError(
            f"{data}: {held} bytes when unpacked, but its header specifies {promised}; it is cut short: copy it again"
        )


def _unpacked(data: Path) -> int:
    """Bytes of a file when it is unpacked, which takes as long as reading it."""
    held = 0
    with gzip.open(data) as file:
        while piece := file.read(READ_BYTES):
            held += len(piece)
    return held


def _open_typed(name: str, header: Header, data: Path, reading: Reading) -> Source:
    """Open data by what the header says of their kind, where it is no lie."""
    kind = foreign_format(data, header.data_bytes)
    if header.file_type.startswith("tiff") or (kind == "TIFF" and not header.raw):
        return RasterSource(name, header, data, reading=reading)
    if kind is not None:
        return RasterSource(name, None, data, reading=reading)
    if not header.raw and data.stat().st_size != header.data_bytes:
        raise CubeError(
            f"{header.name}: file type is {header.fields['file type']!r}, but {data.name} is in no known format and "
            "not raw; convert it to ENVI's own format"
        )
    return EnviSource(name, header, data, reading=reading)


ENVI = EnviFormat()
