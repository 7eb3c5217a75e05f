"""MATLAB files: the benchmark scenes of the field, a cube and often a truth map in one file, without a georeference."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats.arrays import Axes, ContainerSource
from hadgeo.formats.gdal import NO_CRS, exists, open_dataset, settings
from hadgeo.formats.matlab_cube import TRUTHS, find_cube, find_order, is_valid_map
from hadgeo.formats.matlab_file import MatlabArray, MatlabFile
from hadgeo.formats.names import is_fwhm, is_good, is_wavelength, unit_in
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Metadata, Source
from hadgeo.formats.wavelengths import Spectral, spectral, unknown_wavelengths
from hadgeo.grid import Grid


class MatlabSource(ContainerSource):
    """The cube of a MATLAB file of either version: version 5 in memory, version 7.3 read window by window."""

    def __init__(self, path: str | os.PathLike[str], *, reading: Reading = AS_IT_SAYS) -> None:
        """Find the cube and what belongs to it.

        Args:
            path: The file.
            reading: What the user says of it.

        Raises:
            CubeError: There is no array of three dimensions, or more than one and none called ``data`` or ``image``; or
                it is not known which of its axes counts bands.
            MissingExtraError: The file is of version 7.3, and h5py is not installed.
        """
        file = MatlabFile(os.fspath(path), str(Path(path).absolute()))
        cube = find_cube(file, reading.variable)
        found = find_order(file, cube, reading)
        array, axes = file.stored(cube.name, found.order)
        bands, rows, cols = (cube.shape[axis] for axis in found.order)
        known = _spectral(file, cube, bands)
        metadata = Metadata(
            driver="MATLAB 7.3" if file.v73 else "MATLAB 5",
            stored_dtype=array.dtype,
            grid=Grid((rows, cols)),
            wavelength=known.wavelength,
            fwhm=known.fwhm,
            good=known.good_bands(bands),
            warnings=(NO_CRS, *unknown_wavelengths(known.wavelength, bands), *known.warnings),
            assumed=(*found.assumed, *known.assumed),
        )
        super().__init__(path, array, Axes(*axes), metadata)
        self._invalid, note = _find_invalid(file, cube, (rows, cols))
        self.metadata = replace(self.metadata, assumed=(*self.metadata.assumed, *note))

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window; see `Source.read`."""
        out = super().read(rows, cols, bands)
        if self._invalid is not None:
            out[:, self._invalid[rows, cols]] = np.nan
        return out


def _find_invalid(
    file: MatlabFile, cube: MatlabArray, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.bool_] | None, tuple[str, ...]]:
    """Where a map of usable pixels beside the cube says that there are none, and what to say of it."""
    maps = _beside(file, cube, lambda array: is_valid_map(array) and array.shape == shape)
    if not maps:
        return None, ()
    invalid = np.asarray(file.load(maps[0].name) == 0)
    note = f"{maps[0].name} taken as the map of usable pixels: the {int(invalid.sum())} where it is 0 are nodata"
    # So MUUFL Gulfport calls it, and nobody calls anything else so.
    plain = "valid" in maps[0].base or maps[0].base == "mask_sub"
    return invalid, (note,) if invalid.any() and not plain else ()


def _spectral(file: MatlabFile, cube: MatlabArray, bands: int) -> Spectral:
    """What vectors beside the cube say of its bands."""
    fields: dict[str, str | list[str]] = {}
    for key, is_called in (("wavelength", is_wavelength), ("fwhm", is_fwhm), ("bbl", is_good)):
        vectors = [array for array in _beside(file, cube, _is_vector) if is_called(array.base)]
        # Of several, one that fits; else whoever reads the list says why it is set aside.
        fitting = [array for array in vectors if max(array.shape) == bands]
        if vectors:
            found = (fitting or vectors)[0]
            fields[key] = [repr(float(value)) for value in file.load(found.name).ravel()]
            fields.setdefault("wavelength units", unit_in(found.base))
    return spectral(fields, bands, file.path) if fields else Spectral()


def _is_vector(array: MatlabArray) -> bool:
    return array.numeric and max(array.shape, default=0) == int(np.prod(array.shape)) > 0


def _beside(file: MatlabFile, cube: MatlabArray, wanted: Callable[[MatlabArray], bool]) -> list[MatlabArray]:
    """Arrays of a kind, those in the cube's own struct first."""
    found = [array for array in file.arrays.values() if array is not cube and wanted(array)]
    return sorted(found, key=lambda array: (array.struct != cube.struct, array.name.count(".")))


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
        file = MatlabFile(os.fspath(path), os.fspath(path))
        flat = [a for a in _outermost(file) if len(a.shape) == 2 and a.numeric]
        found = next((a.name for name in TRUTHS for a in flat if a.base == name), None)
        if found is None:
            raise CubeError(f"{path}: no 2-D array called {', '.join(TRUTHS)}; it holds {file.listing()}")
        return np.asarray(file.load(found) != 0)
    try:
        with settings(), open_dataset(os.fspath(path)) as dataset:
            if dataset.count > 4:
                raise CubeError(f"{path}: {dataset.count} bands, but a truth map has one")
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
    file = MatlabFile(os.fspath(path), os.fspath(path))
    maps = [a for a in _outermost(file) if len(a.shape) == 2 and min(a.shape) > 1 and a.numeric]
    found = [a for a in maps if a.base not in TRUTHS and not is_valid_map(a)]
    outside = [a for a in found if not a.struct] or found
    if len(outside) != 1:
        raise CubeError(
            f"{path}: {len(outside)} arrays that could be a score map; it holds {file.listing()}: save only the map"
        )
    scores = file.load(outside[0].name)
    if np.iscomplexobj(scores):
        raise CubeError(f"{path}: {outside[0].name} is complex, but scores are real numbers")
    return scores.astype(np.float32)


def _outermost(file: MatlabFile) -> list[MatlabArray]:
    """Arrays of a file, those in no struct first."""
    return sorted(file.arrays.values(), key=lambda array: array.name.count("."))


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
