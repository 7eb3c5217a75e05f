"""A target spectrum as it was measured: on wavelengths of its own, before any scene is thought of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hadgeo.errors import TargetError, TargetNotFoundError

Values = npt.NDArray[np.float64]

#: Larger values mark what was deleted from a spectrum: USGS libraries have -1.23e34 there.
_LARGEST = 1e30

#: Names that a message lists.
_LISTED = 12


@dataclass(frozen=True, eq=False)
class Target:
    """A spectrum that is looked for.

    Attributes:
        name: What it is called.
        values: Finite values, (sample).
        wavelength: Their wavelengths in nm, rising; None where none are known.
        fwhm: Full widths at half maximum in nm, NaN where one is not known, or None.
        bands: 1-based numbers of the bands of the scene it was measured in, rising; None if it is from no scene.
        level: Scale of the scene it was measured in, as `hadgeo.sampling.Survey.level`; None if it is from no scene.
        files: What it was read from.
        notes: One line for each thing that was assumed.
        others: More spectra, any of which is looked for as well.
    """

    name: str
    values: Values
    wavelength: Values | None = None
    fwhm: Values | None = None
    bands: npt.NDArray[np.intp] | None = None
    level: float | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())
    others: tuple[Target, ...] = ()

    @property
    def digest(self) -> str:
        """By what the same spectrum is known again."""
        digest = hashlib.sha256(self.name.encode())
        for values in (self.values, self.wavelength, self.fwhm, self.bands):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        for other in self.others:
            digest.update(other.digest.encode())
        return digest.hexdigest()


def make_target(
    name: str,
    where: str,
    values: npt.NDArray[np.floating],
    wavelength: Values | None = None,
    fwhm: Values | None = None,
    *,
    bands: npt.NDArray[np.intp] | None = None,
    level: float | None = None,
    files: Sequence[Path] = (),
    notes: Sequence[str] = (),
) -> Target:
    """Put a measured spectrum in order: wavelengths rise, and what is no number is left out.

    Args:
        name: What it is called.
        where: Where it stands, for messages.
        values: (sample); what is not finite or marked as deleted is left out.
        wavelength: In nm, NaN where one is not known.
        fwhm: In nm.
        bands: As for `Target`.
        level: As for `Target`.
        files: As for `Target`.
        notes: As for `Target`.

    Raises:
        TargetError: Fewer than two values are left, or all of them are equal.
    """
    values = np.asarray(values, dtype=np.float64)
    usable = np.isfinite(values) & (np.abs(values) < _LARGEST)
    order = np.arange(values.size)
    if wavelength is not None:
        usable &= np.isfinite(wavelength)
        _, first = np.unique(wavelength, return_index=True)
        order = np.asarray(first)
    order = order[usable[order]]
    if order.size < 2:
        raise TargetError(f"{where}: {order.size} of its {values.size} values are numbers; a spectrum needs at least 2")
    kept = values[order]
    if (kept == kept[0]).all():
        raise TargetError(
            f"{where}: a flat spectrum, all {kept.size} values are {kept[0]:g}, and anything is as much like it "
            "as anything else; check that the right column or spectrum is read"
        )
    return Target(
        name,
        kept,
        None if wavelength is None else wavelength[order],
        None if fwhm is None else fwhm[order],
        None if bands is None else bands[order],
        level,
        tuple(files),
        tuple(notes),
    )


def split_choice(name: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Take ``FILE#WHICH`` apart, unless a file has that very name.

    Args:
        name: What the user typed.

    Returns:
        The file, which is there, and which of its spectra; None where that is left open.

    Raises:
        TargetNotFoundError: There is no such file.
        TargetError: It is a folder.
    """
    text = os.fspath(name)
    path, chosen = Path(text), None
    if not path.exists() and "#" in text:
        before, _, after = text.rpartition("#")
        path, chosen = Path(before), after.strip()
    if not text or not path.exists():
        raise TargetNotFoundError(f"{path}: no such file of a spectrum; check the path" if text else "no file is named")
    if path.is_dir():
        raise TargetError(f"{path} is a folder; name the file of a spectrum")
    return path, chosen


def choose(names: Sequence[str], chosen: str | None, where: Path, what: str = "spectra") -> int:
    """The index of the spectrum that is meant.

    Args:
        names: Names of all.
        chosen: A name, whatever its case, or a number counted from 1; None where the user left it open.
        where: The file, for messages.
        what: What it contains, for messages.

    Raises:
        TargetError: There is none of that name, or several and none is named.
    """
    if chosen is None and len(names) == 1:
        return 0
    told = ", ".join(f"{i} {name}" for i, name in enumerate(names[:_LISTED], start=1))
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    if not chosen:
        raise TargetError(
            f"{where}: contains {len(names)} {what}; name one of them as {where.name}#NAME or {where.name}#3: "
            f"{told}{more}"
        )
    plain = [" ".join(name.lower().split()) for name in names]
    wanted = " ".join(chosen.lower().split())
    if wanted in plain:
        return plain.index(wanted)
    if chosen.isdecimal() and 1 <= int(chosen) <= len(names):
        return int(chosen) - 1
    raise TargetError(f"{where}: contains no {chosen!r} among its {len(names)} {what}: {told}{more}")
