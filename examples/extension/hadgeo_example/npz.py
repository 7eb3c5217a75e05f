"""Cubes in NumPy archives: ``numpy.savez("x.npz", cube=..., wavelength=..., transform=..., crs=...)``.

``cube`` (rows, columns, bands) is all that is needed; ``wavelength`` is in nm, ``transform`` are the six numbers of an
affine, ``crs`` is text such as EPSG:32633. NumPy reads an archive as a whole, so this is for chips, not flight lines.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hadgeo.errors import CubeError
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Metadata, Source, decode, decoded_dtype
from hadgeo.formats.wavelengths import NO_WAVELENGTHS
from hadgeo.grid import Grid


class NpzSource(Source):
    """The cube of an archive.

    Args:
        path: The file.
        name: The array that is the cube.
    """

    block = None

    def __init__(self, path: str | os.PathLike[str], name: str = "cube") -> None:
        self.path, self._name = os.fspath(path), name
        self._file = Path(path).absolute()
        arrays = self._load()
        if name not in arrays:
            raise CubeError(f"{path}: no array {name!r} in it, but {', '.join(arrays)}; name one with --variable")
        self._cube = arrays[name]
        if self._cube.ndim != 3 or self._cube.dtype.kind not in "iuf":
            shape = " x ".join(map(str, self._cube.shape))
            raise CubeError(f"{path}: {name} is {shape} of {self._cube.dtype}; a cube is rows x columns x bands")
        rows, cols, bands = self._cube.shape
        self.shape, self.dtype = (bands, rows, cols), decoded_dtype(self._cube.dtype)
        wavelength = arrays.get("wavelength")
        if wavelength is not None and wavelength.shape != (bands,):
            raise CubeError(f"{path}: {wavelength.size} wavelengths for {bands} bands; save one for each")
        self.metadata = Metadata(
            driver="NumPy archive",
            stored_dtype=self._cube.dtype,
            grid=self._grid(arrays),
            interleave="bip",
            wavelength=None if wavelength is None else wavelength.astype(np.float64),
            good=np.ones(bands, dtype=bool),
            warnings=() if wavelength is not None else (NO_WAVELENGTHS,),
        )

    def _grid(self, arrays: dict[str, npt.NDArray[Any]]) -> Grid:
        crs, transform = arrays.get("crs"), arrays.get("transform")
        try:
            return Grid(
                self.shape[1:],
                None if crs is None else CRS.from_user_input(str(crs)),
                None if transform is None else Affine(*transform.tolist()),
            )
        except (CRSError, TypeError) as error:
            raise CubeError(f"{self.path}: crs or transform cannot be understood ({error}); save them again") from error

    def _load(self) -> dict[str, npt.NDArray[Any]]:
        try:
            with np.load(self._file, allow_pickle=False) as archive:
                return dict(archive)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise CubeError(f"{self.path}: not a readable NumPy archive ({error}); save it again") from error

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window; see `Source.read`."""
        stored = self._cube[rows, cols, bands].transpose(2, 0, 1)
        return decode(stored, self.metadata, bands)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process by name: it reads the file itself."""
        return NpzSource, (str(self._file), self._name)


class NpzFormat:
    """NumPy archives; see `hadgeo.formats.registry.Format`."""

    title = "NumPy archive"

    def claims(self, name: str) -> bool:
        """Whether it is a zip file called ``.npz``."""
        return Path(name).suffix.lower() == ".npz" and zipfile.is_zipfile(name)

    def open(self, name: str, reading: Reading) -> Source:
        """Open its cube; see `Format.open`."""
        return NpzSource(name, reading.variable or "cube")


NPZ = NpzFormat()
