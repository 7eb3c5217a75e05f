"""Samples as a file holds them, for whoever decodes them elsewhere: half the bytes of decoded ones, or a quarter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hadgeo.formats.source import Metadata, Rule

#: Bytes of a sample up to which sending it stored is worth it.
_MOST_BYTES = 2


@dataclass(frozen=True)
class Stored:
    """Integers of a window, and what turns them into what `Source.read` gives, to the same bits.

    Attributes:
        samples: In the layout of the file and the byte order of this machine.
        band_axis: The axis of `samples` that counts bands.
        to_bsq: The axes of `samples` in the order band, y, x.
        runs: Which of the bands of `samples` are wanted, in order.
        rule: Fill value, scale and offset of the wanted bands.
    """

    samples: npt.NDArray[Any]
    band_axis: int
    to_bsq: tuple[int, int, int]
    runs: tuple[slice, ...]
    rule: Rule


def may_send_stored(stored: np.dtype[Any]) -> bool:
    """Whether samples of a type are worth to be sent as they are stored."""
    return stored.kind in "iu" and stored.itemsize <= _MOST_BYTES


def gather(
    parts: Sequence[npt.NDArray[Any]],
    firsts: Sequence[int],
    *,
    metadata: Metadata,
    bands: npt.NDArray[np.intp],
    band_axis: int,
    to_bsq: tuple[int, int, int],
) -> Stored | None:
    """What was read of a window.

    Args:
        parts: Stored samples of some bands each that follow each other in the file.
        firsts: The band of the cube with which each part begins.
        metadata: Fill value, scale and offset.
        bands: Which bands of the cube are wanted, in order.
        band_axis: The axis of parts that counts bands.
        to_bsq: As for `Stored`.

    Returns:
        None where samples have to be compared with a fill value that is no integer.
    """
    held = np.concatenate([first + np.arange(p.shape[band_axis]) for p, first in zip(parts, firsts, strict=True)])
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=band_axis)
    rule = Rule.of(metadata, bands, samples.dtype)
    if rule.fill is not None and rule.fill.dtype.kind not in "iu":
        return None
    if not samples.dtype.isnative:
        samples = samples.astype(samples.dtype.newbyteorder("="))
    place = {band: i for i, band in enumerate(held.tolist())}
    return Stored(samples, band_axis, to_bsq, tuple(_runs([place[band] for band in bands.tolist()])), rule)


def _runs(places: Sequence[int]) -> list[slice]:
    """Numbers as the fewest slices that give them in the same order."""
    runs: list[slice] = []
    for place in places:
        if runs and runs[-1].stop == place:
            runs[-1] = slice(runs[-1].start, place + 1)
        else:
            runs.append(slice(place, place + 1))
    return runs
