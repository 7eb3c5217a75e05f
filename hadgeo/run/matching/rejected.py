"""The spectra of anomalies that a person has rejected, which later maps shall be without."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hadgeo.bands import default_bands
from hadgeo.errors import ParameterError, ReviewError, TargetError, TargetNotFoundError
from hadgeo.formats.source import Source
from hadgeo.formats.spectral_angle import SpectralAngles
from hadgeo.formats.surfaces import KINDS, LIKE
from hadgeo.maps.polygon_fields import ACCEPTED, REJECTED, check_outlines, ids_by_verdict
from hadgeo.run.matching.anomaly_spectrum import read_anomalies
from hadgeo.run.matching.resampling import at_bands
from hadgeo.run.matching.target import Target, Values
from hadgeo.run.selection import MIN_BANDS

#: The largest angle in radian at which a pixel is like a rejected anomaly, where nothing else is said.
ANGLE = KINDS[LIKE].default


@dataclass(frozen=True, eq=False)
class Rejected:
    """Spectra of rejected anomalies; see `read_rejected`.

    Attributes:
        path: The reviewed polygons.
        spectra: The mean spectrum of each rejected anomaly.
        accepted: That of each accepted one.
        angle: The largest angle at which a pixel is like one of them, in radian.
    """

    path: Path
    spectra: tuple[Target, ...]
    accepted: tuple[Target, ...]
    angle: float

    def __repr__(self) -> str:
        return f"Rejected({str(self.path)!r}, {len(self.spectra)} spectra, angle={self.angle:g})"

    @property
    def files(self) -> tuple[Path, ...]:
        """What was read."""
        return tuple(dict.fromkeys(file for target in (*self.spectra, *self.accepted) for file in target.files))

    @property
    def digest(self) -> str:
        """By what the same spectra are known again."""
        digest = hashlib.sha256()
        for target in (*self.spectra, *self.accepted):
            digest.update(target.digest.encode())
        digest.update(str(len(self.spectra)).encode())
        return digest.hexdigest()

    def angles_at(self, source: Source) -> SpectralAngles:
        """The spectra at the good bands of a scene that all of them reach.

        Raises:
            TargetError: Fewer than two are left, or either has no wavelengths.
        """
        metadata = source.metadata
        good = list(default_bands(source.shape[0], metadata.wavelength, metadata.good).indices)
        every = np.arange(source.shape[0])

        def at(targets: Sequence[Target]) -> Values:
            rows = [at_bands(one, every, metadata.wavelength, metadata.fwhm, source.path)[good] for one in targets]
            return np.array(rows, dtype=np.float64).reshape(len(rows), len(good))

        spectra, accepted = at(self.spectra), at(self.accepted)
        reached = np.asarray(np.isfinite(np.concatenate([spectra, accepted])).all(axis=0))
        if reached.sum() < MIN_BANDS:
            raise TargetError(
                f"{source.path}: {reached.sum()} of its {len(good)} usable bands lie within the spectra of "
                f"{self.path}; give anomalies of a scene of the same sensor"
            )
        bands = tuple(band for band, is_in in zip(good, reached, strict=True) if is_in)
        return SpectralAngles(bands, spectra[:, reached], accepted[:, reached], self.angle)


def read_rejected(path: str | os.PathLike[str], angle: float = ANGLE) -> Rejected:
    """Read the measured spectra of rejected anomalies, for maps that shall be without what is like them.

    A pixel is like a rejected anomaly where the angle between their spectra is at most `angle`, unless it is more like
    an accepted one. What makes pixels brighter or darker as a whole, such as shade or the scale of a product, does not
    matter; reflectance is not like radiance.

    Args:
        path: Polygons with verdicts, of which the evidence or the scene is known as for ``match --like``.
        angle: In radian.

    Returns:
        What `hadgeo.detect`, `train`, `match` and `run_batch` take as ``suppress_like``.

    Raises:
        ParameterError: The angle is out of bounds.
        TargetNotFoundError: There is no such file.
        ReviewError: No anomaly in it was rejected, a verdict is unknown, or it is a table without polygons.
        TargetError: Nothing is known of the spectra; the message says what to do.
        MissingExtraError: Polygons need pyogrio and shapely.
    """
    if not 0 < angle < np.pi / 2:
        raise ParameterError(f"the angle to a rejected anomaly is above 0 and below 1.57 rad, not {angle:g}")
    file = Path(path)
    if not file.exists():
        raise TargetNotFoundError(f"{file}: no such polygons; give those of an earlier run, with verdicts")
    check_outlines(file)
    rejected, accepted = (ids_by_verdict(file, verdict) for verdict in (REJECTED, ACCEPTED))
    if not rejected:
        raise ReviewError(f"{file}: no anomaly was rejected in it, so there is nothing to suppress; omit it")
    targets = read_anomalies(file, [*rejected, *accepted])
    return Rejected(file, tuple(targets[: len(rejected)]), tuple(targets[len(rejected) :]), angle)
