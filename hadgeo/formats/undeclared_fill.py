"""Fill that a file does not name: found where a scene ends, told, and taken for nodata, whatever the format.

AVIRIS lines come with -9999 or -50 around a rotated line and not a word of it in the header, or with -9999 times a
factor of each band; mosaics have 0 around them, and GeoTIFFs lose their nodata tag on the way. Looked at are places
along the border, in stored values. What is found there becomes nodata by one of two rules:

- A value that no instrument measures (-9999, -32768, 1e20) is nodata in every sample that holds it, as if the file had
  named it: pixels at the edge of one of two detectors hold it in half of their bands.
- Any other (0, -50, 65535) may well be measured in one band, so a pixel is nodata only where all bands of the file hold
  it. Reading some of the bands finds the same pixels as reading all: where the wanted bands hold the fill, the others
  are asked.

A fill value that the file names is believed where it occurs in a corner. Where it does not (-9999 in the header and 0
around the line), the corners are looked at in the same way.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hadgeo.errors import ReadError
from hadgeo.formats.fill_pixels import ASKED_BYTES, PROBES, Fill, FillPixels, constant, equal, spread
from hadgeo.formats.packing import NETCDF_FILL
from hadgeo.formats.source import Metadata, Source, can_hold, decode

#: Rows and columns of the patches that are looked at.
PATCH = 8

#: Connected pixels that must hold a value which might also be measured.
LEAST_REGION = 4

#: Connected pixels that must hold a spectrum which might be measured: resampling repeats pixels, but not so often.
LEAST_REPEATED = 16

#: Kinds of fill that are looked for in a file that names none.
MOST_FILLS = 2

#: Bands that must agree where the value is not negative.
LEAST_BANDS = 3

#: Bands that must agree where fill differs from band to band, or where the value is not one that is usual.
LEAST_VARIED_BANDS = 8

#: Stored bytes of a scene whose pixels of fill are all counted; of a larger one only those that are looked at.
COUNTED_BYTES = 2**24

#: At and below the one, and from the other on, lies nothing that is measured in any unit.
LOWEST_MEASURED, HIGHEST_MEASURED = -999.0, 1e10

#: What is written as fill besides negative values; the largest value of the stored type is another.
#: 55537 is what becomes of -9999 in 16 bits without sign.
USUAL = (0.0, 9999.0, 32767.0, 55537.0, 65535.0, 2147483647.0, 4294967295.0)


def with_fill(source: Source, fill: float | Literal["find", "none"]) -> Source:
    """Give a source the fill that its file does not name.

    Args:
        source: As its format has opened it; it may be changed.
        fill: As in `Reading.fill`.

    Returns:
        The same source, or one around it. What was found stands in `Metadata.nodata` or `Metadata.band_nodata`, and in
        `Metadata.assumed`.
    """
    if fill == "none":
        return source
    if fill != "find":
        _believe(source, float(fill))
        return source
    named = _names_fill(source.metadata)
    if named and not source.files:
        # Not worth waiting for something far away.
        return source
    try:
        # Lines that end in -9999 may lie in a mosaic that ends in 0.
        for _ in range(1 if named else MOST_FILLS):
            found = _find(source, named=named)
            applied = None if found is None else _apply(source, found, named=named)
            if applied is None:
                break
            source = applied
    except ReadError:
        # Whoever reads all samples will say which of them are damaged.
        pass
    return source


def _believe(source: Source, value: float) -> None:
    source.take_for_nodata(value)
    stored = source.metadata.stored_dtype
    if not math.isnan(value) and not can_hold(value, stored):
        note = f"the fill value {value:.7g} cannot occur in samples of {stored.name}, so no sample is treated as nodata"
        source.metadata = replace(source.metadata, warnings=(*source.metadata.warnings, note))


def _apply(source: Source, fill: Fill, *, named: bool) -> Source | None:
    """Take found fill for nodata; None where it turns out to be none, or is merely told."""
    count, looked = _count(source, fill)
    if count == looked and fill.stored[0] >= 0:
        # An image that is the same everywhere has no border at which it could end.
        return None
    known = source.metadata
    if fill.constant and fill.stored[0] > 0 and not _usual(float(fill.stored[0]), known.stored_dtype):
        value = f"{fill.stored[0]:.7g}"
        note = f"{fill}, which nothing measured should be: kept as data; --fill {value} treats it as nodata"
        source.metadata = replace(known, warnings=(*known.warnings, note))
        return None
    # A value that the file, or NetCDF alone, names stays one, and so does one that was found before.
    alone = known.band_nodata is None and (known.nodata is None or not can_hold(known.nodata, known.stored_dtype))
    where = "" if fill.by_sample else " where all bands hold it"
    how_many = f"{count} of {looked} {'' if _counts_all(source) else 'sampled '}pixels"
    although = f", besides {_told(known)} that the file names and no corner holds" if named else ""
    note = f"{fill}: treated as nodata{where} ({how_many}){although}; --fill none keeps it"
    if fill.by_sample and alone:
        source.take_for_nodata(fill.nodata)
    else:
        source = FillPixels(source, fill)
    # The first one stands for all.
    told = known.with_nodata(fill.nodata) if alone or _by_default(known) else known
    source.metadata = replace(told, assumed=(*known.assumed, note))
    return source


def _told(known: Metadata) -> str:
    return "the values" if known.nodata is None else f"{known.nodata:.7g}"


def _names_fill(known: Metadata) -> bool:
    """Whether a file names a fill value that its samples can hold; not a number is no data in any case."""
    if known.band_nodata is not None:
        return True
    return known.nodata is not None and can_hold(known.nodata, known.stored_dtype) and not _by_default(known)


def _by_default(known: Metadata) -> bool:
    """Whether the fill value is NetCDF's for samples that were never written, which the file need not say."""
    return known.driver.startswith("NetCDF") and known.nodata == NETCDF_FILL.get(known.stored_dtype.str[1:])


def _find(source: Source, *, named: bool) -> Fill | None:
    """Fill at one of the places along the border, the corners first; in corners alone where the file names some."""
    bands, height, width = source.shape
    if bands < 2:
        # Without a second band nothing tells fill from a measurement.
        return None
    few = spread(bands, PROBES)
    for row, col in _border(height, width)[: 4 if named else None]:
        probe = source.read(slice(row, row + 1), slice(col, col + 1), few)
        if named and not np.isfinite(probe).all():
            return None
        if not _suspicious(_to_stored(probe[:, 0, 0], source.metadata.take(few))):
            continue
        rows, cols = _around(row, height), _around(col, width)
        found = _judge(source.read(rows, cols), row - rows.start, col - cols.start, source.metadata)
        if found is not None:
            return found
    return None


def _suspicious(spectrum: npt.NDArray[np.float64]) -> bool:
    """Whether some bands of a pixel may hold fill."""
    return bool(np.isfinite(spectrum).all()) and (bool((spectrum <= 0).all()) or constant(spectrum))


def _judge(patch: npt.NDArray[np.floating[Any]], row: int, col: int, known: Metadata) -> Fill | None:
    """Whether a pixel of a patch (all bands), and those connected with it that are like it, hold fill."""
    decoded = patch[:, row, col].copy()
    stored = _to_stored(decoded, known)
    if not _suspicious(stored):
        return None
    from scipy.ndimage import label

    labels, _ = label(equal(patch, decoded))
    region = int((labels == labels[row, col]).sum())
    never = bool(((stored <= LOWEST_MEASURED) | (np.abs(stored) >= HIGHEST_MEASURED)).all())
    usual = _usual(float(stored[0]), known.stored_dtype)
    if not _convincing(stored, region, known.grid.pixels, never=never, usual=usual):
        return None
    # Only what decodes to what was read can be compared in stored values.
    exact = np.array_equal(_decoded(stored, known, decoded.dtype), decoded)
    return Fill(stored, decoded, by_sample=never and exact)


def _convincing(stored: npt.NDArray[np.float64], region: int, pixels: int, *, never: bool, usual: bool) -> bool:
    """Whether a spectrum is fill, given how many connected pixels have it, and what its values are."""
    if not constant(stored):
        # A value times a factor of each band, which may be 0 for some.
        mostly_negative = 2 * int((stored < 0).sum()) >= stored.size
        least = LEAST_REGION if stored.min() <= LOWEST_MEASURED else LEAST_REPEATED
        return mostly_negative and stored.size >= LEAST_VARIED_BANDS and region >= least
    if never:
        return True
    if stored[0] < 0:
        return region >= min(LEAST_REGION, pixels)
    if usual:
        return stored.size >= LEAST_BANDS and region >= LEAST_REGION
    # Nothing on Earth is equally bright in all bands, pixel for pixel, but nobody writes such fill either.
    return stored.size >= LEAST_VARIED_BANDS and region >= LEAST_REPEATED


def _usual(value: float, stored: np.dtype[Any]) -> bool:
    """Whether a value from 0 on is one that is written as fill."""
    largest = np.issubdtype(stored, np.integer) and value == np.iinfo(stored).max
    return largest or value in USUAL or abs(value) >= HIGHEST_MEASURED


def _count(source: Source, fill: Fill) -> tuple[int, int]:
    """How many pixels hold fill, and of how many: all of a small scene, else some all over it."""
    bands, height, width = source.shape
    if _counts_all(source):
        step = max(ASKED_BYTES // (bands * width * source.dtype.itemsize), 1)
        windows = [(slice(row, min(row + step, height)), slice(0, width)) for row in range(0, height, step)]
        some = np.arange(bands)
    else:
        windows = [(_around(row, height), _around(col, width)) for row in _places(height) for col in _places(width)]
        some = spread(bands, PROBES)
    hits = [equal(source.read(*window, some), fill.decoded[some]) for window in windows]
    return sum(int(hit.sum()) for hit in hits), sum(hit.size for hit in hits)


def _counts_all(source: Source) -> bool:
    return math.prod(source.shape) * source.metadata.stored_dtype.itemsize <= COUNTED_BYTES


def _places(size: int) -> list[int]:
    """The ends of an axis, and what lies between them in quarters."""
    return sorted({0, size // 4, size // 2, 3 * size // 4, size - 1})


def _border(height: int, width: int) -> list[tuple[int, int]]:
    """Pixels along the border, corners first."""
    ends = ((0, height - 1), (0, width - 1))
    places = [(row, col) for row in _places(height) for col in _places(width) if row in ends[0] or col in ends[1]]
    return sorted(places, key=lambda place: (place[0] not in ends[0]) + (place[1] not in ends[1]))


def _around(place: int, size: int) -> slice:
    """A patch's extent along an axis around a place."""
    start = min(max(place - PATCH // 2, 0), max(size - PATCH, 0))
    return slice(start, min(start + PATCH, size))


def _to_stored(spectrum: npt.NDArray[np.floating[Any]], known: Metadata) -> npt.NDArray[np.float64]:
    """Stored values of a decoded spectrum: exact for integers, to six digits for other samples with a scale."""
    values = spectrum.astype(np.float64)
    if known.scale is None and known.offset is None:
        return values
    with np.errstate(all="ignore"):
        values = (values - (0.0 if known.offset is None else known.offset)) / (
            1.0 if known.scale is None else known.scale
        )
    if np.issubdtype(known.stored_dtype, np.integer):
        return np.rint(values)
    return np.array([float(f"{value:.6g}") for value in values])


def _decoded(stored: npt.NDArray[np.float64], known: Metadata, dtype: np.dtype[Any]) -> npt.NDArray[np.floating[Any]]:
    with np.errstate(all="ignore"):
        raw = stored.astype(known.stored_dtype.newbyteorder("=")).reshape(-1, 1, 1)
    return decode(raw, replace(known, nodata=None, band_nodata=None)).ravel().astype(dtype)
