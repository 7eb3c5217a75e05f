"""What the products that come as HDF5 have in common: being recognised by their structure, and reading its parts.

Nothing here knows a product. A product's module says which part is what.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.errors import CubeError, HadgeoError
from hadgeo.formats.arrays import DAMAGE, Axes, Boxes, ContainerSource, check_bands, check_list, check_stored
from hadgeo.formats.container import Dimension, Variable, text, text_of
from hadgeo.formats.containers import split_name
from hadgeo.formats.hdf5 import Hdf5Array, import_h5py, is_hdf5, open_hdf5
from hadgeo.formats.packing import Packing, packing
from hadgeo.formats.quantities import START, acquired, quantity
from hadgeo.formats.reading import Reading
from hadgeo.formats.source import Metadata, Source
from hadgeo.formats.wavelengths import NO_WAVELENGTHS, Spectral, spectral
from hadgeo.grid import Grid


@dataclass
class Opened:
    """A product whose file is open, to be described.

    Attributes:
        path: The file as the user named it.
        file: The open ``h5py.File``.
        reading: What the user says of it.
        notes: Warnings so far.
        assumed: What had to be guessed so far.
    """

    path: str
    file: Any
    reading: Reading
    notes: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def dataset(self, place: str) -> Any:
        """An ``h5py.Dataset`` by its place in the file, or None.

        Raises:
            CubeError: It is large, and next to nothing of it is in the file.
        """
        import h5py

        found = self.file.get(place)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            return None
        check_stored(Hdf5Array.of(found), f"{self.path}: {place}")
        return found

    def cube(self, place: str) -> Any:
        """The ``h5py.Dataset`` of a cube, before anything is made that has one item a band.

        Raises:
            CubeError: It is large, and next to nothing of it is in the file; or there is none.
        """
        found = self.dataset(place)
        if found is None:
            raise CubeError(f"{self.path}: {place} is no array; the file is damaged: download it again")
        return found

    def values(self, place: str) -> npt.NDArray[Any] | None:
        """The values of a small dataset, or None where there is none of that name."""
        dataset = self.dataset(place)
        if dataset is None:
            return None
        check_list(Hdf5Array.of(dataset), f"{self.path}: {place}")
        return np.asarray(dataset[()])

    def packing(self, dataset: Any, bands: int, fill: float | None) -> Packing:
        """How the samples of a cube are packed.

        Args:
            dataset: The cube.
            bands: Number of its bands.
            fill: The fill value that the product's documentation names, for a file that names none.
        """
        packed = packing(variable_of(dataset), bands, netcdf=False)
        self.notes.extend(packed.warnings)
        if packed.nodata is None and fill is not None and not _declares_nan(dataset):
            self.assumed.append(f"no fill value in the file: {fill:.0f} assumed, as documented for this product")
            return replace(packed, nodata=fill)
        return packed

    def describe(self, driver: str, dataset: Any, axes: Axes, known: Spectral, grid: Grid, packed: Packing) -> Metadata:
        """All that is known of a cube, with the notes and assumptions so far."""
        bands = dataset.shape[axes.band]
        return Metadata(
            driver=driver,
            stored_dtype=dataset.dtype,
            grid=grid,
            interleave=axes.interleave,
            wavelength=known.wavelength,
            fwhm=known.fwhm,
            good=np.ones(bands, dtype=bool) if known.good is None else known.good,
            nodata=packed.nodata,
            scale=packed.scale,
            offset=packed.offset,
            quantity=quantity(dataset.name, text_of(dataset.attrs, "units", "unit")),
            acquired=acquired(text_of(self.file.attrs, *START)),
            warnings=tuple(dict.fromkeys(self.notes)),
            assumed=tuple(dict.fromkeys(self.assumed)),
        )

    def source(self, dataset: Any, axes: Axes, metadata: Metadata, packed: Packing) -> ContainerSource:
        """The cube in a dataset."""
        array = Hdf5Array.of(dataset)
        return ContainerSource(self.path, array, axes, metadata, fills=packed.fills, limits=packed.limits)

    def layer(self, place: str, shape: tuple[int, int]) -> ContainerSource | None:
        """A dataset (row, col) on the cube's grid, or None where it is missing.

        Raises:
            CubeError: It has another size than the cube.
        """
        dataset = self.dataset(place)
        if dataset is None:
            return None
        if dataset.shape != shape:
            raise CubeError(
                f"{self.path}: {place} is {by(dataset.shape)}, but the cube has {by(shape)} pixels; download it again"
            )
        array = _Hdf5Layer.of(dataset)
        plain = Metadata("HDF5", dataset.dtype, Grid(shape), nodata=fill_value(dataset))
        return ContainerSource(self.path, array, Axes(band=0, row=1, col=2), plain)


class Hdf5Product(ABC):
    """A product that comes as an HDF5 file; see `hadgeo.formats.registry.Format`.

    Attributes:
        title: What it is called, for people.
    """

    title: str

    def claims(self, name: str) -> bool:
        """Whether a file has the structure of this product, whatever it is called."""
        path, array = split_name(name)
        if not is_hdf5(path):
            return False
        try:
            with import_h5py(path).File(path, "r") as file:
                return self.recognises(file, None if array is None else array.strip("/"))
        except (*DAMAGE, HadgeoError, TypeError, AttributeError):
            return False

    def open(self, name: str, reading: Reading) -> Source:
        """Describe its cube; see `Format.open`."""
        path, array = split_name(name)
        wanted = reading.variable if array is None else array
        with open_hdf5(name, path) as file:
            product = Opened(name, file, reading)
            try:
                return self.describe(product, None if wanted is None else wanted.strip("/"))
            except DAMAGE as error:
                if isinstance(error, HadgeoError):
                    raise
                raise CubeError(
                    f"{name}: its metadata cannot be read ({' '.join(str(error).split())}); "
                    "the file is damaged or incomplete: download it again"
                ) from error

    @abstractmethod
    def recognises(self, file: Any, array: str | None) -> bool:
        """Whether an open ``h5py.File`` is of this product.

        Args:
            file: The file.
            array: The array in it that the user named, if any: one that is no cube of the product is left to others.
        """

    @abstractmethod
    def describe(self, product: Opened, array: str | None) -> Source:
        """Describe the cube.

        Args:
            product: The file, which has been recognised.
            array: The array in it that the user named, if any.

        Raises:
            CubeError: It cannot be used as a cube.
        """


class _Hdf5Layer(Hdf5Array):
    """A dataset of rows and columns, as an array of a single band."""

    @classmethod
    def of(cls, dataset: Any) -> _Hdf5Layer:
        """Remember an open ``h5py.Dataset``."""
        file = str(Path(dataset.file.filename).absolute())
        chunks = None if dataset.chunks is None else (1, *dataset.chunks)
        return cls(file, dataset.name, (1, *dataset.shape), dataset.dtype, chunks)

    def open(self, cache: int) -> Boxes:
        """Open it; see `StoredArray.open`."""
        return _OneBand(super().open(cache))


@dataclass(frozen=True)
class _OneBand:
    layer: Boxes

    def __getitem__(self, box: tuple[slice, ...]) -> Any:
        return np.asarray(self.layer[box[1:]])[None]


def dimension_names(dataset: Any) -> tuple[str, ...]:
    """What a dataset calls its axes, by its dimension scales; empty where it does not say."""
    names = []
    for dimension in dataset.dims:
        try:
            names.append((dimension[0].name or "").rsplit("/", 1)[-1] if len(dimension) else dimension.label)
        except DAMAGE:
            names.append("")
    return tuple(names)


def find_axes(
    product: Opened,
    dataset: Any,
    names: Sequence[str],
    roles: Mapping[str, str],
    documented: Axes,
    bands: int | None,
    *,
    firm: bool = False,
) -> Axes:
    """Which axis of a cube is which: as the user says, by names of axes, or by the documentation.

    Where the number of wavelengths is the length of another axis alone than the documentation has for bands, that axis
    counts bands; where it is that of none, the list of wavelengths is wrong.

    Args:
        product: Whose cube it is; what is guessed goes to its notes.
        dataset: The cube, with three axes.
        names: What the file calls the axes, if it does.
        roles: "band", "row" or "col" for each name that the product uses.
        documented: The axes as the product's documentation has them.
        bands: Number of wavelengths, if there are any.
        firm: Whether the documentation is not to be contradicted.

    Raises:
        CubeError: What tells contradicts itself, or there are more bands than any spectrum has.
    """
    axes = _told_axes(product, dataset, names, roles, documented, bands, firm=firm)
    check_bands(dataset.shape[axes.band], f"{product.path}: {dataset.name}")
    return axes


def _told_axes(
    product: Opened,
    dataset: Any,
    names: Sequence[str],
    roles: Mapping[str, str],
    documented: Axes,
    bands: int | None,
    *,
    firm: bool,
) -> Axes:
    shape = dataset.shape
    chosen = product.reading.band_axis
    if chosen is not None:
        if not 0 <= chosen < 3:
            raise CubeError(f"{product.path}: band axis {chosen} of {dataset.name} ({by(shape)}); give 0, 1 or 2")
        return _with_band(chosen)
    found = {roles[name]: axis for axis, name in enumerate(names) if name in roles}
    if len(found) == 3 and (bands not in shape or shape[found["band"]] == bands):
        return Axes(**found)
    if len(found) == 3:
        raise CubeError(
            f"{product.path}: axes of {dataset.name} ({by(shape)}) are called {', '.join(names)}, and there are "
            f"{bands} wavelengths; say which axis counts bands with --band-axis 0, 1 or 2"
        )
    fitting = [axis for axis, length in enumerate(shape) if length == bands]
    if not fitting or documented.band in fitting:
        return documented
    if len(fitting) == 1 and not firm:
        product.assumed.append(
            f"axis {fitting[0]} of {dataset.name} ({by(shape)}) taken as the band axis, since there are {bands} "
            "wavelengths"
        )
        return _with_band(fitting[0])
    raise CubeError(
        f"{product.path}: {dataset.name} is {by(shape)} with {bands} wavelengths, which do not fit axis "
        f"{documented.band}, the documented band axis; specify it with --band-axis 0, 1 or 2"
    )


def _with_band(band: int) -> Axes:
    row, col = (axis for axis in range(3) if axis != band)
    return Axes(band=band, row=row, col=col)


def spectral_of(
    product: Opened,
    bands: int,
    *,
    wavelength: npt.ArrayLike | None,
    fwhm: npt.ArrayLike | None = None,
    good: npt.ArrayLike | None = None,
    unit: str = "nm",
) -> Spectral:
    """Wavelengths and what belongs to them; lists of another length are ignored with a warning.

    Args:
        product: Whose they are; what is odd goes to its notes.
        bands: Number of bands of the cube.
        wavelength: Band centres, if any.
        fwhm: Widths, if any.
        good: What is not 0 for good bands, if any.
        unit: Unit of centres and widths; empty where the file does not say.
    """
    fields: dict[str, str | list[str]] = {"wavelength units": unit}
    for key, values in (("wavelength", wavelength), ("fwhm", fwhm), ("bbl", good)):
        if values is None:
            continue
        numbers = np.asarray(values, dtype=np.float64).ravel()
        if numbers.size == bands:
            # The shortest text that gives the stored number again: 381.00558 and not 381.00558471679688.
            fields[key] = [str(value) for value in np.asarray(values).ravel()]
        else:
            product.notes.append(f"{numbers.size} values of {key} for {bands} bands: ignored")
    known = spectral(fields, bands, product.path)
    product.notes.extend(known.warnings)
    product.assumed.extend(known.assumed)
    if known.wavelength is None:
        product.notes.append(NO_WAVELENGTHS)
    return known


def variable_of(dataset: Any) -> Variable:
    """A dataset as `hadgeo.formats.container` has arrays."""
    dims = tuple(Dimension(name) for name in dimension_names(dataset))
    return Variable(Hdf5Array.of(dataset), dims, dict(dataset.attrs))


def fill_value(dataset: Any) -> float | None:
    """The fill value that a dataset declares in stored units, or None."""
    return packing(variable_of(dataset), 1, netcdf=False).nodata


def _declares_nan(dataset: Any) -> bool:
    """Whether the fill value is not a number, which needs no word of its own."""
    value = dataset.attrs.get("_FillValue")
    return value is not None and np.asarray(value).dtype.kind == "f" and bool(np.isnan(value).all())


def unit_of(dataset: Any) -> str:
    """The unit that a dataset of wavelengths declares, or nothing."""
    for name in ("units", "Units", "unit", "Unit"):
        if dataset is not None and name in dataset.attrs:
            return text(dataset.attrs[name]).lower()
    return ""


def by(shape: Sequence[int]) -> str:
    """A shape for a message: 30 x 24 x 16."""
    return " x ".join(map(str, shape))
