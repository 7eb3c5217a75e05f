"""How samples of a container are packed: scale, offset, fill values and limits, after the CF conventions, section 8.1.

https://cfconventions.org/cf-conventions/cf-conventions.html#packed-data
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.container import Variable, number_of, numbers_of, text

#: Attributes of other conventions that hold a fill value, in small letters.
_FILL_NAMES = {"data_ignore_value", "nodata", "no_data", "nodata_value", "no_data_value", "nodatavalue", "fill_value"}

#: What samples hold that NetCDF has never written, where no fill value is declared (netcdf.h, NC_FILL_*).
NETCDF_FILL = {
    "i2": -32767.0,
    "u2": 65535.0,
    "i4": -2147483647.0,
    "u4": 4294967295.0,
    "f4": 9.969209968386869e36,
    "f8": 9.969209968386869e36,
}


@dataclass(frozen=True)
class Packing:
    """How stored samples become physical ones.

    Attributes:
        nodata: The fill value in stored units, or None.
        fills: Further fill values.
        limits: The least and the largest stored value that is one, or None.
        band_nodata: Where the fill value differs from band to band: one a band, NaN for none; `nodata` is None then.
        scale: Factor for each band, or None for 1.
        offset: Added after scaling, for each band, or None for 0.
        warnings: One line for each thing that is odd.
    """

    nodata: float | None = None
    fills: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None
    band_nodata: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()


def packing(variable: Variable, bands: int, *, netcdf: bool) -> Packing:
    """What the attributes of an array say of its samples.

    Args:
        variable: The array.
        bands: Number of its bands.
        netcdf: Whether samples that were never written hold NetCDF's own fill values.
    """
    attrs, stored = variable.attrs, variable.array.dtype
    notes: list[str] = []
    scale = _each_band(attrs, "scale_factor", 1.0, bands, notes)
    offset = _each_band(attrs, "add_offset", 0.0, bands, notes)
    for key, value in attrs.items():
        if key != "scale_factor" and key.lower().replace(" ", "_") in ("scale_factor", "scale"):
            notes.append(f"{key} = {text(value)} is not applied: in CF, the multiplier is called scale_factor")
    fills = _fills(attrs)
    if not fills and netcdf and (default := NETCDF_FILL.get(stored.str[1:])) is not None:
        fills = [default]
    limits = _limits(attrs, stored, scale, offset)
    if limits is not None:
        notes.append(f"stored values outside the valid range of {_short(limits[0])} to {_short(limits[1])} are nodata")
    return Packing(
        fills[0] if fills else None, tuple(fills[1:]), limits, scale=scale, offset=offset, warnings=tuple(notes)
    )


def packing_of_bands(variables: Sequence[Variable], *, netcdf: bool) -> Packing:
    """The same of bands that are an array each.

    Args:
        variables: One array for each band.
        netcdf: As for `packing`.
    """
    each = [packing(variable, 1, netcdf=netcdf) for variable in variables]
    notes = list(dict.fromkeys(note for one in each for note in one.warnings))
    first = each[0]
    fills, limits = first.fills, first.limits
    if any((one.fills, one.limits) != (fills, limits) for one in each):
        notes.append("further fill values and valid ranges differ from band to band: ignored")
        fills, limits = (), None
    same = all(one.nodata == first.nodata for one in each)
    band_nodata = None if same else np.array([np.nan if one.nodata is None else one.nodata for one in each])
    scale, offset = (_stack([getattr(one, name) for one in each], neutral) for name, neutral in _NEUTRAL)
    return Packing(first.nodata if same else None, fills, limits, band_nodata, scale, offset, tuple(notes))


_NEUTRAL = (("scale", 1.0), ("offset", 0.0))


def _stack(values: list[npt.NDArray[np.float64] | None], neutral: float) -> npt.NDArray[np.float64] | None:
    if all(value is None for value in values):
        return None
    return np.array([neutral if value is None else float(value[0]) for value in values])


def _fills(attrs: Any) -> list[float]:
    lower = {key.lower().replace(" ", "_"): value for key, value in attrs.items()}
    found: list[float] = []
    for key in ("_fillvalue", "missing_value", *sorted(_FILL_NAMES)):
        found += [value for value in numbers_of(lower.get(key, ())) if value not in found and not np.isnan(value)]
    return found


def _each_band(attrs: Any, key: str, neutral: float, bands: int, notes: list[str]) -> npt.NDArray[np.float64] | None:
    if key not in attrs:
        return None
    values = numbers_of(attrs[key])
    if len(values) not in (1, bands) or not np.isfinite(values).all():
        told = " ".join(text(attrs[key]).split())[:80]
        notes.append(f"{key} = {told} is neither a single number nor one per band: not applied")
        return None
    if key == "scale_factor" and not all(values):
        notes.append(f"{key} = 0 would make all samples equal: not applied")
        return None
    array = np.broadcast_to(np.array(values, dtype=np.float64), bands).copy()
    return None if (array == neutral).all() else array


def _limits(
    attrs: Any,
    stored: np.dtype[Any],
    scale: npt.NDArray[np.float64] | None,
    offset: npt.NDArray[np.float64] | None,
) -> tuple[float, float] | None:
    """``valid_range``, or ``valid_min`` and ``valid_max``, in stored units; None where they exclude nothing."""
    both = numbers_of(attrs.get("valid_range", ()))
    low, high = both if len(both) == 2 else (number_of(attrs, "valid_min"), number_of(attrs, "valid_max"))
    if low is None and high is None:
        return None
    given = np.asarray(attrs.get("valid_range", attrs.get("valid_min", attrs.get("valid_max"))))
    if stored.kind in "iu" and given.dtype.kind == "f" and scale is not None:
        # NetCDF User Guide: limits of another type than the packed samples are limits of the unpacked ones.
        ends = [None if v is None else (v - (offset[0] if offset is not None else 0.0)) / scale[0] for v in (low, high)]
        low, high = ends if scale[0] > 0 else ends[::-1]
    lowest, highest = (-np.inf, np.inf) if stored.kind == "f" else (np.iinfo(stored).min, np.iinfo(stored).max)
    low, high = lowest if low is None else low, highest if high is None else high
    return None if low <= lowest and high >= highest else (float(low), float(high))


def _short(value: float) -> str:
    return f"{value:.10g}"
