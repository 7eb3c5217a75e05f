"""ENVI headers: what their text says, and which file belongs to which.

Text that GDAL hides or rounds is kept: the reflectance scale factor, exact wavelengths, bad bands written as ``1.0``.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats.magic import foreign_format
from hadgeo.formats.number_lists import numbers, shown, split_list
from hadgeo.formats.wavelengths import Spectral, first_known, from_names, spectral

#: ENVI's numbers for sample types; 6 and 9 are complex.
_DTYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = {6, 9}

#: What data files beside a header are called, in the order in which they are looked for.
RAW_SUFFIXES = (
    *("", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin", ".envi", ".cube"),
    *(".hyspex", ".rfl", ".rdn", ".ref", ".rad", ".float", ".sli"),
)

#: ``file type`` of headers that describe no image, in lower case, and what they describe.
_NO_IMAGE = {
    "envi spectral library": "a spectral library, not an image; give the image to search",
    "envi meta file": "a list of other files, not an image; give one of them, or merge them into one file",
    "envi virtual mosaic": "a list of other files, not an image; give one of them, or merge them into one file",
    "envi calibration": "a calibration file, not an image; give the image it belongs to",
}

#: ``file type`` of raw images.
_RAW_TYPES = {"", "envi", "envi standard", "standard", "envi classification", "envi fft result", "envi mask"}

#: Longest whole number that a header may hold: more bytes than there are disks for.
_MOST_DIGITS = 18

#: Axis of the bands, and axes that turn a file's own layout into (band, y, x).
LAYOUT = {"bsq": (0, (0, 1, 2)), "bil": (1, (1, 0, 2)), "bip": (2, (2, 0, 1))}

#: Keys by which samples are found in the file; of any other, a second value is merely told.
_LAYOUT_KEYS = {
    *("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order", "file type"),
    *("file compression", "reflectance scale factor", "data gain values", "data offset values"),
}

#: Most keys of a header: its own have a few dozen, and GDAL's time grows with their square.
_MOST_KEYS = 2000

_WHITESPACE = re.compile(r"[\s_]+")

#: Keys whose lists Python or people write in other brackets than braces, on several lines.
_LISTS = re.compile(r"wavelengths?\b.*|.*\bwavelengths?|fwhms?|band ?widths?|bbl|data (gain|offset) values|band names")

#: A key whose list begins on the next line.
_LATE_LIST = re.compile(r"^([^=\n;{}]+=)[ \t]*\n\s*(?=\{)", re.MULTILINE)

_CLOSING = {"{": "}", "[": "]", "(": ")"}


@dataclass(frozen=True)
class Header:
    """The fields of an ENVI header, keys in lower case with single blanks.

    Attributes:
        name: The header file, for messages.
        fields: Text of each field, braces kept; of a key that occurs twice, the last.
        twice: Keys that occur twice and say something else each time.
    """

    name: str
    fields: Mapping[str, str]
    twice: tuple[str, ...] = ()

    @property
    def compressed(self) -> bool:
        """Whether the data file is gzip-compressed."""
        return self.integer("file compression", 0) != 0

    @property
    def file_type(self) -> str:
        """What it says of its data file, in lower case with single blanks; empty where it says nothing."""
        return " ".join(self.fields.get("file type", "").strip("{}\"' ").lower().split())

    @property
    def raw(self) -> bool:
        """Whether its data file is said to be raw, or nothing is said of it."""
        return self.file_type in _RAW_TYPES

    def check_image(self) -> None:
        """Check that the header describes an image at all.

        Raises:
            CubeError: It describes a spectral library, a list of other files or a calibration.
        """
        what = _NO_IMAGE.get(self.file_type)
        if what is None and self.file_type.endswith("calibration"):
            what = _NO_IMAGE["envi calibration"]
        if what is None and "spectra names" in self.fields and self.fields.get("bands", "1").strip() == "1":
            what = _NO_IMAGE["envi spectral library"]
        if what is None and not {"samples", "lines", "bands"} & set(self.fields):
            what = "no samples, lines and bands in the header: it describes a calibration or a list, not an image"
        if what is not None:
            raise CubeError(f"{self.name}: {what}")
        unclear = [key for key in self.twice if key in _LAYOUT_KEYS]
        if unclear:
            raise CubeError(
                f"{self.name}: two different values of {unclear[0]}; delete the wrong one, since it decides how the "
                "samples are read"
            )

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
            raise CubeError(f"{self.name}: samples are complex (data type {code}); convert them to magnitudes first")
        if code not in _DTYPES:
            raise CubeError(f"{self.name}: data type {code} is not an ENVI data type; correct the header")
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
        digits = text.strip().strip("{}").strip()
        if len(digits) > _MOST_DIGITS:
            raise CubeError(f"{self.name}: {key} is {shown(digits)}, of {len(digits)} digits; correct the header")
        try:
            return int(digits)
        except ValueError:
            raise CubeError(f"{self.name}: {key} is {shown(text)}, not a whole number; correct the header") from None

    def number(self, key: str) -> float | None:
        """A field that is one number, or None where it is missing.

        Raises:
            CubeError: It holds something else.
        """
        if not self.fields.get(key, "").strip("{} "):
            return None
        values = numbers(self.fields[key], key, self.name)
        if not values.size:
            raise CubeError(f"{self.name}: {key} is {shown(self.fields[key])}, not a number; correct the header")
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
        """Scale and offset, one a band or None, and notes on what was ignored or not taken literally."""
        gain, offset = self.per_band("data gain values"), self.per_band("data offset values")
        factor = self.number("reflectance scale factor")
        notes: tuple[str, ...] = ()
        if factor is not None and not 0 < factor < np.inf:
            notes = (f"reflectance scale factor = {factor:g} cannot be one: ignored",)
            factor = None
        elif factor is not None and factor < 1:
            # ENVI divides by it to get from 0 to 1; dividing by 0.0001 leads away from there.
            notes = (f"reflectance scale factor = {factor:g} is less than 1: multiplied by it, not divided",)
            factor = 1 / factor
        if gain is not None and (gain == 1.0).all():
            gain = None
        if offset is not None and (offset == 0.0).all():
            offset = None
        if factor is not None and factor != 1.0:
            if gain is None and offset is None:
                gain = np.full(self.shape[0], 1.0 / factor)
            else:
                notes = (
                    "both data gains or offsets and a reflectance scale factor: only the gains and offsets are applied",
                )
        return gain, offset, notes


def parse_header(text: str, name: str) -> Header:
    """Read the text of an ENVI header.

    Args:
        text: Its whole content.
        name: The file, for messages.

    Raises:
        CubeError: The text is no ENVI header, or a brace is never closed.
    """
    lines = iter(_LATE_LIST.sub(r"\1 ", "\n".join(text.lstrip("\ufeff").splitlines())).split("\n"))
    if next(lines, "").strip().upper() != "ENVI":
        raise CubeError(f"{name}: not an ENVI header (its first line is not ENVI); give the data file instead")
    fields: dict[str, str] = {}
    twice: list[str] = []
    for key, value in _fields(lines, name):
        if key in fields and "".join(fields[key].lower().split()) != "".join(value.lower().split()):
            twice.append(key)
        fields[key] = value
    return Header(name, fields, tuple(dict.fromkeys(twice)))


def _fields(lines: Iterator[str], name: str) -> Iterator[tuple[str, str]]:
    found = 0
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            continue
        found += 1
        if found > _MOST_KEYS:
            raise CubeError(f"{name}: more than {_MOST_KEYS} keys; no header of a cube has so many: correct it")
        if line.lstrip().startswith(";"):
            continue
        usual, value = normal_key(key), value.strip()
        if value.startswith("{") or (value.startswith(("[", "(")) and _LISTS.fullmatch(usual)):
            value = _bracketed(value, lines, f"{name}: the bracket of {shown(key)} is never closed")
        yield usual, value.rstrip()


def _bracketed(value: str, lines: Iterator[str], complaint: str) -> str:
    """A value that goes on until its bracket is closed; lines of comments within it are left out."""
    opening = value[0]
    closing = _CLOSING[opening]
    parts = [value]
    depth = value.count(opening) - value.count(closing)
    while depth > 0:
        following = next(lines, None)
        if following is None:
            raise CubeError(f"{complaint}; the header is cut short")
        following = following.strip()
        if not following.startswith(";"):
            parts.append(following)
            depth += following.count(opening) - following.count(closing)
    return "\n".join(parts)


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
        text = _decoded(Path(path).read_bytes())
    except FileNotFoundError:
        raise CubeNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise CubeError(f"{path}: the header cannot be read ({error.strerror or error})") from error
    return parse_header(text, str(path))


def is_header(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as ENVI headers do."""
    try:
        with Path(path).open("rb") as file:
            start = _decoded(file.read(64))
    except OSError:
        return False
    return start.lstrip("\ufeff \t\r\n")[:5].strip().upper() == "ENVI"


def _decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where it says so, as Windows' editors save it."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8", errors="replace")


def find_header(path: str | os.PathLike[str]) -> Path | None:
    """The ENVI header of a data file: ``x.img.hdr`` or ``x.hdr`` for ``x.img``, in lower or upper case."""
    return next((header for header in header_names(path) if is_header(header)), None)


def header_names(path: str | os.PathLike[str]) -> list[Path]:
    """What the header of a data file may be called, likeliest first."""
    data = Path(path)
    stems = [data, data.with_suffix("")] if data.suffix else [data]
    return [Path(f"{stem}{suffix}") for stem in stems for suffix in (".hdr", ".HDR", ".Hdr")]


def find_data(path: str | os.PathLike[str], header: Header | None = None) -> Path:
    """The data file of an ENVI header.

    Args:
        path: The header.
        header: What it says; with it, files that cannot be its data are passed over.

    Raises:
        CubeNotFoundError: There is none of the usual names, and not exactly one other that is as large as promised.
        CubeError: There are several that are.
    """
    stem = Path(path).with_suffix("")
    names = [Path(f"{stem}{suffix}") for lower in RAW_SUFFIXES for suffix in dict.fromkeys((lower, lower.upper()))]
    found = [name for name in names if name.is_file()]
    fitting = [name for name in found if header is None or may_be_data(name, header)]
    equal = [] if header is None else _distinct([name for name in fitting if _as_promised(name, header)])
    if len(equal) > 1:
        raise CubeError(f"{path}: {_why_none(stem, [], equal)}")
    if fitting:
        return next((name for name in fitting if header is not None and _as_promised(name, header)), fitting[0])
    others = [] if header is None else [name for name in _beside(stem) if _as_promised(name, header)]
    if len(others) == 1:
        return others[0]
    raise CubeNotFoundError(f"{path}: {_why_none(stem, found, others)}")


def _distinct(names: Sequence[Path]) -> list[Path]:
    """Names of different files: where capitals do not count, two may be of the same one."""
    return [name for at, name in enumerate(names) if not any(name.samefile(other) for other in names[:at])]


def _why_none(stem: Path, found: Sequence[Path], others: Sequence[Path]) -> str:
    if found:
        kind = foreign_format(found[0]) or "something else"
        return f"{found[0].name} next to it is {kind}, not its data; give {found[0].name} itself, or the right data"
    if others:
        names = ", ".join(name.name for name in others[:5])
        return f"several files could be its data ({names}); give the right one directly"
    tried = ", ".join(f"{stem.name}{suffix}" for suffix in RAW_SUFFIXES)
    return f"its data file is missing; put one of {tried} next to it"


def may_be_data(file: Path, header: Header) -> bool:
    """Whether a file can be what a header describes: raw where it says so, by the file's first bytes."""
    return header.compressed or not header.raw or foreign_format(file, _promised(header)) is None


def _promised(header: Header) -> int | None:
    try:
        return None if header.compressed else header.data_bytes
    except CubeError:
        return None


def _beside(stem: Path) -> list[Path]:
    """Other files of the same stem, whatever their suffix."""
    try:
        names = sorted(stem.parent.iterdir())
    except OSError:
        return []
    return [name for name in names if name.stem == stem.name and name.suffix.lower() != ".hdr" and name.is_file()]


def _as_promised(file: Path, header: Header) -> bool:
    """Whether a file is exactly as large as its header promises, and not of another format."""
    try:
        size = file.stat().st_size
    except OSError:
        return False
    return size == _promised(header) and may_be_data(file, header)
