"""What a container says of a cube's bands: arrays along the band axis, and attributes with one item a band."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.formats.arrays import Axes
from hadgeo.formats.container import Container, Variable, numbers_of, text, text_of
from hadgeo.formats.names import is_fwhm, is_good, is_wavelength, unit_in
from hadgeo.formats.wavelengths import Spectral, first_known, from_names, spectral


@dataclass(frozen=True)
class _List:
    """Numbers with one item a band, and their unit."""

    values: npt.NDArray[np.float64]
    unit: str


def band_facts(container: Container, variable: Variable, axes: Axes) -> tuple[Spectral, tuple[str, ...] | None]:
    """Wavelengths, widths, good bands and names of a cube's bands.

    Args:
        container: What the cube stands in.
        variable: The cube.
        axes: Its axes.

    Returns:
        What is known of the spectrum, and names of the bands or None.
    """
    bands = variable.shape[axes.band]
    along = list(_along(container, variable, axes.band))
    names = _names(container, variable, along, axes.band)
    centres, widths, good = (
        _first(container, variable, along, is_called) for is_called in (is_wavelength, is_fwhm, is_good)
    )
    if centres is None:
        centres = _coordinate(variable, along, axes.band)
    known = [_spectral({"wavelength": centres, "fwhm": _without_unit(widths)}, bands, container.path)]
    known.append(_spectral({"fwhm": widths}, bands, container.path))
    known.append(_spectral({"bbl": good}, bands, container.path))
    if names is not None:
        known.append(from_names(names))
    return first_known(known), names


def facts_of_bands(variables: Sequence[Variable]) -> tuple[Spectral, tuple[str, ...] | None]:
    """The same of bands that are an array each, from their attributes and names.

    Args:
        variables: One array for each band.
    """
    where, bands = variables[0].array.file, len(variables)
    names = tuple(v.text("long_name", "description", "band_name") or v.base for v in variables)
    found: dict[str, _List | None] = {}
    for key, is_key in (("wavelength", is_wavelength), ("fwhm", is_fwhm), ("bbl", is_good)):
        each = [next((v.text(a) for a in v.attrs if is_key(a)), "") for v in variables]
        numbers = numbers_of(" ".join(each)) if all(each) else []
        if len(numbers) == bands:
            found[key] = _list(np.array(numbers), variables[0].text("wavelength_units", "wavelength_unit"))
    return first_known([_spectral(found, bands, where), from_names(names)]), names


def _without_unit(widths: _List | None) -> _List | None:
    """Widths that can only be in the unit of the band centres."""
    return widths if widths is not None and not widths.unit else None


def _spectral(lists: Mapping[str, _List | None], bands: int, where: str) -> Spectral:
    """Numbers as the shared reader of headers takes them."""
    fields: dict[str, str | list[str]] = {}
    for key, found in lists.items():
        if found is not None:
            # A band of which nothing is known is not a good one.
            values = np.nan_to_num(found.values, nan=0.0) if key == "bbl" else found.values
            fields[key] = [repr(float(value)) for value in values]
            fields.setdefault("wavelength units", found.unit)
    return spectral(fields, bands, where) if fields else Spectral()


def _list(values: npt.NDArray[np.float64], unit: str) -> _List:
    unit = unit.strip("[]() ")
    if unit.lower() in ("m", "meter", "meters", "metre", "metres"):
        return _List(np.round(values * 1e9, 6), "nm")
    return _List(values, "" if unit.lower() in ("1", "unitless", "none", "-", "n/a") else unit)


def _along(container: Container, variable: Variable, axis: int) -> Iterator[Variable]:
    """Arrays with one item a band: those of the same dimension first, wherever they stand."""
    dim, length = variable.dims[axis], variable.shape[axis]
    one = [(v, v.shape[at], v.dims[at].key) for v in container.near(variable) if (at := v.list_axis) is not None]
    if dim.key:
        yield from (v for v, _, key in one if key == dim.key)
    # Wavelengths of a wrong length are set aside with a warning, where nothing else is known.
    others = [(v, count) for v, count, key in one if not dim.key or not key]
    yield from (v for v, count in others if count == length)
    yield from (v for v, count in others if count != length and is_wavelength(v.base))


def _first(
    container: Container,
    variable: Variable,
    along: list[Variable],
    is_called: Callable[[str], bool],
) -> _List | None:
    """The first array along the bands, or attribute with one item a band, that is called so or has such a CF name."""
    found = next((v for v in along if v.numeric and (is_called(v.base) or is_called(v.text("standard_name")))), None)
    if found is not None:
        return _list(found.numbers().ravel(), found.text("units", "unit") or unit_in(found.base))
    for attrs in container.attributes(variable):
        for key, value in attrs.items():
            numbers = numbers_of(value) if is_called(key) else []
            if len(numbers) > 1 or (numbers and variable.shape.count(1)):
                unit = text_of(attrs, f"{key}_units", f"{key}_unit", "wavelength_units", "wavelength_unit")
                return _list(np.array(numbers), unit or unit_in(key))
    return None


def _coordinate(variable: Variable, along: list[Variable], axis: int) -> _List | None:
    """The dimension's own coordinates, where they have a unit of length."""
    dim = variable.dims[axis]
    for other in along:
        if other.numeric and dim.key and other.dims[0].key == dim.key and other.base == dim.name:
            unit = other.text("units", "unit")
            probe = spectral({"wavelength": ["500", "600"], "wavelength units": unit}, 2, "")
            if unit and probe.wavelength is not None and unit.lower() not in ("1", "count", "level"):
                return _list(other.numbers().ravel(), unit)
    return None


def _names(container: Container, variable: Variable, along: list[Variable], axis: int) -> tuple[str, ...] | None:
    bands, key = variable.shape[axis], variable.dims[axis].key
    for other in along:
        if other.array.dtype.kind in "OSU" and other.shape == (bands,):
            return tuple(text(value) for value in other.values())
    # NetCDF's classic format writes each letter apart.
    for other in container.near(variable):
        letters = other.array.dtype == "S1" and len(other.shape) == 2 and other.shape[0] == bands
        if letters and key and other.dims[0].key == key:
            return tuple(text(b"".join(row.tolist())) for row in other.values())
    return None
