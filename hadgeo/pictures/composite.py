"""Three bands of a cube as the colours of a picture, read in little memory however long the scene is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.bands import SHORTEST_NM, default_bands
from hadgeo.errors import BandError, Cancelled, CubeError
from hadgeo.formats.source import Metadata, Source
from hadgeo.progress import SILENT, Progress

#: Red, green and blue as eyes see them, in nm.
TRUE_COLOUR_NM = (640.0, 550.0, 460.0)

#: Farther from what was asked for, a band shows something else (or half the distance to the next band, if wider).
_TOLERANCE_NM = 30.0

#: Pixels of one read.
_READ_PIXELS = 2**21


@dataclass(frozen=True)
class ColourBands:
    """The bands drawn in red, green and blue.

    Attributes:
        indices: Their 0-based indices.
        label: What they are, for people, such as ``true colour, 641/549/460 nm``.
    """

    indices: tuple[int, int, int]
    label: str


def colour_bands(metadata: Metadata, total: int, rgb: str | None = None) -> ColourBands:
    """Choose the bands of a composite.

    Args:
        metadata: Of the cube.
        total: Its number of bands.
        rgb: Red, green and blue as asked for: band numbers (1-based) or nanometres, with ``#`` or ``nm`` behind them
            where they could be either; see `hadgeo.bands.parse_bands`. By default true colour; where the cube does not
            see it, good bands from its upper, middle and lower part.

    Raises:
        BandError: The text is malformed, or asks for what the cube does not have.
    """
    if rgb is not None:
        return _asked(rgb, metadata, total)
    if metadata.wavelength is not None:
        chosen = _nearest(TRUE_COLOUR_NM, metadata, total)
        if chosen is not None:
            return ColourBands(chosen, f"true colour, {_names(chosen, metadata)}")
    elif total == 3:
        # A picture rather than a spectrum.
        return ColourBands((0, 1, 2), "bands 1/2/3")
    good = default_bands(total, metadata.wavelength, metadata.good).indices or tuple(range(total))
    red, green, blue = (good[len(good) * part // 6] for part in (5, 3, 1))
    return ColourBands((red, green, blue), f"false colour, {_names((red, green, blue), metadata)}")


def _asked(rgb: str, metadata: Metadata, total: int) -> ColourBands:
    text = rgb.strip().lower().replace(" ", "")
    try:
        values = [float(part) for part in text.removesuffix("nm").removesuffix("#").replace("/", ",").split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(np.isfinite(value) and value > 0 for value in values):
        raise BandError(f"--rgb {rgb}: write three wavelengths in nm or three band numbers, such as 860,640,550")
    red, green, blue = values
    if not text.endswith("nm") and all(value.is_integer() and value <= total for value in values):
        likely_nm = min(values) >= SHORTEST_NM and _nearest((red, green, blue), metadata, total) is not None
        if likely_nm and not text.endswith("#"):
            raise BandError(f"--rgb {rgb} may be band numbers or wavelengths; write {text}# or {text}nm")
        numbered = (int(red) - 1, int(green) - 1, int(blue) - 1)
        return ColourBands(numbered, f"false colour, {_names(numbered, metadata)}")
    if metadata.wavelength is None or text.endswith("#"):
        wanting = " and no wavelengths" if metadata.wavelength is None else ""
        raise BandError(f"--rgb {rgb}: the cube has {total} bands{wanting}; give band numbers from 1 to {total}")
    chosen = _nearest((red, green, blue), metadata, total)
    if chosen is None:
        low, high = np.nanmin(metadata.wavelength), np.nanmax(metadata.wavelength)
        raise BandError(
            f"--rgb {rgb}: no good band is close enough to each of them; those of the cube run from {low:g} to "
            f"{high:g} nm"
        )
    kind = "true colour" if (red, green, blue) == TRUE_COLOUR_NM else "false colour"
    return ColourBands(chosen, f"{kind}, {_names(chosen, metadata)}")


def _nearest(wanted: tuple[float, float, float], metadata: Metadata, total: int) -> tuple[int, int, int] | None:
    """The good bands nearest to three wavelengths, or None where one of them has none near."""
    centres = metadata.wavelength
    good = np.array(default_bands(total, centres, metadata.good).indices, dtype=np.intp)
    if centres is None or not good.size:
        return None
    finite = centres[np.isfinite(centres)]
    spacing = float(np.median(np.abs(np.diff(finite)))) if finite.size > 1 else 0.0
    distance = np.abs(centres[good][None, :] - np.array(wanted)[:, None])
    if distance.min(axis=1).max() > max(_TOLERANCE_NM, spacing / 2):
        return None
    red, green, blue = good[distance.argmin(axis=1)].tolist()
    return red, green, blue


def _names(indices: tuple[int, int, int], metadata: Metadata) -> str:
    if metadata.wavelength is not None and np.isfinite(metadata.wavelength[list(indices)]).all():
        return "/".join(f"{metadata.wavelength[i]:.0f}" for i in indices) + " nm"
    return "bands " + "/".join(str(i + 1) for i in indices)


def read_colours(
    source: Source, bands: ColourBands, step: int, *, progress: Progress = SILENT
) -> npt.NDArray[np.float32]:
    """Read every `step`-th pixel of every `step`-th row of three bands.

    Args:
        source: The cube.
        bands: What to read.
        step: Rows and columns of the scene for one of the result.
        progress: Counts rows, and may cancel.

    Returns:
        (y, x, 3), physical units, NaN where there is no data: of each `step` x `step` pixels of the scene the one in
        the middle, those at the lower and right border cut.

    Raises:
        CubeError: None of the pixels holds data in all three bands.
        ReadError: The file is damaged.
        Cancelled: `progress` asked for it.
    """
    _, rows, cols = source.shape
    chosen = np.minimum(np.arange(0, rows, step) + step // 2, rows - 1)
    at = np.minimum(np.arange(0, cols, step) + step // 2, cols - 1)
    picture = np.empty((chosen.size, at.size, 3), dtype=np.float32)
    index = np.array(bands.indices, dtype=np.intp)
    for first, last in _reads(chosen, source, step):
        if progress.cancelled():
            raise Cancelled("stopped on request")
        top = int(chosen[first])
        block = source.read(slice(top, int(chosen[last - 1]) + 1), slice(0, cols), index)
        picture[first:last] = np.moveaxis(block[:, chosen[first:last] - top][:, :, at], 0, 2)
        progress.advance(last - first)
    if not np.isfinite(picture).all(axis=2).any():
        raise CubeError(f"{source.path}: no data in {bands.label}; choose other bands with --rgb")
    return picture


def _reads(chosen: npt.NDArray[np.intp], source: Source, step: int) -> Iterator[tuple[int, int]]:
    """Which of the chosen rows to read together, as (first, behind the last)."""
    block = 1 if source.block is None else source.block[0]
    together = 1
    if step < block or step == 1:
        # Rows in between cost nothing more: they are decoded with the block, or wanted all.
        span = max(1, _READ_PIXELS // source.shape[2] // block) * block
        together = max(1, span // step)
    for first in range(0, chosen.size, together):
        yield first, min(first + together, chosen.size)


def stretched(
    picture: npt.NDArray[np.float32], percentiles: tuple[float, float] = (2.0, 98.0)
) -> npt.NDArray[np.float32]:
    """Scale each band of a picture to 0...1 between two of its own percentiles.

    Args:
        picture: (y, x, 3), NaN where there is no data; at least one pixel has some.
        percentiles: What becomes 0 and 1.

    Returns:
        (y, x, 3), 0 to 1, NaN where a band is.
    """
    valid = np.isfinite(picture).all(axis=2)
    low, high = np.percentile(picture[valid], percentiles, axis=0).astype(np.float32)
    width = np.where(high > low, high - low, 1)
    # A band of a single value is neither dark nor bright.
    scaled = np.where(high > low, (picture - low) / width, np.float32(0.5))
    out: npt.NDArray[np.float32] = np.clip(scaled, 0, 1).astype(np.float32)
    out[~valid] = np.nan
    return out
