"""Families of files, one module each, and the choice between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hadgeo.errors import CubeError, CubeNotFoundError
from hadgeo.formats.envi import EnviSource
from hadgeo.formats.envi_header import Header, find_data, find_header, header_names, read_header
from hadgeo.formats.gdal import exists, is_no_path
from hadgeo.formats.matlab import MatlabSource, read_truth
from hadgeo.formats.raster import RasterSource
from hadgeo.formats.source import BandSubset, Metadata, Source

__all__ = ["BandSubset", "Metadata", "Source", "open_source", "read_truth"]

#: First bytes of formats that may lie beside an ENVI header and are not raw.
_NOT_RAW = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89HDF", b"\x89PNG", b"CDF\x01", b"CDF\x02", b"BM")

_RAW_SUFFIXES = {"", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin", ".envi", ".cube"}


def open_source(path: str | os.PathLike[str], bands: Sequence[int] | None = None) -> Source:
    """Open a cube of any supported format, without reading its samples.

    Args:
        path: A file (for ENVI the data file or its header), or a name that GDAL opens.
        bands: 0-based indices of the bands to keep, in order; all by default.

    Raises:
        CubeNotFoundError: The file, or its ENVI header or data file, does not exist.
        CubeError: The file cannot be used as a cube.
        BandError: `bands` holds an index that the cube does not have.
        MissingExtraError: The format needs an optional dependency.
    """
    source = _open(path)
    return source if bands is None else BandSubset(source, bands)


def _open(path: str | os.PathLike[str]) -> Source:
    name = os.fspath(path)
    if not name.strip():
        raise CubeNotFoundError("the path of the cube is empty; give a file")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CubeError(f"{name}: the name is not UTF-8, which GDAL cannot open; rename the file") from None
    if is_no_path(name):
        return RasterSource(name)
    if not exists(name):
        raise CubeNotFoundError(f"{name}: no such file; check the path")
    file = Path(name)
    if file.is_dir():
        # Some formats are folders (Zarr, Sentinel-2 .SAFE): GDAL may know better.
        return _open_directory(name)
    if not file.exists():
        raise CubeNotFoundError(f"{name}: a link to a file that does not exist; restore its target")
    if file.suffix.lower() == ".hdr":
        header = read_header(file)
        return _open_envi(name, header, find_data(file))
    if file.suffix.lower() == ".mat":
        return MatlabSource(name)
    header_file = find_header(file)
    if header_file is not None and not _starts_otherwise(file):
        return _open_envi(name, read_header(header_file), file)
    return _open_raster(name)


def _open_envi(name: str, header: Header, data: Path) -> Source:
    if header.compressed or header.fields.get("file type", "").upper().startswith("TIFF"):
        return RasterSource(name, header, data)
    return EnviSource(name, header, data)


def _open_directory(name: str) -> Source:
    try:
        return RasterSource(name)
    except CubeError:
        raise CubeError(f"{name}: a folder, not a cube; give a file in it") from None


def _open_raster(name: str) -> Source:
    try:
        return RasterSource(name)
    except CubeError as error:
        file = Path(name)
        if file.suffix.lower() in _RAW_SUFFIXES and "not a raster" in str(error):
            expected = " or ".join(dict.fromkeys(h.name for h in header_names(file) if h.suffix == ".hdr"))
            raise CubeNotFoundError(
                f"{name}: GDAL cannot open it, and as raw ENVI its header is missing; put {expected} beside it"
            ) from error
        raise


def _starts_otherwise(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(8).startswith(_NOT_RAW)
    except OSError as error:
        raise CubeError(f"{file}: cannot be read ({error.strerror or error}); check its permissions") from error
