"""Vegetation, water and shadow, told from a pixel's spectrum by an index and a threshold.

Such surfaces are many and vary widely, or hold little signal; a detector that need not learn them learns the rest
better. The indices are ratios of reflectances, so a constant factor in all bands (reflectance times 10,000) changes
nothing; radiance, whose factor differs from band to band, shifts every threshold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.bands import default_bands
from hadgeo.compute.executors import map_ahead
from hadgeo.errors import BandError, Cancelled, ParameterError
from hadgeo.formats.selected import PixelBits
from hadgeo.formats.source import Metadata, Source
from hadgeo.formats.spectral_angle import SpectralAngles
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.windows import Window, tile, window_size

#: Values of a mask of surfaces. A pixel that is several of them is the first.
NONE, VEGETATION, WATER, SHADOW, REJECTED, UNKNOWN = 0, 1, 2, 3, 4, 255

#: What is like an anomaly that a person has rejected: no surface to be named, but suppressed in the same way.
LIKE = "rejected"

#: Bands of each normalised difference (a - b) / (a + b), in nm.
_PAIRS = {"vegetation": (800.0, 670.0), "water": (560.0, 860.0)}

#: Farther from what an index needs, a band shows something else (or half the distance to the next band, if wider).
_TOLERANCE_NM = 30.0

#: Decoded bytes of a piece of the pass over a scene, and of the pixels from which its brightness is known.
_PIECE_BYTES, _SAMPLE_BYTES = 16 * 2**20, 64 * 2**20

_SAMPLE_PIECES = 16

_READ_AHEAD = 3


@dataclass(frozen=True)
class _Kind:
    """A surface that can be told.

    Attributes:
        value: Its value in a mask.
        default: The threshold.
        low: Least threshold.
        told: The rule, for people.
    """

    value: int
    default: float
    low: float
    told: str


#: Every surface by name, in the order of their values.
SURFACES: Mapping[str, _Kind] = {
    "vegetation": _Kind(VEGETATION, 0.4, -1.0, "NDVI > {:g}"),
    "water": _Kind(WATER, 0.0, -1.0, "NDWI > {:g}"),
    "shadow": _Kind(SHADOW, 0.3, 0.0, "brightness < {:g} of the median"),
}

#: The same, and what is suppressed beside them, which comes first.
KINDS: Mapping[str, _Kind] = {LIKE: _Kind(REJECTED, 0.03, 0.0, "within {:g} rad of a rejected anomaly"), **SURFACES}


def parse_surfaces(given: str | Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    """Read which surfaces are meant, and from which threshold on.

    Args:
        given: Names with or without thresholds, ``"vegetation,water=0.1"`` or a sequence of such items, or thresholds
            by name.

    Returns:
        A threshold for each surface that was named, in the order of `SURFACES`.

    Raises:
        ParameterError: There is no such surface, none is named, one is named twice, or a threshold is out of bounds.
    """
    items: list[tuple[str, Any]] = []
    if isinstance(given, Mapping):
        items = list(given.items())
    else:
        for text in given.split(",") if isinstance(given, str) else given:
            name, equals, value = text.partition("=")
            items.append((name.strip(), value.strip() if equals else None))
    found: dict[str, float] = {}
    for name, value in items:
        if name not in SURFACES:
            raise ParameterError(
                f"{name!r} is not a surface that can be suppressed; name some of {', '.join(SURFACES)}, such as "
                "vegetation,water or vegetation=0.5"
            )
        if name in found:
            raise ParameterError(f"{name} is named twice; name each surface once")
        found[name] = _threshold(name, value)
    if not found:
        raise ParameterError(f"no surface is named; name some of {', '.join(SURFACES)}")
    return {name: found[name] for name in SURFACES if name in found}


def _threshold(name: str, value: Any) -> float:
    kind = SURFACES[name]
    try:
        threshold = kind.default if value is None else float(value)
    except (TypeError, ValueError):
        threshold = math.nan
    if not kind.low <= threshold <= 1:
        raise ParameterError(
            f"{name}={value}: the threshold must be a number from {kind.low:g} to 1, such as {kind.default:g}"
        )
    return threshold


def describe_surfaces(thresholds: Mapping[str, float], counts: Mapping[str, int] | None = None) -> str:
    """Surfaces and the rules by which they are told, for people, and how many pixels are which."""
    return ", ".join(
        ("" if counts is None else f"{counts[name]:,} of ") + f"{name} ({KINDS[name].told.format(value)})"
        for name, value in thresholds.items()
    )


def as_text(thresholds: Mapping[str, float]) -> str:
    """What `parse_surfaces` reads as these thresholds."""
    return ",".join(f"{name}={value}" for name, value in thresholds.items())


def normalised_difference(
    above: npt.NDArray[np.floating[Any]], below: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float64]:
    """(a - b) / (a + b), NaN where the sum is not positive.

    With bands at 800 and 670 nm this is the NDVI (Rouse et al., "Monitoring vegetation systems in the Great Plains with
    ERTS", Third ERTS Symposium, NASA SP-351, 1974), with 560 and 860 nm the NDWI (McFeeters, "The use of the Normalized
    Difference Water Index (NDWI) in the delineation of open water features", Int. J. Remote Sensing 17 (1996), eq. 1).

    Args:
        above: The first band, any shape.
        below: The second, of the same shape.
    """
    a, b = above.astype(np.float64), below.astype(np.float64)
    total = a + b
    out: npt.NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(a - b, total, out=out, where=total > 0)
    return out


class Surfaces:
    """Which pixels of a scene are which surface.

    Attributes:
        thresholds: Of each surface that was looked for.
        shape: Rows and columns of the scene.
    """

    def __init__(self, shape: tuple[int, int], thresholds: Mapping[str, float]) -> None:
        self.shape, self.thresholds = shape, dict(thresholds)
        self._bits = {name: PixelBits(shape) for name in thresholds}
        self._known = PixelBits(shape)

    def put(self, window: Window, classes: npt.NDArray[np.uint8]) -> None:
        """Set the classes (y, x) of a window."""
        for name, bits in self._bits.items():
            bits.put(window.rows, window.cols, classes == KINDS[name].value)
        self._known.put(window.rows, window.cols, classes != UNKNOWN)

    def get(self, rows: slice, cols: slice) -> npt.NDArray[np.uint8]:
        """The classes of a window, (y, x)."""
        classes: npt.NDArray[np.uint8] = np.where(self._known.get(rows, cols), NONE, UNKNOWN).astype(np.uint8)
        for name, bits in self._bits.items():
            classes[bits.get(rows, cols)] = KINDS[name].value
        return classes

    @property
    def data(self) -> PixelBits:
        """Pixels that have data in the bands that were looked at."""
        return self._known

    def outside(self, pixels: PixelBits, names: Collection[str] | None = None) -> PixelBits:
        """Of some pixels those that are none of the surfaces, or none of some of them."""
        for name, bits in self._bits.items():
            if names is None or name in names:
                pixels = pixels - bits
        return pixels

    def counts(self, within: PixelBits) -> dict[str, int]:
        """How many of some pixels are which surface."""
        return {name: (bits & within).count for name, bits in self._bits.items()}


def find_surfaces(
    source: Source,
    thresholds: Mapping[str, float],
    executor: Executor,
    progress: Progress = SILENT,
    *,
    within: PixelBits | None = None,
    like: SpectralAngles | None = None,
) -> Surfaces:
    """Tell the surfaces of a scene, and where it has data, in one streamed pass over the bands that this takes.

    - ``vegetation``: NDVI of the good bands nearest to 800 and 670 nm above its threshold, by default 0.4.
    - ``water``: NDWI of those nearest to 560 and 860 nm above its threshold, by default 0.
    - ``shadow``: the mean over the good bands below a share of the scene's median, by default 0.3. The median is that
      of pixels spread evenly over the scene, all of them where it is small.

    Args:
        source: The scene, in reflectance of any scale.
        thresholds: As `parse_surfaces` gives them; without any, three good bands say where there is data.
        executor: Reads pieces ahead.
        progress: Follows the pass and may cancel it.
        within: Pixels that are of interest; a piece without any is not read, and unknown. By default all are.
        like: What pixels of `LIKE` are like, where `thresholds` has that.

    Raises:
        BandError: The scene has no wavelengths, or no good band where an index needs one.
        ReadError: It cannot be read.
        Cancelled: `progress` asked for it.
    """
    looker = _Looker(source, thresholds, within, like)
    found = Surfaces(source.shape[1:], thresholds)
    windows = looker.windows(_PIECE_BYTES)
    progress.stage(Stage.SELECT, source.shape[1] * source.shape[2])
    for window, classes in zip(windows, map_ahead(executor, looker, windows, _READ_AHEAD), strict=True):
        if progress.cancelled():
            raise Cancelled("stopped on request")
        found.put(window, classes)
        progress.advance(window.pixels)
    return found


class _Looker:
    """Reads one window and tells its surfaces."""

    def __init__(
        self,
        source: Source,
        thresholds: Mapping[str, float],
        within: PixelBits | None,
        like: SpectralAngles | None = None,
    ) -> None:
        self._source, self._thresholds, self._within, self._like = source, thresholds, within, like
        self._pairs = {name: _pair(name, source) for name in thresholds if name in _PAIRS}
        wanted = {band for pair in self._pairs.values() for band in pair} | set(like.bands if like else ())
        good = _good(source.metadata, source.shape[0]) or tuple(range(source.shape[0]))
        if "shadow" in thresholds:
            wanted |= set(good)
        elif not wanted:
            # More than one, since one may be empty.
            wanted = {good[len(good) * part // 6] for part in (1, 3, 5)}
        self._bands = np.array(sorted(wanted), dtype=np.intp)
        self._like_rows = np.searchsorted(self._bands, like.bands if like else ())
        self._good_rows = np.searchsorted(self._bands, sorted(set(good) & wanted))
        self._dark = thresholds["shadow"] * self._median() if "shadow" in thresholds else math.nan

    def windows(self, piece_bytes: int) -> list[Window]:
        """A partition of the scene into pieces of about so many decoded bytes."""
        shape = self._source.shape[1:]
        pixels = max(1, piece_bytes // (len(self._bands) * self._source.dtype.itemsize))
        return list(tile(shape, window_size(shape, halo=0, max_pixels=pixels, block=self._source.block)))

    def __call__(self, window: Window) -> npt.NDArray[np.uint8]:
        if self._within is not None and not self._within.get(window.rows, window.cols).any():
            return np.full((window.height, window.width), UNKNOWN, dtype=np.uint8)
        block = self._source.read(window.rows, window.cols, self._bands)
        at = {int(band): block[i] for i, band in enumerate(self._bands)}
        classes: npt.NDArray[np.uint8] = np.full(block.shape[1:], NONE, dtype=np.uint8)
        known = np.isfinite(block).any(axis=0)
        # The other way round, so that the first surface that a pixel is stays.
        for name in reversed(list(self._thresholds)):
            if name == "shadow":
                hit = _brightness(block[self._good_rows]) < self._dark
            elif name == LIKE:
                assert self._like is not None  # by `find_surfaces`
                hit = self._like.alike(block[self._like_rows])
            else:
                above, below = self._pairs[name]
                known &= np.isfinite(at[above]) & np.isfinite(at[below])
                hit = normalised_difference(at[above], at[below]) > self._thresholds[name]
            classes[hit] = KINDS[name].value
        classes[~known] = UNKNOWN
        return classes

    def _median(self) -> float:
        """Median brightness of pieces spread over the scene, or of the first with data where those have none."""
        windows = self.windows(_SAMPLE_BYTES // _SAMPLE_PIECES)
        spread = {int(i) for i in np.linspace(0, len(windows) - 1, min(_SAMPLE_PIECES, len(windows))).round()}
        values = np.concatenate([self._bright(windows[i]) for i in sorted(spread)])
        if not values.size:
            rest = (self._bright(window) for i, window in enumerate(windows) if i not in spread)
            values = next((found for found in rest if found.size), values)
        return float(np.median(values)) if values.size else math.nan

    def _bright(self, window: Window) -> npt.NDArray[np.float64]:
        values = _brightness(self._source.read(window.rows, window.cols, self._bands)[self._good_rows])
        return values[np.isfinite(values)]


def _brightness(block: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Mean over the bands that have data, (y, x); NaN where none has."""
    finite = np.isfinite(block)
    count = finite.sum(axis=0)
    total = np.where(finite, block, 0).sum(axis=0, dtype=np.float64)
    out: npt.NDArray[np.float64] = np.full(count.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def _good(metadata: Metadata, total: int) -> tuple[int, ...]:
    return default_bands(total, metadata.wavelength, metadata.good).indices


def _pair(name: str, source: Source) -> tuple[int, int]:
    """The good bands nearest to those of an index."""
    centres = source.metadata.wavelength
    wanted = _PAIRS[name]
    told = " and ".join(f"{nm:g}" for nm in sorted(wanted))
    if centres is None or np.isnan(centres).all():
        raise BandError(
            f"{source.path}: no wavelengths, but {name} is told by bands near {told} nm; add them to its header, or do "
            f"not suppress {name}"
        )
    good = np.array(_good(source.metadata, source.shape[0]), dtype=np.intp)
    finite = np.sort(centres[np.isfinite(centres)])
    spacing = float(np.median(np.diff(finite))) if finite.size > 1 else 0.0
    away = np.abs(centres[good][None, :] - np.array(wanted)[:, None]) if good.size else np.full((2, 1), np.inf)
    if away.min(axis=1).max() > max(_TOLERANCE_NM, spacing / 2):
        raise BandError(
            f"{source.path}: {name} is told by good bands near {told} nm, but the bands run from {finite[0]:g} to "
            f"{finite[-1]:g} nm and none that is good is near one of those; do not suppress {name}"
        )
    above, below = good[away.argmin(axis=1)].tolist()
    if above == below:
        raise BandError(
            f"{source.path}: {name} is told by two bands near {told} nm, but the nearest to both is the same one; do "
            f"not suppress {name}"
        )
    return above, below
