"""Everything that GDAL opens: GeoTIFF, COG, compressed ENVI, NetCDF variables, files inside archives and on the web."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from hadgeo.compute.executors import READERS
from hadgeo.errors import CubeError, CubeNotFoundError, ReadError
from hadgeo.formats.enmap_metadata import enmap_bands, find_enmap_metadata, lone_metadata
from hadgeo.formats.envi_header import RAW_SUFFIXES, Header, header_names, normal_key
from hadgeo.formats.envi_metadata import header_metadata
from hadgeo.formats.esri_header import esri_bands
from hadgeo.formats.gdal import (
    LARGE_CACHE,
    SMALL_CACHE,
    Georeference,
    cut_short,
    exists,
    georeference,
    listening,
    open_dataset,
    settings,
    told,
)
from hadgeo.formats.magic import foreign_format
from hadgeo.formats.map_info import locate
from hadgeo.formats.mask_bands import called_masks
from hadgeo.formats.number_lists import split_list
from hadgeo.formats.quantities import acquired, quantity
from hadgeo.formats.reading import AS_IT_SAYS, Reading
from hadgeo.formats.source import Metadata, Source, decode, decoded_dtype
from hadgeo.formats.stac import stac_bands
from hadgeo.formats.wavelengths import Spectral, first_known, from_names, spectral, unknown_wavelengths, usual_key

_INTERLEAVE = {"band": "bsq", "line": "bil", "pixel": "bip"}


class RasterSource(Source):
    """A cube read through GDAL, with one handle for each thread that reads."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Header | None = None,
        data: Path | None = None,
        *,
        reading: Reading = AS_IT_SAYS,
    ) -> None:
        """Open a raster; only its metadata is read.

        Args:
            path: The file as the user named it, or anything else that GDAL opens.
            header: The ENVI header of a compressed file.
            data: The data file, where `path` is its header.
            reading: What the user says of it.

        Raises:
            CubeError: GDAL cannot open it, it holds no bands, or its metadata contradict each other.
        """
        self.path = os.fspath(path)
        self._reading = reading
        name = os.fspath(data or path)
        # Absolute, because a worker may reopen it from another directory.
        self._name = str(Path(name).absolute()) if exists(name) else name
        self._handles = threading.local()
        with listening() as heard:
            try:
                dataset = open_dataset(self._name)
            except RasterioError as error:
                reason = " ".join(str(error).split())
                raise CubeError(
                    f"{self.path}: not a raster that GDAL can open ({reason}); is it a cube, and was it copied "
                    "completely?"
                ) from error
            with settings(), dataset:
                self._describe(dataset, header)
        self.metadata = replace(self.metadata, warnings=(*self.metadata.warnings, *told(heard)))

    def _describe(self, dataset: DatasetReader, header: Header | None) -> None:
        _check(dataset, self.path)
        if header is None:
            _check_no_lie(dataset, self.path)
        # Parts of an archive or an object store are named by GDAL too, and nobody else can look at them.
        self._files = tuple(Path(name) for name in dataset.files if exists(name))
        self.shape = (dataset.count, dataset.height, dataset.width)
        self.block = tuple(dataset.block_shapes[0])
        stored = np.result_type(*set(dataset.dtypes))
        # An alpha band that was added to a virtual raster is of bytes.
        self._mixed = len(set(dataset.dtypes)) > 1
        self.dtype = decoded_dtype(stored)
        self._mask = _mask_kind(dataset)
        place = georeference(dataset)
        fields = dataset.tags(ns="ENVI") if dataset.driver == "ENVI" else {}
        if header is None and {"samples", "lines", "bands", "data_type"} <= set(fields):
            # Inside an archive there is no header to look for, but GDAL passes its fields on.
            header = Header(self.path, {normal_key(key): value for key, value in fields.items()})
        if header is not None:
            if header.shape != self.shape:
                raise CubeError(
                    f"{self.path}: GDAL reports {self.shape}, but its header {header.name} specifies {header.shape}"
                )
            self.metadata = header_metadata(header, locate(header.fields, place, self._reading.place))
        else:
            self.metadata = _metadata(dataset, place, stored, self._name)

    @property
    def files(self) -> tuple[Path, ...]:
        """All on this disk that GDAL reads for this dataset; see `Source.files`."""
        return self._files

    @property
    def sample_bytes(self) -> int:
        """A window is read whole before it is decoded; see `Source.sample_bytes`."""
        return self.metadata.stored_dtype.itemsize + self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """All bands of it where they are stored together; see `Source.block_bytes`."""
        bands = self.shape[0] if self.metadata.interleave == "bip" else 1
        return bands * math.prod(self.block or ()) * self.metadata.stored_dtype.itemsize

    @property
    def cache_bytes(self) -> int:
        """A row of blocks for each thread that reads, within limits; see `Source.cache_bytes`."""
        height, width = self.block or (1, 1)
        row = self.shape[0] * height * math.ceil(self.shape[2] / width) * width * self.metadata.stored_dtype.itemsize
        return min(max(READERS * row, SMALL_CACHE), LARGE_CACHE)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read a window, band by band in memory; see `Source.read`."""
        indices = np.arange(self.shape[0])[bands]
        size = (indices.size, rows.stop - rows.start, cols.stop - cols.start)
        if 0 in size:
            return np.empty(size, self.dtype)
        window = Window(cols.start, rows.start, size[2], size[1])
        dataset = self._dataset()
        try:
            with settings():
                raw = self._read_stored(dataset, indices, window)
                mask = self._read_mask(dataset, indices, window)
        except RasterioError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            damage = self._damage(rows, cols, indices)
            # Who tries again shall not meet what this handle remembers of the failure.
            self._handles.dataset = None
            raise ReadError(
                f"{self.path}: rows {rows.start} to {rows.stop - 1} cannot be read ({damage}{reason}); "
                "the file is damaged or cut short: copy it again"
            ) from error
        out = decode(raw, self.metadata, bands)
        if mask is not None:
            out[np.broadcast_to(mask == 0, out.shape)] = np.nan
        return out

    def _read_stored(self, dataset: DatasetReader, bands: npt.NDArray[np.intp], window: Window) -> npt.NDArray[Any]:
        """Samples as they are stored, in the type that holds those of all bands; rasterio reads but one at once."""
        numbers = (bands + 1).tolist()
        if not self._mixed:
            raw: npt.NDArray[Any] = dataset.read(numbers, window=window)
            return raw
        stored = self.metadata.stored_dtype
        return np.stack([dataset.read(number, window=window).astype(stored) for number in numbers])

    def _read_mask(
        self, dataset: DatasetReader, bands: npt.NDArray[np.intp], window: Window
    ) -> npt.NDArray[np.uint8] | None:
        """The mask that GDAL keeps beside the samples, for all bands or for each of some; None where there is none."""
        if self._mask == "none":
            return None
        which = 1 if self._mask == "dataset" else (bands + 1).tolist()
        mask: npt.NDArray[np.uint8] = dataset.read_masks(which, window=window)
        return mask

    def _damage(self, rows: slice, cols: slice, bands: npt.NDArray[np.intp]) -> str:
        """Which bytes of a TIFF the first block of a window holds that cannot be read; empty where that is unknown."""
        height, width = self.block or (1, 1)
        for band in (bands + 1).tolist():
            for row in range(rows.start // height, -(-rows.stop // height)):
                for col in range(cols.start // width, -(-cols.stop // width)):
                    with settings():
                        found = _unreadable(self._dataset(), band, row, col)
                    if found:
                        return f"bytes {found[0]} to {found[1]}: "
        return ""

    def _dataset(self) -> DatasetReader:
        handle: DatasetReader | None = getattr(self._handles, "dataset", None)
        if handle is None:
            try:
                handle = self._handles.dataset = open_dataset(self._name)
            except RasterioError as error:
                # In an object store: a worker may lack the credentials of whoever opened it first.
                raise ReadError(
                    f"{self.path}: cannot be opened again ({' '.join(str(error).split())}); "
                    "was it moved, or does this process lack the permissions or settings to read it?"
                ) from error
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_handles"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._handles = threading.local()


def _mask_kind(dataset: DatasetReader) -> Literal["none", "dataset", "bands"]:
    """Whether samples that are no data are masked besides fill values and alpha bands, in all bands alike or in each.

    Masks lie in the file, in ``.msk`` beside it, or in a virtual raster; GDAL makes one of ``NODATA_VALUES`` too, where
    a pixel is no data if all of its bands hold theirs.
    """
    flags = [set(found) for found in dataset.mask_flag_enums]
    if any(MaskFlags.per_dataset in found and MaskFlags.alpha not in found for found in flags):
        return "dataset"
    # Neither all valid, nor by a fill value, nor one for all: each band has its own.
    return "bands" if any(not found for found in flags) else "none"


def _unreadable(dataset: DatasetReader, band: int, row: int, col: int) -> tuple[int, int] | None:
    """First and last byte of a block, by its numbers, if it cannot be read and the format tells where it stands."""
    offset_and_size = [
        dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")
    ]
    if None in offset_and_size:
        return None
    height, width = dataset.block_shapes[band - 1]
    block = Window(col * width, row * height, width, height).intersection(Window(0, 0, dataset.width, dataset.height))
    try:
        dataset.read(band, window=block)
    except RasterioError:
        start, size = (int(value) for value in offset_and_size)
        return start, start + size - 1
    return None


#: GDAL takes their first axis for bands, whatever it is, and may turn their rows: hadgeo reads them itself.
_CONTAINERS = {"netCDF", "HDF5", "HDF5Image", "Zarr"}


def _check(dataset: DatasetReader, path: str) -> None:
    if dataset.driver in _CONTAINERS:
        raise CubeError(
            f"{path}: {dataset.driver} is read from local files and folders only, since GDAL may confuse its axes; "
            "unpack or download it"
        )
    if not dataset.count:
        names = dataset.subdatasets
        hint = f"; give one of its {len(names)} parts, such as {names[0]}" if names else ""
        raise CubeError(f"{path}: no bands in it{hint}")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise CubeError(f"{path}: samples are complex; convert them to magnitudes first")
    cut = cut_short(dataset)
    if cut:
        raise CubeError(f"{path}: {cut}: it was cut short; copy it again")


def _check_no_lie(dataset: DatasetReader, path: str) -> None:
    """Refuse a file of another format that GDAL reads as raw, where it has no driver for it and believes a header."""
    kind = foreign_format(Path(dataset.name)) if dataset.driver == "ENVI" and exists(dataset.name) else None
    if kind is not None:
        raise CubeError(
            f"{path}: a file of another format ({kind}) that GDAL cannot open, not raw samples as the ENVI header next "
            "to it says; give the right file, or convert this one to GeoTIFF"
        )


def _metadata(dataset: DatasetReader, located: Georeference, stored: np.dtype[Any], name: str) -> Metadata:
    masks = _masks(dataset)
    described, notes = _spectral_besides(masks, dataset, name)
    nodata, band_nodata, odd = _nodata(dataset)
    names = dataset.descriptions
    missing = unknown_wavelengths(described.wavelength, dataset.count)
    return Metadata(
        driver=dataset.driver,
        stored_dtype=stored,
        interleave=_INTERLEAVE.get(dataset.interleaving.value.lower()) if dataset.interleaving else None,
        grid=located.grid,
        wavelength=described.wavelength,
        fwhm=described.fwhm,
        good=described.good_bands(dataset.count),
        nodata=nodata,
        band_nodata=band_nodata,
        scale=_unless(dataset.scales, 1.0),
        offset=_unless(dataset.offsets, 0.0),
        band_names=tuple(text or "" for text in names) if any(names) else None,
        masks=masks if masks.any() else None,
        quantity=_quantity(dataset),
        acquired=_acquired(dataset),
        warnings=(*located.warnings, *described.warnings, *missing, *notes, *odd),
        assumed=(*located.assumed, *described.assumed),
    )


def _quantity(dataset: DatasetReader) -> str | None:
    """What the values are, where all bands have the same unit."""
    units = set(dataset.units)
    return quantity(dataset.descriptions[0], units.pop()) if len(units) == 1 else None


def _acquired(dataset: DatasetReader) -> str | None:
    """When the scene was taken: by GDAL's own domain for that, or as a plain tag."""
    imagery = dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME")
    tags = {normal_key(key): value for key, value in dataset.tags().items()}
    return acquired(imagery or tags.get("acquisition_time") or tags.get("acquisition_date"))


def _masks(dataset: DatasetReader) -> npt.NDArray[np.bool_]:
    """Which bands say what is data instead of being it: by their colour, or by their name."""
    # GDAL calls the last of four bands of bytes alpha, whatever it is; what has a wavelength is measured.
    alpha = np.array(
        [
            colour is ColorInterp.alpha and not _has_wavelength(dataset, band)
            for band, colour in enumerate(dataset.colorinterp, start=1)
        ],
        dtype=bool,
    )
    return alpha | called_masks(dataset.descriptions)


def _has_wavelength(dataset: DatasetReader, band: int) -> bool:
    fields = [*_band_fields(dataset, band, None), *_band_fields(dataset, band, "IMAGERY")]
    listed = [value for key, value in dataset.tags().items() if normal_key(key) in ("wavelength", "wavelengths")]
    return "wavelength" in fields or any(len(split_list(value)) == dataset.count for value in listed)


@dataclass(frozen=True)
class _SomeBands:
    """What an open file says of some of its bands, counted anew from 1."""

    dataset: DatasetReader
    numbers: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.numbers)

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        return tuple(self.dataset.descriptions[number - 1] for number in self.numbers)

    @property
    def driver(self) -> str:
        return str(self.dataset.driver)

    @property
    def files(self) -> list[str]:
        return list(self.dataset.files)

    def tags(self, band: int = 0, ns: str | None = None) -> dict[str, str]:
        found: dict[str, str] = self.dataset.tags(self.numbers[band - 1] if band else 0, ns=ns)
        return found


def _spectral_besides(
    masks: npt.NDArray[np.bool_], dataset: DatasetReader, name: str
) -> tuple[Spectral, tuple[str, ...]]:
    """What is known of the bands; nothing of masks, of which no list of wavelengths speaks."""
    if not masks.any() or masks.all():
        return _spectral(dataset, name)
    described, notes = _spectral(_SomeBands(dataset, tuple((np.flatnonzero(~masks) + 1).tolist())), name)

    def on_all(values: npt.NDArray[Any] | None, missing: float | bool) -> npt.NDArray[Any] | None:
        if values is None:
            return None
        out = np.full(masks.size, missing, dtype=values.dtype)
        out[~masks] = values
        return out

    wavelength, fwhm = on_all(described.wavelength, np.nan), on_all(described.fwhm, np.nan)
    return replace(described, wavelength=wavelength, fwhm=fwhm, good=on_all(described.good, True)), notes


def _nodata(dataset: DatasetReader) -> tuple[float | None, npt.NDArray[np.float64] | None, tuple[str, ...]]:
    values = dataset.nodatavals
    first = values[0]
    same = all(v == first or (v is not None and first is not None and np.isnan([v, first]).all()) for v in values)
    if same:
        return (None if first is None else float(first)), None, ()
    each = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    kinds = sorted({str(v) for v in values})
    return None, each, (f"the fill value differs from band to band ({', '.join(kinds[:5])}): each band keeps its own",)


def _unless(values: Sequence[float], neutral: float) -> npt.NDArray[np.float64] | None:
    array = np.array(values, dtype=np.float64)
    return None if (array == neutral).all() else array


def _spectral(dataset: DatasetReader | _SomeBands, name: str) -> tuple[Spectral, tuple[str, ...]]:
    """What is known of the bands, from every place where it may be written, the most exact text first.

    Raises:
        CubeError: A list has the wrong length, and no other place knows better.
    """
    found: list[Spectral] = []
    failed: list[CubeError] = []
    readers: list[Callable[[], Spectral]] = [
        lambda: _of_bands(dataset, name, None),
        lambda: _of_bands(dataset, name, "ENVI"),
        lambda: _of_dataset(dataset, name, "ENVI"),
        lambda: _of_dataset(dataset, name, None),
        lambda: stac_bands(name, dataset.count),
        lambda: _of_enmap(name, dataset.count),
        lambda: _of_esri(dataset),
        lambda: from_names(dataset.descriptions),
        lambda: _of_band_tags(dataset),
        lambda: _of_bands(dataset, name, "IMAGERY"),
    ]
    for read in readers:
        try:
            found.append(read())
        except CubeError as error:
            failed.append(error)
    best = first_known(found)
    aux = f"{name}.aux.xml"
    hint = f"it may come from {aux}: delete that file if it is out of date"
    stale = exists(aux) and (bool(failed) or any("ignored" in line for line in best.warnings))
    if failed and best.wavelength is None:
        raise CubeError(f"{failed[0]} ({hint})" if stale else str(failed[0]))
    return best, (*(f"ignored: {error}" for error in failed), *((hint,) if stale else ()))


def _of_dataset(dataset: DatasetReader | _SomeBands, name: str, namespace: str | None) -> Spectral:
    tags = dataset.tags(ns=namespace) if namespace else dataset.tags()
    return spectral({normal_key(key): value for key, value in tags.items()}, dataset.count, name)


def _of_bands(dataset: DatasetReader | _SomeBands, name: str, namespace: str | None) -> Spectral:
    bands = [_band_fields(dataset, band, namespace) for band in range(1, dataset.count + 1)]
    fields: dict[str, str | list[str]] = {}
    notes: list[str] = []
    for key, default in (("wavelength", None), ("fwhm", None), ("bbl", "1")):
        values = [fields_of_band.get(key, default) for fields_of_band in bands]
        given = sum(value is not None for value in values)
        if not any(key in fields_of_band for fields_of_band in bands):
            continue
        if 2 * given > dataset.count:
            fields[key] = ["nan" if value is None else value for value in values]
        else:
            notes.append(f"only {given} of {dataset.count} bands have a {key}: ignored")
    units = {fields_of_band.get("wavelength units", "") for fields_of_band in bands}
    if len(units) == 1:
        fields["wavelength units"] = units.pop()
    described = spectral(fields, dataset.count, name)
    return replace(described, warnings=(*described.warnings, *notes))


def _of_band_tags(dataset: DatasetReader | _SomeBands) -> Spectral:
    """Wavelengths from tags ``Band_1``, ``Band_2``, ..., to which GDAL turns the band names of ENVI headers."""
    tags = {normal_key(key): value for key, value in dataset.tags().items()}
    numbers = dataset.numbers if isinstance(dataset, _SomeBands) else dataset.indexes
    return from_names([tags.get(f"band {number}") for number in numbers])


def _band_fields(dataset: DatasetReader | _SomeBands, band: int, namespace: str | None) -> dict[str, str]:
    tags = dataset.tags(band, ns=namespace) if namespace else dataset.tags(band)
    fields = {normal_key(key): value for key, value in tags.items()}
    # A key that is the usual one goes before others for the same.
    fields = {**{usual_key(key): value for key, value in fields.items()}, **fields}
    if namespace != "IMAGERY":
        return fields
    renamed = {"wavelength": "central wavelength um", "fwhm": "fwhm um"}
    micrometres = {new: fields[old] for new, old in renamed.items() if old in fields}
    return {**micrometres, "wavelength units": "um"}


def _of_enmap(name: str, bands: int) -> Spectral:
    """Wavelengths from the metadata beside an image of an EnMAP product."""
    if not exists(name):
        return Spectral()
    own = find_enmap_metadata(Path(name))
    metadata = own or lone_metadata(Path(name))
    if metadata is None:
        return Spectral()
    product = enmap_bands(metadata)
    if own is None and len(product.wavelength) != bands:
        return Spectral()
    fields = {"wavelength": product.wavelength, "fwhm": product.fwhm}
    texts = {key: [repr(float(value)) for value in values] for key, values in fields.items()}
    known = spectral({**texts, "wavelength units": "nm"}, bands, str(metadata))
    if own is not None or known.wavelength is None:
        return known
    note = f"wavelengths taken from {metadata.name} beside it, which has as many bands"
    return replace(known, assumed=(*known.assumed, note))


def _of_esri(dataset: DatasetReader) -> Spectral:
    """Wavelengths from an ESRI header's own block."""
    headers = [Path(file) for file in dataset.files if file.lower().endswith(".hdr") and exists(file)]
    return esri_bands(headers[0], dataset.count) if dataset.driver == "EHdr" and headers else Spectral()


class GdalFormat:
    """Whatever else GDAL opens, asked last; see `hadgeo.formats.registry.Format`."""

    title = "GDAL"

    def claims(self, name: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Whatever nobody else has claimed."""
        return True

    def open(self, name: str, reading: Reading) -> Source:
        """Open a raster; see `Format.open`."""
        try:
            return RasterSource(name, reading=reading)
        except CubeError as error:
            file = Path(name)
            if exists(name) and file.is_dir():
                # Some formats are folders (Zarr, Sentinel-2 .SAFE), and GDAL does not know this one.
                raise CubeError(f"{name}: a folder, not a cube; give a file in it") from None
            raw = exists(name) and file.suffix.lower() in RAW_SUFFIXES and foreign_format(file) is None
            if raw and "not a raster" in str(error):
                expected = " or ".join(dict.fromkeys(h.name for h in header_names(file) if h.suffix == ".hdr"))
                raise CubeNotFoundError(
                    f"{name}: GDAL cannot open it, and as raw ENVI its header is missing; put {expected} next to it"
                ) from error
            raise


GDAL = GdalFormat()
