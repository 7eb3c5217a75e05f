"""Spectra from files: text as spectrometers and libraries write it, and ENVI spectral libraries.

Text has wavelengths in its first column and values in the second, or in several of which one is named, with any
separator, comments and headings; ``Name:`` and ``X Units:`` as the ECOSTRESS library has them are understood. The unit
of wavelengths is judged by their magnitude where the file does not name it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hadgeo.errors import CubeError, TargetError, refusing
from hadgeo.formats.envi_header import Header, find_data, find_header, is_header, read_header
from hadgeo.formats.number_lists import shown, split_list
from hadgeo.formats.spectral_units import counts, is_no_wavelength, reciprocal_factor, unit_factor, wavelengths_in_nm
from hadgeo.formats.wavelengths import spectral
from hadgeo.run.matching.target import Target, Values, choose, make_target, split_choice

#: Larger files hold no spectrum.
_MOST_BYTES = 64 * 2**20

#: What begins a line of comment.
_COMMENTS = ("#", ";", "!", "%", "//")

#: What stands for a value that is missing.
_MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}

#: Names of columns that say how uncertain the one before is.
_UNCERTAINTY = re.compile(r"std|dev|err|sigma|uncert", re.IGNORECASE)

#: Numbers with decimal commas, separated by blanks.
_DECIMAL_COMMAS = re.compile(r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?(?:\s+[-+]?\d+,\d+(?:[eE][-+]?\d+)?)+")

#: What says that values are in percent, in the heading of their column.
_PERCENT = re.compile(r"%|\bpercent\b|\bpct\b", re.IGNORECASE)

_KEY = re.compile(r"^([A-Za-z][A-Za-z ]*):\s*(.*)$")
_BRACKETED = re.compile(r"\(([^()]+)\)|\[([^\[\]]+)\]")


def read_spectrum(name: str | os.PathLike[str]) -> Target:
    """Read a spectrum.

    Args:
        name: A text file or an ENVI spectral library (its data or its header), with ``#NAME`` or ``#NUMBER`` behind it
            where it contains several spectra.

    Raises:
        TargetNotFoundError: There is no such file.
        TargetError: It holds no spectrum, or several and none is named; the message lists them.
    """
    path, chosen = split_choice(name)
    header = path if is_header(path) else find_header(path)
    try:
        with refusing(TargetError, f"{path}: not readable as a spectrum", "save it again as text or CSV"):
            return _of_text(path, chosen) if header is None else _of_library(path, header, chosen)
    except CubeError as error:
        raise TargetError(str(error)) from None


def _of_library(path: Path, header_path: Path, chosen: str | None) -> Target:
    header = read_header(header_path)
    if not ("spectral library" in header.file_type or "spectra names" in header.fields):
        raise TargetError(
            f"{path}: an ENVI image, not a spectral library; for the spectrum of an anomaly in it, use --like"
        )
    data = path if path != header_path else find_data(header_path, header)
    one, lines, samples = header.shape
    if one != 1:
        raise TargetError(f"{header_path}: {one} bands; a spectral library has 1, with one spectrum in each line")
    _check_whole(header, data, lines * samples)
    names = split_list(header.fields.get("spectra names", ""))
    if len(names) != lines:
        names = [f"spectrum {number}" for number in range(1, lines + 1)]
    number = choose(names, chosen, path)
    told = spectral(header.fields, samples, str(header_path))
    if told.wavelength is None:
        raise TargetError(f"{header_path}: {_why_no_wavelengths(told.warnings)}; add them to the header")
    values = _line(header, data, number, samples)
    nodata = header.number("data ignore value")
    if nodata is not None:
        values[values == nodata] = np.nan
    return make_target(
        names[number],
        f"{path}#{names[number]}",
        values / (header.number("reflectance scale factor") or 1.0),
        told.wavelength,
        told.fwhm,
        files=(data, header_path),
        notes=told.assumed,
    )


def _why_no_wavelengths(notes: Sequence[str]) -> str:
    return "; ".join(("no wavelengths", *notes))


def _check_whole(header: Header, data: Path, values: int) -> None:
    """Refuse a library that holds fewer values than its header says, before anything is made for each of them."""
    try:
        held = data.stat().st_size
    except OSError as error:
        raise TargetError(f"{data}: cannot be read ({error.strerror or error})") from None
    if header.compressed or held < header.integer("header offset", 0) + values * header.dtype.itemsize:
        reason = "compressed" if header.compressed else "shorter than its header says"
        raise TargetError(f"{data}: the spectral library is {reason}; save it again, uncompressed and whole")


def _line(header: Header, data: Path, number: int, samples: int) -> Values:
    """One line of a library's data."""
    dtype = header.dtype
    offset = header.integer("header offset", 0) + number * samples * dtype.itemsize
    try:
        with data.open("rb") as file:
            file.seek(offset)
            stored = file.read(samples * dtype.itemsize)
    except OSError as error:
        raise TargetError(f"{data}: cannot be read ({error.strerror or error})") from None
    return np.frombuffer(stored, dtype=dtype).astype(np.float64)


@dataclass
class _Text:
    """What a text file says.

    Attributes:
        rows: Cells of its rows of numbers.
        sizes: The number of the line of each row, and how many cells it has, empty ones behind the last included.
        heads: Words of the line before the first row, one a column.
        keys: What stands behind ``Name:`` and the like.
    """

    rows: list[list[str]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)


def _of_text(path: Path, chosen: str | None) -> Target:
    text = _parse(_text(path), path)
    columns = min(map(len, text.rows), default=0)
    if columns == 0:
        raise TargetError(
            f"{path}: no rows of numbers in it; give two columns of text, wavelength and value, or an ENVI spectral "
            "library"
        )
    if columns == 1:
        raise TargetError(f"{path}: one column of numbers; put the wavelength of each value in a column before it")
    column, name = _column(text, columns, chosen, path)
    unit = _unit(text)
    if unit and is_no_wavelength(unit):
        raise TargetError(f"{path}: its first column is in {unit!r}; convert it to wavelengths")
    numbers = np.array([[_number(cells[i]) for i in (0, column)] for cells in text.rows], dtype=np.float64)
    if counts(numbers[:, 0]):
        raise TargetError(f"{path}: its first column merely counts the values; put their wavelengths there")
    reciprocal = reciprocal_factor(unit) if unit else None
    if reciprocal is not None:
        numbers[:, 0] = reciprocal / np.where(numbers[:, 0] > 0, numbers[:, 0], np.nan)
    named = 1.0 if reciprocal is not None else unit_factor(unit) if unit else None
    wavelength, _, note = wavelengths_in_nm(numbers[:, 0], named)
    if wavelength is None:
        raise TargetError(f"{path}: its first column holds no wavelengths; put wavelengths in nm or µm there")
    values, notes = numbers[:, 1], [note] if note else []
    heads = text.heads if len(text.heads) >= columns else []
    if "percent" in text.keys.get("y units", "").lower() or (heads and _PERCENT.search(heads[column])):
        values = values / 100
        notes.append("values in percent")
    return make_target(name, str(path), values, wavelength, files=(path,), notes=notes)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise TargetError(f"{path}: too large for the text of a spectrum; give ASCII, CSV or a spectral library")
        content = path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path}: cannot be read ({error.strerror or error})") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        # What spreadsheets call Unicode text.
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise TargetError(
            f"{path}: no text; give a spectrum as ASCII or CSV, or an ENVI spectral library with its header"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _parse(content: str, path: Path) -> _Text:
    text = _Text()
    lines = [line.strip() for line in content.splitlines()]
    separator = _separator(lines)
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith(_COMMENTS):
            if not text.rows and line:
                _take_head(text, line.lstrip("#;!%/ "), separator)
            continue
        cells = _cells(line, separator)
        if _is_row(cells):
            text.rows.append(cells)
            text.sizes.append((number, len(cells) + (len(cells) > 1 and line.endswith(separator or "\n"))))
        elif text.rows:
            raise TargetError(f"{path}: line {number}: {shown(line)} is not a wavelength and a value; correct it")
        else:
            _take_head(text, line, separator)
    if separator == ",":
        _check_commas(text, path)
    return text


def _check_commas(text: _Text, path: Path) -> None:
    """Refuse rows of which some have more cells than others: their commas may be decimal, or a row is cut short.

    Raises:
        TargetError: There is such a row.
    """
    sizes = [size for _, size in text.sizes]
    usual = max(set(sizes), key=sizes.count, default=0)
    for number, size in text.sizes:
        if size != usual:
            raise TargetError(
                f"{path}: line {number}: number of cells {size}, where other lines have {usual}; correct it, and if "
                "commas are decimal, separate columns by semicolons"
            )


def _separator(lines: Sequence[str]) -> str | None:
    """What separates cells: a semicolon or a tab where there are some, so that commas may be decimal; then a comma."""
    rows = [line for line in lines if line and not line.startswith(_COMMENTS)]
    for separator in (";", "\t", ","):
        if sum(separator in line for line in rows) > len(rows) / 2:
            blanks = separator == "," and sum(_DECIMAL_COMMAS.fullmatch(line) is not None for line in rows)
            return None if blanks and blanks > len(rows) / 2 else separator
    return None


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is not None and '"' in line:
        # A separator inside quotes is none.
        parts = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    else:
        parts = line.split(separator)
    cells = [cell.strip().strip("\"'") for cell in parts]
    # A separator behind the last cell means nothing.
    return cells[:-1] if len(cells) > 2 and not cells[-1] else cells


def _is_row(cells: Sequence[str]) -> bool:
    """Whether cells are a wavelength and values, or one value alone."""
    first, rest = _number(cells[0]), cells[1:]
    return bool(np.isfinite(first)) and all(cell.lower() in _MISSING or not np.isnan(_number(cell)) for cell in rest)


def _number(cell: str) -> float:
    """A number, with a decimal comma too; NaN where there is none."""
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return float("nan")


def _take_head(text: _Text, line: str, separator: str | None) -> None:
    key = _KEY.match(line)
    if key is not None:
        text.keys.setdefault(key[1].strip().lower(), key[2].strip())
    else:
        text.heads = _cells(line, separator)


def _unit(text: _Text) -> str:
    """The unit of wavelengths, where the file names one."""
    told = text.keys.get("x units") or (text.heads[0] if text.heads else "")
    bracketed = _BRACKETED.search(told)
    unit = (bracketed[1] or bracketed[2]) if bracketed else told
    known = unit_factor(unit) is not None or reciprocal_factor(unit) is not None or is_no_wavelength(unit)
    return unit if known else ""


def _column(text: _Text, columns: int, chosen: str | None, path: Path) -> tuple[int, str]:
    """The column of values, and what the spectrum is called."""
    heads = text.heads[1:columns] if len(text.heads) >= columns else []
    whole = text.keys.get("name") or path.stem
    certain = columns == 3 and (not heads or bool(_UNCERTAINTY.search(heads[1])))
    if chosen is None and (columns == 2 or certain):
        return 1, whole
    names = heads or [f"column {number}" for number in range(2, columns + 1)]
    number = choose(names, chosen, path)
    return number + 1, names[number]
