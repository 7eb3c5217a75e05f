"""What a person's verdicts on anomalies say of learning and of maps: which polygons count, and what is unwanted."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hadgeo.errors import RegionError
from hadgeo.formats.overlay import VECTOR_SUFFIXES
from hadgeo.formats.source import Source
from hadgeo.formats.spectral_angle import SpectralAngles
from hadgeo.maps.polygon_fields import ACCEPTED, FIELDS, check_outlines, verdicts_in


class Unwanted(Protocol):
    """Spectra that maps shall be without; see `hadgeo.run.matching.rejected`."""

    @property
    def angle(self) -> float:
        """The largest angle at which a pixel is like one of them, in radian."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What they were read from."""

    @property
    def digest(self) -> str:
        """By what the same spectra are known again."""

    def angles_at(self, source: Source) -> SpectralAngles:
        """The spectra at the bands of a scene."""


def excluded_only(region: Path) -> tuple[str, str] | None:
    """Which polygons of an excluded region count: the accepted ones, where a person has reviewed them; else None.

    Rejected anomalies are background, and that is learned from.

    Raises:
        RegionError: None was accepted.
        ReviewError: A verdict is unknown, or it is a table without polygons.
        MissingExtraError: Polygons need pyogrio.
    """
    check_outlines(region)
    said = verdicts_in(region) if region.suffix.lower() in VECTOR_SUFFIXES else []
    if not any(said):
        return None
    if ACCEPTED not in said:
        raise RegionError(
            f"{region}: a review in which no anomaly was accepted, so there is nothing to exclude; omit the region"
        )
    return FIELDS[0], ACCEPTED


def excluded_told(region: Path) -> str:
    """An excluded region for people, by the name of its file, and which of its polygons count.

    Raises:
        HadgeoError: As for `excluded_only`.
    """
    said = verdicts_in(region) if excluded_only(region) else []
    return f"the {said.count(ACCEPTED)} accepted of {len(said)} polygons in {region.name}" if said else region.name
