"""A cube whose bands are stored in several places: the detectors of one instrument, each with an array of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Metadata, Source


class JoinedBands(Source):
    """Bands of several sources of the same rows and columns, in any order.

    Args:
        path: The file as the user named it.
        parts: The sources.
        order: For each band of the cube, the number of its source and its band therein.
        metadata: What is known of the whole. Decoding is the business of the parts.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parts: Sequence[Source],
        order: Sequence[tuple[int, int]],
        metadata: Metadata,
    ) -> None:
        self.path = os.fspath(path)
        self.parts = tuple(parts)
        self.shape = (len(order), *self.parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self.block = self.parts[0].block
        self.metadata = metadata
        self._order = np.array(order, dtype=np.intp).reshape(-1, 2)

    def like(self, parts: Sequence[Source]) -> JoinedBands:
        """Other sources of the same bands, such as flags, in the order of this cube.

        Args:
            parts: One for each of this cube's.
        """
        described = Metadata(self.metadata.driver, parts[0].metadata.stored_dtype, self.metadata.grid)
        return JoinedBands(self.path, parts, [(int(i), int(band)) for i, band in self._order], described)

    def take_for_nodata(self, fill: float | npt.NDArray[np.float64]) -> None:
        """Pass it on to the parts; see `Source.take_for_nodata`."""
        each = np.broadcast_to(np.asarray(fill, dtype=np.float64), self.shape[:1])
        for number, part in enumerate(self.parts):
            here = self._order[:, 0] == number
            of_part = np.full(part.shape[0], np.nan)
            of_part[self._order[here, 1]] = each[here]
            part.take_for_nodata(of_part)
        super().take_for_nodata(fill)

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of all parts; see `Source.files`."""
        return tuple(dict.fromkeys(file for part in self.parts for file in part.files))

    @property
    def sample_bytes(self) -> int:
        """What a part holds, and what is made of it; see `Source.sample_bytes`."""
        return max(part.sample_bytes for part in self.parts) + self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """Those of the part with the largest; see `Source.block_bytes`."""
        return max(part.block_bytes for part in self.parts)

    @property
    def cache_bytes(self) -> int:
        """Those of all parts; see `Source.cache_bytes`."""
        return sum(part.cache_bytes for part in self.parts)

    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read the window from every part that has a wanted band; see `Source.read`."""
        wanted = self._order[bands]
        out = np.empty((len(wanted), rows.stop - rows.start, cols.stop - cols.start), dtype=self.dtype)
        for number, part in enumerate(self.parts):
            to = np.flatnonzero(wanted[:, 0] == number)
            if to.size:
                out[to] = part.read(rows, cols, wanted[to, 1])
        return out


@dataclass(frozen=True)
class Detector:
    """One of several arrays that share an instrument's bands.

    Attributes:
        name: What it is called, such as "VNIR".
        source: Its bands.
        wavelength: Their centres in nm, not above 0 or not finite where a band was not acquired; None if not known.
        fwhm: Their widths in nm, or None.
    """

    name: str
    source: Source
    wavelength: npt.NDArray[np.float64] | None = None
    fwhm: npt.NDArray[np.float64] | None = None

    def acquired(self) -> npt.NDArray[np.intp]:
        """Bands that have a wavelength, by wavelength; all, in the order of the file, where none are known."""
        if self.wavelength is None:
            return np.arange(self.source.shape[0])
        there = np.flatnonzero(np.isfinite(self.wavelength) & (self.wavelength > 0))
        return there[np.argsort(self.wavelength[there], kind="stable")]


def join(
    detectors: Sequence[Detector], describe: Metadata, path: str, *, winner: Literal["first", "last"] = "first"
) -> JoinedBands:
    """Join detectors to one cube, its bands by wavelength.

    Bands that were not acquired are dropped, and where two detectors see the same wavelengths, those of one of them:
    spectra would jump between the two. Without wavelengths all bands stand one detector after the other.

    Args:
        detectors: From short waves to long ones, of the same rows and columns.
        describe: What is known of the whole besides its bands.
        path: The file as the user named it.
        winner: Whose bands are taken where a detector and the next one overlap.
    """
    notes = list(describe.assumed)
    known = all(detector.wavelength is not None for detector in detectors)
    bands = [d.acquired() if known else np.arange(d.source.shape[0]) for d in detectors]
    if known:
        for i in range(len(detectors) - 1):
            notes.extend(_resolve(detectors, bands, i, winner))
        dropped = sum(d.source.shape[0] - d.acquired().size for d in detectors)
        if dropped:
            notes.append(f"{dropped} bands without a wavelength were not acquired: dropped")
    order = [(i, int(band)) for i, kept in enumerate(bands) for band in kept]
    if known:
        order.sort(key=lambda place: _of(detectors, "wavelength", place))
    names = tuple(f"{detectors[i].name} {band + 1}" for i, band in order)
    metadata = replace(
        describe,
        stored_dtype=np.result_type(*(d.source.metadata.stored_dtype for d in detectors)),
        wavelength=_each(detectors, "wavelength", order),
        fwhm=_each(detectors, "fwhm", order),
        good=np.array([_good(detectors[i].source, band) for i, band in order]),
        nodata=_common([d.source.metadata.nodata for d in detectors]),
        scale=_decoding(detectors, "scale", 1.0, order),
        offset=_decoding(detectors, "offset", 0.0, order),
        band_names=names,
        assumed=tuple(notes),
    )
    return JoinedBands(path, [detector.source for detector in detectors], order, metadata)


def _resolve(
    detectors: Sequence[Detector], bands: list[npt.NDArray[np.intp]], i: int, winner: Literal["first", "last"]
) -> list[str]:
    """Drop bands of a detector or of the next one, in place, where both see the same wavelengths; say so."""
    left, right = (_centres(detectors[j])[bands[j]] for j in (i, i + 1))
    if not left.size or not right.size or right[0] > left[-1]:
        return []
    low, high = float(right[0]), float(left[-1])
    if winner == "first":
        bands[i + 1] = bands[i + 1][right > high]
    else:
        bands[i] = bands[i][left < low]
    kept, lost = (i, i + 1) if winner == "first" else (i + 1, i)
    return [
        f"{detectors[i].name} and {detectors[i + 1].name} overlap from {low:.0f} to {high:.0f} nm: bands of "
        f"{detectors[kept].name} are used there, and those of {detectors[lost].name} dropped"
    ]


def _centres(detector: Detector) -> npt.NDArray[np.float64]:
    assert detector.wavelength is not None  # since `join` has looked
    return detector.wavelength


def _of(detectors: Sequence[Detector], name: str, place: tuple[int, int]) -> float:
    return float(getattr(detectors[place[0]], name)[place[1]])


def _each(detectors: Sequence[Detector], name: str, order: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64] | None:
    if any(getattr(detector, name) is None for detector in detectors):
        return None
    return np.array([_of(detectors, name, place) for place in order])


def _good(source: Source, band: int) -> bool:
    return source.metadata.good is None or bool(source.metadata.good[band])


def _common(values: Sequence[float | None]) -> float | None:
    return values[0] if all(value == values[0] for value in values) else None


def _decoding(
    detectors: Sequence[Detector], name: str, neutral: float, order: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float64] | None:
    lists = [getattr(detector.source.metadata, name) for detector in detectors]
    if all(values is None for values in lists):
        return None
    return np.array([neutral if lists[i] is None else lists[i][band] for i, band in order], dtype=np.float64)
