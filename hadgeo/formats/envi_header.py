"""ENVI headers: what their text says, and which file belongs to which.

Text that GDAL hides or rounds is kept: the reflectance scale factor, exact wavelengths, bad bands written as ``1.0``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats.wavelengths import Spectral, first_known, from_names, numbers, spectral, split_list

#: ENVI's numbers for sample types; 6 and 9 are complex.
_DTYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = {6, 9}

#: What data files beside a header are called, in the order in which they are looked for.
_SUFFIXES = ("", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin", ".envi", ".cube")

#: Axis of the bands, and axes that turn a file's own layout into (band, y, x).
LAYOUT = {"bsq": (0, (0, 1, 2)), "bil": (1, (1, 0, 2)), "bip": (2, (2, 0, 1))}

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
        if value not in LAYOUT:
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
