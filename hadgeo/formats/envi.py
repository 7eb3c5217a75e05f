"""ENVI: what the text header says, and raw cubes read through a memory map in their own layout.

GDAL hides some of the header (the reflectance scale factor, exact wavelengths, bad bands written as ``1.0``) and
transposes every raw file to BSQ. Here a raw file is mapped, decoded in the order of its bytes and handed on as a view.
Compressed files are not raw: `hadgeo.formats.raster` reads them, with the header of this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.errors import RasterioError

from hadgeo.errors import CubeError, CubeNotFoundError, ReadError
from hadgeo.formats.gdal import NO_CRS, Georeference, georeference, open_dataset
from hadgeo.formats.source import Metadata, Source, decode_bands, decoded_dtype
from hadgeo.formats.wavelengths import NO_WAVELENGTHS, Spectral, first_known, from_names, numbers, spectral, split_list

#: ENVI's numbers for sample types; 6 and 9 are complex.
_DTYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = {6, 9}

#: What data files beside a header are called, in the order in which they are looked for.
_SUFFIXES = ("", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin", ".envi", ".cube")

#: Axis of the bands, and axes that turn a file's own layout into (band, y, x).
_LAYOUT = {"bsq": (0, (0, 1, 2)), "bil": (1, (1, 0, 2)), "bip": (2, (2, 0, 1))}

#: Bytes of a file that a reading thread maps at a time.
MAPPED_BYTES = 32 * 2**20

#: What the kernel may map around a byte that is touched, where the page cache holds large pages.
_PAGE_BYTES = 2**21

_T = TypeVar("_T")

_WHITESPACE = re.compile(r"[\s_]+")


@dataclass(frozen=True)
class Header:
    """The fields of an ENVI header, keys in lower case with single blanks.

    Attributes:
        name: The header file, for messages.
        fields: Text of each field, braces kept.
    """

    name: str
    fields: Mapping[str, str]

    @property
    def compressed(self) -> bool:
        """Whether the data file is gzip-compressed."""
        return self.integer("file compression", 0) != 0

    @property
    def interleave(self) -> str:
        """``bsq``, ``bil`` or ``bip``."""
        value = self.fields.get("interleave", "bsq").strip().lower()
        if value not in _LAYOUT:
            raise CubeError(f"{self.name}: interleave is {value!r}; it must be bsq, bil or bip")
        return value

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        bands, rows, cols = (self.integer(key) for key in ("bands", "lines", "samples"))
        if min(bands, rows, cols) < 1:
            raise CubeError(f"{self.name}: {bands} bands, {rows} lines, {cols} samples: each must be at least 1")
        return bands, rows, cols

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored samples, in the file's byte order."""
        code = self.integer("data type")
        if code in _COMPLEX:
            raise CubeError(f"{self.name}: samples are complex (data type {code}); take their magnitude first")
        if code not in _DTYPES:
            raise CubeError(f"{self.name}: data type {code} is none that ENVI defines; correct the header")
        order = self.integer("byte order", 0)
        if order not in (0, 1):
            raise CubeError(f"{self.name}: byte order is {order}; it must be 0 (little endian) or 1 (big endian)")
        return np.dtype(("<", ">")[order] + _DTYPES[code])

    @property
    def data_bytes(self) -> int:
        """Size of the data file that this header promises."""
        return self.integer("header offset", 0) + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def integer(self, key: str, default: int | None = None) -> int:
        """A field that is a whole number.

        Raises:
            CubeError: It is missing and has no default, or is no whole number.
        """
        text = self.fields.get(key)
        if text is None:
            if default is None:
                raise CubeError(f"{self.name}: the header has no {key!r}; add it")
            return default
        try:
            return int(text.strip().strip("{}"))
        except ValueError:
            raise CubeError(f"{self.name}: {key} is {text!r}, not a whole number; correct the header") from None

    def number(self, key: str) -> float | None:
        """A field that is one number, or None where it is missing."""
        if not self.fields.get(key, "").strip("{} "):
            return None
        values = numbers(self.fields[key], key, self.name)
        return float(values[0])

    def per_band(self, key: str) -> npt.NDArray[np.float64] | None:
        """A list with one number a band, or None where it is missing.

        Raises:
            CubeError: It has another length than the cube has bands.
        """
        if not self.fields.get(key, "").strip("{} "):
            return None
        values = numbers(self.fields[key], key, self.name)
        bands = self.shape[0]
        if values.size != bands:
            raise CubeError(f"{self.name}: {values.size} values of {key} for {bands} bands; correct the header")
        return values

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Names of the bands, or None where there is not one for each."""
        names = tuple(split_list(self.fields.get("band names", "")))
        return names if len(names) == self.shape[0] else None

    @property
    def spectral(self) -> Spectral:
        """Wavelengths, widths and good bands; from the band names where the lists are missing."""
        listed = spectral(self.fields, self.shape[0], self.name)
        return first_known([listed, from_names(self.band_names or ())])

    @property
    def scaling(self) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None, tuple[str, ...]]:
        """Scale and offset, one a band or None, and notes on what was left aside."""
        gain, offset = self.per_band("data gain values"), self.per_band("data offset values")
        factor = self.number("reflectance scale factor")
        notes: tuple[str, ...] = ()
        if gain is not None and (gain == 1.0).all():
            gain = None
        if offset is not None and (offset == 0.0).all():
            offset = None
        if factor is not None and factor not in (0.0, 1.0):
            if gain is None and offset is None:
                gain = np.full(self.shape[0], 1.0 / factor)
            else:
                notes = ("both data gains or offsets and a reflectance scale factor: only the former are applied",)
        return gain, offset, notes


def parse_header(text: str, name: str) -> Header:
    """Read the text of an ENVI header.

    Args:
        text: Its whole content.
        name: The file, for messages.

    Raises:
        CubeError: The text is no ENVI header, or a brace is never closed.
    """
    lines = iter(text.lstrip("\ufeff").splitlines())
    if next(lines, "").strip().upper() != "ENVI":
        raise CubeError(f"{name}: not an ENVI header (its first line is not ENVI); give the data file instead")
    return Header(name, dict(_fields(lines, name)))


def _fields(lines: Iterator[str], name: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith(";"):
            continue
        value = value.strip()
        while value.startswith("{") and value.count("}") < value.count("{"):
            following = next(lines, None)
            if following is None:
                raise CubeError(f"{name}: the brace of {key.strip()!r} is never closed; the header is cut short")
            value += "\n" + following.strip()
        yield normal_key(key), value.rstrip()


def normal_key(key: str) -> str:
    """A key as the fields of a `Header` spell it: lower case, single blanks (GDAL writes underscores)."""
    return _WHITESPACE.sub(" ", key).strip().lower()


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read an ENVI header file.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It is no ENVI header.
    """
    try:
        # Band names and descriptions may hold anything; what matters is ASCII.
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise CubeNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise CubeError(f"{path}: the header cannot be read ({error.strerror or error})") from error
    return parse_header(text, str(path))


def is_header(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as ENVI headers do."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:5].strip().upper() == b"ENVI"


def find_header(path: str | os.PathLike[str]) -> Path | None:
    """The ENVI header of a data file: ``x.img.hdr`` or ``x.hdr`` for ``x.img``, in lower or upper case."""
    return next((header for header in header_names(path) if is_header(header)), None)


def header_names(path: str | os.PathLike[str]) -> list[Path]:
    """What the header of a data file may be called, likeliest first."""
    data = Path(path)
    stems = [data, data.with_suffix("")] if data.suffix else [data]
    return [Path(f"{stem}{suffix}") for stem in stems for suffix in (".hdr", ".HDR", ".Hdr")]


def find_data(header: str | os.PathLike[str]) -> Path:
    """The data file of an ENVI header.

    Raises:
        CubeNotFoundError: None of the usual names exists.
    """
    stem = Path(header).with_suffix("")
    names = [Path(f"{stem}{suffix}") for lower in _SUFFIXES for suffix in dict.fromkeys((lower, lower.upper()))]
    found = [name for name in names if name.is_file()]
    if not found:
        tried = ", ".join(f"{stem.name}{suffix}" for suffix in _SUFFIXES)
        raise CubeNotFoundError(f"{header}: its data file is missing; put one of {tried} beside it")
    return found[0]


class EnviSource(Source):
    """A raw ENVI cube, mapped anew for each window.

    A map lives no longer than one read: threads share nothing, pages that were read do not add up in the process, and
    a file that has become shorter since is an error rather than a bus error.
    """

    def __init__(self, path: str | os.PathLike[str], header: Header | None = None, data: Path | None = None) -> None:
        """Open a cube; only its header is read.

        Args:
            path: The file as the user named it.
            header: Its header; looked for beside the file by default.
            data: The data file, where `path` is the header.

        Raises:
            CubeNotFoundError: There is no header.
            CubeError: The header cannot be used, or promises more bytes than there are.
        """
        self.path = os.fspath(path)
        # Absolute, because a worker may reopen it from another directory.
        self._file = Path(data or path).absolute()
        if header is None:
            found = find_header(self._file)
            if found is None:
                raise CubeNotFoundError(f"{path}: no ENVI header beside it; expected {header_names(path)[-1].name}")
            header = read_header(found)
        self.shape = header.shape
        self.block = None
        self._check(header)
        self._stored = header.dtype
        self._skip = header.integer("header offset", 0)
        self._band_axis, self._to_bsq = _LAYOUT[header.interleave]
        self.dtype = decoded_dtype(self._stored)
        self.metadata = header_metadata(header, _locate(self._file))
        if self.metadata.nodata is None:
            self._look_for_fill()

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window in the file's own layout and hand it over as a (band, y, x) view; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        extent = self._in_layout(indices.size, rows.stop - rows.start, cols.stop - cols.start)
        out = np.empty(extent, self.dtype)
        if self._band_axis == 0:
            self._announce(rows, indices)
        for part in self._parts(extent):
            if self._band_axis == 0:
                chosen, lines = indices[part], rows
            else:
                chosen, lines = indices, slice(rows.start + part.start, rows.start + part.stop)
            raw = self._map()[self._in_layout(slice(None), lines, cols)]
            decode_bands(raw, self.metadata, chosen, self._band_axis, out[part])
        return out.transpose(self._to_bsq)

    def _announce(self, rows: slice, indices: npt.NDArray[np.intp]) -> None:
        """Let the kernel fetch a window's piece of every band at once: one after the other, a disk would wait for us."""
        if not hasattr(os, "posix_fadvise"):
            return
        _, height, width = self.shape
        line = width * self._stored.itemsize
        try:
            descriptor = os.open(self._file, os.O_RDONLY)
        except OSError:
            return  # The map says what is wrong.
        try:
            for band in indices.tolist():
                start = self._skip + (band * height + rows.start) * line
                os.posix_fadvise(descriptor, start, (rows.stop - rows.start) * line, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

    def _in_layout(self, band: _T, row: _T, col: _T) -> tuple[_T, ...]:
        parts = [row, col]
        parts.insert(self._band_axis, band)
        return tuple(parts)

    def _parts(self, extent: tuple[int, ...]) -> Iterator[slice]:
        """Cut a window along the slowest axis of the file, so that no map ever holds more than `MAPPED_BYTES`."""
        itemsize = self._stored.itemsize
        used = extent[1] * extent[2] * itemsize
        whole = int(np.prod(self._in_layout(*self.shape)[1:], dtype=object)) * itemsize
        step = max(MAPPED_BYTES // max(min(whole, used + 2 * _PAGE_BYTES), 1), 1)
        for start in range(0, extent[0], step):
            yield slice(start, min(start + step, extent[0]))

    def _look_for_fill(self) -> None:
        """Take for nodata what fills a corner in every band, below zero, where the header names no fill value.

        AVIRIS lines are delivered so: -9999 or -50 around a rotated line, and not a word of it in the header.
        """
        count, height, width = self.shape
        if count == 1 or self.metadata.scale is not None or self.metadata.offset is not None:
            return
        some = np.unique(np.linspace(0, count - 1, 16).astype(np.intp))
        for row in {0, height - 1}:
            for col in {0, width - 1}:
                spectrum = self.read(slice(row, row + 1), slice(col, col + 1), some)
                value = float(spectrum[0, 0, 0])
                if value < 0 and (spectrum == spectrum[0]).all():
                    note = (
                        f"no data ignore value in the header, but a corner is {value:g} in every band: taken for nodata"
                    )
                    self.metadata = replace(self.metadata, nodata=value, warnings=(*self.metadata.warnings, note))
                    return

    def _map(self) -> npt.NDArray[Any]:
        try:
            # A map checks the file's size itself, and so a file that was cut short since cannot fault.
            mapped = np.memmap(self._file, self._stored, "r", self._skip, self._in_layout(*self.shape))
        except (OSError, ValueError) as error:
            raise ReadError(
                f"{self.path}: cannot be read any more ({error}); it was moved or cut short after it was opened"
            ) from error
        return np.asarray(mapped)

    def _check(self, header: Header) -> None:
        for key in ("major frame offsets", "minor frame offsets"):
            if any(numbers(header.fields.get(key, ""), key, header.name)):
                raise CubeError(f"{header.name}: {key} are not supported; write the cube without them")
        try:
            size = self._file.stat().st_size
        except OSError as error:
            raise CubeNotFoundError(f"{self.path}: no such file") from error
        if size < header.data_bytes:
            raise CubeError(
                f"{self.path}: {size} bytes, but its header promises {header.data_bytes} "
                f"({' x '.join(map(str, header.shape))} of {header.dtype.name}); the file is cut short: copy it again"
            )


def header_metadata(header: Header, place: Georeference) -> Metadata:
    """Metadata of an ENVI cube.

    Args:
        header: Its header, which has the last word on everything but the place.
        place: Where it lies, as GDAL understands ``map info``.
    """
    bands = header.shape[0]
    known = header.spectral
    scale, offset, notes = header.scaling
    missing = () if known.wavelength is not None else (NO_WAVELENGTHS,)
    return Metadata(
        driver="ENVI",
        stored_dtype=header.dtype,
        interleave=header.interleave,
        crs=place.crs,
        transform=place.transform,
        georeferenced=place.georeferenced,
        wavelength=known.wavelength,
        fwhm=known.fwhm,
        good=known.good if known.good is not None else np.ones(bands, dtype=bool),
        nodata=header.number("data ignore value"),
        scale=scale,
        offset=offset,
        band_names=header.band_names,
        warnings=(*place.warnings, *known.warnings, *missing, *notes),
    )


def _locate(file: Path) -> Georeference:
    try:
        with open_dataset(str(file)) as dataset:
            return georeference(dataset)
    except RasterioError as error:
        reason = " ".join(str(error).split())
        return Georeference(None, Affine.identity(), False, (f"GDAL cannot tell where it lies ({reason})", NO_CRS))
