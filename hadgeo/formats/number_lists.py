"""Lists of numbers as headers, tags and other programs write them: in any brackets, with comments, commas or blanks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError

#: Longest piece of somebody's text that a message repeats.
_SHOWN = 40

_BRACKETS = "{}[]() \t\r\n"

#: ``array([...], dtype=float32)`` around a list, and ``np.float64(...)`` around a number, as Python prints them.
_ARRAY = re.compile(r"^(?:np\.|numpy\.)?array\((.*?)(?:,\s*dtype=[^)]*)?\)$", re.DOTALL)
_NUMPY_NUMBER = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)")

#: A semicolon begins a comment at the start of a line, and behind a value where words follow; else it separates.
_COMMENT = re.compile(r"^\s*;[^\n]*|;[^\n]*[A-Za-z][^\n]*", re.MULTILINE)

_UNIT = re.compile(r"(?<=[\d.\s])(?:nm|nanomet\w*|[uµμ]m|micromet\w*|microns?|angstroms?|å)\b", re.IGNORECASE)

#: The exponent of a number in double precision, as FORTRAN and IDL write it.
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[-+]?\d)")

_DECIMAL_COMMA = re.compile(r"[-+]?\d+(?:,\d+)?$")


def shown(text: str) -> str:
    """Somebody's text as a message repeats it: in quotes, on one line, and not longer than it helps."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")


def split_list(text: str) -> list[str]:
    """Items of a list as headers write them: ``{1, 2}``, ``1,2`` or ``1 2``."""
    inner = text.strip().strip("{}[]()").strip()
    if not inner:
        return []
    items = inner.split(",") if "," in inner else inner.split()
    # A comma behind the last item is common and means nothing.
    return [item.strip() for item in items if item.strip()]


def numbers(text: str | Sequence[str], key: str, where: str) -> npt.NDArray[np.float64]:
    """Numbers of a list.

    Args:
        text: The list, or its items.
        key: What the list is called, for the message.
        where: The file, for the message.

    Raises:
        CubeError: An item is no number.
    """
    items = [item for item in _pieces(_bare(text)) if item] if isinstance(text, str) else list(text)
    values = []
    for item in items:
        try:
            values.append(float(_FORTRAN.sub("e", item)))
        except ValueError:
            raise CubeError(
                f"{where}: {key} contains something that is not a number ({shown(item)}); correct the header"
            ) from None
    return np.array(values, dtype=np.float64)


def lenient_numbers(text: str | Sequence[str], wanted: int) -> tuple[npt.NDArray[np.float64], bool]:
    """Numbers of a list, NaN for every item that is missing or no number.

    Args:
        text: The list, or its items.
        wanted: How many there should be, which tells decimal commas from separating ones.

    Returns:
        The numbers, as many as there are, and whether commas were taken for decimal points.
    """
    if not isinstance(text, str):
        return _values(text), False
    bare = _UNIT.sub("", _bare(text))
    pieces = _pieces(bare)
    if len(pieces) == wanted:
        return _values(pieces), False
    given = [piece for piece in pieces if piece]
    if len(given) == wanted:
        return _values(given), False
    points = _decimal_commas(bare, given, wanted)
    return (_values(given), False) if points is None else (_values(points), True)


def _bare(text: str) -> str:
    """A list without its brackets, comments and quotes, and without what Python writes around it."""
    found = _ARRAY.match(text.strip())
    inner = _NUMPY_NUMBER.sub(r"\1", found[1] if found else text)
    return _COMMENT.sub("", inner.strip(_BRACKETS)).replace('"', "").replace("'", "").strip(_BRACKETS)


def _pieces(bare: str) -> list[str]:
    """Items between commas, semicolons or blanks; empty where nothing stands between two commas."""
    found: list[str] = []
    for part in re.split("[,;]", bare):
        found.extend(part.split() or [""])
    if found and not found[-1]:
        del found[-1]
    return found


def _decimal_commas(bare: str, given: Sequence[str], wanted: int) -> list[str] | None:
    """The items with points, where commas stand within numbers: ``450,5, 550,5``, ``450,5 550,5``, ``450,5,550,5``."""
    apart = [item.strip(",") for item in re.split(r"[;\s]+", bare) if item.strip(",")]
    if len(apart) == wanted and all(_DECIMAL_COMMA.match(item) for item in apart):
        return [item.replace(",", ".") for item in apart]
    if len(given) != 2 * wanted or not all(item.isdecimal() for item in given):
        return None
    joined = [f"{whole}.{part}" for whole, part in zip(given[::2], given[1::2], strict=True)]
    # 450,455,460,465 for two bands is a list of the wrong length; 450,00,550,00 can only be meant so.
    rises = [bool((np.diff(_values(items)) > 0).all()) for items in (given, joined)]
    return joined if rises == [False, True] else None


def _values(items: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([_value(item) for item in items], dtype=np.float64)


def _value(item: str) -> float:
    try:
        return float(_FORTRAN.sub("e", item))
    except (ValueError, TypeError):
        return np.nan
