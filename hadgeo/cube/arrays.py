"""Cubes as xarray sees them: files opened lazily with all that is known of them, and the way back to their source."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import rioxarray  # noqa: F401  (registers cube.rio)
import xarray as xr
from affine import Affine
from dask.base import tokenize
from rasterio.crs import CRS

from hadgeo.cube.scenes import give_warnings, no_scene
from hadgeo.errors import CubeError
from hadgeo.formats import Source, open_source
from hadgeo.formats.gdal import LARGE_CACHE
from hadgeo.formats.masked import masked
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Metadata, decode, decoded_dtype
from hadgeo.formats.wavelengths import Spectral, spectral
from hadgeo.grid import Grid, from_centres, joined

#: Decoded bytes of a chunk that nobody asked for otherwise.
CHUNK_BYTES = 64 * 2**20

#: Blocks of a file are cut for smaller chunks, and then decoded more than once, only where one chunk would exceed this.
LARGEST_CHUNK = 8 * CHUNK_BYTES

#: Rows and columns of the file, kept where there are no 1-D coordinates that would tell where a slice lies.
_ROW, _COLUMN = "row", "column"


def open_cube(
    path: str | os.PathLike[str],
    *,
    chunks: str | int | tuple[Any, ...] | dict[int, Any] = "auto",
    bands: Sequence[int] | None = None,
    reading: Reading = AS_IT_SAYS,
) -> xr.DataArray:
    """Open a hyperspectral cube without reading its samples.

    Args:
        path: A file (ENVI by its data or its header, GeoTIFF, MATLAB, anything that GDAL can open), or a name for GDAL.
        chunks: Dask chunks of (band, y, x). By default whole strips of raw files and whole blocks of tiled ones, of
            about 64 MB.
        bands: 0-based indices of the bands to keep, as in `hadgeo.bands.select_bands`; all by default.
        reading: What you know about a file that does not state it, or states it wrongly.

    Returns:
        Floating-point array (band, y, x) in physical units, nodata as NaN. On ``band``: 1-based numbers, ``wavelength``
        and ``fwhm`` in nm, ``good``, ``band_name``. Coordinate reference system and exact transform through ``.rio``; a
        grid with rotation or shear has no 1-D x and y, but the ``row`` and ``column`` of the file.

    Raises:
        CubeNotFoundError: The file, or a part of it, does not exist.
        CubeError: The file cannot be used as a cube.
        BandError: `bands` holds an index that the cube does not have.
        ParameterError: `path` is not the name of a file.

    Warns:
        CubeWarning: Something is missing or odd, such as the coordinate reference system.

    Examples:
        >>> cube = open_cube("line.img")
        >>> cube.sel(y=slice(4483600, 4483000)).isel(band=20).plot()
    """
    if not isinstance(path, str | os.PathLike):
        raise no_scene(path, "the name of a file,")
    source = open_source(path, bands, reading=reading)
    give_warnings(source)
    data = _lazy(
        source, _auto_chunks(source) if isinstance(chunks, str) and chunks == "auto" else chunks, _token(source, bands)
    )
    numbers = np.arange(source.shape[0]) if bands is None else np.asarray(bands)
    cube = xr.DataArray(
        data,
        dims=("band", "y", "x"),
        coords={"band": numbers + 1, **_band_coords(source.metadata), **_grid_coords(source)},
        attrs=_attrs(source),
        name=Path(source.path).stem or "cube",
    )
    return _with_place(cube, source.metadata)


def mask(cube: xr.DataArray, path: str | os.PathLike[str]) -> xr.DataArray:
    """Keep the pixels of a cube that a mask marks as data; all others become nodata, neither learned from nor scored.

    Args:
        cube: A cube (band, y, x) from `open_cube` or of your own.
        path: A raster (0, nodata and outside are not data) or polygons (pixels inside are data); see
            `hadgeo.formats.masked.masked` for how they are resampled to the grid of the cube.

    Returns:
        The cube, still lazy.

    Raises:
        CubeNotFoundError: There is no such mask.
        MaskError: It cannot be read or brought onto the cube's grid, or leaves no pixel.
        ParameterError: `cube` is not a DataArray.
        MissingExtraError: Polygons need pyogrio and shapely.

    Examples:
        >>> hadgeo.detect(hadgeo.mask(hadgeo.open_cube("line.img"), "land.gpkg"), out="land.tif")
    """
    if not isinstance(cube, xr.DataArray):
        raise no_scene(cube, "an xarray.DataArray, such as `open_cube` gives,")
    kept = masked(source_of(cube), path)
    if _original(cube.data) is not None:
        return cube.copy(data=_lazy(kept, cube.chunks, tokenize(cube.data.name, _stamp(kept), kept.variant)))
    rows, cols = kept.shape[1:]
    return cube.where(xr.DataArray(kept.keeps(slice(0, rows), slice(0, cols)), dims=("y", "x")))


def _lazy(source: Source, chunks: Any, token: str) -> Any:
    """A source as a dask array, in which `_original` finds it again."""
    return dask.array.from_array(  # type: ignore[no-untyped-call]
        source,
        chunks=chunks,
        name=f"hadgeo-{token}",
        lock=False,
        asarray=False,
        meta=np.empty((0, 0, 0), dtype=source.dtype),
    )


def source_of(cube: xr.DataArray) -> Source:
    """The source to read a cube's windows from.

    Args:
        cube: Any array with the dimensions band, y and x.

    Returns:
        The file's own source where the samples are untouched since `open_cube`, with what was changed in coordinates or
        coordinate reference system; else a source that computes windows of the array.

    Raises:
        CubeError: The array has other dimensions, or does not hold real numbers.
    """
    if set(cube.dims) != {"band", "y", "x"}:
        raise CubeError(f"the array has the dimensions {cube.dims}; a cube has band, y and x: rename or select them")
    cube = cube.transpose("band", "y", "x")
    source = _original(cube.data)
    if source is None:
        return ArraySource(cube)
    told = _metadata_of(cube, source.metadata)
    if _same(told, source.metadata):
        return source
    changed = copy.copy(source)
    changed.metadata = told
    return changed


class ArraySource(Source):
    """Windows of a DataArray (band, y, x), computed in the thread that asks for them."""

    is_array = True

    def __init__(self, cube: xr.DataArray) -> None:
        """Wrap an array.

        Args:
            cube: Dask or NumPy array (band, y, x). A fill value in its attributes becomes NaN on reading.

        Raises:
            CubeError: It is empty, or holds no real numbers.
        """
        if cube.dtype.kind not in "iuf":
            raise CubeError(f"the array holds {cube.dtype}; a cube must hold real numbers")
        if 0 in cube.shape:
            raise CubeError(
                f"the array is empty ({' x '.join(map(str, cube.shape))}); select at least one pixel and band"
            )
        self._data = cube.data
        self.path = str(cube.attrs.get("source", cube.name or "array"))
        bands, rows, cols = cube.shape
        self.shape = (bands, rows, cols)
        self.block = None
        if cube.chunks is not None:
            self.block = (max(cube.chunks[1]), max(cube.chunks[2]))
        self.dtype = decoded_dtype(cube.dtype)
        fill = None if cube.rio.encoded_nodata is not None else cube.rio.nodata
        stored = Metadata(
            driver=str(cube.attrs.get("driver", "array")),
            stored_dtype=cube.dtype,
            grid=Grid((rows, cols)),
            nodata=None if fill is None else float(fill),
            scale=_unless(cube, "scale_factor", 1.0),
            offset=_unless(cube, "add_offset", 0.0),
        )
        self.metadata = _metadata_of(cube, stored)

    @property
    def cache_bytes(self) -> int:
        """Behind a dask array there may be a file that GDAL reads; see `Source.cache_bytes`."""
        return 0 if self.block is None else LARGE_CACHE

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Compute and decode a window; see `Source.read`."""
        window = self._data[bands, rows, cols]
        if hasattr(window, "compute"):
            # The caller's own threads read ahead: a second pool below them would only contend.
            window = window.compute(scheduler="synchronous")
        return decode(np.asarray(window), self.metadata, bands)


def _unless(cube: xr.DataArray, key: str, neutral: float) -> npt.NDArray[np.float64] | None:
    value = cube.attrs.get(key, neutral)
    return None if value == neutral else np.full(cube.shape[0], value, dtype=np.float64)


def _original(data: Any) -> Source | None:
    """The source below a dask array that is still what `open_cube` made: slices and results have other names."""
    name = getattr(data, "name", None)
    if not isinstance(name, str) or not name.startswith("hadgeo-"):
        return None
    node = data.dask.get(f"original-{name}")
    source = getattr(node, "value", node)
    return source if isinstance(source, Source) and source.shape == data.shape else None


def _same(one: Metadata, other: Metadata) -> bool:
    def equal(a: Any, b: Any) -> bool:
        # Bands of unknown wavelength have NaN on both sides.
        return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))

    return one.grid == other.grid and all(
        equal(getattr(one, name), getattr(other, name)) for name in ("wavelength", "fwhm", "good")
    )


def _stamp(source: Source) -> list[tuple[int, int]]:
    """What changes with the files of a source."""
    found = []
    for file in source.files:
        with suppress(OSError, ValueError):
            status = file.stat()
            found.append((status.st_size, status.st_mtime_ns))
    return found


def _token(source: Source, bands: Sequence[int] | None) -> str:
    """A name that is the same for the same file, so that dask may share work, and another once the file has changed."""
    metadata = source.metadata
    chosen = None if bands is None else tuple(int(band) for band in bands)
    decoding = (metadata.nodata, metadata.band_nodata, metadata.scale, metadata.offset)
    # What was said of the file tells which of its arrays and axes these are.
    kind = (source.shape, str(source.dtype), source.variant)
    return str(tokenize(os.path.abspath(source.path), _stamp(source), chosen, kind, decoding))  # noqa: PTH100


def _auto_chunks(source: Source) -> tuple[int, int, int]:
    bands, height, width = source.shape
    pixel = bands * source.dtype.itemsize
    if source.block is None:
        return bands, _between(CHUNK_BYTES // (pixel * width), 1, height), width
    rows, cols = min(source.block[0], height), min(source.block[1], width)
    wide = _between(CHUNK_BYTES // (pixel * rows * cols), 1, -(-width // cols)) * cols
    wide = min(wide, width)
    if wide < width:
        return bands, _between(LARGEST_CHUNK // (pixel * wide), 1, rows), wide
    high = max(CHUNK_BYTES // (pixel * rows * width), 1) * rows
    return bands, _between(LARGEST_CHUNK // (pixel * width), 1, min(high, height)), width


def _between(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _band_coords(metadata: Metadata) -> dict[str, Any]:
    in_nm = {"units": "nm"}
    coords: dict[str, Any] = {"good": ("band", metadata.good)}
    if metadata.wavelength is not None:
        coords["wavelength"] = ("band", metadata.wavelength, in_nm)
    if metadata.fwhm is not None:
        coords["fwhm"] = ("band", metadata.fwhm, in_nm)
    if metadata.band_names is not None:
        coords["band_name"] = ("band", np.array(metadata.band_names))
    return coords


def _grid_coords(source: Source) -> dict[str, Any]:
    grid = source.metadata.grid
    if not grid.georeferenced or not grid.rectilinear:
        rows, cols = (np.arange(length) for length in grid.shape)
        return {_ROW: ("y", rows), _COLUMN: ("x", cols)}
    x, y = grid.centres
    return {"y": y, "x": x}


def _attrs(source: Source) -> dict[str, Any]:
    metadata = source.metadata
    attrs = {
        "source": source.path,
        "driver": metadata.driver,
        "interleave": metadata.interleave,
        "stored_dtype": metadata.stored_dtype.name,
        # Not called nodata: rioxarray would take it for a value of the decoded samples, which is NaN.
        "stored_nodata": metadata.nodata,
    }
    return {key: value for key, value in attrs.items() if value is not None}


def _with_place(cube: xr.DataArray, metadata: Metadata) -> xr.DataArray:
    cube = cube.rio.write_nodata(np.nan)
    if metadata.crs is not None:
        cube = cube.rio.write_crs(metadata.crs)
    if metadata.georeferenced:
        cube = cube.rio.write_transform(metadata.transform)
    return cube


def _metadata_of(cube: xr.DataArray, base: Metadata) -> Metadata:
    """What a cube's coordinates tell, on top of how its samples are stored."""
    described = _spectral_of(cube)
    names = [str(name) for name in cube["band_name"].values] if "band_name" in cube.coords else None
    return replace(
        base,
        grid=_grid_of(cube),
        wavelength=described.wavelength,
        fwhm=described.fwhm,
        good=described.good_bands(cube.shape[0]),
        band_names=tuple(names) if names is not None else None,
    )


def _spectral_of(cube: xr.DataArray) -> Spectral:
    fields: dict[str, Any] = {}
    for name, key in (("wavelength", "wavelength"), ("fwhm", "fwhm"), ("good", "bbl")):
        if name in cube.coords and cube[name].dims == ("band",):
            fields[key] = [repr(float(value)) for value in cube[name].values]
    if "wavelength" in fields:
        fields["wavelength units"] = str(cube["wavelength"].attrs.get("units", ""))
    elif "fwhm" in fields:
        fields["wavelength units"] = str(cube["fwhm"].attrs.get("units", ""))
    return spectral(fields, cube.shape[0], str(cube.attrs.get("source", "array")))


def _grid_of(cube: xr.DataArray) -> Grid:
    """The exact grid of a cube, slices of it included."""
    crs = cube.rio.crs
    shape = (cube.sizes["y"], cube.sizes["x"])
    return Grid(shape, CRS.from_user_input(crs) if crs else None, _transform_of(cube, shape))


def _transform_of(cube: xr.DataArray, shape: tuple[int, int]) -> Affine | None:
    written = _written_transform(cube)
    if _ROW in cube.coords and _COLUMN in cube.coords:
        return written and joined(
            written, from_centres(cube[_COLUMN].values + 0.5, cube[_ROW].values + 0.5, (1.0, 1.0))
        )
    if "x" not in cube.coords or "y" not in cube.coords or not Grid(shape, None, written).rectilinear:
        return written
    told = from_centres(
        np.asarray(cube["x"].values, dtype=np.float64),
        np.asarray(cube["y"].values, dtype=np.float64),
        (written.a, written.e) if written else (1.0, -1.0),
    )
    # Coordinates are rounded pixel centres: the written transform is exact, if it says the same.
    if written and told.almost_equals(written, 1e-6 * abs(written.a)):
        return written
    return told


def _written_transform(cube: xr.DataArray) -> Affine | None:
    holder = cube.coords.get(cube.rio.grid_mapping)
    text = None if holder is None else holder.attrs.get("GeoTransform")
    return None if text is None else Affine.from_gdal(*(float(value) for value in str(text).split()))
