"""MATLAB files: the benchmark scenes of the field, a cube and often a truth map in one file, without a georeference.

Version 5 files are read by SciPy, as a whole (they hold chips, not flight lines); version 7.3 files are HDF5 and are
read window by window.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io
from rasterio.errors import RasterioError

from hadgeo.errors import CubeError, CubeNotFoundError, MissingExtraError, ReadError
from hadgeo.formats.gdal import NO_CRS, exists, open_dataset, settings
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Metadata, Source, decode, decoded_dtype
from hadgeo.formats.wavelengths import Spectral, spectral, unknown_wavelengths
from hadgeo.grid import Grid

_CUBES = ("data", "image")
_TRUTHS = ("map", "mask", "groundtruth", "ground_truth", "gt", "truth")
_WAVELENGTHS = ("wavelengths", "wavelength", "wl", "lambda", "wave")

#: Names of maps of usable pixels, as MUUFL Gulfport calls them; never one of `_TRUTHS`.
_VALID = re.compile(r"valid|^mask_|_mask$", re.I)

_NUMERIC = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


@dataclass(frozen=True)
class _Array:
    """One array of a MATLAB file, its shape in MATLAB's own order."""

    name: str
    shape: tuple[int, ...]
    numeric: bool


class MatlabSource(Source):
    """The cube of a MATLAB file of either version."""

    def __init__(self, path: str | os.PathLike[str], *, reading: Reading = AS_IT_SAYS) -> None:
        """Find the cube and what belongs to it.

        Args:
            path: The file.
            reading: What the user says of it.

        Raises:
            CubeError: There is no array of three dimensions, or more than one and none called ``data`` or ``image``.
            MissingExtraError: The file is of version 7.3, and h5py is not installed.
        """
        self.path = os.fspath(path)
        self._reading = reading
        self._file = str(Path(path).absolute())
        self._lock = threading.Lock()
        self._cube: npt.NDArray[Any] | None = None
        arrays = _list(self._file)
        self._v73 = is_hdf5(self._file)
        self._name = _cube_name(arrays, self.path)
        rows, cols, bands = arrays[self._name].shape
        self.shape = (bands, rows, cols)
        self.block = None
        stored = self._stored_dtype()
        self.dtype = decoded_dtype(stored)
        self._invalid = self._find_invalid(arrays)
        known = self._find_wavelengths(arrays)
        missing = unknown_wavelengths(known.wavelength, bands)
        self.metadata = Metadata(
            driver="MATLAB 7.3" if self._v73 else "MATLAB 5",
            stored_dtype=stored,
            grid=Grid((rows, cols)),
            wavelength=known.wavelength,
            good=known.good_bands(bands),
            warnings=(NO_CRS, *missing, *known.warnings),
            assumed=known.assumed,
        )

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        if indices.size == 0:
            return np.empty((0, rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        if self._v73:
            low = int(indices.min())
            stored = self._read_hdf5(slice(low, int(indices.max()) + 1), rows, cols)[indices - low]
        else:
            stored = self._load()[indices, rows, cols]
        out = decode(stored, self.metadata, bands)
        if self._invalid is not None:
            out[:, self._invalid[rows, cols]] = np.nan
        return out

    def _read_hdf5(self, bands: slice, rows: slice, cols: slice) -> npt.NDArray[Any]:
        # MATLAB counts columns of memory first: HDF5 sees (band, column, row).
        try:
            with _h5py(self.path).File(self._file, "r") as file:
                stored: npt.NDArray[Any] = file[self._name][bands, cols, rows]
        except OSError as error:
            raise ReadError(f"{self.path}: {self._name} cannot be read ({error}); copy the file again") from error
        return np.swapaxes(stored, 1, 2)

    def _load(self) -> npt.NDArray[Any]:
        with self._lock:
            if self._cube is None:
                loaded = _load_v5(self._file, self._name)
                self._cube = np.ascontiguousarray(np.moveaxis(loaded, 2, 0))
            return self._cube

    def _stored_dtype(self) -> np.dtype[Any]:
        if self._v73:
            with _h5py(self.path).File(self._file, "r") as file:
                dtype: np.dtype[Any] = file[self._name].dtype
        else:
            # Only the samples tell: MATLAB's class may be wider than what is stored, and complex is not in it.
            dtype = self._load().dtype
        if not (np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer)):
            raise CubeError(f"{self.path}: samples of {self._name} are {dtype}; a cube of real numbers is needed")
        return dtype

    def _find_invalid(self, arrays: Mapping[str, _Array]) -> npt.NDArray[np.bool_] | None:
        names = [n for n, a in arrays.items() if _VALID.search(n) and n.lower() not in _TRUTHS and a.numeric]
        found = next((name for name in names if arrays[name].shape == self.shape[1:]), None)
        return None if found is None else _load_array(self._file, found) == 0

    def _find_wavelengths(self, arrays: Mapping[str, _Array]) -> Spectral:
        found = next((name for name in arrays if name.lower() in _WAVELENGTHS and arrays[name].numeric), None)
        if found is None:
            return Spectral()
        values = [repr(float(value)) for value in _load_array(self._file, found).ravel()]
        return spectral({"wavelength": values}, self.shape[0], self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_cube")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _cube=None)


def read_truth(path: str | os.PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read a map of true targets.

    Args:
        path: A MATLAB file with a 2-D array under ``map``, ``mask``, ``groundtruth`` or ``gt``, or a raster (GeoTIFF,
            ENVI, BMP, PNG) in which targets are not zero.

    Returns:
        Bool (y, x), True on targets.

    Raises:
        CubeNotFoundError: There is no such file.
        CubeError: It holds no such map.
    """
    if not exists(path) and not os.fspath(path).startswith("/vsi"):
        raise CubeNotFoundError(f"{path}: no such file")
    if Path(path).suffix.lower() == ".mat":
        arrays = _list(os.fspath(path))
        by_name = {name.lower(): name for name, array in arrays.items() if len(array.shape) == 2 and array.numeric}
        found = next((by_name[name] for name in _TRUTHS if name in by_name), None)
        if found is None:
            raise CubeError(f"{path}: no 2-D array called {', '.join(_TRUTHS)}; it holds {_listing(arrays)}")
        return np.asarray(_load_array(os.fspath(path), found) != 0)
    try:
        with settings(), open_dataset(os.fspath(path)) as dataset:
            if dataset.count > 4:
                raise CubeError(f"{path}: {dataset.count} bands; a truth map has one")
            image = dataset.read(list(range(1, min(dataset.count, 3) + 1)))
            fill = dataset.nodata
    except RasterioError as error:
        raise CubeError(f"{path}: not a raster that GDAL can open ({' '.join(str(error).split())})") from error
    hit = (image != 0) & np.isfinite(image)
    return np.asarray((hit & (image != fill) if fill is not None else hit).any(axis=0))


def read_scores(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Read a map of scores, as published results come.

    Args:
        path: A MATLAB file with a single 2-D array of real numbers, whatever its name, besides truth and valid pixels.

    Returns:
        (y, x) as it is stored.

    Raises:
        CubeError: There is no such array, or more than one.
        ReadError: The file is damaged.
        MissingExtraError: The file is of version 7.3, and h5py is not installed.
    """
    arrays = _list(os.fspath(path))
    maps = [a.name for a in arrays.values() if len(a.shape) == 2 and min(a.shape) > 1 and a.numeric]
    found = [name for name in maps if name.lower() not in _TRUTHS and not _VALID.search(name)]
    if len(found) != 1:
        raise CubeError(
            f"{path}: {len(found)} arrays that could be a score map; it holds {_listing(arrays)}: save the map alone"
        )
    scores = _load_array(os.fspath(path), found[0])
    if np.iscomplexobj(scores):
        raise CubeError(f"{path}: {found[0]} is complex, and scores are real numbers")
    return scores.astype(np.float32)


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a MATLAB file is of version 7.3: HDF5 behind a text header of 512 bytes."""
    with Path(path).open("rb") as file:
        start = file.read(520)
    return start.startswith(b"MATLAB 7.3") or b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:])


def _h5py(path: str) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: MATLAB 7.3 files need h5py; install it with pip install "hadgeo[hdf5]"'
        ) from error
    return h5py  # type: ignore[no-any-return]


def _list(path: str) -> dict[str, _Array]:
    """The arrays of a file, by name.

    Raises:
        CubeError: It is no MATLAB file.
    """
    h5py = _h5py(path) if is_hdf5(path) else None
    try:
        if h5py is None:
            return {name: _Array(name, tuple(shape), kind in _NUMERIC) for name, shape, kind in scipy.io.whosmat(path)}
        with h5py.File(path, "r") as file:
            return {
                name: _Array(name, item.shape[::-1], item.dtype.kind in "biuf")
                for name, item in file.items()
                if isinstance(item, h5py.Dataset)
            }
    except Exception as error:
        # SciPy lets whatever it meets through: MatReadError, ValueError, TypeError, zlib.error.
        raise CubeError(f"{path}: not a MATLAB file that can be read ({error}); copy or save it again") from error


def _load_array(path: str, name: str) -> npt.NDArray[Any]:
    """A small array, in MATLAB's own order of axes."""
    if is_hdf5(path):
        with _h5py(path).File(path, "r") as file:
            return np.asarray(file[name][()]).T
    return _load_v5(path, name)


def _load_v5(path: str, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
    except Exception as error:
        # As above: damaged samples come as zlib.error, ValueError or TypeError.
        raise ReadError(f"{path}: {name} cannot be read ({error}); the file is damaged: copy it again") from error


def _cube_name(arrays: Mapping[str, _Array], path: str) -> str:
    cubes = [name for name, array in arrays.items() if len(array.shape) == 3 and array.numeric]
    named = next((name for wanted in _CUBES for name in cubes if name.lower() == wanted), None)
    if named is not None:
        return named
    if len(cubes) != 1:
        raise CubeError(
            f"{path}: {len(cubes)} arrays of three dimensions and none called data or image; "
            f"it holds {_listing(arrays)}: save the cube as data (rows, columns, bands)"
        )
    return cubes[0]


def _listing(arrays: Mapping[str, _Array]) -> str:
    return ", ".join(f"{a.name} {'x'.join(map(str, a.shape))}" for a in arrays.values()) or "no arrays"


class MatlabFormat:
    """MATLAB files of either version, by their suffix; see `hadgeo.formats.registry.Format`."""

    title = "MATLAB"

    def claims(self, name: str) -> bool:
        """Whether it is a file called ``.mat``."""
        return Path(name).suffix.lower() == ".mat" and Path(name).is_file()

    def open(self, name: str, reading: Reading) -> Source:
        """Open its cube; see `Format.open`."""
        return MatlabSource(name, reading=reading)


MATLAB = MatlabFormat()
