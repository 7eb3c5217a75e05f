"""Zarr folders, versions 2 and 3, through zarr, an optional dependency."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hadgeo.errors import CubeError, MissingExtraError, refusing
from hadgeo.formats.arrays import Boxes, StoredArray
from hadgeo.formats.container import Container, Dimension, Variable

#: What marks a folder as a group or an array.
_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

_LOCK = threading.Lock()


def is_zarr(name: str) -> bool:
    """Whether a name is that of a Zarr folder, or of a group or an array in one."""
    try:
        return any((Path(name) / mark).is_file() for mark in _MARKS)
    except (OSError, ValueError):
        return False


def split_zarr(name: str) -> tuple[str, str]:
    """The outermost Zarr folder of a name, and the path of the rest in it."""
    outer = inner = Path(name).absolute()
    while is_zarr(str(outer.parent)):
        outer = outer.parent
    return str(outer), inner.relative_to(outer).as_posix().removeprefix(".")


@dataclass(frozen=True)
class ZarrArray(StoredArray):
    """An array of a Zarr folder."""

    def open(self, cache: int) -> Boxes:  # noqa: ARG002 - zarr keeps no chunks
        """Open it; see `StoredArray.open`."""
        with _quiet():
            boxes: Boxes = _import_zarr(self.file).open_array(self.file, path=self.name.strip("/"), mode="r")
        return boxes

    def stored_bytes(self) -> int:
        """The sizes of its chunks; see `StoredArray.stored_bytes`."""
        with _quiet():
            array = _import_zarr(self.file).open_array(self.file, path=self.name.strip("/"), mode="r")
            return int(array.nbytes_stored())


def list_zarr(path: str, file: str) -> Container:
    """All arrays of a Zarr folder.

    Args:
        path: The folder as the user named it, for messages.
        file: The folder.

    Raises:
        CubeError: Its metadata are damaged.
        MissingExtraError: zarr is not installed.
    """
    zarr = _import_zarr(path)
    variables: dict[str, Variable] = {}
    groups: dict[str, dict[str, Any]] = {}
    with refusing(CubeError, f"{path}: not a readable Zarr folder", "copy it again"), _quiet():
        root = zarr.open(file, mode="r")
        version = root.metadata.zarr_format
        members = [("", root), *(root.members(max_depth=None) if isinstance(root, zarr.Group) else ())]
        for name, item in members:
            if isinstance(item, zarr.Array):
                variable = _variable(str(Path(file).absolute()), name, item)
                variables[variable.name] = variable
            else:
                groups[f"/{name}" if name else ""] = dict(item.attrs)
    return Container(path, f"Zarr {version}", variables, groups)


def _variable(file: str, name: str, item: Any) -> Variable:
    attrs = dict(item.attrs)
    names = getattr(item.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS") or [""] * item.ndim
    if len(names) != item.ndim:
        names = [""] * item.ndim
    group = name.rpartition("/")[0]
    if "_FillValue" not in attrs and (fill := _fill(item)) is not None:
        attrs["_FillValue"] = fill
    array = ZarrArray(file, f"/{name}", item.shape, np.dtype(item.dtype), item.chunks if item.ndim else None)
    # Dimensions of the same name are the same within a group.
    return Variable(array, tuple(Dimension(n or "", f"{group}/{n}" if n else "") for n in names), attrs)


def _fill(item: Any) -> float | None:
    """What chunks that were never written read as; 0 is only what writers put there without being asked."""
    value = item.fill_value
    if value is None or np.dtype(item.dtype).kind not in "iuf" or not np.isfinite(value) or value == 0:
        return None
    return float(value)


def _import_zarr(path: str) -> ModuleType:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError(f'{path}: Zarr needs zarr; install it with pip install "hadgeo[zarr]"') from error
    return zarr


@contextmanager
def _quiet() -> Iterator[None]:
    """Without zarr's warnings of what lies in a folder besides arrays, and of what no other program may read."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
