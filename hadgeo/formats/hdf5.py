"""HDF5 files (NetCDF 4 and MATLAB 7.3 are some) through h5py, an optional dependency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hadgeo.errors import CubeError, MissingExtraError
from hadgeo.formats.arrays import Boxes, StoredArray

#: First bytes of an HDF5 file. They stand at 0, or behind a block of the user's at 512, 1024, 2048, ...
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(name: str) -> bool:
    """Whether a name is that of an HDF5 file."""
    try:
        with Path(name).open("rb") as file:
            start = file.read(2048 + len(SIGNATURE))
    except (OSError, ValueError):
        return False
    return any(start[at : at + len(SIGNATURE)] == SIGNATURE for at in (0, 512, 1024, 2048))


def import_h5py(path: str) -> ModuleType:
    """The module h5py.

    Args:
        path: The file that needs it, for the message.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: HDF5 files (NetCDF 4, MATLAB 7.3) need h5py; install it with pip install "hadgeo[hdf5]"'
        ) from error
    return h5py  # type: ignore[no-any-return]


def open_hdf5(path: str, file: str) -> Any:
    """Open a file for reading.

    Args:
        path: The file as the user named it, for messages.
        file: The file.

    Returns:
        An open ``h5py.File``, to be closed by whoever asked.

    Raises:
        CubeError: It is no HDF5 file, or cut short.
        MissingExtraError: h5py is not installed.
    """
    try:
        return import_h5py(path).File(file, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise CubeError(f"{path}: not an HDF5 file that can be read ({reason}); copy it again") from error


def text(value: Any) -> str:
    """An attribute as text, whichever way it was written: bytes, an array of one item, a number."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).rstrip("\0").strip()


@dataclass(frozen=True)
class Hdf5Array(StoredArray):
    """A dataset of an HDF5 file."""

    @classmethod
    def of(cls, dataset: Any) -> Hdf5Array:
        """Remember an open ``h5py.Dataset``."""
        file = str(Path(dataset.file.filename).absolute())
        return cls(file, dataset.name, dataset.shape, dataset.dtype, dataset.chunks)

    def open(self, cache: int) -> Boxes:
        """Open it; HDF5 keeps chunks once a process, whoever opens the file; see `StoredArray.open`."""
        # About a hundred places for each chunk that can be kept, and a prime: H5Pset_cache.
        boxes: Boxes = import_h5py(self.file).File(self.file, "r", rdcc_nbytes=max(cache, 2**20), rdcc_nslots=100_003)[
            self.name
        ]
        return boxes
