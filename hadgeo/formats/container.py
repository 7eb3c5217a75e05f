"""What a container holds: its arrays with their dimensions and attributes, whatever library has listed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, ReadError
from hadgeo.formats.arrays import DAMAGE, SMALL_CHUNK_CACHE, StoredArray, check_list

#: Arrays that a message names one by one.
_NAMED = 20


@dataclass(frozen=True)
class Dimension:
    """One axis of an array.

    Attributes:
        name: What it is called, such as "wavelength"; empty where the file does not say.
        key: What all arrays along the same dimension share; empty where the file does not say.
    """

    name: str = ""
    key: str = ""


@dataclass(frozen=True)
class Variable:
    """An array of a container.

    Attributes:
        array: Where it stands.
        dims: One for each axis.
        attrs: Its attributes: text, numbers, or arrays of them.
    """

    array: StoredArray
    dims: tuple[Dimension, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path within the container, such as ``/group/reflectance``."""
        return self.array.name

    @property
    def base(self) -> str:
        """The last part of its path."""
        return self.name.rpartition("/")[2]

    @property
    def group(self) -> str:
        """The rest of its path; empty for the root."""
        return self.name.rpartition("/")[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        return self.array.shape

    @property
    def numeric(self) -> bool:
        """Whether it holds real numbers."""
        return self.array.dtype.kind in "iuf"

    @property
    def list_axis(self) -> int | None:
        """The axis along which it is a list, be it written as one row or column of a matrix; None where it is none."""
        if len(self.shape) == 1:
            return 0
        return self.shape.index(max(self.shape)) if len(self.shape) == 2 and min(self.shape) == 1 else None

    def text(self, *keys: str) -> str:
        """The first of some attributes that there is, as text; empty where there is none. Capitals do not count."""
        return text_of(self.attrs, *keys)

    def values(self) -> npt.NDArray[Any]:
        """All of it, as stored; for small arrays.

        Raises:
            CubeError: It is not small.
            ReadError: It is damaged.
        """
        check_list(self.array, f"{self.array.file}: {self.name}")
        try:
            return np.asarray(self.array.open(SMALL_CHUNK_CACHE)[tuple(slice(0, n) for n in self.shape)])
        except DAMAGE as error:
            raise ReadError(f"{self.array.file}: {self.name} cannot be read ({error}); copy the file again") from error

    def numbers(self) -> npt.NDArray[np.float64]:
        """All of it in physical units, fill as NaN; for small arrays."""
        stored = self.values()
        fill = self.attrs.get("_FillValue")
        values = stored.astype(np.float64)
        if fill is not None and np.size(fill) == 1:
            values[stored == np.ravel(fill)[0]] = np.nan
        scale, offset = (float(np.ravel(self.attrs.get(k, d))[0]) for k, d in (("scale_factor", 1), ("add_offset", 0)))
        return values if (scale, offset) == (1.0, 0.0) else values * scale + offset

    def describe(self) -> str:
        """Name and shape for a message: ``/rfl (y 30, x 24, band 16)``."""
        return f"{self.name} ({self.describe_shape()})"

    def describe_shape(self) -> str:
        """The shape for a message: ``y 30, x 24, band 16``, or ``30 x 24 x 16`` without names."""
        if any(dim.name for dim in self.dims):
            return ", ".join(f"{dim.name or '?'} {n}" for dim, n in zip(self.dims, self.shape, strict=True))
        return " x ".join(map(str, self.shape)) or "one number"


@dataclass(frozen=True)
class Container:
    """All that is in a file or folder.

    Attributes:
        path: The file as the user named it, for messages.
        driver: Name of its format, for people.
        variables: Its arrays by their paths, each beginning with ``/``.
        groups: Attributes of its groups by their paths, "" the root.
        notes: What was found odd in it, for the user.
    """

    path: str
    driver: str
    variables: Mapping[str, Variable]
    groups: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    def find(self, name: str) -> Variable:
        """The array that a user names by its path, or by the end of it where that names only one.

        Raises:
            CubeError: There is no such array, or there are several.
        """
        wanted = "/" + name.strip().strip("/")
        if wanted in self.variables:
            return self.variables[wanted]
        # GDAL writes _ for a blank in the names of parts.
        found = [v for key, v in self.variables.items() if key.endswith(wanted)] or [
            v for key, v in self.variables.items() if key.replace(" ", "_").endswith(wanted.replace(" ", "_"))
        ]
        if len(found) == 1:
            return found[0]
        what = "several arrays are" if found else "no array is"
        raise CubeError(f"{self.path}: {what} called {name}; it holds {self.listing(found or self.variables.values())}")

    def near(self, variable: Variable) -> list[Variable]:
        """All other arrays: those of its own group first, then of the groups above, then the rest."""
        return sorted(
            (other for other in self.variables.values() if other is not variable),
            key=lambda other: _distance(variable.group, other.group),
        )

    def attributes(self, variable: Variable) -> list[Mapping[str, Any]]:
        """Attributes of the array, of its group, and of every group above it."""
        parts = variable.group.split("/")
        return [variable.attrs, *(self.groups.get("/".join(parts[:n]), {}) for n in range(len(parts), 0, -1))]

    def listing(self, variables: Any) -> str:
        """Names and shapes for a message."""
        named = sorted((v.describe() for v in variables), key=_natural)
        rest = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        return (", ".join(named[:_NAMED]) or "no arrays") + rest


def text_of(attrs: Mapping[str, Any], *keys: str) -> str:
    """The first of some attributes that there is, as text; empty where there is none. Capitals do not count."""
    lower = {key.lower(): value for key, value in attrs.items()}
    return next((text(lower[key.lower()]) for key in keys if key.lower() in lower), "")


def text(value: Any) -> str:
    """An attribute as text, whichever way it was written: bytes, an array of one item, a number."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).rstrip("\0").strip()


def number_of(attrs: Mapping[str, Any], key: str) -> float | None:
    """An attribute of one number, written as a number or as text; None where there is none."""
    value = attrs.get(key)
    if value is None or np.size(value) != 1:
        return None
    try:
        return float(text(value))
    except ValueError:
        return None


def numbers_of(value: Any) -> list[float]:
    """An attribute of several numbers, as an array or as text; empty where it holds anything else."""
    items: Sequence[Any] = (
        text(value).strip("[](){}").replace(",", " ").split()
        if isinstance(value, str | bytes)
        else np.ravel(np.asarray(value)).tolist()
    )
    try:
        return [float(item) for item in items]
    except (TypeError, ValueError):
        return []


def _distance(group: str, other: str) -> int:
    """How far a group is from another one: 0 the same, the steps up to one above, and farther anywhere else."""
    if other == group or (f"{group}/").startswith(f"{other}/"):
        return group.count("/") - other.count("/")
    return 1000 + other.count("/")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts Band2 before Band10."""
    parts: list[str] = []
    for char in name:
        if parts and char.isdigit() == parts[-1][-1:].isdigit():
            parts[-1] += char
        else:
            parts.append(char)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
