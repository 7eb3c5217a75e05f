"""Strips into files: raw ENVI in three interleaves, and tiled GeoTIFFs. One strip is in memory, or one row of tiles."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from hadgeo.simulation.spec import INT16_SCALE, NODATA, TRUTH_NODATA, SceneSpec
from hadgeo.simulation.spectra import Bands

_TILE = 256
_ENVI_TYPES = {"int16": 2, "float32": 4}
_WGS84_UTM = {"326": "North", "327": "South"}


class Writer(Protocol):
    """Takes strips from top to bottom."""

    def write(self, start: int, pixels: npt.NDArray[Any]) -> None:
        """Write rows from `start`; pixels are (rows, cols, bands)."""

    def close(self) -> None:
        """Finish, and make sure that all of it arrived."""

    def release(self) -> None:
        """Close the file in whatever state it is."""


class EnviWriter:
    """The raw file of an ENVI scene.

    Args:
        path: The raw file.
        spec: The scene.
    """

    def __init__(self, path: Path, spec: SceneSpec) -> None:
        self._spec = spec
        self._file = path.open("wb", buffering=0)
        if spec.interleave == "bsq":
            self._file.truncate(spec.nbytes)

    def write(self, start: int, pixels: npt.NDArray[Any]) -> None:
        """Write rows from `start`; a BSQ file gets a piece for every band."""
        pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        if self._spec.interleave == "bip":
            self._put(np.ascontiguousarray(pixels))
        elif self._spec.interleave == "bil":
            self._put(np.ascontiguousarray(pixels.transpose(0, 2, 1)))
        else:
            line = self._spec.cols * pixels.itemsize
            for band, piece in enumerate(np.ascontiguousarray(pixels.transpose(2, 0, 1))):
                self._file.seek((band * self._spec.rows + start) * line)
                self._put(piece)

    def _put(self, data: npt.NDArray[Any]) -> None:
        # An unbuffered file may take less than it is given, near a full disk for one.
        left = data.reshape(-1).view(np.uint8).data
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        """Close the file; a disk that defers its errors reports them here."""
        self._file.close()

    release = close


class TiffWriter:
    """A tiled GeoTIFF, written by whole rows of tiles so that no tile is encoded twice.

    Args:
        path: The file.
        spec: The scene, for its size and place.
        profile: What is special about this file, for `rasterio.open`.
    """

    def __init__(self, path: Path, spec: SceneSpec, **profile: Any) -> None:
        self._path = path
        self._rows, self._cols = spec.rows, spec.cols
        self._dataset = rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=spec.cols,
            height=spec.rows,
            crs=spec.grid.crs,
            transform=spec.grid.transform,
            tiled=True,
            blockxsize=_TILE,
            blockysize=_TILE,
            BIGTIFF="IF_SAFER",
            **profile,
        )
        height = min(_TILE, spec.rows)
        self._buffer = np.empty((height, spec.cols, self._dataset.count), dtype=self._dataset.dtypes[0])

    def describe(self, bands: Bands, scale: float | None) -> None:
        """Say what the bands are; before the first pixel, as GDAL would otherwise write the tags a second time."""
        for number, (wavelength, fwhm, good) in enumerate(
            zip(bands.wavelength, bands.fwhm, bands.good, strict=True), start=1
        ):
            self._dataset.update_tags(
                number, wavelength=f"{wavelength:.4f}", wavelength_units="Nanometers", fwhm=f"{fwhm:.4f}", bbl=int(good)
            )
        if scale is not None:
            self._dataset.scales = (scale,) * self._dataset.count

    def tag(self, **tags: str) -> None:
        """Say something of the file; before the first pixel, as `describe`."""
        self._dataset.update_tags(**tags)

    def write(self, start: int, pixels: npt.NDArray[Any]) -> None:
        """Take rows from `start`, and write when a row of tiles is full."""
        while len(pixels):
            at = start % _TILE
            taken = min(len(self._buffer) - at, len(pixels))
            self._buffer[at : at + taken] = pixels[:taken]
            start, pixels = start + taken, pixels[taken:]
            if start % _TILE == 0 or start == self._rows:
                self._flush(start)

    def _flush(self, stop: int) -> None:
        start = (stop - 1) // _TILE * _TILE
        for left in range(0, self._cols, _TILE):
            tile = self._buffer[: stop - start, left : left + _TILE].transpose(2, 0, 1)
            self._dataset.write(tile, window=Window(left, start, tile.shape[2], tile.shape[1]))

    def close(self) -> None:
        """Close the file, and check that no tile ends behind the file's end, which GDAL may only print."""
        self._dataset.close()
        size = self._path.stat().st_size
        last = ((self._rows - 1) // _TILE, (self._cols - 1) // _TILE)
        with rasterio.open(self._path) as dataset:
            for row in range(last[0] + 1):
                for number in {1, dataset.count}:
                    place = [
                        dataset.get_tag_item(f"BLOCK_{what}_{last[1]}_{row}", "TIFF", bidx=number)
                        for what in ("OFFSET", "SIZE")
                    ]
                    if None in place or sum(int(item) for item in place) > size:
                        raise OSError(errno.EIO, "tiles are missing", str(self._path))

    def release(self) -> None:
        """Close the file in whatever state it is."""
        self._dataset.close()


def open_scene(path: Path, spec: SceneSpec, bands: Bands) -> Writer:
    """Begin the scene's file, and write its header where that is a file of its own."""
    if spec.format == "envi":
        path.with_suffix(".hdr").write_text(envi_header(spec, bands), encoding="ascii")
        return EnviWriter(path, spec)
    writer = TiffWriter(
        path,
        spec,
        dtype=spec.dtype,
        count=spec.bands,
        nodata=NODATA,
        interleave="pixel" if spec.interleave == "bip" else "band",
        # Bands are no colours, and the fourth is no transparency.
        photometric="minisblack",
        alpha="unspecified",
        **({} if spec.compress == "none" else {"compress": spec.compress}),
    )
    writer.describe(bands, 1 / INT16_SCALE if spec.dtype == "int16" else None)
    return writer


def open_truth(path: Path, spec: SceneSpec, scene: str) -> Writer:
    """Begin the truth's file, which says of which scene it is."""
    writer = TiffWriter(path, spec, dtype="uint8", count=1, nodata=TRUTH_NODATA, compress="deflate")
    writer.tag(HADGEO_TRUTH_OF=scene)
    return writer


def envi_header(spec: SceneSpec, bands: Bands) -> str:
    """The text of an ENVI header."""
    lines = [
        "ENVI",
        "description = {Simulated by hadgeo}",
        f"samples = {spec.cols}",
        f"lines = {spec.rows}",
        f"bands = {spec.bands}",
        "header offset = 0",
        "file type = ENVI Standard",
        f"data type = {_ENVI_TYPES[spec.dtype]}",
        f"interleave = {spec.interleave}",
        "byte order = 0",
        f"map info = {{{_map_info(spec)}}}",
        f"coordinate system string = {{{spec.projection.to_wkt(version='WKT1_ESRI')}}}",
        f"data ignore value = {NODATA}",
        "wavelength units = Nanometers",
        f"wavelength = {_braced(f'{value:.4f}' for value in bands.wavelength)}",
        f"fwhm = {_braced(f'{value:.4f}' for value in bands.fwhm)}",
        f"bbl = {_braced(str(int(value)) for value in bands.good)}",
    ]
    if spec.dtype == "int16":
        lines.append(f"reflectance scale factor = {INT16_SCALE}")
    return "\n".join(lines) + "\n"


def _map_info(spec: SceneSpec) -> str:
    code = str(spec.projection.to_epsg() or "")
    name, zone = "Arbitrary", ""
    if len(code) == 5 and code[:3] in _WGS84_UTM and "01" <= code[3:] <= "60":
        name, zone = "UTM", f" {int(code[3:])}, {_WGS84_UTM[code[:3]]}, WGS-84,"
    size = repr(float(spec.pixel_size))
    x, y = spec.grid.to_map(0.0, 0.0)
    place = f"1, 1, {x!r}, {y!r}, {size}, {size}"
    # GDAL takes "Feet" for international ones and overrules the coordinate system string, which knows better.
    unit = " units=Meters," if spec.projection.linear_units in ("metre", "meter") else ""
    return f"{name}, {place},{zone}{unit} rotation={float(spec.rotation)!r}"


def _braced(values: Iterable[str]) -> str:
    items = list(values)
    return "{\n" + ",\n".join(" " + ", ".join(items[i : i + 10]) for i in range(0, len(items), 10)) + "}"
